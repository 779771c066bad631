"""What lies in a run directory: configuration, log, pictures, checkpoints."""
