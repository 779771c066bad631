"""JSON within bounds: bytes, depth and digits; NaN and infinities, which are no JSON, only where they are allowed."""

import json
import math
import os
import re
from typing import Any

from stylegen.paths import expanded
from stylegen.untrusted import FileError, kinds, shown
from stylegen.untrusted.limits import MAX_DEPTH, MAX_DIGITS, MAX_JSON

_STRING, _NO_BRACKET = re.compile('"[^"]*"?'), re.compile(r"[^][{}]+")


def parse(text: str | bytes, source: str, *, nonfinite: bool = False, most: int = MAX_JSON) -> Any:
    """The value of a JSON text.

    Args:
        text: the text, or its bytes in UTF-8.
        source: what it is, such as a file's name; begins the message of an error.
        nonfinite: allow NaN and infinities, which Python's ``json`` writes.
        most: bytes that it may have.

    Raises:
        FileError: it is no JSON, or exceeds a bound of ``limits``.
    """
    if len(text) > most:
        raise FileError(f"{source}: {len(text):,} bytes are too many for JSON; at most {most:,} are read.")
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise FileError(f"{source}: no JSON, which is UTF-8: {error.reason} at byte {error.start:,}.") from error
    _check_depth(decoded, source)

    def number(digits: str) -> float:
        value = float(digits)
        if not (nonfinite or math.isfinite(value)):
            raise FileError(f"{source}: the number {shown(digits, 40)} is not finite.")
        return value

    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS + 1:
            raise FileError(f"{source}: a number of {len(digits):,} digits; at most {MAX_DIGITS} are read.")
        return int(digits)

    try:
        return json.loads(decoded, parse_float=number, parse_constant=number, parse_int=whole)
    except json.JSONDecodeError as error:
        raise FileError(f"{source}: not valid JSON: {error.msg} at character {error.pos:,}.") from error


def parse_object(text: str | bytes, source: str, *, nonfinite: bool = False) -> dict[str, Any]:
    """As ``parse``, of a JSON object.

    Raises:
        FileError: as ``parse``; or it is another value.
    """
    tree = parse(text, source, nonfinite=nonfinite)
    if not isinstance(tree, dict):
        raise FileError(f"{source}: holds {shown(tree, 40)}; wanted a JSON object.")
    return tree


def read(path: str | os.PathLike[str], *, nonfinite: bool = False) -> Any:
    """The value in a JSON file; see ``parse``.

    Raises:
        FileError: as ``parse``; names the file.
        OSError: there is no such file, or it cannot be read.
    """
    with expanded(path).open("rb") as file:
        data = file.read(MAX_JSON + 1)
    kinds.refuse_others(data, str(path), "JSON", "JSON", "text")
    return parse(data, str(path), nonfinite=nonfinite)


def read_object(path: str | os.PathLike[str], *, nonfinite: bool = False) -> dict[str, Any]:
    """As ``read``, of a JSON object."""
    tree = read(path, nonfinite=nonfinite)
    if not isinstance(tree, dict):
        raise FileError(f"{path}: holds {shown(tree, 40)}; wanted a JSON object.")
    return tree


def _check_depth(text: str, source: str) -> None:
    """Python's parser calls itself for each level, until it has no more stack."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    without_escapes = text.replace("\\\\", "").replace('\\"', "")
    depth = 0
    for bracket in _NO_BRACKET.sub("", _STRING.sub("", without_escapes)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise FileError(f"{source}: JSON nested deeper than {MAX_DEPTH} levels.")
