"""Which cases of a test the default suite runs."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest


def slow_but(cases: Sequence[Any], kept: Collection[Any]) -> list[Any]:
    """Cases for ``parametrize``, all slow but those that are kept; a case of several arguments is a tuple."""
    assert all(case in cases for case in kept), "a case that is kept is none"
    marked = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marked.append(pytest.param(*values, marks=() if case in kept else pytest.mark.slow))
    return marked
