"""The training step against numpy: Adam, moving averages, style mixing, penalties, and what a step must leave alone."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import augment, losses, train_step
from stylegen.config import (
    AugmentConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from stylegen.generator import num_styles
from stylegen.state import (
    abstract_state,
    build_networks,
    d_optimizer,
    g_optimizer,
    init_state,
    lazy_correction,
    regularizes_lazily,
)
from stylegen.train_step import Static

N = 4  # images a step
VARIANTS = {
    "logistic": {"loss": LossConfig(r1_gamma=8.0)},
    "lazy": {"loss": LossConfig(r1_gamma=8.0, r1_interval=4)},
    "relativistic": {"loss": LossConfig(name="relativistic", r1_gamma=8.0), "num_classes": 3},
    "relativistic lazy": {"loss": LossConfig(name="relativistic", r1_gamma=8.0, r1_interval=4)},
    "wgan_gp": {"loss": LossConfig(name="wgan_gp", wgan_lambda=7.0, wgan_epsilon=0.5), "num_classes": 3},
    "bfloat16": {"compute_dtype": "bfloat16"},
    "ada": {"loss": LossConfig(r1_gamma=8.0), "augment": AugmentConfig("ada", p=0.5, noise=True, cutout=True)},
}


@functools.cache
def make_static(variant):
    config = Config(
        resolution=8,
        data=DataConfig(source="images", batch=N),
        generator=GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, channel_max=4, w_avg_beta=0.9),
        discriminator=DiscriminatorConfig(channel_max=4),
        optimizer=OptimizerConfig(beta2=0.9, epsilon=1e-3, ema_kimg=0.01),
        schedule=ScheduleConfig(start_resolution=4),
        **VARIANTS[variant],
    )
    return Static(config, build_networks(config))


@functools.cache
def start(variant):
    """A state in mid-run: averages that differ from what they average, Adam's moments of earlier steps."""
    rng = np.random.default_rng(2)
    state = init_state(make_static(variant).config, seed=1)

    def shaken(tree, size=0.1):
        return jax.tree.map(lambda x: np.asarray(x) + size * rng.standard_normal(x.shape, np.float32), tree)

    def used(opt):
        return opt._replace(count=np.int32(3), nu=jax.tree.map(np.square, shaken(opt.nu)))

    return dataclasses.replace(
        state,
        nimg=np.int32(40),
        g=shaken(state.g),
        d=shaken(state.d),
        g_ema=shaken(state.g_ema),
        w_avg=shaken(state.w_avg),
        g_opt=used(state.g_opt),
        d_opt=used(state.d_opt),
    )


IMAGES = np.random.default_rng(1).integers(0, 256, (N, 4, 4, 3), np.uint8)
LABELS = np.array([0, 2, 1, 2], np.int32)


@functools.cache
def compiled(name, variant):
    """train_step or regularize_step of a variant; the stage is the start resolution of 4 pixels, of 8."""
    step = functools.partial(getattr(train_step, name), static=make_static(variant))
    arguments = start(variant), IMAGES, LABELS, jnp.float32(1), jnp.float32(1)
    return jax.jit(step).lower(*arguments).compile()


def take(state, variant="logistic", name="train_step", images=IMAGES, labels=LABELS, learning_rate=0.01):
    state, metrics = compiled(name, variant)(state, images, labels, jnp.float32(1), jnp.float32(learning_rate))
    return jax.device_get((dataclasses.replace(state, key=jax.random.key_data(state.key)), metrics))


@functools.cache
def taken(variant="logistic"):
    """The state after a step from ``start``, and the step's metrics."""
    return take(start(variant), variant)


def assert_trees(check, *trees):
    assert len({jax.tree.structure(tree) for tree in trees}) == 1
    for leaves in zip(*map(jax.tree.leaves_with_path, trees), strict=True):
        check(jax.tree_util.keystr(leaves[0][0]), *[np.asarray(leaf) for _, leaf in leaves])


def close(rtol=1e-5, atol=1e-6):
    return lambda name, a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


equal = functools.partial(lambda name, a, b: np.testing.assert_array_equal(a, b, err_msg=name))


