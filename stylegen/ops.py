"""Pure array functions, the building blocks of the networks. Images are NHWC; weights are HWIO; nothing has state.

Sources: Karras, Laine and Aila 2019 ("StyleGAN"), Karras et al. 2018 ("progressive growing"), Huang and Belongie 2017
(AdaIN), Karras et al. 2020 ("StyleGAN2").
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Shaped, UInt8

from stylegen.array_types import Array
from stylegen.convolution import (
    Padding,
    convolve,
    is_accelerator,
    splits_transposes,
    target_platform,
    trilinear_convolve,
    upsampling_convolve,
)

NORM_EPSILON = 1e-8  # of the original, for pixel norm, instance norm and minibatch standard deviation alike
LEAKY_SLOPE = 0.2
FEW_CHANNELS = 4  # as many as an image has at most


def lerp(a: Shaped[Array, "..."], b: Shaped[Array, "..."], t: Shaped[Array, "..."] | float) -> Shaped[Array, "..."]:
    """Straight line from ``a`` (t = 0) to ``b`` (t = 1), exact at both ends; shapes broadcast."""
    return a * (1 - t) + b * t


def step_toward(
    a: Shaped[Array, "..."], b: Shaped[Array, "..."], t: Shaped[Array, "..."] | float
) -> Shaped[Array, "..."]:
    """The share ``t`` of the way from ``a`` to ``b``, exactly ``a`` where both are equal: for moving averages.

    The weights 1 - t and t of ``lerp`` are rounded each by itself, so their sum need not be 1. Taken in that way, the
    average of a constant drifts: by up to 5e-6 of it at a half-life of 10 kimg and batch 32, by 3e-4 at 500 kimg.
    """
    return a + (b - a) * t


@jax.custom_jvp
def leaky_relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU with slope 0.2 and no gain: the gain sqrt(2) is in the weights before it."""
    return jnp.where(x >= 0, x, x * jnp.asarray(LEAKY_SLOPE, x.dtype))


@leaky_relu.defjvp
def _leaky_relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """The derivative as one product: JAX's own, of a choice, is the sum of two choices."""
    (x,), (t,) = primals, tangents
    return leaky_relu(x), t * _slope(x)


def _slope(x: Array) -> Array:
    """Derivative of the leaky ReLU at x, in its dtype."""
    return jnp.where(x >= 0, jnp.asarray(1, x.dtype), jnp.asarray(LEAKY_SLOPE, x.dtype))


def per_channel(y: Shaped[Array, "*c"]) -> Shaped[Array, "..."]:
    """Numbers [C], one for each channel, as [1, 1, 1, C], to meet images [N, H, W, C]. Scalars stay as they are."""
    return y[None, None, None] if y.ndim else y


def scaled_leaky_relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU with slope 0.2 and the gain sqrt(2) after it, as StyleGAN2 has it: the gain is on biases too."""
    return leaky_relu(x) * jnp.asarray(math.sqrt(2), x.dtype)


def conv(
    x: Float[Array, "n h w c"], weight: Float[Array, "k k c d"], padding: Padding = "SAME"
) -> Float[Array, "n _ _ d"]:
    """Convolve [N, H, W, C] with [k, k, C, D]: [N, H, W, D], by default zero-padded to the same size.

    The dtype is that of x, whatever that of the weight is.
    """
    if weight.shape[:2] == (1, 1) and min(weight.shape[2:]) <= FEW_CHANNELS and is_accelerator():
        return _mix_channels(x, weight[0, 0])
    return convolve(x, weight.astype(x.dtype), 1, padding)


@jax.custom_vjp
def _mix_channels(x: Array, weight: Array) -> Array:
    """The product of [N, H, W, C] and [C, D], one of which is an image's few channels, as sums over these.

    On accelerators such a layer costs what it reads and writes, and a sum fuses with what comes before and after it.
    Longer sums are float32 whatever x is; as in ``convolution``, the three forms are each other's derivatives.
    """
    w = weight.astype(x.dtype)
    if w.shape[0] <= FEW_CHANNELS:
        return functools.reduce(jnp.add, [x[..., i, None] * per_channel(w[i]) for i in range(w.shape[0])])
    sums = [jnp.sum(_wide(x * per_channel(w[:, i])), axis=-1) for i in range(w.shape[1])]
    return jnp.stack(sums, axis=-1).astype(x.dtype)


@jax.custom_vjp
def _mix_gradient(x: Array, y: Array) -> Array:
    """The gradient of ``_mix_channels`` by its weight, float32 [C, D]: of x [N, H, W, C] and y [N, H, W, D]."""
    return jnp.einsum("nhwc,nhwd->cd", x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def _mix_backward(residuals: tuple[Array, Array], y: Array) -> tuple[Array, Array]:
    x, weight = residuals
    return _mix_channels(y, weight.T), _mix_gradient(x, y).astype(weight.dtype)


def _mix_gradient_backward(residuals: tuple[Array, Array], weight: Array) -> tuple[Array, Array]:
    x, y = residuals
    return _mix_channels(y, weight.T), _mix_channels(x, weight)


_mix_channels.defvjp(lambda x, weight: (_mix_channels(x, weight), (x, weight)), _mix_backward)
_mix_gradient.defvjp(lambda x, y: (_mix_gradient(x, y), (x, y)), _mix_gradient_backward)


def upsample(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Nearest neighbor, twice the size: [N, H, W, C] to [N, 2H, 2W, C]."""
    n, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (n, h, 2, w, 2, c))
    return x.reshape(n, 2 * h, 2 * w, c)


