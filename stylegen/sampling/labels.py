"""Classes by number or by name: what people write for labels, as the numbers that networks take."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegen.errors import StylegenError
from stylegen.io.progress import counted
from stylegen.networks.generator import Generator

SHOWN = 20  # names in a message
# One class for all images, or one each, by number or by name; None for no classes.
Labels = int | str | Sequence[int | str] | np.ndarray | None


class SamplingError(StylegenError):
    """A request to a generator cannot be met; the message says what can be drawn."""


def class_numbers(G: Generator, labels: Labels) -> Any:
    """Labels with the numbers of classes in place of their names (``G.config.class_names``); numbers as they are.

    Raises:
        SamplingError: a name is none of the generator's classes.
    """
    if isinstance(labels, str):
        return _number(G, labels)
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "U":
        labels = labels.tolist()
    if isinstance(labels, list | tuple) and any(isinstance(label, str) for label in labels):
        return [_number(G, label) if isinstance(label, str) else label for label in labels]
    return labels


def _number(G: Generator, name: str) -> int:
    names = G.config.class_names
    if name in names:
        return names.index(name)
    if not G.c_dim:
        raise SamplingError("labels were given, but this generator has no classes.")
    if not names:
        fix = f"its classes have no names: give numbers from 0 to {G.c_dim - 1}"
    else:
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        fix = f"its {counted(len(names), 'class')}: {', '.join(names[:SHOWN])}{more}"
    raise SamplingError(f"label {name!r} is no class of this generator; {fix}.")
