"""The verb ``sample``: images, style mixing, truncation sweeps and videos from a trained generator."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

import stylegen
from stylegen import values
from stylegen.cli import arguments, common
from stylegen.io import files, images, video
from stylegen.io.progress import announced, counted
from stylegen.runtime.memory import keep_freed_memory

if TYPE_CHECKING:  # JAX, which takes seconds to import, is not needed for --help and wrong options
    from stylegen.sampling.labels import Labels

DESCRIPTION = """Draw images with a trained generator.

  # Single images, and a grid of them: seed0000.png ... and grid.png
  sample --run runs/bedroom --seeds 0-15,42 --psi 0.7 --out out
  # Nothing trained yet? A tiny generator ships with the package
  sample --run toy_bedrooms --seeds 0-15 --out out
  # What truncation does, a row for each seed: psi.png
  sample --run runs/bedroom --seeds 1-4 --psi=-1,-0.5,0,0.5,1 --out out
  # Style mixing, coarse layers from the columns and the rest from the rows: mix.png
  sample --run runs/bedroom --mix --rows 1-5 --cols 11-16 --layers 0-3 --out out
  # A walk from seed to seed, as .mp4, .gif, .webp or a folder of frames
  sample --run runs/bedroom --interpolate --seeds 1,2,3 --frames 60 --loop --out out/walk.mp4
  # Four smooth loops side by side; one seed from no variety to all of it; a direction of edit
  sample --run runs/bedroom --interpolate --path circle --grid 4x1 --seeds 1-4 --frames 240 --out out/loops.mp4
  sample --run runs/bedroom --interpolate --seeds 7 --psi=0,1 --out out/psi.mp4
  sample --run runs/bedroom --interpolate --seeds 7 --direction edits/directions.npz:pca0 --strengths=-3,3
  # Layers that follow the music, which the video gets
  sample --run runs/bedroom --interpolate --seeds 1-8 --path cubic --audio track.wav --out out/track.mp4
  # Which layers are there? Their numbers are what --layers and --cutoff take
  sample --run runs/bedroom --layers-table
  # Your own image, as project found it: with the fine styles of seed 7, or on the way to another one
  sample --run runs/bedroom --from out/projection.npz --mix-seed 7 --layers 4-7 --out restyled
  sample --run runs/bedroom --from a/projection.npz,b/projection.npz --interpolate --out out/walk.mp4
