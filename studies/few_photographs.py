#!/usr/bin/env python3
"""A controlled study of training choices on few photographs: arms that differ in one setting, several seeds each.

    python prepare.py lsun DIR/bedroom_train_lmdb.zip --out DATA/train --resolution 16
    python prepare.py lsun DIR/bedroom_val_lmdb.zip --out DATA/held_out --resolution 16
    python studies/few_photographs.py --data DATA/train --held-out DATA/held_out --out out/study.json
    python studies/few_photographs.py --out out/study.json --table                 # mean and spread of what is there

Every run has the same networks, data and budget (--kimg), and one of --seeds seeds; each is measured once, at its end,
by a random network that needs no weights (--extractor inception where its weights are). Results go to --out one by
one; stopped and given again, the command goes on where it was.

FID and KID (times 1000) are of the samples against all photographs trained on, precision and recall against these and
against the held-out ones. Memorization: the distance in feature space from a sample to the nearest photograph trained
on, or its mirror image. "nearest" is its median as a share of that of the held-out photographs: below 1, samples are
nearer to the data than new ones. "copies" is the share of samples nearer than all but a twentieth of the held-out ones.
"""

import argparse
import dataclasses
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

# Share of the budget in which ADA can bring its strength from 0 to 1; the paper's is 500 of 25,000 kimg.
ADA_SPEED = 0.1
# The changes of each arm, by field of the configuration, given the budget in kimg.
ARMS: dict[str, Callable[[float], dict[str, Any]]] = {
    "plain": lambda kimg: {},
    "mirror": lambda kimg: {"data.mirror": True},
    "ada": lambda kimg: {"augment.mode": "ada", "augment.speed_kimg": ADA_SPEED * kimg},
    "mirror_ada": lambda kimg: ARMS["mirror"](kimg) | ARMS["ada"](kimg),
    "relativistic": lambda kimg: {"loss.name": "relativistic"},
}
FIRST_SEED = 1000  # of weights, latents and noise; the data's order has the same seed
COPIES = 0.05  # of held-out photographs lie nearer to the data than what counts as a copy
COLUMNS = {
    "fid": ("FID-like", 2, 1),
    "kid": ("KID x1000", 1, 1000),
    "precision": ("precision", 2, 1),
    "recall": ("recall", 2, 1),
    "held_out_precision": ("precision, held out", 2, 1),
    "held_out_recall": ("recall, held out", 2, 1),
    "nearest": ("nearest", 2, 1),
    "copies": ("copies, %", 1, 100),
}


def base_config(a: argparse.Namespace, source: str) -> Any:
    """The settings that all arms share: networks that a CPU trains in a minute or two, without growing."""
    from stylegen import config as c

    size = {"z_dim": 64, "w_dim": 64}
    width = {"channel_base": a.width * 16, "channel_max": a.width}
    return c.Config(
        resolution=a.resolution,
        data=c.DataConfig(source=source, path=str(a.data), batch=32),
        generator=c.GeneratorConfig(
            **size, mapping_layers=4, mapping_lr_multiplier=0.1, use_noise=False, style_mixing_prob=0.5, **width
        ),
        discriminator=c.DiscriminatorConfig(**width),
        loss=c.LossConfig(r1_gamma=0.375, r1_interval=8),
        optimizer=c.OptimizerConfig(learning_rate=0.012, ema_kimg=2.0),
        schedule=c.ScheduleConfig(start_resolution=a.resolution, total_kimg=a.kimg),
        run=c.RunConfig(tick_kimg=a.kimg / 4, checkpoint_kimg=a.kimg / 2, keep_last=1, grid=(8, 4)),
    )


def changed(config: Any, changes: dict[str, Any], arm: str) -> Any:
    """The configuration with some fields set, by their dotted names."""
    for name, value in changes.items():
        section_name, _, field = name.partition(".")
        try:
            section = dataclasses.replace(getattr(config, section_name), **{field: value})
        except (AttributeError, TypeError) as error:
            raise common.BenchmarkError(f"--arms {arm}: this version has no setting {name}.") from error
        config = dataclasses.replace(config, **{section_name: section})
    return config


