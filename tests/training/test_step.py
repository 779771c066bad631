"""The training step against numpy: Adam, moving averages, style mixing, penalties, and what a step must leave alone."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.config import Config, LossConfig, OptimizerConfig
from stylegen.networks.mapping import num_styles
from stylegen.training import draws
from stylegen.training import step as train_step
from stylegen.training.state import abstract_state, d_optimizer, g_optimizer, init_state, lazy_correction
from stylegen.training.step import StepConfig
from tests.support.stepping import (
    IMAGES,
    LABELS,
    STEPS,
    VARIANTS,
    N,
    adam,
    after_one_step,
    assert_trees,
    assert_trees_close,
    assert_trees_equal,
    inactive,
    make_static,
    mid_run_state,
    run_step,
)


@pytest.mark.parametrize("beta1", [0.0, 0.5])
@pytest.mark.parametrize("make_optimizer", [g_optimizer, d_optimizer])
def test_adam_over_several_steps(beta1, make_optimizer):
    config = Config(optimizer=OptimizerConfig(beta1=beta1, beta2=0.9, epsilon=0.01))
    rng = np.random.default_rng(0)
    params = {"a": rng.standard_normal((3, 2), np.float32), "b": rng.standard_normal(4, np.float32)}
    expected, m, v = params, jax.tree.map(np.zeros_like, params), jax.tree.map(np.zeros_like, params)
    optimizer = make_optimizer(config)
    opt_state = optimizer.init(params)
    for t in range(1, 4):
        gradients = jax.tree.map(lambda p: rng.standard_normal(p.shape, np.float32), params)
        expected, m, v = adam(expected, gradients, m, v, t, 0.1 * t, beta1, 0.9, 0.01)
        params, opt_state = train_step.apply_gradients(optimizer, gradients, opt_state, params, 0.1 * t)
        assert_trees_close(params, expected)


def test_lazy_regularization_corrects_rate_and_betas():
    """StyleGAN2, appendix B: with k steps become k + 1, rate and betas go to the power (factor) k / (k + 1)."""
    config = Config(loss=LossConfig(r1_interval=16), optimizer=OptimizerConfig(beta1=0.5, beta2=0.99))
    assert lazy_correction(config) == pytest.approx(16 / 17)
    assert lazy_correction(Config()) == 1
    gradient = {"a": np.float32(2)}
    opt_state = d_optimizer(config).update(gradient, d_optimizer(config).init(gradient))[1]
    np.testing.assert_allclose(opt_state.mu["a"], 2 * (1 - 0.5 ** (16 / 17)), rtol=1e-5)
    np.testing.assert_allclose(opt_state.nu["a"], 4 * (1 - 0.99 ** (16 / 17)), rtol=1e-4)
    opt_state = g_optimizer(config).update(gradient, g_optimizer(config).init(gradient))[1]
    np.testing.assert_allclose(opt_state.mu["a"], 1, rtol=1e-5)


@pytest.mark.parametrize("side", ["g", "d"])
@pytest.mark.parametrize("variant", ["logistic", "lazy"])
def test_the_step_is_adam_on_its_gradients(variant, side):
    """With beta1 = 0 the first moment is the gradient itself, so that a step says which gradient it took."""
    before, (after, _) = mid_run_state(variant), after_one_step(variant)
    factor = 4 / 5 if (variant, side) == ("lazy", "d") else 1
    old, new = getattr(before, f"{side}_opt"), getattr(after, f"{side}_opt")
    params, _, nu = adam(getattr(before, side), new.mu, old.mu, old.nu, 4, 0.01 * factor, 0, 0.9**factor, 1e-3)
    assert new.count == 4
    assert_trees_close(getattr(after, side), params)
    assert_trees_close(new.nu, nu)


def test_a_step_changes_what_is_active_and_nothing_else():
    before, (after, _) = mid_run_state("logistic"), after_one_step()
    assert after.nimg == before.nimg + N
    np.testing.assert_array_equal(after.key, jax.random.key_data(before.key))
    assert_trees_equal(after.noise_const, before.noise_const)

    def check(name, new, old):
        assert np.array_equal(new, old) == inactive(name), name

    assert_trees(check, after.g, before.g)
    assert_trees(check, after.d, before.d)


def test_both_networks_keep_to_their_own_step():
    """The discriminator's step uses the old generator, and the generator's step the new discriminator."""
    still = run_step(mid_run_state("logistic"), learning_rate=0.0)
    assert_trees_equal(still[0].g, mid_run_state("logistic").g)
    assert_trees_equal(still[0].d, mid_run_state("logistic").d)
    metrics, before = after_one_step()[1], still[1]
    for name in ("Loss/D/loss", "Loss/scores/real", "Loss/scores/fake", "Loss/r1_penalty"):
        assert metrics[name] == before[name]
    assert metrics["Loss/G/loss"] != before["Loss/G/loss"]
    # Adam's moments take in the gradient of an optimizer step whatever its rate.
    assert_trees_equal(after_one_step()[0].d_opt, still[0].d_opt)


def test_moving_average_takes_in_the_generator_before_the_step():
    before, (after, _) = mid_run_state("logistic"), after_one_step()
    beta = 0.5 ** (N / 10)  # half-life 0.01 kimg
    expected = jax.tree.map(lambda e, g: beta * e + (1 - beta) * g, before.g_ema, before.g)
    assert_trees_close(after.g_ema, expected)


def test_weights_that_stand_still_are_their_own_average_bit_for_bit():
    before = dataclasses.replace(mid_run_state("logistic"), g_ema=mid_run_state("logistic").g)
    assert_trees_equal(run_step(before)[0].g_ema, before.g)


@pytest.mark.parametrize("batch, kimg", [(32, 10), (256, 10), (4, 0.5)])
def test_half_life_of_the_moving_average(batch, kimg):
    beta = train_step.ema_beta(batch, kimg)
    distance = beta ** (kimg * 1000 / batch)
    assert distance == pytest.approx(0.5)
    assert train_step.ema_beta(batch, 0) == 0


@pytest.mark.parametrize("nimg", [0, 40, 10_000, 200_000, 400_000])
def test_ramp_up_of_the_moving_average(nimg):
    """The half-life is 0.05 of the images shown until that is the whole half-life, at 200 kimg here."""
    half_life = min(10_000, 0.05 * nimg)
    expected = 0.5 ** (32 / half_life) if half_life else 0
    assert float(train_step.ema_beta(32, 10, 0.05, np.int32(nimg))) == pytest.approx(expected, rel=1e-5)
    assert train_step.ema_beta(32, 0, 0.05, np.int32(nimg)) == 0


def test_the_step_ramps_its_moving_average_up():
    static, before = make_static("logistic"), mid_run_state("logistic")
    optimizer = dataclasses.replace(static.config.optimizer, ema_rampup=0.05)
    static = StepConfig(dataclasses.replace(static.config, optimizer=optimizer), static.networks)
    step = jax.jit(functools.partial(train_step.train_step, static=static))
    after, _ = step(before, IMAGES, LABELS, jnp.float32(1), jnp.float32(0.01))
    beta = 0.5 ** (N / (0.05 * 40))  # 40 images shown; the whole half-life is 10
    expected = jax.tree.map(lambda e, g: beta * e + (1 - beta) * g, before.g_ema, before.g)
    assert_trees_close(after.g_ema, expected)


def test_a_moving_average_that_was_taken_is_not_ramped_up():
    """A run that starts from another one begins at 0 images, where the ramp-up would throw the average away."""
    static, before = make_static("logistic"), dataclasses.replace(mid_run_state("logistic"), nimg=np.int32(0))
    config = dataclasses.replace(
        static.config,
        optimizer=dataclasses.replace(static.config.optimizer, ema_rampup=0.05),
        run=dataclasses.replace(static.config.run, init_from="elsewhere"),
    )
    step = jax.jit(functools.partial(train_step.train_step, static=StepConfig(config, static.networks)))
    after, _ = step(before, IMAGES, LABELS, jnp.float32(1), jnp.float32(0.01))
    beta = 0.5 ** (N / 10)
    assert_trees_close(after.g_ema, jax.tree.map(lambda e, g: beta * e + (1 - beta) * g, before.g_ema, before.g))


def test_update_w_avg():
    rng = np.random.default_rng(0)
    w_avg, w = rng.standard_normal(3, np.float32), rng.standard_normal((5, 3), np.float32)
    np.testing.assert_allclose(train_step.update_w_avg(w_avg, w, 0.995), 0.995 * w_avg + 0.005 * w.mean(0), rtol=1e-5)


def test_w_avg_is_updated_in_both_halves_of_a_step():
    other = dataclasses.replace(mid_run_state("logistic"), w_avg=mid_run_state("logistic").w_avg + 1)
    np.testing.assert_allclose(run_step(other)[0].w_avg - after_one_step()[0].w_avg, np.full(8, 0.9**2), rtol=1e-4)


def test_a_step_is_deterministic_and_the_clock_is_its_seed():
    again, metrics = run_step(mid_run_state("logistic"))
    assert_trees_equal(again, after_one_step()[0])
    assert metrics == after_one_step()[1]
    later = dataclasses.replace(mid_run_state("logistic"), nimg=np.int32(44))
    assert run_step(later)[1]["Loss/scores/fake"] != metrics["Loss/scores/fake"]
    assert run_step(later)[1]["Loss/scores/real"] == metrics["Loss/scores/real"]
    reseeded = dataclasses.replace(mid_run_state("logistic"), key=jax.random.key(5))
    assert run_step(reseeded)[1]["Loss/scores/fake"] != metrics["Loss/scores/fake"]


@pytest.mark.parametrize(
    "name, variant",
    [
        *(("train_step", variant) for variant in VARIANTS),
        ("regularize_step", "lazy"),
        ("regularize_step", "relativistic lazy"),
    ],
)
def test_a_step_gives_back_a_state_of_the_same_kind(name, variant):
    """Shapes and dtypes: what donation, checkpoints and the next stage's program rely on."""
    static = make_static(variant)
    before, scalar = abstract_state(static.config), jax.ShapeDtypeStruct((), jnp.float32)
    images = jax.ShapeDtypeStruct((N, 8, 8, 3), jnp.uint8)
    step = functools.partial(STEPS[name], static=static)
    after, metrics = jax.eval_shape(step, before, images, jax.ShapeDtypeStruct((N,), jnp.int32), scalar, scalar)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(after)] == [(x.shape, x.dtype) for x in jax.tree.leaves(before)]
    assert {(m.shape, str(m.dtype)) for m in metrics.values()} == {((), "float32")}