def downsample(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Mean of every 2x2 square: [N, H, W, C] to [N, H/2, W/2, C]."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, c)
    return (x[:, :, 0, :, 0] + x[:, :, 0, :, 1] + x[:, :, 1, :, 0] + x[:, :, 1, :, 1]) * jnp.asarray(0.25, x.dtype)


def upsample_conv(
    x: Float[Array, "n h w c"], weight: Float[Array, "3 3 c d"], reflect: bool = False
) -> Float[Array, "n 2*h 2*w d"]:
    """``conv(upsample(x), weight)`` with a 3x3 weight: [N, H, W, C] to [N, 2H, 2W, D], with 4/9 of the multiplications.

    In the form that suits the platform (docs/performance.md). Borders are padded with zeros, or mirrored (``reflect``).
    """
    return phased_upsample_conv(x, weight, reflect) if splits_transposes() else whole_upsample_conv(x, weight, reflect)


def whole_upsample_conv(
    x: Float[Array, "n h w c"], weight: Float[Array, "3 3 c d"], reflect: bool = False
) -> Float[Array, "n 2*h 2*w d"]:
    """``upsample_conv`` as the transpose of one 4x4 convolution with stride 2: a single kernel of cuDNN.

    Row i of the small image contributes to the rows 2i - 1 to 2i + 2 of the large one. It does so through the last row
    of the weight, the last two, the first two and the first. Columns likewise. ``reflect`` is as for
    ``phased_upsample_conv``.
    """
    if reflect:
        wider = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        return whole_upsample_conv(wider, weight)[:, 2:-2, 2:-2]
    for axis in (0, 1):
        first, middle, last = jnp.split(weight, 3, axis)
        weight = jnp.concatenate([last, middle + last, first + middle, first], axis)
    return upsampling_convolve(x, weight.astype(x.dtype))


def phased_upsample_conv(
    x: Float[Array, "n h w c"], weight: Float[Array, "3 3 c d"], reflect: bool = False
) -> Float[Array, "n 2*h 2*w d"]:
    """``upsample_conv`` as four 2x2 convolutions of the small image, one for each place in a 2x2 square.

    Row 2i of the large image sees the rows i - 1, i, i of the small one, row 2i + 1 sees i, i, i + 1: what meets the
    same row adds up. Columns likewise. Exact at the borders. Four convolutions, because XLA's gradient of the weight of
    a single one with four times the outputs takes ten times as long and more.

    ``reflect`` mirrors the large image at its borders instead of padding it with zeros; each pixel being there twice,
    that is to repeat the outermost ones of the small image.
    """

    def taps(weight: Array, axis: int) -> tuple[Array, Array]:
        first, middle, last = jnp.split(weight, 3, axis)
        return jnp.concatenate([first, middle + last], axis), jnp.concatenate([first + middle, last], axis)

    def place(t: Array, i: int, j: int) -> Array:
        if not reflect:
            return conv(x, t, padding=((1 - i, i), (1 - j, j)))
        return conv(wider[:, i : i + h + 1, j : j + w + 1], t, padding="VALID")

    n, h, w, _ = x.shape
    wider = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge") if reflect else x
    rows = []
    for i, row_taps in enumerate(taps(weight, 0)):
        places = [place(t, i, j) for j, t in enumerate(taps(row_taps, 1))]
        rows.append(jnp.stack(places, axis=3))
    return jnp.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, weight.shape[-1])


