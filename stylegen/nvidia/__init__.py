"""Generators of NVIDIA's pickles, and of rosinality's checkpoints, as runs of ours.

``pickles`` finds the networks in a pickle, ``stylegan1`` and ``stylegan2`` bring them into our form with
``settings`` and ``weight_table``; ``rosinality`` does the same for state dicts of stylegan2-pytorch;
``importing`` makes the run.
"""
