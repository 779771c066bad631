#!/usr/bin/env python3
"""Where a training step spends its time: every convolution and matrix product of the compiled program, timed alone.

    python benchmarks/kernels.py --resolution 32 --batch 8 --base 16384 --max 512

The products are read from the program as XLA compiled it, forward, both gradients and R1's second order alike; equal
ones are timed once. The table has how often each occurs, its GFLOP, its speed as a fraction of the machine's
matrix-product peak, and its share of the step. What is left of the step is everything else: elementwise work,
reductions and copies, and what it costs that work on one kernel's end leaves cores idle. The last line is one JSON
object.
"""

import argparse
import collections
import functools
import math
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

COLUMNS = {
    "kind": ("kind", "s"),
    "shapes": ("of", "s"),
    "window": ("window", "s"),
    "count": ("times", "d"),
    "gflop": ("GFLOP", ".2f"),
    "ms": ("ms", ".2f"),
    "of_peak": ("of peak", ".0%"),
    "total_ms": ("in all ms", ".0f"),
    "of_step": ("of step", ".1%"),
}
_NAME = r"%?([\w.-]+)"
_RESULT = re.compile(rf"^\s*(?:ROOT )?{_NAME} = (\w+)\[([\d,]*)\]")
_PRODUCT = re.compile(rf" (convolution|dot)\({_NAME}, {_NAME}\), (.*)$")


@dataclass(frozen=True)
class Product:
    """One convolution or matrix product, as the compiled program has it."""

    kind: str  # convolution or dot
    dtype: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    result: tuple[int, ...]
    attributes: tuple[tuple[str, str], ...]  # window, dim_labels and so on, in XLA's own words

    def attribute(self, name: str, default: str = "") -> str:
        """Its attribute of this name, in XLA's words."""
        return dict(self.attributes).get(name, default)

    def numbers(self, name: str, default: int | str, ndim: int = 2) -> list[tuple[int, ...]]:
        """A part of the window, such as ``pad=1_1x0_1``, by spatial axis."""
        match = re.search(rf"\b{name}=([-\dx_]+)", self.attribute("window"))
        parts = match[1].split("x") if match else [str(default)] * ndim
        return [tuple(map(int, part.split("_"))) for part in parts]

    @property
    def flop(self) -> float:
        """Twice the multiplications, those with padding and with the zeros of a dilation left out."""
        if self.kind == "dot":
            contracted = [self.left[int(i)] for i in self.attribute("lhs_contracting_dims").split(",") if i]
            return 2.0 * math.prod(self.result) * math.prod(contracted)
        lhs, rhs, out = re.split(r"_|->", self.attribute("dim_labels"))
        per_pixel = 2.0 * self.result[out.index("b")] * math.prod(self.right[rhs.index(c)] for c in "io")
        return per_pixel * math.prod(self._taps(axis, lhs, rhs, out) for axis in range(2))

    def _taps(self, axis: int, lhs: str, rhs: str, out: str) -> int:
        """Pairs of an image's and a weight's row (or column) that are multiplied."""
        size, taps = self.left[lhs.index(str(axis))], self.right[rhs.index(str(axis))]
        stride, before = self.numbers("stride", 1)[axis][0], self.numbers("pad", "0_0")[axis][0]
        spread, apart = self.numbers("lhs_dilate", 1)[axis][0], self.numbers("rhs_dilate", 1)[axis][0]
        places = [
            y * stride + t * apart - before for y in range(self.result[out.index(str(axis))]) for t in range(taps)
        ]
        return sum(0 <= place <= (size - 1) * spread and place % spread == 0 for place in places)


def products(hlo: str) -> collections.Counter[Product]:
    """All convolutions and matrix products in the text of a compiled program."""
    types: dict[str, tuple[str, tuple[int, ...]]] = {}
    for line in hlo.splitlines():
        if result := _RESULT.match(line):
            name, dtype, dims = result.groups()
            types[name] = dtype, tuple(int(d) for d in dims.split(",") if d)
    counts: collections.Counter[Product] = collections.Counter()
    for line in hlo.splitlines():
        if product := _PRODUCT.search(line):
            kind, left, right, rest = product.groups()
            name = _RESULT.match(line)[1]  # type: ignore[index]
            keep = ("window", "dim_labels", "feature_group_count", "batch_group_count")
            keep += tuple(f"{side}_{what}_dims" for side in ("lhs", "rhs") for what in ("contracting", "batch"))
            attributes = [(k, v.strip("{}")) for k, v in re.findall(r"(\w+)=(\{[^}]*\}|[^,\s]+)", rest) if k in keep]
            dtype, shape = types[name]
            counts[Product(kind, dtype, types[left][1], types[right][1], shape, tuple(attributes))] += 1
    return counts


