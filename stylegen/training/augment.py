"""Differentiable augmentation of all images that the discriminator sees, and the controller of its strength.

Adaptive discriminator augmentation (ADA: Karras et al. 2020, "Training Generative Adversarial Networks with Limited
Data"). Reals and fakes alike are transformed at random, each transformation with probability p, before the
discriminator sees them: it cannot memorize a small data set, and the generator learns the images without the
transformations as long as p is below about 0.8 (Sec. 2). The transformations, their order and their ranges are the
paper's (appendix B), without its image-space filters, which gained nothing there (Sec. 3).

All images are [N, h, w, C], around [-1, 1], with any C from 1 to 4 (the last of 2 or 4 is alpha, which stays as it is).
Lengths are relative to the sides, so that every stage of growing sees the same. Images that are not square make half
turns in place of quarter turns, which would not fit.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random

from stylegen import ops
from stylegen.config import AugmentConfig
from stylegen.runtime.compilation import jit

TRANSLATION = 0.125  # greatest integer translation, and standard deviation of the fractional one, in sides
SCALE_OCTAVES = 0.2  # standard deviation of log2 of the scales
BRIGHTNESS = 0.2  # standard deviation
CONTRAST_OCTAVES, SATURATION_OCTAVES = 0.5, 1.0  # standard deviations of log2
NOISE = 0.1  # standard deviation of the standard deviation
CUTOUT = 0.5  # side of the square that is cut out, in sides

# Uniform numbers that a group takes for an image. Each has its own, so that a group does not depend on the others.
_DRAWS = {"blit": 7, "geometric": 11, "color": 10, "noise": 2, "cutout": 3}

# The low-pass pair of the biorthogonal wavelets CDF 9/7 (Cohen, Daubechies and Feauveau 1992; those of JPEG 2000), from
# the middle outward. Up with one and down with the other is exactly the image, and both are symmetric.
_UP = (1.115087052456994, 0.591271763114247, -0.057543526228500, -0.091271763114247)
_DOWN = (0.602949018236358, 0.266864118442872, -0.078223266528988, -0.016864118442875, 0.026748757410810)


class Draws(NamedTuple):
    """The randomness of one augmentation."""

    uniform: Array  # [..., N, 33] in (0, 1): chances and sizes
    noise: Array | None  # [..., N, r, r, C], standard normal; None where the group is off


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Controller:
    """The state of adaptive strength; float32 scalars."""

    p: Array  # chance of each transformation
    signs: Array  # sum over images of sign(D(real)) since p was last adjusted
    images: Array  # number of those images


def init_controller(config: AugmentConfig) -> Controller | None:
    """The controller at the beginning of a run; None where the strength does not adapt."""
    if config.mode != "ada":
        return None
    return Controller(*(jnp.asarray(value, jnp.float32) for value in (config.p, 0, 0)))


def strength(controller: Controller | None, nimg: Array, config: AugmentConfig) -> Array | None:
    """p of the step at nimg images, a float32 scalar; None where nothing is augmented.

    A fixed strength rises from 0 as well, at the greatest speed of an adaptive one. Strong from the first image, it
    would let a generator begin with rooms upside down, which are as good as others while the discriminator is new, and
    keep drawing them (observed: docs/design_notes.md).
    """
    if controller is not None:
        return controller.p
    rising = jnp.asarray(nimg, jnp.float32) / (config.speed_kimg * 1000)
    return jnp.minimum(rising, config.p) if config.mode == "fixed" else None


def adjust(controller: Controller, mean_sign: Array, n: int, config: AugmentConfig) -> Controller:
    """Take in a step of n images; every ``interval`` steps move p by the sign of r_t - target (Sec. 2.2).

    r_t is the mean of sign(D(real)) since p was last moved: 0 where the discriminator is at chance level, 1 where it
    has memorized all reals. The size of a move brings p from 0 to 1 in ``speed_kimg``. The paper bounds p from below
    only; ``max_p`` keeps it where nothing leaks.

    Args:
        controller: before the step.
        mean_sign: of sign(D(real)) over the n images of all devices.
        n: the step's images.
        config: target, interval, speed and bound.
    """
    signs, images = controller.signs + mean_sign * n, controller.images + n
    due = images >= config.interval * n
    move = jnp.sign(signs / images - config.target) * images / (config.speed_kimg * 1000)
    p = jnp.where(due, jnp.clip(controller.p + move, 0, config.max_p), controller.p)
    return Controller(p=p, signs=jnp.where(due, 0, signs), images=jnp.where(due, 0, images))


def draw(key: Array, shape: tuple[int, ...], config: AugmentConfig) -> Draws:
    """The randomness of ``transform`` for images of a shape [..., N, r, r, C].

    One array of random numbers serves everything; the noise, where it is on, has a second one.
    """
    # Above 0: the normal distribution's quantile of 0 is infinite. For p = 0 no number is below p.
    low, total = 2.0**-24, sum(_DRAWS.values())
    uniform_key, noise_key = random.split(key) if config.noise else (key, None)
    uniform = random.uniform(uniform_key, (*shape[:-3], total), minval=low)
    return Draws(uniform, random.normal(noise_key, shape) if noise_key is not None else None)


def augment(images: Array, p: Array | float, key: Array, config: AugmentConfig | None = None) -> Array:
    """Images [N, r, r, C] with each transformation applied to each image with chance p; see ``transform``."""
    config = config or AugmentConfig()
    return transform(images, p, draw(key, images.shape, config), config)


def transform(images: Array, p: Array | float, draws: Draws, config: AugmentConfig) -> Array:
    """``augment`` with its randomness as an argument, so that the same transformations can be applied again.

    For given draws this is affine in the images, and differentiable in them as often as one likes. With p = 0 it
    gives exactly the images.

    Args:
        images: [N, r, r, C], around [-1, 1].
        p: scalar in [0, 1], the chance of each transformation; traced.
        draws: of ``draw`` for this shape.
        config: which groups are on.
    """
    groups = dict(zip(_DRAWS, jnp.split(draws.uniform, np.cumsum([*_DRAWS.values()])[:-1], axis=-1), strict=True))
    if config.blit or config.geometric:
        on = [name for name in ("blit", "geometric") if getattr(config, name)]
        makers = {"blit": blit_matrices, "geometric": geometric_matrices}
        images = warp(images, _compose([m for name in on for m in makers[name](groups[name], p, images.shape[1:3])]))
    if config.color:
        images = recolor(images, color_matrix(groups["color"], p))
    if config.noise:
        assert draws.noise is not None
        images = images + _noise_sigma(groups["noise"], p)[:, None, None, None] * draws.noise
    return cut_out(images, groups["cutout"], p) if config.cutout else images


@jit(static_argnames="config")
def _augmented_bytes(images: Array, p: Array, key: Array, config: AugmentConfig) -> Array:
    return ops.to_uint8(augment(ops.to_float(images), p, key, config))


def sheet(images: np.ndarray, config: AugmentConfig) -> np.ndarray:
    """Uint8 images [N, r, r, C] augmented at the run's greatest strength, to look at."""
    p = jnp.float32(config.p if config.mode == "fixed" else config.max_p)
    return np.asarray(_augmented_bytes(images, p, random.key(0), config))


