"""Snapshots of a run: its moving-average generator from time to time, each a small file that is kept.

``snapshots/NNNNNNNNN.safetensors`` in the run directory, named by the number of images. A checkpoint holds the same
generator, in several times the space, and goes when newer ones are saved. This knows names alone: ``train`` writes the
files, ``load`` reads them.
"""

import re
from pathlib import Path

from stylegen.paths import expanded
from stylegen.runs.checkpoint_files import NAME_LENGTH, NEAR

NAME, SUFFIX = "snapshots", ".safetensors"
KEPT = 20  # in a run, where run.snapshot_kimg does not say


def path_of(run_dir: str | Path, nimg: int) -> Path:
    """The file of a snapshot."""
    return expanded(run_dir) / NAME / f"{nimg:0{NAME_LENGTH}d}{SUFFIX}"


def available(run_dir: str | Path) -> list[int]:
    """nimg of a run's snapshots, oldest first: listed, not looked into."""
    stems = [path.stem for path in (expanded(run_dir) / NAME).glob(f"*{SUFFIX}")]
    return sorted(int(stem) for stem in stems if re.fullmatch(rf"[0-9]{{{NAME_LENGTH},}}", stem))


def nearest(run_dir: str | Path, kimg: float) -> Path | None:
    """The snapshot at so many kimg, if one is within half a kimg."""
    near = [nimg for nimg in available(run_dir) if abs(nimg - kimg * 1000) <= NEAR]
    return path_of(run_dir, min(near, key=lambda nimg: abs(nimg - kimg * 1000))) if near else None


def is_due(run_dir: str | Path, nimg: int, every: int) -> bool:
    """Whether the first snapshot at or after a multiple of ``every`` images is still to be written, at ``nimg``."""
    last = max((done for done in available(run_dir) if done <= nimg), default=0)
    return nimg // every > last // every


def forget_after(run_dir: str | Path, nimg: int) -> None:
    """Delete those beyond the place where a run goes on: they are written again, and differ after a rollback."""
    for later in (done for done in available(run_dir) if done > nimg):
        path_of(run_dir, later).unlink(missing_ok=True)
