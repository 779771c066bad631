"""Every setting of an experiment, with its unit, its default and the check that it makes sense.

A configuration is a tree of frozen dataclasses. An experiment file (``configs/*.py``) states only what differs from
the defaults below. The command line overrides single fields (``--data.batch 16``). ``Config`` checks the whole before
anything is compiled. The result is written as JSON into the run directory, and everything later reads it from there.
The comment behind (or above) each field is its ``--help`` text. Numbers without another source are those of the
original StyleGAN (Karras, Laine and Aila 2019, "A Style-Based Generator Architecture for Generative Adversarial
Networks").
"""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, Self

from stylegen.errors import StylegenError
from stylegen.paths import expanded
from stylegen.shapes import LARGEST, MAX_SIDE, SMALLEST, SQUARE, resolution_of, shape_at, size_text

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


def _expand(part: object, *names: str) -> None:
    """Make the home folder of a ``~`` at the beginning of these paths of a frozen dataclass."""
    for name in names:
        if (path := getattr(part, name)) and path.startswith("~"):
            object.__setattr__(part, name, str(expanded(path)))


@dataclass(frozen=True)
class Section:
    """Part of a configuration; it knows which of its fields whoever made it has named, be it with the default."""

    def __new__(cls, *args: object, **named: object) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_stated", frozenset(named))
        return self

    @property
    def stated(self) -> frozenset[str]:
        """Names of the fields that were given when this was made; for settings that follow from others."""
        names: frozenset[str] = self.__dict__["_stated"]
        return names


@dataclass(frozen=True)
class DataConfig(Section):
    """The source of the images and how they are fed."""

    # toy_bedrooms: drawn rooms, without download. lsun: a category of LSUN. images: a folder, zip or tar of images.
    # cifar10: its archive. tfds: a TFDS data set prepared as array_record. arrays: numbers, no colors (.npy, .npz).
    source: Literal["toy_bedrooms", "lsun", "images", "cifar10", "tfds", "arrays"] = "toy_bedrooms"
    # Folder that prepare.py wrote, or the raw archive (or its folder), which is then prepared first. For tfds: its
    # data_dir. Not used by toy_bedrooms.
    path: str | None = None
    # Where raw data is prepared to; default: beside it, stylegen-<its name>-<resolution>. If the raw data has changed,
    # a new run prepares it anew in the default folder; a folder that is named here is never deleted.
    prepared: str | None = None
    category: str = "bedroom"  # LSUN category, a scene (bedroom) or an object (cat, car).
    split: str = "train"  # split to train on.
    # Classes of raw images: auto takes a dataset.json, else folders that look like classes; folders; json; csv:FILE, a
    # table of file,label; or none. Read where num_classes is not 0.
    labels: str = "auto"
    tfds_name: str | None = None  # TFDS name with configuration, for example my_dataset/256px.
    # Square center crop, or a 4:3 crop on black bars above and below (the original's treatment of cars).
    crop: Literal["center-crop", "center-crop-wide"] = "center-crop"
    # Convert images by their ICC profiles to sRGB, or take their numbers as they are. Not for tfds, whose reader leaves
    # profiles out.
    color: Literal["srgb", "as-is"] = "srgb"
    mirror: bool = False  # show half of the images flipped; off for bedrooms in the original, on for faces.
    batch: int = 32  # images a step, all devices together, at resolutions that schedule.batch does not name.
    num_images: int = 20_000  # how many rooms toy_bedrooms draws.
    seed: int = 0  # order of the images.
    # Reader threads. Default: 2 where the CPU trains. Else as many as keep the accelerators busy at the stage's
    # resolution, up to all cores; it depends on how the images are stored.
    workers: int | None = None

    def __post_init__(self) -> None:
        _expand(self, "path", "prepared")


