"""The training doctor: its numbers against numpy, what it says of made-up ticks, and how often."""

import dataclasses
import math
import re

import jax
import numpy as np
import pytest

from studies import doctor as benchmark
from stylegen.config import AugmentConfig, LossConfig
from stylegen.training import doctor
from stylegen.training.doctor import DEAD, PATIENCE, Doctor
from stylegen.training.state import init_state
from tests.support.compilations import compilations
from tests.support.configs import tiny_config

CONFIG = tiny_config(generator={"z_dim": 6, "w_dim": 6})
W = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    return jax.tree.map(np.array, dataclasses.replace(init_state(CONFIG), key=None))


def blocks(params):
    return params["synthesis"]["blocks"]


def test_ema_distance_is_relative_and_by_array(state):
    g = jax.tree.map(np.copy, state.g)
    assert doctor.ema_distance(g, state.g, 8) == 0
    doubled = jax.tree.map(lambda x: 2 * x, g)
    assert doctor.ema_distance(doubled, g, 8) == pytest.approx(1)
    # One array of eleven at 4 pixels: two of the mapping network, const, conv1, torgb, and each layer's affine.
    blocks(g)["b4"]["conv1"]["weight"] *= 1.5
    arrays = [leaf for path, leaf in jax.tree.leaves_with_path(state.g) if leaf.ndim > 1 and "b8" not in str(path)]
    assert doctor.ema_distance(g, state.g, 4) == pytest.approx(0.5 / len(arrays), rel=1e-4)


def test_biases_and_blocks_beyond_the_stage_do_not_count(state):
    g = jax.tree.map(np.copy, state.g)
    blocks(g)["b4"]["act0"]["bias"] += 100
    blocks(g)["b8"]["conv0"]["weight"] *= 7
    assert doctor.ema_distance(g, state.g, 4) == 0
    assert doctor.ema_distance(g, state.g, 8) > 0.1


def test_a_style_is_dead_that_does_not_depend_on_w(state):
    assert doctor.dead_styles(state.g, W, 8) == 0
    assert doctor.dead_styles(state.g, np.repeat(W[:1], 64, 0), 8) == 1, "one w for all images"
    g = jax.tree.map(np.copy, state.g)
    affine = blocks(g)["b4"]["act0"]["adain"]["affine"]["weight"]
    affine[:, 0] = 0  # the scale of the first of four channels; its shift still varies
    assert doctor.dead_styles(g, W, 8) == 0
    affine[:, 4] = 0
    assert doctor.dead_styles(g, W, 8) == pytest.approx(1 / 16)
    assert doctor.dead_styles(g, W, 4) == pytest.approx(1 / 8)
    # At the threshold: the standard deviation over w, with the weight at its run-time scale.
    spread = np.std(W[:, 0]) / math.sqrt(6)
    for factor, dead in ((0.9, 1 / 8), (1.1, 0)):
        affine[:, 4] = [factor * DEAD / spread, 0, 0, 0, 0, 0]
        assert doctor.dead_styles(g, W, 4) == pytest.approx(dead)


def test_vitals_come_from_the_metrics(state):
    means = {"Loss/signs/real": 0.5, "Loss/scores/real": 2.0, "Loss/scores/fake": -1.0, "Loss/r1_penalty": 0.25}
    config = dataclasses.replace(CONFIG, loss=LossConfig(r1_gamma=8.0))
    numbers = doctor.vitals(means, config, state, W, 8)
    assert (numbers["Doctor/r_t"], numbers["Doctor/score_gap"], numbers["Doctor/r1_size"]) == (0.5, 3.0, 1.0)
    without = dataclasses.replace(CONFIG, loss=LossConfig(r1_gamma=0.0))
    del means["Loss/r1_penalty"]
    assert doctor.vitals(means, without, state, W, 8)["Doctor/r1_size"] == 0
    assert "Doctor/r1_size" not in doctor.vitals(means, config, state, W, 8), "no lazy step since the last tick"
    # A tick in which every step was skipped has no losses.
    assert set(doctor.vitals({}, config, state, W, 8)) == {"Doctor/ema_distance", "Doctor/dead_styles"}


