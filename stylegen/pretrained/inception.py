"""The Inception network that FID is defined with: TensorFlow's graph of 2015-12-05 (Szegedy et al. 2015).

Its peculiarities, which torchvision's Inception does not share: average pools do not count the padding, the last block
pools by maximum, there are 1008 classes, and batch normalization adds 0.001 to the variance. Names of the weights are
those of pytorch-fid's state dict.

Batch normalization is folded into the convolutions. Convolutions of 1x1 that read the same input are one product, and
an average pool comes after the 1x1 convolution that follows it in the original, where it has fewer channels: both are
linear, so the order does not matter.
"""

import os
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from stylegen.pretrained import weights
from stylegen.pretrained.resizing import resize

SIZE, FEATURES, CLASSES = 299, 2048, 1008
EPSILON = 0.001  # of batch normalization
_EXACT = lax.Precision.HIGHEST  # full float32 on GPUs and TPUs too

Params = dict[str, Any]


def _convolutions() -> dict[str, tuple[int, int, int, int]]:
    """(height, width, channels in, channels out) of every convolution by name."""
    shapes = {
        "Conv2d_1a_3x3": (3, 3, 3, 32),
        "Conv2d_2a_3x3": (3, 3, 32, 32),
        "Conv2d_2b_3x3": (3, 3, 32, 64),
        "Conv2d_3b_1x1": (1, 1, 64, 80),
        "Conv2d_4a_3x3": (3, 3, 80, 192),
    }

    def add(block: str, **branches: tuple[int, int, int, int]) -> None:
        shapes.update({f"{block}.{name}": shape for name, shape in branches.items()})

    for block, n, pool in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        add(block, branch1x1=(1, 1, n, 64), branch5x5_1=(1, 1, n, 48), branch5x5_2=(5, 5, 48, 64))
        add(block, branch3x3dbl_1=(1, 1, n, 64), branch3x3dbl_2=(3, 3, 64, 96), branch3x3dbl_3=(3, 3, 96, 96))
        add(block, branch_pool=(1, 1, n, pool))
    add("Mixed_6a", branch3x3=(3, 3, 288, 384), branch3x3dbl_1=(1, 1, 288, 64))
    add("Mixed_6a", branch3x3dbl_2=(3, 3, 64, 96), branch3x3dbl_3=(3, 3, 96, 96))
    for block, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        add(block, branch1x1=(1, 1, 768, 192), branch_pool=(1, 1, 768, 192))
        add(block, branch7x7_1=(1, 1, 768, c), branch7x7_2=(1, 7, c, c), branch7x7_3=(7, 1, c, 192))
        add(block, branch7x7dbl_1=(1, 1, 768, c), branch7x7dbl_2=(7, 1, c, c), branch7x7dbl_3=(1, 7, c, c))
        add(block, branch7x7dbl_4=(7, 1, c, c), branch7x7dbl_5=(1, 7, c, 192))
    add("Mixed_7a", branch3x3_1=(1, 1, 768, 192), branch3x3_2=(3, 3, 192, 320))
    add("Mixed_7a", branch7x7x3_1=(1, 1, 768, 192), branch7x7x3_2=(1, 7, 192, 192))
    add("Mixed_7a", branch7x7x3_3=(7, 1, 192, 192), branch7x7x3_4=(3, 3, 192, 192))
    for block, n in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        add(block, branch1x1=(1, 1, n, 320), branch_pool=(1, 1, n, 192))
        add(block, branch3x3_1=(1, 1, n, 384), branch3x3_2a=(1, 3, 384, 384), branch3x3_2b=(3, 1, 384, 384))
        add(block, branch3x3dbl_1=(1, 1, n, 448), branch3x3dbl_2=(3, 3, 448, 384))
        add(block, branch3x3dbl_3a=(1, 3, 384, 384), branch3x3dbl_3b=(3, 1, 384, 384))
    return shapes


