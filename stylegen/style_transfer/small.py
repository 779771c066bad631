"""The small network: an encoder of its own, AdaIN at two scales, and modulated convolutions after it.

The encoder gives features at a quarter and at an eighth of the image's size, the first with the mean colors beside
them. AdaIN gives both the statistics of the style's (Huang and Belongie 2017, Eq. 8), so the colors are right before
any layer has learned them; what the layers make is added to them. Residual blocks at an eighth of the size, where a 3x3 convolution sees 24
pixels, and the layers up to the image are modulated by the same statistics: scaled inputs and demodulated outputs
(Karras et al. 2020, Sec. 2.2), so nothing after the encoder measures the image, and tiles need no more than its
statistics. The full image is measured once.

Pure functions over a flat dict of kernels [k, k, in, out] and biases [out]. Images are mirrored at their borders.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen import ops
from stylegen.convolution import trilinear_convolve
from stylegen.style_transfer import losses
from stylegen.style_transfer.networks import Params

FULL, HALF, QUARTER, EIGHTH, CODE = 16, 32, 64, 64, 64  # channels by size of the image, and numbers of a style code
BLOCKS = 2  # residual blocks of two convolutions
SCALES = (4, 8)  # pixels a side of a feature of each map
CHANNELS = (QUARTER + 3, EIGHTH)  # of each map; the last three of the first are colors in [-1, 1]
SEEN = 72  # pixels that the output sees on each side of its own: the margin of a tile, a multiple of 8
# Of a variance that AdaIN divides by: features are of the order of 1, and what varies by less is noise of the file.
EPSILON = 1e-3
_DEMODULATION = 1e-6
# Modulated layers in order: inputs, outputs.
_LAYERS = {f"trunk{i}": (EIGHTH, EIGHTH) for i in range(2 * BLOCKS)} | {
    "up0": (EIGHTH, QUARTER),
    "merge": (QUARTER, QUARTER),
    "up1": (QUARTER, HALF),
    "up2": (HALF, FULL),
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the weights by name."""
    kernels = {
        "full": (3, FULL),
        "half": (FULL, HALF),
        "quarter": (HALF, QUARTER),
        "detail": (QUARTER, QUARTER),
        "eighth": (QUARTER, EIGHTH),
        **_LAYERS,
        "image": (FULL, 3),
    }
    result: dict[str, tuple[int, ...]] = {}
    for name, (a, b) in kernels.items():
        result |= {f"{name}.kernel": (3, 3, a, b), f"{name}.bias": (b,)}
    result |= {"code.kernel": (2 * sum(CHANNELS), CODE), "code.bias": (CODE,)}
    for name, (a, b) in _LAYERS.items():
        result |= {f"{name}.scale": (CODE, a), f"{name}.shift": (CODE, b)}
    return result


