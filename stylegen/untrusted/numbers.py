"""Single numbers from files and command lines: whole or finite, and in a range."""

import math
import re
from typing import Any

from stylegen.untrusted import FileError, shown
from stylegen.untrusted.limits import MAX_DIGITS


def whole(value: Any, name: str, least: int, most: int) -> int:
    """A whole number from a JSON value.

    Args:
        value: an int; a bool, a float or a text is none.
        name: begins the message of an error.
        least: smallest that is allowed.
        most: largest.

    Raises:
        FileError: it is none, or out of range.
    """
    if type(value) is not int or not least <= value <= most:
        raise FileError(f"{name} is {shown(value)}; wanted a whole number from {least:,} to {most:,}.")
    return value


def finite(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number from a JSON value; see ``whole``."""
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        allowed = f" from {least:g} to {most:g}" if math.isfinite(least) or math.isfinite(most) else ""
        raise FileError(f"{name} is {shown(value)}; wanted a finite number{allowed}.")
    return float(value)


def digits(text: str) -> int | None:
    """The whole number that a text of ASCII digits means; None if it is anything else, or too long.

    ``int`` takes digits of all scripts and refuses more than 4,300; ``str.isdigit`` takes some that ``int`` refuses.
    """
    return int(text) if re.fullmatch(rf"[0-9]{{1,{MAX_DIGITS}}}", text) else None
