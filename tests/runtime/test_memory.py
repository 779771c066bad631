"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from stylegen.runtime import memory

# Blocks of 64 MB, written and freed in turn: 16,384 pages of 4 kB each.
CODE = """
import resource
import numpy as np
from stylegen.runtime.memory import keep_freed_memory
assert {keep} is False or keep_freed_memory()
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(1 << 26, np.uint8)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults[1:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_pages_are_not_asked_for_again():
    def faults(keep):
        code = CODE.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    # Without, all of them each time (fewer where the system gives large pages).
    assert faults(True) < 100 or faults(True) < faults(False) / 10


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert memory.keep_freed_memory() is False
