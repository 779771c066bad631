"""Which values of settings can work: the checks of each section, and the error that names field, value and fix."""

import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from stylegen.config.sections import (
    AugmentConfig,
    DataConfig,
    DiscriminatorConfig,
    DistributedConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)
from stylegen.errors import StylegenError

MIN_RESOLUTION, MAX_RESOLUTION = 4, 1024
MAX_KIMG = 2_000_000  # the clock counts images in 32 bits
MAX_SHOWN = 200  # letters of a wrong value in a message
# Sizes far beyond all published networks, but such that whatever a file says can be described within a second.
MAX_WIDTH = 16_384  # of z, w, the mapping network's layers and the convolutions; published ones have 512
MAX_MAPPING_LAYERS = 64  # published networks have 2 and 8
MAX_CHANNEL_BASE = 2**26  # published ones go up to 2**16
MAX_CLASSES = 1_000_000  # ImageNet-21k has 21,841
MAX_ARRAY_CHANNELS = 16  # of arrays of numbers; colors have up to 4
MAX_COUNT = 10**9  # of images, steps, batches
LOGGERS = ("tensorboard", "wandb", "mlflow", "trackio")  # of run.log


class ConfigError(StylegenError):
    """A setting is wrong; the message names the field, its value and what would be right."""


def check(ok: bool, name: str, value: object, fix: str) -> None:
    """Raise ConfigError naming field, value and fix, unless ok."""
    if not ok:
        text = repr(value)  # a value from a file may be long
        raise ConfigError(f"{name} = {text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + ' …'}: {fix}.")


def check_between(value: float | None, name: str, least: float, most: float, fix: str = "") -> None:
    """Raise ConfigError unless a number, where there is one, is in a range; NaN is in none."""
    fix = fix or f"must be at least {least:,} and at most {most:,}"
    check(value is None or least <= value <= most, name, value, fix)


def option(name: str, value: object) -> str:
    """A setting's value on the command line: ``--run.keep-last 3``, ``--data.mirror``, ``--data.no-mirror``."""
    path, dot, last = name.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        return f"--{path}{dot}{last}" if value else f"--{path}{dot}no-{last}"
    return f"--{path}{dot}{last} {value}"


def is_resolution(value: int) -> bool:
    """Whether a network can have this many pixels a side."""
    return MIN_RESOLUTION <= value <= MAX_RESOLUTION and value & (value - 1) == 0


def check_numbers(part: Any, where: str) -> None:
    """Raise ConfigError for a number that is not finite, or beyond what anything counts; after all finer checks."""
    for field_ in fields(part):
        name, value = where + field_.name, getattr(part, field_.name)
        if is_dataclass(value):
            check_numbers(value, f"{name}.")
        for number in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
            if isinstance(number, float):
                check(math.isfinite(number), name, value, "must be a finite number")
            elif isinstance(number, int) and not name.endswith("seed"):
                check(abs(number) <= MAX_COUNT, name, value, f"must be at most {MAX_COUNT:,}")


def check_networks(g: GeneratorConfig, d: DiscriminatorConfig, resolution: int) -> None:
    """Raise ConfigError unless both networks can be built for a full resolution."""
    for name in ("z_dim", "w_dim", "mapping_width"):
        check_between(getattr(g, name), f"generator.{name}", 1, MAX_WIDTH)
    check_between(g.mapping_layers, "generator.mapping_layers", 1, MAX_MAPPING_LAYERS)
    lr_multiplier = g.mapping_lr_multiplier
    check(0 < lr_multiplier < math.inf, "generator.mapping_lr_multiplier", lr_multiplier, "must be positive and finite")
    for owner, net in (("generator", g), ("discriminator", d)):
        check_between(net.channel_max, f"{owner}.channel_max", 1, MAX_WIDTH)
        decay = net.channel_decay
        check(0 <= decay <= 4, f"{owner}.channel_decay", decay, "must be from 0 (equal widths) to 4")
        least = math.ceil(2 * 2 ** ((math.log2(resolution) - 1) * decay))
        fix = f"leaves no channel at {resolution} pixels; make it at least {least}"
        check(net.channel_base >= least, f"{owner}.channel_base", net.channel_base, fix)
        check_between(net.channel_base, f"{owner}.channel_base", least, max(least, MAX_CHANNEL_BASE))
    check(0 <= g.w_avg_beta < 1, "generator.w_avg_beta", g.w_avg_beta, "must be in [0, 1)")
    check(0 <= g.style_mixing_prob <= 1, "generator.style_mixing_prob", g.style_mixing_prob, "must be in [0, 1]")
    check_between(d.mbstd_group_size, "discriminator.mbstd_group_size", 1, MAX_COUNT)


