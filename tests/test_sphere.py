"""Directions on great circles."""

import numpy as np

from stylegen.sphere import slerp, unit


def test_orthogonal_vectors_of_any_length():
    a, b = np.array([[3.0, 0]]), np.array([[0, 0.1]])
    points = slerp(a, b, np.array([[0.0]])), slerp(a, b, 1 / 3), slerp(a, b, np.array([[1.0]]))
    np.testing.assert_allclose(np.concatenate(points), [[1, 0], [np.sqrt(3) / 2, 0.5], [0, 1]], atol=1e-12)


def test_each_row_has_its_place():
    a, b = np.random.default_rng(0).standard_normal((2, 5, 4))
    t = np.linspace(0.1, 0.9, 5)
    together = slerp(a, b, t[:, None])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-12)
    for row, start, end, place in zip(together, a, b, t, strict=True):
        np.testing.assert_allclose(row, slerp(start, end, place), atol=1e-12)
        angle = np.arccos(np.dot(unit(start), unit(end)))
        np.testing.assert_allclose(np.arccos(row @ unit(start)), place * angle, rtol=1e-9)
