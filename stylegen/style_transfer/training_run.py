"""A style-transfer training's directory: where it stands, its crops, its states, its loop and its progress.

It holds ``config.json``, ``state.safetensors`` (where the training is), ``stats.jsonl``, ``preview.png`` (what the
networks do to some images), and at the end ``style.safetensors``, which ``stylize.py --model`` takes.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.io import json_lines
from stylegen.io.files import BestEffort
from stylegen.io.progress import Progress, Rate
from stylegen.io.signals import Interrupted, StopRequest
from stylegen.io.tensor_files import save_tensors
from stylegen.networks.trees import by_path
from stylegen.style_transfer import StyleError, training_images
from stylegen.style_transfer.config import StyleConfig
from stylegen.style_transfer.train_step import Training
from stylegen.untrusted import FileError, checksums, numbers
from stylegen.untrusted.tensors import open_tensors

STATE, STATS, RESULT, PREVIEW = "state.safetensors", "stats.jsonl", "style.safetensors", "preview.png"
PHASES = ("encoder", "decoder", "rebuild", "small", "refine", "done")


def trains_small(config: StyleConfig) -> bool:
    """Whether it is the small network that is trained."""
    return config.encoder.network == "small" and not config.encoder.weights


class Run:
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

    def crops(
        self, phase: int, step: int, n: int, shares: tuple[float, ...], size: int | None = None
    ) -> training_images.Crops:
        """What a step is shown; of ``size`` pixels, or ``data.crop``."""
        data = self.config.data
        rng = np.random.default_rng([self.config.run.seed, phase, step])
        return self.pool.draw(rng, n, size or data.crop, data.zoom, shares)

    def save(self, phase: str, step: int, tree: Any, extra: dict[str, Any]) -> None:
        """Write the state; atomic."""
        tensors = {f"{phase}.{name}": np.asarray(x) for name, x in by_path((tree, extra)).items()}
        about = {"phase": phase, "step": str(step), "photographs": self.pool.photographs_hash}
        save_tensors(self.folder / STATE, tensors, about)

    def where(self) -> tuple[str, int]:
        """The phase and the steps done in it."""
        metadata = self._metadata()
        if metadata is None:
            return "rebuild" if trains_small(self.config) else "encoder", 0
        phase, step = metadata.get("phase", ""), numbers.digits(metadata.get("step", ""))
        if phase not in PHASES or step is None:
            raise StyleError(
                f"{self.folder / STATE}: damaged (it does not say where the training is); delete it to begin anew."
            )
        return phase, step

    def is_saved(self) -> bool:
        """Whether there is a state to go on from."""
        return self._metadata() is not None

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
