#!/usr/bin/env python3
"""Speed of style transfer, against the same network in channels-last PyTorch.

    python benchmarks/style_transfer.py                                       # the built-in networks, 512 pixels
    python benchmarks/style_transfer.py --network vgg19 --resolution 256      # VGG-19 and its decoder
    python benchmarks/style_transfer.py --against 'ENV/bin/python benchmarks/style_transfer.py --torch
        --network {network} --resolution {resolution} --batch {batch} --steps {steps}'

Timed is a transfer of uint8 contents to uint8 results with the style's statistics at hand: encoding, AdaIN, decoding.
AdaIN is that of the last features; the built-in networks exchange statistics at three more scales, which is not timed.
Weights are random, which makes no difference to the speed. ``--torch`` runs the other program, in an environment that
has torch. Where others use the machine too, compare the CPU seconds an image. The last line is one JSON object.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from benchmarks import against, common

# Channels of the encoder's convolutions by resolution. The program of PyTorch, which has no JAX, needs them too.
NETWORKS = {
    "small": ((64, 64), (128, 128), (256,)),
    "autoencoder": ((16, 16), (32, 32), (64,)),
    "vgg19": ((64, 64), (128, 128), (256, 256, 256, 256), (512,)),
}
KEYS = ("stylize_img_per_s", "stylize_img_per_processor_s")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = common.parser(__doc__)
    p.add_argument("--network", choices=NETWORKS, default="small")
    p.add_argument("--resolution", type=int, default=512, help="pixels a side of content and result")
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--torch", action="store_true", help="the same network in channels-last PyTorch instead")
    against.add_options(p)
    a = p.parse_args(argv)
    if a.resolution % 8 or a.resolution < 16:
        raise common.BenchmarkError(f"--resolution {a.resolution}: must be a multiple of 8, and at least 16.")
    return a


def gflop(network: str, resolution: int) -> float:
    """Of a transfer, by definition: two operations for a multiplication and an addition; a decoder costs as much."""
    total, channels = 2 * 9 * resolution**2, 3  # the 1x1 convolution of the pixels
    stages = NETWORKS[network]
    for i, stage in enumerate(stages):
        for out in stage:
            total += 2 * 2 * 9 * channels * out * (resolution // 2**i) ** 2
            channels = out
    return total / 1e9


def ours(a: argparse.Namespace) -> Callable[[np.ndarray], Any]:
    import jax
    import jax.numpy as jnp

    from stylegen.runtime import compilation
    from stylegen.style_transfer import losses, networks, transfer

    stages = NETWORKS[a.network]
    encoder = networks.random_params(networks.encoder_shapes(stages), 0)
    decoder = networks.random_params(networks.decoder_shapes(stages), 1)
    mean = jnp.ones((a.batch, stages[-1][-1]))

    def forward(encoder: Any, decoder: Any, images: Any) -> Any:
        features = networks.encode(encoder, stages, images.astype(jnp.float32) / 255)[-1]
        return transfer.to_uint8(networks.decode(decoder, stages, losses.adain(features, mean, mean, "unbiased")))

    run = compilation.jit(precision=None)(forward)
    encoder, decoder = jax.device_put((encoder, decoder))
    return lambda images: jax.block_until_ready(run(encoder, decoder, images))


def theirs(a: argparse.Namespace) -> Callable[[np.ndarray], Any]:
    import torch
    from torch import nn

    torch.set_num_threads(common.cores())
    stages = NETWORKS[a.network]
    encoder: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    decoder: list[nn.Module] = []
    channels = 3
    for i, stage in enumerate(stages):
        encoder += [nn.MaxPool2d(2, 2, ceil_mode=True)] if i else []
        decoder += [nn.Upsample(scale_factor=2, mode="nearest")] if i else []  # in reverse
        for out in stage:
            encoder += [nn.ReflectionPad2d(1), nn.Conv2d(channels, out, 3), nn.ReLU(inplace=True)]
            decoder += [nn.ReLU(inplace=True), nn.Conv2d(out, channels, 3), nn.ReflectionPad2d(1)]
            channels = out
    first = nn.Sequential(*encoder).to(memory_format=torch.channels_last).eval()
    second = nn.Sequential(*decoder[:0:-1]).to(memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def run(images: np.ndarray) -> Any:
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255  # channels-last already
        features = first(x)
        flat = features.flatten(2)
        mean, std = flat.mean(2)[..., None, None], (flat.var(2) + 1e-5).sqrt()[..., None, None]
        result = second((features - mean) / std + 1)
        return (result * 255 + 0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()

    return run


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Time one of the two programs in this process."""
    run = (theirs if a.torch else ours)(a)
    shape = (a.batch, a.resolution, a.resolution, 3)
    images = np.random.RandomState(0).randint(0, 256, shape, np.uint8)
    walls, cpu_seconds = [], []
    for i in range(a.warmup + a.steps):
        start = time.perf_counter(), time.process_time()
        run(images)
        if i >= a.warmup:
            walls.append(time.perf_counter() - start[0])
            cpu_seconds.append(time.process_time() - start[1])
    speed = a.batch / statistics.median(walls)
    result = {
        "framework": "torch" if a.torch else "stylegen",
        "network": a.network,
        "resolution": a.resolution,
        "batch": a.batch,
        "stylize_img_per_s": speed,
        "stylize_img_per_s_best": a.batch / min(walls),
        "stylize_img_per_processor_s": a.batch / statistics.median(cpu_seconds),
        "gflop_per_img": gflop(a.network, a.resolution),
        "gflop_per_s": speed * gflop(a.network, a.resolution),
    }
    if not a.torch:
        result["machine"] = common.machine()
        result["peak_gflop_per_s"] = common.matmul_peak() / 1e9
    return result


def main() -> dict[str, Any]:
    a = parse()
    if a.against is None:
        result = measure(a)
    else:
        mine = ["--network", a.network, "--resolution", str(a.resolution), "--batch", str(a.batch)]
        mine += ["--steps", str(a.steps), "--warmup", str(a.warmup)]
        compared = against.run_pairs(common.script("style_transfer", *mine), against.fill(a.against, a), a.pairs, KEYS)
        print(against.report(compared))
        result = {**against.medians(compared["ours"]), "against": against.brief(compared)}
    if "machine" in result:
        print(common.describe(result["machine"]))
    print(
        f"{result['network']} at {result['resolution']} pixels: {result['stylize_img_per_s']:.2f} images/s, "
        f"{result['gflop_per_s']:.1f} of {result.get('peak_gflop_per_s', float('nan')):.0f} GFLOP/s"
    )
    common.write_json(a.json, result)
    return result


if __name__ == "__main__":
    common.main(main)
