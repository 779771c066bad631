"""One experiment: its settings, what follows from them, and the check that they fit together."""

import math
from dataclasses import dataclass
from typing import Literal

from stylegen.config import checks
from stylegen.config.checks import (
    MAX_ARRAY_CHANNELS,
    MAX_CLASSES,
    MAX_COUNT,
    MAX_RESOLUTION,
    MIN_RESOLUTION,
    check,
    check_between,
    is_resolution,
)
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
from stylegen.shapes import LARGEST, MAX_SIDE, SMALLEST, SQUARE, resolution_of, shape_at, size_text


@dataclass(frozen=True)
class Config:
    """One experiment. Raises ConfigError if a value, or a combination of values, cannot work."""

    # Full resolution in pixels, a power of two from 4 to 1024. On the command line, WIDTHxHEIGHT sets const_shape too.
    resolution: int = 256
    # Rows and columns of the learned constant, 4 4 for squares: images have resolution / 4 times as many. Resolutions
    # of stages count in the same way.
    const_shape: tuple[int, int] = SQUARE
    image_channels: int = 3  # 1 gray, 3 RGB, 4 RGB with alpha; 2 works where the data has it. 1 to 16 of arrays.
    # Mean and standard deviation of each channel of arrays, in the data's own units, by which samples are brought back
    # to them; default: those of the data, which a run notes here.
    channel_stats: tuple[tuple[float, float], ...] = ()
    num_classes: int = 0  # classes of a conditional network; 0 is unconditional.
    # Names of the classes in order, for --labels of all verbs; default: those of the data, which a run notes here.
    class_names: tuple[str, ...] = ()
    # Number format of convolutions and activations. bfloat16 is faster and takes half the memory on GPUs and TPUs.
    # Parameters, optimizer, mapping network, statistics, losses and metrics stay float32.
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    # Precision of products and convolutions of float32 numbers. highest keeps all their bits, as StyleGAN2-ADA does.
    # default rounds the operands first, which is faster: to TF32 (10 bits of mantissa) on NVIDIA GPUs since Ampere, to
    # bfloat16 (7 bits) on TPUs. An H100 multiplies TF32 numbers 7 times as fast as float32 ones
    # (data sheet), so choose bfloat16 or default for a large float32 run. The setting does not change bfloat16 layers,
    # nor anything on a CPU. Metrics and projection always use highest.
    precision: Literal["highest", "default"] = "highest"

    data: DataConfig = DataConfig()
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    run: RunConfig = RunConfig()
    distributed: DistributedConfig = DistributedConfig()

    def __post_init__(self) -> None:
        validate(self)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """All block resolutions, from 4 to the full one."""
        return tuple(2**i for i in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def stage_resolutions(self) -> tuple[int, ...]:
        """Resolutions that the schedule trains at, smallest first."""
        return tuple(r for r in self.resolutions if r >= self.schedule.start_resolution)

    @property
    def is_arrays(self) -> bool:
        """Whether the data are arrays of numbers, which are fed as float32, not colors, which are uint8."""
        return self.data.source == "arrays"

    @property
    def pixel_dtype(self) -> Literal["uint8", "float32"]:
        """Kind of number of the images that training is fed with."""
        return "float32" if self.is_arrays else "uint8"

    def shape_at(self, resolution: int) -> tuple[int, int]:
        """Rows and columns of the images of a stage's resolution."""
        return shape_at(resolution, self.const_shape)

    def resolution_of(self, rows: int) -> int:
        """The stage's resolution whose images have so many rows."""
        return resolution_of(rows, self.const_shape)

    def size_text(self, resolution: int) -> str:
        """The size of a stage's images for people: ``256``, or ``512x384`` (width and height)."""
        return size_text(resolution, self.const_shape)

    def batch_at(self, resolution: int) -> int:
        """Global batch size at a stage's resolution."""
        return self.schedule.batch.get(resolution, self.data.batch)

    def micro_batch_at(self, resolution: int) -> int | None:
        """Most images that a device computes at once at a stage's resolution; None is no limit.

        Widths at most double where the resolution halves, so that the features of an image take half the memory.
        """
        micro_batch = self.run.micro_batch
        return None if micro_batch is None else micro_batch * (self.resolution // resolution)

    def learning_rate_at(self, resolution: int) -> float:
        """Learning rate at a stage's resolution."""
        return self.schedule.learning_rate.get(resolution, self.optimizer.learning_rate)


def validate(config: Config) -> None:
    """Check every value and combination; raise ConfigError naming field, value and fix."""
    _check_sizes(config)
    _check_classes(config)
    checks.check_networks(config.generator, config.discriminator, config.resolution)
    checks.check_loss(config.loss, [config.batch_at(resolution) for resolution in config.stage_resolutions])
    checks.check_optimizer(config.optimizer)
    checks.check_data(config.data)
    _check_images(config)
    checks.check_augment(config.augment, config.loss.name, is_arrays=config.is_arrays)
    checks.check_schedule(config.schedule, config.resolution, grows=config.generator.block != "demod")
    _check_batches(config)
    checks.check_intervals(config.run)
    for owner, seed in (("run", config.run.seed), ("data", config.data.seed)):
        check(0 <= seed < 2**32, f"{owner}.seed", seed, "must be in 0 to 4294967295")
    checks.check_run(config.run)
    _check_micro_batches(config)
    checks.validate_distributed(config.distributed)
    checks.check_numbers(config, "")


def _check_sizes(config: Config) -> None:
    """Raise ConfigError unless images can have this size, and so many channels."""
    powers = f"must be a power of two from {MIN_RESOLUTION} to {MAX_RESOLUTION}"
    check(is_resolution(config.resolution), "resolution", config.resolution, powers)
    sides = f"must be two numbers from {SMALLEST} to {LARGEST}, of images of at most {MAX_SIDE} pixels a side"
    fits = len(config.const_shape) == 2 and all(SMALLEST <= side <= LARGEST for side in config.const_shape)
    fits = fits and max(config.shape_at(config.resolution)) <= MAX_SIDE
    check(fits, "const_shape", config.const_shape, sides)
    most = MAX_ARRAY_CHANNELS if config.is_arrays else 4
    check(1 <= config.image_channels <= most, "image_channels", config.image_channels, f"must be 1 to {most}")
    stats = config.channel_stats
    fits = not stats or (config.is_arrays and len(stats) == config.image_channels)
    fits = fits and all(len(pair) == 2 and math.isfinite(pair[0]) and 0 < pair[1] < math.inf for pair in stats)
    fix = "must be a mean and a positive deviation for each channel of arrays"
    check(fits, "channel_stats", stats, fix)


def _check_classes(config: Config) -> None:
    """Raise ConfigError unless there are as many names as classes."""
    fix = f"must be 0 (unconditional) or more, up to {MAX_CLASSES:,}"
    check_between(config.num_classes, "num_classes", 0, MAX_CLASSES, fix)
    fits = len(config.class_names) in (0, config.num_classes)
    fix = f"must be one for each of num_classes = {config.num_classes}, or none"
    check(fits, "class_names", list(config.class_names), fix)


def _check_images(config: Config) -> None:
    """Raise ConfigError unless the source has images of the configured size."""
    data = config.data
    if data.source == "toy_bedrooms":
        sides = config.shape_at(config.resolution)
        check(max(sides) <= 256, "resolution", config.resolution, "toy_bedrooms is drawn at up to 256 pixels")
        fix = f"toy_bedrooms is cut out of squares: the longer side must be a power of two, not {max(sides)}"
        check(max(sides) & (max(sides) - 1) == 0, "const_shape", config.const_shape, fix)
        check(config.image_channels == 3, "image_channels", config.image_channels, "toy_bedrooms is RGB; use 3")
    if config.const_shape[0] != config.const_shape[1]:
        check(data.crop == "center-crop", "data.crop", data.crop, "is for squares; center-crop takes the images' shape")


def _check_batches(config: Config) -> None:
    """Raise ConfigError unless every batch is made of whole groups of the minibatch standard deviation."""
    group = config.discriminator.mbstd_group_size
    fix = f"must be a multiple of discriminator.mbstd_group_size = {group}, or smaller than it"
    for resolution in config.stage_resolutions:
        batch = config.batch_at(resolution)
        name = f"schedule.batch[{resolution}]" if resolution in config.schedule.batch else "data.batch"
        check(batch >= 1, name, batch, "must be at least 1")
        check(batch < group or batch % group == 0, name, batch, fix)


def _check_micro_batches(config: Config) -> None:
    """Raise ConfigError unless the parts that a batch is computed in hold whole groups."""
    run = config.run
    check_between(run.micro_batch, "run.micro_batch", 1, MAX_COUNT)
    for resolution in config.stage_resolutions:
        group, most = min(config.discriminator.mbstd_group_size, config.batch_at(resolution)), run.micro_batch
        fix = f"must hold a group of discriminator.mbstd_group_size = {group} images, so be at least {group}"
        at_once = config.micro_batch_at(resolution)
        check(at_once is None or at_once >= group, "run.micro_batch", most, fix)
