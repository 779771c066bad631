"""The training of the small network, with VGG-16 as loss network: on small crops, then on larger ones.

Contents and styles are drawn before each of the two, and VGG-16's features and statistics of them are kept, so that a
step asks it for the result's alone: half of the work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.style_transfer import perceptual, small, small_step, train_step, training_images
from stylegen.style_transfer.config import SmallConfig
from stylegen.style_transfer.model import SmallModel
from stylegen.style_transfer.networks import Params
from stylegen.style_transfer.train_step import Training
from stylegen.style_transfer.training_run import PHASES, RESULT, Run

_NORMALIZATION_CROPS, _NORMALIZATION_SIZE = 64, 128  # that the loss network's activations are measured on
_WARMUP = 100  # steps over which the learning rate rises
_BATCH = 8  # images at once of which the loss network makes targets


@dataclass(frozen=True)
class Bank:
    """Crops, and what the loss network makes of them."""

    images: np.ndarray  # uint8 [n, h, w, 3]
    features: np.ndarray | None  # relu4_1 [n, h/8, w/8, 512] of contents, in half precision
    statistics: perceptual.Targets  # [n, C] at each tap

    def batch(self, styles: "Bank", rng: np.random.Generator, n: int) -> small_step.Batch:
        """``n`` contents of this bank, with half as many styles of the other."""
        assert self.features is not None
        content, style = rng.integers(len(self.images), size=n), rng.integers(len(styles.images), size=n // 2)
        statistics = jax.tree.map(lambda x: np.repeat(x[style], 2, axis=0), styles.statistics)
        return small_step.Batch(self.images[content], self.features[content], styles.images[style], statistics)


def train(run: Run, vgg: Params, save_preview: Callable[[Training], None] | None) -> SmallModel:
    """Train the small network, or go on; the loss network's weights are those of ``perceptual.load``."""
    vgg = loss_network(run, vgg)
    losses = run.config.loss
    weights = small_step.Weights(
        losses.content_weight, losses.style_weight, losses.variation_weight, losses.range_weight
    )
    params = {name: jnp.asarray(x) for name, x in small.random_params(run.config.run.seed).items()}
    training = train_step.begin(params)
    reached, start = run.where()
    if start or reached == "refine":
        training, _ = run.restore(reached, training, {})
    for phase in ("small", "refine"):
        if PHASES.index(phase) < PHASES.index(reached):
            continue
        settings = getattr(run.config, phase)
        if start >= settings.steps:
            continue
        contents, styles = _banks(run, vgg, settings, PHASES.index(phase))

        def step_of(training: Training, number: int, phase: str = phase, banks: Any = (contents, styles)) -> Any:
            settings = getattr(run.config, phase)
            rng = np.random.default_rng([run.config.run.seed, PHASES.index(phase), number])
            batch = banks[0].batch(banks[1], rng, settings.batch)
            return small_step.step(training, vgg, batch, _rate(settings, phase, number), weights)

        training = run.loop(phase, start, training, {}, step_of, save_preview)
        start = 0
        run.save("refine", 0 if phase == "small" else settings.steps, training, {})
    return model_of(str(run.folder / RESULT))(training)


def _rate(settings: SmallConfig, phase: str, number: int) -> float:
    if phase == "refine":
        return train_step.learning_rate(settings.learning_rate, number, settings.steps)
    return settings.learning_rate * min(1.0, (number + 1) / _WARMUP)


def loss_network(run: Run, vgg: Params) -> Params:
    """VGG-16 with activations of mean 1 in every layer, and convolutions of low rank if those are asked for."""
    crops = run.crops(5, 0, _NORMALIZATION_CROPS, training_images.STYLES, _NORMALIZATION_SIZE).images
    vgg, _ = perceptual.normalized(vgg, crops)
    return perceptual.compressed(vgg, crops[: _NORMALIZATION_CROPS // 2]) if run.config.loss.compressed else vgg


def _banks(run: Run, vgg: Params, settings: SmallConfig, phase: int) -> tuple[Bank, Bank]:
    run.progress.say(f"Measuring {settings.contents} contents and {settings.styles} styles with VGG-16.")
    contents = run.crops(6, phase, settings.contents, training_images.CONTENTS, settings.crop).images
    styles = run.crops(7, phase, settings.styles, training_images.STYLES, settings.style_crop).images
    return _bank(vgg, contents, True), _bank(vgg, styles, False)


def _bank(vgg: Params, images: np.ndarray, keep: bool) -> Bank:
    parts = []
    for i in range(0, len(images), _BATCH):
        features, statistics = small_step.targets(vgg, images[i : i + _BATCH])
        parts.append(jax.device_get((features if keep else None, statistics)))
    features, statistics = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    return Bank(images, features, statistics)


def model_of(source: str) -> Callable[[Training], SmallModel]:
    """The network of a training as ``stylize`` takes it."""
    return lambda training: SmallModel({name: np.asarray(x) for name, x in training.params.items()}, source)
