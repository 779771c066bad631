"""A real browser for tests of pages, that of ``benchmarks.browser``, and what its tabs say."""

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks import browser
from benchmarks.common import BenchmarkError


def required() -> None:
    """Skip the module, or the test, where there is no browser or no playwright; in continuous integration it fails."""
    try:
        browser.find()
    except BenchmarkError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error} In continuous integration it must be there.")
        pytest.skip(str(error), allow_module_level=True)


@dataclass
class Watched:
    """A tab, and what it has said and asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)  # errors and warnings of the console, uncaught exceptions
    requests: list[str] = field(default_factory=list)  # addresses


def watch(page: Any) -> Watched:
    """Note from now on what a tab says and asks for."""
    watched = Watched(page)
    page.on("console", lambda m: watched.messages.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: watched.messages.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    return watched
