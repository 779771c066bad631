#!/usr/bin/env python3
"""Where colored fringes come from: the pixels of an image optimized by the losses alone, without any decoder.

    python studies/style_transfer_fringes.py --content cat.png --style string.jpg --narrow old.safetensors \\
        --picture fringes.png

Each image begins as the content and follows the gradient of content and style loss (Huang and Belongie 2017, Eq. 11):
of a narrow encoder that an autoencoder trained (a file of the kind that shipped until version 0.1), of VGG-16, and of
each with total variation. There is no upsampling here, no padding of a decoder, and no statistics but the losses'. What
has fringes here has them from its losses. The last line is one JSON object.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import common
from studies import style_transfer_measures
from studies.style_transfer_compare import square
from stylegen.style_transfer import losses, networks, perceptual, perceptual_step, train_step
from stylegen.style_transfer.model import load_model
from stylegen.style_transfer.transfer import to_uint8

CONTENT_WEIGHT, STYLE_WEIGHT, RATE = 1.0, 10.0, 0.02
Maps = Callable[[Array], list[Array]]


def optimized(maps_of: Maps, content: np.ndarray, style: np.ndarray, steps: int, variation: float) -> np.ndarray:
    """uint8 [h, w, 3] whose features are AdaIN's, and whose statistics are the style's."""
    start, wanted = (train_step.as_float(jnp.asarray(image)[None]) for image in (content, style))
    styles = [losses.statistics(x, "biased") for x in maps_of(wanted)]
    target = losses.adain(maps_of(start)[-1], *styles[-1], "biased")

    def loss(x: dict[str, Array]) -> Array:
        maps = maps_of(x["image"])
        of_content = jnp.mean(losses.content_loss(maps[-1], target))
        of_style = jnp.mean(losses.style_loss(maps, styles, "biased"))
        outside = jnp.mean(jnp.square(x["image"] - jnp.clip(x["image"], 0, 1)))
        smooth = variation * perceptual_step.total_variation(x["image"])
        return CONTENT_WEIGHT * of_content + STYLE_WEIGHT * of_style + smooth + 10 * outside

    @jax.jit
    def step(training: train_step.Training) -> train_step.Training:
        return train_step.updated(training, jax.grad(loss)(training.params), RATE)

    training = train_step.begin({"image": start})
    for _ in range(steps):
        training = step(training)
    return np.asarray(to_uint8(training.params["image"])[0])


def main() -> dict[str, Any]:
    p = common.parser(__doc__)
    p.add_argument("--content", type=Path, required=True, help="photograph")
    p.add_argument("--style", type=Path, required=True, help="style")
    p.add_argument("--narrow", type=Path, required=True, help="encoder of an autoencoder, with its decoder")
    p.add_argument("--side", type=int, default=96, help="pixels a side")
    p.add_argument("--steps", type=int, default=100, help="of Adam")
    p.add_argument("--picture", type=Path, help="save content, style and all results side by side")
    a: argparse.Namespace = p.parse_args()
    content, style = square(a.content, a.side), square(a.style, a.side)
    model = load_model(a.narrow)
    vgg, _ = perceptual.normalized(perceptual.load(), np.stack([content, style]))
    kinds: dict[str, Maps] = {
        "narrow encoder": lambda x: networks.encode(model.encoder, model.stages, x),
        "VGG-16": lambda x: perceptual.taps(vgg, x),
    }
    rows, images = [], [content, style]
    for name, maps_of in kinds.items():
        for variation in (0.0, 3.0):
            image = optimized(maps_of, content, style, a.steps, variation)
            ratio = style_transfer_measures.fringes(image) / style_transfer_measures.fringes(style)
            kept = style_transfer_measures.structure(image, content)
            rows.append({"losses of": name, "variation": variation, "fringes": ratio, "structure": kept})
            images.append(image)
    names = ("losses of", "variation", "fringes", "structure")
    print(common.table(rows, {n: (n, "s" if n == "losses of" else ".2f") for n in names}))
    if a.picture:
        Image.fromarray(np.concatenate(images, axis=1)).save(a.picture)
    result = {"machine": common.machine(), "side": a.side, "steps": a.steps, "rows": rows}
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(main)
