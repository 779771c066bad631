#!/usr/bin/env python3
"""Speed of a generator's web page in Chromium.

    python benchmarks/web.py                                  # the shipped generator
    python benchmarks/web.py --run runs/bedroom --seconds 10 --json out/bench/web.json

The page is opened from disk. Timed is how often it draws and paints an image of another seed, each time in a new frame
of the browser (at most 60 a second), and the time of a drawing alone. The last line is one JSON object.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import browser, common
from stylegen.cli import convert

MEASURE = """async (seconds) => {
  const [seed, view, status] = ['seed', 'view', 'status'].map((id) => document.getElementById(id));
  const times = [], begin = performance.now();
  while (performance.now() - begin < 1000 * seconds) {
    seed.value = times.length;
    seed.dispatchEvent(new Event('input'));
    do await new Promise(requestAnimationFrame); while (view.ariaBusy === 'true');
    times.push(parseFloat(status.textContent)); // ms
  }
  return { rate: times.length / ((performance.now() - begin) / 1000), times };
}"""


def measure(run: str, seconds: float) -> dict[str, Any]:
    """Images a second of a run's page, and milliseconds of an image."""
    with tempfile.TemporaryDirectory() as folder, browser.opened(*browser.WEBGPU) as chromium:
        out = Path(folder) / "page"
        if convert.main([run, "--to", "web", "--out", str(out)]):
            raise common.BenchmarkError(f"--run {run}: its page cannot be made.")
        page = chromium.new_page()
        page.goto((out / "index.html").as_uri())
        page.wait_for_selector("html[data-ready=true]")
        measured = page.evaluate(MEASURE, seconds)
        return {
            "run": run,
            "browser": chromium.version,
            "page_bytes": sum(path.stat().st_size for path in out.iterdir() if path.suffix in (".html", ".js")),
            "web_img_per_s": measured["rate"],
            "web_draw_ms": statistics.median(measured["times"]),
            "web_draw_ms_best": min(measured["times"]),
        }


def main() -> dict[str, Any]:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--run", default="toy_bedrooms", help="run directory, exported file or shipped generator")
    parser.add_argument("--seconds", type=float, default=5, help="to draw for")
    options = parser.parse_args()
    result = measure(options.run, options.seconds)
    common.write_json(options.json, result)
    return result


if __name__ == "__main__":
    common.main(main)
