"""The loop of ``train_style.py``: the encoder, then the decoder, saved so that the same command goes on.

A run directory holds ``config.json``, ``state.safetensors`` (where it is), ``stats.jsonl``, ``preview.png`` (what the
decoder does to some images), and at the end ``style.safetensors``, which ``stylize.py --model`` takes. What a step is
shown depends on the seed and the number of the step alone, so a resumed run is the run that was not interrupted.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.config_json import from_dict, to_dict
from stylegen.io import json_lines
from stylegen.io.files import BestEffort, write_json
from stylegen.io.images import save_grid
from stylegen.io.progress import Progress, Rate, counted
from stylegen.io.signals import Interrupted, StopRequest, stop_requested
from stylegen.io.tensor_files import save_tensors
from stylegen.networks.trees import by_path
from stylegen.paths import expanded
from stylegen.style_transfer import StyleError, networks, train_step, training_images
from stylegen.style_transfer.config import StyleConfig, with_current_names
from stylegen.style_transfer.losses import Variance
from stylegen.style_transfer.model import StyleModel, load_encoder, part, save_model
from stylegen.style_transfer.stylize import stylize
from stylegen.style_transfer.train_step import Training
from stylegen.untrusted import FileError, checksums, json_text, numbers
from stylegen.untrusted.tensors import open_tensors

STATE, STATS, RESULT, PREVIEW = "state.safetensors", "stats.jsonl", "style.safetensors", "preview.png"
PHASES = ("encoder", "decoder", "done")
# What may change between two sessions of a run.
RESUMABLE = ("run.dir", "run.save_steps", "run.preview_steps")
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
    given = load_encoder(config.encoder.weights) if config.encoder.weights else None
    progress.say(f"Drawing {counted(config.data.rooms, 'room')} and {counted(config.data.textures, 'texture')}.")
    pool = training_images.open_pool(config.data, progress.say)
    progress.say(f"{counted(len(pool.photographs), 'photograph')} ({photographs}).")
    with stop_requested() as asked:
        run = _Run(config, folder, pool, progress, asked)
        run.check_photographs()
        phase, step = run.where()
        if note := json_lines.set_aside(folder / STATS, _is_line):
            progress.say(note)
        json_lines.drop_after(folder / STATS, (PHASES.index(phase), step), _position)
        encoder = _encoder_of(run) if given is None else given[1]
        stages = config.stages if given is None else given[0]
        model = _decoder_of(run, encoder, stages, fresh=given is not None)
    save_model(model, folder / RESULT, json.dumps(to_dict(replace(config, run=replace(config.run, dir="")))))
    progress.say(f"{folder / RESULT}: written; python stylize.py --model {folder / RESULT} uses it.")
    return model


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


class _Run:
    """A training's directory, images and messages."""

    def __init__(
        self,
        config: StyleConfig,
        folder: Path,
        pool: training_images.ImagePool,
        progress: Progress,
        asked: StopRequest,
    ):
        """``asked`` is set when the training is to stop."""
        self.config, self.folder, self.pool, self.progress, self.asked = config, folder, pool, progress, asked
        self.best_effort = BestEffort(folder, progress.say)

    def crops(self, phase: int, step: int, n: int, shares: tuple[float, ...]) -> training_images.Crops:
        """What a step is shown."""
        data = self.config.data
        rng = np.random.default_rng([self.config.run.seed, phase, step])
        return self.pool.draw(rng, n, data.crop, data.zoom, shares)

    def save(self, phase: str, step: int, tree: Any, extra: dict[str, Any]) -> None:
        """Write the state; atomic."""
        tensors = {f"{phase}.{name}": np.asarray(x) for name, x in by_path((tree, extra)).items()}
        about = {"phase": phase, "step": str(step), "photographs": self.pool.photographs_hash}
        save_tensors(self.folder / STATE, tensors, about)

    def where(self) -> tuple[str, int]:
        """The phase and the steps done in it."""
        metadata = self._metadata()
        if metadata is None:
            return PHASES[0], 0
        phase, step = metadata.get("phase", ""), numbers.digits(metadata.get("step", ""))
        if phase not in PHASES or step is None:
            raise StyleError(
                f"{self.folder / STATE}: damaged (it does not say where the training is); delete it to begin anew."
            )
        return phase, step

    def check_photographs(self) -> None:
        """Refuse to go on with other photographs; states of earlier versions do not say which they were."""
        noted = (self._metadata() or {}).get("photographs")
        if noted not in (None, self.pool.photographs_hash):
            raise StyleError(
                f"{self.folder} was trained on other photographs than data.photographs ="
                f" {self.config.data.photographs!r} holds now, and would not be the same training. Give those that it"
                " began with, or another --run.dir."
            )

    def _metadata(self) -> dict[str, str] | None:
        """What is noted in the saved state; None if there is none."""
        path = self.folder / STATE
        if not path.is_file():
            return None
        try:
            with open_tensors(path) as file:
                return dict(file.metadata)
        except (FileError, OSError) as error:
            raise StyleError(f"{path}: damaged ({error}); delete it to begin anew.") from error

    def restore(self, phase: str, like: Any, extra: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The state of a phase in the structure of ``like`` and ``extra``."""
        path, wanted = self.folder / STATE, by_path((like, extra))
        try:
            with open_tensors(path) as file:
                for name, leaf in wanted.items():
                    stored = file.header(f"{phase}.{name}") if f"{phase}.{name}" in file.names else None
                    if stored != (leaf.shape, str(leaf.dtype)):
                        raise FileError(f"its {name} is {stored or 'missing'}; wanted {leaf.shape} {leaf.dtype}")
                arrays = file.read_all(file.names)
                checksums.check_tensors(arrays, file.metadata, str(path))
                leaves = [jnp.asarray(arrays[f"{phase}.{name}"]) for name in wanted]
        except (FileError, OSError) as error:
            raise StyleError(f"{path}: damaged ({error}); delete it to begin anew.") from error
        restored: tuple[Any, dict[str, Any]] = jax.tree.unflatten(jax.tree.structure((like, extra)), leaves)
        return restored

    def loop(
        self, phase: str, start: int, training: Training, extra: dict[str, Any], step_of: Any, save_preview: Any
    ) -> Any:
        """All steps of a phase from ``start``.

        ``step_of(training, number)`` does one; ``save_preview(training)``, if there is one, shows the result so far.
        """
        part_of = getattr(self.config, phase)
        total, batch = part_of.steps, part_of.batch
        rate = Rate(total * batch, start * batch)
        history: dict[str, list[Any]] = {}
        for number in range(start, total):
            if self.asked.is_set():  # here alone is the state that of the step: within one, its buffers are given away
                self.save(phase, number, training, extra)
                self.progress.say(f"{self.folder}: stopped at step {number} of the {phase}; the same command goes on.")
                raise Interrupted(self.asked.number)
            training, metrics = step_of(training, number)
            for name, value in metrics.items():
                history.setdefault(name, []).append(value)
            if (number + 1) % 50 == 0 or number + 1 == total:
                means = {name: float(np.mean(jax.device_get(values))) for name, values in history.items()}
                self.report(phase, number + 1, total, means, rate)
                history = {}
            if (number + 1) % self.config.run.save_steps == 0:
                self.save(phase, number + 1, training, extra)
            is_due = (number + 1) % self.config.run.preview_steps == 0 or number + 1 == total
            if save_preview is not None and is_due:
                save_preview(training)
        return training

    def report(self, phase: str, step: int, total: int, means: dict[str, float], rate: Rate) -> None:
        """A line of progress, which stays at the end of a phase, and one of stats.jsonl."""
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        images = step * getattr(self.config, phase).batch
        speed = rate.speed(images)
        text = f"{phase} {step:,} of {total:,} steps  {numbers}  {speed:.1f} img/s, {rate.left(images)} left"
        rate.restart(images)
        if step == total:
            self.progress.say(text)
        else:
            self.progress.update(text)
        with self.best_effort.writing(STATS):
            line = {"phase": phase, "step": step, **means, "img_per_s": speed}
            json_lines.append(self.folder / STATS, line)


def _encoder_of(run: _Run) -> dict[str, Any]:
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
        crops = run.crops(0, number, config.encoder.batch, training_images.STYLE_SHARES)
        rate = train_step.learning_rate(config.encoder.learning_rate, number, config.encoder.steps)
        weight = config.encoder.classification_weight
        return train_step.encoder_step(training, *crops.arrays, rate, weight, stages=config.stages)

    training = run.loop("encoder", start, training, {}, step_of, None)
    images = run.crops(2, 0, _NORMALIZATION_CROPS, training_images.STYLE_SHARES).images
    encoder, decoder = part(training.params, "encoder."), part(training.params, "decoder.")
    means = train_step.mean_activations(encoder, images, stages=config.stages)
    encoder, decoder = train_step.normalize_activations(encoder, decoder, means)
    run.save("decoder", 0, train_step.begin(decoder), encoder)
    return encoder


def _decoder_of(run: _Run, encoder: dict[str, Any], stages: networks.Stages, fresh: bool) -> StyleModel:
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
    start = start if phase == "decoder" else 0

    def step_of(training: Training, number: int) -> Any:
        content = run.crops(3, number, config.decoder.batch, training_images.CONTENT_SHARES).images
        style = run.crops(4, number, config.decoder.batch, training_images.STYLE_SHARES).images
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


def _preview_writer(run: _Run, model_of: Any) -> Any:
    """Writes ``preview.png``: contents in the first column, styles in the first row, results between them."""
    pool, side = run.pool, 128
    kinds = [pool.photographs[:3], pool.rooms[:3], pool.textures[:3]]
    contents = [_fitted(image, side) for kind in kinds for image in kind][:4]
    styles = [_fitted(image, side) for image in [*pool.textures[:6], *pool.photographs[-1:]]]

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
