"""VGG-16 (Simonyan and Zisserman 2015) with torchvision's weights, or with random ones.

Names of the weights are those of torchvision's state dict.
"""

import functools
import hashlib
import os
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from stylegen.pretrained import weights
from stylegen.pretrained.resizing import resize

SIZE, FEATURES = 224, 4096
MIN_SIDE = 16  # pixels that are left after the four pools between the stages
RANDOM_SIZE, RANDOM_FEATURES, RANDOM_SEED = 64, 64, 20260101
# Channels of the convolutions, a tuple for each resolution; their places in torchvision's list of layers.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_LAYERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
# Of the ImageNet training set, for pixels in [0, 1] (torchvision).
_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
_EXACT = lax.Precision.HIGHEST  # full float32 on GPUs and TPUs too

Params = dict[str, Any]


def tensor_shapes(dense: bool = True) -> dict[str, tuple[int, ...]]:
    """Shapes of torchvision's tensors by name, of the convolutions and (``dense``) of the first two dense layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels_in = 3
    for stage, layers in zip(STAGES, _LAYERS, strict=True):
        for channels, layer in zip(stage, layers, strict=True):
            shapes[f"features.{layer}.weight"] = (channels, channels_in, 3, 3)
            shapes[f"features.{layer}.bias"] = (channels,)
            channels_in = channels
    if dense:
        shapes |= {"classifier.0.weight": (FEATURES, 512 * 7 * 7), "classifier.0.bias": (FEATURES,)}
        shapes |= {"classifier.3.weight": (FEATURES, FEATURES), "classifier.3.bias": (FEATURES,)}
    return shapes


def load(path: str | os.PathLike[str], dense: bool = True) -> Params:
    """Read the weights from a file of any kind that ``weights.read_tensors`` reads."""
    return arrange(weights.read_tensors(path, tensor_shapes(dense)))


def arrange(tensors: dict[str, np.ndarray]) -> Params:
    """Tensors of a state dict as what the functions below take: ``conv`` by layer, and ``dense`` if there are any."""
    convolutions = [
        {"kernel": tensors[f"features.{layer}.weight"].transpose(2, 3, 1, 0), "bias": tensors[f"features.{layer}.bias"]}
        for layers in _LAYERS
        for layer in layers
    ]
    dense = []
    if "classifier.0.weight" in tensors:
        # torch flattens channels first; the images here have them last.
        first = tensors["classifier.0.weight"].reshape(-1, 512, 7, 7).transpose(2, 3, 1, 0).reshape(512 * 49, -1)
        dense = [
            {"kernel": first, "bias": tensors["classifier.0.bias"]},
            {"kernel": tensors["classifier.3.weight"].T, "bias": tensors["classifier.3.bias"]},
        ]
    return {"conv": convolutions, "dense": dense}


@functools.cache
def random_params() -> tuple[Params, str]:
    """The fixed random weights of ``random_vgg``, and their SHA-256.

    The layers of VGG-16 with He's initialization and no biases, for images of 64 pixels, and 64 features, as in the
    random embedding R64 of Naeem et al. 2020. The numbers are ``np.random.RandomState``'s, whose stream is frozen.
    """
    rng = np.random.RandomState(RANDOM_SEED)
    digest = hashlib.sha256()

    def draw(*shape: int) -> np.ndarray:
        kernel = (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)
        digest.update(kernel.tobytes())
        return kernel

    convolutions, channels_in = [], 3
    for stage in STAGES:
        for channels in stage:
            convolutions.append({"kernel": draw(3, 3, channels_in, channels), "bias": np.zeros(channels, np.float32)})
            channels_in = channels
    side = RANDOM_SIZE // 2 ** len(STAGES)
    sizes = (channels_in * side * side, FEATURES, RANDOM_FEATURES)
    dense = [{"kernel": draw(sizes[i], sizes[i + 1]), "bias": np.zeros(sizes[i + 1], np.float32)} for i in range(2)]
    return {"conv": convolutions, "dense": dense}, digest.hexdigest()


def preprocess(images: Array) -> Array:
    """uint8 [N, h, w, 3] as torchvision's weights take them, with TensorFlow's bilinear resize as torch-fidelity."""
    return normalized(resize(images, SIZE, "tensorflow"))


def normalized(images: Array) -> Array:
    """Images in [0, 255] as torchvision's weights take them."""
    return (images / 255 - _MEAN[None, None, None]) / _STD[None, None, None]


def random_preprocess(images: Array) -> Array:
    """uint8 [N, h, w, 3] to 64 pixels, antialiased, and to [-1, 1]."""
    return resize(images, RANDOM_SIZE, "triangle") / 127.5 - 1


def maps(params: Params, x: Array) -> list[Array]:
    """What each of the five stages gives after its last ReLU and before its pool: [N, r, r, C], [N, r/2, r/2, C'], …

    Of as many stages as ``params`` has weights for.
    """
    given = activations(params, x)
    ends = [sum(map(len, STAGES[: i + 1])) - 1 for i in range(len(STAGES))]
    return [given[end] for end in ends if end < len(given)]


def activations(params: Params, x: Array) -> list[Array]:
    """What each of the 13 convolutions gives after its ReLU, in order: relu1_1, relu1_2, relu2_1, …

    Of as many convolutions as ``params`` has weights for.
    """
    firsts = {sum(map(len, STAGES[:i])) for i in range(1, len(STAGES))}  # convolutions before which there is a pool
    outputs = []
    for i, layer in enumerate(params["conv"]):
        x = _max_pool(x) if i in firsts else x
        x = lax.conv_general_dilated(
            x, layer["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=_EXACT
        )
        x = jnp.maximum(x + layer["bias"][None, None, None], 0)
        outputs.append(x)
    return outputs


def features(params: Params, x: Array, relu: bool = True) -> Array:
    """The second dense layer [N, F] of preprocessed images, after its ReLU or before it."""
    x = _max_pool(maps(params, x)[-1])
    x = x.reshape(x.shape[0], -1)
    first, second = (functools.partial(_dense, layer) for layer in params["dense"])
    y = second(jnp.maximum(first(x), 0))
    return jnp.maximum(y, 0) if relu else y


def _dense(layer: Params, x: Array) -> Array:
    return jnp.matmul(x, layer["kernel"], precision=_EXACT) + layer["bias"][None]


def _max_pool(x: Array) -> Array:
    """2x2 maximum at stride 2; an odd last row or column is left out."""
    for axis in (1, 2):
        even = x.shape[axis] // 2 * 2
        pair = [lax.slice_in_dim(x, i, even, 2, axis) for i in range(2)]
        x = jnp.maximum(*pair)
    return x
