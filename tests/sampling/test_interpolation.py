"""Straight and spherical paths against their definitions."""

import numpy as np
import pytest

from stylegen.sampling import interpolation


def vectors(n: int, size: int = 24) -> np.ndarray:
    """Vectors [n, size] in random directions, each longer than the one before."""
    lengths = np.arange(1, n + 1, dtype=np.float32)[:, None]
    return np.random.default_rng(n).normal(size=(n, size)).astype(np.float32) * lengths


def angle(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_interpolate_is_linspace_and_keeps_shape_and_dtype():
    a, b = np.ones((3, 2), np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    points = interpolation.interpolate(a, b, n=5)
    assert points.shape == (5, 3, 2) and points.dtype == np.float32
    np.testing.assert_allclose(points, np.linspace(a, b, 5), atol=1e-6)


@pytest.mark.parametrize("between", [interpolation.interpolate, interpolation.slerp])
def test_the_ends_are_exact(between):
    a, b = vectors(2)
    points = between(a, b, n=7)
    np.testing.assert_array_equal(points[0], a)
    np.testing.assert_array_equal(points[-1], b)


def test_slerp_turns_at_constant_speed_in_the_plane_of_its_ends_and_its_length_is_linear():
    a, b = vectors(2)
    points = interpolation.slerp(a, b, n=9)
    steps = [angle(p, q) for p, q in zip(points[:-1], points[1:], strict=True)]
    np.testing.assert_allclose(steps, angle(a, b) / 8, rtol=1e-4)
    lengths = np.linspace(np.linalg.norm(a), np.linalg.norm(b), 9)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), lengths, rtol=1e-5)
    assert np.linalg.matrix_rank(points, tol=1e-3) == 2


def test_slerp_keeps_the_length_that_a_straight_line_leaves():
    a = np.array([1, 0, 0], np.float32)
    b = np.array([0, 1, 0], np.float32)
    np.testing.assert_allclose(interpolation.slerp(a, b, 3)[1], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-7)
    np.testing.assert_allclose(interpolation.interpolate(a, b, 3)[1], [0.5, 0.5, 0], atol=1e-7)


def test_slerp_treats_every_row_by_itself():
    a, b = vectors(3), vectors(3)[::-1].copy()
    together = interpolation.slerp(a, b, n=4)
    assert together.shape == (4, 3, 24)
    for i in range(3):
        np.testing.assert_allclose(together[:, i], interpolation.slerp(a[i], b[i], n=4), atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1.0 + 1e-7, 3.0])
def test_slerp_between_parallel_vectors_is_straight(factor):
    (a,) = vectors(1)
    points = interpolation.slerp(a, a * np.float32(factor), n=5)
    np.testing.assert_allclose(points, np.linspace(a, a * factor, 5), rtol=1e-5, atol=1e-5)


def test_slerp_between_opposite_vectors_is_half_a_turn():
    (a,) = vectors(1)
    points = interpolation.slerp(a, -a, n=5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), np.linalg.norm(a), rtol=1e-5)
    steps = [angle(p, q) for p, q in zip(points[:-1], points[1:], strict=True)]
    np.testing.assert_allclose(steps, np.pi / 4, rtol=1e-4)


def test_slerp_from_zero_is_finite():
    assert np.isfinite(interpolation.slerp(np.zeros(4, np.float32), np.ones(4, np.float32), n=5)).all()


@pytest.mark.parametrize("kind", ["lerp", "slerp"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_path_meets_its_points_and_has_the_promised_length(kind, loop):
    points = vectors(4)
    walked = list(interpolation.walk(points, frames=6, loop=loop, kind=kind))
    assert len(walked) == interpolation.num_frames(4, 6, loop) == (24 if loop else 19)
    for i in range(4):
        np.testing.assert_array_equal(walked[6 * i], points[i])


def test_a_loop_closes_without_a_jump_or_a_pause():
    points = vectors(3)
    walked = list(interpolation.walk(points, frames=5, loop=True, kind="lerp"))
    last_step, difference = walked[0] - walked[-1], points[0] - points[2]
    np.testing.assert_allclose(last_step, difference / 5, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: interpolation.interpolate(np.zeros(3), np.zeros(4), 3), "must be alike"),
        (lambda: interpolation.slerp(np.zeros(3), np.zeros(3), 1), "at least its two ends"),
        (lambda: interpolation.num_frames(1, 5, False), "at least two seeds"),
        (lambda: interpolation.num_frames(2, 0, False), "frames = 0"),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(interpolation.PathError, match=words):
        call()
