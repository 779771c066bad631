"""What lies in a run directory: configuration, log, image grids, checkpoints."""
