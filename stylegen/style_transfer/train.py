"""``train_style.py``: the small network, or a decoder and its encoder, saved so that the same command goes on.

``training_run`` has the directory and the loop. What a step is shown depends on the seed and the number of the step
alone, so a resumed run is the run that was not interrupted.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from stylegen.config_json import from_dict, to_dict
from stylegen.io import json_lines
from stylegen.io.files import write_json
from stylegen.io.images import save_grid
from stylegen.io.progress import Progress, counted
from stylegen.io.signals import stop_requested
from stylegen.paths import expanded
from stylegen.style_transfer import (
    StyleError,
    inversion,
    networks,
    perceptual,
    train_small,
    train_step,
    training_images,
)
from stylegen.style_transfer.config import StyleConfig, with_current_names
from stylegen.style_transfer.losses import Variance
from stylegen.style_transfer.model import StyleModel, load_encoder, part, save_decoder, save_model
from stylegen.style_transfer.stylize import stylize
from stylegen.style_transfer.train_step import Training
from stylegen.style_transfer.training_run import PHASES, PREVIEW, RESULT, STATS, Run, trains_small
from stylegen.untrusted import FileError, json_text

# What may change between two sessions of a run.
RESUMABLE = ("run.dir", "run.save_steps", "run.preview_steps")
_FIT_SIZE = 128  # pixels of the crops that a decoder is fitted to
_NORMALIZATION_CROPS = 256  # that the encoder's activations are averaged over


def train_style(config: StyleConfig, progress: Progress | None = None) -> StyleModel:
    """Train, or go on with the training in ``run.dir``.

    SIGTERM and Ctrl-C save between two steps and raise Interrupted; the same call goes on from there. A second Ctrl-C
    interrupts at once, and the same call goes on from what was saved last.

    Raises:
        StyleError: the directory is missing or holds something else; the encoder or the photographs cannot be used.
    """
    progress = progress or Progress()
    photographs = training_images.resolved(config.data.photographs)
    config = replace(config, data=replace(config.data, photographs=photographs))
    folder = _open_run(config)
    given = _given_encoder(config)
    progress.say(f"Drawing {counted(config.data.rooms, 'room')} and {counted(config.data.textures, 'texture')}.")
    pool = training_images.open_pool(config.data, progress.say)
    progress.say(f"{counted(len(pool.photographs), 'photograph')} ({photographs}).")
    with stop_requested() as asked:
        run = Run(config, folder, pool, progress, asked)
        run.check_photographs()
        phase, step = run.where()
        if note := json_lines.set_aside(folder / STATS, _is_line):
            progress.say(note)
        json_lines.drop_after(folder / STATS, (PHASES.index(phase), step), _position)
        model = _trained(run, given)
    made_by = json.dumps(to_dict(replace(config, run=replace(config.run, dir=""))))
    use = f"--model {folder / RESULT}"
    if is_vgg16(config):
        save_decoder(model, folder / RESULT, made_by)
        use = f"--network vgg16 --decoder {folder / RESULT}"
    else:
        save_model(model, folder / RESULT, made_by, half=trains_small(config))
    progress.say(f"{folder / RESULT}: written; python stylize.py {use} uses it.")
    return model


def _given_encoder(config: StyleConfig) -> tuple[networks.Stages, networks.Params] | None:
    """Stages and weights of an encoder that is not trained."""
    if config.encoder.weights:
        return load_encoder(config.encoder.weights)[:2]
    return (perceptual.VGG16, perceptual.load()) if is_vgg16(config) else None


def is_vgg16(config: StyleConfig) -> bool:
    """Whether a decoder is trained for the VGG-16 of the extra ``perceptual``."""
    return config.encoder.network == "vgg16" and not config.encoder.weights


def _trained(run: Run, given: tuple[networks.Stages, networks.Params] | None) -> StyleModel:
    config = run.config
    if trains_small(config):
        return train_small.train(run, perceptual.load(), lambda model_of: _preview_writer(run, model_of))
    if given is None:
        return _decoder_of(run, _encoder_of(run), config.stages, fresh=False)
    stages, encoder = given
    if not is_vgg16(config):
        return _decoder_of(run, encoder, stages, fresh=True)
    images = run.crops(2, 0, _NORMALIZATION_CROPS // 4, training_images.PAIR_STYLES).images
    normal, divisor = perceptual.normalized(encoder, images)
    model = _decoder_of(run, normal, stages, fresh=True)
    # So that the decoder takes the features of VGG-16 as it is.
    decoder = model.decoder | {"conv0.kernel": model.decoder["conv0.kernel"] / divisor}
    return replace(model, encoder=encoder, decoder=decoder)


def _open_run(config: StyleConfig) -> Path:
    if not config.run.dir:
        raise StyleError("run.dir is empty: say where the training goes, for example --run.dir runs/style.")
    folder, wanted = expanded(config.run.dir), to_dict(config)
    path = folder / "config.json"
    if path.is_file():
        try:
            there = with_current_names(json_text.read_object(path))
            differing = [name for name in _differing(there, wanted) if name not in RESUMABLE]
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise StyleError(f"{path}: cannot be read ({error}); give another --run.dir.") from error
        if differing:
            raise StyleError(
                f"run.dir = {config.run.dir!r}: holds a training with another {', '.join(differing)}; give another "
                "directory, or the same settings to resume it."
            )
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StyleError(f"run.dir = {config.run.dir!r}: holds something else; give an empty directory.")
    write_json(path, wanted)
    return folder


def settings_of(folder: Path) -> StyleConfig:
    """The configuration of the training in a directory, to resume it.

    Raises:
        StyleError: it cannot be read.
    """
    path = folder / "config.json"
    try:
        config = from_dict(StyleConfig, with_current_names(json_text.read_object(path)))
    except (FileError, OSError, ValueError, AttributeError, TypeError) as error:
        raise StyleError(f"{path}: cannot be read ({error}); give --config.") from error
    return replace(config, run=replace(config.run, dir=str(folder)))


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [
        f"{section}.{name}" for section in b for name in b[section] if a.get(section, {}).get(name) != b[section][name]
    ]


def _position(line: dict[str, Any]) -> tuple[int, int]:
    """Where in the training a line of stats.jsonl stands."""
    return PHASES.index(line["phase"]), line["step"]


def _is_line(line: dict[str, Any]) -> bool:
    return line.get("phase") in PHASES and type(line.get("step")) is int


def _encoder_of(run: Run) -> dict[str, Any]:
    """Train the own encoder, as the first half of an autoencoder that also classifies images."""
    config = run.config
    phase, start = run.where()
    shapes = {f"encoder.{name}": shape for name, shape in networks.encoder_shapes(config.stages).items()}
    shapes |= {f"decoder.{name}": shape for name, shape in networks.decoder_shapes(config.stages).items()}
    shapes |= train_step.head_shapes(config.stages, run.pool.num_classes)
    params = {name: jnp.asarray(x) for name, x in networks.random_params(shapes, config.run.seed).items()}
    if phase != "encoder":
        return part(params, "encoder.")  # the state of the decoder's training holds the trained one
    params["head.kernel"] = params["head.kernel"] * 0.1
    training = train_step.begin(params)
    if start:
        training, _ = run.restore("encoder", training, {})

    def step_of(training: Training, number: int) -> Any:
        crops = run.crops(0, number, config.encoder.batch, training_images.PAIR_STYLES)
        rate = train_step.learning_rate(config.encoder.learning_rate, number, config.encoder.steps)
        weight = config.encoder.classification_weight
        return train_step.encoder_step(training, *crops.arrays, rate, weight, stages=config.stages)

    training = run.loop("encoder", start, training, {}, step_of, None)
    images = run.crops(2, 0, _NORMALIZATION_CROPS, training_images.PAIR_STYLES).images
    encoder, decoder = part(training.params, "encoder."), part(training.params, "decoder.")
    means = train_step.mean_activations(encoder, images, stages=config.stages)
    encoder, decoder = train_step.normalize_activations(encoder, decoder, means)
    run.save("decoder", 0, train_step.begin(decoder), encoder)
    return encoder


def _decoder_of(run: Run, encoder: dict[str, Any], stages: networks.Stages, fresh: bool) -> StyleModel:
    """Train the decoder for an encoder, which stays as it is."""
    config = run.config
    variance: Variance = "unbiased" if config.decoder.unbiased else "biased"
    decoder = {n: jnp.asarray(x) for n, x in networks.random_params(networks.decoder_shapes(stages), 1).items()}
    training = train_step.begin(decoder)
    weights = train_step.LossWeights(config.decoder.content_weight, config.decoder.style_weight)
    encoder = {name: jnp.asarray(x) for name, x in encoder.items()}
    phase, start = run.where()
    if phase == "decoder":
        training, encoder = run.restore("decoder", training, encoder)
    elif fresh and config.decoder.fit_crops:
        run.progress.say(f"Fitting the decoder to {counted(config.decoder.fit_crops, 'crop')}.")
        crops = run.crops(8, 0, config.decoder.fit_crops, training_images.FITTING, _FIT_SIZE).images
        training = train_step.begin(inversion.fitted_decoder(encoder, stages, crops, config.run.seed))
    start = start if phase == "decoder" else 0

    def step_of(training: Training, number: int) -> Any:
        content = run.crops(3, number, config.decoder.batch, training_images.PAIR_CONTENTS).images
        style = run.crops(4, number, config.decoder.batch, training_images.PAIR_STYLES).images
        rate = train_step.learning_rate(config.decoder.learning_rate, number, config.decoder.steps)
        return train_step.decoder_step(
            training, encoder, content, style, rate, weights, stages=stages, variance=variance
        )

    def model_of(training: Training) -> StyleModel:
        mine, trained = ({name: np.asarray(x) for name, x in tree.items()} for tree in (encoder, training.params))
        return StyleModel(stages, variance, mine, trained, str(run.folder / RESULT))

    save_preview = _preview_writer(run, model_of)
    training = run.loop("decoder", start, training, encoder, step_of, save_preview)
    run.save("decoder", config.decoder.steps, training, encoder)
    return model_of(training)


def _preview_writer(run: Run, model_of: Any) -> Any:
    """Writes ``preview.png``: contents in the first column, styles in the first row, results between them."""
    pool, side = run.pool, 128
    kinds = [pool.photographs[:3], pool.rooms[:3], pool.textures[:3]]
    paintings = pool.styles[:: max(1, len(pool.styles) // 3)][:3]
    contents = [_fitted(image, side) for kind in kinds for image in kind][:4]
    styles = [_fitted(image, side) for image in [*paintings, *pool.textures[:6], *pool.photographs[-1:]][:7]]

    def save_preview(training: Training) -> None:
        model = model_of(training)
        rows = [np.full((side, side, 3), 255, np.uint8), *styles]
        for content in contents:
            rows += [content, *(stylize(model, content, [style]) for style in styles)]
        with run.best_effort.writing(PREVIEW):
            save_grid(np.stack(rows), run.folder / PREVIEW, len(styles) + 1)

    return save_preview


def _fitted(image: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    small = min(image.shape[:2])
    top, left = (image.shape[0] - small) // 2, (image.shape[1] - small) // 2
    square = Image.fromarray(image[top : top + small, left : left + small])
    return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
