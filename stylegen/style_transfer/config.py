"""Every setting of a style-transfer training, with its unit, its default and the check that it makes sense.

The comment behind a field is its ``--help`` text. The defaults are those of the built-in small network.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from stylegen.config import ConfigError, check

# Sections and settings by the names that they had until version 0.1.
RENAMED = {"pictures": "data", "encoder.recognition": "encoder.classification_weight"}


@dataclass(frozen=True)
class DataConfig:
    """What the networks are shown: crops of photographs, paintings, drawn textures and drawn rooms."""

    rooms: int = 0  # rooms of toy_bedrooms, drawn at `side` pixels.
    textures: int = 64  # procedural textures (style_transfer/textures.py), of the same size.
    # Folder of photographs, or one with `content/` and `style/`, as studies/style_data.py makes it;
    # or scikit-image, which uses those of that package's wheel that are in the public domain; or none; or auto:
    # scikit-image where that is installed, else none.
    photographs: str = "auto"
    side: int = 256  # pixels of rooms and textures.
    crop: int = 64  # pixels of the square crops that an encoder and a decoder see.
    zoom: float = 4.0  # a crop is cut at up to so many times its size, and made smaller.
    seed: int = 0  # of the textures and rooms.


@dataclass(frozen=True)
class EncoderConfig:
    """Which networks are trained."""

    # small: VGG-16 up to relu3_1 and its decoder, the built-in pair (sections small, refine, loss). vgg16: a decoder of
    # VGG-16 up to relu4_1 (section decoder). Both need the extra `perceptual`. autoencoder: an own encoder, trained
    # first, with its decoder.
    network: Literal["small", "vgg16", "autoencoder"] = "small"
    # Encoder from a file, in place of `network`, to train a decoder for: vgg_normalised.pth of pytorch-AdaIN,
    # torchvision's or Keras' VGG-19, or a file of ours.
    weights: str | None = None
    # Channels of the own encoder at each resolution, from the full image down; two convolutions each, and one in the
    # last. Three resolutions keep more of the content, four make coarser strokes and take longer to learn.
    widths: tuple[int, ...] = (16, 32, 64)
    steps: int = 400  # batches.
    batch: int = 16  # crops a batch.
    learning_rate: float = 0.002  # of Adam at the start; falls to 0 along a cosine.
    # Weight of classifying which image a crop is of, by the features' means and standard deviations, against 100 times
    # the mean squared error of rebuilding the crop from the last features.
    classification_weight: float = 0.2


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder (Huang and Belongie 2017, Sec. 6)."""

    steps: int = 2500  # batches; 0 leaves the decoder of a given encoder as it is fitted.
    batch: int = 8  # pairs of content and style a batch; 8 in the paper.
    learning_rate: float = 0.001  # of Adam at the start; falls to 0 along a cosine. 1e-4 in the paper.
    content_weight: float = 1.0  # of the content loss.
    style_weight: float = 10.0  # of the style loss, summed over the stages.
    # Crops of 128 pixels that the decoder of a given encoder is fitted to before its training, layer by layer
    # (style_transfer/inversion.py); 0 begins with random weights.
    fit_crops: int = 96
    unbiased: bool = False  # variances divided by n - 1, as in pytorch-AdaIN; off is the authors' own code.


@dataclass(frozen=True)
class RebuildConfig:
    """The training of the small pair's fitted decoder: all layers together rebuild what the encoder was given."""

    crop: int = 64  # pixels of the square crops.
    steps: int = 2400  # batches; 0 leaves the decoder as it is fitted.
    batch: int = 8  # crops a batch.
    # Of Adam; rises from 0 over the first 30 steps, and falls to 0 along a cosine.
    learning_rate: float = 0.0003
    layers_weight: float = 1.0  # of the layers' distances from what the encoder's were given, to its variance.
    pixels_weight: float = 20.0  # of the mean square distance of pixels in [0, 1].
    features_weight: float = 1.0  # of the distance of the encoder's last features of the result, to their variance.


@dataclass(frozen=True)
class SmallConfig:
    """The first training of the small pair for style, on small crops."""

    crop: int = 64  # pixels of the contents' square crops.
    style_crop: int = 96  # pixels of the styles' square crops.
    # Crops that are drawn before the training; what both networks make of them is kept.
    contents: int = 400
    styles: int = 150  # likewise.
    steps: int = 0  # batches; 0 leaves the decoder as it is.
    batch: int = 8  # pairs of content and style a batch.
    # Of Adam; rises from 0 over the first 30 steps, and falls to 0 along a cosine.
    learning_rate: float = 0.00003


@dataclass(frozen=True)
class RefineConfig(SmallConfig):
    """The second training of the small pair for style, on larger crops."""

    crop: int = 128  # pixels of the contents' square crops.
    style_crop: int = 128  # pixels of the styles' square crops.
    # Crops that are drawn before the training; what both networks make of them is kept.
    contents: int = 100
    styles: int = 60  # likewise.
    batch: int = 4  # pairs of content and style a batch.
    # Of Adam; rises from 0 over the first 30 steps, and falls to 0 along a cosine.
    learning_rate: float = 0.00001


