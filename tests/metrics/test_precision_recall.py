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


def exact_radii(points, k):
    squares = np.square(points[:, None] - points[None]).sum(-1)
    return np.sort(squares, axis=1)[:, k]  # the 0th is its distance to itself


@pytest.mark.parametrize("tightness", [1, 200, 2000])
@pytest.mark.parametrize("collapsed", [False, True])
def test_clusters_far_tighter_than_they_are_apart(tightness, collapsed):
    """|x|^2 + |y|^2 - 2xy in float32 knows nothing of distances within them."""
    rng = np.random.default_rng(4)
    places = rng.standard_normal((4, 8)) * tightness
    reals = (places[rng.integers(0, 4, 240)] + 0.3 * rng.standard_normal((240, 8))).astype(np.float32)
    of_fakes = places[:1] if collapsed else places[rng.integers(0, 3, 200)]
    fakes = (of_fakes + 0.3 * rng.standard_normal((200, 8))).astype(np.float32)
    x, y = fakes.astype(np.float64), reals.astype(np.float64)
    squares = np.square(x[:, None] - y[None]).sum(-1)
    near_reals, near_fakes = squares <= exact_radii(y, 3)[None], squares <= exact_radii(x, 3)[:, None]
    expected = near_reals.any(axis=1).mean(), near_fakes.any(axis=0).mean()
    assert precision_recall(fakes, reals, 3) == pytest.approx(expected, abs=1e-12)
    assert 0.05 < expected[0] < 1
    expected = near_reals.sum() / (3 * 200), near_reals.any(axis=0).mean()
    assert density_coverage(fakes, reals, 3) == pytest.approx(expected, abs=1e-12)


def test_copies_lie_on_the_edge_of_balls_and_count():
    """Of sets that are the same, each ball has its own center and k neighbors, the last of them on its edge."""
    features = np.random.default_rng(5).standard_normal((60, 16)).astype(np.float32) + 10
    assert density_coverage(features, features.copy(), 5)[0] == pytest.approx(6 / 5)


def test_few_pairs_are_computed_twice(monkeypatch):
    rng, counted = np.random.default_rng(6), []

    def counting(x, rows, y, columns, exact=neighbors._squared_distances):
        counted.append(len(rows))
        return exact(x, rows, y, columns)

    monkeypatch.setattr(neighbors, "_squared_distances", counting)
    precision_recall(*np.abs(rng.standard_normal((2, 400, 512))).astype(np.float32))
    assert sum(counted) < 0.02 * 4 * 400**2


@pytest.mark.usefixtures("unchecked")
def test_too_few_images(sets):
    fakes, reals = sets
    with pytest.raises(MetricError, match=r"k = 3 nearest neighbors need more than 3 images of each kind; there are 3"):
        precision_recall(fakes[:3], reals)
    with pytest.raises(MetricError, match="cannot be compared"):
        density_coverage(fakes[:, :2], reals)