def check_loss(loss: LossConfig, batches: Sequence[int]) -> None:
    """Raise ConfigError unless a loss can be computed of all of these batches."""
    check(loss.r1_gamma >= 0, "loss.r1_gamma", loss.r1_gamma, "must be 0 (off) or more")
    check(loss.r1_interval >= 1, "loss.r1_interval", loss.r1_interval, "must be 1 (every step) or more")
    check(0 <= loss.pl_weight < math.inf, "loss.pl_weight", loss.pl_weight, "must be 0 (off) or more, and finite")
    check(loss.pl_interval >= 1, "loss.pl_interval", loss.pl_interval, "must be 1 (after every step) or more")
    check(0 < loss.pl_decay <= 1, "loss.pl_decay", loss.pl_decay, "must be above 0, and at most 1")
    shrink = loss.pl_batch_shrink
    check(shrink >= 1, "loss.pl_batch_shrink", shrink, "must be 1 (the whole batch) or more")
    for batch in batches:
        fix = f"must divide every batch if loss.pl_weight is not 0, and does not divide {batch}"
        check(not loss.pl_weight or batch % shrink == 0, "loss.pl_batch_shrink", shrink, fix)
    check(loss.wgan_lambda >= 0, "loss.wgan_lambda", loss.wgan_lambda, "must be 0 or more")
    check(loss.wgan_epsilon >= 0, "loss.wgan_epsilon", loss.wgan_epsilon, "must be 0 or more")


def check_optimizer(adam: OptimizerConfig) -> None:
    """Raise ConfigError for a value that Adam, or a moving average, cannot have."""
    check(adam.learning_rate > 0, "optimizer.learning_rate", adam.learning_rate, "must be positive")
    check(0 <= adam.beta1 < 1, "optimizer.beta1", adam.beta1, "must be in [0, 1)")
    check(0 <= adam.beta2 < 1, "optimizer.beta2", adam.beta2, "must be in [0, 1)")
    check(adam.epsilon > 0, "optimizer.epsilon", adam.epsilon, "must be positive")
    ema = adam.ema_kimg
    check(0 <= ema < math.inf, "optimizer.ema_kimg", ema, "must be 0 (no averaging) or more, and finite")
    rampup = adam.ema_rampup
    fix = "must be positive and finite, such as 0.05, or None (the whole half-life from the start)"
    check(rampup is None or 0 < rampup < math.inf, "optimizer.ema_rampup", rampup, fix)
    lengths = adam.power_ema
    fix = "must be none, or up to 4 different lengths from 0.01 to 0.28, such as 0.05 0.1"
    fits = len(set(lengths)) == len(lengths) <= 4 and all(0.01 <= length <= 0.28 for length in lengths)
    check(fits, "optimizer.power_ema", lengths, fix)


def check_data(data: DataConfig) -> None:
    """Raise ConfigError for a value that no source of images can have."""
    check(data.num_images >= 1, "data.num_images", data.num_images, "must be at least 1")
    check(data.workers is None or data.workers >= 0, "data.workers", data.workers, "must be 0 or more")
    if data.source == "tfds":
        check(data.tfds_name is not None, "data.tfds_name", None, "data.source tfds needs the data set's name")


def check_augment(a: AugmentConfig, loss: str, *, is_arrays: bool) -> None:
    """Raise ConfigError unless an augmentation suits the loss of this name, and the kind of data."""
    for name in ("p", "max_p"):
        check(0 <= getattr(a, name) <= 1, f"augment.{name}", getattr(a, name), "must be in [0, 1]")
    check(-1 < a.target < 1, "augment.target", a.target, "must be between -1 and 1")
    check(0 < a.speed_kimg < math.inf, "augment.speed_kimg", a.speed_kimg, "must be positive and finite")
    check(a.interval >= 1, "augment.interval", a.interval, "must be at least 1")
    groups = ("blit", "geometric", "color", "noise", "cutout")
    if a.mode != "none":
        some = any(getattr(a, name) for name in groups)
        check(some, "augment.mode", a.mode, f"transforms nothing; switch on one of {', '.join(groups)}")
    if a.mode != "none" and is_arrays:
        check(not a.color, "augment.color", a.color, "arrays have no colors; switch it off")
    if a.mode == "fixed":
        check(a.p > 0, "augment.p", a.p, "augment.mode fixed needs a chance, for example 0.2")
    if a.mode == "ada":
        fix = f"must be at most augment.max_p = {a.max_p}, the greatest that ada goes to"
        check(a.p <= a.max_p, "augment.p", a.p, fix)
        fix = "ada goes by the sign of the scores, which means nothing under wgan_gp; use logistic, or fixed"
        check(loss != "wgan_gp", "augment.mode", a.mode, fix)


