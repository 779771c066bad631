"""When to train at which resolution: nimg -> Stage. Pure, on the host, a function of the configuration and nimg alone.

Progressive growing (Karras et al. 2018, Fig. 2), with the original StyleGAN's durations: the start resolution is
stable, then every doubling first fades in and is then stable. Resolution, batch size and learning rate change where a
fade begins.
"""

from dataclasses import dataclass
from typing import Literal

from stylegen.config import Config


@dataclass(frozen=True)
class Phase:
    """A stretch of the run at one resolution. Optimizer moments are reset where one begins."""

    index: int
    resolution: int
    kind: Literal["fade", "stable"]
    start: int  # nimg where it begins
    end: int  # nimg where it ends; beyond the run's end for those that the run does not reach
    batch_size: int
    learning_rate: float  # before the cooldown


@dataclass(frozen=True)
class Stage:
    """The schedule's values at one nimg."""

    phase: int  # index of the phase
    resolution: int
    alpha: float  # weight of the newest block, 0 at the beginning of its fade, 1 when stable
    batch_size: int
    learning_rate: float


def phases(config: Config) -> tuple[Phase, ...]:
    """All phases of growing, in order; the last one is stable at full resolution and lasts to the end of the run.

    The list covers all of growing; a run whose ``total_kimg`` is shorter ends before its last phases.
    """
    s = config.schedule
    result: list[Phase] = []
    nimg = 0
    for resolution in config.stage_resolutions:
        kinds: list[tuple[Literal["fade", "stable"], float]] = []
        if resolution > s.start_resolution:
            kinds.append(("fade", s.fade_kimg_at.get(resolution, s.fade_kimg)))
        kinds.append(("stable", s.stable_kimg_at.get(resolution, s.stable_kimg)))
        for kind, kimg in kinds:
            end = nimg + max(round(kimg * 1000), 1)
            if kind == "stable" and resolution == config.resolution:
                end = max(end, total_nimg(config))
            batch, rate = config.batch_at(resolution), config.learning_rate_at(resolution)
            result.append(Phase(len(result), resolution, kind, nimg, end, batch, rate))
            nimg = end
    return tuple(result)


def total_nimg(config: Config) -> int:
    """Images that the run shows; training stops at the first step that reaches it."""
    return round(config.schedule.total_kimg * 1000)


def at(config: Config, nimg: int) -> Stage:
    """The stage of a run that has shown ``nimg`` images."""
    if nimg < 0:
        raise ValueError(f"nimg = {nimg}: must not be negative.")
    all_phases = phases(config)
    phase = next((p for p in all_phases if nimg < p.end), all_phases[-1])
    alpha = (nimg - phase.start) / (phase.end - phase.start) if phase.kind == "fade" else 1.0
    return Stage(phase.index, phase.resolution, alpha, phase.batch_size, phase.learning_rate * cooldown(config, nimg))


def cooldown(config: Config, nimg: int) -> float:
    """What the learning rate is multiplied by: 1, and towards the end of the run, linearly, down to 0.

    A constant rate with a cooldown ends about as well as one that falls all the way, and the run can be lengthened: go
    on from before the cooldown (Hägele et al. 2024, who trained language models).
    """
    length = config.schedule.cooldown_kimg * 1000
    left = max(total_nimg(config) - nimg, 0)
    return left / length if left < length else 1.0
