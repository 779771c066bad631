"""The networks of a transfer: the built-in small one, VGG-16 or VGG-19 with a decoder for it, or ours from a file.

``StyleModel`` is an encoder with a decoder that mirrors it; ``SmallModel`` is ``style_transfer.small``. A transfer uses
what they have in common (``Networks``): maps of features of the whole image, which it gives the style's statistics, and
images of maps, each tile by tile.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from safetensors.numpy import save_file

from stylegen.formats import WeightsError
from stylegen.io.files import replacing
from stylegen.paths import expanded
from stylegen.pretrained import vgg19, weights
from stylegen.runtime import compilation
from stylegen.style_transfer import StyleError, losses, networks, perceptual, small
from stylegen.style_transfer.losses import VARIANCES, Variance
from stylegen.style_transfer.networks import Params, Stages
from stylegen.untrusted import FileError, json_text, numbers, shown
from stylegen.untrusted.tensors import open_tensors

# Of a StyleModel, of a SmallModel, of a decoder for the VGG-16 that comes with the extra ``perceptual``.
FORMAT, SMALL_FORMAT, DECODER_FORMAT = "stylegen-style-1", "stylegen-style-2", "stylegen-style-vgg16-1"
MAX_STAGES, MAX_CONVOLUTIONS, MAX_CHANNELS = 8, 16, 16_384  # of an encoder; VGG-19's has 4, 4 and 512
ASSETS = Path(__file__).parents[1] / "assets"
BUILT_IN, BUILT_IN_DECODER = ASSETS / "style_transfer.safetensors", ASSETS / "style_transfer_vgg16.safetensors"
NetworkName = Literal["small", "vgg16"]


@dataclass(frozen=True)
class StyleModel:
    """What a transfer needs."""

    stages: Stages  # channels of the encoder's convolutions by resolution
    variance: Variance  # as the decoder was trained with
    encoder: Params  # weights by name (networks.encoder_shapes)
    decoder: Params  # weights by name (networks.decoder_shapes)
    source: str  # file or description

    epsilon = losses.EPSILON  # of the variances that AdaIN divides by

    @property
    def scales(self) -> tuple[int, ...]:
        """Pixels a side of a feature of each map."""
        return (networks.scale(self.stages),)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each map."""
        return (self.stages[-1][0],)

    @property
    def margin(self) -> int:
        """Features that a tile has more on each side: as far as the networks see beyond a feature's own pixels."""
        pixels = sum(2**i * len(stage) for i, stage in enumerate(self.stages))
        return math.ceil(pixels / self.scales[-1])

    def encode(self, images: np.ndarray) -> list[Array]:
        """Maps [N, h', w', C] of uint8 images [N, h, w, 3]."""
        return [_encode(self.encoder, images, stages=self.stages)]

    def decode(self, maps: Sequence[Array], mean: Array, std: Array, regions: Array | None = None) -> Array:
        """The uint8 images of restyled maps; the style is in these alone."""
        return _decode(self.decoder, maps[0], stages=self.stages)

    def __repr__(self) -> str:
        count = sum(int(np.prod(x.shape)) for x in (*self.encoder.values(), *self.decoder.values()))
        return f"StyleModel({count:,} parameters, {self.variance} variances, {self.source})"


@compilation.jit(precision=None, static_argnames="stages")
def _encode(params: Params, images: Array, *, stages: Stages) -> Array:
    return networks.encode(params, stages, images.astype(jnp.float32) / 255)[-1]


@compilation.jit(precision=None, static_argnames="stages")
def _decode(params: Params, features: Array, *, stages: Stages) -> Array:
    return to_uint8(networks.decode(params, stages, features))


def to_uint8(x: Array) -> Array:
    """[0, 1] to uint8, rounded, as torchvision saves images."""
    return jnp.clip(x * 255 + 0.5, 0, 255).astype(jnp.uint8)


@dataclass(frozen=True)
class SmallModel:
    """The network of ``style_transfer.small``."""

    params: Params  # weights by name (small.shapes)
    source: str  # file or description
    variance: Variance = "biased"
    epsilon = small.EPSILON
    scales = small.SCALES
    channels = small.CHANNELS
    margin = small.SEEN // small.SCALES[-1]

    def encode(self, images: np.ndarray) -> list[Array]:
        """Maps [N, h', w', C] of uint8 images [N, h, w, 3], whose sides are multiples of the last scale."""
        return list(_encode_small(self.params, images))

    def decode(self, maps: Sequence[Array], mean: Array, std: Array, regions: Array | None = None) -> Array:
        """The uint8 images of restyled maps (``small.decode``)."""
        return _decode_small(self.params, maps, mean, std, regions)

    def __repr__(self) -> str:
        count = sum(int(np.prod(x.shape)) for x in self.params.values())
        return f"SmallModel({count:,} parameters, {self.source})"