"""

MAX_PSI = 100  # of either sign; images are of noise long before
VALUES = "values.npz"  # of a generator of arrays
GRID_MAX = 64  # images in grid.png; the rest of a long list is only written one by one

# Without these, --help would call every list of numbers {None}|STR.
NumberList = Annotated[str | None, tyro.conf.arg(metavar="LIST")]
Number = Annotated[int | None, tyro.conf.arg(metavar="INT")]
Text = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw."""

    run: str  # run directory, exported file or folder, or toy_bedrooms, which ships with the package.
    layers_table: bool = False  # print the numbers, sizes and names of the layers, and draw nothing.
    kimg: Annotated[float | None, tyro.conf.arg(metavar="KIMG")] = None
    """Checkpoint at so many thousand images; default: the newest good one."""
    seeds: NumberList = None  # for example 0-15,42; a seed is the same latent z in all StyleGAN code.
    labels: NumberList = None
    """Classes of a class-conditional generator, by number or name: one for all, or one for each seed."""
    psi: str = "1"
    """Truncation: 1 is none, 0.7 is usual, 0 is the mean image; several, --psi=-1,0,1, make a sweep. The mean is that
    of all classes: a small psi takes the class away too."""
    psi_towards: Literal["mean", "class", "nearest"] = "mean"
    """What psi draws to: the mean of all w; of the image's class; or the nearest of 64 centers of clusters. Not in
    videos, where the center would jump."""
    cutoff: Number = None  # truncate only so many of the coarsest layers; default: all.
    noise: Literal["const", "random", "none"] = "const"
    """Fine detail: the network's own, the same in all images; drawn for each seed; or none."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder, or the file of a video; default: out, or out/walk.mp4."""
    overwrite: bool = False  # replace images that are there already.
    # Images drawn at once, always so many; default: by resolution and device, and fewer where fewer are drawn.
    batch: Annotated[Number, arguments.BATCH] = None
    scale: Annotated[Number, arguments.SCALE] = None
    """Enlargement by whole pixels in grids and videos; default: so that one can see them."""
    channels: NumberList = None
    """Of a generator of arrays: the channel that images show in colors, or three as red, green, blue; default: 0."""
    columns: Annotated[Number, arguments.Bounds(1, 10_000)] = None  # of grid.png; default: about as many as rows.

    mix: bool = False  # draw a style-mixing table of --rows and --cols.
    rows: NumberList = None  # seeds of the rows.
    cols: NumberList = None  # seeds of the columns.
    layers: NumberList = None  # layers that come from the columns, 0 being the coarsest; for example 0-3.

    projections: Annotated[str | None, tyro.conf.arg(name="from", metavar="LIST")] = None
    """Draw these projections (projection.npz of project) instead of seeds; also with --interpolate."""
    mix_seed: NumberList = None  # with --from: seeds that --layers are taken from.

    interpolate: bool = False  # write a video that walks from seed to seed.
    space: Literal["z", "w"] = "w"  # straight in w, or spherical in z.
    frames: Annotated[int, arguments.Bounds(1, 100_000)] = 60  # from one seed to the next.
    loop: bool = False  # return to the first seed.
    fps: Annotated[float, arguments.FPS] = 30.0  # frames a second.
    path: Literal["linear", "eased", "cubic", "circle"] = "linear"
    """From seed to seed straight; slowing down at each; in a smooth curve; or a closed circle of noise, one a seed."""
    radius: Annotated[float, arguments.Bounds(0, 20)] = 1.0  # of --path circle: how fast and far it changes.
    grid: Text = None  # several walks in one video, columns x rows such as 3x2; they share --seeds in order.
    direction: Text = None  # move along a direction of edit: FILE:NAME, for example edits/directions.npz:pca0.
    strengths: Text = None  # of --direction, which it passes through: -3,3 in standard deviations of w.
    keyframes: File = None  # a walk from a file instead of --seeds: docs/walks.md describes it.
    audio: File = None  # sound that drives the layers, and that the .mp4 gets; the video is as long.
    audio_layers: Text = None  # layers of each band of frequencies: low:0-3,mid:4-7,high:8-13; default: thirds.
    audio_strength: Annotated[float, arguments.Bounds(0, 10)] = 0.5  # how far the loudest sound moves its layers.
    quality: Annotated[int, arguments.Bounds(0, 51)] = 17  # of an .mp4: 0 is lossless, 23 x264's default, 51 the worst.
    size: Annotated[Number, arguments.Bounds(16, 8192)] = None  # pixels of a video's shorter side, instead of --scale.


# That make a walk more than the simplest one.
WALK_FIELDS = (
    *("path", "radius", "grid", "direction", "strengths", "keyframes"),
    *("audio", "audio_layers", "audio_strength"),
)
VIDEO_FIELDS = ("space", "frames", "loop", "fps", "quality", "size")
MODE_FIELDS = {"mix": ("rows", "cols", "layers"), "interpolate": (*VIDEO_FIELDS, *WALK_FIELDS)}
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Options)}
SEED_FIELDS = ("seeds", "labels", "rows", "cols", "mix")  # that do not go with --from


INTERRUPTED = (
    "Images that are there are whole; a video appears at the end. Give the other seeds, or --overwrite to start anew."
)


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    return common.run(lambda: draw(arguments.parse(Options, argv, prog="sample", description=DESCRIPTION)), INTERRUPTED)


