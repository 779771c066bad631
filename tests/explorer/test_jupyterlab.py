"""The explorer as a widget in JupyterLab, in a real browser."""

import importlib.util
import json
import re
import socket
import subprocess
import sys
import time

import pytest

from benchmarks import browser as chromium
from tests.support import browsers
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
for name in ("jupyterlab", "anywidget"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed, which the extra notebook has", allow_module_level=True)
browsers.required()

from playwright.sync_api import Locator, Page, expect

SECONDS = 240_000  # ms
MAKE, SET, PRINT, SHOW = range(4)
CELLS = {
    MAKE: "import stylegen\nexplorer = stylegen.explore('toy_bedrooms')",
    SET: "explorer.state = {'seed': 7, 'psi': 0.5}",
    PRINT: "print(explorer.state['seed'], f'{explorer.image.mean():.2f}')",
    SHOW: "explorer",
}
# The mean of the large image's colors, from its canvas.
MEAN = """(canvas) => {
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const colors = copy.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 < 3);
    return colors.reduce((sum, x) => sum + x, 0) / colors.length;
}"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that shows a notebook of these cells."""
    cells = [
        {"cell_type": "code", "id": f"cell{i}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
        for i, text in CELLS.items()
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "explore.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.token=a",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (tmp_path / "log.txt").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log, cwd=ROOT) as served:
        for _ in range(240):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/lab/tree/explore.ipynb?token=a"
        served.terminate()


def run(page: Page, number: int) -> Locator:
    """Run a cell; its output."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".jp-InputArea-editor").first.click()
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputArea-prompt").first).to_have_text(re.compile(r"\[\d+\]:"))
    return cell.locator(".jp-OutputArea")


def test_the_page_and_python_share_the_state(lab):
    with chromium.opened() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(SECONDS)
        expect.set_options(timeout=SECONDS)
        page.goto(lab)
        page.locator(".jp-Notebook").wait_for()
        run(page, MAKE)
        explorer = run(page, SHOW).locator(".stylegen-explorer")
        expect(explorer).to_have_attribute("data-shown", "{}")
        run(page, SET)  # the page follows Python
        expect(explorer).to_have_attribute("data-shown", re.compile('"seed":7'))
        explorer.get_by_label("Image of seed 5").first.click()  # and Python the page
        expect(explorer).to_have_attribute("data-shown", re.compile('"seed":5'))
        page.wait_for_timeout(1000)  # the page tells its state when it has rested
        printed = run(page, PRINT)
        expect(printed).to_contain_text(re.compile(r"5 \d"))
        mean = float(printed.inner_text().split()[1])
        shown = explorer.locator(".frame canvas").first.evaluate(MEAN)
        assert 20 < shown < 235 and abs(shown - mean) < 0.01