@dataclass(frozen=True)
class GeneratorConfig(Section):
    """Mapping and synthesis network (Sec. 2; appendix C for the mapping network's learning rate)."""

    # Blocks of both networks. adain: the original's, growing. demod: StyleGAN2's (Karras et al. 2020): weight
    # demodulation, a sum of images of all resolutions, and a residual discriminator; it does not grow.
    block: Literal["adain", "demod"] = "adain"
    z_dim: int = 512  # size of the latent z.
    w_dim: int = 512  # size of the style vector w.
    mapping_layers: int = 8  # depth of the mapping network.
    mapping_width: int | None = None  # features between its layers; default: w_dim.
    normalize_z: bool = True  # scale z, with its label's embedding, to unit mean square before the mapping network.
    mapping_lr_multiplier: float = 0.01  # scales weights and biases of the mapping network at run time.
    channel_base: int = 16_384  # width of the block at resolution r is min(channel_base // r, channel_max).
    channel_max: int = 512  # greatest width.
    channel_decay: float = 1.0  # how fast widths fall: 1 halves them as resolution doubles (the original's fmap_decay).
    use_noise: bool = True  # add noise in every layer; off in an ablation of the original's (Sec. 2, Table 1).
    w_avg_beta: float = 0.995  # decay a batch of the running mean of w.
    style_mixing_prob: float = 0.9  # chance that a batch switches from one w to another at a random layer.


@dataclass(frozen=True)
class DiscriminatorConfig(Section):
    """Discriminator (Karras et al. 2018, progressive growing; with blur before downsampling)."""

    channel_base: int = 16_384  # width of the block at resolution r is min(channel_base // r, channel_max).
    channel_max: int = 512  # greatest width.
    channel_decay: float = 1.0  # how fast widths fall: 1 halves them as the resolution doubles.
    mbstd_group_size: int = 4  # images that share a minibatch standard deviation; 1 switches the layer's effect off.


@dataclass(frozen=True)
class LossConfig(Section):
    """Adversarial loss and its gradient penalty."""

    # Non-saturating logistic with R1; relativistic pairing with R1 and R2 (R3GAN, Huang et al. 2024); or Wasserstein
    # with a gradient penalty.
    name: Literal["logistic", "relativistic", "wgan_gp"] = "logistic"
    # The loss adds r1_gamma/2 * squared gradient on reals, as seen at full resolution; relativistic: on fakes as well.
    r1_gamma: float = 10.0
    r1_interval: int = 1  # apply R1 every so many steps, times as strong (lazy regularization; StyleGAN2 uses 16).
    # Path-length regularization of the generator (StyleGAN2, Sec. 3.2): its weight; 0 is off, StyleGAN2's is 2. A step
    # of its own every pl_interval steps, on a fraction of the batch.
    pl_weight: float = 0.0
    pl_interval: int = 4  # training steps from one such step to the next; it is that many times as strong.
    pl_decay: float = 0.01  # how fast the length that paths are drawn to follows the mean of a batch.
    pl_batch_shrink: int = 2  # divides the batch, to save memory.
    wgan_lambda: float = 10.0  # weight of the gradient penalty of wgan_gp.
    wgan_epsilon: float = 0.001  # weight of the squared real score of wgan_gp, which keeps scores near zero.


@dataclass(frozen=True)
class AugmentConfig(Section):
    """Augmentation of reals and fakes for small data sets (ADA: Karras et al. 2020, limited data; numbers are its)."""

    # Off; a fixed strength, after a rise from 0; or adapted to how far the discriminator overfits.
    mode: Literal["none", "fixed", "ada"] = "none"
    p: float = 0.0  # chance of each transformation: with fixed, at all times after the rise; with ada, at the start.
    target: float = 0.6  # mean of sign(D(real)) that ada keeps: more is overfitting.
    speed_kimg: float = 500.0  # thousands of images in which p can rise from 0 to 1; less for a short run.
    interval: int = 4  # steps from one adjustment of p to the next.
    max_p: float = 0.8  # greatest p of ada; beyond about 0.8 transformations begin to show in the samples (Sec. 2).
    blit: bool = True  # mirroring, quarter turns, translation by whole pixels.
    geometric: bool = True  # scale, rotation, stretching, translation.
    color: bool = True  # brightness, contrast, luma flip, hue, saturation.
    noise: bool = False  # Gaussian noise in every pixel.
    cutout: bool = False  # a square of zeros, half as wide as the image.
    # Transform a real and the fake of its place in the batch alike. This is less noise for the discriminator
    # (docs/quality.md). Off: draw for each image anew, as the paper's authors do.
    paired: bool = True