def test_reset_forgets_the_moments_alone():
    before = mid_run_state("logistic")
    after = train_step.reset_optimizers(before)
    fresh = init_state(make_static("logistic").config)
    for mine, theirs in zip(*(jax.tree.leaves((s.g_opt, s.d_opt)) for s in (after, fresh)), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)  # as they are at the beginning of a run
    for opt in (after.g_opt, after.d_opt):
        assert opt.count == 0
        assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves((opt.mu, opt.nu)))
    for name in ("g", "d", "g_ema", "w_avg", "noise_const", "nimg"):
        assert_trees_equal(getattr(after, name), getattr(before, name))


@functools.cache
def mixed(probability, layers=6, draws=4000):
    """Style mixing of w = 0 with w_mix = 1, for many keys: [draws, N, layers]."""
    w = np.zeros((3, 2), np.float32)

    @jax.jit
    @jax.vmap
    def mix(key):
        return draws.mix_styles(w, w + 1, key, layers, probability)

    ws = np.asarray(mix(jax.random.split(jax.random.key(0), draws)))
    assert ws.shape == (draws, 3, layers, 2)
    np.testing.assert_array_equal(ws[..., 0], ws[..., 1])
    return ws[..., 0]


def test_a_batch_switches_at_one_layer():
    ws = mixed(0.9)
    np.testing.assert_array_equal(ws, ws[:, :1].repeat(3, 1))
    np.testing.assert_array_equal(ws[:, :, 0], 0)
    assert set(np.unique(np.diff(ws[:, 0], axis=1))) == {0, 1}


