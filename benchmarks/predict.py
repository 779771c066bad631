"""Predictions: how a run speeds up on more devices than it was measured on, from a model that can be checked.

    python benchmarks/predict.py

    seconds of a step = fixed + images of a device * seconds of an image + 2 (N-1)/N * gradients / bandwidth

Gradients are all parameters in float32, summed in a ring; nothing overlaps. The model is checked against the original's
published hours on V100 (README of NVlabs/stylegan): fitted to those on one and two, it says what four and eight take.
For other machines, the seconds of an image and the bandwidth are guesses, to be replaced by what you measure on one
device (``--image_ms``).
"""

import argparse
import dataclasses
import importlib.util
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

from stylegen.config import Config
from stylegen.networks.trees import count_parameters
from stylegen.training import schedule
from stylegen.training.state import abstract_state

# Hours for 25,000 kimg by resolution, on as many V100 as COUNTS has.
PUBLISHED = {1024: (988, 526, 272, 158), 512: (597, 319, 168, 106), 256: (358, 221, 117, 80)}
COUNTS = (1, 2, 4, 8)
FITTED = (1, 2)
# The original's batches by number of GPUs; at resolutions not named, the last number.
BATCHES = {
    1: ({8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8}, 4),
    2: ({8: 256, 16: 128, 32: 64, 64: 32, 128: 16}, 8),
    4: ({8: 256, 16: 128, 32: 64, 64: 32}, 16),
    8: ({8: 256, 16: 128, 32: 64, 64: 32}, 32),
}
V100_LINK = 60e9  # bytes/s that a sum over eight V100 gets from NVLink: assumed

FIXED = 0.01  # seconds of a step besides, on other machines: assumed
IMAGES = 4  # of a device, the fewest that fill a group
# (name, devices, bytes/s that a sum gets: assumed)
MACHINES = [
    ("8 GPUs, one host, NVLink", 8, 200e9),
    ("8 GPUs, one host, PCIe", 8, 10e9),
    ("TPU v4-32: 16 chips, 4 hosts", 16, 100e9),
    ("256 GPUs, 32 hosts, InfiniBand", 256, 50e9),
    ("256 GPUs, 32 hosts, Ethernet", 256, 5e9),
]


def load(path: str) -> Config:
    """The configuration of an experiment file."""
    spec = importlib.util.spec_from_file_location("experiment", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def gradient_bytes(config: Config) -> int:
    """Bytes that are summed over devices in a step, at most: parameters of stages to come need no sum."""
    state = abstract_state(config)
    return 4 * (count_parameters(state.g) + count_parameters(state.d))


def sums(gradients: int, devices: int, bandwidth: float) -> float:
    """Seconds of a step's sums in a ring, in which each device sends and receives nearly twice the gradients."""
    return 2 * (devices - 1) / devices * gradients / bandwidth


def original(resolution: int, gpus: int) -> Config:
    """The original's run at a resolution on so many GPUs."""
    config = load("configs/ffhq_1024.py")
    batches, rest = BATCHES[gpus]
    stages = {r: batches.get(r, rest) for r in config.stage_resolutions if r <= resolution}
    return dataclasses.replace(
        config, resolution=resolution, schedule=dataclasses.replace(config.schedule, batch=stages)
    )


def steps(config: Config) -> float:
    """Training steps of a whole run."""
    end = schedule.total_nimg(config)
    return sum(max(min(p.end, end) - p.start, 0) / p.batch_size for p in schedule.phases(config))


def fit(gradients: int) -> tuple[float, dict[int, float]]:
    """(fixed seconds of a step, seconds of an image by the run's resolution) of a V100; least squares."""
    rows, seconds = [], []
    for column, resolution in enumerate(PUBLISHED):
        for gpus in FITTED:
            config = original(resolution, gpus)
            row = np.zeros(1 + len(PUBLISHED))
            row[0], row[1 + column] = steps(config), schedule.total_nimg(config) / gpus
            hours = PUBLISHED[resolution][COUNTS.index(gpus)]
            # Divided by the hours: relative errors count, or the longest run alone would decide.
            rows.append(row / hours)
            seconds.append(3600 - steps(config) * sums(gradients, gpus, V100_LINK) / hours)
    fixed, *images = np.linalg.lstsq(np.array(rows), np.array(seconds), rcond=None)[0]
    return fixed, dict(zip(PUBLISHED, images, strict=True))


def check(gradients: int) -> None:
    """The model's hours beside the published ones."""
    fixed, images = fit(gradients)
    speeds = ", ".join(f"{1 / seconds:.1f} images/s at {resolution}" for resolution, seconds in images.items())
    print(f"V100, fitted: {1000 * fixed:.0f} ms of a step besides; over the whole run {speeds}")
    print("pixels  GPUs  published h  model h  model/published")
    for resolution, published in PUBLISHED.items():
        for gpus, hours in zip(COUNTS, published, strict=True):
            config = original(resolution, gpus)
            model = steps(config) * (fixed + sums(gradients, gpus, V100_LINK))
            model = (model + schedule.total_nimg(config) / gpus * images[resolution]) / 3600
            mark = "  fitted" if gpus in FITTED else ""
            print(f"{resolution:6} {gpus:5} {hours:12} {model:8.0f} {model / hours:16.2f}{mark}")


def predict(gradients: int, image_ms: list[float]) -> None:
    """Images/s and efficiency by how long one device takes for an image."""
    print(
        f"\nPredictions, {IMAGES} images on each device, {1000 * FIXED:.0f} ms of a step besides; images/s (efficiency)"
    )
    print(f"{'machine':32} {'batch':>5} {'sums ms':>8}" + "".join(f"{f'{ms:g} ms an image':>20}" for ms in image_ms))
    for name, devices, bandwidth in MACHINES:
        wait = sums(gradients, devices, bandwidth)
        cells = ""
        for ms in image_ms:
            alone = FIXED + IMAGES * ms / 1000
            cells += f"{f'{devices * IMAGES / (alone + wait):,.0f} ({alone / (alone + wait):.0%})':>20}"
        print(f"{name:32} {devices * IMAGES:5} {1000 * wait:8.1f}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_ms", type=float, nargs="+", default=[50, 20, 5], help="of one device, measured")
    options = parser.parse_args()
    gradients = gradient_bytes(load("configs/ffhq_1024.py"))
    print(f"Gradients of both networks: {gradients / 1e6:.0f} MB a step")
    check(gradients)
    predict(gradients, options.image_ms)


if __name__ == "__main__":
    main()
