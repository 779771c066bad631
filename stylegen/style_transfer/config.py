"""Every setting of a style-transfer training, with its unit, its default and the check that it makes sense.

The comment behind a field is its ``--help`` text. The defaults are those of the built-in encoder and decoder.
"""

from dataclasses import dataclass, field
from typing import Any

from stylegen.config import ConfigError, check

# Sections and settings by the names that they had until version 0.1.
RENAMED = {"pictures": "data", "encoder.recognition": "encoder.classification_weight"}


@dataclass(frozen=True)
class DataConfig:
    """What the networks are shown: crops of drawn rooms, drawn textures and photographs."""

    rooms: int = 160  # rooms of toy_bedrooms, drawn at `side` pixels.
    textures: int = 224  # procedural textures (style_transfer/textures.py), of the same size.
    # Folder of photographs; or scikit-image, which uses those of that package's wheel that are in the public domain;
    # or none; or auto: scikit-image where that is installed, else none.
    photographs: str = "auto"
    side: int = 256  # pixels of rooms and textures.
    crop: int = 64  # pixels of the square crops that the networks see.
    zoom: float = 2.5  # a crop is cut at up to so many times that size, and made smaller.
    seed: int = 0  # of the textures and rooms.


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder: trained first, or VGG-19 from a file."""

    # vgg_normalised.pth of pytorch-AdaIN, torchvision's or Keras' VGG-19, or a file of ours; None trains an own one.
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

    steps: int = 2500  # batches.
    batch: int = 8  # pairs of content and style a batch; 8 in the paper.
    learning_rate: float = 0.001  # of Adam at the start; falls to 0 along a cosine. 1e-4 in the paper.
    content_weight: float = 1.0  # of the content loss.
    style_weight: float = 10.0  # of the style loss, summed over the stages.
    unbiased: bool = False  # variances divided by n - 1, as in pytorch-AdaIN; off is the authors' own code.


@dataclass(frozen=True)
class StyleRunConfig:
    """The run directory and how often it is written."""

    dir: str = ""  # where the training goes; the same directory again resumes it.
    seed: int = 0  # of the first weights and of the order of images.
    save_steps: int = 250  # steps between two states on disk.
    preview_steps: int = 500  # steps between two previews of what the decoder does (preview.png).


@dataclass(frozen=True)
class StyleConfig:
    """A training: the encoder (unless it is given), then the decoder."""

    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
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
        for name, part in (("encoder", e), ("decoder", d)):
            check(part.steps >= 1, f"{name}.steps", part.steps, "must be at least 1")
            check(part.batch >= 1, f"{name}.batch", part.batch, "must be at least 1")
            check(part.learning_rate > 0, f"{name}.learning_rate", part.learning_rate, "must be positive")
        weight = e.classification_weight
        check(weight >= 0, "encoder.classification_weight", weight, "must not be negative")
        check(d.content_weight >= 0, "decoder.content_weight", d.content_weight, "must not be negative")
        check(d.style_weight >= 0, "decoder.style_weight", d.style_weight, "must not be negative")
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
    return current


__all__ = [
    "ConfigError",
    "DataConfig",
    "DecoderConfig",
    "EncoderConfig",
    "StyleConfig",
    "StyleRunConfig",
    "current_name",
    "with_current_names",
]
