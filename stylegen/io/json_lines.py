"""Files of JSON objects, one a line, that a run appends to: half a line, left by a killed process, is passed over."""

import errno
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stylegen.io.files import write_text

Line = dict[str, Any]


def number_of_images(line: Line) -> int:
    """The position of a line in most files: the real images shown until then."""
    return int(line["nimg"])


def read(path: str | os.PathLike[str]) -> list[Line]:
    """The objects of a file, in order; none if there is no file."""
    lines: list[Line] = []
    for text in Path(path).read_text().splitlines() if Path(path).is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def write(path: str | os.PathLike[str], lines: Iterable[Line]) -> None:
    """Write a file, whole or not at all."""
    write_text(path, _text(lines))


def append(path: str | os.PathLike[str], line: Line) -> None:
    """Add an object to a file; see ``append_text``."""
    append_text(path, json.dumps(line))


def append_text(path: str | os.PathLike[str], text: str) -> None:
    """Add a line to a text file. Half a line, left by a write that failed, is ended first."""
    data = text.encode() + b"\n"
    with open(path, "ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        if file.write(data) != len(data):  # the disk had room for a part of it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))


def drop_after(path: str | os.PathLike[str], last: Any, position: Callable[[Line], Any] = number_of_images) -> bool:
    """Drop the lines beyond the position where a run continues, and incomplete lines; do nothing if there is no file.

    Args:
        path: of the file.
        last: the position of the last line to keep.
        position: of a line, in whatever the run counts by. A line that has none is dropped.

    Returns:
        Whether a line beyond the position was dropped.
    """
    path = Path(path)
    if not path.is_file():
        return False
    remaining, beyond = [], False
    for line in read(path):
        try:
            keep = position(line) <= last
        except (KeyError, TypeError, ValueError):
            continue
        beyond = beyond or not keep
        if keep:
            remaining.append(line)
    text = _text(remaining)
    if text != path.read_text():
        write_text(path, text)
    return beyond


def _text(lines: Iterable[Line]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)
