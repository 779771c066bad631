"""Values of arrays that are no colors: the units that networks see, the data's own units, and images of them.

Networks see values in units of ``SPREAD`` standard deviations of their channel, from the channel's mean on. Images
that are shown or compared have them as bytes: 0 is ``SPREAD`` standard deviations below the mean, 255 as many above.
"""

from collections.abc import Sequence

import numpy as np

SPREAD = 3.0  # standard deviations that are 1 for the networks: of a normal distribution 99.7 % lie within
FAR = 1000  # deviations from 0 of a mean: of float32's 24 bits, 10 are in the mean then
Stats = Sequence[tuple[float, float]]  # mean and standard deviation of each channel
# viridis (Smith, van der Walt and Firing 2015; CC0) at eleven places; between them linear.
_VIRIDIS = np.array(
    [
        *([68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140]),
        *([34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]),
    ]
)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values as networks see them, of any shape, as uint8, as ``ops.to_uint8`` makes them of images."""
    return np.clip(np.asarray(values, np.float32) * 127.5 + 128, 0, 255).astype(np.uint8)


def physical(values: np.ndarray, stats: Stats) -> np.ndarray:
    """Values [..., C] as networks see them in the data's own units.

    float32, or float64 where a channel's mean is so many deviations from 0 that float32 would round the deviations.

    Raises:
        ValueError: there are not as many channels as statistics.
    """
    means, deviations = np.array(stats, np.float64).T if len(stats) else (np.zeros(0), np.zeros(0))
    if values.shape[-1] != len(means):
        raise ValueError(f"values have {values.shape[-1]} channels, and there are statistics of {len(means)}.")
    units: np.ndarray = np.asarray(values, np.float64) * (SPREAD * deviations) + means
    return units if np.any(np.abs(means) > FAR * deviations) else units.astype(np.float32)


def colored(gray: np.ndarray) -> np.ndarray:
    """Bytes [...] in the colors of viridis, uint8 [..., 3]."""
    places = np.linspace(0, 255, len(_VIRIDIS))
    table = np.stack([np.interp(np.arange(256), places, _VIRIDIS[:, i]) for i in range(3)], axis=-1)
    colors: np.ndarray = np.rint(table).astype(np.uint8)[gray]
    return colors


def as_rgb(images: np.ndarray, arrays: bool = True, channels: Sequence[int] = ()) -> np.ndarray:
    """Bytes [..., h, w, C] as people see them: one channel in colors of its value, or three as red, green and blue.

    Args:
        images: uint8.
        arrays: whether they are arrays; images of colors come back as they are.
        channels: one or three of them; by default the first one, or all three of three.

    Returns:
        uint8 [..., h, w, 3].

    Raises:
        ValueError: other numbers of channels, or one that is not there.
    """
    if not arrays:
        return images
    chosen = list(channels) or ([0, 1, 2] if images.shape[-1] == 3 else [0])
    if len(chosen) not in (1, 3) or not all(0 <= channel < images.shape[-1] for channel in chosen):
        raise ValueError(f"channels = {chosen}: must be one, or three, of 0 to {images.shape[-1] - 1}.")
    return images[..., chosen] if len(chosen) == 3 else colored(images[..., chosen[0]])
