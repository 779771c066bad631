"""``--auto``: the settings that follow from the number of devices and the resolution, where nobody has stated them.

The rules are those of StyleGAN2-ADA's configuration "auto" (Karras et al. 2020, published code), which are for networks
of one resolution throughout. A network that grows keeps the original StyleGAN's R1 gamma of 10 and its learning rates
by resolution, and doubles the batch as the resolution halves.
"""

import dataclasses
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from stylegen.config import Config, Section, option
from stylegen.config_json import from_dict, to_dict
from stylegen.training import footprint

R1_RULE = 0.0002  # times pixels, over the batch
EMA_RULE = 10 / 32  # kimg of half-life for each image of the batch
MOST_AT_LOW_RESOLUTION = 256  # images a step at low resolutions of a network that grows, as in the original
# Of networks that grow, by resolution (StyleGAN, published code, for 8 GPUs).
GROWING_RATES = {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003}


@dataclass(frozen=True)
class Devices:
    """The devices that a run is to use."""

    count: int  # of all processes
    memory: float | None = None  # bytes of each that a step may take; None is not known


def batch_size(side: int, devices: int, group: int) -> int:
    """Images a step: on each device as many as 4096 / side in pixels, at most 32; 64 in all, and whole groups on each.

    NVIDIA's rule allows a device less than a group; here it gets one, because groups lie on one device.
    """
    rule = max(min(devices * min(4096 // side, 32), 64), devices)
    unit = group * devices
    return max(rule // unit, 1) * unit


def choose(config: Config, stated: Collection[str], devices: Devices) -> dict[str, Any]:
    """The settings that ``--auto`` stands for, by name.

    Args:
        config: with whatever has been stated, and defaults elsewhere.
        stated: names of settings, ``loss.r1_gamma``, that an experiment or the command line states; they stay.
        devices: of the run.
    """
    r, group = config.resolution, config.discriminator.mbstd_group_size
    pixels = math.prod(config.shape_at(r))
    side = math.isqrt(pixels)  # of a square of as many pixels, which the rules are for
    grows = config.schedule.start_resolution < r
    chosen: dict[str, Any] = {}

    def choose_open(name: str, value: Any) -> None:
        if name not in stated:
            chosen[name] = value

    unit_group = math.lcm(group, config.loss.pl_batch_shrink) if config.loss.pl_weight else group
    if not set(config.stage_resolutions) <= set(config.schedule.batch):
        choose_open("data.batch", batch_size(side, devices.count, unit_group))
    batch = config.schedule.batch.get(r) or chosen.get("data.batch", config.data.batch)
    if grows:
        # Which batch or rate belongs to a resolution is one choice: a stated one is that of all resolutions.
        most = max(MOST_AT_LOW_RESOLUTION // batch, 1)  # whole batches, which split over the devices as one does
        lower = {size: batch * min(r // size, most) for size in config.stage_resolutions if size < r}
        if "data.batch" not in stated:
            choose_open("schedule.batch", lower)
        if "optimizer.learning_rate" not in stated:
            choose_open("schedule.learning_rate", {size: v for size, v in GROWING_RATES.items() if size <= r})
    else:
        choose_open("optimizer.learning_rate", 0.002 if side >= 1024 else 0.0025)
        if config.loss.name == "logistic":
            choose_open("loss.r1_gamma", float(f"{R1_RULE * pixels / batch:.4g}"))
    choose_open("optimizer.ema_kimg", round(batch * EMA_RULE, 3))
    if "run.micro_batch" not in stated and devices.memory is not None:
        completed = apply(config, chosen)
        own = batch // devices.count
        fitting = footprint.fitting(completed, devices.memory) if _needs_parts(completed, devices) else None
        if fitting is not None and fitting < own:
            chosen["run.micro_batch"] = fitting
    return chosen


def _needs_parts(config: Config, devices: Devices) -> bool:
    assert devices.memory is not None
    steps = [footprint.step_bytes(config, r, devices.count) for r in config.stage_resolutions]
    return max(steps) > devices.memory


def apply(config: Config, chosen: dict[str, Any]) -> Config:
    """The configuration with other values of settings, by name.

    Raises:
        ConfigError: they cannot be.
    """
    tree = to_dict(config)
    for name, value in chosen.items():
        *path, last = name.split(".")
        part = tree
        for key in path:
            part = part[key]
        part[last] = json.loads(json.dumps(value))
    return from_dict(Config, tree)


def options(chosen: dict[str, Any]) -> str:
    """Settings as one would type them."""

    def text(value: Any) -> Any:
        return ",".join(f"{r}:{v:g}" for r, v in value.items()) if isinstance(value, dict) else value

    return " ".join(option(name, text(value)) for name, value in chosen.items())


NAMES = (  # that a run keeps once it has begun
    *("data.batch", "schedule.batch", "schedule.learning_rate", "optimizer.learning_rate"),
    *("loss.r1_gamma", "optimizer.ema_kimg"),
)


def of_run(config: Config, run: Config, stated: Collection[str]) -> dict[str, Any]:
    """The settings that ``--auto`` chose when a run began, from the run's own configuration.

    A run that goes on with another number of devices stays the same run: only what is computed at once is chosen anew.
    """
    old = to_dict(run)
    values = {}
    for name in NAMES:
        section, field = name.split(".")
        value = old[section][field]
        if name not in stated and value != to_dict(config)[section][field]:
            values[name] = {int(r): v for r, v in value.items()} if isinstance(value, dict) else value
    return values


def stated_in(config: Config) -> set[str]:
    """Names of the settings that an experiment's file states: those it names, and those that differ from a default."""
    names = set()
    defaults = Config()
    for field in dataclasses.fields(Config):
        value, default = getattr(config, field.name), getattr(defaults, field.name)
        if not isinstance(value, Section):
            names |= {field.name} if value != default else set()
            continue
        for inner in dataclasses.fields(value):
            if inner.name in value.stated or getattr(value, inner.name) != getattr(default, inner.name):
                names.add(f"{field.name}.{inner.name}")
    return names
