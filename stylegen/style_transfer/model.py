"""An encoder with its decoder: the built-in pair, VGG-16 or VGG-19 with a decoder for it, or a pair from a file."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from stylegen.formats import WeightsError
from stylegen.io.tensor_files import save_tensors
from stylegen.paths import expanded
from stylegen.pretrained import vgg19, weights
from stylegen.style_transfer import StyleError, matching, networks, perceptual
from stylegen.style_transfer.losses import VARIANCES, Variance
from stylegen.style_transfer.matching import SCALES, Level, Scales
from stylegen.style_transfer.networks import Params, Stages
from stylegen.untrusted import FileError, checksums, json_text, numbers, shown
from stylegen.untrusted.tensors import open_tensors

# Of a pair, and of a decoder alone, for the VGG-16 that comes with the extra ``perceptual``.
FORMAT, DECODER_FORMAT = "stylegen-style-1", "stylegen-style-vgg16-1"
MAX_STAGES, MAX_CONVOLUTIONS, MAX_CHANNELS = 8, 16, 16_384  # of an encoder; VGG-19's has 4, 4 and 512
BUILT_IN = Path(__file__).parents[1] / "assets" / "style_transfer.safetensors"
NetworkName = Literal["small", "vgg16"]


@dataclass(frozen=True)
class StyleModel:
    """What a transfer needs."""

    stages: Stages  # channels of the encoder's convolutions by resolution
    variance: Variance  # as the decoder was trained with
    encoder: Params  # weights by name (networks.encoder_shapes)
    decoder: Params  # weights by name (networks.decoder_shapes)
    source: str  # file or description
    scales: Scales = "last"  # at which statistics are exchanged

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the last features to the pixels, what the decoder comes through that matters to a transfer."""
        return matching.levels(self.stages, self.scales)

    @property
    def exchanges(self) -> tuple[Level, ...]:
        """The levels at which statistics are exchanged."""
        return self.levels if self.scales == "all" else self.levels[:1]

    @property
    def scale(self) -> int:
        """Pixels a side of a feature."""
        return networks.scale(self.stages)

    def __repr__(self) -> str:
        count = sum(int(np.prod(x.shape)) for x in (*self.encoder.values(), *self.decoder.values()))
        return f"StyleModel({count:,} parameters, {self.variance} variances, {self.source})"


def save_model(model: StyleModel, path: str | os.PathLike[str], made_by: str = "", half: bool = False) -> None:
    """Write one safetensors file that ``load_model`` reads back; atomic.

    Args:
        model: the networks.
        path: the file.
        made_by: JSON of how they were trained, kept with them.
        half: weights are rounded to half precision, in half the bytes; otherwise they are kept exactly.
    """
    dtype = np.float16 if half else np.float32
    tensors = {f"encoder.{name}": np.ascontiguousarray(x, dtype) for name, x in model.encoder.items()}
    tensors |= {f"decoder.{name}": np.ascontiguousarray(x, dtype) for name, x in model.decoder.items()}
    metadata = {"format": FORMAT, "stages": json.dumps(model.stages), "made_by": made_by} | _choices(model)
    save_tensors(path, tensors, metadata)


def load_model(path: str | os.PathLike[str] | None = None) -> StyleModel:
    """Read what ``save_model`` wrote; None is the pair in the package.

    Raises:
        StyleError: the file is not there, damaged or something else.
    """
    source = "built-in" if path is None else str(path)
    path = BUILT_IN if path is None else expanded(path)
    stages, variance, metadata = _pair_metadata(path)
    shapes = {f"encoder.{name}": shape for name, shape in networks.encoder_shapes(stages).items()}
    shapes |= {f"decoder.{name}": shape for name, shape in networks.decoder_shapes(stages).items()}
    tensors = _tensors(path, shapes, metadata)
    scales = _scales(metadata, path)
    return StyleModel(stages, variance, part(tensors, "encoder."), part(tensors, "decoder."), source, scales)


