"""Compute the numbers of torch-fidelity and pytorch-fid that tests/metrics/test_reference_metrics.py compares with.

    make reference-metrics        # or, in an environment with torch, torchvision, torch-fidelity and pytorch-fid:
    ENV/bin/python tests/references/make_metrics.py

All weights are random and drawn from seeds (``inputs.py``), statistics of batch normalization included; nothing is
downloaded. Writes tests/references/metrics: torch.npz with the numbers, and two small state dicts, one of each form
in which torch saves them. Takes some minutes.
"""

import importlib.metadata
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pytorch_fid.inception
import torch_fidelity.sample_similarity_lpips as lpips
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from tests.references import inputs

OUT = Path(__file__).with_name("metrics")


def random_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The random weights that a network needs, by the names of its own."""
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items() if value.is_floating_point()}
    state = {name: torch.from_numpy(value) for name, value in inputs.tensors(shapes).items()}
    return {**module.state_dict(), **state}


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def saved(state: dict[str, torch.Tensor], folder: str) -> str:
    path = f"{folder}/state.pth"
    torch.save(state, path)
    return path


def inception(folder: str) -> FeatureExtractorInceptionV3:
    """torch-fidelity's Inception with random weights."""
    # Its constructor only makes the layers before it loads a file, so that the first file may hold anything.
    loading = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_: None
    blank = FeatureExtractorInceptionV3("blank", ["2048"], feature_extractor_weights_path=saved({}, folder))
    torch.nn.Module.load_state_dict = loading
    path = saved(random_state(blank), folder)
    return FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=path)


def in_batches(network: torch.nn.Module, images: np.ndarray) -> list[torch.Tensor]:
    batches = [network(batch) for batch in channels_first(images).split(16)]
    return [torch.cat(column) for column in zip(*batches, strict=True)]


def distances(fakes: torch.Tensor, reals: torch.Tensor) -> dict[str, float]:
    """FID, KID, precision and recall by torch-fidelity."""
    common = {"verbose": False, "save_cpu_ram": False}
    fid = fid_statistics_to_metric(fid_features_to_statistics(fakes), fid_features_to_statistics(reals), False)
    # In float64: its sums would lose the digits that are compared.
    kid = kid_features_to_metric(
        fakes.double(),
        reals.double(),
        kid_subsets=inputs.KID_SUBSETS,
        kid_subset_size=inputs.KID_SIZE,
        rng_seed=inputs.KID_SEED,
        **common,
    )
    prc = prc_features_to_metric(fakes, reals, prc_neighborhood=3, prc_batch_size=10_000, **common)
    return {
        "fid": fid["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
        "precision": prc["precision"],
        "recall": prc["recall"],
    }


def of_inception(outputs: dict[str, np.ndarray], folder: str) -> None:
    network = inception(folder)
    for name in ("small", "large"):
        features, logits = network(channels_first(inputs.images(**getattr(inputs, name.upper()))))
        outputs[f"inception_{name}"], outputs[f"logits_{name}"] = features.numpy(), logits.numpy()
    fakes, _ = in_batches(network, inputs.images(**inputs.FAKES))
    reals, _ = in_batches(network, inputs.images(**inputs.REALS))
    outputs |= {f"images_{name}": np.float64(value) for name, value in distances(fakes, reals).items()}
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: network.state_dict()
    other = pytorch_fid.inception.InceptionV3().eval()
    exact = channels_first(inputs.images(**inputs.EXACT)).float() / 255
    outputs["pytorch_fid_exact"] = other(exact)[0][:, :, 0, 0].numpy()


def of_vgg(outputs: dict[str, np.ndarray], folder: str) -> None:
    import torchvision

    state = random_state(torchvision.models.vgg16(weights=None))
    network = FeatureExtractorVGG16("vgg", ["fc2_relu"], feature_extractor_weights_path=saved(state, folder))
    small = channels_first(inputs.images(**inputs.SMALL))
    outputs["vgg_small"] = network(small)[0].numpy()

    vgg = torchvision.models.vgg16(weights=None)
    vgg.load_state_dict(state)
    lpips.torchvision_load_pretrained_vgg16 = lambda **_: vgg
    linear = {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate((64, 128, 256, 512, 512))}
    lpips.load_state_dict_from_url = lambda *_, **__: {
        name: torch.from_numpy(value) for name, value in inputs.tensors(linear).items()
    }
    similarity = lpips.SampleSimilarityLPIPS("lpips")
    outputs["lpips_small"] = similarity(small, small.roll(1, 0)).numpy()


def of_features(outputs: dict[str, np.ndarray]) -> None:
    fakes, reals = (torch.from_numpy(inputs.features(**x)) for x in (inputs.FAKE_FEATURES, inputs.REAL_FEATURES))
    outputs |= {f"features_{name}": np.float64(value) for name, value in distances(fakes, reals).items()}
    score = isc_features_to_metric(fakes, splits=10, shuffle=False)
    outputs["features_is"] = np.float64(score["inception_score_mean"])


def state_dicts() -> None:
    """Small files of both forms, with what real ones have: buffers, integers, and views of one storage."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    state = network.state_dict()
    base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    state |= {"transposed": base.T, "part": base[1:3, 2:5], "half": torch.tensor([1.5, -2.0], dtype=torch.float16)}
    torch.save(state, OUT / "zip.pt")
    torch.save(state, OUT / "legacy.pth", _use_new_zipfile_serialization=False)
    np.savez(OUT / "state.npz", **{name: value.numpy() for name, value in state.items()})


@torch.inference_mode()
def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    state_dicts()
    outputs: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        of_features(outputs)
        of_inception(outputs, folder)
        of_vgg(outputs, folder)
    packages = ("torch", "torch-fidelity", "pytorch-fid")
    outputs["versions"] = np.array([f"{name} {importlib.metadata.version(name)}" for name in packages])
    np.savez_compressed(OUT / "torch.npz", **outputs)
    for name, value in outputs.items():
        print(name, value if value.size == 1 else value.shape)


if __name__ == "__main__":
    main()