CONVOLUTIONS = _convolutions()


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the state dict's tensors by name, convolutions as [out, in, height, width]."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (h, w, channels_in, channels_out) in CONVOLUTIONS.items():
        shapes[f"{name}.conv.weight"] = (channels_out, channels_in, h, w)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (channels_out,)
    return {**shapes, "fc.weight": (CLASSES, FEATURES)}


def load(path: str | os.PathLike[str]) -> Params:
    """Read the weights from a file of any kind that ``weights.read_tensors`` reads."""
    return fold(weights.read_tensors(path, tensor_shapes()))


def fold(tensors: dict[str, np.ndarray]) -> Params:
    """Tensors of a state dict as what ``features`` takes: a kernel [h, w, in, out] and a bias for each convolution."""
    params: Params = {}
    for name in CONVOLUTIONS:
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (tensors[f"{name}.bn.{part}"].astype(np.float64) for part in parts)
        scale = gamma / np.sqrt(variance + EPSILON)
        kernel = tensors[f"{name}.conv.weight"].transpose(2, 3, 1, 0) * scale
        params[name] = {"kernel": kernel.astype(np.float32), "bias": (beta - mean * scale).astype(np.float32)}
    return {**params, "fc": tensors["fc.weight"].T.astype(np.float32)}


def preprocess(images: Array) -> Array:
    """uint8 [N, h, w, 3] as the network takes them: TensorFlow's bilinear resize, then (x - 128)/128."""
    return (resize(images, SIZE, "tensorflow") - 128) / 128


def features(params: Params, x: Array) -> Array:
    """The last average pool [N, 2048] of preprocessed images [N, 299, 299, 3]."""
    x = _conv(params, "Conv2d_1a_3x3", x, stride=2, padding="VALID")
    x = _conv(params, "Conv2d_2a_3x3", x, padding="VALID")
    x = _max_pool(_conv(params, "Conv2d_2b_3x3", x))
    x = _conv(params, "Conv2d_4a_3x3", _conv(params, "Conv2d_3b_1x1", x), padding="VALID")
    x = _max_pool(x)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _block_a(params, block, x)
    x = _block_b(params, "Mixed_6a", x)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _block_c(params, block, x)
    x = _block_d(params, "Mixed_7a", x)
    x = _block_e(params, "Mixed_7b", x, max_pool=False)
    x = _block_e(params, "Mixed_7c", x, max_pool=True)
    return jnp.mean(x, axis=(1, 2))


def logits(params: Params, pooled: Array) -> Array:
    """Class logits [N, 1008] of ``features``, without the bias, as the Inception score is computed."""
    return jnp.matmul(pooled, params["fc"], precision=_EXACT)


def _conv(params: Params, name: str, x: Array, stride: int = 1, padding: str = "SAME") -> Array:
    kernel, bias = params[name]["kernel"], params[name]["bias"]
    layout = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout, precision=_EXACT)
    return jnp.maximum(y + bias[None, None, None], 0)


def _chain(params: Params, block: str, x: Array, *names: str) -> Array:
    for name in names:
        x = _conv(params, f"{block}.{name}", x)
    return x


def _pointwise(params: Params, block: str, x: Array, names: tuple[str, ...]) -> list[Array]:
    """Several 1x1 convolutions of one input as one product; ``branch_pool`` among them is pooled as well."""
    kernels = [params[f"{block}.{name}"]["kernel"][0, 0] for name in names]
    y = jnp.matmul(x, jnp.concatenate(kernels, axis=1), precision=_EXACT)
    parts = jnp.split(y, np.cumsum([k.shape[1] for k in kernels])[:-1].tolist(), axis=-1)
    pooled = [_mean_pool(part) if name == "branch_pool" else part for name, part in zip(names, parts, strict=True)]
    biases = [params[f"{block}.{name}"]["bias"] for name in names]
    return [jnp.maximum(part + bias[None, None, None], 0) for part, bias in zip(pooled, biases, strict=True)]