def adam(params, gradients, m, v, t, rate, beta1, beta2, epsilon):
    """Step number t of Adam (Kingma and Ba 2015, Algorithm 1): (params, m, v)."""
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * np.square(g), v, gradients)

    def move(p, m, v):
        return p - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)

    return jax.tree.map(move, params, m, v), m, v


def inactive(name):
    return "'b8'" in name


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
        params, opt_state = train_step.descend(optimizer, gradients, opt_state, params, 0.1 * t)
        assert_trees(close(), params, expected)


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
    before, (after, _) = start(variant), taken(variant)
    factor = 4 / 5 if (variant, side) == ("lazy", "d") else 1
    old, new = getattr(before, f"{side}_opt"), getattr(after, f"{side}_opt")
    params, _, nu = adam(getattr(before, side), new.mu, old.mu, old.nu, 4, 0.01 * factor, 0, 0.9**factor, 1e-3)
    assert new.count == 4
    assert_trees(close(), getattr(after, side), params)
    assert_trees(close(), new.nu, nu)


def test_a_step_changes_what_is_active_and_nothing_else():
    before, (after, _) = start("logistic"), taken()
    assert after.nimg == before.nimg + N
    np.testing.assert_array_equal(after.key, jax.random.key_data(before.key))
    assert_trees(equal, after.noise_const, before.noise_const)

    def check(name, new, old):
        assert np.array_equal(new, old) == inactive(name), name

    assert_trees(check, after.g, before.g)
    assert_trees(check, after.d, before.d)


def test_both_networks_keep_to_their_own_step():
    """The discriminator's step uses the old generator, and the generator's step the new discriminator."""
    still = take(start("logistic"), learning_rate=0.0)
    assert_trees(equal, still[0].g, start("logistic").g)
    assert_trees(equal, still[0].d, start("logistic").d)
    metrics, before = taken()[1], still[1]
    for name in ("Loss/D/loss", "Loss/scores/real", "Loss/scores/fake", "Loss/r1_penalty"):
        assert metrics[name] == before[name]
    assert metrics["Loss/G/loss"] != before["Loss/G/loss"]
    # Adam's moments take in the gradient of an optimizer step whatever its rate.
    assert_trees(equal, taken()[0].d_opt, still[0].d_opt)


def test_moving_average_takes_in_the_generator_before_the_step():
    before, (after, _) = start("logistic"), taken()
    beta = 0.5 ** (N / 10)  # half-life 0.01 kimg
    expected = jax.tree.map(lambda e, g: beta * e + (1 - beta) * g, before.g_ema, before.g)
    assert_trees(close(), after.g_ema, expected)


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
    static, before = make_static("logistic"), start("logistic")
    optimizer = dataclasses.replace(static.config.optimizer, ema_rampup=0.05)
    static = Static(dataclasses.replace(static.config, optimizer=optimizer), static.networks)
    step = jax.jit(functools.partial(train_step.train_step, static=static))
    after, _ = step(before, IMAGES, LABELS, jnp.float32(1), jnp.float32(0.01))
    beta = 0.5 ** (N / (0.05 * 40))  # 40 images shown; the whole half-life is 10
    expected = jax.tree.map(lambda e, g: beta * e + (1 - beta) * g, before.g_ema, before.g)
    assert_trees(close(), after.g_ema, expected)


def test_update_w_avg():
    rng = np.random.default_rng(0)
    w_avg, w = rng.standard_normal(3, np.float32), rng.standard_normal((5, 3), np.float32)
    np.testing.assert_allclose(train_step.update_w_avg(w_avg, w, 0.995), 0.995 * w_avg + 0.005 * w.mean(0), rtol=1e-5)


def test_w_avg_is_updated_in_both_halves_of_a_step():
    other = dataclasses.replace(start("logistic"), w_avg=start("logistic").w_avg + 1)
    np.testing.assert_allclose(take(other)[0].w_avg - taken()[0].w_avg, np.full(8, 0.9**2), rtol=1e-4)


def test_a_step_is_deterministic_and_the_clock_is_its_seed():
    again, metrics = take(start("logistic"))
    assert_trees(equal, again, taken()[0])
    assert metrics == taken()[1]
    later = dataclasses.replace(start("logistic"), nimg=np.int32(44))
    assert take(later)[1]["Loss/scores/fake"] != metrics["Loss/scores/fake"]
    assert take(later)[1]["Loss/scores/real"] == metrics["Loss/scores/real"]
    reseeded = dataclasses.replace(start("logistic"), key=jax.random.key(5))
    assert take(reseeded)[1]["Loss/scores/fake"] != metrics["Loss/scores/fake"]


