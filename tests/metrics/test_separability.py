"""Disentanglement on latents whose factors are known."""

import numpy as np
import pytest

from stylegen.metrics import MetricError, separability


def test_logistic_regression_is_where_its_gradient_vanishes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3))
    y = (x[:, 0] + rng.standard_normal(300) > 0).astype(float)
    slope, offset = separability.fit_logistic(x, y)
    p = 1 / (1 + np.exp(-(x @ slope + offset)))
    np.testing.assert_allclose(x.T @ (p - y) + separability.RIDGE * 300 * slope, 0, atol=1e-6)
    assert abs(np.sum(p - y)) < 1e-6


def test_conditional_entropy():
    y, x = np.array([0, 0, 1, 1], bool), np.array([0, 0, 1, 1], bool)
    assert separability.conditional_entropy(y, x) == 0
    assert separability.conditional_entropy(y, np.zeros(4, bool)) == pytest.approx(np.log(2))
    three = separability.conditional_entropy(np.array([1, 1, 1, 0], bool), np.zeros(4, bool))
    assert three == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))


def test_planes_separate_what_is_linear_and_not_what_is_not():
    x = np.random.default_rng(0).standard_normal((4000, 5))
    linear, tangled = x[:, 0] > 0.2, x[:, 0] * x[:, 1] > 0
    score, entropies = separability.linear_separability(x, {"linear": linear, "tangled": tangled, "other": x[:, 2]})
    assert set(entropies) == {"linear", "tangled"}
    assert entropies["linear"] < 0.1 and entropies["tangled"] == pytest.approx(np.log(2), abs=0.01)
    assert score == pytest.approx(np.exp(sum(entropies.values())))
    with pytest.raises(MetricError, match="needs a factor"):
        separability.linear_separability(x, {"never": np.zeros(4000, bool)})


def test_changes_are_in_units_of_random_pairs():
    rng = np.random.default_rng(0)
    random = {
        "size": rng.standard_normal(4000),
        "lamp": rng.random(4000) > 0.5,
        "wall": rng.random((4000, 3)),
        "fixed": np.ones(4000),
        "rare": rng.random(4000) > 0.97,
    }
    before = {name: values[:1000] for name, values in random.items()}
    after = {**before, "size": before["size"] + 1.0, "lamp": ~before["lamp"], "wall": before["wall"].copy()}
    after["wall"][:500] = np.nan  # not there
    relative = separability.changes(before, after, random)
    assert relative["size"] == pytest.approx(np.sqrt(np.pi) / 2, rel=0.05)  # E|x - y| of two normals is 2 / sqrt(pi)
    assert (
        relative["lamp"] == pytest.approx(2, rel=0.1)
        and relative["wall"] == 0
        and not {"fixed", "rare"} & set(relative)
    )
    name, share = separability.cleanness(relative)
    assert name == "lamp" and share == pytest.approx(relative["lamp"] / (relative["lamp"] + relative["size"]))
