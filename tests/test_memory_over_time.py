"""Memory of long training and long sampling stays flat: what each step or batch leaves behind would add up.

Each is a process of its own, so that what other tests have left neither hides growth nor passes for it.
"""

import gc
import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import stylegen
from stylegen.train import Hooks, train
from tests.support.configs import tiny_config
from tests.support.fuzz_files import generator

KIMG = 100  # 25,000 steps of four images
BATCHES = 6000
ALLOWED = 12.0  # MB of growth between a third of the way and the end, 0.7 kB a step: allocators come and go by some MB
STATUS = Path("/proc/self/status")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's /proc")]


def memory_mb() -> float:
    """Memory of this process now, in MB, without pages of files: the system drops and reads those as it likes."""
    gc.collect()
    kb = re.findall(r"^(?:RssAnon|VmSwap):\s*([0-9]+) kB$", STATUS.read_text(), re.MULTILINE)
    assert len(kb) == 2, "Linux says this since 4.5"
    return sum(map(int, kb)) * 1024 / 1e6


class Recorder(Hooks):
    """Memory at every tick."""

    def __init__(self) -> None:
        self.mb: list[float] = []

    def on_tick(self, state, scalars, nimg):
        self.mb.append(memory_mb())


def memory_of_training(folder: Path) -> list[float]:
    """Memory at every tick of a training, in MB."""
    run = {"dir": str(folder / "run"), "tick_kimg": 1.0, "checkpoint_kimg": 10.0, "keep_last": 2, "grid": (2, 1)}
    config = tiny_config(
        resolution=4,
        schedule={"start_resolution": 4, "total_kimg": KIMG},
        run=run,
        data={"batch": 4},
    )
    recorder = Recorder()
    train(config, recorder)
    return recorder.mb


def memory_of_sampling() -> list[float]:
    """Memory a hundred times while images are drawn, in MB."""
    G = generator()
    mb = []
    for i in range(BATCHES):
        stylegen.sample(G, range(4 * i, 4 * i + 4), batch=4, noise="random")
        if i % (BATCHES // 100) == 0:
            mb.append(memory_mb())
    return mb


def check_flat(mb: list[float]) -> None:
    """The last tenth lies no higher than what there was from a third of the way to the middle."""
    third, half, last = len(mb) // 3, len(mb) // 2, len(mb) - len(mb) // 10
    early, late = max(mb[third:half]), max(mb[last:])
    assert late - early <= ALLOWED, [round(value) for value in mb]


def alone(measure: Callable[..., list[float]], *args: Any) -> list[float]:
    """What ``measure`` returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *args).result()


def test_training_does_not_grow(tmp_path):
    mb = alone(memory_of_training, tmp_path)
    assert len(mb) == KIMG
    check_flat(mb)


def test_sampling_does_not_grow():
    check_flat(alone(memory_of_sampling))
