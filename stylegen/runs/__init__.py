"""Run directories: configuration, log, image grids, checkpoints."""