def blit_matrices(uniform: Array, p: Array | float, shape: tuple[int, ...]) -> list[Array]:
    """Pixel blits (appendix B) of images of h x w pixels: mirroring, quarter turns, translation by whole pixels.

    Returns:
        Matrices [N, 3, 3] from output to input positions in the order of application; see ``warp``.
    """
    flip_on, flip, turn_on, turn, move_on, x, y = jnp.moveaxis(uniform, -1, 0)
    h, w = shape
    turns = 4 if h == w else 2
    angle = jnp.floor(turn * turns) * (2 * math.pi / turns)
    by_x, by_y = (jnp.round((v * 2 - 1) * TRANSLATION * side) for v, side in ((x, w), (y, h)))
    return [
        _with_chance(flip_on, p, _scaling(jnp.where(flip < 0.5, 1.0, -1.0), 1.0)),
        _with_chance(turn_on, p, _rotation(jnp.round(jnp.cos(angle)), jnp.round(jnp.sin(angle)))),
        _with_chance(move_on, p, _translation(by_x, by_y)),
    ]


def geometric_matrices(uniform: Array, p: Array | float, shape: tuple[int, ...]) -> list[Array]:
    """General geometric transformations (appendix B): scale, rotation, stretching, rotation, translation.

    Of the two rotations each has the chance 1 - sqrt(1 - p): that of at least one is p.

    Returns:
        As ``blit_matrices``.
    """
    scale_on, scale, pre_on, pre, stretch_on, stretch, post_on, post, move_on, x, y = jnp.moveaxis(uniform, -1, 0)
    p_rotation = 1 - jnp.sqrt(1 - jnp.asarray(p))
    s, a = (jnp.exp2(_normal(v) * SCALE_OCTAVES) for v in (scale, stretch))
    before, after = ((v * 2 - 1) * math.pi for v in (pre, post))
    h, w = shape
    by_x, by_y = (_normal(v) * TRANSLATION * side for v, side in ((x, w), (y, h)))
    return [
        _with_chance(scale_on, p, _scaling(s, s)),
        _with_chance(pre_on, p_rotation, _rotation(jnp.cos(before), jnp.sin(before))),
        _with_chance(stretch_on, p, _scaling(a, 1 / a)),
        _with_chance(post_on, p_rotation, _rotation(jnp.cos(after), jnp.sin(after))),
        _with_chance(move_on, p, _translation(by_x, by_y)),
    ]


