"""VGG-16 as the network that losses of style transfer are measured with, and as an encoder (Huang and Belongie 2017).

Its weights come with the extra ``perceptual`` (``stylegen.pretrained.installed``) or from a file of torchvision's. Here
they are in the form of ``networks``: a 1x1 convolution of RGB in [0, 1], then 3x3 convolutions with mirrored borders.
"""

import os
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.formats import WeightsError
from stylegen.pretrained import lpips
from stylegen.runtime import compilation
from stylegen.style_transfer import StyleError, losses, networks
from stylegen.style_transfer.networks import Params, Stages

VGG16: Stages = ((64, 64), (128, 128), (256, 256, 256), (512,))  # up to relu4_1
TAPS = (1, 3, 6, 7)  # relu1_2, relu2_2, relu3_3 and relu4_1, whose statistics the style loss compares
# Components that are kept of the responses of each convolution but the first.
RANKS = {1: 32, 2: 48, 3: 48, 4: 80, 5: 80, 6: 80, 7: 128}
# Of the ImageNet training set, for pixels in [0, 1] (torchvision).
_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)

Targets = list[tuple[Array, Array]]  # mean and standard deviation [N, C] at each tap


def load(path: str | os.PathLike[str] | None = None) -> Params:
    """The weights of VGG-16 up to relu4_1, flat by the names of ``networks``.

    Raises:
        StyleError: they are not here, and how to get them.
    """
    try:
        layers, _ = lpips.load_convolutions("vgg16", path)
    except WeightsError as error:
        raise StyleError(str(error)) from error
    params: Params = {
        "preprocess.kernel": np.diag(1 / _STD)[None, None],
        "preprocess.bias": -_MEAN / _STD,
    }
    for i, layer in enumerate(layers[: sum(map(len, VGG16))]):
        params |= {f"conv{i}.kernel": np.asarray(layer["kernel"]), f"conv{i}.bias": np.asarray(layer["bias"])}
    return params


def normalized(params: Params, images: np.ndarray) -> tuple[Params, float]:
    """The same network with activations of mean 1 in every layer over these uint8 images [N, h, w, 3].

    So all layers count alike in the losses. Channels keep their proportions: dividing each by its own mean, as in the
    VGG that Huang and Belongie published, blows up those that are hardly ever active, and with them the style loss.
    Also returns what the last activations are divided by.
    """
    params = {name: jnp.asarray(x) for name, x in params.items()}
    batches = [_means(params, images[i : i + 8]) for i in range(0, len(images), 8)]
    before = 1.0
    for i, means in enumerate(zip(*batches, strict=True)):
        mean = float(np.mean(means))
        params[f"conv{i}.kernel"] *= before / mean
        params[f"conv{i}.bias"] /= mean
        before = mean
    return params, before


@compilation.jit(precision=None)
def _means(params: Params, images: Array) -> list[Array]:
    """Mean activation of every layer."""
    return [jnp.mean(jnp.maximum(y, 0)) for y in responses(params, images.astype(jnp.float32) / 255)]


def compressed(params: Params, images: np.ndarray) -> Params:
    """The network with convolutions of low rank, by the principal components of their responses to uint8 images.

    A response y is near its projection on its first components U, so W is replaced by W U, with fewer outputs, and U^T,
    a 1x1 convolution (Zhang, Zou, He and Sun 2015, Sec. 3.1): 2.7 times fewer multiplications with RANKS.
    """
    params = dict(params)
    covariances = [_moments(params, images[i : i + 8]) for i in range(0, len(images), 8)]
    for i, rank in RANKS.items():
        count, total, square = (np.sum([batch[i][k] for batch in covariances], axis=0, dtype=float) for k in range(3))
        mean = total / count
        _, vectors = np.linalg.eigh(square / count - np.outer(mean, mean))
        u = vectors[:, -rank:].astype(np.float32)
        kernel, bias = (np.asarray(params[f"conv{i}.{part}"]) for part in ("kernel", "bias"))
        params[f"conv{i}.kernel"] = jnp.asarray(kernel @ u)
        params[f"conv{i}.expand"] = jnp.asarray(u.T)
        params[f"conv{i}.bias"] = jnp.asarray((u @ (u.T @ (bias - mean)) + mean).astype(np.float32))
    return params


@compilation.jit(precision=None)
def _moments(params: Params, images: Array) -> list[tuple[int, Array, Array]]:
    """Of each convolution: how many responses y, their sum, and the sum of y y^T."""
    sums = []
    for y in responses(params, images.astype(jnp.float32) / 255):
        y = y.reshape(-1, y.shape[-1])
        sums.append((len(y), jnp.sum(y, axis=0), y.T @ y))
    return sums


def taps(params: Params, x: Array) -> list[Array]:
    """Activations at TAPS of RGB in [0, 1], [N, h, w, 3]."""
    outputs = [jnp.maximum(y, 0) for y in responses(params, x)]
    return [outputs[i] for i in TAPS]


def responses(params: Params, x: Array) -> list[Array]:
    """What every convolution gives before its ReLU, of RGB in [0, 1], [N, h, w, 3]."""
    x = networks.preprocessed(params, x)
    outputs: list[Array] = []
    for i, stage in enumerate(VGG16):
        x = networks.max_pool(x) if i else x
        for _ in stage:
            name = f"conv{len(outputs)}"
            x = ops.reflected_conv(x, params[f"{name}.kernel"])
            x = x @ params[f"{name}.expand"] if f"{name}.expand" in params else x
            outputs.append(x + ops.per_channel(params[f"{name}.bias"]))
            x = jnp.maximum(outputs[-1], 0)
    return outputs


def statistics(maps: Sequence[Array]) -> Targets:
    """What the style loss compares."""
    return [losses.statistics(x, "biased") for x in maps]