def _block_a(params: Params, block: str, x: Array) -> Array:
    names = ("branch1x1", "branch5x5_1", "branch3x3dbl_1", "branch_pool")
    one, five, three, pool = _pointwise(params, block, x, names)
    five = _chain(params, block, five, "branch5x5_2")
    three = _chain(params, block, three, "branch3x3dbl_2", "branch3x3dbl_3")
    return jnp.concatenate([one, five, three, pool], axis=-1)


def _block_b(params: Params, block: str, x: Array) -> Array:
    three = _conv(params, f"{block}.branch3x3", x, stride=2, padding="VALID")
    double = _chain(params, block, x, "branch3x3dbl_1", "branch3x3dbl_2")
    double = _conv(params, f"{block}.branch3x3dbl_3", double, stride=2, padding="VALID")
    return jnp.concatenate([three, double, _max_pool(x)], axis=-1)


def _block_c(params: Params, block: str, x: Array) -> Array:
    names = ("branch1x1", "branch7x7_1", "branch7x7dbl_1", "branch_pool")
    one, seven, double, pool = _pointwise(params, block, x, names)
    seven = _chain(params, block, seven, "branch7x7_2", "branch7x7_3")
    double = _chain(params, block, double, *(f"branch7x7dbl_{i}" for i in (2, 3, 4, 5)))
    return jnp.concatenate([one, seven, double, pool], axis=-1)


def _block_d(params: Params, block: str, x: Array) -> Array:
    three, seven = _pointwise(params, block, x, ("branch3x3_1", "branch7x7x3_1"))
    three = _conv(params, f"{block}.branch3x3_2", three, stride=2, padding="VALID")
    seven = _chain(params, block, seven, "branch7x7x3_2", "branch7x7x3_3")
    seven = _conv(params, f"{block}.branch7x7x3_4", seven, stride=2, padding="VALID")
    return jnp.concatenate([three, seven, _max_pool(x)], axis=-1)


def _block_e(params: Params, block: str, x: Array, max_pool: bool) -> Array:
    names: tuple[str, ...] = ("branch1x1", "branch3x3_1", "branch3x3dbl_1")
    if max_pool:
        one, three, double = _pointwise(params, block, x, names)
        pool = _conv(params, f"{block}.branch_pool", _max_pool(x, stride=1))
    else:
        one, three, double, pool = _pointwise(params, block, x, (*names, "branch_pool"))
    double = _chain(params, block, double, "branch3x3dbl_2")
    parts = [_conv(params, f"{block}.branch3x3_2{side}", three) for side in "ab"]
    parts += [_conv(params, f"{block}.branch3x3dbl_3{side}", double) for side in "ab"]
    return jnp.concatenate([one, *parts, pool], axis=-1)


def _max_pool(x: Array, stride: int = 2) -> Array:
    """3x3 maximum: at stride 2 without padding, at stride 1 padded to the same size."""
    for axis in (1, 2):
        if stride == 1:
            padding = [(1, 1) if a == axis else (0, 0) for a in range(4)]
            x = jnp.pad(x, padding, constant_values=-jnp.inf)
        count = (x.shape[axis] - 3) // stride + 1
        shifted = [lax.slice_in_dim(x, i, i + (count - 1) * stride + 1, stride, axis) for i in range(3)]
        x = jnp.maximum(jnp.maximum(shifted[0], shifted[1]), shifted[2])
    return x


def _mean_pool(x: Array) -> Array:
    """3x3 mean at stride 1 of what lies within the image: the padding is not counted."""
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
        total = x + lax.slice_in_dim(padded, 0, size, axis=axis) + lax.slice_in_dim(padded, 2, size + 2, axis=axis)
        counts = np.full(size, 3, np.float32)
        counts[[0, -1]] = 2
        x = total / counts.reshape([-1 if a == axis else 1 for a in range(4)])
    return x
