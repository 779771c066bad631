#!/usr/bin/env python3
"""How closely images are projected: those of the generator itself, others of its kind, and noise as the control.

    python studies/projection.py                        # the shipped generator, 10 images of each kind
    python studies/projection.py --run runs/quickstart --perceptual random_vgg --steps 1000

Generated images are those of seeds 100, 101, ...; "held out" are rooms of toy_bedrooms that training did not see, of
indices beyond data.num_images; noise is uniform in every pixel. The distance from the mean is that of the styles found
from w_avg, layer by layer, in root mean square distances of random w. The distance from the truth, of generated
images, is in mean distances between two random w; "found" counts those within 0.2 at 30 dB or more. LPIPS is AlexNet's,
which no projection here was fitted to unless --perceptual says so; it needs pip install 'stylegen[perceptual]' and
images of 31 pixels. The last line is one JSON object.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

COLUMNS = {
    "pictures": ("images", ""),
    "space": ("space", ""),
    "psnr_start": ("start dB", ".1f"),
    "psnr": ("PSNR dB", ".1f"),
    "psnr_least": ("least", ".1f"),
    "lpips": ("LPIPS", ".3f"),
    "from_mean": ("from mean", ".2f"),
    "from_truth": ("from truth", ".3f"),
    "found": ("found", ""),
    "cpu_s": ("CPU s", ".0f"),
}
FOUND_DISTANCE, FOUND_PSNR = 0.2, 30.0


def parse() -> argparse.Namespace:
    p = common.parser(__doc__)
    p.add_argument("--run", default="toy_bedrooms", help="generator of drawn bedrooms")
    p.add_argument("--count", type=int, default=10, help="images of each kind")
    p.add_argument("--steps", type=int, default=800)
    p.add_argument("--scales", type=int, default=1)
    p.add_argument("--spaces", default="w,w+")
    p.add_argument("--perceptual", default="none", choices=("none", "auto", "vgg16", "alexnet", "random_vgg"))
    return p.parse_args()


def targets(G: Any, count: int) -> dict[str, Any]:
    """Images of each kind, uint8 [count, r, r, 3]."""
    import numpy as np

    import stylegen
    from stylegen.data.toy import bedrooms

    first = G.config.data.num_images
    noise = np.random.default_rng(0).integers(0, 256, (count, G.resolution, G.resolution, 3), np.uint8)
    return {
        "generated": stylegen.sample(G, range(100, 100 + count)),
        "held out": bedrooms.render(range(first, first + count), G.resolution),
        "noise": noise,
    }


def measure(G: Any, kind: str, images: Any, space: str, a: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    import numpy as np

    import stylegen
    from stylegen.metrics import lpips as metrics
    from stylegen.pretrained import lpips
    from stylegen.projection import loss, search
    from stylegen.projection import result as projected

    weights = search.Weights(scales=a.scales)
    options = search.Options(space=space, steps=a.steps, weights=weights)
    started = time.process_time()
    result = search.project(G, images, options, distance=loss.open_perceptual(a.perceptual))
    row: dict[str, Any] = {"pictures": kind, "space": space, "cpu_s": time.process_time() - started}
    random = stylegen.styles(G, stylegen.latents(range(5000, 7000), G.z_dim))[:, 0]
    spread = np.square(random - random.mean(axis=0)).sum(axis=1).mean() ** 0.5
    drawn = projected.draw(G, result.projection)
    psnr = projected.psnr(drawn, images)
    row["psnr_start"] = float(np.median(projected.psnr(result.started, images)))
    row["psnr"], row["psnr_least"] = float(np.median(psnr)), float(psnr.min())
    if lpips.is_here("alexnet") and min(images.shape[1:3]) >= lpips.MIN_SIDES["alexnet"]:
        row["lpips"] = float(np.median(metrics.lpips(drawn, images, "alexnet")))
    row["from_mean"] = float(np.median(np.linalg.norm(result.projection.ws - np.asarray(G.w_avg), axis=2)) / spread)
    if kind == "generated":
        between = np.linalg.norm(random[:1000] - random[1000:], axis=1).mean()
        truth = stylegen.styles(G, stylegen.latents(range(100, 100 + len(images)), G.z_dim))
        distance = np.linalg.norm(result.projection.ws - truth, axis=2).mean(axis=1) / between
        row["from_truth"] = float(np.median(distance))
        row["found"] = f"{int(np.sum((distance <= FOUND_DISTANCE) & (psnr >= FOUND_PSNR)))} of {len(psnr)}"
    return row


def run() -> dict[str, Any]:
    a = parse()
    import stylegen

    G = stylegen.load(a.run)
    print(G, flush=True)
    rows = []
    for space in a.spaces.split(","):
        for kind, images in targets(G, a.count).items():
            rows.append(measure(G, kind, images, space, a))
            print(common.table(rows[-1:], COLUMNS), flush=True)
    machine = common.machine()
    print(
        f"\n{common.describe(machine)}\n{a.steps} steps, perceptual {a.perceptual}\n\n{common.table(rows, COLUMNS)}\n"
    )
    result = {"machine": machine, "steps": a.steps, "perceptual": a.perceptual, "rows": rows}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(run)