def reflected_conv(x: Float[Array, "n h w c"], weight: Float[Array, "3 3 c d"]) -> Float[Array, "n h w d"]:
    """``conv`` with a 3x3 weight of an image that is mirrored at its borders, about the outermost pixels."""
    return conv(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), weight, "VALID")


def conv_downsample(x: Float[Array, "n h w c"], weight: Float[Array, "3 3 c d"]) -> Float[Array, "n h//2 w//2 d"]:
    """``downsample(conv(x, weight))`` with a 3x3 weight: [N, H, W, C] to [N, H/2, W/2, D].

    As one 4x4 convolution with stride 2, the mean of the weight at four places: exact, with 4/9 of the multiplications.
    """
    for axis in (0, 1):
        first, middle, last = jnp.split(weight, 3, axis)
        weight = jnp.concatenate([first, first + middle, middle + last, last], axis) * jnp.asarray(0.5, weight.dtype)
    return trilinear_convolve(x, weight.astype(x.dtype), 2, ((1, 1), (1, 1)))


@jax.custom_vjp
def blur(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Low-pass with the outer product of [1, 2, 1]/4, zero-padded to the same size: [N, H, W, C].

    Written as shifted sums, the axes in turn; a depthwise convolution is slower, above all its derivatives. It is
    symmetric, so its own derivative.

    On a GPU each axis is a kernel of its own. A sum of all nine pixels in one reads and writes half as much, but for
    every number it asks nine times whether that lies within the image. Those are 150 instructions a number, and an H200
    took 0.85 ms for [32, 256, 256, 64] in bfloat16 where memory alone takes 0.13. For a TPU, which none of this was
    measured on, the sum of nine is the less costly one by the compiler's account.
    """
    return _blur_at_once(x) if target_platform() == "tpu" else _blur_along(_written(_blur_along(x, 1)), 2)


def _blur_at_once(x: Array) -> Array:
    _, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = ((0, 0.25), (1, 0.5), (2, 0.25))
    return functools.reduce(
        jnp.add, [padded[:, i : i + h, j : j + w] * jnp.asarray(a * b, x.dtype) for i, a in taps for j, b in taps]
    )


def _blur_along(x: Array, axis: int) -> Array:
    size = x.shape[axis]
    padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])
    before = lax.slice_in_dim(padded, 0, size, axis=axis)
    after = lax.slice_in_dim(padded, 2, size + 2, axis=axis)
    return (before + after) * jnp.asarray(0.25, x.dtype) + x * jnp.asarray(0.5, x.dtype)


blur.defvjp(lambda x: (blur(x), None), lambda _, y: (blur(y),))


def pixel_norm(x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Scale every row of [N, C] to mean square 1 (progressive growing, Sec. 4.2)."""
    return x * lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + NORM_EPSILON)


def instance_norm(x: Float[Array, "n h w c"], epsilon: float = NORM_EPSILON) -> Float[Array, "n h w c"]:
    """Zero mean and unit (biased) variance per image and channel: [N, H, W, C]. Statistics are float32 at least."""
    mean, variance = _moments(x)
    return ((_wide(x) - mean) * lax.rsqrt(variance + epsilon)).astype(x.dtype)


def _wide(x: Array) -> Array:
    """x in float32, in which statistics and long sums are computed; float64 stays as it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance per image and channel of [N, H, W, C]: two of [N, 1, 1, C], float32 at least.

    Those of bfloat16 come from one pass, as mean of squares less square of the mean. Where the mean is large against
    the std, this loses about 1e-7 of its square, which is less than the rounding of bfloat16 numbers.
    """
    y = _wide(x)
    mean = _fusion_barrier(jnp.mean(y, axis=(1, 2), keepdims=True))
    if x.dtype == jnp.bfloat16:
        square = jnp.mean(jnp.square(y), axis=(1, 2), keepdims=True)
        return mean, jnp.maximum(square - jnp.square(mean), 0)
    return mean, _fusion_barrier(jnp.mean(jnp.square(y - mean), axis=(1, 2), keepdims=True))