@dataclass(frozen=True)
class LossConfig:
    """Weights of the small network's losses, which VGG-16 measures (Huang and Belongie 2017, Eq. 11 to 13)."""

    content_weight: float = 1.0  # of the content loss, at relu4_1.
    style_weight: float = 3.0  # of the style loss, summed over relu1_2, relu2_2, relu3_3 and relu4_1.
    variation_weight: float = 3.0  # of total variation: mean absolute difference of neighbors, down and right.
    range_weight: float = 100.0  # of the mean square of what is outside [0, 1].
    compressed: bool = True  # VGG-16 with convolutions of low rank: 2.7 times fewer multiplications.


@dataclass(frozen=True)
class StyleRunConfig:
    """The run directory and how often it is written."""

    dir: str = ""  # where the training goes; the same directory again resumes it.
    seed: int = 0  # of the first weights and of the order of images.
    save_steps: int = 250  # steps between two states on disk.
    preview_steps: int = 500  # steps between two previews of what the decoder does (preview.png).


@dataclass(frozen=True)
class StyleConfig:
    """A training: of the small network, or of a decoder, and of its encoder unless that is given."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    rebuild: RebuildConfig = field(default_factory=RebuildConfig)
    small: SmallConfig = field(default_factory=SmallConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    run: StyleRunConfig = field(default_factory=StyleRunConfig)

    def __post_init__(self) -> None:
        p, e, d = self.data, self.encoder, self.decoder
        check(p.side in (64, 128, 256), "data.side", p.side, "must be 64, 128 or 256, which rooms are drawn at")
        check(32 <= p.crop <= p.side, "data.crop", p.crop, "must be at least 32 and at most data.side")
        check(p.crop % 8 == 0, "data.crop", p.crop, "must be a multiple of 8, the pixels of a feature of VGG-19")
        check(p.zoom >= 1, "data.zoom", p.zoom, "must be at least 1")
        check(p.rooms >= 0, "data.rooms", p.rooms, "must not be negative")
        check(p.textures >= 1, "data.textures", p.textures, "must be at least 1: styles come from them")
        check(
            len(e.widths) >= 2 and min(e.widths) >= 1,
            "encoder.widths",
            e.widths,
            "must be two or more positive numbers",
        )
        trainings = (
            ("encoder", e),
            ("decoder", d),
            ("small", self.small),
            ("refine", self.refine),
            ("rebuild", self.rebuild),
        )
        for name, part in trainings:
            least = 1 if name == "encoder" else 0  # decoders may stay as they are fitted
            check(part.steps >= least, f"{name}.steps", part.steps, f"must be at least {least}")
            check(part.batch >= 1, f"{name}.batch", part.batch, "must be at least 1")
            check(part.learning_rate > 0, f"{name}.learning_rate", part.learning_rate, "must be positive")
        weight = e.classification_weight
        check(weight >= 0, "encoder.classification_weight", weight, "must not be negative")
        check(d.content_weight >= 0, "decoder.content_weight", d.content_weight, "must not be negative")
        check(d.fit_crops >= 0, "decoder.fit_crops", d.fit_crops, "must not be negative")
        check(d.style_weight >= 0, "decoder.style_weight", d.style_weight, "must not be negative")
        r = self.rebuild
        check(r.crop >= 32 and r.crop % 8 == 0, "rebuild.crop", r.crop, "must be a multiple of 8, at least 32")
        for name in ("layers_weight", "pixels_weight", "features_weight"):
            check(getattr(r, name) >= 0, f"rebuild.{name}", getattr(r, name), "must not be negative")
        for name, part in (("small", self.small), ("refine", self.refine)):
            for crop in ("crop", "style_crop"):
                value = getattr(part, crop)
                check(value >= 32 and value % 8 == 0, f"{name}.{crop}", value, "must be a multiple of 8, at least 32")
            for crops in ("contents", "styles"):
                check(getattr(part, crops) >= 1, f"{name}.{crops}", getattr(part, crops), "must be at least 1")
        for name in ("content_weight", "style_weight", "variation_weight", "range_weight"):
            value = getattr(self.loss, name)
            check(value >= 0, f"loss.{name}", value, "must not be negative")
        for name in ("save_steps", "preview_steps"):
            check(getattr(self.run, name) >= 1, f"run.{name}", getattr(self.run, name), "must be at least 1")

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """Channels of the own encoder's convolutions."""
        *inner, last = self.encoder.widths
        return (*((width, width) for width in inner), (last,))


def current_name(name: str) -> str:
    """The present name of a setting: ``pictures.crop`` is ``data.crop`` now; other names are returned as they are."""
    for old, new in RENAMED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def with_current_names(tree: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A config.json as any version wrote it, by section and setting, with the present names."""
    current: dict[str, dict[str, Any]] = {}
    for section, settings in tree.items():
        for name, value in settings.items():
            new_section, _, new_name = current_name(f"{section}.{name}").partition(".")
            current.setdefault(new_section, {})[new_name] = value
    if "encoder" in current:  # until version 0.1 there was no other
        current["encoder"].setdefault("network", "autoencoder")
    return current


__all__ = [
    "ConfigError",
    "DataConfig",
    "DecoderConfig",
    "EncoderConfig",
    "LossConfig",
    "RebuildConfig",
    "SmallConfig",
    "StyleConfig",
    "StyleRunConfig",
    "current_name",
    "with_current_names",
]