def compute(product: Product, left: Any, right: Any) -> Any:
    """The product in JAX."""
    from jax import lax

    if product.kind == "dot":
        dims = [
            tuple(
                tuple(int(i) for i in product.attribute(f"{side}_{what}_dims").split(",") if i)
                for side in ("lhs", "rhs")
            )
            for what in ("contracting", "batch")
        ]
        return lax.dot_general(left, right, (dims[0], dims[1]))
    lhs, rhs, out = re.split(r"_|->", product.attribute("dim_labels"))
    image, weight = str.maketrans("bf01", "NCHW"), str.maketrans("oi01", "OIHW")
    return lax.conv_general_dilated(
        left,
        right,
        [s for (s,) in product.numbers("stride", 1)],
        product.numbers("pad", "0_0"),
        [d for (d,) in product.numbers("lhs_dilate", 1)],
        [d for (d,) in product.numbers("rhs_dilate", 1)],
        (lhs.translate(image), rhs.translate(weight), out.translate(image)),
        int(product.attribute("feature_group_count", "1")),
        int(product.attribute("batch_group_count", "1")),
    )


def seconds(product: Product, repeats: int) -> float:
    """Median time of the product alone."""
    import jax
    import numpy as np

    from stylegen.runtime.compilation import compiler_options

    dtype = {"f32": "float32", "bf16": "bfloat16", "f64": "float64"}[product.dtype]
    arrays = [jax.numpy.asarray(np.full(s, 1e-3, "float32"), dtype) for s in (product.left, product.right)]
    program = jax.jit(functools.partial(compute, product), compiler_options=compiler_options()).lower(*arrays).compile()
    return statistics.median(common.timed(functools.partial(program, *arrays), repeats, 1))


def run(a: argparse.Namespace) -> dict[str, Any]:
    """Time the step, then its products one by one; print the table."""
    from benchmarks import workload

    config = workload.make_config(a)
    step = workload.Training(config, a.resolution, a.alpha)
    counted = products(step.program.as_text())
    step.start()
    step_ms = 1e3 * statistics.median(common.timed(step, a.steps, 1))
    step.stop()
    peak = common.matmul_peak("bfloat16" if a.amp else "float32")
    rows = []
    for product, count in counted.items():
        ms = 1e3 * seconds(product, a.repeats)
        rows.append(
            {
                "kind": product.kind,
                "shapes": f"{list(product.left)} {list(product.right)}",
                "window": product.attribute("window", "-"),
                "count": count,
                "gflop": product.flop / 1e9,
                "ms": ms,
                "of_peak": product.flop / (ms / 1e3) / peak,
                "total_ms": ms * count,
                "of_step": ms * count / step_ms,
            }
        )
    rows.sort(key=lambda row: -row["total_ms"])
    gflop, total = sum(r["gflop"] * r["count"] for r in rows), sum(r["total_ms"] for r in rows)
    print(common.table([r for r in rows if r["of_step"] >= a.least], COLUMNS))
    m = common.machine()
    summary = {
        "step_ms": step_ms,
        "products_ms": total,
        "rest_ms": step_ms - total,
        "products_gflop": gflop,
        "peak_gflop_per_s": peak / 1e9,
        "products_of_peak": gflop / (total / 1e3) / (peak / 1e9),
        "step_of_peak": gflop / (step_ms / 1e3) / (peak / 1e9),
    }
    print(
        f"step {step_ms:.0f} ms: products {total:.0f} ms ({gflop:.0f} GFLOP, {summary['products_of_peak']:.0%} of the "
        f"peak of {peak / 1e9:.0f} GFLOP/s), all else {step_ms - total:.0f} ms\n{common.describe(m)}"
    )
    result = {**summary, "rows": rows, "machine": m}
    common.write_json(a.json, result)
    return result


def parse() -> argparse.Namespace:
    """The command line."""
    p = common.parser(__doc__)
    p.add_argument("--resolution", type=int, default=32, help="pixels a side")
    p.add_argument("--batch", type=int, default=8, help="images a step")
    p.add_argument("--block", choices=("adain", "demod"), default="adain", help="generator.block of the networks")
    p.add_argument("--base", type=int, default=16_384, help="channel base: width = min(base / resolution, max)")
    p.add_argument("--max", type=int, default=512, help="channel maximum")
    p.add_argument("--alpha", type=float, default=0.5, help="fade-in weight")
    p.add_argument("--amp", action="store_true", help="compute in bfloat16 instead of float32")
    p.add_argument("--steps", type=int, default=3, help="steps that are timed")
    p.add_argument("--repeats", type=int, default=5, help="runs of each product that are timed")
    p.add_argument("--least", type=float, default=0.005, help="rows printed: products with this share of the step")
    return p.parse_args()


if __name__ == "__main__":
    common.main(lambda: run(parse()))
