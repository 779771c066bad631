"""Their variables to our parameters: a table of names, shapes and conversions, and errors that show both sides."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import indent

import numpy as np

from stylegen.config import Config
from stylegen.formats import WeightsError
from stylegen.formats.pickle_tree import printable
from stylegen.io.tables import table

Convert = Callable[[np.ndarray], np.ndarray]


MAX_ROWS = 24  # of the table in an error


def _identity(array: np.ndarray) -> np.ndarray:
    return array


@dataclass(frozen=True)
class Weight:
    """Where one array of ours comes from."""

    theirs: str  # their name
    shape: tuple[int, ...]  # their shape
    ours: str  # path in our tree of parameters, dotted
    convert: Convert = _identity  # their array to ours
    optional: bool = False  # may be missing: it is then left as it is


@dataclass
class Report:
    """The protocol of an import as lines of text: networks found, weights mapped, and remarks on the rest."""

    networks: list[str] = field(default_factory=list)
    mapped: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it, with headings."""
        parts = (("found", self.networks), ("mapped", self.mapped), ("left", self.remarks or ["nothing"]))
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
    weights: Sequence[Weight], variables: dict[str, np.ndarray], source: str, ignored: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Our arrays by path: each of their variables found, of its shape, converted to ours as float32.

    Args:
        weights: the full table of expected variables.
        variables: theirs by name.
        source: file and network, for messages.
        ignored: variables that may be present and are not used.

    Raises:
        WeightsError: something is missing, too much, of another shape or not finite; lists both sides.
    """
    expected_names = {weight.theirs for weight in weights}
    extra = [name for name in variables if name not in expected_names and name not in ignored]
    missing = [weight for weight in weights if weight.theirs not in variables and not weight.optional]
    different = [w for w in weights if w.theirs in variables and variables[w.theirs].shape != w.shape]
    if extra or missing or different:
        raise WeightsError(
            f"{source}: does not fit its own settings.\n{_side_by_side(missing, different, extra, variables)}"
        )
    return {w.ours: _numbers(w, variables[w.theirs], source) for w in weights if w.theirs in variables}


def _numbers(weight: Weight, array: np.ndarray, source: str) -> np.ndarray:
    if array.dtype.kind != "f":
        raise WeightsError(f"{source}: {weight.theirs} is of {array.dtype}; weights are floating-point numbers.")
    array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{source}: {weight.theirs} holds numbers that are not finite.")
    return np.array(weight.convert(array), np.float32, order="C")


def _side_by_side(
    missing: Sequence[Weight], different: Sequence[Weight], extra: Sequence[str], variables: dict[str, np.ndarray]
) -> str:
    def row(name: str, shape: tuple[int, ...]) -> str:
        return f"{printable(name, 60)} {list(shape)}"

    rows = [(row(w.theirs, w.shape), row(w.theirs, variables[w.theirs].shape)) for w in different]
    absent = [row(w.theirs, w.shape) for w in missing]
    rows += itertools.zip_longest(absent, [row(name, variables[name].shape) for name in extra], fillvalue="-")
    columns = {"expected": ("expected", "<"), "found": ("found", "<")}
    shown = indent(table([dict(zip(columns, pair, strict=True)) for pair in rows[:MAX_ROWS]], columns), "  ")
    return f"{shown}\n  and {len(rows) - MAX_ROWS} more" if len(rows) > MAX_ROWS else shown


def unscaled(weight: np.ndarray, gain: float, fan_in: int) -> np.ndarray:
    """A weight that is used as it is, as one that is scaled at run time by gain/sqrt(fan_in)."""
    return weight * (math.sqrt(fan_in) / gain)
