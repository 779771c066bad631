#!/usr/bin/env python3
"""StyleModel of style transfer compared, on photographs and styles that are in no training.

    python studies/style_transfer_compare.py --contents data/style/held_out/content \\
        --styles data/style/held_out/style
    python studies/style_transfer_compare.py --contents DIR --styles DIR --network small \\
        --network old=old.safetensors --picture docs/images/style_transfer_compare.png

Every content with every style: VGG-16's losses, structure of the luma that is kept, colored fringes, palette, and time
(studies/style_transfer_measures.py says how). The extra `perceptual` must be installed. The picture has a row for each
content and network, unselected. The last line is one JSON object.
"""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from studies import style_transfer_measures
from stylegen.io.image_listing import list_images
from stylegen.style_transfer import perceptual, training_images
from stylegen.style_transfer.model import StyleModel, load_model, load_network
from stylegen.style_transfer.stylize import stylize


def square(path: Path, side: int) -> np.ndarray:
    """The middle of an image, uint8 [side, side, 3]."""
    image = training_images.read(path)
    small = min(image.shape[:2])
    top, left = ((length - small) // 2 for length in image.shape[:2])
    middle = Image.fromarray(image[top : top + small, left : left + small])
    return np.asarray(middle.resize((side, side), Image.Resampling.LANCZOS))


def network(text: str) -> tuple[str, StyleModel]:
    """``small``, ``vgg16``, or a name and a file: ``old=old.safetensors``."""
    name, _, path = text.partition("=")
    if path:
        return name, load_model(path)
    return name, load_network("vgg16" if name == "vgg16" else "small")


def compared(
    model: StyleModel, contents: list[np.ndarray], styles: list[np.ndarray]
) -> tuple[dict[str, float], list[Any]]:
    """Means over all pairs, seconds an image, and the results by content."""
    vgg = perceptual.load()
    stylize(model, contents[0], styles[:1])  # compiles
    rows: list[Any] = []
    numbers, seconds = [], []
    for content in contents:
        rows.append([])
        for style in styles:
            start = time.perf_counter()
            rows[-1].append(stylize(model, content, [style]))
            seconds.append(time.perf_counter() - start)
            numbers.append(asdict(style_transfer_measures.measured(vgg, rows[-1][-1], content, style)))
    means = {name: float(np.mean([x[name] for x in numbers])) for name in numbers[0]}
    return means | {"seconds": float(np.median(seconds))}, rows


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--contents", type=Path, required=True, help="folder of photographs")
    p.add_argument("--styles", type=Path, required=True, help="folder of styles")
    p.add_argument("--network", action="append", help="small, vgg16 or NAME=FILE; may be given several times")
    p.add_argument("--side", type=int, default=192, help="pixels a side of contents and styles")
    p.add_argument("--count", type=int, default=10, help="contents and styles that are used, of each")
    p.add_argument("--picture", type=Path, help="also save the results")
    a: argparse.Namespace = p.parse_args()
    contents, styles = (
        [square(file, a.side) for file in list_images(folder).files[: a.count]] for folder in (a.contents, a.styles)
    )
    table, grids = [], []
    for text in a.network or ["small"]:
        name, model = network(text)
        numbers, rows = compared(model, contents, styles)
        table.append({"network": name, **numbers})
        grids.append(rows)
    shown = {"content": "content loss", "style": "style loss", "structure": "structure"}
    shown |= {"fringes": "fringes", "palette": "palette"}
    columns = {"network": ("network", "s"), **{k: (v, ".3f") for k, v in shown.items()}, "seconds": ("seconds", ".2f")}
    print(common.table(table, columns))
    if a.picture:
        white = np.full((a.side, a.side, 3), 255, np.uint8)
        lines = [[white, *styles], *([content, *rows[i]] for i, content in enumerate(contents) for rows in grids)]
        Image.fromarray(np.concatenate([np.concatenate(line, axis=1) for line in lines])).save(a.picture, quality=88)
    result = {"machine": common.machine(), "side": a.side, "pairs": len(contents) * len(styles), "networks": table}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(main)
