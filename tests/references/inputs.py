"""Random weights and images that both sides of the comparison draw from a seed; numpy only.

Every tensor has a stream of its own, named after it, so the order in which a network lists them does not matter.
"""

import zlib

import numpy as np


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight that keeps activations at a sensible size, statistics of batch normalization included; float32."""
    if name.startswith("Mixed_7c.") and name.endswith(("bn.weight", "bn.bias")):
        # The last block gives what FID sees, and is as small here as with the real weights, some tenths.
        return np.float32(LAST_BLOCK) * tensor("inner" + name, shape)
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith(("running_var", "bn.weight")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith(("running_mean", "bias")):
        return (0.2 * rng.standard_normal(shape)).astype(np.float32)
    if name.startswith("lin"):  # of LPIPS: not negative
        return rng.uniform(0, 1, shape).astype(np.float32)
    return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """All weights of a network."""
    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def images(seed: int, n: int, height: int, width: int, roughness: float = 1.0) -> np.ndarray:
    """Blobs of color with grain, uint8 [n, height, width, 3]; ``roughness`` tells one set from another."""
    rng = np.random.RandomState(seed)
    coarse = rng.uniform(0, 255, (n, 5, 5, 3))
    rows, columns = (np.linspace(0, 3.999, size) for size in (height, width))
    y, x = rows.astype(int), columns.astype(int)
    dy, dx = (rows - y)[None, :, None, None], (columns - x)[None, None, :, None]
    top = coarse[:, y][:, :, x] * (1 - dx) + coarse[:, y][:, :, x + 1] * dx
    bottom = coarse[:, y + 1][:, :, x] * (1 - dx) + coarse[:, y + 1][:, :, x + 1] * dx
    smooth = top * (1 - dy) + bottom * dy
    grain = rng.standard_normal((n, height, width, 3)) * 20 * roughness
    return np.clip(np.rint(smooth + grain), 0, 255).astype(np.uint8)


def features(seed: int, n: int, size: int, shift: float = 0.0) -> np.ndarray:
    """Features such as a network gives them, not negative, with correlations; float32 [n, size]."""
    mixing = np.random.RandomState(0).standard_normal((size, size)) / np.sqrt(size)
    drawn = np.random.RandomState(seed).standard_normal((n, size)) @ mixing + shift
    return np.maximum(drawn + 0.5, 0).astype(np.float32)


# What is compared, by both sides.
LAST_BLOCK = 0.1
SMALL = {"seed": 1, "n": 3, "height": 64, "width": 64}
LARGE = {"seed": 2, "n": 1, "height": 330, "width": 410}  # made smaller by the resize
EXACT = {"seed": 3, "n": 2, "height": 299, "width": 299}  # not resized at all
FAKES = {"seed": 4, "n": 24, "height": 64, "width": 64, "roughness": 1.5}
REALS = {"seed": 5, "n": 24, "height": 64, "width": 64}
FAKE_FEATURES = {"seed": 6, "n": 150, "size": 48, "shift": 0.2}
REAL_FEATURES = {"seed": 7, "n": 170, "size": 48}
KID_SUBSETS, KID_SIZE, KID_SEED = 10, 20, 2020
