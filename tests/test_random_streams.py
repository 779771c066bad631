"""The first numbers of every random stream, stored: a test says which of them a change, or a new numpy or JAX, alters.

``docs/design_notes.md`` ("Random numbers") says which streams are promised to stay and which are not.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
import pytest

from stylegen import ops, sampling
from stylegen.config import AugmentConfig
from stylegen.data.pipeline import EpochOrder
from stylegen.evaluation.image_sets import shuffled
from stylegen.metrics import kid, ppl
from stylegen.metrics.swd import PatchSampler
from stylegen.networks.layers import Initializer
from stylegen.pretrained import vgg16
from stylegen.projection import search
from stylegen.sampling.programs import noise_from_seeds
from stylegen.style_transfer.networks import random_params
from stylegen.style_transfer.textures import texture
from stylegen.training import augment, draws, step
from stylegen.training.state import init_state
from tests.support.configs import tiny_config

Stream = Callable[[], object]


def path_ends() -> np.ndarray:
    z0, z1, t = next(ppl.path_ends(1, 2, sampling="full", seed=0, batch=1))
    return np.concatenate([z0[0], z1[0], t])


def patches() -> np.ndarray:
    """The places of patches: of an image whose pixels are their numbers."""
    sampler = PatchSampler(8, 1, seed=0, patches=4)
    sampler.update(np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1))
    return sampler.take(8)[:, 0, 0]


@functools.cache
def state():
    return init_state(tiny_config(8), seed=1000)


def step_randomness() -> np.ndarray:
    """What a training step makes of its key: latents, the layer at which styles switch, mirroring."""
    keys = step.step_keys(state())
    z = jax.random.normal(keys[1], (2,))
    w, w_mix = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    ws = [draws.mix_styles(w, w_mix, key, 18, 0.9).sum() for key in keys]
    mirrored = jax.random.bernoulli(keys[0], 0.5, (4,))
    return np.concatenate([z, ws, mirrored])


# Promised: numpy has frozen RandomState's stream.
FROZEN: dict[str, Stream] = {
    "latents of seeds": lambda: sampling.latents([0, 2**32 - 1], 2),
    "order of an epoch": lambda: EpochOrder(8, seed=3)(6, 12),
    "order of images in metrics": lambda: shuffled(8),
    "subsets of KID": lambda: kid.draw_subsets(10, 2, 3, seed=0),
    "patches of SWD": patches,
    "ends of path lengths": path_ends,
    "weights of random_vgg": lambda: vgg16.random_params()[0]["conv"][0]["kernel"][0, 0, 0, :4],
}
# Not promised: numpy's default_rng and jax.random may change with a version.
OTHERS: dict[str, Stream] = {
    "initial weights": lambda: Initializer(1000).normal((4,)),
    "initial generator": lambda: state().g["mapping"]["dense"]["dense1"]["weight"].ravel()[:4],
    "initial discriminator": lambda: state().d["blocks"]["b8"]["conv0"]["weight"].ravel()[:4],
    "constant noise": lambda: jax.tree.leaves(state().noise_const)[0].ravel()[:4],
    "noise of seeds": lambda: noise_from_seeds(np.array([0, 7], np.uint32), 2),
    "noise in training": lambda: ops.noise(jax.random.key(3), (4,)),
    "a training step": step_randomness,
    "augmentation": lambda: augment.draw(jax.random.key(5), (1, 4, 4, 3), AugmentConfig()).uniform.ravel()[:4],
    "candidates of a projection": lambda: search._latents(0, 2, 2),
    "initial weights of style transfer": lambda: random_params({"a.kernel": (1, 1, 2, 2)}, 0)["a.kernel"],
    "textures": lambda: texture(3, 4, seed=0)[0],
}
STORED: dict[str, list[float]] = {
    "latents of seeds": [1.764052, 0.4001572, 0.6484087, 0.6693235],
    "order of an epoch": [7, 6, 1, 3, 6, 0],
    "order of images in metrics": [6, 2, 1, 7, 3, 0, 5, 4],
    "subsets of KID": [2, 8, 4, 3, 5, 1],
    "patches of SWD": [9, 9, 1, 1],
    "ends of path lengths": [1.764052, 0.4001572, 0.978738, 2.240893, 0.4236548],
    "weights of random_vgg": [-0.2807001, 0.3976025, -0.4631568, -0.2268902],
    "initial weights": [-0.3826227, -0.455311, -0.4960013, -0.4452652],
    "initial generator": [25.15787, -86.29858, -208.5467, 19.79464],
    "initial discriminator": [-0.4214497, 0.00752373, 2.403155, -0.2275731],
    "constant noise": [-0.455273, 1.782625, 1.0907, 1.359405],
    "noise of seeds": [1.622642, 2.025265, 0.4512351, 1.953451],
    "noise in training": [-1.446257, 1.539381, 0.3825063, 1.970702],
    "a training step": [1.355582, 0.6445717, 0, 14, 9, 17, 0, 0, 1, 0],
    "augmentation": [0.4663799, 0.920881, 0.7358102, 0.0950815],
    "candidates of a projection": [1.117622, -1.387125, -0.4265716, -0.8035873],
    "initial weights of style transfer": [1.117622, -1.387125, -0.4265716, -0.8035873],
    "textures": [133, 123, 109, 42, 41, 61, 45, 47, 45, 144, 143, 125],
}


@pytest.mark.parametrize("name", [*FROZEN, *OTHERS])
def test_the_first_numbers_are_those_that_are_stored(name):
    numbers = np.asarray((FROZEN | OTHERS)[name](), np.float64).ravel()
    same = numbers.tolist() == pytest.approx(STORED.get(name, []), rel=1e-5, abs=1e-6)
    what = (
        "docs/design_notes.md promises that they do not: mend the change."
        if name in FROZEN
        else "Where that is meant, or a new numpy or JAX does it, say so in CHANGELOG.md and store the new ones:"
    )
    digits = ", ".join(f"{number:.7g}" for number in numbers)
    assert same, f"The numbers of the stream {name!r} have changed. {what}\n    {name!r}: [{digits}],"