def _fusion_barrier(statistic: Array) -> Array:
    """The same finite numbers, by an operation that ends the kernel of the statistics on a CPU.

    Without it XLA fuses the convolution after an instance norm into that kernel, where it is a fifth slower: 390 ms
    instead of 310 for [8, 32, 32, 512] on two EPYC cores.
    """
    if target_platform() != "cpu":
        return statistic
    most = jnp.finfo(statistic.dtype).max
    return lax.clamp(-most, statistic, most)


def adain(
    content: Float[Array, "n h w c"],
    style_mean: Float[Array, "n c"],
    style_std: Float[Array, "n c"],
    epsilon: float = NORM_EPSILON,
) -> Float[Array, "n h w c"]:
    """Adaptive instance normalization: sigma(y) * (x - mu(x)) / sigma(x) + mu(y) (Huang and Belongie 2017, Eq. 8).

    Args:
        content: x, [N, H, W, C].
        style_mean: mu(y), [N, C].
        style_std: sigma(y), [N, C]. StyleGAN's layers give 1 + s, so that a zero affine leaves the normalized content.
        epsilon: added to the variance of x; 1e-8 in StyleGAN, 1e-5 in style transfer.

    Returns:
        [N, H, W, C], of the content's dtype.

    Raises:
        ValueError: the styles are not one number per image and channel.
    """
    expected = (content.shape[0], content.shape[-1])
    for name, style in (("style_mean", style_mean), ("style_std", style_std)):
        if style.shape != expected:
            raise ValueError(f"{name} has shape {style.shape}; content {content.shape} needs {expected}.")
    normalized = instance_norm(content, epsilon)
    std, mean = (spread(style[:, None, None, :], normalized) for style in (style_std, style_mean))
    return normalized * std + mean


def noisy_leaky_relu(
    x: Float[Array, "n h w c"],
    noise: Float[Array, "#n h w 1"] | None,
    strength: Float[Array, " c"] | None,
    bias: Float[Array, " c"],
) -> Float[Array, "n h w c"]:
    """``leaky_relu(x + strength * noise + bias)`` of [N, H, W, C], in the dtype of x.

    Noise is [N or 1, H, W, 1], strength and bias have a number per channel; without noise there is none.
    """
    if noise is not None and strength is not None:
        x = x + noise.astype(x.dtype) * per_channel(strength.astype(x.dtype))
    return leaky_relu(x + per_channel(bias.astype(x.dtype)))


@jax.custom_vjp
def styled_activation(
    x: Float[Array, "n h w c"],
    noise: Float[Array, "#n h w 1"] | None,
    strength: Float[Array, " c"] | None,
    bias: Float[Array, " c"],
    scale: Float[Array, "n c"],
    shift: Float[Array, "n c"],
) -> Float[Array, "n h w c"]:
    """``adain(noisy_leaky_relu(x, noise, strength, bias), shift, scale)``: StyleGAN's layers after a convolution.

    Only the memory that this reads and writes costs time on an accelerator, so its backward pass is written out: it
    keeps x and the statistics, computes the activation again, and needs two sums over each channel, which are at the
    same time the gradients by scale and shift.

    Args:
        x: [N, H, W, C].
        noise: [N or 1, H, W, 1], or None.
        strength: of the noise, [C], or None.
        bias: [C].
        scale: standard deviation that the style gives, [N, C].
        shift: mean that the style gives, [N, C].
    """
    return _styled_forward(x, noise, strength, bias, scale, shift)[0]


def _styled_forward(x, noise, strength, bias, scale, shift):
    activation = noisy_leaky_relu(x, noise, strength, bias)
    mean, variance = _moments(activation)
    inverse = lax.rsqrt(variance + NORM_EPSILON)
    normalized = ((_wide(activation) - mean) * inverse).astype(x.dtype)
    result = normalized * scale[:, None, None].astype(x.dtype) + shift[:, None, None].astype(x.dtype)
    return result, (x, noise, strength, bias, scale, shift, mean, inverse)


