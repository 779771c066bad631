"""Where checkpoints lie in a run directory, and which one is meant. Knows neither their contents nor orbax."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stylegen.io.progress import in_kimg
from stylegen.paths import expanded
from stylegen.runs.checkpoint_layout import CheckpointError, Damaged

NAME_LENGTH = 9  # digits, at least, of a checkpoint's directory
NEAR = 500  # images by which a checkpoint may miss the kimg asked for: steps do not end on round numbers

_T = TypeVar("_T")


def available(run_dir: str | Path) -> list[int]:
    """nimg of a run's checkpoints, oldest first: listed, not looked into. Unfinished ones are not among them."""
    names = [path.name for path in folder(run_dir).glob("*") if path.is_dir()]
    return sorted(int(name) for name in names if re.fullmatch(rf"[0-9]{{{NAME_LENGTH},}}", name))


def folder(run_dir: str | Path) -> Path:
    """The folder of a run's checkpoints."""
    return expanded(run_dir).absolute() / "checkpoints"  # orbax takes absolute paths only


def step_dir(folder: Path, nimg: int) -> Path:
    """The directory of a checkpoint."""
    return folder / f"{nimg:0{NAME_LENGTH}d}"


def nearest(steps: list[int], kimg: float, run_dir: str | Path) -> int:
    """The checkpoint that is meant by so many kimg; raises CheckpointError if none is near."""
    step = min(steps, key=lambda nimg: abs(nimg - kimg * 1000))
    if abs(step - kimg * 1000) > NEAR:
        have = ", ".join(in_kimg(nimg) for nimg in steps)
        raise CheckpointError(f"{run_dir} has no checkpoint at {kimg:g} kimg; it has {have}.")
    return step


def newest_good(folder: Path, steps: list[int], read: Callable[[int], _T]) -> tuple[_T, dict[int, str]]:
    """The result of ``read`` for the newest good checkpoint, and the fault of every newer one by nimg."""
    bad: dict[int, str] = {}
    for nimg in reversed(steps):
        try:
            return read(nimg), bad
        except Damaged as error:
            bad[nimg] = str(error)
    every = "; ".join(f"{step_dir(folder, nimg).name}: {why}" for nimg, why in bad.items())
    raise CheckpointError(f"No usable checkpoint in {folder} ({every}). Nothing there was changed.")


def set_aside(folder: Path, nimg: int, why: str) -> str:
    """Rename a checkpoint to ``<why>-NNNNNNNNN``, so that it no longer counts as one; returns the new name."""
    path = step_dir(folder, nimg)
    aside = path.with_name(f"{why}-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    return aside.name
