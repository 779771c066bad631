"""A configuration as text: its schedule, its layers, the time that it takes."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from stylegen.config import Config
from stylegen.config_json import to_json
from stylegen.io.files import natural_order
from stylegen.io.progress import in_kimg
from stylegen.io.tables import table
from stylegen.networks.layers import width_at
from stylegen.networks.trees import by_path, count_parameters
from stylegen.training import schedule
from stylegen.training.speed import Speeds
from stylegen.training.state import abstract_state


def multiplications(config: Config, resolution: int) -> int:
    """Multiplications of one pass of an image through both networks' 3x3 convolutions at a stage's resolution.

    The time of a training step is roughly proportional to them.
    """
    total = 0
    for net in (config.generator, config.discriminator):
        widths = {r: width_at(net, r) for r in config.resolutions if r <= resolution}
        for r, channels in widths.items():
            total += 9 * math.prod(config.shape_at(r)) * channels * (channels + (widths[r // 2] if r > 4 else 0))
    return total


def seconds_left(config: Config, nimg: int, resolution: int, img_per_sec: float) -> tuple[float, float]:
    """(seconds to the end of the phase, to the end of the run), given the speed at a resolution.

    The speed at other resolutions is predicted from the multiplications.
    """
    cost = multiplications(config, resolution)
    end, phase_left, run_left = schedule.total_nimg(config), 0.0, 0.0
    for phase in schedule.phases(config):
        images = max(min(phase.end, end) - max(phase.start, nimg), 0)
        seconds = images / img_per_sec * multiplications(config, phase.resolution) / cost
        run_left += seconds
        if phase.start <= nimg < phase.end:
            phase_left = seconds
    return phase_left, run_left


def schedule_table(config: Config, speed: Callable[[schedule.Phase], float] | None = None) -> str:
    """One row per phase, and one for all of them; with their hours, if the images a second of a phase are given."""
    rows = []
    end, total = schedule.total_nimg(config), 0.0
    for phase in schedule.phases(config):
        images = max(min(phase.end, end) - phase.start, 0)
        hours = images / speed(phase) / 3600 if speed and images else 0.0
        total += hours
        span = [in_kimg(phase.start), in_kimg(min(phase.end, end))] if images else ["not", "reached"]
        shown = f"{hours:.2f}" if speed else "-"
        rows.append(
            [config.size_text(phase.resolution), phase.kind, *span, phase.batch_size, f"{phase.learning_rate:g}", shown]
        )
    rows.append(["all", "", "0", in_kimg(end), "", "", f"{total:.2f}" if speed else "-"])
    text = _table(["pixels", "phase", "kimg", "to", "batch", "learning rate", "hours"], rows)
    if config.schedule.cooldown_kimg:
        text += f"\nThe learning rate falls to zero over the last {config.schedule.cooldown_kimg:g} kimg."
    return text


def predicted(config: Config, img_per_sec: float) -> Callable[[schedule.Phase], float]:
    """Images a second of each phase, given those at full resolution, by the multiplications of the networks."""
    full = multiplications(config, config.resolution)
    return lambda phase: img_per_sec * full / multiplications(config, phase.resolution)


def parameter_table(config: Config) -> str:
    """Parameters of each layer of both networks, with their shapes."""
    state = abstract_state(config)
    rows = []
    for name, params in (("generator", state.g), ("discriminator", state.d)):
        flat = {f"{name}/{path}": leaf for path, leaf in by_path(params, "/").items()}
        # Order of execution, not of the alphabet: b4 before b16 before b128.
        for path in sorted(flat, key=natural_order):
            rows.append([path, "x".join(map(str, flat[path].shape)), f"{flat[path].size:,}"])
        rows.append([f"{name}: all", "", f"{count_parameters(params):,}"])
    return _table(["layer", "shape", "parameters"], rows)


def describe(config: Config, img_per_sec: float | None = None, measured: Speeds | None = None) -> str:
    """The resolved configuration, the schedule and the parameters, for ``--dry-run``.

    Args:
        config: of the run.
        img_per_sec: the speed at full resolution, from which those of other stages are predicted.
        measured: the speed of every stage, which goes before.
    """
    speed: Callable[[schedule.Phase], float] | None = None
    if measured is not None:
        speed = partial(_measured, measured)
        note = "hours: measured here, a few steps of each stage; without reading data, samples, metrics and checkpoints"
    elif img_per_sec:
        speed = predicted(config, img_per_sec)
        pixels = config.size_text(config.resolution)
        note = f"hours: predicted from {img_per_sec:g} images/s at {pixels} pixels, by multiplications"
    else:
        note = (
            "hours: give --measure, which runs a few steps of each stage here, or --img-per-sec, the speed at full size"
        )
    return "\n".join([to_json(config), schedule_table(config, speed), note, "", parameter_table(config)])


def _measured(speeds: Speeds, phase: schedule.Phase) -> float:
    return speeds[phase.resolution, phase.batch_size]


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [dict(zip(titles, row, strict=True)) for row in rows]
    return table(cells, {title: (title, "<") for title in titles}, rule=True)
