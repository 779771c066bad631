"""Files of JSON objects, one a line, that a run appends to: half a line, left by a killed process, is passed over.

Each line has a checksum of itself, which reading compares and leaves out; lines of earlier versions have none.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stylegen.io.files import replacing, write_text
from stylegen.io.progress import counted
from stylegen.paths import expanded
from stylegen.untrusted import FileError, checksums, json_text

Line = dict[str, Any]


def number_of_images(line: Line) -> int:
    """The position of a line in most files: the real images shown until then."""
    return int(line["nimg"])


def is_scalars(line: Line) -> bool:
    """Whether a line is one of scalars at a position, as ``stats.jsonl`` has them."""
    return type(line.get("nimg")) is int and all(type(value) in (int, float) for value in line.values())


def read(path: str | os.PathLike[str], is_valid: Callable[[Line], bool] | None = None) -> list[Line]:
    """The objects of a file, in order; none if there is no file. Whatever else is in it is passed over.

    Args:
        path: of the file.
        is_valid: whether an object is one of this file; any if None.
    """
    parsed = ((_object(text), text) for text in _texts(path))
    return [line for line, _ in parsed if line is not None and (is_valid is None or is_valid(line))]


def last_position(path: str | os.PathLike[str]) -> int | None:
    """The most images of any line; None if there is no line that has a number of them."""
    return max((line["nimg"] for line in read(path) if type(line.get("nimg")) is int), default=None)


def set_aside(path: str | os.PathLike[str], is_valid: Callable[[Line], bool]) -> str:
    """Move what cannot be read to ``<name>.damaged``; do nothing if there is nothing of that kind.

    Half a line at the end, which a killed process leaves, is nothing to keep.

    Args:
        path: of the file; it need not be there.
        is_valid: whether an object is one of this file.

    Returns:
        A sentence for the user; empty if nothing was moved.
    """
    path = expanded(path)
    texts = _texts(path)
    lines = [_object(text) for text in texts]
    good = [line is not None and is_valid(line) for line in lines]
    bad = [text for text, is_good in zip(texts, good, strict=True) if not is_good and text.strip()]
    if bad and bad[-1] is texts[-1] and not texts[-1].endswith(b"\n"):
        bad.pop()
    if not bad:
        return ""
    aside = path.with_name(f"{path.name}.damaged")
    with aside.open("ab") as file:
        file.writelines(text.rstrip(b"\n") + b"\n" for text in bad)
    _write_bytes(path, [text for text, is_good in zip(texts, good, strict=True) if is_good])
    count = counted(len(bad), "line", ("that cannot be read is", "that cannot be read are"))
    return f"{path}: {count} now in {aside.name}; the {sum(good):,} others are as they were."


def _texts(path: str | os.PathLike[str]) -> list[bytes]:
    path = expanded(path)
    return path.read_bytes().splitlines(keepends=True) if path.is_file() else []


def _object(text: bytes) -> Line | None:
    """The object in a line; None if it is something else, too large to be one of ours, or not what was written."""
    try:
        return checksums.unseal(json_text.parse_object(text, "", nonfinite=True), "")
    except FileError:
        return None


def write(path: str | os.PathLike[str], lines: Iterable[Line]) -> None:
    """Write a file, whole or not at all."""
    write_text(path, "".join(json.dumps(checksums.seal(line)) + "\n" for line in lines))


def append(path: str | os.PathLike[str], line: Line) -> None:
    """Add an object to a file; see ``append_text``."""
    append_text(path, json.dumps(checksums.seal(line)))


def append_text(path: str | os.PathLike[str], text: str) -> None:
    """Add a line to a text file. Half a line, left by a write that failed, is ended first."""
    data = text.encode() + b"\n"
    with open(expanded(path), "ab+", buffering=0) as file:
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
    path = expanded(path)
    if not path.is_file():
        return False
    texts, remaining, beyond = _texts(path), [], False
    for text in texts:
        if (line := _object(text)) is None:
            continue
        try:
            keep = position(line) <= last
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        beyond = beyond or not keep
        if keep:
            remaining.append(text)
    if remaining != texts:
        _write_bytes(path, remaining)
    return beyond


def _write_bytes(path: Path, texts: Iterable[bytes]) -> None:
    """Write lines as they were read; the last one of a file may lack its end."""
    with replacing(path) as partial:
        partial.write_bytes(b"".join(text.rstrip(b"\n") + b"\n" for text in texts))