@dataclass(frozen=True)
class OptimizerConfig(Section):
    """Adam, the same for both networks."""

    learning_rate: float = 0.001  # of both networks, at resolutions that schedule.learning_rate does not name.
    beta1: float = 0.0  # decay of the first moment.
    beta2: float = 0.99  # decay of the second moment.
    epsilon: float = 1e-8  # added to the root of the second moment.
    ema_kimg: float = 10.0  # half-life of the generator's moving average, in thousands of images.
    # While the run is young, a half-life of no more than this share of the images shown (StyleGAN2-ADA uses 0.05);
    # default: ema_kimg from the start. Off with run.init_from, whose average is to be kept.
    ema_rampup: float | None = None
    # Power-function averages of the generator that are kept as well (Karras et al. 2024, EDM2), by their lengths, such
    # as 0.05 0.1 of the training; convert --ema makes one of any other length of them. Each takes as much memory as the
    # generator, and a file at every checkpoint.
    power_ema: tuple[float, ...] = ()


@dataclass(frozen=True)
class ScheduleConfig(Section):
    """Progressive growing: the start resolution is stable, then each doubling fades in and is stable in turn."""

    start_resolution: int = 8  # first resolution; equal to the full one means no growing.
    total_kimg: float = 25_000.0  # length of the run, in thousands of real images shown.
    stable_kimg: float = 600.0  # length of a stable phase, where stable_kimg_at does not say otherwise.
    fade_kimg: float = 600.0  # length of a fade, where fade_kimg_at does not say otherwise.
    stable_kimg_at: dict[int, float] = field(default_factory=dict)  # stable_kimg by resolution: 8:24,16:16.
    fade_kimg_at: dict[int, float] = field(default_factory=dict)  # fade_kimg by the resolution faded in: 16:24.
    batch: dict[int, int] = field(default_factory=dict)  # images a step by resolution: 8:256,16:128.
    learning_rate: dict[int, float] = field(default_factory=dict)  # learning rate by resolution: 128:0.0015.


@dataclass(frozen=True)
class RunConfig(Section):
    """The run directory and what is written there."""

    dir: str = ""  # run directory; the same command on the same directory resumes the run.
    seed: int = 1000  # of weights, latents and noise.
    overwrite: bool = False  # start anew, deleting the run that is in the directory.
    # Start from the generator, average and discriminator of another run (its directory), or from any generator that
    # --run of other verbs takes: a file of ours, which has no discriminator, NVIDIA's .pkl, rosinality's .pt, or one
    # elsewhere (hf:owner/name, https://..., nvidia:bedroom-256). Parameters are matched by name and shape.
    init_from: str | None = None
    # Layers that stay as they are: names of parameters or their beginnings, such as d.b64,d.b32 or g.mapping.
    freeze: str = ""
    max_skipped: int = 3  # updates in a row that are skipped, for losses that are not finite, before going back.
    max_rollbacks: int = 3  # times in a row to go back to a checkpoint without getting further; then the run ends.
    tick_kimg: float | None = None  # progress, scalars and a grid so often; default: about 200 ticks in a run.
    checkpoint_kimg: float | None = None  # full state so often; default: every 10 ticks or 200 kimg.
    keep_last: int = 2  # newest checkpoints kept.
    keep_every_kimg: float | None = None  # also keep one every so many kimg for ever.
    # Keep a generator alone, a small file in snapshots/, every so many kimg. Default: about 20 in a run; 0: none.
    snapshot_kimg: float | None = None
    grid: tuple[int, int] = (8, 8)  # columns and rows of the sample grid.
    # Where scalars, grids and advice go besides the run directory: tensorboard, wandb, mlflow, trackio, or several with
    # commas between them. All but the first are extras. One that fails does not end the run.
    log: str = "tensorboard"
    # Measured during training, the first one deciding which snapshot is best: fid10k,swd1k. The number is that of
    # images: fid10k takes 10,000, fid300 takes 300.
    metrics: str = ""
    metrics_every: float = 200.0  # kimg from one measurement to the next; there is one at the end too.
    # Network of the features: FID's own; VGG-16; its convolutions alone (of the extra "perceptual"); or a random one,
    # which needs no weights.
    metrics_extractor: Literal["inception", "vgg16", "vgg16_conv", "random_vgg"] = "inception"
    metrics_weights: str | None = None  # file of its weights; default: what evaluate.py --download has fetched.
    devices: int | None = None  # devices that each process uses; default: all that it sees.
    # Images that each device computes at once at full resolution (twice as many at half of it, and so on). A larger
    # batch is computed in parts, whose gradients are averaged: the same numbers in less memory. Default: all at once.
    micro_batch: int | None = None
    # Compile the next stage while the present one trains. Default: on with CPU and TPU. Off on a GPU: compiling times
    # kernels on the card that trains, so each stage is compiled when it begins.
    compile_ahead: bool | None = None
    compilation_cache: str | None = None  # folder of compiled programs; default: the user's cache folder; "" for none.

    def __post_init__(self) -> None:
        _expand(self, "dir", "init_from", "metrics_weights", "compilation_cache")


