"""What only Train shows."""