def test_an_accelerator_computes_the_same_and_keeps_the_weights(state, monkeypatch):
    rng = np.random.default_rng(1)
    g = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), state.g)
    blocks(g)["b4"]["act0"]["adain"]["affine"]["weight"][:, [0, 4]] = 0
    blocks(g)["b8"]["act1"]["adain"]["affine"]["weight"][:] *= 1e-3
    expected = {r: (doctor.ema_distance(state.g, g, r), doctor.dead_styles(g, W, r)) for r in (4, 8)}
    assert expected[4][1] == pytest.approx(1 / 8) and expected[8][1] > expected[4][1]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for name in ("_on_host", "ema_distance", "dead_styles"):
        monkeypatch.setattr(doctor, name, None)
    on_device = jax.device_put(dataclasses.replace(state, g_ema=g))
    for resolution in (4, 8):
        with compilations() as programs:
            found = doctor.vitals({}, CONFIG, on_device, W, resolution)
        numbers = found["Doctor/ema_distance"], found["Doctor/dead_styles"]
        assert all(type(number) is float for number in numbers)
        assert numbers == pytest.approx(expected[resolution], rel=1e-5)
    assert len(programs) == 1, "a program for each resolution, this being the second"


def looks(values, patch):
    """What is said at ticks with these values of a finding that holds above 1."""
    patch.setattr(doctor, "FINDINGS", {"test": lambda p: "it is high" if p.line["x"] > 1 else None})
    d = Doctor(CONFIG, 100, [])
    return [d.look({"Progress/kimg": 1.0, "x": x}) for x in values]


def test_a_finding_takes_several_ticks_and_is_reported_once_until_it_is_over(monkeypatch):
    assert PATIENCE == 3
    reports = looks([0, 2, 2, 0, 2, 2, 2, 2, 0, 2, 0, 0, 0, 0, 2, 2, 2], monkeypatch)
    assert [i for i, sentences in enumerate(reports) if sentences] == [6, 12, 16]
    assert reports[6] == reports[16] == ["test: it is high"] and reports[12] == ["test: no longer seen."]


def test_a_resumed_run_knows_what_has_been_reported(monkeypatch):
    monkeypatch.setattr(doctor, "FINDINGS", {"test": lambda p: "it is high" if p.line["x"] > 1 else None})
    lines = [{"Progress/kimg": 1.0, "x": x} for x in (2, 2, 2, 2, 0, 0, 0, 2, 2, 2)]
    uninterrupted = Doctor(CONFIG, 100, [])
    reports = [uninterrupted.look(line) for line in lines]
    for cut in range(len(lines)):
        resumed = Doctor(CONFIG, 100, lines[:cut])
        assert [resumed.look(line) for line in lines[cut:]] == reports[cut:]


HEALTHY = {
    "Progress/kimg": 10.0,
    "Doctor/r_t": 0.6,
    "Doctor/score_gap": 1.5,
    "Doctor/r1_size": 0.15,
    "Doctor/gradient_norm/G": 2.0,
    "Doctor/gradient_norm/D": 1.0,
    "Doctor/ema_distance": 0.02,
    "Doctor/dead_styles": 0.0,
}
SICK = {
    "overfitting": {"Doctor/r_t": 0.97},
    "R1 too weak": {"Doctor/r1_size": 0.0},
    "R1 too strong": {"Doctor/r1_size": 2.0},
    "discriminator at a loss": {"Doctor/score_gap": 0.01, "Doctor/r1_size": 0.005},
    "restless weights": {"Doctor/ema_distance": 0.2},
    "collapse": {"Doctor/dead_styles": 0.9},
    "exploding gradients": {"Doctor/gradient_norm/D": 50.0},
}


def findings(num_images, *changes, config=CONFIG):
    """Names of what is said at the end of ten healthy ticks and three with these changes."""
    d = Doctor(config, num_images, [HEALTHY] * 10)
    sentences = [sentence for _ in range(3) for sentence in d.look({**HEALTHY, **dict(*changes)})]
    for section, field in re.findall(r"\b([a-z]+)\.([a-z]\w+)", " ".join(sentences)):
        assert hasattr(getattr(config, section), field), f"{section}.{field}"
    return [sentence.partition(":")[0] for sentence in sentences]


def test_the_doctor_is_quiet_about_a_healthy_run():
    assert findings(100, {}) == []
    assert Doctor(CONFIG, 100, [HEALTHY] * 3).look({"Progress/kimg": 1.0}) == [], "a tick without losses"


@pytest.mark.parametrize("name", SICK)
def test_each_finding_is_made_alone(name):
    assert set(SICK) == set(doctor.FINDINGS)
    assert findings(100, SICK[name]) == [name]


def test_overfitting_takes_many_epochs():
    assert findings(1000, SICK["overfitting"]) == []  # each image was shown ten times