@dataclass(frozen=True)
class DistributedConfig(Section):
    """Several processes, on one host or many, that train one run together; every one gets the same command."""

    coordinator: str | None = None  # host:port of process 0; default: what SLURM, Open MPI or a TPU pod says, if any.
    num_processes: int | None = None  # processes in all; with distributed.coordinator.
    process_id: int | None = None  # number of this process, from 0; the only setting that differs between them.
    detect: bool = True  # without a coordinator, ask the cluster; off: train alone, whatever the cluster says.
    start_timeout: float = 300.0  # seconds that all processes have to appear in.
    timeout: float = 8.0  # seconds without a sign of life after which a process counts as dead, and all others end.


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


def check(ok: bool, name: str, value: object, fix: str) -> None:
    """Raise ConfigError naming field, value and fix, unless ok."""
    if not ok:
        text = repr(value)  # a value from a file may be long
        raise ConfigError(f"{name} = {text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + ' …'}: {fix}.")


def _check_between(value: float | None, name: str, least: float, most: float, fix: str = "") -> None:
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


def validate(config: Config) -> None:
    """Check every value and combination; raise ConfigError naming field, value and fix."""
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
    fix = f"must be 0 (unconditional) or more, up to {MAX_CLASSES:,}"
    _check_between(config.num_classes, "num_classes", 0, MAX_CLASSES, fix)
    fits = len(config.class_names) in (0, config.num_classes)
    fix = f"must be one for each of num_classes = {config.num_classes}, or none"
    check(fits, "class_names", list(config.class_names), fix)
    _validate_networks(config)
    _validate_training(config)
    _validate_augment(config)
    _validate_schedule(config)
    _validate_run(config)
    validate_distributed(config.distributed)
    _check_numbers(config, "")


def _check_numbers(part: Any, where: str) -> None:
    """Raise ConfigError for a number that is not finite, or beyond what anything counts; after all finer checks."""
    for field_ in fields(part):
        name, value = where + field_.name, getattr(part, field_.name)
        if is_dataclass(value):
            _check_numbers(value, f"{name}.")
        for number in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
            if isinstance(number, float):
                check(math.isfinite(number), name, value, "must be a finite number")
            elif isinstance(number, int) and not name.endswith("seed"):
                check(abs(number) <= MAX_COUNT, name, value, f"must be at most {MAX_COUNT:,}")


def _validate_networks(config: Config) -> None:
    g, d = config.generator, config.discriminator
    for name in ("z_dim", "w_dim", "mapping_width"):
        _check_between(getattr(g, name), f"generator.{name}", 1, MAX_WIDTH)
    _check_between(g.mapping_layers, "generator.mapping_layers", 1, MAX_MAPPING_LAYERS)
    lr_multiplier = g.mapping_lr_multiplier
    check(0 < lr_multiplier < math.inf, "generator.mapping_lr_multiplier", lr_multiplier, "must be positive and finite")
    for owner, net in (("generator", g), ("discriminator", d)):
        _check_between(net.channel_max, f"{owner}.channel_max", 1, MAX_WIDTH)
        decay = net.channel_decay
        check(0 <= decay <= 4, f"{owner}.channel_decay", decay, "must be from 0 (equal widths) to 4")
        least = math.ceil(2 * 2 ** ((math.log2(config.resolution) - 1) * decay))
        fix = f"leaves no channel at {config.resolution} pixels; make it at least {least}"
        check(net.channel_base >= least, f"{owner}.channel_base", net.channel_base, fix)
        _check_between(net.channel_base, f"{owner}.channel_base", least, max(least, MAX_CHANNEL_BASE))
    check(0 <= g.w_avg_beta < 1, "generator.w_avg_beta", g.w_avg_beta, "must be in [0, 1)")
    check(0 <= g.style_mixing_prob <= 1, "generator.style_mixing_prob", g.style_mixing_prob, "must be in [0, 1]")
    _check_between(d.mbstd_group_size, "discriminator.mbstd_group_size", 1, MAX_COUNT)