def _styled_backward(residuals, gradient):
    x, noise, strength, bias, scale, shift, mean, inverse = residuals
    # Computed again behind a barrier: otherwise XLA would reuse the activation, and write and read it.
    activation = noisy_leaky_relu(_written(x), noise, strength, bias)
    normalized = (_wide(activation) - mean) * inverse
    gradient = _wide(gradient)
    by_shift = jnp.sum(gradient, axis=(1, 2), keepdims=True)
    by_scale = jnp.sum(gradient * normalized, axis=(1, 2), keepdims=True)
    pixels = x.shape[1] * x.shape[2]
    factor = inverse * _wide(scale)[:, None, None]
    y = factor * (gradient - (by_shift + normalized * by_scale) / pixels)  # by the activation
    rounded = _written((y * _slope(activation)).astype(x.dtype))  # by x and what is added to it
    y = _wide(rounded)
    by_noise = by_strength = None
    if noise is not None and strength is not None:
        by_strength = jnp.sum(y * noise, axis=(0, 1, 2)).astype(strength.dtype)
        by_noise = jnp.sum(y * per_channel(strength), axis=3, keepdims=True).astype(noise.dtype)
        if noise.shape[0] == 1:
            by_noise = jnp.sum(by_noise, axis=0, keepdims=True)
    by_bias = jnp.sum(y, axis=(0, 1, 2)).astype(bias.dtype)
    by_scale, by_shift = by_scale[:, 0, 0].astype(scale.dtype), by_shift[:, 0, 0].astype(shift.dtype)
    return rounded, by_noise, by_strength, by_bias, by_scale, by_shift


def _written(x: Array) -> Array:
    """x as an array in memory, beyond which XLA neither merges nor fuses on an accelerator; nothing on a CPU."""
    return x if target_platform() == "cpu" else lax.optimization_barrier(x)


styled_activation.defvjp(_styled_forward, _styled_backward)


def spread(y: Shaped[Array, "..."], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """y in the shape and dtype of x, to be added to it or multiplied with it.

    The gradient of y is then a sum in float32. ``x + bias.astype(x.dtype)`` converts before it broadcasts. With
    bfloat16 its gradient is a sum of bfloat16 numbers over images and pixels. For the biases at 32 pixels of the
    network in tests/references/networks/stylegan1_32.npz that is off by two thirds on a CPU.
    """
    return jnp.broadcast_to(y, x.shape).astype(x.dtype)


def minibatch_std(x: Float[Array, "n h w c"], group_size: int) -> Float[Array, "n h w 1"]:
    """Average standard deviation within groups of images (progressive growing, Sec. 3).

    Groups are runs of ``group_size`` neighbors (0-3, 4-7, ...), so that a batch split over devices keeps each group on
    one device. The original groups i, i + N/G, i + 2N/G, ...: ``minibatch_std_order`` brings a batch into its order.

    Args:
        x: [N, H, W, C].
        group_size: images in a group; a smaller batch is one group.

    Returns:
        [N, H, W, 1], float32: the same number at every pixel of a group.

    Raises:
        ValueError: N is not a multiple of the group.
    """
    n, h, w, c = x.shape
    group = min(group_size, n)
    if n % group:
        raise ValueError(f"A batch of {n} images is no multiple of the minibatch-std group of {group}.")
    y = x.astype(jnp.float32).reshape(n // group, group, h, w, c)
    variance = jnp.mean(jnp.square(y - jnp.mean(y, axis=1, keepdims=True)), axis=1)
    std = jnp.mean(jnp.sqrt(variance + NORM_EPSILON), axis=(1, 2, 3))
    return jnp.broadcast_to(jnp.repeat(std, group)[:, None, None, None], (n, h, w, 1))


def minibatch_std_order(n: int, group_size: int) -> list[int]:
    """Permutation p such that ``batch[p]`` has the original's strided groups as neighbors."""
    group = min(group_size, n)
    return [member * (n // group) + g for g in range(n // group) for member in range(group)]


def to_float(images: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Uint8 [0, 255] to float32 [-1, 1], any shape."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def to_uint8(images: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """Float [-1, 1] to uint8, any shape: trunc(clip(x * 127.5 + 128, 0, 255)), as the original saves images."""
    return jnp.clip(images.astype(jnp.float32) * 127.5 + 128, 0, 255).astype(jnp.uint8)


def fade(images: Float[Array, "n h w c"], alpha: Float[Array, ""] | float) -> Float[Array, "n h w c"]:
    """Blend [N, r, r, C] with its own half-resolution version: alpha 0 is all blocks of 2x2, alpha 1 the images.

    Real images are blended so while the discriminator's newest block fades in (progressive growing, appendix A).
    """
    return lerp(upsample(downsample(images)), images, alpha)


def noise(key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal noise, float32."""
    return jax.random.normal(key, shape)
