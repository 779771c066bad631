"""What the training doctor says of toy runs that were broken on purpose, and of a healthy one.

Drawn bedrooms at 8 pixels and narrow networks, each run with one thing wrong: no R1; R1 far too strong; a learning
rate 20 times too high; 16 training images; augmentation that is strong from the beginning. The table has the doctor's
numbers, as medians over the last quarter of the ticks, and every sentence follows, in the order in which they were
said. Ranges in ``stylegen/training/doctor.py`` are from here.

    python studies/doctor.py --json out/bench/doctor.json
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common

TICKS = 32  # in each run

RUNS: dict[str, dict[str, Any]] = {
    "healthy": {},
    "r1_gamma 0": {"loss": {"r1_gamma": 0.0}},
    "r1_gamma 1000": {"loss": {"r1_gamma": 1000.0}},
    "learning rate x20": {"optimizer": {"learning_rate": 0.24}},
    "16 images": {"data": {"num_images": 16}},
    "augmentation 0.6": {"augment": {"mode": "fixed", "p": 0.6, "speed_kimg": 4.0, "paired": False}},
}
COLUMNS = {
    "run": ("run", ""),
    "seed": ("seed", ""),
    "Doctor/r_t": ("r_t", ".3g"),
    "Doctor/score_gap": ("gap", ".3g"),
    "Doctor/r1_size": ("R1 size", ".3g"),
    "Doctor/gradient_norm/G": ("norm G", ".3g"),
    "Doctor/gradient_norm/D": ("norm D", ".3g"),
    "Doctor/ema_distance": ("EMA dist.", ".3g"),
    "Doctor/dead_styles": ("dead", ".3g"),
    "Loss/D/loss": ("D loss", ".3g"),
    "Loss/G/loss": ("G loss", ".3g"),
    "Progress/skipped": ("skipped", ".3g"),
}


def toy_config(name: str, kimg: float, folder: str, seed: int) -> Any:
    """One of RUNS: the quickstart's settings with narrower networks, at 8 pixels without growing."""
    from stylegen.config import (
        Config,
        DataConfig,
        DiscriminatorConfig,
        GeneratorConfig,
        LossConfig,
        OptimizerConfig,
        RunConfig,
        ScheduleConfig,
    )

    config = Config(
        resolution=8,
        data=DataConfig(num_images=10_000, batch=16),
        generator=GeneratorConfig(
            z_dim=32,
            w_dim=32,
            mapping_layers=4,
            mapping_lr_multiplier=0.1,
            channel_base=128,
            channel_max=16,
            use_noise=False,
        ),
        discriminator=DiscriminatorConfig(channel_base=128, channel_max=16),
        loss=LossConfig(r1_gamma=0.1, r1_interval=4),
        optimizer=OptimizerConfig(learning_rate=0.012, ema_kimg=1.0),
        schedule=ScheduleConfig(start_resolution=8, total_kimg=kimg),
        run=RunConfig(dir=folder, seed=seed, tick_kimg=kimg / TICKS, checkpoint_kimg=kimg, grid=(8, 8)),
    )
    sections = {
        section: dataclasses.replace(getattr(config, section), **values) for section, values in RUNS[name].items()
    }
    return dataclasses.replace(config, **sections)


def examine(name: str, kimg: float, seed: int) -> dict[str, Any]:
    """A toy run from beginning to end: its numbers, and what the doctor said."""
    from stylegen.io import json_lines
    from stylegen.train import train

    with tempfile.TemporaryDirectory() as folder:
        config = toy_config(name, kimg, f"{folder}/run", seed)
        error = ""
        try:
            train(config)
        except ValueError as raised:
            error = str(raised)
        lines = json_lines.read(Path(folder) / "run" / "stats.jsonl")
        log = (Path(folder) / "run" / "log.txt").read_text().splitlines()
    sentences = [line.split(" ", 2)[2].partition("Doctor: ")[2] for line in log if "Doctor: " in line]
    last = lines[-max(len(lines) // 4, 1) :]
    row = {
        key: statistics.median([line[key] for line in last if key in line] or [float("nan")])
        for key in COLUMNS
        if "/" in key
    }
    return {"run": name, "seed": seed, **row, "said": sentences, "error": error, "lines": lines}


def run(a: argparse.Namespace) -> dict[str, Any]:
    chosen = a.runs.split(",") if a.runs else list(RUNS)
    if unknown := [name for name in chosen if name not in RUNS]:
        raise common.BenchmarkError(f"--runs {unknown[0]}: there are {', '.join(RUNS)}.")
    rows = [examine(name, a.kimg, seed) for name in chosen for seed in range(a.seeds)]
    print("\n" + common.table(rows, COLUMNS))
    for row in rows:
        print(f"\n{row['run']}, seed {row['seed']}:" + ("" if row["said"] else " nothing said"))
        print("\n".join(f"  {sentence}" for sentence in [*row["said"], row["error"]] if sentence))
    machine = common.machine()
    print("\n" + common.describe(machine))
    result = {"doctor": rows, "machine": machine}
    common.write_json(a.json, {"command": sys.argv, **result})
    return result


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--kimg", type=float, default=16.0, help="length of each run")
    p.add_argument("--seeds", type=int, default=1, help="runs of each kind")
    p.add_argument("--runs", help=f"only these, with commas between: {', '.join(RUNS)}")
    return run(p.parse_args())


if __name__ == "__main__":
    common.main(main)
