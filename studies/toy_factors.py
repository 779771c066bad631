#!/usr/bin/env python3
"""The factors of a generator of drawn bedrooms: things present, distributions, and values that are never generated.

    python studies/toy_factors.py                                   # the generator that comes with the package
    python studies/toy_factors.py --run runs/quickstart --json out/factors.json
    python studies/toy_factors.py --run runs/by_bed_color           # classes: bed colors asked for and read

Images of consecutive seeds, none selected, psi 1 unless said otherwise. The factor reader
(stylegen/evaluation/toy_factors.py) reads them, and as many rooms of the data, with the same errors; "rooms" compares
those with as many other rooms, which is what chance alone does. A distance is the total variation between histograms,
0 to 1: the share of images that would have to change. Numbers and colors fall into ten bins that hold a tenth of
the data each. "Never generated" are values, and pairs of values, that 1 % of the data have and none of the images.
The last line is one JSON object.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

BINS = 10
SHARE = 0.01  # of the data that must have what counts as never generated
OTHER_SEED = 3  # of toy_bedrooms: rooms that are neither the data nor those that the reader knows
NAMED = ("has_bed", "has_pillows", "has_window", "has_lamp")
Read = dict[str, np.ndarray]


def generated(G: Any, count: int, psi: float, first_seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 images of consecutive seeds, and their classes, each as often, of a generator that has classes."""
    import stylegen
    from stylegen.cli.common import with_progress

    labels = np.arange(count) % G.c_dim if G.c_dim else None
    seeds = range(first_seed, first_seed + count)
    batches = stylegen.stream(G, seeds, labels=labels, psi=psi, noise="random")
    return np.concatenate(list(with_progress(batches, count, "images"))), labels


def names_of(name: str) -> tuple[str, ...]:
    """Names of the values 0, 1, ... of a factor with few values; those of ``pillows`` are numbers."""
    from stylegen.data.toy import bedrooms

    names = {
        "bed_class": bedrooms.CLASS_NAMES,
        "time": bedrooms.TIMES,
        "lamp_kind": bedrooms.LAMP_KINDS,
        "pillows": ("0", "1", "2"),
    }
    return names.get(name, ("no", "yes"))


def discrete(read: Read) -> dict[str, np.ndarray]:
    """Factors with few values as whole numbers, -1 where they mean nothing."""
    from stylegen.evaluation import toy_factors

    values = {name: read[name].astype(int) for name in toy_factors.YES_NO if name not in toy_factors.UNRELIABLE}
    for name in set(toy_factors.FLAGS) & set(values):
        values[name] = np.where(toy_factors.meaningful(read, name), values[name], -1)
    return values | {name: read[name].astype(int) for name in toy_factors.CHOICES}


def shares(values: np.ndarray, size: int) -> np.ndarray:
    """The share of each value 0 to ``size`` - 1 among those that mean something; zeros if none does."""
    counts = np.bincount(values[values >= 0], minlength=size).astype(float)
    return counts / max(counts.sum(), 1)


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Half the sum of absolute differences of two histograms of shares; 1 where one of them is empty."""
    return 1.0 if p.sum() == 0 or q.sum() == 0 else float(np.abs(p - q).sum() / 2)


def binned(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Which bin each value is in; bins hold equal shares of ``reference``. -1 for NaN."""
    edges = np.quantile(reference[np.isfinite(reference)], np.linspace(0, 1, BINS + 1)[1:-1])
    return np.where(np.isnan(values), -1, np.searchsorted(edges, values))


def distances(read: Read, data: Read) -> dict[str, float]:
    """Total variation by factor; of colors, the mean of the three channels'."""
    from stylegen.evaluation import toy_factors

    read_values, data_values = discrete(read), discrete(data)
    result = {}
    for name in read_values:
        size = len(names_of(name))
        result[name] = total_variation(shares(read_values[name], size), shares(data_values[name], size))
    for name in (x for x in toy_factors.COLORS + toy_factors.NUMBERS if x not in toy_factors.UNRELIABLE):
        a, b = (x[name].reshape(len(x[name]), -1).T for x in (read, data))
        bins = [(binned(x, reference), binned(reference, reference)) for x, reference in zip(a, b, strict=True)]
        result[name] = float(np.mean([total_variation(shares(p, BINS), shares(q, BINS)) for p, q in bins]))
    return result


