"""Data prepared for training: shards at every resolution."""