def draw(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    keep_freed_memory()
    if options.layers_table:
        _print_layers(options)
        return
    if options.projections is not None:
        _draw_projections(options)
        return
    _check_modes(options)
    if options.interpolate and (options.mix or _is_special(options)):
        from stylegen.cli import sample_walks

        sample_walks.draw(options, _psis(options))
    elif options.mix:
        _draw_mix(options)
    elif options.interpolate:
        _draw_walk(options)
    elif len(_psis(options)) > 1:
        _draw_sweep(options)
    else:
        _draw_images(options)


def _print_layers(options: Options) -> None:
    default = {field.name: field.default for field in dataclasses.fields(Options)}
    for name in default:
        if name not in ("run", "kimg", "layers_table") and getattr(options, name) != default[name]:
            raise common.UsageError(f"--layers-table draws nothing: leave out --{name.replace('_', '-')}.")
    from stylegen.networks.layer_table import layer_table  # here, because it imports JAX

    G = stylegen.load(options.run, kimg=options.kimg)
    print(f"{G}\n{layer_table(G)}\n--layers takes such numbers; --cutoff N truncates the first N layers, 0 to N-1.")


def _draw_projections(options: Options) -> None:
    from stylegen.cli import sample_projections

    assert options.projections is not None
    for name in SEED_FIELDS:
        if getattr(options, name):
            raise common.UsageError(f"--{name} does not go with --from, whose images are those of the projections.")
    if (options.layers is None) != (options.mix_seed is None):
        raise common.UsageError("--mix-seed and --layers go together: --from P --mix-seed 7 --layers 4-7.")
    if options.psi_towards != "mean":
        raise common.UsageError(f"--psi-towards {options.psi_towards} does not go with --from.")
    if given := [name for name in WALK_FIELDS if getattr(options, name) != DEFAULTS[name]]:
        raise common.UsageError(
            f"--{given[0].replace('_', '-')} does not go with --from; --keyframes takes projections from a file."
        )
    if options.noise != "const":
        raise common.UsageError(f"--noise {options.noise}: a projection is drawn with the noise it was found with.")
    sample_projections.draw(
        options.run,
        options.projections,
        kimg=options.kimg,
        seeds=None if options.mix_seed is None else common.parse_numbers("--mix-seed: seed list", options.mix_seed),
        layers=[] if options.layers is None else _numbers(options, "layers"),
        walk=(options.frames, options.loop, options.fps) if options.interpolate else None,
        out=options.out,
        overwrite=options.overwrite,
        scale=options.scale,
        **_truncation(options),
    )


def _check_modes(options: Options) -> None:
    if options.mix_seed is not None:
        raise common.UsageError("--mix-seed goes with --from; styles of seeds are mixed with --mix.")
    if options.interpolate and options.psi_towards != "mean":
        raise common.UsageError(f"--psi-towards {options.psi_towards} does not go with --interpolate: use mean.")
    for mode, names in MODE_FIELDS.items():
        given = [name for name in names if getattr(options, name) != DEFAULTS[name]]
        if given and not getattr(options, mode):
            raise common.UsageError(f"--{given[0].replace('_', '-')} needs --{mode}.")
    if options.keyframes is not None:
        if options.seeds is not None or options.mix:
            raise common.UsageError("--keyframes has the seeds in its file; it goes with neither --seeds nor --mix.")
    elif options.mix:
        _require(options, *MODE_FIELDS["mix"])
        if options.seeds is not None:
            raise common.UsageError("--mix takes its seeds from --rows and --cols, not from --seeds.")
    else:
        _require(options, "seeds")


def _is_special(options: Options) -> bool:
    """Whether a walk is more than one of seeds at one psi."""
    given = any(getattr(options, name) != DEFAULTS[name] for name in WALK_FIELDS)
    return given or len(_psis(options)) > 1


def _require(options: Options, *names: str) -> None:
    for name in names:
        if getattr(options, name) is None:
            raise common.UsageError(
                f"--{name} is missing, for example --{name} {'0-3' if name == 'layers' else '0-15'}."
            )


def _draw_images(options: Options) -> None:
    seeds = _numbers(options, "seeds")
    labels = common.parse_labels(options.labels, len(seeds), "seeds")
    folder = options.out or Path("out")
    if folder.suffix.lower() in (".png", *video.FORMATS) and not folder.is_dir():
        raise common.UsageError(f"--out {folder}: single images go to a folder; give its name.")
    names = _names(seeds, labels)
    _refuse(options, folder, [*names, "grid.png"])
    G = _load(options)
    if G.config.is_arrays:
        _refuse(options, folder, [VALUES])
    shown_count = min(len(seeds), GRID_MAX)
    columns = options.columns or images.grid_columns(shown_count)
    scale = common.page_scale(options.scale, G.shape, math.ceil(shown_count / columns), columns)
    drawing: dict[str, Any] = {"labels": labels, "towards": options.psi_towards, **_truncation(options)}
    drawing |= {"noise": options.noise, "batch": options.batch}
    batches = stylegen.stream(G, seeds, as_float=G.config.is_arrays, **drawing)
    remaining = iter(names)
    shown: list[np.ndarray] = []
    drawn: list[np.ndarray] = []  # of arrays, in their own units
    for batch in common.with_progress(batches, len(seeds), "images"):
        if G.config.is_arrays:
            drawn.append(values.physical(batch, G.config.channel_stats))
            batch = _as_rgb(G, options, values.to_bytes(batch))
        for image in batch:
            images.save_image(image, folder / next(remaining))
        shown.extend(batch[: GRID_MAX - len(shown)])
    images.save_grid(np.stack(shown), folder / "grid.png", columns, scale)
    if drawn:
        with files.replacing(folder / VALUES) as partial, partial.open("wb") as file:
            np.savez(file, images=np.concatenate(drawn), seeds=np.array(seeds))
        print(f"{folder / VALUES}: images [N, h, w, C] in the units of the data, and their seeds.")
    which = f"the first {GRID_MAX}" if len(seeds) > GRID_MAX else "all of them" if len(seeds) > 1 else "it enlarged"
    count = f"{len(seeds):,} images, {names[0]} to {names[-1]}" if len(seeds) > 1 else names[0]
    print(f"{folder}: {count}; grid.png shows {which}.")


def _names(seeds: list[int], labels: "Labels") -> list[str]:
    """File names; a seed that is listed for several classes has the class in its name, so that no file is lost."""
    if isinstance(labels, list) and len(set(seeds)) < len(seeds):
        stems = [f"seed{seed:04d}-class{label}" for seed, label in zip(seeds, labels, strict=True)]
        return [f"{stem}.png" for stem in files.unique_names(stems)]
    return [f"seed{seed:04d}.png" for seed in seeds]


def _draw_sweep(options: Options) -> None:
    seeds, psis = _numbers(options, "seeds"), _psis(options)
    labels = common.parse_labels(options.labels, len(seeds), "seeds")
    path = _grid_path(options, "psi.png")
    G = _load(options)
    scale = common.page_scale(options.scale, G.shape, len(seeds), len(psis))
    z = stylegen.latents(seeds, G.z_dim)
    how: dict[str, Any] = {"cutoff": options.cutoff, "towards": options.psi_towards, "batch": options.batch}
    ws = [stylegen.styles(G, z, labels=labels, psi=psi, **how) for psi in psis]
    table = _synthesize(G, options, np.stack(ws, axis=1), np.repeat(seeds, len(psis)))
    rows, columns = [f"seed {seed}" for seed in seeds], [f"psi {psi:g}" for psi in psis]
    images.save_image(images.labeled_grid(table, rows, columns, scale), path)
    print(f"{path}: {counted(len(seeds), 'seed')} at {counted(len(psis), 'truncation')}.")


def _draw_mix(options: Options) -> None:
    rows, cols, layers = (_numbers(options, name) for name in ("rows", "cols", "layers"))
    labels = common.parse_labels(options.labels, len(rows) + len(cols), "seeds")
    path = _grid_path(options, "mix.png")
    G = _load(options)
    scale = common.page_scale(options.scale, G.shape, len(rows) + 1, len(cols) + 1)
    z = stylegen.latents([*rows, *cols], G.z_dim)
    ws = stylegen.styles(G, z, labels=labels, towards=options.psi_towards, batch=options.batch, **_truncation(options))
    ws_rows, ws_cols = ws[: len(rows)], ws[len(rows) :]
    mixed = stylegen.mix(ws_rows, ws_cols, layers)
    sources = _synthesize(G, options, ws, [*rows, *cols])
    # Random noise of a mixture is the row's: noise is fine detail, and so are the layers that the row mostly gives.
    drawn = _synthesize(G, options, mixed, np.repeat(rows, len(cols)))
    table = images.mixing_grid(sources[: len(rows)], sources[len(rows) :], drawn)
    row_labels, column_labels = ["", *(f"seed {seed}" for seed in rows)], ["", *(f"seed {seed}" for seed in cols)]
    images.save_image(images.labeled_grid(table, row_labels, column_labels, scale, gap=8), path)
    listed = options.layers if len(layers) > 1 else f"{layers[0]} alone"
    print(f"{path}: layers {listed} of 0-{G.num_ws - 1} from the columns, the rest from the rows.")


def _draw_walk(options: Options) -> None:
    seeds = _numbers(options, "seeds")
    labels = common.parse_labels(options.labels, len(seeds), "seeds")
    path = options.out or Path("out/walk.mp4")
    common.check_video(path, options.overwrite)
    G = _load(options)
    total = stylegen.sampling.interpolation.num_frames(len(seeds), options.frames, options.loop)
    video.check_options(path, scale=options.scale, size=options.size, quality=options.quality)
    video.check(path, options.fps, frames=total, height=G.shape[0], width=G.shape[1], scale=options.scale)
    walked = stylegen.walk(
        G,
        seeds,
        space=options.space,
        frames=options.frames,
        loop=options.loop,
        labels=labels,
        noise=options.noise,
        batch=options.batch,
        **_truncation(options),
    )
    frames = (_as_rgb(G, options, frame) for frame in walked)
    shown = (batch[0] for batch in common.with_progress(((frame,) for frame in frames), total, "frames"))
    count = video.save_video(shown, path, options.fps, options.scale, size=options.size, quality=options.quality)
    print(f"{path}: {counted(count, 'frame')}, {count / options.fps:.1f} s at {options.fps:g} frames a second.")


def _synthesize(G: Any, options: Options, ws: np.ndarray, seeds: Any) -> np.ndarray:
    with announced(f"Waiting for {counted(ws[..., 0, 0].size, 'image')}; programs are compiled before them."):
        drawn = stylegen.synthesize(
            G, ws, noise=options.noise, noise_seeds=[int(seed) for seed in seeds], batch=options.batch
        )
    return _as_rgb(G, options, drawn)


def _as_rgb(G: Any, options: Options, drawn: np.ndarray) -> np.ndarray:
    """Images uint8 [..., C] as they are shown: of a generator of arrays, chosen channels in colors."""
    chosen = _numbers(options, "channels") if options.channels is not None else []
    if chosen and not G.config.is_arrays:
        raise common.UsageError("--channels goes with a generator of arrays; this one draws colors.")
    try:
        return values.as_rgb(drawn, G.config.is_arrays, chosen)
    except ValueError as error:
        raise common.UsageError(f"--{error}") from error


def _load(options: Options) -> Any:
    common.use_compiled_programs()
    G = stylegen.load(options.run, kimg=options.kimg)
    print(G)
    return G


def _numbers(options: Options, name: str) -> list[int]:
    what = {
        "seeds": "seed list",
        "rows": "seed list",
        "cols": "seed list",
        "layers": "layer list",
        "channels": "channel list",
    }[name]
    return common.parse_numbers(f"--{name}: {what}", getattr(options, name))


def _psis(options: Options) -> list[float]:
    try:
        psis = [float(part) for part in options.psi.split(",")]
    except ValueError:
        psis = [math.nan]
    if not all(abs(psi) <= MAX_PSI for psi in psis):  # NaN is not
        raise common.UsageError(
            f"--psi {options.psi}: must be a number such as 0.7, or several, --psi=-1,-0.5,0,0.5,1, and none beyond "
            f"{MAX_PSI}."
        )
    return psis


def _truncation(options: Options) -> dict[str, Any]:
    psis = _psis(options)
    if len(psis) > 1:
        raise common.UsageError(f"--psi {options.psi}: a sweep goes with --seeds alone; give one number.")
    return {"psi": psis[0], "cutoff": options.cutoff}


def _grid_path(options: Options, name: str) -> Path:
    """The single image that a mode writes: ``--out`` if that is a .png, else ``name`` in it."""
    out = options.out or Path("out")
    path = out if out.suffix.lower() == ".png" and not out.is_dir() else out / name
    _refuse(options, path.parent, [path.name])
    return path


def _refuse(options: Options, folder: Path, names: list[str]) -> None:
    common.check_outputs(folder, names, options.overwrite)
