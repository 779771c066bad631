"""Their variables to our parameters: a table of names, shapes and conversions, and what to say where they differ."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

import numpy as np

from stylegen.config import Config
from stylegen.formats import WeightsError
from stylegen.formats.pickle_tree import printable
from stylegen.io.tables import table

Convert = Callable[[np.ndarray], np.ndarray]
MAX_ROWS = 24  # of the table in an error


def _same(array: np.ndarray) -> np.ndarray:
    return array


@dataclass(frozen=True)
class Weight:
    """Where one array of ours comes from."""

    theirs: str  # their name
    shape: tuple[int, ...]  # their shape
    ours: str  # path in our tree of parameters, dotted
    convert: Convert = _same  # their array to ours
    optional: bool = False  # may be missing: it is then left as it is


@dataclass
class Report:
    """What an import found, mapped and left, as lines of text."""

    found: list[str] = field(default_factory=list)
    mapped: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it, with headings."""
        parts = (("found", self.found), ("mapped", self.mapped), ("left", self.left or ["nothing"]))
        return "\n".join(line for heading, lines in parts for line in (f"{heading}:", *(f"  {x}" for x in lines)))


@dataclass
class Imported:
    """Networks of others in our form: trees of arrays by dotted path, whatever framework they come from."""

    config: Config
    g: dict[str, np.ndarray]
    g_ema: dict[str, np.ndarray]
    d: dict[str, np.ndarray] | None  # None: the file has none
    noise_const: dict[str, np.ndarray]
    w_avg: np.ndarray | None
    resolution: int  # of the images at the stage that the networks were saved in
    alpha: float
    report: Report


def match(
    weights: Sequence[Weight], found: dict[str, np.ndarray], what: str, ignored: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Our arrays by path: each of their variables found, of its shape, converted to ours as float32.

    Args:
        weights: what is expected, all of it.
        found: their variables by name.
        what: file and network, for messages.
        ignored: variables that may be there and are not used.

    Raises:
        WeightsError: something is missing, too much, of another shape or not finite; lists both sides.
    """
    names = {weight.theirs for weight in weights}
    extra = [name for name in found if name not in names and name not in ignored]
    missing = [weight for weight in weights if weight.theirs not in found and not weight.optional]
    different = [w for w in weights if w.theirs in found and found[w.theirs].shape != w.shape]
    if extra or missing or different:
        raise WeightsError(f"{what}: does not fit its own settings.\n{_side_by_side(missing, different, extra, found)}")
    return {w.ours: _numbers(w, found[w.theirs], what) for w in weights if w.theirs in found}


def _numbers(weight: Weight, array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind != "f":
        raise WeightsError(f"{what}: {weight.theirs} is of {array.dtype}; weights are floating-point numbers.")
    array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{what}: {weight.theirs} holds numbers that are not finite.")
    return np.array(weight.convert(array), np.float32, order="C")


def _side_by_side(
    missing: Sequence[Weight], different: Sequence[Weight], extra: Sequence[str], found: dict[str, np.ndarray]
) -> str:
    def row(name: str, shape: tuple[int, ...]) -> str:
        return f"{printable(name, 60)} {list(shape)}"

    rows = [(row(w.theirs, w.shape), row(w.theirs, found[w.theirs].shape)) for w in different]
    absent = [row(w.theirs, w.shape) for w in missing]
    rows += itertools.zip_longest(absent, [row(name, found[name].shape) for name in extra], fillvalue="-")
    columns = {"expected": ("expected", "<"), "found": ("found", "<")}
    shown = indent(table([dict(zip(columns, pair, strict=True)) for pair in rows[:MAX_ROWS]], columns), "  ")
    return f"{shown}\n  and {len(rows) - MAX_ROWS} more" if len(rows) > MAX_ROWS else shown


def unscaled(weight: np.ndarray, gain: float, fan_in: int) -> np.ndarray:
    """A weight that is used as it is, as one that is scaled at run time by gain/sqrt(fan_in)."""
    return weight * (math.sqrt(fan_in) / gain)


def require(what: str, settings: dict[str, Any], name: str, allowed: Sequence[Any], why: str) -> None:
    """Raise WeightsError unless a setting is absent or one of those allowed; names the setting."""
    if name in settings and settings[name] not in allowed:
        shown = " or ".join(repr(value) for value in allowed)
        raise WeightsError(
            f"{what}: its setting {name} = {_shown(settings[name])} cannot be represented: {why} ({shown})."
        )


def number(what: str, settings: dict[str, Any], name: str, default: float, least: float = 0) -> Any:
    """A setting that is a number, not below ``least``; whole if the default is.

    Raises:
        WeightsError: it is something else; names the setting.
    """
    value = settings.get(name, default)
    whole = isinstance(default, int)
    if isinstance(value, float) and whole and value.is_integer():
        value = int(value)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < 2**31:
        kind = "a whole number" if whole else "a number"
        raise WeightsError(f"{what}: its setting {name} = {_shown(value)}: must be {kind} of at least {least}.")
    return value


def _shown(value: Any) -> str:
    return printable(repr(value), 60)


def summary(settings: dict[str, Any]) -> str:
    """Settings in a line."""
    return ", ".join(f"{printable(name)} {_shown(value)}" for name, value in settings.items()) or "none of its own"