@functools.cache
def loss_parts(variant):
    """(discriminator_loss' value and metrics, real scores, fake scores, gradients at reals, gradients at blends)."""
    static, state = make_static(variant), start(variant)
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


@pytest.mark.parametrize("resolution", [4, 8])
@pytest.mark.parametrize("side", ["d", "g"])
def test_relativistic_loss_with_r1_and_r2_at_every_stage(resolution, side):
    """Both losses from scores and gradients that are computed apart: pairs of the batch, R1 on reals, R2 on fakes."""
    static, state = make_static("relativistic"), start("relativistic")
    reals, fakes = np.random.default_rng(3).standard_normal((2, N, resolution, resolution, 3), np.float32)
    c, key, alpha = np.eye(3, dtype=np.float32)[LABELS], jax.random.key(7), jnp.float32(0.3)

    @jax.jit
    def compute(state):
        def score(x):
            return static.networks.discriminator(state.d)(x, c, alpha=alpha)

        def gradient(x):
            return jax.grad(lambda x: score(x).sum())(x)

        network = static.networks.generator(state.g, state.noise_const)
        drawn, _ = train_step.generate(network, static.config, key, N, c, resolution, alpha)
        d = train_step.discriminator_loss(state.d, reals, fakes, c, alpha, key, static=static)
        g = train_step.generator_loss(state.g, state, c, alpha, key, reals, static=static)[0]
        return d, g, score(reals), score(fakes), score(drawn), gradient(reals), gradient(fakes)

    (value, metrics), g, real, fake, drawn, at_reals, at_fakes = jax.device_get(compute(state))
    if side == "g":
        np.testing.assert_allclose(g, softplus(real - drawn).mean(), rtol=1e-4)
        return
    scale = (resolution / 8) ** 2
    r1, r2 = (np.square(gradient).sum((1, 2, 3)) * scale for gradient in (at_reals, at_fakes))
    np.testing.assert_allclose(metrics["Loss/r1_penalty"], r1.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/r2_penalty"], r2.mean(), rtol=1e-4)
    np.testing.assert_allclose(value, (softplus(fake - real) + 8 / 2 * (r1 + r2)).mean(), rtol=1e-4)
    assert min(r1.mean(), r2.mean()) > 0.01 * softplus(fake - real).mean()


def test_lazy_relativistic_step_weighs_r1_and_r2_as_the_steps_it_stands_for():
    static, before = make_static("relativistic lazy"), start("relativistic lazy")
    after, metrics = take(before, "relativistic lazy", "regularize_step")
    key = train_step._step_keys(before)[-1]

    @jax.jit
    @jax.grad
    def gradients(d):
        def score(x):
            return static.networks.discriminator(d)(x, alpha=jnp.float32(1))

        network = static.networks.generator(before.g, before.noise_const)
        fakes, _ = train_step.generate(network, static.config, jax.random.fold_in(key, 1), N, None, 4, jnp.float32(1))
        squares = [losses.squared_gradient(score, x) for x in (IMAGES / np.float32(127.5) - 1, fakes)]
        return jnp.mean(squares[0] + squares[1]) / 4

    expected = jax.tree.map(lambda g: 8 / 2 * 4 * np.asarray(g), gradients(before.d))
    assert_trees(close(rtol=1e-3, atol=1e-4), after.d_opt.mu, expected)
    assert metrics["Loss/r1_penalty"] > 0 and metrics["Loss/r2_penalty"] > 0
    for name in ("g", "g_ema", "g_opt", "w_avg", "noise_const", "nimg"):
        assert_trees(equal, getattr(after, name), getattr(before, name))


def test_augmented_losses_see_augmented_images_and_r1_goes_through():
    """Against the same by hand: the losses of transformed images, and R1 by the images before."""
    static, state = make_static("ada"), start("ada")
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
        lazy = train_step.lazy_r1_loss(d, [reals], None, jnp.float32(1), static=static, sees=[see])
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


def test_the_generator_learns_through_the_augmentation():
    """Its loss falls along the gradient of the augmented loss, at the rate that the gradient says."""
    static, state = make_static("ada"), start("ada")
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
    before, (after, metrics) = start("ada"), taken("ada")
    expected = augment.adjust(before.augment, metrics["Loss/signs/real"], N, make_static("ada").config.augment)
    assert_trees(equal, after.augment, expected)
    assert after.augment.images == N and metrics["Progress/augment"] == 0.5
    due = dataclasses.replace(before, augment=dataclasses.replace(before.augment, images=jnp.float32(3 * N)))
    assert take(due, "ada")[0].augment.p < 0.5 and start("logistic").augment is None


def test_wgan_gp_loss():
    (value, metrics), real, fake, _, at_blends = loss_parts("wgan_gp")
    penalty = np.square(np.sqrt(squared(at_blends)) - 1)
    np.testing.assert_allclose(value, (fake - real + 7 * penalty + 0.5 * np.square(real)).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["Loss/gradient_penalty"], penalty.mean(), rtol=1e-4)


def test_lazy_loss_leaves_the_penalty_to_its_own_step():
    static, state = make_static("lazy"), start("lazy")
    reals, fakes = np.random.default_rng(3).standard_normal((2, N, 4, 4, 3), np.float32)
    compute = jax.jit(functools.partial(train_step.discriminator_loss, static=static))
    value, metrics = compute(state.d, reals, fakes, None, jnp.float32(1), jax.random.key(7))
    _, real, fake, _, _ = loss_parts("logistic")
    np.testing.assert_allclose(value, (softplus(fake) + softplus(-real)).mean(), rtol=1e-4)
    assert "Loss/r1_penalty" not in metrics


@pytest.mark.parametrize(
    "loss, lazily",
    [
        (LossConfig(), False),
        (LossConfig(r1_interval=16), True),
        (LossConfig(r1_interval=16, r1_gamma=0.0), False),
        (LossConfig(r1_interval=16, name="relativistic"), True),
        (LossConfig(r1_interval=16, name="wgan_gp"), False),
    ],
)
def test_which_losses_regularize_lazily_and_correct_adam_for_it(loss, lazily):
    config = Config(loss=loss)
    assert regularizes_lazily(config) == lazily
    assert lazy_correction(config) == pytest.approx(16 / 17 if lazily else 1)


def test_lazy_step_is_adam_on_the_penalty_as_strong_as_the_steps_it_stands_for():
    static, before = make_static("lazy"), start("lazy")
    after, metrics = take(before, "lazy", "regularize_step")

    @jax.jit
    @jax.grad
    def gradients(d):
        def score(x):
            return static.networks.discriminator(d)(x, alpha=jnp.float32(1))

        return jnp.mean(losses.squared_gradient(score, IMAGES / np.float32(127.5) - 1)) / 4

    expected = jax.tree.map(lambda g: 8 / 2 * 4 * np.asarray(g), gradients(before.d))
    assert_trees(close(rtol=1e-3, atol=1e-4), after.d_opt.mu, expected)
    old, new = before.d_opt, after.d_opt
    d, _, nu = adam(before.d, new.mu, old.mu, old.nu, 4, 0.01 * 4 / 5, 0, 0.9 ** (4 / 5), 1e-3)
    assert_trees(close(), after.d, d)
    assert_trees(close(), new.nu, nu)
    assert set(metrics) == {"Loss/r1_penalty", "Progress/skipped_r1"} and metrics["Loss/r1_penalty"] > 0
    assert metrics["Progress/skipped_r1"] == 0
    for name in ("g", "g_ema", "g_opt", "w_avg", "noise_const", "nimg"):
        assert_trees(equal, getattr(after, name), getattr(before, name))


def poisoned(state, field, value=np.nan):
    """The state with one bad number in the deepest of the weights of a network that are in use at 4 pixels."""
    tree = jax.tree.map(np.array, getattr(state, field))
    block = tree["blocks"] if field == "d" else tree["synthesis"]["blocks"]
    (block["b4"]["dense0"] if field == "d" else block["b4"]["conv1"])["weight"].flat[0] = value
    return dataclasses.replace(state, **{field: tree})


# 1e38 is finite, and so are the weights; what the discriminator makes of it is not. (The generator normalises it away.)
@pytest.mark.parametrize("field, value", [("g", np.nan), ("d", np.nan), ("d", 1e38)])
def test_a_step_that_is_not_finite_changes_nothing_but_the_clock(field, value):
    before = poisoned(start("logistic"), field, value)
    after, metrics = take(before)
    assert metrics["Progress/skipped"] == 1
    assert after.nimg == before.nimg + N
    for name in ("g", "d", "g_ema", "g_opt", "d_opt", "w_avg", "noise_const"):
        assert_trees(equal, getattr(after, name), getattr(before, name))


def test_a_lazy_step_that_is_not_finite_changes_nothing():
    before = poisoned(start("lazy"), "d")
    after, metrics = take(before, "lazy", "regularize_step")
    assert metrics["Progress/skipped_r1"] == 1
    for name in ("d", "d_opt", "nimg"):
        assert_trees(equal, getattr(after, name), getattr(before, name))


def test_steps_are_not_skipped_without_need_and_say_how_large_gradients_are():
    """With beta1 = 0 Adam's first moment is the gradient, so that its length is the norm that is told."""
    after, metrics = taken()
    assert metrics["Progress/skipped"] == 0
    for side in ("g", "d"):
        mu = jax.tree.leaves(getattr(after, f"{side}_opt").mu)
        norm = math.sqrt(sum(float(np.square(leaf, dtype=np.float64).sum()) for leaf in mu))
        assert metrics[f"Doctor/gradient_norm/{side.upper()}"] == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("variant", ["logistic", "relativistic"])
def test_the_sign_statistic(variant):
    """r_t: how the real scores' signs are on average; of a pair, those of the differences."""
    static, state = make_static(variant), start(variant)
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
    static, before = make_static("logistic"), start("logistic")
    run = dataclasses.replace(static.config.run, init_from="elsewhere", freeze="d.b4.conv,g.mapping")
    static = Static(dataclasses.replace(static.config, run=run), static.networks)
    before = dataclasses.replace(before, g_opt=g_optimizer(static.config).init(before.g))
    before = dataclasses.replace(before, d_opt=d_optimizer(static.config).init(before.d))
    step = jax.jit(functools.partial(train_step.train_step, static=static))
    after, _ = jax.device_get(step(before, IMAGES, LABELS, jnp.float32(1), jnp.float32(0.01)))
    assert_trees(equal, after.g["mapping"], before.g["mapping"])
    assert_trees(equal, after.d["blocks"]["b4"]["conv"], before.d["blocks"]["b4"]["conv"])
    for tree in (after.g_opt.nu["mapping"], after.d_opt.nu["blocks"]["b4"]["conv"]):
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(tree))
    # The discriminator's other gradients are what they were: with beta1 = 0 the first moment is the gradient.
    expected = taken()[0].d_opt.mu["blocks"]["b4"]
    for layer in ("fromrgb", "dense0", "dense1"):
        assert_trees(close(), after.d_opt.mu["blocks"]["b4"][layer], expected[layer])
    assert not np.array_equal(
        after.g["synthesis"]["blocks"]["b4"]["const"], before.g["synthesis"]["blocks"]["b4"]["const"]
    )


