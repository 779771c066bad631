"""What ``sample --from`` does: projections drawn again, restyled with seeds, and walks between them."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import stylegen
from stylegen import sampling
from stylegen.cli import common
from stylegen.io import images, video
from stylegen.io.files import split_paths, unique_names
from stylegen.io.progress import counted
from stylegen.networks.generator import in_float32
from stylegen.networks.mapping import truncate
from stylegen.projection import result
from stylegen.sampling import interpolation


def draw(
    run: str,
    sources: str,
    *,
    kimg: float | None,
    seeds: list[int] | None,
    layers: list[int],
    walk: tuple[int, bool, float] | None,
    out: Path | None,
    overwrite: bool,
    scale: int | None,
    psi: float,
    cutoff: int | None,
) -> None:
    """Draw projections.

    Args:
        run: the generator.
        sources: their files, with commas between them.
        kimg: checkpoint of the run.
        seeds: take ``layers`` from the styles of each of these; None draws them as they are.
        layers: that come from the seeds.
        walk: frames from one to the next, whether to return to the first, and frames a second; None for images.
        out: folder, or the file of a walk.
        overwrite: replace what is there.
        scale: enlargement in tables and videos.
        psi: truncation.
        cutoff: layers truncated.
    """
    if walk is not None and seeds is not None:
        raise common.UsageError("--interpolate and --mix-seed are two different things; give one of them.")
    loaded = [(path, result.load(path)) for path in split_paths(sources)]
    common.use_compiled_programs()
    G = in_float32(stylegen.load(run, kimg=kimg))  # as project computes
    print(G)
    for source, projection in loaded:
        result.check(projection, G, source)
    projections = _joined([projection for _, projection in loaded])
    ws = np.asarray(truncate(jnp.asarray(projections.ws), G.w_avg, psi, cutoff))
    if walk is not None:
        _walk(G, projections, ws, walk, out or Path("out/walk.mp4"), overwrite, scale)
        return
    folder = out or Path("out")
    if folder.suffix.lower() in (".png", *video.FORMATS) and not folder.is_dir():
        raise common.UsageError(f"--out {folder}: single images go to a folder; give its name.")
    page_columns = 1 if seeds is None else len(seeds) + 1
    scale = common.page_scale(scale, G.shape, len(projections.names), page_columns)
    columns = ["projected"] if seeds is None else ["projected", *(f"seed {seed}" for seed in seeds)]
    files = _files(projections.names, seeds)
    common.check_outputs(folder, [*(file for row in files for file in row), "grid.png"], overwrite)
    mixed = ws[:, None]
    if seeds is not None:
        mixed = stylegen.mix(ws, stylegen.styles(G, stylegen.latents(seeds, G.z_dim), psi=psi, cutoff=cutoff), layers)
    drawn = result.draw(G, projections, mixed)
    for row, row_images in zip(files, drawn, strict=True):
        for file, image in zip(row, row_images, strict=True):
            images.save_image(image, folder / file)
    table = drawn if seeds is None else np.concatenate([result.draw(G, projections, ws)[:, None], drawn], axis=1)
    page = images.labeled_grid(table, projections.names, columns, scale)
    images.save_image(page, folder / "grid.png")
    print(f"{folder}: {', '.join(file for row in files for file in row)}; grid.png shows all of them.")


def _files(names: Sequence[str], seeds: list[int] | None) -> list[list[str]]:
    """Names of the files, a row for each projection: of itself, or of its mixtures with the seeds."""
    numbers: list[int | None] = [None] if seeds is None else [*seeds]
    stems = [name if number is None else f"{name}-seed{number:04d}" for name in names for number in numbers]
    unique = iter(unique_names(stems, taken=["grid"]))
    return [[f"{next(unique)}.png" for _ in numbers] for _ in names]


def _joined(projections: list[result.Projection]) -> result.Projection:
    """All as one, with names that differ."""
    names = unique_names(name for projection in projections for name in projection.names)
    noises = [projection.noise for projection in projections]
    given = [noise for noise in noises if noise is not None]
    if given and len(given) < len(noises):
        raise common.UsageError("--from: some of these have noise of their own (space w+noise) and some have not.")
    return result.Projection(
        ws=np.concatenate([projection.ws for projection in projections]),
        names=tuple(names),
        generators=projections[0].generators,
        noise=np.concatenate(given) if given else None,
    )


def _walk(
    G: Any,
    projection: result.Projection,
    ws: np.ndarray,
    walk: tuple[int, bool, float],
    path: Path,
    overwrite: bool,
    scale: int | None,
) -> None:
    """A video straight from each projection's styles to the next one's; noise of their own turns along with them."""
    frames, loop, fps = walk
    common.check_video(path, overwrite)
    total = interpolation.num_frames(len(ws), frames, loop)
    video.check(path, fps, frames=total, height=G.shape[0], width=G.shape[1], scale=scale)
    size = min(sampling.default_batch(max(G.shape)), total)

    def drawn() -> Iterator[np.ndarray]:
        styles = interpolation.walk(ws, frames, loop, "lerp")
        # White noise stays white on a great circle, not on a straight line.
        noises = None if projection.noise is None else interpolation.walk(projection.noise, frames, loop, "slerp")
        while points := list(itertools.islice(styles, size)):
            noise: Any = "const" if noises is None else np.stack(list(itertools.islice(noises, len(points))))
            yield stylegen.synthesize(G, np.stack(points), noise=noise, batch=size)

    shown = itertools.chain.from_iterable(common.with_progress(drawn(), total, "frames"))
    count = video.save_video(shown, path, fps, scale)
    print(f"{path}: {counted(count, 'frame')}, {count / fps:.1f} s at {fps:g} frames a second.")