def warp(images: Array, inverse: Array) -> Array:
    """Resample images once, by one affine map each; where a map is the identity, the image is exactly unchanged.

    Resampling is antialiased as in the paper: to twice the resolution with a wavelet's low-pass, bilinear there, and
    down again with the low-pass that belongs to it. The pair is CDF 9/7 instead of the paper's sym6. It is symmetric,
    so flips, quarter turns and whole translations are exact up to rounding, and pixel blits need no pass of their own.
    Outside its borders the image is reflected at the middle of its border pixels, however far: since the reflected
    image's low-pass is the reflected low-pass, positions are reflected, and nothing is padded.

    Args:
        images: [N, h, w, C].
        inverse: [N, 3, 3], float32, from output to input positions (x, y, 1): in pixels from the center, y down.
    """
    sides, dtype = images.shape[1:3], images.dtype
    fine = images
    for axis in (1, 2):
        fine = _upsampled(fine, axis)
    # As many half-pixels beyond the borders as the low-pass after it reaches.
    reach = len(_DOWN) - 1
    middles = [(side - 1) / 2 for side in sides]
    down, across = (
        jnp.arange(-reach, 2 * side - 1 + reach, dtype=jnp.float32) / 2 - middle
        for side, middle in zip(sides, middles, strict=True)
    )
    columns, rows = across[None, None], down[None, :, None]
    x, y = (
        row[:, 0, None, None] * columns + row[:, 1, None, None] * rows + row[:, 2, None, None] + middle
        for row, middle in ((inverse[:, 0], middles[1]), (inverse[:, 1], middles[0]))
    )
    warped = jax.vmap(_bilinear)(fine, *(2 * _reflected(v, side) for v, side in zip((y, x), sides, strict=True)))
    for axis in (1, 2):
        warped = _downsampled(warped, axis)
    same = jnp.all(inverse == jnp.eye(3)[None], axis=(1, 2))
    return jnp.where(same[:, None, None, None], images, warped.astype(dtype))


def _reflected(position: Array, r: int) -> Array:
    """A pixel position after reflections at 0 and r - 1, in [0, r - 1]."""
    return (r - 1) - jnp.abs(jnp.mod(position, 2 * (r - 1)) - (r - 1))


