"""The losses inside a step: each kind with its penalties, augmentation, lazy steps, what is skipped, what is frozen."""

import dataclasses
import functools
import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.config import Config, LossConfig
from stylegen.convolution import tracing_for
from stylegen.training import augment, draws, regularization
from stylegen.training import step as train_step
from stylegen.training.state import d_optimizer, g_optimizer
from stylegen.training.step import StepConfig
from tests.support.marks import slow_but
from tests.support.stepping import (
    IMAGES,
    LABELS,
    N,
    after_one_step,
    assert_trees_close,
    assert_trees_equal,
    make_static,
    mid_run_state,
    run_step,
)


def loss_parts(variant):
    """(discriminator_loss' value and metrics, real scores, fake scores, gradients at reals, gradients at blends)."""
    static, state = make_static(variant), mid_run_state(variant)
    rng = np.random.default_rng(3)
    reals, fakes = rng.standard_normal((2, N, 4, 4, 3), np.float32)
    c = np.eye(3, dtype=np.float32)[LABELS] if static.config.num_classes else None
    key, alpha = jax.random.key(7), jnp.float32(1)
    mix = jax.random.uniform(key, (N,))[:, None, None, None]

    @jax.jit
    def compute(d):
        def score(x):
            return static.networks.discriminator(d)(x, c, alpha=alpha)

        def gradient(x):
            return jax.grad(lambda x: score(x).sum())(x)

        ours = train_step.discriminator_loss(d, reals, fakes, c, alpha, key, static=static)
        return ours, score(reals), score(fakes), gradient(reals), gradient(reals + mix * (fakes - reals))

    return jax.device_get(compute(state.d))


def squared(gradient):
    # The stage has 4 pixels of 8: half the gradient at full resolution.
    return np.square(gradient).sum((1, 2, 3)) / 4


def softplus(x):
    return np.log1p(np.exp(x))


