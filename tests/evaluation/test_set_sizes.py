"""What is said of a value before it is measured."""

import pytest

from stylegen.evaluation.metric_names import parse
from stylegen.evaluation.set_sizes import describe, reals_taken, size_warnings


@pytest.mark.parametrize(
    ("name", "everything", "asked"),
    [
        ("fid1k", False, 1000),
        ("fid50k_full", False, 0),
        ("fid", False, 0),
        ("fid", True, 0),
        ("pr5k3", False, 5000),
        ("pr50k3_full", False, 0),
        ("dc", False, 10_000),
        ("dc", True, 0),
        ("swd8k", False, 8192),
        ("is50k", False, 0),
        ("ppl2k_wend", False, 0),
    ],
)
def test_the_reals_that_a_name_asks_for(name, everything, asked):
    metric = parse(name, everything=everything)
    assert metric.reals_asked_for == asked
    assert any("the name asks for" in note for note in size_warnings(metric, 50_000, max(0, asked - 1))) == (asked > 0)
    assert not any("the name asks for" in note for note in size_warnings(metric, 50_000, asked))


@pytest.mark.parametrize(
    ("name", "available", "text"),
    [
        ("pr300k3", 1000, "pr300k3: 300,000 fakes, 1,000 reals"),
        ("pr300k3", 10**6, "pr300k3: 300,000 fakes, 50,000 reals"),
        ("fid300", 1000, "fid300: 300 fakes, 300 reals"),
        ("fid50k_full", 70_000, "fid50k_full: 50,000 fakes, 70,000 reals"),
        ("is50k", 1000, "is50k: 50,000 fakes"),
        ("ppl2k_wend", 1000, "ppl2k_wend: 2,000 pairs of fakes"),
    ],
)
def test_the_images_that_a_metric_takes(name, available, text):
    metric = parse(name)
    assert describe(metric, metric.fakes, reals_taken(metric, available)) == text


@pytest.mark.parametrize(
    ("name", "fakes", "reals", "words"),
    [
        ("fid", 50_000, 70_000, None),
        ("fid", 50_000, 1_281_167, None),  # ImageNet: the usual protocol
        ("fid", 50_000, 5000, "50,000 fakes and 5,000 reals: the value depends on both numbers"),
        ("fid", 3000, 30_000, "3,000 fakes and 30,000 reals"),
        ("fid", 2048, 2048, "2048 samples are no more than the 2048 features"),
        ("pr", 100, 1000, "depends on both numbers"),
        ("kid", 50_000, 1000, None),  # it is unbiased
        ("kid", 50_000, 12, "subsets have 1,000 images, and the smaller set has 12"),
        ("swd", 100, 100, None),
        ("is50k", 50_000, 0, None),
    ],
)
def test_sizes_that_spoil_a_value(name, fakes, reals, words):
    notes = size_warnings(parse(name, everything=True), fakes, reals, 2048)
    assert (words is None) == (notes == [])
    assert words is None or any(words in note for note in notes)
