#!/usr/bin/env python3
"""Which feature networks tell real images from changed ones: an order that each network gives to sets of images.

    python studies/extractors.py --data .data/bedrooms64 --resolution 64 --count 200

Of the images, the first half is the reference. The other half is compared with it as it is, and blurred, noised,
recolored, and made smaller and larger again, each in two strengths; so are as many drawn rooms. A good network puts the
untouched half first, drawn rooms last, and the stronger change of a kind behind the weaker one. The last line is one
JSON object.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common

NETWORKS = ("random_vgg", "vgg16_conv")
COLUMNS = {
    "set": ("set", ""),
    "random_vgg fid": ("random_vgg FID", ".4g"),
    "vgg16_conv fid": ("vgg16_conv FID", ".4g"),
    "random_vgg kid": ("random_vgg KID", ".4g"),
    "vgg16_conv kid": ("vgg16_conv KID", ".4g"),
    "swd": ("SWD", ".4g"),
}


def parse() -> argparse.Namespace:
    p = common.parser(__doc__)
    p.add_argument("--data", required=True, help="a folder that prepare.py made")
    p.add_argument("--resolution", type=int, default=64)
    p.add_argument("--count", type=int, default=200, help="images of each set")
    return p.parse_args()


def each(change: Callable[[Image.Image], Image.Image]) -> Callable[[np.ndarray], np.ndarray]:
    """The change of one image as one of an array [N, r, r, 3]."""
    return lambda images: np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def noised(deviation: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(images: np.ndarray) -> np.ndarray:
        noise = np.random.RandomState(0).normal(0, deviation, images.shape)
        return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)

    return change


def recolored(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """So much of the way to the image with its channels in another order."""
    return lambda images: np.rint(images * (1 - share) + images[..., [2, 0, 1]] * share).astype(np.uint8)


def smaller(factor: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: Image.Image) -> Image.Image:
        size = (image.width // factor, image.height // factor)
        return image.resize(size, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)

    return each(change)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "untouched": lambda images: images,
    "blurred, 0.7 pixels": each(lambda image: image.filter(ImageFilter.GaussianBlur(0.7))),
    "blurred, 1.5 pixels": each(lambda image: image.filter(ImageFilter.GaussianBlur(1.5))),
    "noised, 8 levels": noised(8),
    "noised, 24 levels": noised(24),
    "recolored by a quarter": recolored(0.25),
    "recolored": recolored(1.0),
    "half as large": smaller(2),
    "a quarter as large": smaller(4),
}


def sets(images: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Each set of images by name, without the reference."""
    from stylegen.data.toy import bedrooms

    changed = {name: change(images) for name, change in CHANGES.items()}
    return {**changed, "drawn rooms": bedrooms.render(range(count), images.shape[1])}


def measure(reference: np.ndarray, images: np.ndarray, networks: dict[str, Any]) -> dict[str, float]:
    """Distances of a set from the reference, by network and metric."""
    from stylegen.evaluation.compare import compare

    row: dict[str, float] = {}
    for name, network in networks.items():
        values = compare(images, reference, "fid,kid", extractor=network)
        row |= {f"{name} {metric}": value for metric, value in values.items()}
    return {**row, **compare(images, reference, "swd")}


def load_images(folder: str, resolution: int, count: int) -> np.ndarray:
    """The first images of prepared data, uint8 [count, r, r, 3]."""
    from stylegen.data.prepared.source import PreparedSource

    source = PreparedSource(Path(folder))
    return source.read(np.arange(min(count, source.num_images)), resolution)["image"]


def run() -> dict[str, Any]:
    a = parse()
    images = load_images(a.data, a.resolution, 2 * a.count)
    half = len(images) // 2
    reference, others = images[:half], images[half : 2 * half]
    from stylegen.metrics.extractors import open_extractor

    rows: list[dict[str, Any]] = []
    networks = {name: open_extractor(name) for name in NETWORKS}
    for name, changed in sets(others, half).items():
        rows.append({"set": name, **measure(reference, changed, networks)})
        print(common.table(rows[-1:], COLUMNS), flush=True)
    machine = common.machine()
    print(f"\n{common.describe(machine)}\n{half} images each, {a.resolution} pixels\n\n{common.table(rows, COLUMNS)}\n")
    result = {"machine": machine, "images": half, "resolution": a.resolution, "rows": rows}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(run)