def test_logistic_loss_with_r1():
    (value, metrics), real, fake, at_reals, _ = loss_parts("logistic")
    adversarial, penalty = softplus(fake) + softplus(-real), squared(at_reals)
    np.testing.assert_allclose(value, (adversarial + 8 / 2 * penalty).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/r1_penalty"], penalty.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/D/loss"], value)
    np.testing.assert_allclose(metrics["Loss/scores/real"], real.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/scores/fake"], fake.mean(), rtol=1e-4)
    assert metrics["Loss/signs/real"] == np.sign(real).mean()
    assert penalty.mean() > 0.01 * adversarial.mean()


@pytest.mark.parametrize(
    ("side", "resolution"), slow_but([(side, r) for side in "dg" for r in (4, 8)], [("d", 8), ("g", 4)])
)
def test_relativistic_loss_with_r1_and_r2_at_every_stage(resolution, side):
    """Both losses from scores and gradients that are computed apart: pairs of the batch, R1 on reals, R2 on fakes."""
    static, state = make_static("relativistic"), mid_run_state("relativistic")
    reals, fakes = np.random.default_rng(3).standard_normal((2, N, resolution, resolution, 3), np.float32)
    c, key, alpha = np.eye(3, dtype=np.float32)[LABELS], jax.random.key(7), jnp.float32(0.3)

    @jax.jit
    def compute(state):
        def score(x):
            return static.networks.discriminator(state.d)(x, c, alpha=alpha)

        def gradient(x):
            return jax.grad(lambda x: score(x).sum())(x)

        network = static.networks.generator(state.g, state.noise_const)
        own_fakes, _ = draws.generate(network, static.config, key, N, c, resolution, alpha)
        d = train_step.discriminator_loss(state.d, reals, fakes, c, alpha, key, static=static)
        g = train_step.generator_loss(state.g, state, c, alpha, key, reals, static=static)[0]
        return d, g, score(reals), score(fakes), score(own_fakes), gradient(reals), gradient(fakes)

    (value, metrics), g, real, fake, own_fake, at_reals, at_fakes = jax.device_get(compute(state))
    if side == "g":
        np.testing.assert_allclose(g, softplus(real - own_fake).mean(), rtol=1e-4)
        return
    scale = (resolution / 8) ** 2
    r1, r2 = (np.square(gradient).sum((1, 2, 3)) * scale for gradient in (at_reals, at_fakes))
    np.testing.assert_allclose(metrics["Loss/r1_penalty"], r1.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/r2_penalty"], r2.mean(), rtol=1e-4)
    np.testing.assert_allclose(value, (softplus(fake - real) + 8 / 2 * (r1 + r2)).mean(), rtol=1e-4)
    assert min(r1.mean(), r2.mean()) > 0.01 * softplus(fake - real).mean()


@pytest.mark.parametrize(("variant", "penalized"), [("logistic", 1), ("relativistic", 2), ("ada", 1)])
def test_penalties_cost_three_passes_each_and_no_second_one_for_scores(variant, penalized):
    """R1 needs the gradient by the images, and the backward pass of that one: scores come from the same pass."""
    static, state = make_static(variant), mid_run_state(variant)
    free = dataclasses.replace(
        static, config=dataclasses.replace(static.config, loss=dataclasses.replace(static.config.loss, r1_gamma=0.0))
    )
    reals, fakes = np.zeros((2, N, 8, 8, 3), np.float32)
    c = np.eye(3, dtype=np.float32)[LABELS] if static.config.num_classes else None
    p = jnp.float32(0.5) if variant == "ada" else None

    def convolutions(function, *arguments):
        with tracing_for("tpu"):  # where each is one, whatever its form
            return str(jax.make_jaxpr(function)(*arguments)).count("conv_general_dilated[")

    def gradients(static):
        def loss(d):
            key = jax.random.key(0)
            return train_step.discriminator_loss(d, reals, fakes, c, jnp.float32(0.5), key, static=static, p=p)[0]

        return jax.grad(loss)

    def score(d):
        return static.networks.discriminator(d)(reals, c, alpha=jnp.float32(0.5))

    one = convolutions(score, state.d)
    assert one == 3  # the layers from and to few channels are no convolutions there
    extra = convolutions(gradients(static), state.d) - convolutions(gradients(free), state.d)
    # One more is the weight gradient of the strided convolution, which is traced with its transpose, and not run.
    assert 2 * penalized * one < extra <= penalized * (3 * one + 1)


def test_augmented_losses_see_augmented_images_and_r1_goes_through():
    """Against the same by hand: the losses of transformed images, and R1 by the images before."""
    static, state = make_static("ada"), mid_run_state("ada")
    reals, fakes = np.random.default_rng(3).standard_normal((2, N, 4, 4, 3), np.float32)
    key, config = jax.random.key(7), static.config.augment

    @jax.jit
    def compute(d, p):
        def score(x):
            return static.networks.discriminator(d)(x, alpha=jnp.float32(1))

        draws = augment.draw(jax.random.split(key)[1], (2, *reals.shape), config)
        real_draws, fake_draws = (jax.tree.map(lambda x, i=i: x[i], draws) for i in range(2))
        at_reals = jax.grad(lambda x: score(augment.transform(x, p, real_draws, config)).sum())(reals)
        scores = (
            score(augment.transform(x, p, chance, config)) for x, chance in ((reals, real_draws), (fakes, fake_draws))
        )
        loss = functools.partial(train_step.discriminator_loss, static=static)
        ours = loss(d, reals, fakes, None, jnp.float32(1), key, p=p)
        see = functools.partial(augment.transform, p=p, draws=real_draws, config=config)
        lazy = regularization.lazy_r1_loss(d, [reals], None, jnp.float32(1), static=static, augmentations=[see])
        return ours, (*scores,), at_reals, lazy, score(reals), score(fakes)

    for p in (0.0, 0.9):
        (value, metrics), (real, fake), at_reals, lazy, plain_real, plain_fake = jax.device_get(compute(state.d, p))
        penalty = squared(at_reals)
        np.testing.assert_allclose(value, (softplus(fake) + softplus(-real) + 4 * penalty).mean(), rtol=1e-4)
        np.testing.assert_allclose(
            [lazy[0], lazy[1]["Loss/r1_penalty"]], [4 * penalty.mean(), penalty.mean()], rtol=1e-4
        )
        assert metrics["Progress/augment"] == np.float32(p)
        changed = not np.allclose(real, plain_real, rtol=1e-3) and not np.allclose(fake, plain_fake, rtol=1e-3)
        assert changed == (p > 0)


@pytest.mark.slow
def test_paired_augmentations_do_alike_to_a_real_and_its_fake_and_mean_the_same():
    """Of the same images, scores are the same; of others, gradients have the same mean over chances, and less noise."""
    static, state = make_static("ada"), mid_run_state("ada")
    reals = np.random.default_rng(3).standard_normal((N, 4, 4, 3), np.float32)
    fakes = reals + 0.1

    def gradients(paired, fakes):
        chances = dataclasses.replace(static.config.augment, paired=paired)
        config = dataclasses.replace(static.config, augment=chances, loss=LossConfig(r1_gamma=0.0))
        loss = functools.partial(train_step.discriminator_loss, static=dataclasses.replace(static, config=config))

        def one(key):
            gradient, metrics = jax.grad(loss, has_aux=True)(state.d, reals, fakes, None, jnp.float32(1), key, p=0.9)
            return jax.flatten_util.ravel_pytree(gradient)[0], metrics

        return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 128))

    for paired in (True, False):
        _, metrics = gradients(paired, reals)
        same = np.isclose(metrics["Loss/scores/real"], metrics["Loss/scores/fake"], rtol=1e-4, atol=1e-5)
        assert same.all() if paired else same.mean() < 0.1
    (alike, _), (apart, _) = gradients(True, fakes), gradients(False, fakes)
    noise = [np.var(x, axis=0).sum() for x in (alike, apart)]
    assert noise[0] < 0.85 * noise[1], "0.72 when this was written"
    difference = np.square(alike.mean(0) - apart.mean(0)).sum()
    assert difference < 2 * sum(noise) / 128, "that of two means of 128 is about 1"


