"""VGG-19 (Simonyan and Zisserman 2015) up to relu4_1, from the files that people have, and the decoder for it.

Read are ``vgg_normalised.pth`` and ``decoder.pth`` of naoto0804/pytorch-AdaIN, torchvision's state dict, Keras' .h5
(with or without its dense layers), and any of them as .npz or .safetensors. All are brought to one form: a 1x1
convolution of RGB in [0, 1], which takes the place of each one's preprocessing, and nine 3x3 convolutions, by the names
of ``stylegen.style_transfer.networks``: ``preprocess.kernel``, ``conv0.kernel``, ``conv0.bias``, …
"""

import os
from pathlib import Path

import numpy as np

from stylegen.formats import WeightsError, keras_files
from stylegen.pretrained import weights

CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 256, 512)
# Places of the convolutions in the lists of layers of the two torch networks, and Keras' names.
_PYTORCH_ADAIN = (2, 5, 9, 12, 16, 19, 22, 25, 29)
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19)
_KERAS = tuple(
    f"block{block}_conv{i}" for block, count in ((1, 2), (2, 2), (3, 4), (4, 1)) for i in range(1, count + 1)
)
_DECODER = (1, 5, 8, 11, 14, 18, 21, 25, 28)
# Of ImageNet: torchvision's for RGB in [0, 1]; Keras' for BGR in [0, 255], with no division.
_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
_KERAS_MEAN = np.array([103.939, 116.779, 123.68], np.float32)

Tensors = dict[str, np.ndarray]
WANTED = "VGG-19 as vgg_normalised.pth of pytorch-AdaIN, as torchvision's state dict or as Keras' .h5"


def _torch_shapes(places: tuple[int, ...], channels: tuple[int, ...], prefix: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for place, before, after in zip(places, channels[:-1], channels[1:], strict=True):
        shapes |= {f"{prefix}{place}.weight": (after, before, 3, 3), f"{prefix}{place}.bias": (after,)}
    return shapes


def layouts() -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of the encoder's tensors by name, in each layout that a file of tensors may have."""
    return {
        "pytorch-AdaIN": {"0.weight": (3, 3, 1, 1), "0.bias": (3,)} | _torch_shapes(_PYTORCH_ADAIN, CHANNELS, ""),
        "torchvision": _torch_shapes(_TORCHVISION, CHANNELS, "features."),
    }


def decoder_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of pytorch-AdaIN's decoder's tensors by name."""
    return _torch_shapes(_DECODER, CHANNELS[::-1], "")


def load_encoder(path: str | os.PathLike[str]) -> tuple[str, Tensors]:
    """The layout of a file (pytorch-AdaIN, torchvision or Keras) and the encoder's weights.

    Raises:
        WeightsError: it cannot be read, or is of another network.
    """
    if Path(path).suffix in keras_files.SUFFIXES:
        return "Keras", from_keras(keras_files.read_layers(path, keras_shapes()))
    try:
        layout, tensors = weights.read_layout(path, layouts())
    except weights.NoLayoutError as error:
        raise WeightsError(f"{path}: these are the weights of another network; wanted is {WANTED}.") from error
    return layout, (from_pytorch_adain if layout == "pytorch-AdaIN" else from_torchvision)(tensors)


def load_decoder(path: str | os.PathLike[str]) -> Tensors:
    """The weights of pytorch-AdaIN's decoder.

    Raises:
        WeightsError: it cannot be read, or is of another network.
    """
    return _renamed(weights.read_tensors(path, decoder_shapes()), _DECODER, "")


def keras_shapes() -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of kernel and bias by Keras' names of the layers."""
    pairs = zip(_KERAS, CHANNELS[:-1], CHANNELS[1:], strict=True)
    return {name: ((3, 3, before, after), (after,)) for name, before, after in pairs}


def from_pytorch_adain(tensors: Tensors) -> Tensors:
    """Of ``vgg_normalised.pth``: its first layer, a 1x1 convolution, is the preprocessing."""
    first = {"preprocess.kernel": _hwio(tensors["0.weight"]), "preprocess.bias": tensors["0.bias"]}
    return first | _renamed(tensors, _PYTORCH_ADAIN, "")


def from_torchvision(tensors: Tensors) -> Tensors:
    """Of torchvision's: (x - mean) / std becomes the preprocessing."""
    first = {"preprocess.kernel": np.diag(1 / _STD)[None, None], "preprocess.bias": -_MEAN / _STD}
    return first | _renamed(tensors, _TORCHVISION, "features.")


def from_keras(layers: dict[str, tuple[np.ndarray, np.ndarray]]) -> Tensors:
    """Of Keras': the exchange of red and blue, the factor of 255 and the mean become the preprocessing."""
    exchange = 255 * np.eye(3, dtype=np.float32)[::-1]
    params = {"preprocess.kernel": np.ascontiguousarray(exchange)[None, None], "preprocess.bias": -_KERAS_MEAN}
    for i, name in enumerate(_KERAS):
        params |= {f"conv{i}.kernel": layers[name][0], f"conv{i}.bias": layers[name][1]}
    return params


def _renamed(tensors: Tensors, places: tuple[int, ...], prefix: str) -> Tensors:
    params = {}
    for i, place in enumerate(places):
        params[f"conv{i}.kernel"] = _hwio(tensors[f"{prefix}{place}.weight"])
        params[f"conv{i}.bias"] = tensors[f"{prefix}{place}.bias"]
    return params


def _hwio(kernel: np.ndarray) -> np.ndarray:
    """[out, in, k, k] of torch as [k, k, in, out]."""
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