def test_mixing_is_as_frequent_as_asked_and_even_over_the_layers():
    first = mixed(0.9)[:, 0]
    cuts = np.where(first.any(1), first.argmax(1), 6)
    # Six layers: a cut after each of the first five with chance 0.9 / 5, none with chance 0.1; 4 standard deviations.
    for cut, chance in [(1, 0.18), (2, 0.18), (3, 0.18), (4, 0.18), (5, 0.18), (6, 0.1)]:
        assert abs((cuts == cut).mean() - chance) < 4 * math.sqrt(chance * (1 - chance) / len(cuts)), cut


def test_mixing_always_and_never():
    assert mixed(1.0)[:, 0].any(1).all()
    assert not mixed(0.0).any()


@pytest.mark.parametrize("resolution", [4, 8])
def test_mixing_is_among_the_active_layers(monkeypatch, resolution):
    calls, mapped = [], []

    def record(w, w_mix, key, layers, probability):
        calls.append((layers, probability))
        mapped.append(w)
        return jnp.zeros((N, layers, 8))

    monkeypatch.setattr(draws, "mix_styles", record)
    static, state = make_static("logistic"), mid_run_state("logistic")
    network = static.networks.generator(state.g, state.noise_const)

    @jax.eval_shape
    def trace():
        _, w = draws.generate(network, static.config, jax.random.key(0), N, None, resolution, 1.0)
        assert mapped[0] is w, "the running mean is fed by the first latents"

    assert calls == [(num_styles(resolution), 0.9)]