@pytest.mark.parametrize("paired", slow_but([True, False], [True]))
def test_all_losses_take_paired_augmentations_from_one_place(paired):
    """Of the discriminator's two sides, of a relativistic generator's, of R1 and R2."""
    config = Config(augment=augment.AugmentConfig("ada", noise=True, paired=paired))
    images = np.random.default_rng(3).standard_normal((N, 4, 4, 3), np.float32)
    _, (first, second) = draws.draw_augmentations(jax.random.key(1), jnp.float32(0.9), images.shape, 2, config)
    assert np.array_equal(first(images), second(images)) == paired and not np.array_equal(first(images), images)


def test_the_generator_learns_through_the_augmentation():
    """Its loss falls along the gradient of the augmented loss, at the rate that the gradient says."""
    static, state = make_static("ada"), mid_run_state("ada")
    loss = jax.jit(functools.partial(train_step.generator_loss, static=static))
    arguments = None, jnp.float32(1), jax.random.key(5), np.zeros((N, 4, 4, 3), np.float32)
    value, gradient = jax.jit(jax.value_and_grad(lambda g: loss(g, state, *arguments)[0]))(state.g)
    norm = math.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(gradient)))
    ends = [
        loss(jax.tree.map(lambda w, d, s=s: w + s * 1e-2 / norm * d, state.g, gradient), state, *arguments)[0]
        for s in (-1, 1)
    ]
    assert norm > 1e-3
    np.testing.assert_allclose((ends[1] - ends[0]) / 2e-2, norm, rtol=0.03)
    weak = dataclasses.replace(state, augment=dataclasses.replace(state.augment, p=jnp.float32(0)))
    assert abs(loss(state.g, weak, *arguments)[0] - value) > 1e-4, "augmentation makes no difference"


def test_a_step_takes_in_the_signs_of_the_reals():
    before, (after, metrics) = mid_run_state("ada"), after_one_step("ada")
    expected = augment.adjust(before.augment, metrics["Loss/signs/real"], N, make_static("ada").config.augment)
    assert_trees_equal(after.augment, expected)
    assert after.augment.images == N and metrics["Progress/augment"] == 0.5
    due = dataclasses.replace(before, augment=dataclasses.replace(before.augment, images=jnp.float32(3 * N)))
    assert run_step(due, "ada")[0].augment.p < 0.5 and mid_run_state("logistic").augment is None


