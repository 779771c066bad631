"""What a run has to show while it trains: checkpoints, grids, losses, metrics and the doctor's sentences."""

import math
import re
from pathlib import Path
from typing import Any

from stylegen.evaluation import evaluate_run
from stylegen.explorer import ExploreError
from stylegen.io import json_lines
from stylegen.runs import checkpoint_files
from stylegen.runs.directory import CONFIG_NAME, STATS_NAME, TEXT_NAME

MAX_POINTS = 500  # of a curve; longer ones are thinned
MAX_SENTENCES, MAX_TAIL = 12, 2**20  # of the doctor, and bytes of the log that are looked through
GRID = re.compile(r"fakes(\d{6,})\.png")
CURVES = ("Loss/G/loss", "Loss/D/loss", "Loss/r1_penalty", "Loss/scores/real", "Loss/scores/fake", "Progress/augment")
MAX_GRID_BYTES = 2**26


class RunView:
    """Reads a run directory. Nothing is written, and nothing is named by the page but numbers that were listed."""

    def __init__(self, folder: Path) -> None:
        """Look at a run directory; ``is_run`` tells whether a folder is one."""
        self._folder = folder

    def about(self) -> dict[str, Any]:
        """All of it, for JSON."""
        folder = self._folder
        stats = json_lines.read(folder / STATS_NAME, json_lines.is_scalars)
        return {
            "name": folder.name,
            "checkpoints": [nimg / 1000 for nimg in checkpoint_files.available(folder)],
            "grids": self.grids(),
            "curves": {name: points for name in CURVES if (points := _curve(stats, name))},
            "metrics": self._metrics(),
            "doctor": self._doctor(),
            "kimg": stats[-1]["nimg"] / 1000 if stats else 0,
        }

    def version(self) -> int:
        """A number that differs when something new is there."""
        names = (STATS_NAME, TEXT_NAME, "checkpoints", *(path.name for path in self._folder.glob("metric-*.jsonl")))
        times = [path.stat().st_mtime_ns for name in names if (path := self._folder / name).exists()]
        return hash((tuple(times), len(self.grids()))) & (2**52 - 1)

    def grids(self) -> list[int]:
        """The kimg of the grids of samples, in order."""
        matches = (GRID.fullmatch(path.name) for path in self._folder.glob("fakes*.png"))
        return sorted(int(match[1]) for match in matches if match is not None)

    def grid(self, kimg: int) -> bytes:
        """The PNG file of a grid.

        Raises:
            ExploreError: there is none at so many kimg.
        """
        if kimg not in self.grids():
            raise ExploreError(f"this run has no grid at {kimg} kimg.")
        path = self._folder / f"fakes{kimg:06d}.png"
        if path.stat().st_size > MAX_GRID_BYTES:
            raise ExploreError(f"the grid at {kimg} kimg is too large to be shown.")
        return path.read_bytes()

    def _metrics(self) -> dict[str, list[list[float]]]:
        curves = {}
        for path in sorted(self._folder.glob("metric-*.jsonl")):
            lines = evaluate_run.read_record(path)
            curves[path.stem.removeprefix("metric-")] = [[line["kimg"], line["value"]] for line in lines[-MAX_POINTS:]]
        return curves

    def _doctor(self) -> list[str]:
        path = self._folder / TEXT_NAME
        if not path.is_file():
            return []
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_TAIL))
            text = file.read().decode(errors="replace")
        lines = [line.partition("Doctor: ") for line in text.splitlines()]
        return [f"{before.strip()}: {said}" for before, found, said in lines if found][-MAX_SENTENCES:]


def is_run(folder: Path) -> bool:
    """Whether this is a run directory with something to show."""
    return (folder / CONFIG_NAME).is_file() and ((folder / STATS_NAME).is_file() or (folder / "checkpoints").is_dir())


def _curve(stats: list[dict[str, Any]], name: str) -> list[list[float]]:
    """[[kimg, value], ...] of a scalar; values that are not finite are left out."""
    points = [[line["nimg"] / 1000, line[name]] for line in stats if math.isfinite(line.get(name, math.nan))]
    step = max(1, math.ceil(len(points) / MAX_POINTS))
    return points[::-1][::step][::-1]  # the newest one is always there
