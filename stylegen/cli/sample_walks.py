"""What ``sample --interpolate`` does beyond the plain walk: curves, circles, grids, sweeps, keyframes, sound."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``sample`` that a walk goes by, under their names; psi is read."""

    run: str
    kimg: float | None
    seeds: str | None
    rows: str | None
    cols: str | None
    layers: str | None
    labels: str | None
    psis: list[float]
    cutoff: int | None
    noise: Literal["const", "random", "none"]
    out: Path | None
    overwrite: bool
    batch: int | None
    scale: int | None
    mix: bool
    space: Literal["z", "w"]
    frames: int
    loop: bool
    fps: float
    path: walks.Path
    radius: float
    grid: str | None
    direction: str | None
    strengths: str | None
    keyframes: Path | None
    audio: Path | None
    audio_layers: str | None
    audio_strength: float
    quality: int
    size: int | None

    @classmethod
    def of(cls, options: Any, psis: list[float]) -> "Request":
        """The request of the verb's options."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "psis"]
        return cls(psis=psis, **{name: getattr(options, name) for name in names})


def draw(request: Request) -> None:
    """Draw the video; what cannot be is said before the generator is loaded where that is possible."""
    grid, strengths, band_layers = _check(request)
    path = request.out or Path("out/walk.mp4")
    common.check_video(path, request.overwrite)
    sound_is_in = request.audio is not None and path.suffix.lower() == ".mp4"
    video.check_options(
        path,
        scale=request.scale,
        size=request.size,
        quality=request.quality,
        audio=request.audio if sound_is_in else None,
    )
    samples = None if request.audio is None else sound_files.read(request.audio)
    seeds = None if request.keyframes else common.parse_numbers("--seeds: seed list", _seed_list(request))
    common.use_compiled_programs()
    G = stylegen.load(request.run, kimg=request.kimg)
    print(G)
    walk = _keyframe_walk(request, G) if seeds is None else _seed_walk(request, G, seeds, grid, samples)
    if request.direction is not None:
        walk = _along(request, G, walk, strengths)
    if samples is not None:
        bands = audio.bands(samples, sound_files.RATE, request.fps, walk.frames)
        label = None if request.labels is None else common.parse_numbers("--labels: class list", request.labels)[0]
        walk = audio.driven(G, walk, bands, layers=band_layers, strength=request.audio_strength, labels=label)
    if request.keyframes is None:  # whose file states psi
        walk = walks.truncated(G, walk, request.psis, request.cutoff)
    top = None
    if request.mix:
        walk, top = _mixed(request, G, walk)
    noise_seed = seeds[0] if seeds else 0
    frames = walks.draw(G, walk, noise=request.noise, noise_seed=noise_seed, batch=request.batch)
    _write(request, G, walk, frames, path, top, sound_is_in)


def _seed_list(request: Request) -> str:
    text = request.rows if request.mix else request.seeds
    assert text is not None  # sample has asked for it
    return text


def _check(request: Request) -> tuple[tuple[int, int], list[float], dict[str, list[int]] | None]:
    """Rows and columns, strengths, and layers by band, if the options fit each other."""
    if request.strengths is not None and request.direction is None:
        raise common.UsageError("--strengths needs --direction, which they are of.")
    if (request.audio_layers is not None or request.audio_strength != 0.5) and request.audio is None:
        raise common.UsageError("--audio-layers and --audio-strength need --audio.")
    if request.radius != 1.0 and request.path != "circle":
        raise common.UsageError("--radius is that of --path circle.")
    if request.keyframes is not None:
        others = ("grid", "direction", "audio", "labels")
        if given := [name for name in others if getattr(request, name) is not None]:
            raise common.UsageError(f"--{given[0]} does not go with --keyframes, whose file describes the walk.")
        if request.path == "circle" or request.psis != [1.0] or request.space == "z" or request.loop:
            raise common.UsageError("--keyframes states psi and loop in its file, and goes through w: leave them out.")
    if request.mix and request.grid is not None:
        raise common.UsageError("--mix and --grid do not go together: one row moves, beside its columns.")
    grid = _grid(request.grid)
    strengths = [-3.0, 3.0] if request.strengths is None else _floats("--strengths", request.strengths)
    return grid, strengths, None if request.audio_layers is None else _band_layers(request.audio_layers)


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
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(abs(value) <= 1000 for value in found):
        raise common.UsageError(f"{name} {text}: must be numbers such as {name}=-3,3.")
    return found


def _band_layers(text: str) -> dict[str, list[int]]:
    """Layers by band, of a text such as low:0-3,5,high:8-13."""
    found: dict[str, list[int]] = {}
    for part in re.split(r",(?=[a-z]+:)", text):
        name, _, listed = part.partition(":")
        if name not in audio.BANDS or not listed:
            raise common.UsageError(
                f"--audio-layers {text}: {part!r} is no band with its layers; write low:0-3,mid:4-7,high:8-13."
            )
        found[name] = common.parse_numbers(f"--audio-layers: layers of {name}", listed)
    return found


def _seed_walk(
    request: Request, G: Generator, seeds: list[int], grid: tuple[int, int], samples: np.ndarray | None
) -> Walk:
    """The walk of seeds, as long as the sound if there is any."""
    labels = common.parse_labels(request.labels, len(seeds), "seeds")
    frames: int | list[int] = request.frames
    if samples is not None:
        per_cell = max(len(seeds) // (grid[0] * grid[1]), 1)
        segments = 1 if per_cell == 1 else per_cell if request.loop else per_cell - 1
        frames = curves.spread(max(round(len(samples) / sound_files.RATE * request.fps), 1), segments)
    return walks.seed_walk(
        G,
        seeds,
        path=request.path,
        space=request.space,
        frames=frames,
        loop=request.loop,
        labels=labels,
        grid=grid,
        radius=request.radius,
        batch=request.batch,
    )


def _keyframe_walk(request: Request, G: Generator) -> Walk:
    from stylegen.editing import walks as files

    assert request.keyframes is not None and request.path != "circle"
    keyframes, loop = files.read(request.keyframes)
    return files.keyframe_walk(G, keyframes, loop=loop, path=request.path, fps=request.fps, cutoff=request.cutoff)


def _along(request: Request, G: Generator, walk: Walk, strengths: Sequence[float]) -> Walk:
    from stylegen.editing import directions
    from stylegen.editing import walks as edited

    file, colon, name = (request.direction or "").rpartition(":")
    if not colon or not file or not name:
        raise common.UsageError(f"--direction {request.direction}: must be FILE:NAME, such as directions.npz:pca0.")
    return edited.along(walk, directions.load(file, G).get(name), strengths)


def _mixed(request: Request, G: Generator, walk: Walk) -> tuple[Walk, np.ndarray]:
    """The walk with the columns' mixtures beside it, and the still row above: a blank, and the columns' images."""
    cols, layers = (
        common.parse_numbers(f"--{name}: {what}", getattr(request, name))
        for name, what in (("cols", "seed list"), ("layers", "layer list"))
    )
    if len(request.psis) > 1:
        raise common.UsageError("--mix with --interpolate takes one --psi.")
    labels = None if request.labels is None else common.parse_numbers("--labels: class list", request.labels)
    if labels is not None and len(labels) > 1:
        raise common.UsageError("--mix with --interpolate takes one class for all.")
    ws = stylegen.styles(
        G,
        stylegen.latents(cols, G.z_dim),
        labels=None if labels is None else labels[0],
        psi=request.psis[0],
        cutoff=request.cutoff,
        batch=request.batch,
    )
    drawn = stylegen.synthesize(G, ws, noise=request.noise, noise_seeds=cols, batch=request.batch)
    blank = np.broadcast_to(images.blank(drawn.shape[-1]), drawn.shape[1:])[None]
    return walks.mixed(walk, ws, layers), images.grid(np.concatenate([blank, drawn]), 1 + len(cols))


def _write(
    request: Request,
    G: Generator,
    walk: Walk,
    frames: Iterator[np.ndarray],
    path: Path,
    top: np.ndarray | None,
    sound_is_in: bool,
) -> None:
    rows, columns = walk.cells
    height = (rows + (top is not None)) * G.resolution
    if walk.frames > MAX_FRAMES:
        raise common.UsageError(f"{walk.frames:,} frames are too many; at most {MAX_FRAMES:,}.")
    video.check(path, request.fps, frames=walk.frames, height=height, width=columns * G.resolution, scale=request.scale)
    whole = (frame if top is None else np.concatenate([top, frame]) for frame in frames)
    shown = (batch[0] for batch in common.with_progress(((frame,) for frame in whole), walk.frames, "frames"))
    count = video.save_video(
        shown,
        path,
        request.fps,
        request.scale,
        size=request.size,
        quality=request.quality,
        audio=request.audio if sound_is_in else None,
    )
    print(f"{path}: {counted(count, 'frame')}, {count / request.fps:.1f} s at {request.fps:g} frames a second.")
