"""FID's moments and distance, KID and IS against closed forms and brute force."""

import numpy as np
import pytest

from stylegen.metrics import MetricError
from stylegen.metrics.fid import frechet_distance, trace_root_product
from stylegen.metrics.inception_score import inception_score
from stylegen.metrics.kid import draw_subsets, kernel_distance, squared_mmd
from stylegen.metrics.moments import Moments


def exact(mean, covariance, count=10_000) -> Moments:
    """Moments that are given, not estimated."""
    return Moments.from_arrays(
        {"count": np.array(count), "mean": np.asarray(mean, float), "scatter": np.asarray(covariance) * (count - 1)}
    )


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def random_covariance(rng, d):
    a = rng.standard_normal((d, d))
    return a @ a.T


def test_streaming_moments_are_those_of_two_passes(rng):
    # Far from zero and with little spread: sums of squares in float64 would already lose 8 digits here.
    x = (rng.standard_normal((3000, 7)) * 1e-2 + 1e3).astype(np.float32)
    moments = Moments.of(np.split(x, [1, 2, 500, 501, 1300]))
    wide = x.astype(np.float64)
    assert moments.count == 3000
    np.testing.assert_allclose(moments.mean, wide.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance, np.cov(wide, rowvar=False), rtol=1e-9, atol=1e-17)


def test_moments_survive_a_file(rng, tmp_path):
    moments = Moments.of([rng.standard_normal((9, 4))])
    np.savez(tmp_path / "m.npz", **moments.as_arrays())
    with np.load(tmp_path / "m.npz") as arrays:
        again = Moments.from_arrays(dict(arrays))
    assert again.count == 9
    np.testing.assert_array_equal(again.covariance, moments.covariance)


def test_frechet_distance_of_gaussians_that_commute():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    expected = (1 + 4 + 9) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    rotation, _ = np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))
    first, second = (rotation @ np.diag(x) @ rotation.T for x in (a, b))
    assert frechet_distance(exact([1, 2, 3], first), exact([0, 0, 0], second)) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_covariances_that_do_not_commute(rng):
    """tr((AB)^(1/2)) of two-by-two matrices is sqrt(tr(AB) + 2 sqrt(det(AB)))."""
    a, b = random_covariance(rng, 2), random_covariance(rng, 2)
    assert np.abs(a @ b - b @ a).max() > 0.1
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * root
    assert frechet_distance(exact([0, 0], a), exact([0, 0], b)) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_is_zero_of_the_same_and_symmetric(rng):
    a, b = (Moments.of([rng.standard_normal((200, 6)) + i]) for i in range(2))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(a, b) > 5


def test_root_of_singular_covariances(rng):
    """Of rank 1, a = u u^T and b = v v^T, the trace of the root of a b is |u·v|."""
    u, v = rng.standard_normal((2, 50))
    assert trace_root_product(np.outer(u, u), np.outer(v, v)) == pytest.approx(abs(u @ v), rel=1e-7)


def test_fewer_samples_than_features_is_warned_of_and_still_right(rng):
    """The nonzero singular values of the small matrix of products give the same trace in another way."""
    x, y = rng.standard_normal((2, 20, 64))
    with pytest.warns(UserWarning, match=r"20 samples are no more than the 64 features"):
        distance = frechet_distance(Moments.of([x]), Moments.of([y]))
    a, b = ((z - z.mean(axis=0)) / np.sqrt(19) for z in (x, y))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    difference = x.mean(axis=0) - y.mean(axis=0)
    expected = difference @ difference + (a**2).sum() + (b**2).sum() - 2 * root
    assert distance == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("unchecked")
def test_moments_refuse_what_they_cannot_use(rng):
    with pytest.raises(MetricError, match=r"shape \(3,\); wanted \[N, D\]"):
        Moments().update(np.zeros(3))
    with pytest.raises(MetricError, match="not finite"):
        Moments().update(np.array([[1.0, np.nan]]))
    moments = Moments.of([rng.standard_normal((1, 3))])
    with pytest.raises(MetricError, match="have 2 numbers each; those before had 3"):
        moments.update(np.zeros((1, 2)))
    with pytest.raises(MetricError, match="at least 2 samples"):
        _ = moments.covariance
    with pytest.raises(MetricError, match="cannot be compared"):
        frechet_distance(exact([0], [[1]]), exact([0, 0], np.eye(2)))


def test_squared_mmd_is_the_sum_over_all_pairs(rng):
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)) + 1

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / 3 + 1) ** 3

    within = sum(kernel(z[i], z[j]) for z in (x, y) for i in range(5) for j in range(5) if i != j) / (5 * 4)
    across = sum(kernel(p, q) for p in x for q in y) / 25
    assert squared_mmd(x, y) == pytest.approx(within - 2 * across, rel=1e-12)


def test_kernel_distance_is_unbiased(rng):
    """Its mean over many sets of one distribution is 0; with the diagonal it would be far above (see below)."""
    estimates = [squared_mmd(*rng.standard_normal((2, 8, 3))) for _ in range(4000)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    diagonal = 2 * np.mean([(z @ z / 3 + 1) ** 3 for z in rng.standard_normal((4000, 3))]) / 8
    assert abs(np.mean(estimates)) < 4 * error < diagonal / 4


def test_kernel_distance_averages_over_the_given_subsets(rng):
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((40, 4)) + 0.5
    rows, columns = draw_subsets(30, 3, 10, seed=1), draw_subsets(40, 3, 10, seed=2)
    expected = np.mean([squared_mmd(x[r], y[c]) for r, c in zip(rows, columns, strict=True)])
    assert kernel_distance(x, y, rows, columns) == pytest.approx(expected, rel=1e-12)


def test_subsets_have_no_row_twice_and_fit_small_sets():
    drawn = draw_subsets(12, 5, 10, seed=0)
    assert drawn.shape == (5, 10) and drawn.max() < 12
    assert all(len(set(row)) == 10 for row in drawn.tolist())
    assert sorted(draw_subsets(4, 1, 10, seed=0)[0]) == [0, 1, 2, 3]
    with pytest.raises(MetricError, match="at least 2 images"):
        draw_subsets(1, 1, 10, seed=0)


def test_inception_score_of_known_probabilities():
    """Certain and evenly spread over k classes: k. The same for all, however uncertain: 1."""
    certain = np.tile(np.eye(4) * 200, (25, 1))
    mean, deviation = inception_score(certain, splits=5)
    assert mean == pytest.approx(4, rel=1e-9) and deviation == pytest.approx(0, abs=1e-9)
    assert inception_score(np.tile([[1.0, 2.0, 3.0]], (10, 1)), splits=2)[0] == pytest.approx(1, rel=1e-12)


def test_inception_score_of_two_classes_by_hand():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.7, 0.3]])
    scores = []
    for part in (p[:2], p[2:]):
        mean = part.mean(axis=0)
        scores.append(np.exp((part * np.log(part / mean)).sum(axis=1).mean()))
    # A constant added to all logits of an image changes nothing.
    mean, deviation = inception_score(np.log(p) + np.array([[3.0], [-700.0], [0.0], [900.0]]), splits=2)
    assert mean == pytest.approx(np.mean(scores), rel=1e-9)
    assert deviation == pytest.approx(np.std(scores), rel=1e-9)


def test_inception_score_needs_an_image_a_part():
    with pytest.raises(MetricError, match="3 images cannot be split into 10 parts"):
        inception_score(np.zeros((3, 2)))
