"""The training of the small pair, with VGG-16 as loss network: on small crops, then on larger ones.

It begins with a pair that an autoencoder's encoder and the losses of its own features have trained, and trains encoder
and decoder together. Contents and styles are drawn before each of the two trainings, and VGG-16's features and
statistics of them are kept, so that a step asks it for the result's alone: half of the work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.style_transfer import networks, perceptual, perceptual_step, train_step, training_images
from stylegen.style_transfer.config import SmallConfig
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.networks import Params, Stages
from stylegen.style_transfer.train_step import Training
from stylegen.style_transfer.training_run import PHASES, RESULT, Run

_CROPS, _SIZE = 64, 128  # that the loss network's activations are measured on, and pixels of each
_WARMUP = 100  # steps over which the learning rate rises
_BATCH = 8  # images at once of which the loss network makes targets


@dataclass(frozen=True)
class Bank:
    """Crops, and what the loss network makes of them."""

    images: np.ndarray  # uint8 [n, h, w, 3]
    features: np.ndarray | None  # relu4_1 [n, h/8, w/8, 512] of contents, in half precision
    statistics: perceptual.Targets  # [n, C] at each tap

    def batch(self, styles: "Bank", rng: np.random.Generator, n: int) -> perceptual_step.Batch:
        """``n`` contents of this bank, with half as many styles of the other."""
        assert self.features is not None
        content, style = rng.integers(len(self.images), size=n), rng.integers(len(styles.images), size=n // 2)
        statistics = jax.tree.map(lambda x: np.repeat(x[style], 2, axis=0), styles.statistics)
        return perceptual_step.Batch(self.images[content], self.features[content], styles.images[style], statistics)


def train(run: Run, begin: StyleModel, vgg: Params, save_preview: Callable[[Training], None] | None) -> StyleModel:
    """Train the small pair, or go on; the loss network's weights are those of ``perceptual.load``."""
    crops = run.crops(5, 0, _CROPS, training_images.PAIR_STYLES, _SIZE).images
    vgg, _ = perceptual.normalized(vgg, crops[::2])
    losses = run.config.loss
    weights = perceptual_step.Weights(
        losses.content_weight, losses.style_weight, losses.variation_weight, losses.range_weight
    )
    stages = begin.stages
    reached, start = run.where()
    if start or reached == "refine":
        training, _ = run.restore(reached, train_step.begin(_like(stages)), {})
    else:
        arrays = ({name: jnp.asarray(x) for name, x in part.items()} for part in (begin.encoder, begin.decoder))
        training = train_step.begin(dict(zip(("encoder", "decoder"), arrays, strict=True)))
    vgg = perceptual.compressed(vgg, crops[::2]) if losses.compressed else vgg
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
            rate = _rate(settings, phase, number)
            return perceptual_step.step(training, vgg, batch, rate, weights, stages=stages)

        training = run.loop(phase, start, training, {}, step_of, save_preview)
        start = 0
        run.save("refine", 0 if phase == "small" else settings.steps, training, {})
    return model_of(str(run.folder / RESULT), stages)(training)


def _rate(settings: SmallConfig, phase: str, number: int) -> float:
    if phase == "refine":
        return train_step.learning_rate(settings.learning_rate, number, settings.steps)
    return settings.learning_rate * min(1.0, (number + 1) / _WARMUP)


def _like(stages: Stages) -> Params:
    """Weights of the right shapes."""
    shapes = {"encoder": networks.encoder_shapes(stages), "decoder": networks.decoder_shapes(stages)}
    return {part: {name: jnp.zeros(shape) for name, shape in of.items()} for part, of in shapes.items()}


def _banks(run: Run, vgg: Params, settings: SmallConfig, phase: int) -> tuple[Bank, Bank]:
    run.progress.say(f"Measuring {settings.contents} contents and {settings.styles} styles with VGG-16.")
    contents = run.crops(6, phase, settings.contents, training_images.CONTENTS, settings.crop).images
    styles = run.crops(7, phase, settings.styles, training_images.STYLES, settings.style_crop).images
    return _bank(vgg, contents, True), _bank(vgg, styles, False)


def _bank(vgg: Params, images: np.ndarray, keep: bool) -> Bank:
    parts = []
    for i in range(0, len(images), _BATCH):
        features, statistics = perceptual_step.targets(vgg, images[i : i + _BATCH])
        parts.append(jax.device_get((features if keep else None, statistics)))
    features, statistics = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    return Bank(images, features, statistics)


def model_of(source: str, stages: Stages) -> Callable[[Training], StyleModel]:
    """The pair of a training as ``stylize`` takes it."""

    def model(training: Training) -> StyleModel:
        encoder, decoder = (
            {name: np.asarray(x) for name, x in training.params[part].items()} for part in ("encoder", "decoder")
        )
        return StyleModel(stages, "biased", encoder, decoder, source)

    return model
