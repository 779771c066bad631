"""The training of the small pair's decoder: to rebuild images, then for style on small crops and on larger ones.

The encoder is VGG-16 up to relu3_1, and the decoder begins fitted to it (``inversion``). For style, VGG-16 is the loss
network. Contents and styles are drawn before each of these two trainings. What the encoder and VGG-16 make of them is
kept, so that a step asks VGG-16 for the result's features alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.style_transfer import inversion, networks, perceptual, perceptual_step, train_step, training_images
from stylegen.style_transfer.config import RebuildConfig, SmallConfig
from stylegen.style_transfer.matching import Scales
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.networks import Params, Stages
from stylegen.style_transfer.train_step import Training
from stylegen.style_transfer.training_run import PHASES, RESULT, Run

STAGES: Stages = ((64, 64), (128, 128), (256,))  # VGG-16 up to relu3_1
_CROPS, _SIZE = 64, 128  # that activations are measured on and the decoder is fitted to, and pixels of each
_WARMUP = 30  # steps over which the learning rate rises
_BATCH = 8  # images at once


@dataclass(frozen=True)
class Activations:
    """What the encoder and the loss network make of crops, by number of the crop: results of ``activations``."""

    maps: np.ndarray
    features: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    statistics: perceptual.Targets

    def batch(self, styles: "Activations", rng: np.random.Generator, n: int) -> perceptual_step.Batch:
        """``n`` contents of these, each with a style of the other."""
        content, style = rng.integers(len(self.mean), size=n), rng.integers(len(styles.mean), size=n)
        statistics = jax.tree.map(lambda x: x[style], styles.statistics)
        return perceptual_step.Batch(
            maps=jnp.asarray(self.maps[content]),
            mean=jnp.asarray(styles.mean[style]),
            std=jnp.asarray(styles.std[style]),
            features=jnp.asarray(self.features[content]),
            statistics=statistics,
        )


def train(run: Run, vgg: Params, preview_of: Callable[[Callable[[Training], StyleModel]], Any]) -> StyleModel:
    """Train the decoder, or go on.

    Args:
        run: the training's directory.
        vgg: ``perceptual.load()``.
        preview_of: makes what saves a preview, of what makes the pair of a training.
    """
    losses, seed = run.config.loss, run.config.run.seed
    weights = perceptual_step.Weights(
        losses.content_weight, losses.style_weight, losses.variation_weight, losses.range_weight
    )
    crops = run.crops(5, 0, _CROPS, training_images.FITTING, _SIZE).images
    vgg, _ = perceptual.normalized(vgg, crops[::2])
    encoder = {name: vgg[name] for name in networks.encoder_shapes(STAGES)}
    reached, start = run.where()
    if run.is_saved():
        like = {name: jnp.zeros(shape) for name, shape in networks.decoder_shapes(STAGES).items()}
        training, _ = run.restore(reached, train_step.begin(like), {})
    else:
        run.progress.say(f"Fitting a decoder to {_CROPS} crops.")
        training = train_step.begin(inversion.fitted_decoder(encoder, STAGES, crops, seed))
        run.save("rebuild", 0, training, {})
    # Layers that were trained for style no longer rebuild what the encoder's were given.
    for_style = run.config.small.steps or run.config.refine.steps
    model_of = _model_of(encoder, str(run.folder / RESULT), "last" if for_style else "all")
    if reached == "rebuild":
        training = _rebuilt(run, start, training, encoder, preview_of(model_of))
        reached, start = "small", 0
        run.save(reached, start, training, {})
    vgg = perceptual.compressed(vgg, crops[::2]) if losses.compressed else vgg
    for phase in ("small", "refine"):
        settings: SmallConfig = getattr(run.config, phase)
        number = PHASES.index(phase)
        if number < PHASES.index(reached) or start >= settings.steps:
            continue
        run.progress.say(f"Measuring {settings.contents} contents and {settings.styles} styles with VGG-16.")
        contents = run.crops(6, number, settings.contents, training_images.CONTENTS, settings.crop).images
        styles = run.crops(7, number, settings.styles, training_images.STYLES, settings.style_crop).images
        pair = [_activations(encoder, vgg, images) for images in (contents, styles)]

        def step_of(
            training: Training, n: int, settings: SmallConfig = settings, pair: list[Activations] = pair
        ) -> Any:
            batch = pair[0].batch(pair[1], np.random.default_rng([seed, len(pair[0].mean), n]), settings.batch)
            return perceptual_step.step(training, vgg, batch, _rate(settings, n), weights, stages=STAGES)

        training = run.loop(phase, start, training, {}, step_of, preview_of(model_of))
        start = 0
        run.save("refine", 0 if phase == "small" else settings.steps, training, {})
    return model_of(training)


def _rebuilt(run: Run, start: int, training: Training, encoder: Params, save_preview: Any) -> Training:
    """All layers of the fitted decoder trained together; Adam begins anew for what comes after."""
    settings = run.config.rebuild
    weights = inversion.Weights(settings.layers_weight, settings.pixels_weight, settings.features_weight)

    def step_of(training: Training, n: int) -> Any:
        images = run.crops(9, n, settings.batch, training_images.FITTING, settings.crop).images
        return inversion.step(training, encoder, images, _rate(settings, n), weights, stages=STAGES)

    return train_step.begin(run.loop("rebuild", start, training, {}, step_of, save_preview).params)


def _rate(settings: RebuildConfig | SmallConfig, n: int) -> float:
    """The learning rate of a step."""
    return train_step.learning_rate(settings.learning_rate, n, settings.steps) * min(1.0, (n + 1) / _WARMUP)


def _activations(encoder: Params, vgg: Params, images: np.ndarray) -> Activations:
    parts = [
        jax.device_get(perceptual_step.activations(encoder, vgg, images[i : i + _BATCH], stages=STAGES))
        for i in range(0, len(images), _BATCH)
    ]
    return Activations(*jax.tree.map(lambda *x: np.concatenate(x), *parts))


def _model_of(encoder: Params, source: str, scales: Scales) -> Callable[[Training], StyleModel]:
    def model(training: Training) -> StyleModel:
        encoder_arrays, decoder_arrays = (
            {name: np.asarray(x) for name, x in part.items()} for part in (encoder, training.params)
        )
        return StyleModel(STAGES, "biased", encoder_arrays, decoder_arrays, source, scales)

    return model
