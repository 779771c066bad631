"""Checkpoints of a small run, saved, restored and damaged."""

import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.config import Config
from stylegen.config_json import to_json
from stylegen.runs import checkpoint
from stylegen.runs.checkpoint import Checkpointer
from stylegen.training import schedule
from stylegen.training.state import TrainState
from tests.support.configs import tiny_config
from tests.support.devices import with_devices
from tests.support.paths import ROOT
from tests.support.states import numbers, random_state

# Eight channels, so that a weight is larger than what Orbax writes about it.
CONFIG = tiny_config(
    data={"batch": 8},
    generator={"channel_max": 8},
    discriminator={"channel_max": 8},
    schedule={"stable_kimg": 3, "fade_kimg": 1, "total_kimg": 10},
)


def make_state(nimg: int, config: Config = CONFIG) -> TrainState:
    return random_state(nimg, config)


def assert_same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(numbers(a), numbers(b), strict=True):
        assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


def save(run: Path, *nimgs: int, keep_last: int = 10, keep_every_nimg: int | None = None) -> None:
    run.mkdir(exist_ok=True)
    (run / "config.json").write_text(to_json(CONFIG))
    with Checkpointer(run, CONFIG, keep_last=keep_last, keep_every_nimg=keep_every_nimg) as checkpointer:
        for nimg in nimgs:
            checkpointer.save(make_state(nimg), schedule.at(CONFIG, nimg), {"position": [nimg]})


def restore(run: Path, config: Config = CONFIG) -> tuple[checkpoint.Restored | None, list[str]]:
    log: list[str] = []
    with Checkpointer(run, config, keep_last=10) as checkpointer:
        return checkpointer.restore(log=log.append), log


def step(run: Path, nimg: int) -> Path:
    return run / "checkpoints" / f"{nimg:09d}"


def damage_data(item: Path) -> None:
    """Cut off the end of every file of array contents."""
    for path in item.rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-10])


def flip_bit(item: Path, leaf: jax.Array) -> None:
    """Change one number on disk."""
    for path in item.rglob("d/*"):
        data = bytearray(path.read_bytes())
        if (at := data.find(np.asarray(leaf).tobytes())) >= 0:
            data[at + leaf.nbytes // 2] ^= 1
            path.write_bytes(data)
            return
    raise AssertionError("the leaf is not there, or compressed")


def python(code: str, *args: object, devices: int = 1) -> subprocess.CompletedProcess:
    """Run code in another process, after this module's names and what the code of tests needs besides."""
    environment = with_devices(devices) | {"PYTHONPATH": str(ROOT)}
    names = """
        import signal, sys
        from pathlib import Path
        import jax
        from stylegen.runs.checkpoint import *
        from stylegen.training import schedule
        from tests.support.checkpoints import *
    """
    code = textwrap.dedent(names) + textwrap.dedent(code)
    command = [sys.executable, "-c", code, *map(str, args)]
    # The limit is against hanging, not slowness.
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


def donated_update(state: TrainState) -> TrainState:
    """A step that overwrites every buffer."""

    def change(leaf: jax.Array) -> jax.Array:
        return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf * 2 + 1

    return jax.tree.map(change, state)
