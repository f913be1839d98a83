"""What measures rather than judges."""