def plan(a: argparse.Namespace) -> tuple[dict[str, Any], list[tuple[str, int, Any]]]:
    """The description of the study, in JSON, and its runs: arm, seed and configuration, the arms of a seed together."""
    from stylegen.config import ConfigError
    from stylegen.config_json import to_json
    from stylegen.data.prepared.manifest import MANIFEST_NAME, read_manifest

    for name, folder in (("--data", a.data), ("--held-out", a.held_out)):
        if folder is None or not (folder / MANIFEST_NAME).is_file():
            raise common.BenchmarkError(f"{name} {folder}: must be a folder that prepare.py has written.")
    manifest = read_manifest(a.data)
    try:
        # Drawn rooms that were prepared are read like images; source toy_bedrooms would draw its own.
        origin = manifest.settings.origin
        base = base_config(a, "images" if origin == "toy_bedrooms" else origin)
        base = changed(base, {"data.split": manifest.split} | _category(manifest), "all")
        runs = []
        for seed in range(FIRST_SEED, FIRST_SEED + a.seeds):
            for arm in a.arms:
                config = changed(base, ARMS[arm](a.kimg) | {"run.seed": seed, "data.seed": seed}, arm)
                runs.append((arm, seed, changed(config, {"run.dir": str(a.runs / f"{arm}-{seed}")}, arm)))
    except ConfigError as error:
        raise common.BenchmarkError(str(error)) from error
    settings = json.loads(to_json(changed(base, {"data.path": None, "run.dir": ""}, "all")))
    study = {
        "config": {name: settings[name] for name in settings if name not in ("run", "distributed")},
        "fakes": a.fakes,
        "extractor": a.extractor,
        "data": manifest.fingerprint,
        "held_out": read_manifest(a.held_out).fingerprint,
    }
    return study, runs


def _category(manifest: Any) -> dict[str, Any]:
    category = manifest.settings.identity.get("category")
    return {"data.category": category} if category else {}


def load_study(path: Path, study: dict[str, Any]) -> dict[str, Any]:
    """The results so far, or none; refused if they are of another study."""
    if not path.exists():
        return {"study": study, "results": []}
    stored = json.loads(path.read_text())
    if stored["study"] != study:
        different = sorted(key for key in study if stored["study"].get(key) != study[key])
        raise common.BenchmarkError(
            f"--out {path}: holds a study with another {', '.join(different)}; give its options, or another file."
        )
    return stored


def train_arm(config: Any) -> float:
    """Train, or go on with, one run; how many seconds that took."""
    from stylegen.runs.load import load
    from stylegen.train import train

    started = time.monotonic()
    folder = train(config)
    if load(folder).kimg < config.schedule.total_kimg:
        raise KeyboardInterrupt
    return time.monotonic() - started


def all_images(folder: Path, resolution: int) -> np.ndarray:
    """Everything in a prepared folder, uint8 [N, r, r, 3]."""
    from stylegen.data.prepared.source import PreparedSource

    source = PreparedSource(folder)
    return source.read(np.arange(source.num_images), resolution)["image"]


def photographs(a: argparse.Namespace, extractor: Any) -> dict[str, np.ndarray]:
    """Features of the photographs trained on, of their mirror images, and of those held out."""
    train, held_out = (all_images(folder, a.resolution) for folder in (a.data, a.held_out))
    return {"train": extractor(train), "mirrored": extractor(train[:, :, ::-1]), "held_out": extractor(held_out)}


def measure(fakes: np.ndarray, photos: dict[str, np.ndarray]) -> dict[str, float]:
    """The numbers of ``COLUMNS`` from features."""
    from stylegen.metrics import kid
    from stylegen.metrics.fid import frechet_distance
    from stylegen.metrics.moments import Moments
    from stylegen.metrics.precision_recall import precision_recall

    train, held_out = photos["train"], photos["held_out"]
    size = min(len(fakes), len(train))
    subsets = [kid.draw_subsets(len(x), kid.SUBSETS, size, seed) for seed, x in enumerate((fakes, train))]
    precision, recall = precision_recall(fakes, train)
    held_out_precision, held_out_recall = precision_recall(fakes, held_out)
    training_features = np.concatenate([train, photos["mirrored"]])
    fake_distances, held_out_distances = nearest(fakes, training_features), nearest(held_out, training_features)
    return {
        "fid": frechet_distance(Moments.of([fakes]), Moments.of([train])),
        "kid": kid.kernel_distance(fakes, train, *subsets),
        "precision": precision,
        "recall": recall,
        "held_out_precision": held_out_precision,
        "held_out_recall": held_out_recall,
        "nearest": float(np.median(fake_distances) / np.median(held_out_distances)),
        "copies": float((fake_distances < np.quantile(held_out_distances, COPIES)).mean()),
    }


