#!/usr/bin/env python3
"""Does augmentation leak into the samples? Runs on toy_bedrooms with it at a fixed strength and without, by seed.

    python studies/augmentation_leaks.py --out out/leaks                 # p 0.6, three seeds each
    python studies/augmentation_leaks.py --out out/leaks --table         # what there is so far
    python studies/augmentation_leaks.py --out out/short --kimg 60 --seeds 1

All runs are ordinary ones of the trainer, with one configuration but for augmentation and seed. The strength rises
slowly, as an adaptive one would, and is then held; at last the learning rate falls to a half and to a fifth, since what
is asked is where training leads, not how it wanders about. A run that is measured is not trained again: stopped and
given again, the command goes on where it was, and given in several processes at once they share the runs among them.
Samples are of the moving average, psi 1, none selected; grids of them are in --out.

Measured on samples, on the data, and on the data augmented at that p, which is what a complete leak would look like:

  red, green, blue   mean color, 0 to 255
  x, y               position: mean shift to the right and down, in pixels, mirrored rooms being mirrored back
  upright            orientation: share of images that are not turned by a quarter or more
  tint spread        standard deviation, from image to image, of their mean color
  x, y spread        standard deviation of the shifts
  top - bottom       mean brightness of the upper half less that of the lower
  mirrored           share of images that are read as mirrored rooms: half of the data

Shifts and turns are read by ridge regression, fitted to rooms of the data that were shifted and turned by known
amounts. On other rooms it is right of 99.9 % of the turns and says 0.85 (x) and 0.9 (y) for a shift by one pixel of 16.

Color (the first three), position (x, y) and orientation (upright) must not drift. A measure is within the spread if
the means over the seeds, with augmentation and without, are no further apart than two of the runs without it, and so
are color and position, as points in space and plane. Drift is the mean distance of a run from the data.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from studies.few_photographs import train_arm
from stylegen.config import (
    AugmentConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
)
from stylegen.evaluation.toy_factors import read_factors
from stylegen.io.images import box_mean

COLOR, POSITION, FURTHER = ("red", "green", "blue"), ("x", "y"), ("tint spread", "x spread", "y spread", "top - bottom")
MEASURES = (*COLOR, *POSITION, "upright", *FURTHER, "mirrored")
GROUPS = {name: (name,) for name in MEASURES} | {"color": COLOR, "position": POSITION}
REACH = 3  # greatest known shift, in sixteenths of the side
SHIFTS = 6  # known shifts of each room
START = 8  # pixels with which a run begins
SLOWER = (2, 5)  # at last the learning rate falls to one over these
RESULT_NAME = "found.json"  # the measures of a run, in its folder


def run_config(options: argparse.Namespace, seed: int, p: float, folder: str) -> Config:
    """The configuration of one run: narrow networks that grow from 8 pixels, and train longest at full size."""
    kimg, off = options.kimg, AugmentConfig()
    width: dict[str, Any] = {"channel_base": 512, "channel_max": 48}
    smaller = [START << i for i in range((options.resolution // START).bit_length() - 1)]
    return Config(
        resolution=options.resolution,
        data=DataConfig(batch=16, num_images=10_000, seed=seed),
        generator=GeneratorConfig(
            z_dim=128,
            w_dim=128,
            mapping_layers=4,
            mapping_lr_multiplier=0.1,
            use_noise=False,
            style_mixing_prob=0.5,
            **width,
        ),
        discriminator=DiscriminatorConfig(**width),
        loss=LossConfig(r1_gamma=options.r1_gamma, r1_interval=16),
        augment=AugmentConfig("fixed", p=p, speed_kimg=options.speed_kimg, paired=options.paired) if p else off,
        optimizer=OptimizerConfig(learning_rate=options.learning_rate, ema_kimg=options.ema_kimg),
        schedule=ScheduleConfig(
            start_resolution=START,
            total_kimg=kimg,
            stable_kimg_at=dict.fromkeys(smaller, kimg / 12) | {options.resolution: kimg},
            fade_kimg_at={2 * r: kimg / 15 for r in smaller},
            batch={START: 32},
        ),
        run=RunConfig(dir=folder, seed=seed, tick_kimg=min(kimg / 4, 20), checkpoint_kimg=kimg / 4, keep_last=1),
    )


def settling(config: Config, options: argparse.Namespace, slower: int) -> Config:
    """The run that goes on from the end of one, more slowly and with a longer average, at full strength at once."""
    start = Path(config.run.dir)
    folder = str(start.with_name(f"run_slower{slower}"))
    return dataclasses.replace(
        config,
        augment=dataclasses.replace(config.augment, speed_kimg=0.001),
        optimizer=dataclasses.replace(
            config.optimizer, learning_rate=options.learning_rate / slower, ema_kimg=options.ema_kimg * slower
        ),
        schedule=ScheduleConfig(start_resolution=config.resolution, total_kimg=options.settle_kimg),
        run=dataclasses.replace(config.run, dir=folder, init_from=str(start), checkpoint_kimg=options.settle_kimg),
    )


def unit(rows: np.ndarray) -> np.ndarray:
    """Vectors [n, m] with mean 0 and length 1."""
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def features(images: np.ndarray) -> np.ndarray:
    """Images [n, r, r, 3] as vectors: averaged to 16 pixels, without their mean, of length 1, and a constant."""
    small = np.rint(box_mean(images, images.shape[1] // 16)).reshape(len(images), -1).astype(np.float64)
    return np.concatenate([unit(small), np.ones((len(images), 1))], axis=1)


def regression(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights of the ridge regression of vectors [n, k] on vectors [n, m]: [m, k]."""
    return np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ targets)


