"""The parts of a configuration: frozen dataclasses of settings, each with its unit and its default.

The comment behind (or above) each field is its ``--help`` text. Numbers without another source are those of the
original StyleGAN (Karras, Laine and Aila 2019, "A Style-Based Generator Architecture for Generative Adversarial
Networks"). ``checks.py`` says which values can work, ``experiment.py`` which combinations.
"""

from dataclasses import dataclass, field
from typing import Literal, Self

from stylegen.paths import expanded


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
    cooldown_kimg: float = 0.0  # the learning rate falls linearly to zero over the last so many kimg; 0: it stays.


@dataclass(frozen=True)
class RunConfig(Section):
    """The run directory and what is written there."""

    dir: str = ""  # run directory; the same command on the same directory resumes the run.
    seed: int = 1000  # of weights, latents and noise.
    overwrite: bool = False  # start anew, deleting the run that is in the directory.
    # Start from the generator, average and discriminator of another run (its directory), or from what --run of other
    # verbs takes: a generator's file, which has no discriminator, NVIDIA's .pkl, rosinality's .pt. These may also be
    # elsewhere: hf:owner/name, https://..., nvidia:bedroom-256. Parameters are matched by name and shape.
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