def never(read: Read, data: Read) -> list[dict[str, Any]]:
    """Values, and pairs of values of two factors, that the data has and the images do not; the most frequent first.

    A pair is left out where one of its values is never generated alone.
    """
    read_values, data_values = discrete(read), discrete(data)
    values = [(name, value) for name in data_values for value in range(len(names_of(name)))]
    masks = {(name, value): (data_values[name] == value, read_values[name] == value) for name, value in values}
    never_alone = [(v,) for v, (in_data, in_images) in masks.items() if in_data.mean() >= SHARE and not in_images.any()]
    generated_alone = [v for v, (_, in_images) in masks.items() if in_images.any()]
    never_together = [
        (a, b)
        for a, b in itertools.combinations(generated_alone, 2)
        if a[0] != b[0] and (masks[a][0] & masks[b][0]).mean() >= SHARE and not (masks[a][1] & masks[b][1]).any()
    ]
    entries = []
    for combination in [*never_alone, *never_together]:
        share = float(np.logical_and.reduce([masks[v][0] for v in combination]).mean())
        text = ", ".join(f"{name}: {names_of(name)[value]}" for name, value in combination)
        entries.append({"what": text, "share_of_data": share})
    return sorted(entries, key=lambda entry: -entry["share_of_data"])


def confusion(requested: np.ndarray, read: Read) -> list[dict[str, Any]]:
    """Row by row, the class asked for and the shares of what was read: each class, or no bed."""
    from stylegen.data.toy import bedrooms

    rows = []
    for label, name in enumerate(bedrooms.CLASS_NAMES):
        colors = read["bed_class"][requested == label]
        counts = [(colors == k).sum() for k in range(bedrooms.NUM_CLASSES)] + [(colors < 0).sum()]
        values = [float(count / max(len(colors), 1)) for count in counts]
        rows.append({"asked": name, **dict(zip((*bedrooms.CLASS_NAMES, "no bed"), values, strict=True))})
    return rows


def compare(G: Any, count: int, psi: float, first_seed: int) -> dict[str, Any]:
    """All results for a generator, in JSON."""
    from stylegen.data.toy import bedrooms as toy_bedrooms
    from stylegen.evaluation import toy_factors

    images, requested = generated(G, count, psi, first_seed)
    read = toy_factors.read_factors(images)
    data, other_rooms = (
        toy_factors.read_factors(toy_bedrooms.render(range(count), G.resolution, seed)) for seed in (0, OTHER_SEED)
    )
    generated_values, data_values, chance = discrete(read), discrete(data), distances(other_rooms, data)
    result: dict[str, Any] = {
        "present": {name: [float(x[name].mean()) for x in (read, data)] for name in toy_factors.PRESENCES},
        "all_named": [float(np.all([x[name] for name in NAMED], axis=0).mean()) for x in (read, data)],
        "histograms": {
            name: {
                value: [float(shares(x[name], len(names_of(name)))[i]) for x in (generated_values, data_values)]
                for i, value in enumerate(names_of(name))
            }
            for name in generated_values
        },
        "distances": {name: [value, chance[name]] for name, value in distances(read, data).items()},
        "never": never(read, data),
        "never_among_rooms": len(never(other_rooms, data)),
    }
    if requested is not None:
        result["confusion"] = confusion(requested, read)
        result["right_class"] = float((read["bed_class"] == requested).mean())
    return result


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    percent = ".1%"
    rows = [{"name": name, "ours": a, "data": b} for name, (a, b) in result["present"].items()]
    rows.append(
        {"name": "bed, pillows, window and lamp", "ours": result["all_named"][0], "data": result["all_named"][1]}
    )
    print(common.table(rows, {"name": ("there", "s"), "ours": ("generated", percent), "data": ("rooms", percent)}))
    rows = [
        {"name": f"{name}: {value}", "ours": a, "data": b}
        for name, values in result["histograms"].items()
        for value, (a, b) in values.items()
        if not name.startswith("has_") and value != "no"
    ]
    print(
        "\n" + common.table(rows, {"name": ("share", "s"), "ours": ("generated", percent), "data": ("rooms", percent)})
    )
    rows = [{"name": name, "ours": a, "chance": b} for name, (a, b) in result["distances"].items()]
    print(
        "\n" + common.table(rows, {"name": ("distance", "s"), "ours": ("generated", ".3f"), "chance": ("rooms", ".3f")})
    )
    print(f"\nNever generated ({result['never_among_rooms']} such among other rooms):")
    print("\n".join(f"  {e['what']} ({e['share_of_data']:.1%} of the data)" for e in result["never"]) or "  nothing")
    if "confusion" in result:
        columns = {key: (key, "s" if key == "asked" else percent) for key in result["confusion"][0]}
        print("\nBed color asked for and read:\n" + common.table(result["confusion"], columns))
        print(f"right: {result['right_class']:.1%}")


