"""The speed of feature extraction, and the time of a whole FID.

    python benchmarks/metrics.py                       # ours: Inception and random_vgg, random weights
    ENV/bin/python benchmarks/metrics.py --other       # torch-fidelity's Inception, in an environment that has it
    python benchmarks/metrics.py --fid 5000            # a whole FID of so many images against as many

Weights are random, which makes no difference to the speed. The two are to be run one after the other on an otherwise
idle machine; each prints images a second, the best of several rounds. Where others use the machine too, put
``taskset -c 0`` before both commands and compare the CPU time an image, which is printed as well.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def best_rate(run: Callable[[np.ndarray], object], images: np.ndarray, rounds: int) -> tuple[float, float]:
    """Images a second, and CPU seconds an image, of the best of some rounds; one before them is not counted."""
    run(images)
    times = []
    for _ in range(rounds):
        started = time.perf_counter(), time.process_time()
        run(images)
        times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    wall, cpu_seconds = (min(column) for column in zip(*times, strict=True))
    return len(images) / wall, cpu_seconds / len(images)


def ours() -> dict[str, Callable[[np.ndarray], object]]:
    from stylegen.metrics.extractors import Extractor, open_extractor
    from stylegen.pretrained import inception
    from tests.references import inputs

    def forward(params, images):
        return {"features": inception.features(params, inception.preprocess(images))}

    params = inception.fold(inputs.tensors(inception.tensor_shapes()))
    return {
        "inception": Extractor("inception", inception.FEATURES, {}, forward, params),
        "random_vgg": open_extractor("random_vgg"),
    }


def torch_fidelity() -> dict[str, Callable[[np.ndarray], object]]:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.nn.Module.load_state_dict = lambda *_: None  # it stays as it was initialized
    torch.load = lambda *_, **__: {}
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path="none")

    def run(images: np.ndarray) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))[0].numpy()

    return {"torch-fidelity inception": run}


def whole_fid(n: int, resolution: int) -> None:
    from stylegen.data.toy.source import ToySource
    from stylegen.evaluation import metric_names
    from stylegen.evaluation.image_sets import SourceSet
    from stylegen.evaluation.measure import measure

    source = ToySource(2 * n, resolution)
    images = SourceSet(source, resolution, False, "center-crop")
    for name, extractor in ours().items():
        started = time.perf_counter()
        (result,) = measure([metric_names.parse(f"fid{n}")], images, images, extractor)  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
        print(f"{name:<26} FID of {n} images against {n}: {seconds:.1f} s (to itself: {result.value:.2g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", action="store_true", help="torch-fidelity instead of ours")
    parser.add_argument("--fid", type=int, default=0, metavar="N", help="time a whole FID of N images instead")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, images of {options.resolution} pixels, batches of {options.batch}")
    if options.fid:
        whole_fid(options.fid, options.resolution)
        return
    shape = (options.batch, options.resolution, options.resolution, 3)
    images = np.random.RandomState(0).randint(0, 256, shape, np.uint8)
    for name, run in (torch_fidelity() if options.other else ours()).items():
        rate, cpu_seconds = best_rate(run, images, options.rounds)
        print(f"{name:<26} {rate:8.2f} images/s, {cpu_seconds:.3f} CPU seconds an image", flush=True)


if __name__ == "__main__":
    main()