def random_params(seed: int) -> Params:
    """He's initialization for leaky ReLU; styles modulate nothing at first. Flat, by name."""
    rng = np.random.default_rng(seed)
    params: Params = {}
    for name, shape in shapes().items():
        if name.endswith("bias"):
            params[name] = np.zeros(shape, np.float32)
        else:
            gain = 0.1 if name.endswith((".scale", ".shift")) else 1
            gain = 0.1 if name == "image.kernel" else gain
            params[name] = (rng.standard_normal(shape) * gain / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    return params


def encode(params: Params, x: Array) -> tuple[Array, Array]:
    """RGB in [0, 1], [N, h, w, 3] with sides that are multiples of 8, to [N, h/4, w/4, C] and [N, h/8, w/8, C']."""
    colors = 2 * x - 1
    x = _activated(params, "full", ops.reflected_conv(colors, params["full.kernel"]))
    x = _activated(params, "half", _smaller(x, params["half.kernel"]))
    x = _activated(params, "quarter", _smaller(x, params["quarter.kernel"]))
    quarter = _activated(params, "detail", ops.reflected_conv(x, params["detail.kernel"]))
    eighth = _activated(params, "eighth", _smaller(quarter, params["eighth.kernel"]))
    n, h, w, c = colors.shape
    means = colors.reshape(n, h // 4, 4, w // 4, 4, c).mean((2, 4))
    return jnp.concatenate([quarter, means], axis=-1), eighth


def statistics(maps: Sequence[Array]) -> tuple[Array, Array]:
    """Means and standard deviations [N, C + C'] of all channels of both maps: what a style gives to others."""
    pairs = [losses.statistics(x, "biased") for x in maps]
    return jnp.concatenate([mean for mean, _ in pairs], axis=1), jnp.concatenate([std for _, std in pairs], axis=1)


def restyled(maps: Sequence[Array], mean: Array, std: Array) -> tuple[Array, Array]:
    """Both maps of contents with the statistics [N, C + C'] of styles (AdaIN)."""
    quarter, eighth = (
        losses.adain(x, m, s, "biased", EPSILON) for x, m, s in zip(maps, split(mean), split(std), strict=True)
    )
    return quarter, eighth


def split(numbers: Array) -> tuple[Array, Array]:
    """Numbers [..., C + C'] of the channels of both maps as those of each."""
    return numbers[..., : CHANNELS[0]], numbers[..., CHANNELS[0] :]


def decode(params: Params, maps: Sequence[Array], mean: Array, std: Array, regions: Array | None = None) -> Array:
    """The image of restyled maps.

    Args:
        params: the weights.
        maps: what ``restyled`` gives, [N, h/4, w/4, C] and [N, h/8, w/8, C'].
        mean: of the style's channels [N, C + C'], which modulate the layers; with ``regions`` [S, C + C'] of S styles.
        std: standard deviations likewise.
        regions: share of each style at each feature of the second map, [S, h/8, w/8], 1 in sum; N is 1 then.

    Returns:
        RGB [N, h, w, 3]; in [0, 1], but for overshoots.
    """
    modulate = _Modulation(params, jnp.concatenate([mean, std], axis=1), regions)
    quarter, x = maps
    for i in range(0, 2 * BLOCKS, 2):
        x = x + modulate(f"trunk{i + 1}", modulate(f"trunk{i}", x, 1), 1)
    x = modulate("up0", x, 2, larger=True)
    x = modulate("merge", x + quarter[..., :QUARTER], 2)
    x = modulate("up1", x, 4, larger=True)
    x = modulate("up2", x, 8, larger=True)
    drawn = ops.reflected_conv(x, params["image.kernel"]) + ops.per_channel(params["image.bias"])
    return drawn + 0.5 + 0.5 * _enlarged(quarter[..., QUARTER:], 4)


class _Modulation:
    """Layers whose inputs, outputs and biases depend on a style, or on the styles of regions."""

    def __init__(self, params: Params, statistics: Array, regions: Array | None):
        self.params, self.regions = params, regions
        self.code = ops.scaled_leaky_relu(statistics @ params["code.kernel"] + params["code.bias"][None])

    def __call__(self, name: str, x: Array, factor: int, larger: bool = False) -> Array:
        """One layer; ``factor`` pixels of its output to a feature of the second map; ``larger`` doubles the size."""
        kernel, bias = self.params[f"{name}.kernel"], self.params[f"{name}.bias"]
        scale = 1 + self.code @ self.params[f"{name}.scale"]
        shift = self.code @ self.params[f"{name}.shift"] + bias[None]
        # Outputs of variance 2, which leaky ReLU makes 1 (Karras et al. 2020, Eq. 3).
        gain = jnp.sqrt(2 / (jnp.square(scale) @ jnp.sum(jnp.square(kernel), axis=(0, 1)) + _DEMODULATION))
        x = x * self._spread(scale, factor // 2 if larger else factor)
        x = ops.upsample_conv(x, kernel, reflect=True) if larger else ops.reflected_conv(x, kernel)
        return ops.leaky_relu(x * self._spread(gain, factor) + self._spread(shift, factor))

    def _spread(self, numbers: Array, factor: int) -> Array:
        """Numbers [N, C] of each style as they meet [N, h, w, C]."""
        if self.regions is None:
            return numbers[:, None, None]
        return jnp.einsum("shw,sc->hwc", self.regions.repeat(factor, 1).repeat(factor, 2), numbers)[None]


def _enlarged(x: Array, factor: int) -> Array:
    """``factor`` times the size, between pixels linearly."""
    n, h, w, c = x.shape
    return jax.image.resize(x, (n, factor * h, factor * w, c), "bilinear")


def _activated(params: Params, name: str, x: Array) -> Array:
    return ops.scaled_leaky_relu(x + ops.per_channel(params[f"{name}.bias"]))


def _smaller(x: Array, kernel: Array) -> Array:
    """A 3x3 convolution and the mean of 2x2, as one 4x4 convolution with stride 2 (``ops.conv_downsample``)."""
    for axis in (0, 1):
        first, middle, last = jnp.split(kernel, 3, axis)
        kernel = jnp.concatenate([first, first + middle, middle + last, last], axis) * 0.5
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return trilinear_convolve(padded, kernel, 2, ((0, 0), (0, 0)))