def test_wgan_gp_loss():
    (value, metrics), real, fake, _, at_blends = loss_parts("wgan_gp")
    penalty = np.square(np.sqrt(squared(at_blends)) - 1)
    np.testing.assert_allclose(value, (fake - real + 7 * penalty + 0.5 * np.square(real)).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/gradient_penalty"], penalty.mean(), rtol=1e-4)


def test_lazy_loss_leaves_the_penalty_to_its_own_step():
    static, state = make_static("lazy"), mid_run_state("lazy")
    reals, fakes = np.random.default_rng(3).standard_normal((2, N, 4, 4, 3), np.float32)
    compute = jax.jit(functools.partial(train_step.discriminator_loss, static=static))
    value, metrics = compute(state.d, reals, fakes, None, jnp.float32(1), jax.random.key(7))
    _, real, fake, _, _ = loss_parts("logistic")
    np.testing.assert_allclose(value, (softplus(fake) + softplus(-real)).mean(), rtol=1e-4)
    assert "Loss/r1_penalty" not in metrics


def poisoned(state, field, value=np.nan):
    """The state with one bad number in the deepest of the weights of a network that are in use at 4 pixels."""
    tree = jax.tree.map(np.array, getattr(state, field))
    block = tree["blocks"] if field == "d" else tree["synthesis"]["blocks"]
    (block["b4"]["dense0"] if field == "d" else block["b4"]["conv1"])["weight"].flat[0] = value
    return dataclasses.replace(state, **{field: tree})


# 1e38 is finite, and so are the weights; the scores of the discriminator are not. (The generator normalizes it away.)
@pytest.mark.parametrize("field, value", [("g", np.nan), ("d", np.nan), ("d", 1e38)])
def test_a_step_that_is_not_finite_changes_nothing_but_the_clock(field, value):
    before = poisoned(mid_run_state("logistic"), field, value)
    after, metrics = run_step(before)
    assert metrics["Progress/skipped"] == 1
    assert after.nimg == before.nimg + N
    for name in ("g", "d", "g_ema", "g_opt", "d_opt", "w_avg", "noise_const"):
        assert_trees_equal(getattr(after, name), getattr(before, name))


def test_a_lazy_step_that_is_not_finite_changes_nothing():
    before = poisoned(mid_run_state("lazy"), "d")
    after, metrics = run_step(before, "lazy", "regularize_step")
    assert metrics["Progress/skipped_r1"] == 1
    for name in ("d", "d_opt", "nimg"):
        assert_trees_equal(getattr(after, name), getattr(before, name))


def test_steps_are_not_skipped_without_need_and_say_how_large_gradients_are():
    """With beta1 = 0 Adam's first moment is the gradient, so that its length is the norm that is told."""
    after, metrics = after_one_step()
    assert metrics["Progress/skipped"] == 0
    for side in ("g", "d"):
        mu = jax.tree.leaves(getattr(after, f"{side}_opt").mu)
        norm = math.sqrt(sum(float(np.square(leaf, dtype=np.float64).sum()) for leaf in mu))
        assert metrics[f"Doctor/gradient_norm/{side.upper()}"] == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("variant", ["logistic", "relativistic"])
def test_the_sign_statistic(variant):
    """r_t: how the real scores' signs are on average; of a pair, those of the differences."""
    static, state = make_static(variant), mid_run_state(variant)
    reals, fakes = np.random.default_rng(3).standard_normal((2, N, 4, 4, 3), np.float32)
    c = np.eye(3, dtype=np.float32)[LABELS] if static.config.num_classes else None
    signs = []
    for bias in (-100, 0, 100):  # on all scores: a pair does not see it
        d = jax.tree.map(np.array, state.d)
        d["blocks"]["b4"]["dense1"]["bias"] += bias
        network = static.networks.discriminator(d)
        real, fake = network(reals, c), network(fakes, c)
        expected = np.sign(real - fake if variant == "relativistic" else real).mean()
        loss = train_step.discriminator_loss(d, reals, fakes, c, jnp.float32(1), jax.random.key(0), static=static)
        assert loss[1]["Loss/signs/real"] == pytest.approx(expected)
        signs.append(expected)
    assert (len(set(signs)) == 1) == (variant == "relativistic")


def test_frozen_layers_stay_and_the_others_are_trained_as_ever():
    static, before = make_static("logistic"), mid_run_state("logistic")
    run = dataclasses.replace(static.config.run, init_from="elsewhere", freeze="d.b4.conv,g.mapping")
    static = StepConfig(dataclasses.replace(static.config, run=run), static.networks)
    before = dataclasses.replace(before, g_opt=g_optimizer(static.config).init(before.g))
    before = dataclasses.replace(before, d_opt=d_optimizer(static.config).init(before.d))
    step = jax.jit(functools.partial(train_step.train_step, static=static))
    after, _ = jax.device_get(step(before, IMAGES, LABELS, jnp.float32(1), jnp.float32(0.01)))
    assert_trees_equal(after.g["mapping"], before.g["mapping"])
    # The average differs from the network's own weights here, as one that was taken from another run does.
    assert_trees_equal(after.g_ema["mapping"], before.g_ema["mapping"])
    assert_trees_equal(after.g_ema["synthesis"], after_one_step()[0].g_ema["synthesis"])
    assert_trees_equal(after.d["blocks"]["b4"]["conv"], before.d["blocks"]["b4"]["conv"])
    for tree in (after.g_opt.nu["mapping"], after.d_opt.nu["blocks"]["b4"]["conv"]):
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(tree))
    # The discriminator's other gradients are what they were: with beta1 = 0 the first moment is the gradient.
    expected = after_one_step()[0].d_opt.mu["blocks"]["b4"]
    for layer in ("fromrgb", "dense0", "dense1"):
        assert_trees_close(after.d_opt.mu["blocks"]["b4"][layer], expected[layer])
    assert not np.array_equal(
        after.g["synthesis"]["blocks"]["b4"]["const"], before.g["synthesis"]["blocks"]["b4"]["const"]
    )


def test_wgan_gp_step():
    after, metrics = after_one_step("wgan_gp")
    assert set(metrics) == {
        "Loss/G/loss",
        "Loss/D/loss",
        "Loss/scores/real",
        "Loss/scores/fake",
        "Loss/gradient_penalty",
        "Doctor/gradient_norm/G",
        "Doctor/gradient_norm/D",
        "Progress/skipped",
    }
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.g, after.d)))
    other = run_step(mid_run_state("wgan_gp"), "wgan_gp", labels=LABELS[::-1].copy())[1]
    assert all(other[name] != metrics[name] for name in metrics if name != "Progress/skipped"), "labels do nothing"
