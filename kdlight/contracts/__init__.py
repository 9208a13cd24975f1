"""What every room relies on: the recipe and its options, the tables of modalities and anatomy, images and readings."""
