"""Memory of long training and long sampling stays flat: what each step or batch leaves behind would add up."""

import gc
import resource
from pathlib import Path

import pytest

import stylegen
from stylegen.train import Hooks, train
from tests.support.configs import tiny_config

KIMG = 100  # 25,000 steps of four images
BATCHES = 6000
ALLOWED = 12.0  # MB of growth between a third of the way and the end, 0.7 kB a step: allocators come and go by some MB


def resident_mb() -> float:
    """Resident memory of this process now, in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


class Recorder(Hooks):
    """Resident memory at every tick."""

    def __init__(self) -> None:
        self.mb: list[float] = []

    def on_tick(self, state, scalars, nimg):
        self.mb.append(resident_mb())


def check_flat(mb: list[float]) -> None:
    """The last tenth lies no higher than what there was from a third of the way to the middle."""
    third, half, last = len(mb) // 3, len(mb) // 2, len(mb) - len(mb) // 10
    early, late = max(mb[third:half]), max(mb[last:])
    assert late - early <= ALLOWED, [round(value) for value in mb]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_training_does_not_grow(tmp_path):
    run = {"dir": str(tmp_path / "run"), "tick_kimg": 1.0, "checkpoint_kimg": 10.0, "keep_last": 2, "grid": (2, 1)}
    config = tiny_config(
        resolution=4,
        schedule={"start_resolution": 4, "total_kimg": KIMG},
        run=run,
        data={"batch": 4},
    )
    recorder = Recorder()
    train(config, recorder)
    assert len(recorder.mb) == KIMG
    check_flat(recorder.mb)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_sampling_does_not_grow(make_generator):
    G = make_generator()
    mb = []
    for i in range(BATCHES):
        stylegen.sample(G, range(4 * i, 4 * i + 4), batch=4, noise="random")
        if i % (BATCHES // 100) == 0:
            mb.append(resident_mb())
    check_flat(mb)
