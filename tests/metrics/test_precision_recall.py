"""Precision, recall, density and coverage against loops over all pairs."""

import numpy as np
import pytest

from stylegen.metrics import MetricError
from stylegen.metrics import precision_recall as neighbors
from stylegen.metrics.precision_recall import density_coverage, precision_recall


def distance(a, b):
    return np.sqrt(((a - b) ** 2).sum())


def radius(points, i, k):
    return sorted(distance(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]


def share_within(points, centres, k):
    radii = [radius(centres, i, k) for i in range(len(centres))]
    return np.mean([any(distance(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points])


@pytest.fixture
def sets():
    rng = np.random.default_rng(2)
    # Far from zero, as features are: distances from products must not cancel.
    return rng.standard_normal((40, 3)) * 0.6 + 100.5, rng.standard_normal((50, 3)) + 100


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("block", [2048, 7])
def test_precision_and_recall(sets, k, block, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK", block)
    fakes, reals = sets
    precision, recall = precision_recall(fakes, reals, k)
    assert precision == pytest.approx(share_within(fakes, reals, k), abs=1e-12)
    assert recall == pytest.approx(share_within(reals, fakes, k), abs=1e-12)
    assert 0.1 < recall < precision and (k > 1 or precision < 1)


@pytest.mark.parametrize("block", [2048, 7])
def test_density_and_coverage(sets, block, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK", block)
    fakes, reals = sets
    radii = [radius(reals, i, 2) for i in range(len(reals))]
    inside = np.array([[distance(f, r) <= radii[i] for i, r in enumerate(reals)] for f in fakes])
    density, coverage = density_coverage(fakes, reals, 2)
    assert density == pytest.approx(inside.sum() / (2 * len(fakes)), rel=1e-12)
    assert coverage == pytest.approx(inside.any(axis=0).mean(), abs=1e-12)
    assert density > 1  # the fakes are denser, which coverage and precision do not show


def test_identical_sets_and_sets_far_apart(sets):
    fakes, reals = sets
    assert precision_recall(reals, reals) == (1, 1)
    assert density_coverage(reals, reals)[1] == 1
    assert precision_recall(fakes + 50, reals) == (0, 0)
    assert density_coverage(fakes + 50, reals) == (0, 0)


def test_a_collapsed_generator_has_precision_without_recall(sets):
    _, reals = sets
    rng = np.random.default_rng(0)
    precision, recall = precision_recall(reals[:1] + rng.standard_normal((40, 3)) * 1e-3, reals)
    assert precision == 1 and recall == pytest.approx(1 / len(reals))


@pytest.mark.usefixtures("unchecked")
def test_too_few_images(sets):
    fakes, reals = sets
    with pytest.raises(MetricError, match=r"k = 3 nearest neighbors need more than 3 images of each kind; there are 3"):
        precision_recall(fakes[:3], reals)
    with pytest.raises(MetricError, match="cannot be compared"):
        density_coverage(fakes[:, :2], reals)