def drifting(num_images, gaps, r_t=0.7, config=CONFIG, **last):
    """What is said in a run with these gaps, of which those from the sixth on are of a new stage, as ``last`` says."""
    d = Doctor(config, num_images, [])
    lines = [
        {**HEALTHY, "Doctor/r_t": r_t, "Progress/resolution": 8, "Progress/alpha": 1.0, "Doctor/score_gap": gap}
        for gap in gaps
    ]
    return [s.partition(":")[0] for i, line in enumerate(lines) for s in d.look(line | (last if i > 4 else {}))]


def test_scores_that_drift_apart_in_one_stage_are_overfitting():
    grows = [4, 2, 1, 1, 1, 1.2, 1.4, 1.6, 1.8, 2, 2]
    assert drifting(100, grows) == ["overfitting"]
    assert drifting(1000, grows) == [], "few epochs"
    assert drifting(100, grows, r_t=0.5) == [], "the discriminator has not memorized the images"
    adapting = dataclasses.replace(CONFIG, augment=AugmentConfig("ada"))
    assert drifting(100, grows, config=adapting) == [], "it is held there"
    assert findings(100, SICK["overfitting"], config=adapting) == ["overfitting"]
    assert drifting(100, [4, 2, 1, 1, 1, 1.2, 1.2, 1.2, 1.2, 1.2]) == []
    assert drifting(100, [4, 2, 1, 1, 1, 2, 2, 2, 2, 2]) == ["overfitting"]
    assert drifting(100, [4, 2, 1, 1, 1, 2, 2, 2, 2, 2], **{"Progress/resolution": 16}) == []
    assert drifting(100, [4, 2, 1, 1, 1, 2, 2, 2, 2, 2], **{"Progress/alpha": 0.5}) == []


def test_a_discriminator_far_ahead_is_held_too_weakly_whatever_r1_is():
    assert findings(1000, {"Doctor/score_gap": 7.0, "Doctor/r1_size": 0.7}) == ["R1 too weak"]


def test_scores_without_r1_say_nothing_of_it():
    """wgan_gp's scores have another scale, and no R1."""
    config = dataclasses.replace(CONFIG, loss=LossConfig(name="wgan_gp"))
    for name in ("R1 too weak", "R1 too strong", "discriminator at a loss"):
        assert findings(100, SICK[name], config=config) == []


def test_r1_of_next_to_nothing_is_not_too_strong():
    """Where a discriminator cannot tell, its gradients vanish with its scores, whatever the reason."""
    assert findings(100, {"Doctor/score_gap": 0.0001, "Doctor/r1_size": 0.0005}) == ["discriminator at a loss"]
    assert findings(100, {"Doctor/score_gap": 0.0001, "Doctor/r1_size": 0.05}) == ["R1 too strong"]


def test_augmentation_may_be_why_the_discriminator_cannot_tell():
    for mode, field in (("fixed", "augment.p"), ("ada", "augment.max_p")):
        config = dataclasses.replace(CONFIG, augment=AugmentConfig(mode=mode, p=0.6))
        ill = SICK["discriminator at a loss"]
        assert findings(100, ill, config=config) == ["discriminator at a loss"]
        d = Doctor(config, 100, [HEALTHY] * 3 + [HEALTHY | ill] * 2)
        assert f"({field}," in d.look(HEALTHY | ill)[0]


def test_gradients_are_judged_by_those_before():
    d = Doctor(CONFIG, 100, [HEALTHY | {"Doctor/gradient_norm/G": 300.0}] * 13)
    assert [d.look(HEALTHY | {"Doctor/gradient_norm/G": 500.0}) for _ in range(4)] == [[]] * 4
    early = Doctor(CONFIG, 100, [HEALTHY] * 3)
    assert [early.look(HEALTHY | {"Doctor/gradient_norm/G": 500.0}) for _ in range(4)] == [[]] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "run, names",
    [
        ("healthy", set()),
        ("r1_gamma 0", {"R1 too weak"}),
        ("r1_gamma 1000", {"R1 too strong", "discriminator at a loss"}),
        ("16 images", {"overfitting"}),
        ("augmentation 0.6", {"discriminator at a loss"}),
    ],
)
def test_the_doctor_is_right_about_runs_that_are_broken_on_purpose(run, names):
    result = benchmark.examine(run, kimg=16.0, seed=0)
    assert {sentence.partition(":")[0] for sentence in result["said"]} == names


@pytest.mark.slow
def test_a_learning_rate_far_too_high_is_noticed():
    """What follows when weights run away is not the same in all runs, but that they do is said in each."""
    result = benchmark.examine("learning rate x20", kimg=16.0, seed=0)
    assert "restless weights" in {sentence.partition(":")[0] for sentence in result["said"]}
