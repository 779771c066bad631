#!/usr/bin/env python3
"""How well the factors of drawn bedrooms are read from images; and how the network that reads them is made.

    python studies/factor_reader.py                    # errors of the reader that comes with the package
    python studies/factor_reader.py --train stylegen/assets/toy_factors.safetensors       # make it anew

Judged on rooms that it was not trained on, some of which lack their bed, pillows or window: as drawn at 32 pixels, the
same degraded as a generator might (blur, ringing, noise, blotches; a third at half the resolution), and as drawn at
16 and 64 pixels. Yes or no and choices: share that is wrong. Colors and numbers: R2. The last line is one JSON object.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

KINDS = {"drawn": "32 px", "degraded": "degraded", "16": "16 px", "64": "64 px"}
DEGRADING_SEED = 5


def judge(file: Path, count: int) -> dict[str, dict[str, float]]:
    """Errors by factor, for each of ``KINDS``."""
    from studies import factor_reader_training
    from stylegen.evaluation import toy_factors

    errors_by_kind = {}
    for kind, resolution in (("drawn", 32), ("degraded", 32), ("16", 16), ("64", 64)):
        rooms = factor_reader_training.draw_rooms(count, resolution, factor_reader_training.HELD_OUT_SEED)
        images = rooms.images
        if kind == "degraded":
            rng = np.random.RandomState(DEGRADING_SEED)
            images = factor_reader_training.degrade(images.astype(np.float32), rng, 1.0).astype(np.uint8)
        errors_by_kind[kind] = factor_reader_training.errors(toy_factors.read_factors(images, file), rooms.factors)
    return errors_by_kind


def train(file: Path, settings: Any) -> None:
    """Make a reader and write it."""
    from studies import factor_reader_training
    from stylegen.io.tensor_files import save_tensors

    started = time.monotonic()
    print(f"drawing {settings.rooms:,} rooms", file=sys.stderr)

    def show(step: int, steps: int, loss: float) -> None:
        if step % 200 == 0 or step == steps:
            rate = step * settings.batch / (time.monotonic() - started)
            seconds_left = (steps - step) * settings.batch / rate
            print(f"{step}/{steps}  loss {loss:.3f}  {rate:.0f} images/s, {seconds_left:.0f} s left", file=sys.stderr)

    params = factor_reader_training.train(settings, show)
    save_tensors(file, params, {"made_by": "studies.factor_reader_training.train", "settings": repr(settings)})
    print(f"{file}: {file.stat().st_size / 1e3:.0f} kB in {time.monotonic() - started:.0f} s")


def run(a: argparse.Namespace) -> dict[str, Any]:
    from studies import factor_reader_training
    from stylegen.evaluation import toy_factors
    from stylegen.io import files

    if a.count < 100:
        raise common.BenchmarkError(f"--count {a.count}: must be at least 100.")
    file = a.train or toy_factors.WEIGHTS
    if a.train is not None:
        settings = factor_reader_training.Settings(rooms=a.rooms, passes=a.passes)
        if min(a.rooms // settings.batch, a.passes) < 1:
            raise common.BenchmarkError(f"--rooms {a.rooms} --passes {a.passes}: no whole batch of {settings.batch}.")
        train(a.train, settings)
    errors_by_kind = judge(file, a.count)
    for title, names in (
        ("wrong, %", toy_factors.YES_NO + tuple(toy_factors.CHOICES)),
        ("R2", toy_factors.COLORS + toy_factors.NUMBERS),
    ):
        scale = 100 if "%" in title else 1
        rows = [{"name": name, **{kind: scale * errors_by_kind[kind][name] for kind in KINDS}} for name in names]
        columns = {"name": (title, "s"), **{kind: (text, ".2f") for kind, text in KINDS.items()}}
        print(common.table(rows, columns) + "\n")
    print(f"{a.count:,} rooms of seed {factor_reader_training.HELD_OUT_SEED}")
    digest = files.sha256(file)
    result = {"errors": errors_by_kind, "rooms": a.count, "weights_sha256": digest, "machine": common.machine()}
    common.write_json(a.json, result)
    return result


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--train", type=Path, metavar="FILE", help="train a reader, write it there, and judge that one")
    p.add_argument("--rooms", type=int, default=40_000, help="to train on")
    p.add_argument("--passes", type=int, default=8, help="over them")
    p.add_argument("--count", type=int, default=2000, help="held-out rooms")
    return run(p.parse_args())


if __name__ == "__main__":
    common.main(main)
