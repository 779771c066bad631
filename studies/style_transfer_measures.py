"""Measures of style transfer: losses of content and style, and the steadiness of videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.runtime import compilation
from stylegen.style_transfer import losses, networks, video
from stylegen.style_transfer.model import StyleModel
from stylegen.style_transfer.networks import Params, Stages
from stylegen.style_transfer.stylize import stylize


@dataclass(frozen=True)
class Point:
    """Mean losses of results at one alpha."""

    alpha: float
    content: float  # of the result's last features against the content's own
    style: float  # of the result's statistics at all stages against the style's


def against_alpha(
    model: StyleModel, contents: Sequence[np.ndarray], styles: Sequence[np.ndarray], alphas: Sequence[float]
) -> list[Point]:
    """Every content (uint8 [h, w, 3]) with every style, at each alpha; losses of the uint8 results."""
    points = []
    for alpha in alphas:
        pairs = []
        for content in contents:
            for style in styles:
                result = stylize(model, content, [style], alpha=alpha)
                pairs.append(
                    _losses(model.encoder, result, content, style, stages=model.stages, variance=model.variance)
                )
        content_loss, style_loss = np.mean(pairs, axis=0)
        points.append(Point(alpha, float(content_loss), float(style_loss)))
    return points


@compilation.jit(precision=None, static_argnames=("stages", "variance"))
def _losses(
    encoder: Params, result: Array, content: Array, style: Array, *, stages: Stages, variance: losses.Variance
) -> Any:
    maps = [
        networks.encode(encoder, stages, image[None].astype(jnp.float32) / 255) for image in (result, content, style)
    ]
    statistics = [losses.statistics(features, variance) for features in maps[2]]
    content_loss = losses.content_loss(maps[0][-1], maps[1][-1])[0]
    return content_loss, losses.style_loss(maps[0], statistics, variance)[0]


def panning(image: np.ndarray, frames: int, size: tuple[int, int], step: tuple[int, int]) -> list[np.ndarray]:
    """A window of ``size`` that moves over an image by whole pixels a frame, so that its motion is known."""
    windows = [image[i * step[0] :, i * step[1] :][: size[0], : size[1]] for i in range(frames)]
    if windows[-1].shape[:2] != size:
        raise ValueError(f"{frames} windows of {size} with steps of {step} do not fit in {image.shape[:2]}.")
    return windows


def change_along(frames: Sequence[np.ndarray], step: tuple[int, int]) -> float:
    """Mean change in gray levels of what ``panning`` moved by ``step``, from each frame to the next."""
    h, w = frames[0].shape[:2]
    changes = [
        np.abs(a[step[0] :, step[1] :].astype(int) - b[: h - step[0], : w - step[1]]).mean()
        for a, b in zip(frames[:-1], frames[1:], strict=True)
    ]
    return float(np.mean(changes))


def steadiness(
    model: StyleModel, frames: Sequence[np.ndarray], style: np.ndarray, step: tuple[int, int], blend: float
) -> dict[str, float]:
    """``change_along`` of a panning video itself, of its frames transferred one by one, and blended."""
    single = [stylize(model, frame, [style]) for frame in frames]
    results = iter(single)
    blended = list(video.blended(frames, lambda _: next(results), blend))
    series = {"content": frames, "single": single, "blended": blended}
    return {name: change_along(list(frames), step) for name, frames in series.items()}
