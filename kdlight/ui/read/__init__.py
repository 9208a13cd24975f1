"""What only Read shows."""
