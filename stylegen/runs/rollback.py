"""What a run does where its losses are not finite: it goes back to a checkpoint, and from there another way.

A single step whose losses or gradients are not finite is skipped (see ``train_step``). After ``run.max_skipped`` in a
row the run goes back, with another order of the images and another random key, both of which follow from the number of
times that it has gone back. That number is in ``rollbacks.json``, written before training goes on: a run that is killed
and resumed is the run that was not.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

from stylegen.runtime import processes

NAME = "rollbacks.json"  # in the run directory


@dataclass(frozen=True)
class Rollback:
    """A return to a checkpoint."""

    at: int  # nimg where it was decided
    to: int  # nimg of the checkpoint; 0 is the beginning of the run


def read(folder: Path) -> list[Rollback]:
    """All rollbacks of a run, oldest first, as process 0 finds them."""
    path = folder / NAME
    text = path.read_text() if processes.is_main() and path.exists() else "[]"
    return [Rollback(**entry) for entry in json.loads(processes.from_main(text))]


def write(folder: Path, rollbacks: list[Rollback]) -> None:
    """Write the list, whole or not at all; to be called by process 0."""
    partial = folder / f"{NAME}.partial"
    partial.write_text(json.dumps([asdict(each) for each in rollbacks], indent=1) + "\n")
    partial.replace(folder / NAME)


def in_vain(rollbacks: list[Rollback]) -> int:
    """How many rollbacks there were since the run last got a checkpoint beyond the place where it had diverged."""
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
    """What to say where going back does not help any more; the last of the rollbacks is the one that is not made."""
    at, to, tried = rollbacks[-1].at / 1000, rollbacks[-1].to / 1000, in_vain(rollbacks) - 1
    start = f" --run.init-from {folder}" if to else ""
    saved = f"The last checkpoint is of {to:g} kimg. " if to else "Nothing was saved. "
    times = f" after going back {tried} times" if tried else ""
    return (
        f"{why}: at {at:g} kimg{times}. The run has diverged. {saved}Start another run{start} with a smaller "
        "optimizer.learning_rate or a larger loss.r1_gamma."
    )
