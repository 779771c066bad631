"""Fixtures that several tests share, and one cache of compiled programs for all of them."""

import ctypes
import dataclasses
import functools
import gc
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Most of the suite's time is compilation. Tests, worker processes and later runs share what is compiled; programs
# are found by their text, so a change of the code compiles anew. Set before jax is imported, for subprocesses too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "programs"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Tests compare float32 numbers; at JAX's default precision a GPU would compute them in TF32 and a TPU in bfloat16.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

# Shapes of unequal rank meet only where the code says so, with None or reshape: an array that lost an axis is an error.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

# A training step of a tiny network compiles in 2 s instead of 18 like this. XLA aborts at a flag that it does not know,
# so only where they are known to exist.
if importlib.metadata.version("jax").startswith(("0.10.", "0.11.", "0.12.")):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
if importlib.metadata.version("jax").startswith("0.10."):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

# Tests start processes of their own, and on an accelerator the first would take three quarters of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import checking

checking.install()

from stylegen.networks.generator import Generator
from stylegen.pretrained import installed, vgg16
from stylegen.shapes import SQUARE, Shape
from stylegen.training.schedule import Stage
from stylegen.training.state import ema_generator, init_state
from tests.support.configs import tiny_config


def pytest_collection_finish() -> None:
    """Keep what exists by now, imported modules above all, out of all further garbage collections: it stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forget_programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Free the programs that a module's tests have compiled, when its last test is done.

    JAX keeps each of them for as long as the process lives: 4.5 GiB at the end of the suite, and by then a third of the
    memory mappings that Linux allows a process. The next module's tests find theirs in the cache on disk.
    """
    yield
    for value in vars(request.module).values():
        if hasattr(value, "cache_clear") and value.__module__.startswith("tests."):  # programs that tests share
            value.cache_clear()
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def no_installed_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are the same with and without the extra "perceptual", but for those that ask for ``real_weights``."""
    if "real_weights" not in request.fixturenames:
        monkeypatch.setattr(installed, "find", lambda network: None)


@pytest.fixture
def real_weights() -> None:
    """Skip where the extra "perceptual" is not installed."""
    if installed.find("vgg16") is None:
        pytest.skip(f"needs the weights of VGG-16 and AlexNet: {installed.HOW}")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Wrong arguments get the errors that users see."""
    with checking.unchecked():
        yield


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The time of ``time.monotonic`` in seconds, ``now["s"]``, which a test may move."""
    clock = {"s": 1000.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["s"])
    return clock


@pytest.fixture
def narrow_vgg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """VGG-16's layers with an eighth of the channels: the same code, quick."""
    monkeypatch.setattr(vgg16, "STAGES", tuple(tuple(c // 8 for c in stage) for stage in vgg16.STAGES))
    monkeypatch.setattr(vgg16, "FEATURES", 32)
    monkeypatch.setattr(vgg16, "RANDOM_FEATURES", 8)
    vgg16.random_params.cache_clear()
    yield
    vgg16.random_params.cache_clear()


@functools.cache
def _generator(
    resolution: int = 16,
    channels: int = 3,
    classes: int = 0,
    stage: int | None = None,
    alpha: float = 1.0,
    block: str = "adain",
    const_shape: Shape = SQUARE,
) -> Generator:
    config = tiny_config(
        resolution,
        const_shape=const_shape,
        image_channels=channels,
        num_classes=classes,
        data={"source": "images"},
        generator={"block": block, "z_dim": 16, "w_dim": 16, "channel_max": 8},
        discriminator={"channel_max": 8},
    )
    state = init_state(config, seed=3)
    rng = np.random.default_rng(4)
    # Noise strengths and biases start at 0, which would hide that they are used at all.
    g_ema = jax.tree.map(lambda x: x + 0.2 * rng.standard_normal(x.shape, np.float32), state.g_ema)
    w_avg = jnp.asarray(rng.standard_normal(16, np.float32))
    state = dataclasses.replace(state, g_ema=g_ema, w_avg=w_avg, nimg=jnp.int32(5000))
    return ema_generator(config, state, Stage(0, stage or resolution, alpha, 4, 0.001))


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., Generator]:
    """Tiny generators with random weights; by default 16 pixels, 3 channels, no classes, and z and w of 16 numbers.

    Calls with the same arguments give the same object.
    """
    return _generator
