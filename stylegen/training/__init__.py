"""The parts of a training step, its schedule, and the doctor; writes no file."""