def test_no_mixing_costs_no_second_mapping(monkeypatch):
    monkeypatch.setattr(draws, "mix_styles", lambda *_: pytest.fail("mixed"))
    static, state = make_static("logistic"), mid_run_state("logistic")
    network = static.networks.generator(state.g, state.noise_const)
    unmixed = dataclasses.replace(static.config.generator, style_mixing_prob=0.0)
    config = dataclasses.replace(static.config, generator=unmixed)
    images, w = jax.eval_shape(lambda: draws.generate(network, config, jax.random.key(0), N, None, 8, 1.0))
    assert images.shape == (N, 8, 8, 3) and w.shape == (N, 8)


def test_reals_are_scaled_mirrored_by_half_and_faded():
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4, 3), np.uint8)
    prepare = jax.jit(draws.prepare_reals, static_argnums=2)
    scaled = images / np.float32(127.5) - 1
    plain = np.asarray(prepare(images, jnp.float32(1), False, jax.random.key(0)))
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain, scaled, atol=1e-6)
    result = np.asarray(prepare(images, jnp.float32(1), True, jax.random.key(0)))
    unflipped = np.abs(result - scaled).max((1, 2, 3)) < 1e-5
    flipped = np.abs(result - scaled[:, :, ::-1]).max((1, 2, 3)) < 1e-5
    assert (unflipped ^ flipped).all() and 150 < flipped.sum() < 250
    other = np.asarray(prepare(images, jnp.float32(1), True, jax.random.key(1)))
    assert 100 < (np.abs(other - result).max((1, 2, 3)) > 0).sum() < 300
    faded = np.asarray(prepare(images, jnp.float32(0.25), False, jax.random.key(0)))
    means = scaled.reshape(400, 2, 2, 2, 2, 3).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(faded, 0.25 * scaled + 0.75 * means, atol=1e-5)


def test_mirroring_is_part_of_the_step_where_asked():
    static = make_static("logistic")
    distinct = []
    for mirror in (False, True):
        data = dataclasses.replace(static.config.data, mirror=mirror)
        config = dataclasses.replace(static.config, data=data)

        def prepare(key, config=config):
            return draws.prepare_batch(IMAGES, LABELS, jnp.float32(1), key, config)[0]

        results = [np.asarray(prepare(jax.random.key(i))) for i in range(4)]
        distinct.append(len({result.tobytes() for result in results}))
    assert distinct[0] == 1 and distinct[1] > 1


GOLDEN = {
    "Doctor/gradient_norm/D": 5.722896,
    "Doctor/gradient_norm/G": 9.3809,
    "Loss/D/loss": 4.92594,
    "Loss/G/loss": 0.7315392,
    "Loss/r1_penalty": 0.5693094,
    "Loss/scores/fake": 1.773268,
    "Loss/scores/real": 0.01302989,
    "Loss/signs/real": 0.0,
    "Progress/skipped": 0.0,
    "d moved by": 3.404168,
    "g moved by": 2.407136,
    "g_ema moved by": 27.27718,
    "w_avg moved by": 0.5720209,
}


def test_golden_step():
    after, metrics = after_one_step()
    numbers = {name: float(value) for name, value in metrics.items()}
    for name in ("g", "d", "g_ema", "w_avg"):
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).sum(), getattr(after, name), getattr(mid_run_state("logistic"), name)
        )
        numbers[f"{name} moved by"] = float(sum(jax.tree.leaves(moved)))
    same = numbers == pytest.approx(GOLDEN, rel=1e-4, abs=1e-5)
    digits = "\n".join(f'    "{name}": {value:.7g},' for name, value in sorted(numbers.items()))
    assert same, (
        "The training step computes other numbers than it did. If that is meant (another order of random draws, "
        f"another initialization, a change of the math that has its own test), put these into GOLDEN:\n{digits}"
    )