def _validate_training(config: Config) -> None:
    loss, adam, data = config.loss, config.optimizer, config.data
    check(loss.r1_gamma >= 0, "loss.r1_gamma", loss.r1_gamma, "must be 0 (off) or more")
    check(loss.r1_interval >= 1, "loss.r1_interval", loss.r1_interval, "must be 1 (every step) or more")
    check(0 <= loss.pl_weight < math.inf, "loss.pl_weight", loss.pl_weight, "must be 0 (off) or more, and finite")
    check(loss.pl_interval >= 1, "loss.pl_interval", loss.pl_interval, "must be 1 (after every step) or more")
    check(0 < loss.pl_decay <= 1, "loss.pl_decay", loss.pl_decay, "must be above 0, and at most 1")
    shrink = loss.pl_batch_shrink
    check(shrink >= 1, "loss.pl_batch_shrink", shrink, "must be 1 (the whole batch) or more")
    for batch in map(config.batch_at, config.stage_resolutions):
        fix = f"must divide every batch if loss.pl_weight is not 0, and does not divide {batch}"
        check(not loss.pl_weight or batch % shrink == 0, "loss.pl_batch_shrink", shrink, fix)
    check(loss.wgan_lambda >= 0, "loss.wgan_lambda", loss.wgan_lambda, "must be 0 or more")
    check(loss.wgan_epsilon >= 0, "loss.wgan_epsilon", loss.wgan_epsilon, "must be 0 or more")
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
    check(data.num_images >= 1, "data.num_images", data.num_images, "must be at least 1")
    check(data.workers is None or data.workers >= 0, "data.workers", data.workers, "must be 0 or more")
    if data.source == "tfds":
        check(data.tfds_name is not None, "data.tfds_name", None, "data.source tfds needs the data set's name")
    if data.source == "toy_bedrooms":
        sides = config.shape_at(config.resolution)
        check(max(sides) <= 256, "resolution", config.resolution, "toy_bedrooms is drawn at up to 256 pixels")
        fix = f"toy_bedrooms is cut out of squares: the longer side must be a power of two, not {max(sides)}"
        check(max(sides) & (max(sides) - 1) == 0, "const_shape", config.const_shape, fix)
        check(config.image_channels == 3, "image_channels", config.image_channels, "toy_bedrooms is RGB; use 3")
    if config.const_shape[0] != config.const_shape[1]:
        check(data.crop == "center-crop", "data.crop", data.crop, "is for squares; center-crop takes the images' shape")


def _validate_augment(config: Config) -> None:
    a = config.augment
    for name in ("p", "max_p"):
        check(0 <= getattr(a, name) <= 1, f"augment.{name}", getattr(a, name), "must be in [0, 1]")
    check(-1 < a.target < 1, "augment.target", a.target, "must be between -1 and 1")
    check(0 < a.speed_kimg < math.inf, "augment.speed_kimg", a.speed_kimg, "must be positive and finite")
    check(a.interval >= 1, "augment.interval", a.interval, "must be at least 1")
    groups = ("blit", "geometric", "color", "noise", "cutout")
    if a.mode != "none":
        some = any(getattr(a, name) for name in groups)
        check(some, "augment.mode", a.mode, f"transforms nothing; switch on one of {', '.join(groups)}")
    if a.mode != "none" and config.is_arrays:
        check(not a.color, "augment.color", a.color, "arrays have no colors; switch it off")
    if a.mode == "fixed":
        check(a.p > 0, "augment.p", a.p, "augment.mode fixed needs a chance, for example 0.2")
    if a.mode == "ada":
        fix = f"must be at most augment.max_p = {a.max_p}, the greatest that ada goes to"
        check(a.p <= a.max_p, "augment.p", a.p, fix)
        fix = "ada goes by the sign of the scores, which means nothing under wgan_gp; use logistic, or fixed"
        check(config.loss.name != "wgan_gp", "augment.mode", a.mode, fix)


