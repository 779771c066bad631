"""Metrics of arrays and iterators."""

import numpy as np
import pytest

from stylegen.data.toy.bedrooms import render
from stylegen.evaluation import EvaluationError
from stylegen.evaluation.compare import compare
from stylegen.metrics.swd import PatchSampler
from stylegen.metrics.swd import compare as compare_patches

FAKES, REALS = render(range(24), 16), render(range(100, 130), 16)


def test_arrays_iterators_and_files_give_the_same(tmp_path):
    np.save(tmp_path / "fakes.npy", FAKES)
    results = [
        compare(fakes, reals, "swd,swd8")
        for fakes, reals in (
            (FAKES, REALS),
            (iter(np.array_split(FAKES, 5)), (REALS[i : i + 1] for i in range(len(REALS)))),
            (tmp_path / "fakes.npy", REALS),
        )
    ]
    assert set(results[0]) == {"swd", "swd8"} and results[0]["swd"] > 0
    assert results[1] == results[0] == results[2]
    assert compare(FAKES, iter([FAKES]), "swd")["swd"] < results[0]["swd"]


def test_it_is_the_metric_of_these_images():
    """Of all images in any order: the same as from the metric's own functions."""
    samplers = [PatchSampler(16, 3, seed) for seed in (0, 1)]
    order = [np.random.RandomState(0).permutation(len(x))[:24] for x in (FAKES, REALS)]
    for sampler, images, indices in zip(samplers, (FAKES, REALS), order, strict=True):
        sampler.update(images[indices])
    expected = np.mean(list(compare_patches(*samplers, 0).values()))
    assert compare(iter([FAKES]), REALS, "swd")["swd"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "images, metrics, message",
    [
        (iter([]), "swd", "images: there are no images"),
        (iter([FAKES, render(range(4), 8)]), "swd", r"not all of one size \(\(8, 8, 3\) and \(16, 16, 3\)\)"),
        (iter([FAKES / 255]), "swd", "a batch is float64"),
        (FAKES / 255, "swd", "images holds float64"),
        (FAKES, "ppl_wend", "path lengths are of a generator"),
        (FAKES, "fud", "there is no such"),
        ("nowhere", "swd", "there is no such folder or file"),
    ],
)
def test_inputs_that_are_no_images(images, metrics, message):
    with pytest.raises(EvaluationError, match=message):
        compare(images, REALS, metrics)