def _upsampled(x: Array, axis: int) -> Array:
    """Twice as many samples along an axis; sample i becomes 2i. The last, beyond the border, is reflected too."""
    size = x.shape[axis]
    padded = jnp.pad(x, [(1, 2) if a == axis else (0, 0) for a in range(x.ndim)], mode="reflect")
    before, center, after, second = (lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(4))
    even = center * _UP[0] + (before + after) * _UP[2]
    odd = (center + after) * _UP[1] + (before + second) * _UP[3]
    return jnp.stack([even, odd], axis=axis + 1).reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])


def _downsampled(x: Array, axis: int) -> Array:
    """Half as many samples along an axis; the low-pass uses up the first and last few."""
    reach = len(_DOWN) - 1
    size = (x.shape[axis] - 2 * reach + 1) // 2

    def tap(offset: int) -> Array:
        start = reach + offset
        return lax.slice_in_dim(x, start, start + 2 * size - 1, stride=2, axis=axis)

    return sum((tap(-k) + tap(k)) * _DOWN[k] for k in range(1, reach + 1)) + tap(0) * _DOWN[0]


def _bilinear(image: Array, y: Array, x: Array) -> Array:
    """[S, T, C] at positions y in [0, S - 2] and x in [0, T - 2], [H, W]: [H, W, C]. One look-up of 2x2 each."""
    top, left = jnp.floor(y), jnp.floor(x)
    corners = jnp.stack([top, left], axis=-1).astype(jnp.int32)
    numbers = lax.GatherDimensionNumbers(offset_dims=(2, 3, 4), collapsed_slice_dims=(), start_index_map=(0, 1))
    sizes = (2, 2, image.shape[-1])
    squares = lax.gather(image, corners, numbers, sizes, mode="promise_in_bounds")
    down, right = ((v - corner).astype(image.dtype)[..., None] for v, corner in ((y, top), (x, left)))
    rows = ops.lerp(squares[:, :, 0], squares[:, :, 1], down[..., None])
    return ops.lerp(rows[:, :, 0], rows[:, :, 1], right)


def color_matrix(uniform: Array, p: Array | float) -> Array:
    """Color transformations (appendix B): brightness, contrast, luma flip, hue, saturation.

    Returns:
        [N, 4, 4], float32: of (red, green, blue, 1), in the order of application.
    """
    shift_on, shift, contrast_on, contrast, flip_on, flip, hue_on, hue, saturation_on, saturation = jnp.moveaxis(
        uniform, -1, 0
    )
    identity = np.eye(3, dtype=np.float32)[None]
    gray = np.full((1, 3, 3), 1 / 3, np.float32)  # projection on the luma axis (1, 1, 1)/sqrt(3)
    chroma = identity - gray
    cross = np.array([[[0, -1, 1], [1, 0, -1], [-1, 1, 0]]], np.float32) / math.sqrt(3)  # product with that axis
    b, c = _normal(shift) * BRIGHTNESS, jnp.exp2(_normal(contrast) * CONTRAST_OCTAVES)
    sign, angle = jnp.where(flip < 0.5, 1.0, -1.0), (hue * 2 - 1) * math.pi
    s = jnp.exp2(_normal(saturation) * SATURATION_OCTAVES)
    b, c, sign, cosine, sine, s = (v[:, None, None] for v in (b, c, sign, jnp.cos(angle), jnp.sin(angle), s))
    matrices = [
        _with_chance(shift_on, p, _color(jnp.broadcast_to(identity, (len(b), 3, 3)), b)),
        _with_chance(contrast_on, p, _color(identity * c)),
        _with_chance(flip_on, p, _color(sign * gray + chroma)),
        _with_chance(hue_on, p, _color(gray + chroma * cosine + cross * sine)),
        _with_chance(saturation_on, p, _color(gray + chroma * s)),
    ]
    return _compose(matrices[::-1])