def _validate_schedule(config: Config) -> None:
    s = config.schedule
    check(
        is_resolution(s.start_resolution) and s.start_resolution <= config.resolution,
        "schedule.start_resolution",
        s.start_resolution,
        f"must be a power of two from {MIN_RESOLUTION} to resolution = {config.resolution}",
    )
    check(
        config.generator.block != "demod" or s.start_resolution == config.resolution,
        "schedule.start_resolution",
        s.start_resolution,
        f"generator.block = demod does not grow; set it to resolution = {config.resolution}",
    )
    for name in ("total_kimg", "stable_kimg", "fade_kimg"):
        value = getattr(s, name)
        check(0 < value <= MAX_KIMG, f"schedule.{name}", value, f"must be positive, and at most {MAX_KIMG:,}")
    for name in ("stable_kimg_at", "fade_kimg_at", "batch", "learning_rate"):
        for resolution, value in getattr(s, name).items():
            pair = {resolution: value}
            check(is_resolution(resolution), f"schedule.{name}", pair, f"its key {resolution} is no resolution")
            most = MAX_KIMG if name.endswith("kimg_at") else math.inf
            check(
                0 < value <= most and value < math.inf, f"schedule.{name}", pair, "values must be positive and finite"
            )
    group = config.discriminator.mbstd_group_size
    for resolution in config.stage_resolutions:
        batch = config.batch_at(resolution)
        name = f"schedule.batch[{resolution}]" if resolution in s.batch else "data.batch"
        check(batch >= 1, name, batch, "must be at least 1")
        check(
            batch < group or batch % group == 0,
            name,
            batch,
            f"must be a multiple of discriminator.mbstd_group_size = {group}, or smaller than it",
        )


def _validate_run(config: Config) -> None:
    run = config.run
    fix = f"must be positive: from 0.001, which is one image, to {MAX_KIMG:,}"
    for name in ("tick_kimg", "checkpoint_kimg", "keep_every_kimg", "snapshot_kimg"):
        value = getattr(run, name)
        is_off = name == "snapshot_kimg" and value == 0
        check(value is None or is_off or 0.001 <= value <= MAX_KIMG, f"run.{name}", value, fix)
    every = run.metrics_every
    check(0.001 <= every <= MAX_KIMG, "run.metrics_every", every, fix)
    check(0 <= run.seed < 2**32, "run.seed", run.seed, "must be in 0 to 4294967295")
    check(0 <= config.data.seed < 2**32, "data.seed", config.data.seed, "must be in 0 to 4294967295")
    for name in ("max_skipped", "max_rollbacks"):
        least = 1 if name == "max_skipped" else 0
        check(getattr(run, name) >= least, f"run.{name}", getattr(run, name), f"must be at least {least}")
    if run.init_from is not None:
        itself = run.init_from.rstrip("/") == run.dir.rstrip("/") or not run.init_from
        check(not itself, "run.init_from", run.init_from, "must be another run's directory, or a generator's file")
    frozen_alone = run.freeze != "" and run.init_from is None
    check(not frozen_alone, "run.freeze", run.freeze, "would keep random layers; give run.init_from, which fills them")
    check(run.keep_last >= 1, "run.keep_last", run.keep_last, "must be at least 1, or a killed run could not resume")
    names = run.log.split(",") if run.log else []
    fix = f"must be {', '.join(LOGGERS)}, several of them with commas between them, or empty for none"
    check(set(names) <= set(LOGGERS) and len(set(names)) == len(names), "run.log", run.log, fix)
    grid_fits = len(run.grid) == 2 and min(run.grid) >= 1
    check(grid_fits, "run.grid", run.grid, "must be two numbers, at least one column and one row")
    check(run.devices is None or run.devices >= 1, "run.devices", run.devices, "must be at least 1")
    _check_between(run.micro_batch, "run.micro_batch", 1, MAX_COUNT)
    for resolution in config.stage_resolutions:
        group, most = min(config.discriminator.mbstd_group_size, config.batch_at(resolution)), run.micro_batch
        fix = f"must hold a group of discriminator.mbstd_group_size = {group} images, so be at least {group}"
        at_once = config.micro_batch_at(resolution)
        check(at_once is None or at_once >= group, "run.micro_batch", most, fix)


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
