"""Generators made of others: the coarse layers of one with the fine layers of another, and means of weights.

Layers fit each other where networks have a common ancestor: fine-tunes of one network keep what its features mean
(Pinkney and Adler 2020, "Resolution Dependent GAN Interpolation"). Of networks that were trained apart, neither a blend
nor a mean draws anything.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.errors import StylegenError
from stylegen.networks.generator import Generator
from stylegen.networks.trees import by_path

MAX_LISTED = 8  # differences that an error lists


class BlendError(StylegenError):
    """Generators cannot be put together; the message says where they differ."""


def blend(a: Generator, b: Generator, at: int = 32, smooth: float = 0.0) -> Generator:
    """Blocks below a resolution from ``a``, with its mapping network and mean of w; those from it on from ``b``.

    Args:
        a: gives the coarse layers: pose and shape.
        b: gives the fine ones: texture and color.
        at: resolution of the first block of ``b``'s.
        smooth: doublings of the resolution over which one fades into the other, centered at the seam; 0 is sharp.

    Raises:
        BlendError: the two have different architectures, which are listed, or there is no such seam.
    """
    check_alike([a, b])
    resolutions = [r for r in a.config.resolutions if r <= a.resolution]
    if at not in resolutions:
        raise BlendError(f"at = {at}: must be a resolution of the generators: {', '.join(map(str, resolutions))}.")
    if not 0 <= smooth <= 16:
        raise BlendError(f"smooth = {smooth:g}: must be from 0 (sharp) to 16 doublings of the resolution.")

    def mixed(path: str, x: Any, y: Any) -> Any:
        block = re.search(r"(?:^|\.)blocks\.b(\d+)\.", f"{path}.")
        share = 0.0 if block is None else share_of_b(int(block[1]), at, smooth)
        return x if share == 0 else y if share == 1 else (1 - share) * x + share * y

    return _combined(a, [a, b], lambda path, leaves: mixed(path, *leaves))


def share_of_b(resolution: int, at: int, smooth: float) -> float:
    """The weight of the second network in a block: 0 below the seam, 1 from it on, and a ramp of ``smooth`` doublings.

    The seam lies half a doubling below ``at``, between two blocks.
    """
    beyond = math.log2(resolution / at) + 0.5
    return float(beyond > 0) if smooth == 0 else min(max(beyond / smooth + 0.5, 0.0), 1.0)


def average(generators: Sequence[Generator], weights: Sequence[float] | None = None) -> Generator:
    """The mean of the weights of several networks, and of their means of w; constant noise is that of the first.

    Args:
        generators: at least two, of one architecture and one ancestor.
        weights: one for each, of sum 1 or any other that is not 0; equal ones if None. One network's may be negative,
            which goes away from it.

    Raises:
        BlendError: the generators have different architectures, or the weights do not fit.
    """
    if len(generators) < 2:
        raise BlendError("an average is of at least two generators.")
    check_alike(generators)
    shares = np.asarray([1.0] * len(generators) if weights is None else weights, np.float64)
    if shares.shape != (len(generators),) or not np.isfinite(shares).all() or abs(shares.sum()) < 1e-6:
        raise BlendError(
            f"weights {shares.tolist()}: must be {len(generators)} finite numbers, one for each, whose sum is not 0."
        )
    shares = shares / shares.sum()

    def mean(path: str, leaves: Sequence[Any]) -> Any:
        if path.startswith("noise_const."):
            return leaves[0]
        return sum(np.float32(share) * leaf for share, leaf in zip(shares, leaves, strict=True))

    return _combined(generators[0], generators, mean, average_w=True)


def _combined(
    base: Generator,
    generators: Sequence[Generator],
    combine: Callable[[str, Sequence[Any]], Any],
    average_w: bool = False,
) -> Generator:
    """``base`` with each array made of those of all."""
    trees = [{"params": G.params, "noise_const": G.noise_const, "w_avg": G.w_avg} for G in generators]
    flat = [by_path(tree) for tree in trees]
    blended = []
    for path in flat[0]:
        leaves = [tree[path] for tree in flat]
        blended.append(leaves[0] if path == "w_avg" and not average_w else jnp.asarray(combine(path, leaves)))
    tree = jax.tree.unflatten(jax.tree.structure(trees[0]), blended)
    return dataclasses.replace(base, **tree, source="")


def check_alike(generators: Sequence[Generator]) -> None:
    """Raise BlendError unless all have one architecture and stage; the message lists where they differ."""
    first = generators[0]
    for number, other in enumerate(generators[1:], start=2):
        if differences := _differences(first, other):
            more = f", and {len(differences) - MAX_LISTED} more" if len(differences) > MAX_LISTED else ""
            raise BlendError(
                f"generators 1 and {number} have different architectures: "
                f"{'; '.join(differences[:MAX_LISTED])}{more}. Layers go together only where all these are equal."
            )


def _differences(a: Generator, b: Generator) -> list[str]:
    """Where two generators differ, a phrase each: settings first, shapes of arrays if there are no such."""
    differences = [
        f"{name} is {x} and {y}"
        for name, x, y in (
            ("resolution", a.resolution, b.resolution),
            ("image_channels", a.image_channels, b.image_channels),
            ("num_classes", a.c_dim, b.c_dim),
            ("alpha", float(a.alpha), float(b.alpha)),
        )
        if x != y
    ]
    for field in dataclasses.fields(a.config.generator):
        x, y = (getattr(G.config.generator, field.name) for G in (a, b))
        if field.name not in ("w_avg_beta", "style_mixing_prob") and x != y:  # which are of training alone
            differences.append(f"generator.{field.name} is {x} and {y}")
    shapes = [{path: leaf.shape for path, leaf in by_path(G.params).items()} for G in (a, b)]
    if not differences:
        paths = sorted(set(shapes[0]) | set(shapes[1]))
        differences = [
            f"{path} is {list(shapes[0].get(path, ()))} and {list(shapes[1].get(path, ()))}"
            for path in paths
            if shapes[0].get(path) != shapes[1].get(path)
        ]
    return differences
