"""Measures of style transfer: losses of content and style, structure, colored fringes, and the steadiness of videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.metrics.fid import frechet_distance
from stylegen.metrics.moments import Moments
from stylegen.runtime import compilation
from stylegen.style_transfer import losses, networks, perceptual, video
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


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_NEAR = 4  # pixels from an edge in which fringes are looked for
_EDGES = 0.9  # quantile of the luma's gradient above which a pixel is of an edge


@dataclass(frozen=True)
class Result:
    """What one transfer gave; all are ratios, so that results of any images can be averaged."""

    content: float  # mean square distance of VGG-16's relu4_1 from the content's, to the content's mean square
    style: float  # distance of VGG-16's statistics from the style's, to the content's own distance: 1 is no transfer
    structure: float  # correlation of the luma with the content's in windows of 11 pixels, mean; 1 is all of it
    fringes: float  # chroma that varies within 9 pixels, near edges, to that of the style near its own edges
    palette: float  # Fréchet distance of the colors from the style's, to the content's own distance: 1 is no transfer


def measured(vgg: Params, result: np.ndarray, content: np.ndarray, style: np.ndarray) -> Result:
    """Of uint8 images [h, w, 3], result and content of one size; ``vgg`` is ``perceptual.load()``."""
    maps, own, wanted = (_taps(vgg, image[None]) for image in (result, content, style))
    distances = [_style_distance(x, wanted) for x in (maps, own)]
    return Result(
        float(np.mean(np.square(maps[-1] - own[-1])) / np.mean(np.square(own[-1]))),
        distances[0] / distances[1],
        structure(result, content),
        fringes(result) / max(fringes(style), 1e-6),
        palette_distance(result, style) / max(palette_distance(content, style), 1e-6),
    )


@compilation.jit(precision=None)
def _taps(vgg: Params, images: Array) -> list[Array]:
    return perceptual.taps(vgg, images.astype(jnp.float32) / 255)


def _style_distance(maps: Sequence[Array], wanted: Sequence[Array]) -> float:
    """Of means and standard deviations, each layer to the mean square of the style's own."""
    total = 0.0
    for x, y in zip(maps, wanted, strict=True):
        (mean, std), (other_mean, other_std) = (losses.statistics(z, "biased") for z in (x, y))
        distance = jnp.mean(jnp.square(mean - other_mean)) + jnp.mean(jnp.square(std - other_std))
        total += float(distance / (jnp.mean(jnp.square(other_mean)) + jnp.mean(jnp.square(other_std))))
    return total


def structure(result: np.ndarray, content: np.ndarray, radius: int = 5) -> float:
    """Mean correlation of two images' lumas in square windows, but for those that are flat in the content."""
    x, y = (image.astype(np.float32) @ _LUMA for image in (result, content))
    dx, dy = x - box(x, radius), y - box(y, radius)
    covariance, vx, vy = box(dx * dy, radius), box(dx * dx, radius), box(dy * dy, radius)
    seen = vy > 4  # two gray levels
    return float(np.mean((covariance / np.sqrt(vx * vy + 1))[seen]))


def fringes(image: np.ndarray) -> float:
    """Root mean square, in gray levels, of the chroma's differences from its mean in 9x9, near edges of the luma."""
    rgb = image.astype(np.float32)
    luma = rgb @ _LUMA
    gradient = np.hypot(*np.gradient(luma))
    near = box((gradient > np.quantile(gradient, _EDGES)).astype(np.float32), _NEAR) > 1e-4
    chroma = rgb[..., (0, 2)] - luma[..., None]
    varying = np.stack([chroma[..., i] - box(chroma[..., i], 4) for i in range(2)])
    return float(np.sqrt(np.mean(np.square(varying[:, near]))))


def palette_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the colors of two images as Gaussians, in squares of gray levels."""
    x, y = Moments(), Moments()
    x.update(a.reshape(-1, 3).astype(np.float64))
    y.update(b.reshape(-1, 3).astype(np.float64))
    return frechet_distance(x, y)


def box(x: np.ndarray, radius: int) -> np.ndarray:
    """Means over squares [h, w]; the edges repeat."""
    for axis in (0, 1):
        sums = np.cumsum(
            np.pad(x.astype(np.float64), [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)], "edge"), axis
        )
        n = x.shape[axis]
        x = (np.take(sums, range(2 * radius + 1, 2 * radius + 1 + n), axis) - np.take(sums, range(n), axis)) / (
            2 * radius + 1
        )
    return x.astype(np.float32)


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
