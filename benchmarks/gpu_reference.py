"""Differences of networks from the numbers of the original implementation (``tests/references/networks``)."""

import argparse
import time

from benchmarks.gpu_runner import Records
from benchmarks.precision import Numerics, agreement
from stylegen.runtime.compilation import at_precision

# Largest difference that is a matter of rounding: ten times what a CPU has, or by emulation would have
# (docs/performance.md, "Precision").
LIMITS = {("float32", "highest"): 4e-4, ("float32", "default"): 2.5e-2, ("bfloat16", "highest"): 0.25}


def reference(a: argparse.Namespace, records: Records) -> None:
    """Largest differences from the original's numbers, by precision of products."""
    cases = [
        ("stylegan1_32", "0.4", "float32", "highest"),
        ("stylegan1_32", "2.25", "float32", "highest"),
        ("stylegan1_16_labels", "0.6", "float32", "highest"),
        ("stylegan1_32", "0.4", "float32", "default"),
        ("stylegan1_32", "0.4", "bfloat16", "highest"),
    ]
    longest = 0.0
    for network, lod, dtype, precision in cases[:1] if a.tiny else cases:
        fields = {"network": network, "lod": lod, "dtype": dtype, "precision": precision}
        if records.skips("reference", 1.3 * longest + 5, **fields):
            continue
        begin = time.monotonic()
        with records.guarded("reference", **fields):
            differences = agreement(Numerics(precision, at_precision(precision), dtype), network, lod)
            largest = max(differences.values())
            records.add("reference", **fields, ok=largest < LIMITS[dtype, precision], largest=largest, **differences)
        longest = max(longest, time.monotonic() - begin)
