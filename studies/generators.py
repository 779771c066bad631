#!/usr/bin/env python3
"""Generators of drawn bedrooms side by side, at one resolution: distances to the data, and the share of each thing.

    python studies/generators.py --runs toy_bedrooms runs/toy_bedrooms_64
    python studies/generators.py --runs runs/a runs/a@40 runs/b --resolution 32 --count 1000

Images of consecutive seeds, none selected, psi 1. A generator of fewer pixels is enlarged (bicubic) and one of more is
averaged, so that all rows compare at one size; "rooms" are other rooms of the drawing, which is what chance gives.
FID is of features of ``vgg16_conv`` (needs the extra "perceptual") and of ``random_vgg``: of so few images it compares
with the other rows alone. "factors" is the mean total variation of what the factor reader reads
(studies/toy_factors.py).
The last line is one JSON object.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from studies import toy_factors as factors

THINGS = {  # what the reader can say of a room, and the value that is counted
    "bed": "has_bed",
    "pillows": "has_pillows",
    "window": "has_window",
    "lamp": "has_lamp",
    "stripes": "bed_stripes",
}
COLUMNS = {
    "run": ("generator", "s"),
    "kimg": ("kimg", "g"),
    "resolution": ("px", "d"),
    "vgg16_conv": ("vgg16_conv FID", ".3g"),
    "random_vgg": ("random_vgg FID", ".3g"),
    "swd": ("SWD", ".1f"),
    "factors": ("factors", ".3f"),
    **{name: (name, ".1%") for name in THINGS},
}
OTHER_ROOMS = "rooms"


def parse() -> argparse.Namespace:
    p = common.parser(__doc__)
    p.add_argument("--runs", nargs="+", default=["toy_bedrooms"], help="runs or generators; RUN@KIMG is a snapshot")
    p.add_argument("--resolution", type=int, default=64, help="size at which all are compared")
    p.add_argument("--count", type=int, default=1000, help="images of each")
    p.add_argument("--extractors", nargs="*", default=["vgg16_conv", "random_vgg"], help="networks of the FIDs")
    return p.parse_args()


def at_resolution(images: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 images [N, r, r, 3] at another size: smaller ones by the box mean, larger ones by cubic interpolation."""
    from PIL import Image

    if images.shape[1] == resolution:
        return images
    method = Image.Resampling.BOX if images.shape[1] > resolution else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(x).resize((resolution, resolution), method)) for x in images])


def load(name: str) -> Any:
    """The generator ``RUN`` or ``RUN@KIMG``."""
    import stylegen

    run, _, kimg = name.partition("@")
    try:
        return stylegen.load(run, float(kimg) if kimg else None)
    except ValueError as error:
        raise common.BenchmarkError(f"--runs {name}: {error}") from error


def measure(images: np.ndarray, data: np.ndarray, networks: dict[str, Any]) -> dict[str, float]:
    """A row of the table, without its name, of images and data of one size."""
    from stylegen.evaluation import toy_factors
    from stylegen.evaluation.compare import compare

    row = {name: compare(images, data, "fid", extractor=network)["fid"] for name, network in networks.items()}
    read, of_data = (toy_factors.read_factors(x) for x in (images, data))
    things = factors.discrete(read)
    return {
        **row,
        **compare(images, data, "swd"),
        "factors": float(np.mean(list(factors.distances(read, of_data).values()))),
        **{name: float((things[key] == 1).mean()) for name, key in THINGS.items()},
    }


def run() -> dict[str, Any]:
    a = parse()
    from stylegen.data.toy import bedrooms
    from stylegen.metrics.extractors import open_extractor

    networks = {name: open_extractor(name) for name in a.extractors}
    data, others = (bedrooms.render(range(a.count), a.resolution, seed) for seed in (0, factors.OTHER_SEED))
    rows: list[dict[str, Any]] = []
    columns = {
        key: value for key, value in COLUMNS.items() if key not in ("vgg16_conv", "random_vgg") or key in networks
    }
    for name in [*a.runs, OTHER_ROOMS]:
        if name == OTHER_ROOMS:
            images, row = others, {"run": name, "kimg": 0.0, "resolution": a.resolution}
        else:
            G = load(name)
            factors.check(G)
            images, _ = factors.generated(G, a.count, 1.0, 0)
            row = {"run": name, "kimg": float(G.kimg), "resolution": G.resolution}
        rows.append(row | measure(at_resolution(images, a.resolution), data, networks))
        print(common.table(rows[-1:], columns), flush=True)
    machine = common.machine()
    print(
        f"\n{common.describe(machine)}\n{a.count} images each, {a.resolution} pixels\n\n{common.table(rows, columns)}\n"
    )
    result = {"machine": machine, "images": a.count, "resolution": a.resolution, "rows": rows}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(run)