def save_decoder(model: StyleModel, path: str | os.PathLike[str], made_by: str = "") -> None:
    """Write the decoder for VGG-16 alone, in half precision; ``load_network`` puts it together with its encoder."""
    tensors = {name: np.ascontiguousarray(x, np.float16) for name, x in model.decoder.items()}
    metadata = {"format": DECODER_FORMAT, "made_by": made_by} | _choices(model)
    save_tensors(path, tensors, metadata)


def load_network(name: NetworkName = "small", decoder: str | os.PathLike[str] | None = None) -> StyleModel:
    """A network by name: small, or vgg16, whose encoder comes with the extra ``perceptual``.

    Args:
        name: which.
        decoder: file that a training of a decoder for VGG-16 wrote; vgg16 needs one.

    Raises:
        StyleError: VGG-16 is not here, or the decoder is not there, damaged or something else.
    """
    if name == "small":
        return load_model()
    if decoder is None:
        raise StyleError(
            "network = 'vgg16': no decoder for it comes with this version. `stylegen train_style --config "
            "style_transfer --encoder.network vgg16 --run.dir runs/vgg16` makes one; give its style.safetensors as "
            "decoder."
        )
    path = expanded(decoder)
    metadata = _metadata(path)
    if metadata.get("format") != DECODER_FORMAT or metadata.get("variance") not in VARIANCES:
        raise StyleError(f"{path}: not a decoder for VGG-16 (its format is not {DECODER_FORMAT}).")
    tensors = _tensors(path, networks.decoder_shapes(perceptual.VGG16), metadata)
    variance = cast(Variance, metadata["variance"])
    encoder, scales = perceptual.load(), _scales(metadata, path)
    return StyleModel(perceptual.VGG16, variance, encoder, tensors, f"VGG-16 with {decoder}", scales)


def _choices(model: StyleModel) -> dict[str, str]:
    """What a file says of the statistics that its networks exchange."""
    return {"variance": model.variance, "scales": model.scales}


def _scales(metadata: dict[str, str], path: Path) -> Scales:
    """At which scales statistics are exchanged; files of version 0.1 do not say, and mean the last features."""
    scales = metadata.get("scales", "last")
    if scales not in SCALES:
        raise StyleError(f"{path}: its scales are {shown(scales)}; wanted one of {', '.join(SCALES)}.")
    return cast(Scales, scales)


def _tensors(path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str]) -> Params:
    try:
        tensors = weights.read_tensors(path, shapes)
        with open_tensors(path) as file:  # the checksum is of the numbers as stored, which may be of half precision
            stored = {name: x.astype(file.header(name)[1]) for name, x in tensors.items()}
        checksums.check_tensors(stored, metadata, str(path))
    except (WeightsError, FileError) as error:
        raise StyleError(str(error)) from error
    return tensors


def part(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}


def _metadata(path: Path) -> dict[str, str]:
    """What a file of ours says of itself."""
    if not path.is_file():
        raise StyleError(f"{path}: there is no such file; the built-in networks need none.")
    try:
        with open_tensors(path) as file:
            return dict(file.metadata)
    except FileError as error:
        raise StyleError(str(error)) from error
    except OSError as error:
        raise StyleError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _pair_metadata(path: Path) -> tuple[Stages, Variance, dict[str, str]]:
    """Stages and variance of a pair, and all that its file says of itself."""
    metadata = _metadata(path)
    if metadata.get("format") == DECODER_FORMAT:
        raise StyleError(f"{path}: a decoder for VGG-16; use it with --network vgg16 --decoder {path}.")
    if metadata.get("format") != FORMAT or metadata.get("variance") not in VARIANCES:
        raise StyleError(f"{path}: safetensors, but not of style-transfer networks (its format is not {FORMAT}).")
    try:
        stages = _stages(json_text.parse(metadata.get("stages", ""), f"{path}: stages"), path)
    except FileError as error:
        raise StyleError(str(error)) from error
    return stages, cast(Variance, metadata["variance"]), metadata


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
        model = load_model(path)
        return model.stages, model.encoder, "stylegen"
    try:
        layout, params = vgg19.load_encoder(path)
    except WeightsError as error:
        raise StyleError(str(error)) from error
    return networks.VGG19, params, layout


def _is_ours(path: Path) -> bool:
    try:
        _pair_metadata(path)
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
        model = load_model(decoder)
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
