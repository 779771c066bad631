#!/usr/bin/env python3
"""Speed of the input pipeline and of preparing data, against what training consumes.

    python benchmarks/input.py                                    # all sources, encodings and resolutions
    python benchmarks/input.py --lsun DIR/bedroom_train_lmdb.zip  # with the real archive's first images
    python benchmarks/input.py --speed lsun_bedroom_256:256=70    # with a speed of the step that was measured elsewhere

Data is made of drawn rooms and prepared in a temporary directory. Speeds are images per second of CPU time of the
pipeline that training uses, so one core's, whatever else the machine does; beside them what was delivered by the clock.
Then, for every stage of every config, how many times as many images as the step takes the pipeline would deliver on all
cores. What the step takes is measured for the quickstart, given with --speed, or else no more than the machine's matrix
products allow: its peak over the step's operations. The last line is one JSON object.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

LSUN_BEDROOMS = 3_033_042
PREFETCH = 8  # batches read ahead, as in training
READ_COLUMNS = {
    "source": ("source", "s"),
    "encoding": ("stored as", "s"),
    "resolution": ("pixels", "d"),
    "img_per_core_s": ("img/s per core", ",.0f"),
    "img_per_s": ("by the clock", ",.0f"),
}
PREPARE_COLUMNS = {
    "source": ("prepare", "s"),
    "encoding": ("stored as", "s"),
    "resolution": ("up to pixels", "d"),
    "kb_per_img": ("kB an image, raw", ",.1f"),
    "img_per_core_s": ("img/s per core", ",.1f"),
    "core_hours_lsun": ("core-hours for all bedrooms", ",.2f"),
    "hours_lsun": ("hours here", ",.2f"),
}
STAGE_COLUMNS = {
    "config": ("config", "s"),
    "resolution": ("pixels", "d"),
    "input": ("pipeline", "s"),
    "supply": ("delivers img/s", ",.0f"),
    "demand": ("step takes img/s", ",.2f"),
    "basis": ("", "s"),
    "times": ("times as much", ",.1f"),
}


@dataclasses.dataclass
class Reading:
    """The speed of a source."""

    source: str
    encoding: str
    resolution: int
    img_per_core_s: float
    img_per_s: float


def consume(batches: Iterator[Any], batch: int, seconds: float, most: int | None = None) -> tuple[float, float]:
    """Images per second of CPU time and by the clock, over ``seconds`` of CPU time or ``most`` batches."""
    clock, cpu_start, count = time.perf_counter(), time.process_time(), 0
    while count < most * batch if most else time.process_time() - cpu_start < seconds:
        next(batches)
        count += batch
        if time.perf_counter() - clock > 10 * seconds and most is None:
            break  # the CPU has little to do: it waits for a disk
    return count / max(time.process_time() - cpu_start, 1e-9), count / (time.perf_counter() - clock)


def read(name: str, encoding: str, source: Any, resolution: int, a: argparse.Namespace) -> Reading:
    """The speed of a source at one resolution, once its files are open and what was read ahead is used up."""
    from stylegen.data import make_pipeline

    batches = make_pipeline(source, resolution, a.batch, workers=a.workers, prefetch=PREFETCH)
    consume(batches, a.batch, a.seconds, 2 * PREFETCH)
    speeds = consume(batches, a.batch, a.seconds)
    batches.close()
    return Reading(name, encoding, resolution, *speeds)


def read_toy(resolution: int, a: argparse.Namespace) -> list[Reading]:
    """Drawn rooms: in the first epoch, when they are drawn, and after it, when small ones are kept."""
    from stylegen.data import make_pipeline
    from stylegen.data.toy.source import ToySource

    source = ToySource(a.images, resolution)
    if resolution not in source._cache:
        return [read("toy_bedrooms", "drawn", source, resolution, a)]
    batches = make_pipeline(source, resolution, a.batch, workers=a.workers, prefetch=PREFETCH)
    # All of the first epoch: rooms are drawn ahead of need, so that a part of it would not show what it costs.
    first_epoch = consume(batches, a.batch, a.seconds, -(-a.images // a.batch))
    batches.close()
    return [
        Reading("toy_bedrooms", "drawn", resolution, *first_epoch),
        read("toy_bedrooms", "kept", source, resolution, a),
    ]


def prepare(kind: str, path: Path, out: Path, resolution: int, encoding: str, a: argparse.Namespace) -> dict[str, Any]:
    """Prepare raw data with one process; the time is that of its shards, which all cores share when there are more."""
    from stylegen.data.prepared import prepare as preparing
    from stylegen.data.raw.opening import open_raw

    origin = open_raw(kind, path, max_images=a.images)
    seconds, write_shard = 0.0, preparing.shards.write_shard

    def timed(*arguments: Any) -> Any:
        nonlocal seconds
        start = time.process_time()
        result = write_shard(*arguments)
        seconds += time.process_time() - start
        return result

    preparing.shards.write_shard = timed
    try:
        options = preparing.Options(resolution, encoding=encoding)  # type: ignore[arg-type]
        manifest = preparing.prepare(origin, out, options, workers=1)
    finally:
        preparing.shards.write_shard = write_shard
    sizes = [len(image.data) for image in origin.sample(32) if isinstance(image.data, bytes)]
    row = {"source": kind, "encoding": encoding, "resolution": resolution, "num_images": manifest.num_images}
    row |= {
        "img_per_core_s": manifest.num_images / seconds,
        "kb_per_img": sum(sizes) / len(sizes) / 1e3 if sizes else None,
    }
    if kind == "lsun" and resolution == 256:
        hours = LSUN_BEDROOMS / row["img_per_core_s"] / 3600
        row |= {"core_hours_lsun": hours, "hours_lsun": hours / common.cores()}
    return row


def measure(folder: Path, a: argparse.Namespace) -> tuple[list[dict[str, Any]], list[Reading]]:
    """Prepare and read everything: rows of preparing, and readings."""
    from benchmarks import archives
    from stylegen.data.prepared.source import PreparedSource

    print("making images", file=sys.stderr)
    lsun = a.lsun or archives.write_lsun(folder, a.images)
    large = archives.write_images(folder, max(a.images // 8, 8), a.resolution)
    cifar10 = archives.write_cifar10(folder, a.images)
    most = min(256, a.resolution)
    jobs = [("lsun", lsun, most, encoding) for encoding in ("auto", "raw", "jpeg", "lossless")]
    jobs += [("images", large, a.resolution, "auto"), ("cifar10", cifar10, 32, "auto")]
    prepared: list[dict[str, Any]] = []
    readings: list[Reading] = []
    for kind, path, resolution, encoding in jobs:
        out = folder / f"{kind}-{encoding}"
        prepared.append(prepare(kind, path, out, resolution, encoding, a))
        source = PreparedSource(out)
        for r in source.resolutions:
            stored = source.manifest.settings.encodings[r]
            if not (kind == "lsun" and encoding == "auto"):  # its files are those of raw and of jpeg
                readings.append(read(kind, stored, source, r, a))
    readings += read_tfds(folder / "images-auto", folder / "tfds", most, a)
    for r in (r for r in (8, 16, 32, 64, 128, 256) if r <= a.resolution):
        readings += read_toy(r, a)
    return prepared, readings


def read_tfds(prepared: Path, folder: Path, resolution: int, a: argparse.Namespace) -> list[Reading]:
    """A TFDS data set of images of ``resolution`` pixels, which are decoded and resized whenever they are read."""
    from stylegen.data.prepared.manifest import resolution_folder
    from stylegen.data.tfds_source import TfdsSource

    (folder / "images").mkdir(parents=True)
    # What prepare writes for a resolution is a TFDS data set; this is where TFDS looks for one by name.
    (folder / "images" / "1.0.0").symlink_to(prepared / resolution_folder(resolution))
    source = TfdsSource("images", str(folder), "train", resolution, 3)
    name = f"tfds of {resolution}"
    return [read(name, "jpeg" if resolution >= 256 else "raw", source, r, a) for r in source.resolutions]


def quickstart_speed(config: Any, resolution: int, steps: int) -> float:
    """Images per second of the step at a stage, measured."""
    import statistics

    from benchmarks import workload

    training = workload.Training(config, resolution)
    training.start()
    return training.batch / statistics.median(common.timed(training, steps, 2))


def supply(config: Any, resolution: int, readings: list[Reading]) -> Reading | None:
    """The reading that a stage of a config has: of its source, or of files like those of its source."""
    source = config.data.source
    if source == "toy_bedrooms":
        matches = [x for x in readings if x.source == source and x.encoding == "drawn"]  # the first epoch is slowest
    elif source == "tfds":
        matches = [x for x in readings if x.source.startswith("tfds")]
    else:  # raw below 256 pixels and JPEG from there up, as prepare stores by default; all are read alike
        stored = "raw" if resolution < 256 else "jpeg"
        kinds = (source, "images", "lsun")
        matches = [x for kind in kinds for x in readings if x.source == kind and x.encoding == stored]
    return next((x for x in matches if x.resolution == resolution), None)


def stages(readings: list[Reading], a: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every stage of every config: what the pipeline delivers on all cores, and what the step takes."""
    from benchmarks import flops
    from stylegen.cli.experiments import load_config

    peak = common.matmul_peak()
    rows = []
    for path in sorted((common.ROOT / "configs").glob("*.py")):
        if path.stem == "style_transfer":  # of photographs in memory, with a pipeline of its own
            continue
        config = load_config(str(path))
        for resolution in config.stage_resolutions:
            speed = a.speed.get((path.stem, resolution))
            if speed is not None:
                demand, basis = speed, "given"
            elif path.stem == "quickstart" and a.steps:
                demand, basis = quickstart_speed(config, resolution, a.steps), "measured"
            else:
                demand, basis = peak / flops.training_step(config, resolution), "at most"
            reading = supply(config, resolution, readings)
            delivers = reading.img_per_core_s * common.cores() if reading else None
            rows.append(
                {
                    "config": path.stem,
                    "resolution": resolution,
                    "input": f"{reading.source} {reading.encoding}" if reading else "not measured",
                    "supply": delivers,
                    "demand": demand,
                    "basis": basis,
                    "times": delivers / demand if delivers else None,
                }
            )
    return rows


