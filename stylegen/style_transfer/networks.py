"""The encoder, a VGG up to the first ReLU of its last stage, and the decoder that mirrors it (Sec. 5 and 6).

Pure functions over plain dicts of kernels [k, k, in, out] and biases [out]. ``stages`` are the channels of the
encoder's convolutions, a tuple for each resolution; each stage has half the pixels of the one before. Both networks
reflect at the borders (Sec. 6), and the pools keep an odd last row or column, as those of the published weights do
(torch's ceil_mode), so that features lie over pixels of any size of image: 8 pixels each with four stages.
"""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.convolution import convolve

Stages = tuple[tuple[int, ...], ...]
Params = dict[str, Any]
VGG19: Stages = ((64, 64), (128, 128), (256, 256, 256, 256), (512,))
RGB_CHANNELS = 3


def scale(stages: Stages) -> int:
    """Pixels a side of a feature of the last stage."""
    return 2 ** (len(stages) - 1)


def encoder_channels(stages: Stages) -> list[tuple[int, int]]:
    """Channels in and out of the encoder's 3x3 convolutions."""
    out = [channels for stage in stages for channels in stage]
    return list(zip([RGB_CHANNELS, *out[:-1]], out, strict=True))


def decoder_channels(stages: Stages) -> list[tuple[int, int]]:
    """Channels in and out of the decoder's: the encoder's in reverse."""
    return [(b, a) for a, b in reversed(encoder_channels(stages))]


def encoder_shapes(stages: Stages) -> dict[str, tuple[int, ...]]:
    """Shapes of the encoder's weights by name; ``preprocess`` is a 1x1 convolution of the pixels."""
    shapes: dict[str, tuple[int, ...]] = {
        "preprocess.kernel": (1, 1, RGB_CHANNELS, RGB_CHANNELS),
        "preprocess.bias": (RGB_CHANNELS,),
    }
    return shapes | _shapes(encoder_channels(stages))


def decoder_shapes(stages: Stages) -> dict[str, tuple[int, ...]]:
    """Shapes of the decoder's weights by name."""
    return _shapes(decoder_channels(stages))


def _shapes(channels: list[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (a, b) in enumerate(channels):
        shapes |= {f"conv{i}.kernel": (3, 3, a, b), f"conv{i}.bias": (b,)}
    return shapes


def random_params(shapes: dict[str, tuple[int, ...]], seed: int) -> Params:
    """He's initialization (2015), no biases; ``preprocess`` brings pixels to about [-1, 1]. Flat, by name."""
    rng = np.random.default_rng(seed)
    params: Params = {}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            params[name] = np.zeros(shape, np.float32)
        else:
            params[name] = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    if "preprocess.kernel" in params:
        params["preprocess.kernel"] = 2 * np.eye(RGB_CHANNELS, dtype=np.float32)[None, None]
        params["preprocess.bias"] = -np.ones(RGB_CHANNELS, np.float32)
    return params


def encode(params: Params, stages: Stages, x: Array) -> list[Array]:
    """What each stage gives after its first ReLU, relu1_1 to relu4_1 for VGG-19.

    Args:
        params: the encoder's weights, flat by name.
        stages: its channels.
        x: RGB in [0, 1], [N, h, w, 3].

    Returns:
        [N, h, w, C1], [N, ceil(h/2), ceil(w/2), C2], …
    """
    outputs = activations(params, stages, x)
    firsts = [sum(map(len, stages[:i])) for i in range(len(stages))]
    return [outputs[i] for i in firsts]


def activations(params: Params, stages: Stages, x: Array) -> list[Array]:
    """What every convolution of the encoder gives after its ReLU, in order; arguments as of ``encode``."""
    x = preprocessed(params, x)
    outputs: list[Array] = []
    for i, stage in enumerate(stages):
        x = max_pool(x) if i else x
        for _ in stage:
            x = jnp.maximum(_reflected(params, len(outputs), x), 0)
            outputs.append(x)
    return outputs


def decode(params: Params, stages: Stages, features: Array) -> Array:
    """RGB [N, 8 h, 8 w, 3] (with four stages) of features [N, h, w, C]; in [0, 1], but for overshoots."""
    return decode_part(params, stages, features, 0, len(decoder_channels(stages)))


def decode_part(params: Params, stages: Stages, x: Array, first: int, last: int) -> Array:
    """What the decoder's layers from ``first`` to before ``last`` make of what the one before ``first`` gave."""
    enlarging = set(itertools.accumulate(len(stage) for stage in reversed(stages)))
    end = len(decoder_channels(stages)) - 1
    for layer in range(first, last):
        x = _upsampled_reflected(params, layer, x) if layer in enlarging else _reflected(params, layer, x)
        x = jnp.maximum(x, 0) if layer < end else x
    return x


def max_pool(x: Array) -> Array:
    """2x2 maximum at stride 2; a last odd row or column counts by itself: [N, ceil(h/2), ceil(w/2), C]."""
    n, h, w, c = x.shape
    if h % 2 or w % 2:
        x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    x = x.reshape(n, (h + 1) // 2, 2, (w + 1) // 2, 2, c)
    return jnp.maximum(jnp.maximum(x[:, :, 0, :, 0], x[:, :, 0, :, 1]), jnp.maximum(x[:, :, 1, :, 0], x[:, :, 1, :, 1]))


def preprocessed(params: Params, x: Array) -> Array:
    """What the first 3x3 convolution is given of RGB in [0, 1]."""
    kernel = params["preprocess.kernel"].astype(x.dtype)
    return convolve(x, kernel, 1, "VALID") + ops.per_channel(params["preprocess.bias"])


def _reflected(params: Params, layer: int, x: Array) -> Array:
    return ops.reflected_conv(x, params[f"conv{layer}.kernel"]) + ops.per_channel(params[f"conv{layer}.bias"])


def _upsampled_reflected(params: Params, layer: int, x: Array) -> Array:
    bias = ops.per_channel(params[f"conv{layer}.bias"])
    return ops.upsample_conv(x, params[f"conv{layer}.kernel"], reflect=True) + bias
