"""The explorer as a widget in JupyterLab, in a real browser."""

import importlib.util
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

from tests.support import browsers
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
for name in ("jupyterlab", "anywidget"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed, which the extra notebook has", allow_module_level=True)
BROWSER = browsers.required()

from playwright.sync_api import expect

SECONDS = 240_000  # ms


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that shows the notebook."""
    shutil.copy(ROOT / "notebooks" / "explore.ipynb", tmp_path)
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


def test_the_page_and_python_share_the_state(lab):
    with browsers.opened(BROWSER) as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(SECONDS)
        expect.set_options(timeout=SECONDS)
        page.goto(lab)
        page.locator(".jp-Notebook").wait_for()
        page.get_by_role("menuitem", name="Run").first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        explorer = page.locator(".stylegen-explorer")
        # The last cell sets the styles that were dragged: the page follows.
        expect(explorer).to_have_attribute("data-shown", re.compile('"ws":'))
        explorer.get_by_label("Image of seed 5").first.click()
        expect(explorer).to_have_attribute("data-shown", re.compile('"seed":5'))
