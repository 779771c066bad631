"""Rollbacks: a run whose losses are not finite returns to a checkpoint and goes on with other randomness.

A single step whose losses or gradients are not finite is skipped (see ``train_step``). After ``run.max_skipped`` in a
row the run goes back, with another order of the images and another random key. Both follow from the number of
rollbacks, which ``rollbacks.json`` keeps. It is written before training goes on, so a run that is killed and resumed
gives the same result as one that is not.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

from stylegen.config import MAX_KIMG
from stylegen.io.files import write_json
from stylegen.io.progress import counted, in_kimg
from stylegen.runs.directory import RunError
from stylegen.runtime import processes
from stylegen.untrusted import FileError, checksums, json_text, numbers, shown

NAME = "rollbacks.json"  # in the run directory
MAX_NIMG = 1000 * MAX_KIMG


@dataclass(frozen=True)
class Rollback:
    """A return to a checkpoint."""

    at: int  # nimg where it was decided
    to: int  # nimg of the checkpoint; 0 is the beginning of the run


def read(folder: Path) -> list[Rollback]:
    """All rollbacks of a run, oldest first, as process 0 finds them.

    Raises:
        RunError: the file holds something else.
    """
    entries = _read(folder / NAME) if processes.is_main() else []
    return [Rollback(at, to) for at, to in processes.broadcast(entries)]


def _read(path: Path) -> list[tuple[int, int]]:
    if not path.exists():
        return []
    try:
        tree = json_text.read(path)
        if not isinstance(tree, list) or not all(isinstance(entry, dict) for entry in tree):
            raise FileError(f"{path}: holds {shown(tree)}; wanted a list of rollbacks.")
        entries = [checksums.unseal(entry, str(path)) for entry in tree]
        pairs = [
            [numbers.whole(entry.get(name), f"{path}: {name}", 0, MAX_NIMG) for name in ("at", "to")]
            for entry in entries
        ]
        return [(at, to) for at, to in pairs]
    except FileError as error:
        raise RunError(
            f"{error} The order of the images after a rollback follows from this file. Restore it from a copy; or "
            "delete it, and the run goes on from its newest checkpoint as one that never went back."
        ) from error


def write(folder: Path, rollbacks: list[Rollback]) -> None:
    """Write the list atomically and to the disk; to be called by process 0."""
    write_json(folder / NAME, [checksums.seal(asdict(entry)) for entry in rollbacks], indent=1)


def in_vain(rollbacks: list[Rollback]) -> int:
    """Number of rollbacks since the run last saved a checkpoint beyond the place where it had diverged."""
    count = 0
    for number in reversed(range(len(rollbacks))):
        count += 1
        if number == 0 or rollbacks[number].to > rollbacks[number - 1].at:
            break
    return count


def order_seed(seed: int, rollbacks: int) -> int:
    """Seed of the order of images after so many rollbacks; the configured one before the first."""
    return seed if rollbacks == 0 else int(np.random.SeedSequence([seed, rollbacks]).generate_state(1)[0])


def other_key(key: jax.Array, rollbacks: int) -> jax.Array:
    """The random key to go on with from a checkpoint that has ``key``, after so many rollbacks."""
    return jax.random.fold_in(key, rollbacks)


def advice(why: str, rollbacks: list[Rollback], folder: Path) -> str:
    """The message of a run that rollbacks do not help any more; the last of ``rollbacks`` is not carried out."""
    at, to, tried = rollbacks[-1].at, rollbacks[-1].to, in_vain(rollbacks) - 1
    start = f" --run.init-from {folder}" if to else ""
    saved = f"The last checkpoint is of {in_kimg(to)} kimg. " if to else "Nothing was saved. "
    times = f" after going back {counted(tried, 'time')}" if tried else ""
    return (
        f"{why}: at {in_kimg(at)} kimg{times}. The run has diverged. {saved}Start another run{start} with a smaller "
        "optimizer.learning_rate or a larger loss.r1_gamma."
    )
