"""Reading the factors of drawn bedrooms from images: what is in a room, where, and in which colors.

``toy_bedrooms`` is drawn from known factors; this network finds them again in an image, so that what a generator draws
can be counted. ``studies/factor_reader.py`` trained it, and it comes with the package.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.data.toy import bedrooms
from stylegen.evaluation import EvaluationError
from stylegen.io.images import box_mean, enlarge
from stylegen.pretrained import weights
from stylegen.runtime import compilation

WEIGHTS = Path(__file__).parents[1] / "assets" / "toy_factors.safetensors"
RESOLUTION = 32  # of the network; larger images are averaged to it, those of MIN_RESOLUTION enlarged
MIN_RESOLUTION, MAX_RESOLUTION = 16, 256
BATCH = 64

# Names are those of the fields of ``bedrooms.Factors``, but that "has_" says whether a thing is there.
THINGS = ("bed", "pillows", "window", "lamp", "table", "rug", "curtains", "picture", "plant", "cushion", "throw")
PRESENCES = tuple(f"has_{thing}" for thing in THINGS)
FLAGS = ("flip", "lamp_on", "wall_stripes", "planks", "bed_stripes", "arched")
CHOICES = {
    "bed_class": bedrooms.NUM_CLASSES,
    "time": len(bedrooms.TIMES),
    "lamp_kind": len(bedrooms.LAMP_KINDS),
    "pillows": 2,  # one or two, where there are any
}
COLORS = ("wall", "floor", "bed", "sheet", "wood", "accent", "curtain", "shade", "sky_top")
NUMBERS = (
    *("vanish_x", "vanish_y", "floor_y", "bed_left", "bed_width", "bed_height", "bed_scale", "headboard"),
    *("window_x", "window_y", "window_width", "window_height", "lamp_x", "lamp_y", "rug_x", "rug_y", "rug_width"),
)
# The things of which one must be present for a factor to have a meaning.
NEEDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bed_class", "bed_stripes", "arched", "bed", "sheet", "wood", "headboard"), ("bed",)),
    **dict.fromkeys(("bed_left", "bed_width", "bed_height", "bed_scale"), ("bed",)),
    **dict.fromkeys(("window_x", "window_y", "window_width", "window_height", "sky_top"), ("window",)),
    **dict.fromkeys(("lamp_on", "lamp_kind", "lamp_x", "lamp_y", "shade"), ("lamp",)),
    **dict.fromkeys(("rug_x", "rug_y", "rug_width"), ("rug",)),
    "pillows": ("pillows",),
    "curtain": ("curtains",),
    "accent": ("rug", "throw", "cushion"),
    "flip": ("bed", "window"),
}

# Factors that cannot be read well: stripes on walls are too fine (no better than guessing),
# the others have an R2 of 0.6 or less (``studies/factor_reader.py``).
UNRELIABLE = ("wall_stripes", "sheet", "shade", "vanish_x", "vanish_y")

# The network: 2x2 pixels to channels, four 3x3 convolutions with (channels, stride), a dense layer, all outputs.
CONVOLUTIONS = ((48, 1), (80, 2), (80, 1), (96, 2))
HIDDEN = 128
YES_NO = PRESENCES + FLAGS


def read_factors(images: np.ndarray, file: Path = WEIGHTS) -> dict[str, np.ndarray]:
    """The factors of some images of drawn bedrooms.

    Every image is read as a room. A factor of a thing that is not in the room has no meaning: numbers and colors are
    then NaN, choices and counts are -1 (0 for ``pillows``), flags False. ``docs/quality.md`` has the errors of each;
    ``UNRELIABLE`` lists those that are not read well.

    Args:
        images: uint8 [N, r, r, 3], r a power of two from 16 to 256.
        file: the network's weights, if not those that come with the package.

    Returns:
        By name: ``PRESENCES`` and ``FLAGS`` bool [N]; ``CHOICES`` int [N], ``pillows`` being their number (0, 1, 2);
        ``COLORS`` float32 [N, 3], sRGB in white light in [0, 1]; ``NUMBERS`` float32 [N], fractions of the image.
        Meanings and names are those of ``bedrooms.Factors``.

    Raises:
        EvaluationError: the images have another shape or type.
        WeightsError: the file is not there, or holds no such weights.
    """
    check_images(images)
    params = _load(file)
    batches = [np.zeros((0, num_outputs()), np.float32)]
    for start in range(0, len(images), BATCH):
        batch = to_network_size(images[start : start + BATCH])
        # One size, so that one program does.
        padded = np.concatenate([batch, np.repeat(batch[-1:], BATCH - len(batch), axis=0)])
        batches.append(np.asarray(read_both_ways(params, padded))[: len(batch)])
    return decode(np.concatenate(batches), np.asarray(params["mean"]), np.asarray(params["spread"]))


def check_images(images: Any) -> None:
    """Raise EvaluationError unless these are uint8 [N, r, r, 3] of a resolution that can be read."""
    shape, kind = np.shape(images), getattr(images, "dtype", None)
    sides = shape[1:3] if len(shape) == 4 else (0, 0)
    fits = sides[0] == sides[1] and MIN_RESOLUTION <= sides[0] <= MAX_RESOLUTION and sides[0] & (sides[0] - 1) == 0
    if not fits or shape[3] != 3 or kind != np.uint8:
        raise EvaluationError(
            f"images are {kind} {shape}; factors are read from uint8 [N, r, r, 3], r a power of two from "
            f"{MIN_RESOLUTION} to {MAX_RESOLUTION}."
        )


def to_network_size(images: np.ndarray) -> np.ndarray:
    """uint8 [N, r, r, 3] to float32 [N, 32, 32, 3] in [0, 255], by box means or by repeating pixels."""
    r = images.shape[1]
    if r >= RESOLUTION:
        return box_mean(images, r // RESOLUTION)
    return enlarge(np.asarray(images, np.float32), RESOLUTION // r)


def columns() -> dict[str, slice]:
    """Which of the network's outputs belong to a factor."""
    slices, start = {}, 0
    sizes = dict.fromkeys(YES_NO, 1) | CHOICES | dict.fromkeys(COLORS, 3) | dict.fromkeys(NUMBERS, 1)
    for name, size in sizes.items():
        slices[name] = slice(start, start + size)
        start += size
    return slices