def nearest(points: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Euclidean distance [N] from each of points [N, D] to the nearest of others [M, D]."""
    x, y = points.astype(np.float64), references.astype(np.float64)
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares.min(axis=1), 0))


def fake_features(folder: Path, count: int, extractor: Any) -> np.ndarray:
    """Features of samples of a run's moving average, seeds 0, 1, 2, ..., psi 1."""
    import stylegen

    batches = stylegen.stream(stylegen.load(folder), range(count), noise="random")
    return extractor(np.concatenate(list(batches)))


def table(stored: dict[str, Any]) -> str:
    """Means over the seeds with the smallest and the largest, by arm; last, held-out photographs instead of samples."""
    rows, results = [], stored["results"]
    for arm in dict.fromkeys(result["arm"] for result in results):
        of_arm = [result for result in results if result["arm"] == arm]
        row: dict[str, Any] = {"arm": arm, "seeds": len(of_arm)}
        for key, (_, digits, scale) in COLUMNS.items():
            values = [scale * result[key] for result in of_arm]
            spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
            row[key] = f"{statistics.mean(values):.{digits}f}{spread}"
        rows.append(row | {"seconds": statistics.mean(result["seconds"] for result in of_arm)})
    shown = {key: (digits, scale) for key, (_, digits, scale) in COLUMNS.items()}
    if "limits" in stored:
        numbers = {key: f"{shown[key][1] * value:.{shown[key][0]}f}" for key, value in stored["limits"].items()}
        rows.append({"arm": "photographs held out", **numbers})
    titles = {key: (title, "s") for key, (title, _, _) in COLUMNS.items()}
    return common.table(rows, {"arm": ("arm", "s"), "seeds": ("seeds", "d"), **titles, "seconds": ("s", ".0f")})


def limits(photos: dict[str, np.ndarray]) -> dict[str, float]:
    """The same numbers of the held-out photographs in the place of samples: what no generator need be better than."""
    measured = measure(photos["held_out"], photos)
    return {key: measured[key] for key in ("fid", "kid", "precision", "recall", "nearest", "copies")}


def run(a: argparse.Namespace) -> dict[str, Any]:
    if a.table:
        if not a.out.is_file():
            raise common.BenchmarkError(f"--out {a.out}: there are no results yet.")
        stored = json.loads(a.out.read_text())
        print(table(stored))
        return stored
    if a.seeds < 1 or a.fakes < 10:
        raise common.BenchmarkError(f"--seeds {a.seeds} --fakes {a.fakes}: at least one seed and ten samples.")
    a.arms = [name for name in a.arms.split(",") if name]
    if unknown := [name for name in a.arms if name not in ARMS]:
        raise common.BenchmarkError(f"--arms {unknown[0]}: there is no such arm; there are {', '.join(ARMS)}.")
    a.runs = a.runs or a.out.with_suffix("")
    study, runs = plan(a)
    stored = load_study(a.out, study)
    run_missing(a, stored, runs)
    print("\n" + table(stored))
    return stored


def run_missing(a: argparse.Namespace, stored: dict[str, Any], runs: list[tuple[str, int, Any]]) -> None:
    """Train and measure the runs that have no result yet."""
    from stylegen.io.files import write_json
    from stylegen.metrics.extractors import open_extractor

    extractor = open_extractor(a.extractor)
    photos = photographs(a, extractor)
    stored |= {"extractor": extractor.provenance, "limits": limits(photos), "machine": common.machine()}
    stored["photographs"] = {name: len(features) for name, features in photos.items()}
    finished = {(result["arm"], result["seed"]) for result in stored["results"]}
    for arm, seed, config in runs:
        if (arm, seed) in finished:
            continue
        print(f"== {arm}, seed {seed}: {len(stored['results']) + 1} of {len(runs)}", flush=True)
        seconds = train_arm(config)
        numbers = measure(fake_features(Path(config.run.dir), a.fakes, extractor), photos)
        stored["results"].append({"arm": arm, "seed": seed, **numbers, "seconds": seconds})
        a.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(a.out, stored)
        print(", ".join(f"{key} {value:.4g}" for key, value in numbers.items()), flush=True)
        if not a.keep_runs:
            shutil.rmtree(Path(config.run.dir) / "checkpoints")


def main() -> dict[str, Any]:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, metavar="JSON", help="results; taken up again if it is there")
    p.add_argument("--data", type=Path, metavar="DATA", help="prepared photographs to train on")
    p.add_argument("--held-out", type=Path, metavar="DATA", help="prepared photographs never trained on")
    p.add_argument("--resolution", type=int, default=16)
    p.add_argument("--kimg", type=float, default=30.0, help="budget of each run, in thousands of images shown")
    p.add_argument("--width", type=int, default=32, help="channels of both networks up to 16 pixels")
    p.add_argument("--seeds", type=int, default=3, help="runs of each arm")
    p.add_argument("--arms", default=",".join(ARMS), help="with commas between them")
    p.add_argument("--fakes", type=int, default=1000, help="samples that are measured")
    p.add_argument("--extractor", choices=("random_vgg", "vgg16", "inception"), default="random_vgg")
    p.add_argument("--runs", type=Path, metavar="DIR", help="run directories; default: beside --out, named like it")
    p.add_argument("--keep-runs", action="store_true", help="keep checkpoints of runs that are measured")
    p.add_argument("--table", action="store_true", help="print what there is, and stop")
    return run(p.parse_args())


if __name__ == "__main__":
    try:
        common.main(main)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
