"""NVIDIA's pickles as runs of ours.

``pickles`` finds the networks in a file, ``stylegan1`` and ``stylegan2`` bring them into our form with
``weight_table``, ``importing`` makes the run.
"""