def check_schedule(s: ScheduleConfig, resolution: int, *, grows: bool) -> None:
    """Raise ConfigError unless a schedule reaches the full resolution of networks that grow, or do not."""
    fix = f"must be a power of two from {MIN_RESOLUTION} to resolution = {resolution}"
    fits = is_resolution(s.start_resolution) and s.start_resolution <= resolution
    check(fits, "schedule.start_resolution", s.start_resolution, fix)
    fix = f"generator.block = demod does not grow; set it to resolution = {resolution}"
    check(grows or s.start_resolution == resolution, "schedule.start_resolution", s.start_resolution, fix)
    for name in ("total_kimg", "stable_kimg", "fade_kimg"):
        value = getattr(s, name)
        check(0 < value <= MAX_KIMG, f"schedule.{name}", value, f"must be positive, and at most {MAX_KIMG:,}")
    fix = f"must be from 0 to schedule.total_kimg = {s.total_kimg:g}"
    check(0 <= s.cooldown_kimg <= s.total_kimg, "schedule.cooldown_kimg", s.cooldown_kimg, fix)
    for name in ("stable_kimg_at", "fade_kimg_at", "batch", "learning_rate"):
        most = MAX_KIMG if name.endswith("kimg_at") else math.inf
        for key, value in getattr(s, name).items():
            check(is_resolution(key), f"schedule.{name}", {key: value}, f"its key {key} is no resolution")
            fits = 0 < value <= most and value < math.inf
            check(fits, f"schedule.{name}", {key: value}, "values must be positive and finite")


def check_intervals(run: RunConfig) -> None:
    """Raise ConfigError unless what a run does every so many kimg has a time."""
    fix = f"must be positive: from 0.001, which is one image, to {MAX_KIMG:,}"
    for name in ("tick_kimg", "checkpoint_kimg", "keep_every_kimg", "snapshot_kimg"):
        value = getattr(run, name)
        is_off = name == "snapshot_kimg" and value == 0
        check(value is None or is_off or 0.001 <= value <= MAX_KIMG, f"run.{name}", value, fix)
    every = run.metrics_every
    check(0.001 <= every <= MAX_KIMG, "run.metrics_every", every, fix)


def check_run(run: RunConfig) -> None:
    """Raise ConfigError for a value that no run can have."""
    for name in ("max_skipped", "max_rollbacks"):
        least = 1 if name == "max_skipped" else 0
        check(getattr(run, name) >= least, f"run.{name}", getattr(run, name), f"must be at least {least}")
    if run.init_from is not None:
        itself = run.init_from.rstrip("/") == run.dir.rstrip("/") or not run.init_from
        check(
            not itself,
            "run.init_from",
            run.init_from,
            "must be another run or a generator: a directory, a file, or hf:, https: or nvidia: with its name",
        )
    frozen_alone = run.freeze != "" and run.init_from is None
    check(not frozen_alone, "run.freeze", run.freeze, "would keep random layers; give run.init_from, which fills them")
    check(run.keep_last >= 1, "run.keep_last", run.keep_last, "must be at least 1, or a killed run could not resume")
    names = run.log.split(",") if run.log else []
    fix = f"must be {', '.join(LOGGERS)}, several of them with commas between them, or empty for none"
    check(set(names) <= set(LOGGERS) and len(set(names)) == len(names), "run.log", run.log, fix)
    grid_fits = len(run.grid) == 2 and min(run.grid) >= 1
    check(grid_fits, "run.grid", run.grid, "must be two numbers, at least one column and one row")
    check(run.devices is None or run.devices >= 1, "run.devices", run.devices, "must be at least 1")


def validate_distributed(d: DistributedConfig) -> None:
    """Raise ConfigError unless the settings of several processes fit together."""
    host, _, port = (d.coordinator or "host:1").rpartition(":")
    is_address = host != "" and port.isdecimal() and 0 < int(port) < 65536
    check(is_address, "distributed.coordinator", d.coordinator, "must be host:port, for example 10.0.0.1:1234")
    together = {"coordinator": d.coordinator, "num_processes": d.num_processes, "process_id": d.process_id}
    if any(value is not None for value in together.values()):
        for name, value in together.items():
            fix = "coordinator, num_processes and process_id are given together, or none of them"
            check(value is not None, f"distributed.{name}", value, fix)
    if d.num_processes is not None and d.process_id is not None:
        check(d.num_processes >= 1, "distributed.num_processes", d.num_processes, "must be at least 1")
        fix = f"must be 0 to {d.num_processes - 1}: one of distributed.num_processes = {d.num_processes}"
        check(0 <= d.process_id < d.num_processes, "distributed.process_id", d.process_id, fix)
    for name in ("start_timeout", "timeout"):
        value, fix = getattr(d, name), "must be 5 to 86400 seconds"
        check(5 <= value <= 86_400, f"distributed.{name}", value, fix)