def recolor(images: Array, matrix: Array) -> Array:
    """Images [N, r, r, C] with their colors mapped by [N, 4, 4].

    One channel (or the first of two) counts as red, green and blue alike, and becomes their mean; alpha stays.
    """
    channels = images.shape[-1]
    if channels < 3:
        linear, shift = (jnp.mean(v, axis=1) for v in (jnp.sum(matrix[:, :3, :3], axis=2), matrix[:, :3, 3]))
        colors = images[..., :1] * linear[:, None, None, None] + shift[:, None, None, None]
    else:
        # Not a product of matrices: products of such small ones are slow, and inexact on some devices.
        columns = [images[..., i : i + 1] * matrix[:, None, None, :3, i] for i in range(3)]
        colors = sum(columns, matrix[:, None, None, :3, 3])
    unchanged = images[..., 1:] if channels < 3 else images[..., 3:]
    return jnp.concatenate([colors.astype(images.dtype), unchanged], axis=-1)


def _noise_sigma(uniform: Array, p: Array | float) -> Array:
    """Standard deviation of each image's noise, [N]."""
    on, sigma = jnp.moveaxis(uniform, -1, 0)
    return jnp.where(on < p, jnp.abs(_normal(sigma)) * NOISE, 0)


def cut_out(images: Array, uniform: Array, p: Array | float) -> Array:
    """Zeros in a rectangle of half the sides, anywhere, with chance p (appendix B)."""
    on, x, y = jnp.moveaxis(uniform, -1, 0)
    down, across = ((jnp.arange(side) + 0.5) / side for side in images.shape[1:3])
    by_x, by_y = (jnp.abs(place[None] - v[:, None]) < CUTOUT / 2 for place, v in ((across, x), (down, y)))
    hole = (on < p)[:, None, None] & by_y[:, :, None] & by_x[:, None, :]
    return jnp.where(hole[..., None], 0, images)


def _with_chance(uniform: Array, p: Array | float, matrix: Array) -> Array:
    """Matrices [N, k, k] where a uniform number [N] is below p, exactly the identity elsewhere."""
    return jnp.where((uniform < p)[:, None, None], matrix, jnp.eye(matrix.shape[-1])[None])


def _normal(uniform: Array) -> Array:
    """Standard normal numbers of uniform ones in (0, 1)."""
    return math.sqrt(2) * lax.erf_inv(2 * uniform - 1)


def _compose(matrices: list[Array]) -> Array:
    """Product of matrices [N, k, k], the first on the left; as sums, which are exact for identities everywhere."""
    return functools.reduce(lambda a, b: jnp.sum(a[:, :, :, None] * b[:, None, :, :], axis=2), matrices)


def _rows(*rows: list[Array | float]) -> Array:
    """Matrices [N, k, k] of rows of numbers, some of them [N]."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(entry, jnp.float32) for row in rows for entry in row))
    return jnp.stack(entries, axis=-1).reshape(*entries[0].shape, len(rows), len(rows[0]))


def _scaling(x: Array, y: Array | float) -> Array:
    """From output to input positions of enlarging by (x, y), each [N]; a negative one mirrors."""
    return _rows([1 / x, 0.0, 0.0], [0.0, 1 / jnp.asarray(y), 0.0], [0.0, 0.0, 1.0])


def _rotation(cosine: Array, sine: Array) -> Array:
    """From output to input positions of turning the image counterclockwise."""
    return _rows([cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0])


def _translation(x: Array, y: Array) -> Array:
    """From output to input positions of moving the image to the right and down."""
    return _rows([1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0])


def _color(linear: Array | np.ndarray, shift: Array | float = 0.0) -> Array:
    """[N, 3, 3] and [N, 1, 1], the same for all colors, as [N, 4, 4]."""
    n = linear.shape[0]
    top = jnp.concatenate([linear, jnp.broadcast_to(jnp.asarray(shift, jnp.float32), (n, 3, 1))], axis=2)
    return jnp.concatenate([top, jnp.broadcast_to(jnp.array([0.0, 0, 0, 1]), (n, 1, 4))], axis=1)
