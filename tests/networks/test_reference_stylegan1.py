"""Agreement with the numbers of the original implementation, at every stored lod, to 1e-4."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen import convolution, ops
from stylegen.networks.build import build_networks
from stylegen.networks.generator import Generator
from stylegen.networks.mapping import broadcast_styles, num_styles, truncate
from stylegen.sampling.generate import styles, synthesize
from stylegen.training import losses
from stylegen.training.draws import prepare_reals
from stylegen.training.state import abstract_state
from tests.support.reference import Reference, block_mean, check_norms, get

TOLERANCE = 1e-4
CASES = [("stylegan1_32", lod) for lod in ("0", "0.4", "1", "2.25")] + [
    ("stylegan1_16_labels", lod) for lod in ("0", "0.6")
]


@functools.cache
def load(name):
    return Reference(name)


@functools.cache
def networks(name):
    return build_networks(load(name).config)


def assert_close(actual, expected, what):
    """Largest difference relative to the largest expected magnitude."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    scale = np.abs(expected).max()
    assert scale > 0, f"{what}: the reference is all zero, which would prove nothing"
    assert np.abs(actual - expected).max() <= TOLERANCE * scale, (
        f"{what}: {np.abs(actual - expected).max() / scale:.2e}"
    )


def strided(ref, array):
    """The reference's batch with its strided minibatch-std groups made neighbors, as our discriminator has them."""
    return array[np.array(ops.minibatch_std_order(len(array), ref.config.discriminator.mbstd_group_size))]


def test_every_variable_is_mapped():
    for name in ("stylegan1_32", "stylegan1_16_labels"):
        ref = load(name)
        abstract = abstract_state(ref.config)
        for params, paths in ((abstract.g, ref.generator_paths()), (abstract.d, ref.discriminator_paths())):
            shapes = jax.tree.map(lambda a: a.shape, params)
            ours = jax.tree.map(lambda a: a.shape, ref.params(paths))
            assert ours == shapes
        assert jax.tree.map(lambda a: a.shape, ref.noise_const()) == jax.tree.map(
            lambda a: a.shape, abstract.noise_const
        )


@pytest.mark.parametrize("name", ["stylegan1_32", "stylegan1_16_labels"])
def test_styles(name):
    ref = load(name)
    g = networks(name).generator(ref.params(ref.generator_paths()), ref.noise_const())
    w = g.mapping(ref["in/z"], ref.labels)
    assert_close(broadcast_styles(w, num_styles(ref.config.resolution)), ref["out/dlatents"], "dlatents")


@pytest.mark.parametrize("name", ["stylegan1_32", "stylegan1_16_labels"])
def test_truncated_images_through_the_public_functions(name):
    ref = load(name)
    G = Generator(
        config=ref.config,
        params=ref.params(ref.generator_paths()),
        noise_const=ref.noise_const(),
        w_avg=ref["vars/G/dlatent_avg"],
        resolution=ref.config.resolution,
    )
    labels = None if ref.labels is None else ref.labels.argmax(1)
    ws = styles(G, ref["in/z"], labels=labels, psi=0.7, cutoff=4)
    assert_close(synthesize(G, ws, as_float=True), ref.images("out/images_psi0.7_cutoff4"), "images")
    assert_close(truncate(ref["out/dlatents"], ref["vars/G/dlatent_avg"], 0.7, 4), ws, "truncated styles")


