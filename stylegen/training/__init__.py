"""What a training step is made of, and what judges it; writes no file."""
