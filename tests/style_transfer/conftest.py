"""A tiny model with random weights."""

import numpy as np
import pytest

from stylegen.style_transfer import networks
from stylegen.style_transfer.model import StyleModel

STAGES = ((4, 4), (6, 6), (8, 8), (10,))


def tiny(variance="biased", seed=0, scales="last") -> StyleModel:
    encoder = networks.random_params(networks.encoder_shapes(STAGES), seed)
    decoder = networks.random_params(networks.decoder_shapes(STAGES), seed + 1)
    rng = np.random.default_rng(seed)
    # Biases start at 0, which would hide that they are used at all; the middle of the range is not cut off.
    for params in (encoder, decoder):
        for name in params:
            if name.endswith("bias") and name.startswith("conv"):
                params[name] = rng.normal(0, 0.1, params[name].shape).astype(np.float32)
    decoder["conv6.kernel"] *= 0.2
    decoder["conv6.bias"] += 0.5
    return StyleModel(STAGES, variance, encoder, decoder, "tiny", scales)


@pytest.fixture(scope="session")
def model() -> StyleModel:
    return tiny()


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Waves and grain, uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x * rng.uniform(0.05, 0.6) + y * rng.uniform(0.05, 0.6) + rng.uniform(0, 6)) for _ in range(3)]
    return np.clip(128 + 80 * np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_picture():
    return picture


@pytest.fixture(scope="session")
def make_model():
    return tiny