@pytest.mark.parametrize(("name", "lod"), CASES)
def test_images_scores_and_losses(name, lod):
    ref = load(name)
    resolution, alpha = ref.stage(lod)
    g = networks(name).generator(ref.params(ref.generator_paths()), ref.noise_const())
    d = networks(name).discriminator(ref.params(ref.discriminator_paths()))
    draw = jax.jit(functools.partial(g.synthesis, resolution=resolution, alpha=alpha))
    images = draw(ref["out/dlatents"])
    full = (
        np.asarray(images).repeat(ref.config.resolution // resolution, 1).repeat(ref.config.resolution // resolution, 2)
    )
    assert_close(full, ref.images(f"out/lod{lod}/images"), "images")
    reals = prepare_reals(ref.images(f"in/lod{lod}/reals_uint8"), alpha, False, jax.random.key(0))
    assert_close(reals, block_mean(ref.images(f"out/lod{lod}/reals_processed"), resolution), "processed reals")
    c = None if ref.labels is None else strided(ref, ref.labels)
    score = jax.jit(functools.partial(d, c=c, alpha=alpha))
    real, fake = score(strided(ref, reals)), score(strided(ref, images))
    assert_close(real, strided(ref, ref[f"out/lod{lod}/real_scores"])[:, 0], "real scores")
    assert_close(fake, strided(ref, ref[f"out/lod{lod}/fake_scores"])[:, 0], "fake scores")
    assert_close(losses.logistic_generator(fake), strided(ref, ref[f"out/lod{lod}/g_loss"])[:, 0], "generator loss")
    without = losses.logistic_discriminator(real, fake)
    assert_close(without, strided(ref, ref[f"out/lod{lod}/d_loss_without_r1"])[:, 0], "discriminator loss")
    penalty = jax.jit(functools.partial(losses.scores_and_penalty, score, full_resolution=ref.config.resolution))
    _, r1 = penalty(strided(ref, reals))
    expected = (ref[f"out/lod{lod}/d_loss"].mean() - ref[f"out/lod{lod}/d_loss_without_r1"].mean()) / 5
    assert_close(jnp.mean(r1), expected, "R1")


def check_gradients(ref, lod, side, paths, gradients):
    rounding = check_norms(ref, f"out/lod{lod}/{side}_grad_l2/", paths, gradients, TOLERANCE)
    for name in [name for name in ref.arrays if name.startswith(f"out/lod{lod}/{side}_grad/")]:
        short = name.split("_grad/")[1]
        expected = ref.convert(short, ref[name])
        # A flipped slope changes single elements, which the norm hides and a difference shows.
        difference = np.linalg.norm(get(gradients, paths[short]) - expected)
        assert difference <= 1e-3 * np.linalg.norm(expected) + rounding, (name, difference)


@pytest.mark.parametrize(("name", "lod"), CASES)
def test_discriminator_gradients_with_r1(name, lod):
    ref = load(name)
    resolution, alpha = ref.stage(lod)
    paths = ref.discriminator_paths(prefix="")
    reals = strided(ref, block_mean(ref.images(f"out/lod{lod}/reals_processed"), resolution))
    fakes = strided(ref, block_mean(ref.images(f"out/lod{lod}/images"), resolution))
    c = None if ref.labels is None else strided(ref, ref.labels)

    @jax.jit
    @jax.grad
    def gradients(params):
        score = functools.partial(networks(name).discriminator(params), c=c, alpha=alpha)
        loss = losses.logistic_discriminator(score(reals), score(fakes))
        return jnp.mean(loss + 5 * losses.scores_and_penalty(score, reals, ref.config.resolution)[1])

    check_gradients(ref, lod, "d", paths, gradients(ref.params(ref.discriminator_paths())))


def generator_gradients(ref, lod, dtype="float32", count=None):
    """Gradients of the generator's loss by its parameters, computed in a dtype, of the first ``count`` images."""
    resolution, alpha = ref.stage(lod)
    built = build_networks(dataclasses.replace(ref.config, compute_dtype=dtype))
    d_params, noise, params, z = jax.tree.map(
        lambda x: jnp.asarray(x, dtype),
        (ref.params(ref.discriminator_paths()), ref.noise_const(), ref.params(ref.generator_paths()), ref["in/z"]),
    )
    d = built.discriminator(d_params)
    c = None if ref.labels is None else strided(ref, ref.labels)

    @jax.jit
    @jax.grad
    def gradients(params):
        g = built.generator(params, noise)
        w = g.mapping(strided(ref, z)[:count], None if c is None else c[:count])
        images = g.synthesis(broadcast_styles(w, num_styles(resolution)), resolution=resolution, alpha=alpha)
        return jnp.mean(losses.logistic_generator(d(images, None if c is None else c[:count], alpha=alpha)))

    return gradients(params)


def plain_blur(x):
    """[1, 2, 1]/4 along both axes, with zeros beyond the borders."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    x = (padded[:, :-2] + padded[:, 2:]) * 0.25 + x * 0.5
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    return (padded[:, :, :-2] + padded[:, :, 2:]) * 0.25 + x * 0.5


def take_plain_forms(monkeypatch):
    """Upsampling and downsampling apart from convolutions, and JAX's own derivatives of all that follows them."""
    monkeypatch.setattr(ops, "upsample_conv", lambda x, w: ops.conv(ops.upsample(x), w))
    monkeypatch.setattr(ops, "conv_downsample", lambda x, w: ops.downsample(ops.conv(x, w)))
    monkeypatch.setattr(ops, "blur", plain_blur)

    def from_parts(x, noise, strength, bias, scale, shift):
        return ops.adain(ops.noisy_leaky_relu(x, noise, strength, bias), shift, scale)

    monkeypatch.setattr(ops, "styled_activation", from_parts)


@pytest.mark.parametrize(("name", "lod"), CASES)
def test_generator_gradients(name, lod, monkeypatch):
    # In the form that the original computes too: one activation of 32 pixels at lod 1 takes the other slope of its
    # kink in the original's float32 and in this form's, and not in float64, nor in the CPU form's float32, whose
    # gradient of that layer's noise strengths is 0.02918 as in float64 where these have 0.02934.
    take_plain_forms(monkeypatch)
    ref = load(name)
    check_gradients(ref, lod, "g", ref.generator_paths(prefix=""), generator_gradients(ref, lod))


# In float64, for which XLA's convolutions on a CPU are slow: one group of minibatch standard deviation, and by default
# the two stages that have every layer of their network and a fade.
@pytest.mark.parametrize(
    ("name", "lod"),
    [pytest.param(*case, marks=() if case[1] == "0.6" else pytest.mark.slow) for case in CASES],
)
def test_the_forms_of_all_platforms_give_the_same_gradients(name, lod, monkeypatch):
    ref = load(name)

    def leaves():
        with jax.enable_x64(True):
            return [np.asarray(leaf) for leaf in jax.tree.leaves(generator_gradients(ref, lod, "float64", count=4))]

    results = {}
    for platform in ("cpu", "gpu"):
        with convolution.tracing_for(platform):
            results[platform] = leaves()
    take_plain_forms(monkeypatch)
    plain = leaves()
    largest = max(np.abs(gradient).max() for gradient in plain)
    # The statistics of instance norm are float32 whatever the rest is, and set the floor.
    for platform, forms in results.items():
        for a, b in zip(forms, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * largest, err_msg=platform)