def run(a: argparse.Namespace) -> dict[str, Any]:
    import stylegen
    from stylegen.data.toy import bedrooms as toy_bedrooms
    from stylegen.evaluation import toy_factors
    from stylegen.io import files

    if a.count < 100:
        raise common.BenchmarkError(f"--count {a.count}: must be at least 100.")
    try:
        G = stylegen.load(a.run, a.kimg)
    except ValueError as error:
        raise common.BenchmarkError(str(error)) from error
    check(G)
    result = compare(G, a.count, a.psi, a.first_seed)
    show(result)
    result |= {
        "generator": {"source": str(a.run), "kimg": float(G.kimg), "resolution": G.resolution, "classes": G.c_dim},
        "count": a.count,
        "psi": a.psi,
        "first_seed": a.first_seed,
        "noise": "random",
        "data": {"drawing": toy_bedrooms.DRAWING_VERSION, "seed": 0, "other_seed": OTHER_SEED},
        "reader_sha256": files.sha256(toy_factors.WEIGHTS),
        "machine": common.machine(),
    }
    common.write_json(a.json, result)
    print(
        f"\n{a.count:,} images of {a.run} at {G.kimg:g} kimg, {G.resolution} pixels, psi {a.psi:g}, and as many rooms"
    )
    return result


def check(G: Any) -> None:
    """Refuse a generator whose images cannot be read."""
    from stylegen.data.toy import bedrooms as toy_bedrooms
    from stylegen.evaluation import toy_factors

    if G.config.data.source != "toy_bedrooms":
        raise common.BenchmarkError(f"--run: was trained on {G.config.data.source}; factors are those of toy_bedrooms.")
    if G.resolution < toy_factors.MIN_RESOLUTION:
        raise common.BenchmarkError(
            f"--run: draws {G.resolution} pixels; factors are read from {toy_factors.MIN_RESOLUTION} on."
        )
    if G.c_dim not in (0, toy_bedrooms.NUM_CLASSES):
        raise common.BenchmarkError(f"--run: has {G.c_dim} classes, and bed colors are {toy_bedrooms.NUM_CLASSES}.")


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument(
        "--run", default="toy_bedrooms", help="run directory, .safetensors file, or toy_bedrooms, which is shipped"
    )
    p.add_argument("--kimg", type=float, help="checkpoint of a run at so many thousand images; default: the newest")
    p.add_argument("--count", type=int, default=1000, help="images")
    p.add_argument("--psi", type=float, default=1.0, help="truncation; 1 is none")
    p.add_argument("--first-seed", type=int, default=0)
    return run(p.parse_args())


if __name__ == "__main__":
    common.main(main)
