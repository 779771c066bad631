"""The library of ``shim.c``: built with the C compiler of this machine, armed in the process that has loaded it."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
PREFIX = "stylegen-faults-"  # of temporary folders
COUNT = 1


@dataclass(frozen=True)
class Fault:
    """What happens at a change of a file."""

    mode: int  # of shim.c
    error: int = 0  # errno
    ends: bool = False  # the process
    cuts: bool = False  # files that were not synced lose their contents, as they may in a power cut


FAULTS = {
    "kill": Fault(2, ends=True),
    "torn": Fault(3, ends=True),
    "power": Fault(2, ends=True, cuts=True),
    "full": Fault(5, errno.ENOSPC),
    "eio": Fault(4, errno.EIO),
}


def compiler() -> str | None:
    """A C compiler of this machine; None if there is none, or if it is not a Linux."""
    return (shutil.which("cc") or shutil.which("gcc")) if os.uname().sysname == "Linux" else None


def build() -> Path:
    """The library, in a folder of its own."""
    found = compiler()
    if found is None:
        raise RuntimeError("there is no C compiler, or this is no Linux")
    library = Path(tempfile.mkdtemp(prefix=PREFIX)) / "shim.so"
    subprocess.run([found, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def discard(library: Path) -> None:
    """Delete what ``build`` made, and nothing else."""
    if library.name == "shim.so" and library.parent.name.startswith(PREFIX):
        library.unlink(missing_ok=True)
        library.parent.rmdir()  # which fails if there is anything in it


def preloaded() -> bool:
    """Whether this process runs with the library."""
    return hasattr(ctypes.CDLL(None), "fault_arm")


def arm(fault: Fault | None, at: int, folder: Path, record: Path) -> None:
    """From now on, count the changes below a folder, and let a fault happen at one of them; None: count alone."""
    mode, error = (fault.mode, fault.error) if fault else (COUNT, 0)
    ctypes.CDLL(None).fault_arm(mode, ctypes.c_long(at), error, os.fsencode(folder), os.fsencode(record))


def disarm() -> int:
    """Let all changes happen; how many were counted."""
    counted = ctypes.CDLL(None).fault_disarm
    counted.restype = ctypes.c_long
    return int(counted())


def cut_power(folder: Path, record: Path) -> None:
    """Empty the files that held bytes which no fsync had put on disk."""
    text = record.read_text() if record.exists() else ""
    lost = {int(number) for number in re.findall(r"^dirty (\d+)$", text, re.MULTILINE)}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_ino in lost:
            os.truncate(path, 0)
