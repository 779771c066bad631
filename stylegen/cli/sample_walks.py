"""What ``sample --interpolate`` does beyond the plain walk: curves, circles, grids, sweeps, keyframes, sound."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import stylegen
from stylegen.cli import common
from stylegen.io import audio as sound_files
from stylegen.io import images, video
from stylegen.io.progress import counted
from stylegen.networks.generator import Generator
from stylegen.sampling import audio, curves, walks
from stylegen.sampling.walks import Walk

MAX_GRID = 64  # walks in one video
MAX_FRAMES = 1_000_000


def draw(options: Any, psis: list[float]) -> None:
    """Draw the video; what cannot be is said before the generator is loaded where that is possible.

    Args:
        options: those of ``sample``, which imports this.
        psis: its psi, read: one or several.
    """
    grid, strengths, band_layers = _check(options, psis)
    path = options.out or Path("out/walk.mp4")
    common.check_video(path, options.overwrite)
    sound_is_in = options.audio is not None and path.suffix.lower() == ".mp4"
    video.check_options(
        path,
        scale=options.scale,
        size=options.size,
        quality=options.quality,
        audio=options.audio if sound_is_in else None,
    )
    samples = None if options.audio is None else sound_files.read(options.audio)
    seeds = None if options.keyframes else common.parse_numbers("--seeds: seed list", _seed_list(options))
    common.use_compiled_programs()
    G = stylegen.load(options.run, kimg=options.kimg)
    print(G)
    walk = _keyframe_walk(options, G) if seeds is None else _seed_walk(options, G, seeds, grid, samples)
    if options.direction is not None:
        walk = _along(options, G, walk, strengths)
    if samples is not None:
        bands = audio.bands(samples, sound_files.RATE, options.fps, walk.frames)
        label = None if options.labels is None else common.parse_numbers("--labels: class list", options.labels)[0]
        walk = audio.driven(G, walk, bands, layers=band_layers, strength=options.audio_strength, labels=label)
    if options.keyframes is None:  # whose file states psi
        walk = walks.truncated(G, walk, psis, options.cutoff)
    top = None
    if options.mix:
        walk, top = _mixed(options, psis, G, walk)
    noise_seed = seeds[0] if seeds else 0
    frames = walks.draw(G, walk, noise=options.noise, noise_seed=noise_seed, batch=options.batch)
    _write(options, G, walk, frames, path, top, sound_is_in)


def _seed_list(options: Any) -> str:
    text = options.rows if options.mix else options.seeds
    assert text is not None  # sample has asked for it
    return text


def _check(options: Any, psis: list[float]) -> tuple[tuple[int, int], list[float], dict[str, list[int]] | None]:
    """Rows and columns, strengths, and layers by band, if the options fit each other."""
    if options.strengths is not None and options.direction is None:
        raise common.UsageError("--strengths needs --direction, which they are of.")
    if (options.audio_layers is not None or options.audio_strength != 0.5) and options.audio is None:
        raise common.UsageError("--audio-layers and --audio-strength need --audio.")
    if options.radius != 1.0 and options.path != "circle":
        raise common.UsageError("--radius is that of --path circle.")
    if options.keyframes is not None:
        others = ("grid", "direction", "audio", "labels")
        if given := [name for name in others if getattr(options, name) is not None]:
            raise common.UsageError(f"--{given[0]} does not go with --keyframes, whose file describes the walk.")
        if options.path == "circle" or psis != [1.0] or options.space == "z" or options.loop:
            raise common.UsageError("--keyframes states psi and loop in its file, and goes through w: leave them out.")
    if options.mix and options.grid is not None:
        raise common.UsageError("--mix and --grid do not go together: one row moves, beside its columns.")
    grid = _grid(options.grid)
    strengths = [-3.0, 3.0] if options.strengths is None else _floats("--strengths", options.strengths)
    return grid, strengths, None if options.audio_layers is None else _band_layers(options.audio_layers)


def _grid(text: str | None) -> tuple[int, int]:
    """Rows and columns of a text such as 3x2, which is columns x rows."""
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text or "1x1")
    if match is None or int(match[1]) * int(match[2]) > MAX_GRID:
        raise common.UsageError(
            f"--grid {text}: must be columns x rows such as 3x2, and not more than {MAX_GRID} walks in all."
        )
    return int(match[2]), int(match[1])


def _floats(name: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(abs(value) <= 1000 for value in numbers):
        raise common.UsageError(f"{name} {text}: must be numbers such as {name}=-3,3.")
    return numbers


def _band_layers(text: str) -> dict[str, list[int]]:
    """Layers by band, of a text such as low:0-3,5,high:8-13."""
    layers: dict[str, list[int]] = {}
    for part in re.split(r",(?=[a-z]+:)", text):
        name, _, listed = part.partition(":")
        if name not in audio.BANDS or not listed:
            raise common.UsageError(
                f"--audio-layers {text}: {part!r} is no band with its layers; write low:0-3,mid:4-7,high:8-13."
            )
        layers[name] = common.parse_numbers(f"--audio-layers: layers of {name}", listed)
    return layers


def _seed_walk(options: Any, G: Generator, seeds: list[int], grid: tuple[int, int], samples: np.ndarray | None) -> Walk:
    """The walk of seeds, as long as the sound if there is any."""
    labels = common.parse_labels(options.labels, len(seeds), "seeds")
    frames: int | list[int] = options.frames
    if samples is not None:
        per_cell = max(len(seeds) // (grid[0] * grid[1]), 1)
        segments = 1 if per_cell == 1 else per_cell if options.loop else per_cell - 1
        frames = curves.spread(max(round(len(samples) / sound_files.RATE * options.fps), 1), segments)
    return walks.seed_walk(
        G,
        seeds,
        path=options.path,
        space=options.space,
        frames=frames,
        loop=options.loop,
        labels=labels,
        grid=grid,
        radius=options.radius,
        batch=options.batch,
    )


def _keyframe_walk(options: Any, G: Generator) -> Walk:
    from stylegen.editing import walks as files

    assert options.keyframes is not None and options.path != "circle"
    keyframes, loop = files.read(options.keyframes)
    return files.keyframe_walk(G, keyframes, loop=loop, path=options.path, fps=options.fps, cutoff=options.cutoff)


def _along(options: Any, G: Generator, walk: Walk, strengths: Sequence[float]) -> Walk:
    from stylegen.editing import directions
    from stylegen.editing import walks as edited

    file, colon, name = (options.direction or "").rpartition(":")
    if not colon or not file or not name:
        raise common.UsageError(f"--direction {options.direction}: must be FILE:NAME, such as directions.npz:pca0.")
    return edited.along(walk, directions.load(file, G).get(name), strengths)


def _mixed(options: Any, psis: list[float], G: Generator, walk: Walk) -> tuple[Walk, np.ndarray]:
    """The walk with the columns' mixtures beside it, and the still row above: a blank, and the columns' images."""
    cols, layers = (
        common.parse_numbers(f"--{name}: {what}", getattr(options, name))
        for name, what in (("cols", "seed list"), ("layers", "layer list"))
    )
    if len(psis) > 1:
        raise common.UsageError("--mix with --interpolate takes one --psi.")
    labels = None if options.labels is None else common.parse_numbers("--labels: class list", options.labels)
    if labels is not None and len(labels) > 1:
        raise common.UsageError("--mix with --interpolate takes one class for all.")
    ws = stylegen.styles(
        G,
        stylegen.latents(cols, G.z_dim),
        labels=None if labels is None else labels[0],
        psi=psis[0],
        cutoff=options.cutoff,
        batch=options.batch,
    )
    drawn = stylegen.synthesize(G, ws, noise=options.noise, noise_seeds=cols, batch=options.batch)
    blank = np.broadcast_to(images.blank(drawn.shape[-1]), drawn.shape[1:])[None]
    return walks.mixed(walk, ws, layers), images.grid(np.concatenate([blank, drawn]), 1 + len(cols))


def _write(
    options: Any,
    G: Generator,
    walk: Walk,
    frames: Iterator[np.ndarray],
    path: Path,
    top: np.ndarray | None,
    sound_is_in: bool,
) -> None:
    rows, columns = walk.cells
    height = (rows + (top is not None)) * G.shape[0]
    if walk.frames > MAX_FRAMES:
        raise common.UsageError(f"{walk.frames:,} frames are too many; at most {MAX_FRAMES:,}.")
    video.check(path, options.fps, frames=walk.frames, height=height, width=columns * G.shape[1], scale=options.scale)
    stacked = (frame if top is None else np.concatenate([top, frame]) for frame in frames)
    shown = (batch[0] for batch in common.with_progress(((frame,) for frame in stacked), walk.frames, "frames"))
    count = video.save_video(
        shown,
        path,
        options.fps,
        options.scale,
        size=options.size,
        quality=options.quality,
        audio=options.audio if sound_is_in else None,
    )
    print(f"{path}: {counted(count, 'frame')}, {count / options.fps:.1f} s at {options.fps:g} frames a second.")
