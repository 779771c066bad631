"""A real Chromium: the one that ``STYLEGEN_BROWSER`` names, or the first on the path. Tests of pages use it too."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.common import BenchmarkError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# WebGPU without a GPU is SwiftShader, which computes on the CPU.
WEBGPU = (
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    *("--enable-features=Vulkan", "--use-vulkan=swiftshader"),
)


def find() -> str:
    """The browser's program.

    Raises:
        BenchmarkError: there is none, or no playwright, which drives it.
    """
    named = os.environ.get("STYLEGEN_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise BenchmarkError("there is no Chromium: set STYLEGEN_BROWSER, or install one (apt-get install chromium).")
    if importlib.util.find_spec("playwright") is None:
        raise BenchmarkError("playwright is not installed, which the extra dev has.")
    return found


@contextmanager
def opened(*flags: str) -> Iterator[Any]:
    """The browser, with these flags, driven by playwright; raises as ``find``."""
    program = find()
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox does not start as root, as which containers run.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*flags, "--no-sandbox"] if root else list(flags)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
