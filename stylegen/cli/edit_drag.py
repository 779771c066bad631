"""What ``edit --drag`` does: points of images dragged to other places, and the styles that were found."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import stylegen
from stylegen.cli import common
from stylegen.data import imaging
from stylegen.editing import drag as dragging
from stylegen.io import images
from stylegen.io.files import unique_names
from stylegen.io.images import box_mean
from stylegen.networks.generator import in_float32
from stylegen.projection import result
from stylegen.untrusted import shown

FILE = "dragged.npz"
_PAIR = re.compile(r"\s*(\d{1,5}(?:\.\d+)?),(\d{1,5}(?:\.\d+)?):(\d{1,5}(?:\.\d+)?),(\d{1,5}(?:\.\d+)?)\s*")


def parse_points(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and targets [n, 2], (y, x), of "x,y:x,y/x,y:x,y", each pair from where to where.

    Raises:
        UsageError: it does not parse.
    """
    pairs = [_PAIR.fullmatch(part) for part in text.split("/")]
    if not all(pairs) or len(pairs) > dragging.MAX_POINTS:
        raise common.UsageError(
            f"--drag {shown(text)}: wanted are x,y:x,y in pixels from the top left, from where to where; up to "
            f"{dragging.MAX_POINTS} of them with / between them, such as 28,22:24,22/13,26:9,26."
        )
    numbers = np.array([[float(part) for part in pair.groups()] for pair in pairs if pair is not None])
    return numbers[:, [1, 0]], numbers[:, [3, 2]]


def drag(
    G: Any, points: str, projection: result.Projection, *, mask: Path | None, steps: int, out: Path, overwrite: bool
) -> None:
    """Drag the same points of some images, and write the images and their styles.

    Args:
        G: the generator.
        points: as of ``parse_points``.
        projection: the images.
        mask: file of an image that is white where they may change; None is everywhere.
        steps: at most, of each.
        out: folder.
        overwrite: replace what is there.
    """
    start, targets = parse_points(points)
    G = in_float32(G)
    files = [f"dragged-{name}.png" for name in unique_names(projection.names)]
    common.check_outputs(out, [FILE, "drag.png", *files], overwrite)
    options, shares = dragging.Options(steps=steps), None if mask is None else read_mask(mask, G.resolution)
    styles = []
    for i, name in enumerate(projection.names):
        noise = None if projection.noise is None else projection.noise[i]
        moving = dragging.Drag(G, projection.ws[i], start, targets, options, mask=shares, noise=noise)
        course = list(common.with_progress(([step] for step in moving), steps, "steps"))
        left = float(course[-1][0].distances.max())
        arrived = f"{left:.1f} pixels are left" if left else "all points have arrived"
        by_tracker = f"{len(course)} steps, {arrived} by the tracker"
        print(f"{name}: {by_tracker}; look at the image, for the tracker can be wrong.")
        styles.append(moving.ws)
    about = {**projection.about, "dragged": points}
    dragged = replace(projection, ws=np.stack(styles), z=None, about=about)
    result.save(dragged, out / FILE)
    before, after = result.draw(G, projection), result.draw(G, dragged)
    for file, image in zip(files, after, strict=True):
        images.save_image(image, out / file)
    scale = common.page_scale(None, G.shape, len(files), 2)
    table = np.stack([before, after], axis=1)
    images.save_image(images.labeled_grid(table, projection.names, ["before", "dragged"], scale), out / "drag.png")
    print(f"{out}: {', '.join([FILE, 'drag.png', *files])}")


def seeds_as_projection(G: Any, seeds: list[int], labels: stylegen.sampling.Labels, psi: float) -> result.Projection:
    """The images of seeds in the form of projections."""
    ws = stylegen.styles(G, stylegen.latents(seeds, G.z_dim), labels=labels, psi=psi)
    return result.Projection(ws, tuple(f"seed{seed:04d}" for seed in seeds), (result.fingerprint(G),))


def read_mask(path: Path, resolution: int) -> np.ndarray:
    """A mask's file as shares of 1, float32 [r, r]: white is 1."""
    try:
        image = imaging.decode_file(path, 1, "as-is")
    except imaging.UnreadableImageError as error:
        raise common.UsageError(f"--mask {path}: cannot be used as an image: {error}.") from error
    pixels = imaging.crop_and_resize(image, resolution, "center-crop")
    shares: np.ndarray = box_mean(pixels, 1)[..., 0] / np.float32(255)
    return shares