def facing(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images with the mirrored ones mirrored back, and which they are."""
    mirrored = read_factors(images)["flip"]
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images), mirrored


def shifted(images: np.ndarray, right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Each image shifted by its own whole pixels, reflected at the borders."""
    r = images.shape[1]
    positions = np.arange(r) - down[:, None], np.arange(r) - right[:, None]
    rows, columns = ((r - 1) - np.abs(np.abs(position) - (r - 1)) for position in positions)
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


class Reader:
    """Reads how images of drawn rooms are shifted and turned; fitted to uint8 rooms [n, r, r, 3]."""

    def __init__(self, rooms: np.ndarray):
        turned = np.concatenate([features(np.rot90(rooms, k, (1, 2))) for k in range(4)])
        self.turns = regression(turned, np.repeat(np.eye(4), len(rooms), axis=0))
        rooms, _ = facing(rooms)
        reach = REACH * rooms.shape[1] // 16
        by = np.random.default_rng(0).integers(-reach, reach + 1, (SHIFTS, 2, len(rooms)))
        moved = np.concatenate([features(shifted(rooms, *pair)) for pair in by])
        self.shifts = regression(moved, np.concatenate(by.transpose(0, 2, 1)))

    def measure(self, images: np.ndarray) -> dict[str, float]:
        """The measures of uint8 images [n, r, r, 3]."""
        pixels, half = images.astype(np.float64), images.shape[1] // 2
        colors = pixels.mean((1, 2))
        upright = np.argmax(features(images) @ self.turns, axis=1) == 0
        straight, mirrored = facing(images)
        shifts = features(straight) @ self.shifts
        values = [*colors.mean(0), *shifts.mean(0), upright.mean(), colors.std(0).mean(), *shifts.std(0)]
        values += [pixels[:, :half].mean() - pixels[:, half:].mean(), mirrored.mean()]
        return {name: float(value) for name, value in zip(MEASURES, values, strict=True)}


class Busy(Exception):
    """Another process trains this run."""


def settings(config: Config) -> dict[str, Any]:
    """All settings that a result depends on, in JSON."""
    from stylegen.config_json import to_dict

    fields = {name: value for name, value in to_dict(config).items() if name not in ("run", "distributed")}
    return fields if config.augment.mode != "none" else fields | {"augment": {"mode": "none"}}


def measure_run(options: argparse.Namespace, folder: Path, seed: int, p: float, reader: Reader) -> dict[str, Any]:
    """Train a run, or go on with it, and measure its samples; or read what was measured.

    Raises:
        Busy: another process has it.
    """
    import stylegen
    from stylegen import sampling
    from stylegen.io import images
    from stylegen.io.files import exclusive

    configs = [run_config(options, seed, p, str(folder / "run"))]
    for slower in SLOWER if options.settle_kimg else ():
        configs.append(settling(configs[-1], options, slower))
    provenance = {"configs": [settings(config) for config in configs], "samples": options.samples}
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, Busy(f"{folder}: another process trains there.")):
        if (folder / RESULT_NAME).exists():
            result = json.loads((folder / RESULT_NAME).read_text())
            if result["made"] != provenance:
                raise common.BenchmarkError(f"{folder}: measured with other options; give those, or another --out.")
            return result
        print(f"== seed {seed}, p {p:g}", flush=True)
        for config in configs:
            train_arm(config)
        G = stylegen.load(configs[-1].run.dir)
        samples = np.asarray(sampling.sample(G, seeds=range(options.samples), noise="none"))
        images.save_grid(samples[:64], folder / "samples.png", columns=8, scale=3)
        result = {"what": f"seed {seed}, p {p:g}", "seed": seed, "p": p, **reader.measure(samples)}
        common.write_json(folder / RESULT_NAME, result | {"made": provenance, "machine": common.machine()})
    return result


