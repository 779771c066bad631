#!/usr/bin/env python3
"""Style transfer measured: losses of content and style, steadiness of videos, memory and time of a large image.

    python studies/style_transfer_quality.py                     # losses against alpha; a panning video
    python studies/style_transfer_quality.py --large 4000x3000   # peak memory and time of one large image
    python studies/style_transfer_quality.py --gallery gallery.png

Contents are drawn rooms and styles drawn textures that training has not seen (other seeds); the gallery also has
photographs in the public domain from scikit-image's wheel, where that is installed. The last line is one JSON object.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from studies import style_transfer_measures
from stylegen.data.toy import bedrooms
from stylegen.runtime.memory import keep_freed_memory
from stylegen.style_transfer import textures, training_images, video
from stylegen.style_transfer.model import StyleModel, load_model
from stylegen.style_transfer.stylize import stylize

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
STYLE_SEED, FIRST_ROOM = 77, 900  # training draws textures of seed 0 and rooms from 0 to 159
STEP, FRAMES = (1, 4), 12


def styles(count: int, side: int) -> list[np.ndarray]:
    return [textures.texture(i, side, STYLE_SEED) for i in range(count)]


def curve(model: StyleModel) -> list[dict[str, float]]:
    rooms = bedrooms.render(range(FIRST_ROOM, FIRST_ROOM + 6), 128)
    points = style_transfer_measures.against_alpha(model, rooms, styles(len(textures.FAMILIES), 128), ALPHAS)
    return [vars(point) for point in points]


def videos(model: StyleModel) -> list[dict[str, Any]]:
    rows = []
    for room, style in ((FIRST_ROOM + 10, 1), (FIRST_ROOM + 11, 3), (FIRST_ROOM + 12, 5)):
        image = bedrooms.render([room], 256)[0]
        frames = style_transfer_measures.panning(image, FRAMES, (160, 192), STEP)
        texture = textures.texture(style, 256, STYLE_SEED)
        changes = style_transfer_measures.steadiness(model, frames, texture, STEP, video.BLEND)
        rows.append({"style": textures.FAMILIES[style].__name__, **changes})
    return rows


def large(model: StyleModel, size: str) -> dict[str, Any]:
    width, height = (int(side) for side in size.split("x"))
    drawn = Image.fromarray(bedrooms.render([FIRST_ROOM], 256)[0])
    content = np.asarray(drawn.resize((width, height), Image.Resampling.BICUBIC))
    before, start = common.peak_host_gib(), time.perf_counter()
    result = stylize(model, content, [textures.texture(1, 512, STYLE_SEED)])
    return {
        "size": size,
        "seconds": time.perf_counter() - start,
        "peak_gib": common.peak_host_gib(),
        "peak_before_gib": before,
        "mean": float(result.mean()),
    }


def gallery(model: StyleModel, path: Path, side: int = 192) -> dict[str, Any]:
    contents = list(bedrooms.render([FIRST_ROOM + 3, FIRST_ROOM + 14], 256))
    names = {file.name: file for file in training_images.photograph_files("auto")}
    contents += [
        _square(training_images.read(names[name]), 256) for name in ("coffee.png", "chelsea.png") if name in names
    ]
    shown = [textures.texture(i, 256, seed) for i, seed in ((1, 5), (3, 6), (5, STYLE_SEED), (4, 8), (0, 9))]
    cells = [np.full((256, 256, 3), 255, np.uint8), *shown]
    for content in contents:
        cells += [content, *(stylize(model, content, [style]) for style in shown)]
    small = [np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.LANCZOS)) for x in cells]
    columns = len(shown) + 1
    rows = [np.concatenate(small[i : i + columns], axis=1) for i in range(0, len(small), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colors: a sixth of the bytes.
    Image.fromarray(np.concatenate(rows)).quantize(256).save(path, optimize=True)
    return {"gallery": str(path), "contents": len(contents), "styles": len(shown)}


def _square(image: np.ndarray, side: int) -> np.ndarray:
    small = min(image.shape[:2])
    top, left = ((length - small) // 2 for length in image.shape[:2])
    square = Image.fromarray(image[top : top + small, left : left + small])
    return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--model", type=Path, help="networks that train_style wrote; default: the built-in ones")
    p.add_argument("--large", metavar="WxH", help="transfer one image of that size instead")
    p.add_argument("--gallery", type=Path, metavar="PATH", help="draw the README's images instead")
    a: argparse.Namespace = p.parse_args()
    keep_freed_memory()  # as stylize does
    model = load_model(a.model)
    if a.gallery is not None:
        return gallery(model, a.gallery)
    result: dict[str, Any] = {"machine": common.machine()}
    print(common.describe(result["machine"]))
    if a.large is not None:
        result["large"] = large(model, a.large)
        print(
            "{size}: {seconds:.1f} s, peak {peak_gib:.2f} GiB ({peak_before_gib:.2f} before)".format(**result["large"])
        )
    else:
        result |= {"alpha": curve(model), "video": videos(model)}
        losses = {"alpha": ("alpha", ".2f"), "content": ("content loss", ".3f"), "style": ("style loss", ".3f")}
        print(common.table(result["alpha"], losses))
        names = {"style": ("style", "s"), "content": ("video itself", ".2f"), "single": ("one by one", ".2f")}
        print(common.table(result["video"], {**names, "blended": ("blended", ".2f")}))
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(main)
