#!/usr/bin/env python3
"""Which factor of a drawn bedroom each direction moves, and how cleanly; how disentangled z and w are.

    python studies/directions.py                        # the shipped generator
    python studies/directions.py --run runs/quickstart --count 10 --images 256

Factors are read from images by a network (``stylegen.evaluation.toy_factors``). A change is the mean difference of a
factor between images moved to -S and to +S along the direction, in units of what two random images differ by; the
share is that of the factor that changes most in the sum of all. Path lengths (steps of 1e-4, straight in w, only the
layers named being moved, the others staying at one end) are by random_vgg unless told otherwise, so they compare with
each other only. Separability is exp of the sum of H(Y|X) over the yes-or-no factors: 1 is best. The last line is one
JSON object.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

COLUMNS = {
    "direction": ("direction", ""),
    "layers": ("layers", ""),
    "factor": ("moves most", ""),
    "change": ("change", ".2f"),
    "share": ("share", ".0%"),
    "second": ("then", ""),
    "second_change": ("change", ".2f"),
    "total": ("all together", ".2f"),
}
LAYER_COLUMNS = {"layers": ("layers moved", ""), "ppl": ("path length in w", ".1f")}
Reader = Callable[[Any], dict[str, Any]]


def parse() -> argparse.Namespace:
    p = common.parser(__doc__)
    p.add_argument("--run", default="toy_bedrooms", help="generator of drawn bedrooms")
    p.add_argument("--count", type=int, default=4, help="directions of each method and range")
    p.add_argument("--ranges", default="all,0-1,2-3,4-5,6-7")
    p.add_argument("--images", "--pictures", type=int, default=128, help="images moved along each direction")
    p.add_argument("--random", type=int, default=2000, help="random images, for scale and separability")
    p.add_argument("--strength", type=float, default=2.0, help="S, in standard deviations")
    p.add_argument("--pairs", type=int, default=100, help="of each path length")
    p.add_argument("--distance", default="random_vgg", choices=("random_vgg", "vgg16"))
    return p.parse_args()


def reader() -> Reader:
    """The network that reads factors, without those that it does not read well."""
    try:
        from stylegen.evaluation import toy_factors
    except ImportError as error:
        raise common.BenchmarkError("there is no stylegen.evaluation.toy_factors to read factors with") from error
    unreliable = getattr(toy_factors, "UNRELIABLE", ())
    return lambda images: {k: v for k, v in toy_factors.read_factors(images).items() if k not in unreliable}


def find(G: Any, ranges: dict[str, list[int]], count: int) -> list[Any]:
    """Directions of both methods for each range."""
    from stylegen import sampling
    from stylegen.editing import discovery

    w = sampling.sample_w(G, discovery.SAMPLES)
    directions = []
    for suffix, layers in ranges.items():
        directions += discovery.principal_components(w, count, layers, "pca{}" + suffix)
        directions += discovery.factorized(G, w, count, layers, "sefa{}" + suffix)
    return directions


def moved(G: Any, direction: Any, ws: Any, strength: float, read: Reader, scale: dict[str, Any]) -> dict[str, Any]:
    """One row: what a direction changes."""
    import stylegen
    from stylegen.editing import directions
    from stylegen.metrics import separability

    ends = [read(stylegen.synthesize(G, directions.move(ws, direction, s))) for s in (-strength, strength)]
    changed = separability.changes(ends[0], ends[1], scale)
    name, share = separability.cleanness(changed)
    second = max((other for other in changed if other != name), key=lambda other: changed[other])
    layers = direction.layers
    return {
        "direction": direction.name.partition("@")[0],
        "layers": f"{layers[0]}-{layers[-1]}",
        "factor": name,
        "change": changed[name],
        "share": share,
        "second": second,
        "second_change": changed[second],
        "total": sum(changed.values()),
        "changes": changed,
    }


def path_length_of_layers(G: Any, layers: Sequence[int], pairs: int, distance: Any) -> float:
    """Perceptual path length in w where only some layers move; the others stay at the pair's own w of the first end."""
    import jax.numpy as jnp
    import numpy as np

    import stylegen
    from stylegen.metrics import ppl

    firsts: list[Any] = []

    def mapping(z: Any) -> Any:
        firsts.append(stylegen.styles(G, np.asarray(z, np.float32))[:, 0])
        return firsts[-1]

    def draw(w: Any) -> Any:
        start = firsts[-2]  # path_length maps both ends of the pairs, the first one first, and then draws
        ws = np.repeat(np.repeat(start, 2, axis=0)[:, None], G.num_ws, axis=1)
        ws[:, list(layers)] = w[:, None]
        return jnp.asarray(stylegen.synthesize(G, ws, as_float=True))

    ends = ppl.path_ends(pairs, G.z_dim, sampling="full", batch=16)
    return ppl.path_length(mapping, draw, distance, ends, space="w").mean


def run() -> dict[str, Any]:
    a = parse()
    import stylegen
    from stylegen.cli.edit import parse_ranges
    from stylegen.metrics import separability
    from stylegen.metrics.extractors import open_distance

    G, read = stylegen.load(a.run), reader()
    print(G, flush=True)
    ranges = parse_ranges(a.ranges, G.num_ws)
    z = stylegen.latents(range(a.random), G.z_dim)
    ws = stylegen.styles(G, z)
    scale = read(stylegen.synthesize(G, ws))
    separable = {name: separability.linear_separability(x, scale) for name, x in {"z": z, "w": ws[:, 0]}.items()}
    rows = [moved(G, d, ws[: a.images], a.strength, read, scale) for d in find(G, ranges, a.count)]
    distance = open_distance(a.distance)
    lengths = [
        {"layers": f"{x[0]}-{x[-1]}", "ppl": path_length_of_layers(G, x, a.pairs, distance)} for x in ranges.values()
    ]
    machine = common.machine()
    print(f"\n{common.describe(machine)}\n\n{common.table(rows, COLUMNS)}\n\n{common.table(lengths, LAYER_COLUMNS)}\n")
    for name, (score, entropies) in separable.items():
        print(f"linear separability of {name}: {score:.2f} ({', '.join(f'{k} {v:.2f}' for k, v in entropies.items())})")
    result = {"machine": machine, "rows": rows, "lengths": lengths, "separability": separable}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(run)