def test_wgan_gp_step():
    after, metrics = taken("wgan_gp")
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
    other = take(start("wgan_gp"), "wgan_gp", labels=LABELS[::-1].copy())[1]
    assert all(other[name] != metrics[name] for name in metrics if name != "Progress/skipped"), "labels do nothing"


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
    step = functools.partial(getattr(train_step, name), static=static)
    after, metrics = jax.eval_shape(step, before, images, jax.ShapeDtypeStruct((N,), jnp.int32), scalar, scalar)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(after)] == [(x.shape, x.dtype) for x in jax.tree.leaves(before)]
    assert {(m.shape, str(m.dtype)) for m in metrics.values()} == {((), "float32")}


def test_reset_forgets_the_moments_alone():
    before = start("logistic")
    after = train_step.reset_optimizers(before)
    fresh = init_state(make_static("logistic").config)
    for mine, theirs in zip(*(jax.tree.leaves((s.g_opt, s.d_opt)) for s in (after, fresh)), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)  # as they are at the beginning of a run
    for opt in (after.g_opt, after.d_opt):
        assert opt.count == 0
        assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves((opt.mu, opt.nu)))
    for name in ("g", "d", "g_ema", "w_avg", "noise_const", "nimg"):
        assert_trees(equal, getattr(after, name), getattr(before, name))


