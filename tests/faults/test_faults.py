"""A part of the campaign: nothing is lost without a word, whatever fails. ``python -m tests.faults`` is all of it."""

import re
import subprocess
import sys

import pytest

from tests.faults import shim
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(shim.compiler() is None, reason="this needs a Linux with a C compiler")


def campaign(*words: str) -> dict[str, int]:
    """Points that were tried, recovered, said and lost; fails with what was lost."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    table, _, lost = done.stdout.partition("LOST ")
    assert done.returncode == 0 and not lost, f"{lost}\n{done.stderr[-2000:]}"
    rows = re.findall(r"^\S+ +\w+ +\d* +(\d+) +(\d+) +(\d+) +(\d+) +\d+$", table, re.MULTILINE)
    return {name: sum(int(row[i]) for row in rows) for i, name in enumerate(("tried", "recovered", "said", "lost"))}


@pytest.mark.slow
@pytest.mark.parametrize("work", ["checkpoint", "checkpoint-1", "prepare", "export-file", "export-folder", "import"])
def test_work_that_is_disturbed(work):
    counts = campaign(work, "--points", "8")
    assert counts["tried"] >= 30 and counts["recovered"] > 0 and counts["said"] > 0


@pytest.mark.slow
def test_a_training_that_is_disturbed():
    assert campaign("train", "--points", "3")["tried"] >= 10


@pytest.mark.slow
def test_damaged_files():
    counts = campaign("damage", "--points", "40")
    assert counts["tried"] == 5 * 40 and counts["recovered"] > 0 and counts["said"] > 0


def test_the_faults_happen(tmp_path):
    """The library counts and spoils changes in Python, in C and in C++ libraries, below one folder alone."""
    (tmp_path / "in").mkdir()
    code = f"""
import errno, os
from pathlib import Path
from tests.faults import shim
folder, record = Path({str(tmp_path / "in")!r}), Path({str(tmp_path / "record")!r})
def work(folder):
    (folder / "a").write_bytes(b"12345678")
    os.replace(folder / "a", folder / "b")
shim.arm(None, 0, folder, record)
work(folder)
work(folder.parent)
changes = shim.disarm()
assert changes == 3, changes
(folder / "b").unlink()
for at in (1, 2):  # opening and writing; renaming needs no room
    shim.arm(shim.FAULTS["full"], at, folder, record)
    try:
        work(folder)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    else:
        raise AssertionError(at)
    shim.disarm()
shim.arm(shim.FAULTS["torn"], 2, folder, record)
work(folder)
"""
    library = shim.build()
    environment = {"LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    assert (tmp_path / "in" / "a").read_bytes() == b"1234" and not (tmp_path / "in" / "b").exists()
    inode = (tmp_path / "in" / "a").stat().st_ino
    assert f"dirty {inode}\n" in (tmp_path / "record").read_text()
    shim.discard(library)
    assert not library.parent.exists()
    shim.cut_power(tmp_path / "in", tmp_path / "record")
    assert (tmp_path / "in" / "a").read_bytes() == b""