def verdicts(runs: list[dict[str, Any]], data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By measure and group: means over the seeds with and without, distances between and from the data, the verdict."""
    judged = {}
    for name, measures in GROUPS.items():
        with_, without = (
            np.array([[r[x] for x in measures] for r in runs if (r["p"] > 0) == on]) for on in (True, False)
        )
        difference = np.linalg.norm(with_.mean(0) - without.mean(0))
        spread = np.linalg.norm(without[:, None] - without, axis=-1).max()
        drifts = [np.linalg.norm(values - [data[x] for x in measures], axis=-1).mean() for values in (with_, without)]
        means = {} if len(measures) > 1 else {"with": with_.mean(), "without": without.mean()}
        judged[name] = means | {"difference": difference, "spread": spread}
        judged[name] |= {"drift with": drifts[0], "drift without": drifts[1], "within": bool(difference <= spread)}
    return judged


def show(rows: list[dict[str, Any]], judged: dict[str, dict[str, Any]]) -> None:
    """Print all that was measured, and the verdicts if there are any."""
    print(common.table(rows, {"what": ("", "s")} | {name: (name, ".2f") for name in MEASURES}))
    columns = {"what": ("", "s"), "with": ("with", ".2f"), "without": ("without", ".2f")}
    columns |= {"difference": ("difference", ".2f"), "spread": ("spread without", ".2f"), "within": ("within", "")}
    columns |= {name: (name, ".2f") for name in ("drift with", "drift without")}
    if judged:
        lines = [{"what": name} | {**v, "within": str(v["within"])} for name, v in judged.items()]
        print("\n" + common.table(lines, columns))


def study(options: argparse.Namespace) -> dict[str, Any]:
    """All runs that nobody else has, then the tables of what there is."""
    from stylegen.data.toy import bedrooms
    from stylegen.io import images
    from stylegen.training import augment

    print(common.describe(common.machine()), flush=True)
    rooms = bedrooms.render(range(max(4 * options.samples, 1000)), options.resolution)
    reader = Reader(rooms)
    leaked = augment.sheet(rooms[: options.samples], AugmentConfig(mode="fixed", p=options.p))
    if not options.table:
        options.out.mkdir(parents=True, exist_ok=True)
        images.save_grid(rooms[:64], options.out / "data.png", columns=8, scale=3)
        images.save_grid(leaked[:64], options.out / "augmented.png", columns=8, scale=3)
    runs, missing = [], 0
    for seed in range(options.seeds):
        for p in (options.p, 0.0):
            folder = options.out / f"seed{seed}-p{p:g}"
            try:
                if options.table and not (folder / RESULT_NAME).exists():
                    raise Busy
                runs.append(measure_run(options, folder, seed, p, reader))
            except Busy:
                missing += 1
    reference = reader.measure(rooms)
    rows = [{"what": "data", **reference}, {"what": f"data, augmented at p {options.p:g}", **reader.measure(leaked)}]
    judged = verdicts(runs, reference) if {run["p"] > 0 for run in runs} == {True, False} else {}
    show(rows + runs, judged)
    if missing:
        print(f"{missing} of {2 * options.seeds} runs are not measured yet.")
    common.write_json(options.json, {"rows": rows, "runs": runs, "missing": missing, "verdicts": judged})
    return {"missing": missing, "within": {name: v["within"] for name, v in judged.items()}}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    p = common.parser(__doc__)
    p.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="runs, results and images go there")
    p.add_argument("--p", type=float, default=0.6, help="chance of each transformation, in the runs with augmentation")
    p.add_argument("--speed_kimg", type=float, default=100.0, help="thousands of images in which p would rise to 1")
    p.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    p.add_argument("--kimg", type=float, default=240.0, help="length of a run, thousands of images")
    p.add_argument("--settle_kimg", type=float, default=130.0, help="then as long at each lower learning rate")
    p.add_argument("--paired", action=argparse.BooleanOptionalAction, default=True, help="augment.paired")
    p.add_argument("--resolution", type=int, default=16, choices=(16, 32, 64), help="pixels")
    p.add_argument("--learning_rate", type=float, default=0.003)
    p.add_argument("--r1_gamma", type=float, default=0.1)
    p.add_argument("--ema_kimg", type=float, default=10.0, help="half-life of the moving average, thousands of images")
    p.add_argument("--samples", type=int, default=1000, help="samples of each run")
    p.add_argument("--table", action="store_true", help="print what there is, and stop")
    return p.parse_args(argv)


if __name__ == "__main__":
    try:
        common.main(lambda: study(parse()))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
