"""PPL of generators whose path lengths are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.metrics import MetricError, ppl
from stylegen.metrics.ppl import path_ends, prepare, summarize

D, SIDE = 6, 4
LINEAR = np.random.default_rng(1).standard_normal((D, SIDE * SIDE * 3))


def squared_distance(a, b):
    return jnp.sum(jnp.square(a - b), axis=(1, 2, 3))


def draw(w):
    # In float64, for the finite difference of a linear map is exact then.
    return (w.astype(np.float64) @ LINEAR).reshape(-1, SIDE, SIDE, 3)


def numpy_distance(a, b):
    return np.square(a - b).sum(axis=(1, 2, 3))


@pytest.fixture
def exact(monkeypatch):
    """Pictures and distances in float64: what is tested is the path, not rounding."""
    monkeypatch.setattr(ppl, "prepare", lambda pictures, crop: pictures)


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_linear_generator_in_w(exact, sampling):
    """w = 2z, straight steps: the squared speed is |2 (z1 - z0) A|^2 wherever on the path."""
    found = ppl.path_length(
        lambda z: 2 * z, draw, numpy_distance, path_ends(40, D, sampling=sampling), space="w", epsilon=0.5
    )
    speeds = np.concatenate(
        [np.square(2 * (z1 - z0) @ LINEAR).sum(axis=1) for z0, z1, _ in path_ends(40, D, sampling="end")]
    )
    expected = np.sort(speeds)[0:40]  # percentiles 1 and 99 of forty are the extremes, which are kept
    assert found.kept == 40
    assert found.mean == pytest.approx(expected.mean(), rel=1e-5)


def test_great_circles_in_z(exact):
    """For the identity, spherical steps have the speed of the angle times the radius, whatever t."""
    found = ppl.path_length(
        lambda z: z, lambda w: w.astype(np.float64).reshape(-1, 1, 1, D), numpy_distance,
        path_ends(30, D, sampling="full"), space="z", epsilon=1e-2,
    )  # fmt: skip
    speeds = []
    for z0, z1, _ in path_ends(30, D, sampling="full"):
        cosine = (z0 * z1).sum(axis=1) / np.linalg.norm(z0, axis=1) / np.linalg.norm(z1, axis=1)
        speeds.append(D * np.arccos(cosine) ** 2)
    assert found.mean == pytest.approx(np.concatenate(speeds).mean(), rel=1e-4)


def test_full_and_end_differ_for_a_generator_that_is_not_linear(exact):
    """w -> w^2: the speed depends on where on the path one is; at its beginning it is known."""
    results = {
        sampling: ppl.path_length(
            lambda z: z, lambda w: np.square(w.astype(np.float64)).reshape(-1, 1, 1, D), numpy_distance,
            path_ends(200, D, sampling=sampling), space="w", epsilon=1e-3,
        ).mean
        for sampling in ("full", "end")
    }  # fmt: skip
    ends = [np.concatenate(x) for x in zip(*path_ends(200, D, sampling="full"), strict=True)]

    def mean_speed(t):
        place = ends[0] + (ends[1] - ends[0]) * t
        return summarize(np.square(2 * place * (ends[1] - ends[0])).sum(axis=1)).mean

    assert results["end"] == pytest.approx(mean_speed(0), rel=1e-2)
    assert results["full"] == pytest.approx(mean_speed(ends[2][:, None]), rel=1e-2)
    assert results["end"] > 1.3 * results["full"]


def test_outliers_are_left_out():
    lengths = np.concatenate([np.full(100, 5.0), [1e9], np.full(100, 7.0), [-1e9]])
    found = summarize(lengths)
    assert found.mean == pytest.approx(6) and found.kept == 200 and found.std == pytest.approx(1)


def test_ends_do_not_depend_on_the_batch():
    whole, parts = (
        [np.concatenate(x) for x in zip(*path_ends(10, 3, sampling="full", batch=b), strict=True)] for b in (10, 3)
    )
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert ((whole[2] >= 0) & (whole[2] < 1)).all() and len(set(whole[2])) == 10


def test_steps_in_z_are_on_the_sphere_of_typical_latents(exact):
    """Orthogonal latents of other lengths: what is mapped has length sqrt(2), and turns a right angle per unit of t."""
    z0, z1, places, mapped = np.array([[3.0, 0]]), np.array([[0, 0.1]]), np.array([0.0, 0.5]), []
    ends = ((z0, z1, t[None]) for t in places)

    def mapping(z):
        mapped.append(z[0])
        return z

    ppl.path_length(
        mapping, lambda w: w.reshape(-1, 1, 1, 2).astype(np.float64), numpy_distance, ends, space="z", epsilon=0.5
    )
    root = np.sqrt(2)
    np.testing.assert_allclose(mapped, [[root, 0], [1, 1], [1, 1], [0, root]], atol=1e-12)


@pytest.mark.parametrize("space", ["z", "w"])
def test_latents_of_one_number_have_finite_lengths(space):
    """Two of them are parallel or opposite, so no plane is theirs."""
    ends = path_ends(64, 1, sampling="full")
    lengths = ppl.path_length(np.tanh, lambda w: w.reshape(-1, 1, 1, 1), numpy_distance, ends, space=space)
    assert np.isfinite(lengths.mean) and lengths.mean > 0


def test_crop_and_size():
    picture = np.arange(512 * 512, dtype=np.float32).reshape(1, 512, 512, 1)
    small = prepare(picture)
    assert small.shape == (1, 256, 256, 1)
    assert small[0, 3, 5, 0] == pytest.approx(picture[0, 6:8, 10:12].mean())
    face = prepare(picture[:, :16, :16], "face")
    np.testing.assert_array_equal(face, picture[:, 6:14, 4:12])


@pytest.mark.usefixtures("unchecked")
def test_refusals():
    with pytest.raises(MetricError, match="must be none or face"):
        prepare(np.zeros((1, 8, 8, 1), np.float32), "car")
    with pytest.raises(MetricError, match="must be z or w"):
        ppl.path_length(lambda z: z, draw, squared_distance, iter(()), space="v")
    with pytest.raises(MetricError, match="at least one pair"):
        ppl.path_length(lambda z: z, draw, squared_distance, iter(()), space="w")
    with pytest.raises(MetricError, match="must be full or end"):
        next(path_ends(1, 2, sampling="begin"))