@functools.cache
def mixed(probability, layers=6, draws=4000):
    """Style mixing of w = 0 with w_mix = 1, for many keys: [draws, N, layers]."""
    w = np.zeros((3, 2), np.float32)

    @jax.jit
    @jax.vmap
    def mix(key):
        return train_step.mix_styles(w, w + 1, key, layers, probability)

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
    seen, given = [], []

    def record(w, w_mix, key, layers, probability):
        seen.append((layers, probability))
        given.append(w)
        return jnp.zeros((N, layers, 8))

    monkeypatch.setattr(train_step, "mix_styles", record)
    static, state = make_static("logistic"), start("logistic")
    network = static.networks.generator(state.g, state.noise_const)

    @jax.eval_shape
    def trace():
        _, w = train_step.generate(network, static.config, jax.random.key(0), N, None, resolution, 1.0)
        assert given[0] is w, "the running mean is fed by the first latents"

    assert seen == [(num_styles(resolution), 0.9)]


def test_no_mixing_costs_no_second_mapping(monkeypatch):
    monkeypatch.setattr(train_step, "mix_styles", lambda *_: pytest.fail("mixed"))
    static, state = make_static("logistic"), start("logistic")
    network = static.networks.generator(state.g, state.noise_const)
    unmixed = dataclasses.replace(static.config.generator, style_mixing_prob=0.0)
    config = dataclasses.replace(static.config, generator=unmixed)
    images, w = jax.eval_shape(lambda: train_step.generate(network, config, jax.random.key(0), N, None, 8, 1.0))
    assert images.shape == (N, 8, 8, 3) and w.shape == (N, 8)


