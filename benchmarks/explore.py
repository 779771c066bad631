#!/usr/bin/env python3
"""Latency of the explorer: from a slider's move to the painted image, in a real browser, and images a second.

    python benchmarks/explore.py                                    # the shipped generator, 32 pixels
    python benchmarks/explore.py --run runs/bedroom --moves 50

It starts the explorer and a Chromium (``STYLEGEN_BROWSER``, or one on the path). Each move waits for the image of the
one before. Timed apart: a message that is answered at once, which is what the way there and back costs; and the
server's drawing without a browser. Others on the machine lengthen all of it. The last line is one JSON object.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import browser, common

# In the page: moves of the slider, one after another, each until its image is painted.
MOVES = """async (moves) => {
  const app = document.getElementById('app').app;
  const shown = () => new Promise((done) => {
    const before = app.view.onpainted;
    app.view.onpainted = () => { app.view.onpainted = before; requestAnimationFrame(() => done()); };
  });
  const times = { moves: [], pings: [] };
  for (let i = 0; i < moves; i++) {
    const start = performance.now();
    const painted = shown();
    app.model.change({ psi: -1 + (2 * i) / moves }, true);
    await painted;
    times.moves.push(performance.now() - start);
  }
  for (let i = 0; i < moves; i++) {
    const start = performance.now();
    await app.transport.ask('ping');
    times.pings.push(performance.now() - start);
  }
  return times;
}"""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = common.parser(__doc__)
    p.add_argument("--run", default="toy_bedrooms", help="what the explorer shows")
    p.add_argument("--moves", type=int, default=100, help="of the slider")
    a = p.parse_args(argv)
    if a.moves < 2:
        raise common.BenchmarkError(f"--moves {a.moves}: must be at least 2.")
    return a


def in_browser(address: str, moves: int) -> dict[str, list[float]]:
    """Milliseconds of each move and of each ping."""
    with browser.opened() as chromium:
        page = chromium.new_page()
        page.goto(address)
        page.locator("#app[data-ready][data-shown]").wait_for(timeout=300_000)
        time.sleep(5)  # programs of drags are compiled in the background
        page.evaluate(MOVES, 10)
        times: dict[str, list[float]] = page.evaluate(MOVES, moves)
    return times


def drawing(run: str, moves: int) -> list[float]:
    """Milliseconds of an image without a server."""
    import stylegen
    from stylegen.explorer.engine import Engine
    from stylegen.explorer.state import State

    engine = Engine(stylegen.load(run), directions=())
    times = []
    for i in range(moves + 5):
        start = time.perf_counter()
        engine.image(State(psi=-1 + 2 * i / moves))
        times.append(1000 * (time.perf_counter() - start))
    return times[5:]


def main() -> dict[str, Any]:
    a = parse()
    command = [sys.executable, "explore.py", "--run", a.run]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=common.ROOT, **quiet) as served:
        try:
            assert served.stdout is not None
            address = next(match[0] for line in served.stdout if (match := re.search(r"http://\S+", line)))
            times = in_browser(address, a.moves)
        finally:
            served.terminate()
    drawn = drawing(a.run, a.moves)
    result: dict[str, Any] = {"run": a.run, "moves": a.moves, "machine": common.machine()}
    for name, values in (("move", times["moves"]), ("ping", times["pings"]), ("draw", drawn)):
        result[f"{name}_ms"], result[f"{name}_ms_best"] = statistics.median(values), min(values)
    result["images_per_s"] = 1000 / statistics.mean(times["moves"])
    print(common.describe(result["machine"]))
    print(
        f"slider to painted image: median {result['move_ms']:.1f} ms, best {result['move_ms_best']:.1f}; "
        f"{result['images_per_s']:.0f} images/s; of it {result['ping_ms']:.1f} there and back, "
        f"{result['draw_ms']:.1f} drawing"
    )
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(main)
