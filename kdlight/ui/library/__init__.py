"""What only Library shows."""
