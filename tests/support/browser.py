"""A real Chromium for tests: the one that ``STYLEGEN_BROWSER`` names, or the first on the path.

Where there is none, tests skip, and fail in continuous integration (where ``CI`` is set): there it is installed.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Root has no sandbox. WebGPU without a GPU is SwiftShader, which computes on the CPU.
FLAGS = (
    *("--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    *("--enable-features=Vulkan", "--use-vulkan=swiftshader"),
)


def executable() -> str:
    """The browser's program; skips or fails the test where there is none."""
    named = os.environ.get("STYLEGEN_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        _missing("no Chromium: set STYLEGEN_BROWSER, or install one (apt-get install chromium)")
    return str(found)


def playwright() -> Any:
    """The module that drives browsers; skips or fails the test where it is not installed."""
    try:
        from playwright import sync_api
    except ImportError:
        _missing("needs the package playwright")
    return sync_api


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in continuous integration it must be there")
    pytest.skip(reason)


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """A browser, for as long as the context lasts."""
    program, api = executable(), playwright()
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


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