def num_outputs() -> int:
    """How many numbers the network gives for an image."""
    return len(YES_NO) + sum(CHOICES.values()) + num_measured()


def num_measured() -> int:
    """How many of them, the last, are colors and numbers."""
    return 3 * len(COLORS) + len(NUMBERS)


def shapes() -> dict[str, tuple[int, ...]]:
    """Of all parameters, by name; ``mean`` and ``spread`` are those of colors and numbers."""
    shapes_by_name: dict[str, tuple[int, ...]] = {}
    channels, size = 12, RESOLUTION // 2
    for i, (width, stride) in enumerate(CONVOLUTIONS):
        shapes_by_name[f"conv{i}.weight"], shapes_by_name[f"conv{i}.bias"] = (3, 3, channels, width), (width,)
        channels, size = width, size // stride
    for name, inputs, width in (("hidden", size * size * channels, HIDDEN), ("out", HIDDEN, num_outputs())):
        shapes_by_name[f"{name}.weight"], shapes_by_name[f"{name}.bias"] = (inputs, width), (width,)
    return shapes_by_name | {"mean": (num_measured(),), "spread": (num_measured(),)}


def network(params: dict[str, Array], pixels: Array) -> Array:
    """Logits of ``YES_NO`` and ``CHOICES``, then colors and numbers in units of their spread.

    Args:
        params: of ``shapes``.
        pixels: float [N, 32, 32, 3] in [0, 255].

    Returns:
        [N, num_outputs()].
    """
    n, half = len(pixels), RESOLUTION // 2
    x = pixels / 127.5 - 1
    x = x.reshape(n, half, 2, half, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, half, half, 12)
    for i, (_, stride) in enumerate(CONVOLUTIONS):
        weight, dimensions = params[f"conv{i}.weight"], ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, weight, (stride, stride), "SAME", dimension_numbers=dimensions)
        x = jax.nn.relu(x + params[f"conv{i}.bias"][None, None, None])
    x = jax.nn.relu(x.reshape(n, -1) @ params["hidden.weight"] + params["hidden.bias"][None])
    return x @ params["out.weight"] + params["out.bias"][None]


@compilation.jit()
def read_both_ways(params: dict[str, Array], pixels: Array) -> Array:
    """The mean of the outputs for an image and for its mirror image, whose ``flip`` has the other sign."""
    straight, mirrored = jnp.split(network(params, jnp.concatenate([pixels, pixels[:, :, ::-1]])), 2)
    sign = jnp.ones(num_outputs()).at[columns()["flip"]].set(-1.0)
    return (straight + sign[None] * mirrored) / 2


def decode(raw: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> dict[str, np.ndarray]:
    """From the network's outputs [N, num_outputs()] to ``read_factors``'s arrays."""
    slices = columns()
    factors: dict[str, np.ndarray] = {name: raw[:, slices[name]][:, 0] > 0 for name in YES_NO}
    factors |= {name: raw[:, slices[name]].argmax(axis=1) for name in CHOICES}
    factors["pillows"] = factors["pillows"] + 1
    values = raw[:, -num_measured() :] * spread + mean
    offset = num_outputs() - num_measured()
    for name in COLORS + NUMBERS:
        position = slice(slices[name].start - offset, slices[name].stop - offset)
        factors[name] = values[:, position] if name in COLORS else values[:, position.start]
    # What lies on a bed, or hangs at a window, is not there without it.
    for owner, things in (("bed", ("pillows", "cushion", "throw")), ("window", ("curtains",))):
        for thing in things:
            factors[f"has_{thing}"] = factors[f"has_{thing}"] & factors[f"has_{owner}"]
    return blank_meaningless(factors)


def blank_meaningless(factors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same, with the values of ``read_factors`` for a thing that is not there."""
    return factors | {name: _blanked(meaningful(factors, name), name, factors[name]) for name in NEEDS}


def meaningful(factors: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Whether a factor has a meaning, bool [N], given the presences."""
    present = [factors[f"has_{thing}"] for thing in NEEDS.get(name, ())]
    return np.any(present, axis=0) if present else np.ones(len(factors["has_bed"]), bool)


def _blanked(is_present: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    if name in FLAGS:
        return np.asarray(values, bool) & is_present
    if name in CHOICES:
        return np.where(is_present, values, 0 if name == "pillows" else -1)
    return np.where(is_present[:, None] if values.ndim == 2 else is_present, values, np.float32(np.nan))


@functools.cache
def _load(file: Path) -> dict[str, Array]:
    return {name: jnp.asarray(values) for name, values in weights.read_tensors(file, shapes()).items()}
