"""Means that never wait for the step that runs, and a speed that leaves out what is not training."""

import math

import jax
import numpy as np
import pytest

from stylegen.training.meters import Clock, Means


@pytest.fixture
def fetched(monkeypatch):
    """What has been fetched from the device so far."""
    fetched_trees = []
    original = jax.device_get

    def device_get(tree):
        fetched_trees.append(tree)
        return original(tree)

    monkeypatch.setattr(jax, "device_get", device_get)
    return fetched_trees


def test_scalars_are_fetched_one_step_late(fetched):
    means = Means()
    steps = [{"loss": np.float32(i)} for i in range(3)]
    for number, step in enumerate(steps):
        means.add(step)
        assert fetched == steps[:number]
    means.settle()
    assert fetched == steps
    means.take()
    assert fetched == steps


def test_a_mean_is_over_the_steps_that_had_the_scalar():
    means = Means()
    means.add({"loss": np.float32(1), "penalty": np.float32(10)})
    means.add({"loss": np.float32(2)})
    means.add({"loss": np.float32(6), "penalty": np.float32(20)})
    assert means.take() == {"loss": 3, "penalty": 15}


def test_taking_begins_anew():
    means = Means()
    means.add({"loss": np.float32(1), "penalty": np.float32(1)})
    means.take()
    assert means.take() == {}
    means.add({"loss": np.float32(5)})
    assert means.take() == {"loss": 5}


@pytest.mark.parametrize("flag", ["Progress/skipped", "Progress/skipped_r1"])
def test_skipped_steps_are_counted_and_not_averaged(flag):
    def step(loss, skipped):
        return {"loss": np.float32(loss), flag: np.float32(skipped)}

    means = Means(skipped=7)
    for loss, skipped in [(1, 0), (math.nan, 1), (math.inf, 1), (3, 0), (math.nan, 1)]:
        means.add(step(loss, skipped))
    assert (means.skipped, means.in_a_row) == (9, 0)  # the last one is fetched one step late
    means.settle()
    assert (means.skipped, means.in_a_row) == (10, 1)
    assert means.take() == {"loss": 2}
    assert (means.skipped, means.in_a_row) == (10, 1)
    means.add(step(5, 0))
    means.settle()
    assert (means.skipped, means.in_a_row) == (10, 0)
    assert means.take() == {"loss": 5}


def test_speed_leaves_out_what_a_restart_cuts(now):
    clock = Clock(400)
    now["s"] += 10
    assert clock.speed(500) == 10
    now["s"] += 90  # compiling, say
    clock.restart(500)
    now["s"] += 4
    assert clock.speed(600) == 25
    assert clock.total() == 104


def test_speed_at_the_moment_of_a_restart_is_a_number(now):
    assert Clock(7).speed(7) == 0
    assert math.isfinite(Clock(7).speed(8))