@compilation.jit(precision=None)
def _encode_small(params: Params, images: Array) -> tuple[Array, Array]:
    return small.encode(params, images.astype(jnp.float32) / 255)


@compilation.jit(precision=None)
def _decode_small(params: Params, maps: Sequence[Array], mean: Array, std: Array, regions: Array | None) -> Array:
    return to_uint8(small.decode(params, maps, mean, std, regions))


Networks = StyleModel | SmallModel


def save_model(model: Networks, path: str | os.PathLike[str], made_by: str = "", half: bool = False) -> None:
    """Write one safetensors file that ``load_model`` reads back; atomic. ``made_by`` is kept with it.

    Args:
        model: the networks.
        path: the file.
        made_by: JSON of how they were trained.
        half: weights are rounded to half precision, in half the bytes; otherwise they are kept exactly.
    """
    dtype = np.float16 if half else np.float32
    if isinstance(model, SmallModel):
        tensors = {name: np.ascontiguousarray(x, dtype) for name, x in model.params.items()}
        with replacing(path) as partial:
            save_file(tensors, partial, {"format": SMALL_FORMAT, "made_by": made_by})
        return
    tensors = {f"encoder.{name}": np.ascontiguousarray(x, dtype) for name, x in model.encoder.items()}
    tensors |= {f"decoder.{name}": np.ascontiguousarray(x, dtype) for name, x in model.decoder.items()}
    metadata = {"format": FORMAT, "stages": json.dumps(model.stages), "variance": model.variance, "made_by": made_by}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def load_model(path: str | os.PathLike[str] | None = None) -> Networks:
    """Read what ``save_model`` wrote; None is the small network in the package.

    Raises:
        StyleError: the file is not there, damaged or something else.
    """
    source = "built-in" if path is None else str(path)
    path = BUILT_IN if path is None else expanded(path)
    if (metadata := _metadata(path)).get("format") == SMALL_FORMAT:
        return SmallModel(_tensors(path, small.shapes()), source)
    if metadata["format"] == DECODER_FORMAT:
        raise StyleError(f"{path}: a decoder for VGG-16; use it with --network vgg16 --decoder {path}.")
    stages, variance = _pair_metadata(metadata, path)
    shapes = {f"encoder.{name}": shape for name, shape in networks.encoder_shapes(stages).items()}
    shapes |= {f"decoder.{name}": shape for name, shape in networks.decoder_shapes(stages).items()}
    tensors = _tensors(path, shapes)
    return StyleModel(stages, variance, part(tensors, "encoder."), part(tensors, "decoder."), source)


def save_decoder(model: StyleModel, path: str | os.PathLike[str], made_by: str = "") -> None:
    """Write the decoder alone, in half precision; ``load_network`` puts it together with VGG-16."""
    tensors = {name: np.ascontiguousarray(x, np.float16) for name, x in model.decoder.items()}
    metadata = {"format": DECODER_FORMAT, "variance": model.variance, "made_by": made_by}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def load_network(name: NetworkName = "small", decoder: str | os.PathLike[str] | None = None) -> Networks:
    """A network by name: small, or vgg16, whose encoder comes with the extra ``perceptual``.

    Args:
        name: which.
        decoder: file that a training of a decoder for VGG-16 wrote; None is the one in the package.

    Raises:
        StyleError: VGG-16 is not here, or the decoder is not there, damaged or something else.
    """
    if name == "small":
        return load_model()
    path = BUILT_IN_DECODER if decoder is None else expanded(decoder)
    if decoder is None and not path.is_file():
        raise StyleError(
            "network = 'vgg16': no decoder for it comes with this version. Train one with `stylegen train_style "
            "--config style_transfer --encoder.network vgg16` and give it as --decoder."
        )
    if (metadata := _metadata(path)).get("format") != DECODER_FORMAT:
        raise StyleError(f"{path}: not a decoder for VGG-16 (its format is not {DECODER_FORMAT}).")
    if metadata.get("variance") not in VARIANCES:
        raise StyleError(f"{path}: its variance is {shown(metadata.get('variance'))}; wanted one of {VARIANCES}.")
    tensors = _tensors(path, networks.decoder_shapes(perceptual.VGG16))
    source = "VGG-16 with the built-in decoder" if decoder is None else f"VGG-16 with {decoder}"
    return StyleModel(perceptual.VGG16, cast(Variance, metadata["variance"]), perceptual.load(), tensors, source)


