"""A real browser for tests of pages: ``STYLEGEN_BROWSER``, or a Chromium on the path."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def required() -> str:
    """The browser's program. Where it or playwright is missing, the module is skipped; in CI that is a failure."""
    program = os.environ.get("STYLEGEN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        _missing(f"there is no browser: set STYLEGEN_BROWSER, or install one of {', '.join(NAMES)}")
    try:
        import playwright.sync_api  # noqa: F401
    except ModuleNotFoundError:
        _missing("playwright is not installed, which the extra dev has")
    return str(program)


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what, allow_module_level=True)


@contextmanager
def opened(program: str) -> Iterator[Any]:
    """The browser, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox does not start as root, as which containers run.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] if root else [])
        try:
            yield browser
        finally:
            browser.close()
