"""Running programs on this machine and others: compilation, memory, devices, processes."""