def _tensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> Params:
    try:
        return {name: np.asarray(x, np.float32) for name, x in weights.read_tensors(path, shapes).items()}
    except WeightsError as error:
        raise StyleError(str(error)) from error


def part(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}


def _metadata(path: Path) -> dict[str, str]:
    """What a file of ours says of itself."""
    if not path.is_file():
        raise StyleError(f"{path}: there is no such file; the built-in networks need none.")
    try:
        with open_tensors(path) as file:
            metadata = dict(file.metadata)
    except FileError as error:
        raise StyleError(str(error)) from error
    except OSError as error:
        raise StyleError(f"{path}: cannot be read: {error.strerror or error}.") from error
    formats = (FORMAT, SMALL_FORMAT, DECODER_FORMAT)
    if metadata.get("format") not in formats:
        raise StyleError(
            f"{path}: safetensors, but not of style-transfer networks (its format is none of {', '.join(formats)})."
        )
    return metadata


def _pair_metadata(metadata: dict[str, str], path: Path) -> tuple[Stages, Variance]:
    """Stages and variance of a StyleModel."""
    if metadata.get("variance") not in VARIANCES:
        raise StyleError(f"{path}: its variance is {shown(metadata.get('variance'))}; wanted one of {VARIANCES}.")
    try:
        stages = _stages(json_text.parse(metadata.get("stages", ""), f"{path}: stages"), path)
    except FileError as error:
        raise StyleError(str(error)) from error
    return stages, cast(Variance, metadata["variance"])


def _stages(value: Any, path: Path) -> Stages:
    """The channels of an encoder, from JSON; raises FileError where it is none."""
    stages: list[Any] = value if isinstance(value, list) and 1 <= len(value) <= MAX_STAGES else [None]
    if not all(isinstance(stage, list) and 1 <= len(stage) <= MAX_CONVOLUTIONS for stage in stages):
        raise FileError(f"{path}: its stages are {shown(value)}; wanted a list of the channels of each.")
    return tuple(tuple(numbers.whole(n, f"{path}: channels", 1, MAX_CHANNELS) for n in stage) for stage in stages)


def load_encoder(path: str | os.PathLike[str]) -> tuple[Stages, Params, str]:
    """An encoder alone: stages, weights, and the layout of the file.

    Args:
        path: VGG-19 as ``pretrained.vgg19`` reads it, or a file of ours.

    Raises:
        StyleError: it is not there, damaged, or of another network.
    """
    path = expanded(path)
    if not path.is_file():
        raise StyleError(
            f"{path}: there is no such file of an encoder. `stylegen stylize --download vgg19` gets torchvision's "
            "VGG-19; without --encoder the built-in one is used, which needs no file."
        )
    if path.suffix == ".safetensors" and _is_ours(path):
        model = _load_pair_file(path)
        return model.stages, model.encoder, "stylegen"
    try:
        layout, params = vgg19.load_encoder(path)
    except WeightsError as error:
        raise StyleError(str(error)) from error
    return networks.VGG19, params, layout


def _load_pair_file(path: Path) -> StyleModel:
    model = load_model(path)
    if isinstance(model, SmallModel):
        raise StyleError(f"{path}: the small network, whose parts go together; give it as --model.")
    return model


def _is_ours(path: Path) -> bool:
    try:
        _metadata(path)
    except StyleError:
        return False
    return True


def load_pair(encoder: str | os.PathLike[str], decoder: str | os.PathLike[str]) -> StyleModel:
    """VGG-19 with a decoder that was trained for it: pytorch-AdaIN's decoder.pth, or a file of ours.

    Raises:
        StyleError: one of them is not there, damaged, or of another network.
    """
    stages, params, layout = load_encoder(encoder)
    decoder = expanded(decoder)
    if not decoder.is_file():
        raise StyleError(f"{decoder}: there is no such file of a decoder; train_style.py trains one.")
    if decoder.suffix == ".safetensors" and _is_ours(decoder):
        model = _load_pair_file(decoder)
        if model.stages != stages:
            raise StyleError(f"{decoder}: a decoder for another encoder than {encoder}: their channels differ.")
        return replace(model, encoder=params, source=f"{encoder} with {decoder}")
    try:
        tensors = vgg19.load_decoder(decoder)
    except WeightsError as error:
        raise StyleError(str(error)) from error
    if stages != networks.VGG19 or layout != "pytorch-AdaIN":
        raise StyleError(
            f"{decoder}: pytorch-AdaIN's decoder goes with its own vgg_normalised.pth, not with {encoder}."
        )
    return StyleModel(stages, "unbiased", params, tensors, f"{encoder} with {decoder}")