def parse_speed(text: str) -> tuple[tuple[str, int], float]:
    """``CONFIG:PIXELS=IMG_PER_S``."""
    name, _, rest = text.partition(":")
    pixels, _, speed = rest.partition("=")
    try:
        return (name, int(pixels)), float(speed)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be CONFIG:PIXELS=IMG_PER_S, as quickstart:8=900") from None


def run(a: argparse.Namespace) -> dict[str, Any]:
    if a.resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
        raise common.BenchmarkError(f"--resolution {a.resolution}: must be a power of two from 8 to 1024.")
    if a.lsun and not a.lsun.exists():
        raise common.BenchmarkError(f"--lsun {a.lsun}: there is no such file or folder.")
    a.speed = dict(a.speed)
    with tempfile.TemporaryDirectory() as folder:
        prepared, readings = measure(Path(folder), a)
    rows = [dataclasses.asdict(x) for x in readings]
    stage_rows = stages(readings, a)
    machine = common.machine()
    for table_rows, columns in ((rows, READ_COLUMNS), (prepared, PREPARE_COLUMNS), (stage_rows, STAGE_COLUMNS)):
        print("\n" + common.table(table_rows, columns))
    print(
        "\nHours are predictions, from the speed per core. 'at most': the step takes less, for that would be the peak"
    )
    print("of the machine's matrix products over the step's operations.")
    print(common.describe(machine))
    result = {"reading": rows, "preparing": prepared, "stages": stage_rows, "machine": machine}
    common.write_json(a.json, {"command": sys.argv, **result})
    return result


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--resolution", type=int, default=1024, help="largest, in pixels")
    p.add_argument("--images", type=int, default=1024, help="how many are prepared (an eighth of it of the large ones)")
    p.add_argument("--lsun", type=Path, help="an LSUN archive to prepare the first images of; default: a drawn one")
    p.add_argument("--batch", type=int, default=32, help="images a batch")
    p.add_argument("--workers", type=int, default=2, help="reader threads")
    p.add_argument("--seconds", type=float, default=1.0, help="CPU time that each source is read for")
    p.add_argument("--steps", type=int, default=10, help="steps of the quickstart that are timed; 0 for none")
    p.add_argument("--speed", type=parse_speed, action="append", default=[], help="CONFIG:PIXELS=IMG_PER_S of the step")
    return run(p.parse_args())


if __name__ == "__main__":
    common.main(main)
