"""Faults on purpose: kills, power cuts, full and failing disks at every change of a file, and damaged files."""
