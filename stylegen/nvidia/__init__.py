"""NVIDIA's pickles as runs of ours."""
