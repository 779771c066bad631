"""How programs run on this machine and others: compiling, memory, devices, processes."""