def test_reals_are_scaled_mirrored_by_half_and_faded():
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4, 3), np.uint8)
    prepare = jax.jit(train_step.prepare_reals, static_argnums=2)
    scaled = images / np.float32(127.5) - 1
    plain = np.asarray(prepare(images, jnp.float32(1), False, jax.random.key(0)))
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain, scaled, atol=1e-6)
    result = np.asarray(prepare(images, jnp.float32(1), True, jax.random.key(0)))
    kept = np.abs(result - scaled).max((1, 2, 3)) < 1e-5
    flipped = np.abs(result - scaled[:, :, ::-1]).max((1, 2, 3)) < 1e-5
    assert (kept ^ flipped).all() and 150 < flipped.sum() < 250
    other = np.asarray(prepare(images, jnp.float32(1), True, jax.random.key(1)))
    assert 100 < (np.abs(other - result).max((1, 2, 3)) > 0).sum() < 300
    faded = np.asarray(prepare(images, jnp.float32(0.25), False, jax.random.key(0)))
    means = scaled.reshape(400, 2, 2, 2, 2, 3).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(faded, 0.25 * scaled + 0.75 * means, atol=1e-5)


def test_mirroring_is_part_of_the_step_where_asked():
    static = make_static("logistic")
    seen = []
    for mirror in (False, True):
        data = dataclasses.replace(static.config.data, mirror=mirror)
        config = dataclasses.replace(static.config, data=data)

        def prepare(key, config=config):
            return train_step._prepare(IMAGES, LABELS, jnp.float32(1), key, config)[0]

        results = [np.asarray(prepare(jax.random.key(i))) for i in range(4)]
        seen.append(len({result.tobytes() for result in results}))
    assert seen[0] == 1 and seen[1] > 1


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
    after, metrics = taken()
    found = {name: float(value) for name, value in metrics.items()}
    for name in ("g", "d", "g_ema", "w_avg"):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).sum(), getattr(after, name), getattr(start("logistic"), name))
        found[f"{name} moved by"] = float(sum(jax.tree.leaves(moved)))
    same = found == pytest.approx(GOLDEN, rel=1e-4, abs=1e-5)
    digits = "\n".join(f'    "{name}": {value:.7g},' for name, value in sorted(found.items()))
    assert same, (
        "The training step computes other numbers than it did. If that is meant (another order of random draws, "
        f"another initialisation, a change of the maths that has its own test), put these into GOLDEN:\n{digits}"
    )
