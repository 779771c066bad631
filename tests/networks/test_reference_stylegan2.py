"""Agreement with StyleGAN2's numbers from the public implementation in PyTorch, to 1e-4."""

import functools

import jax
import jax.numpy as jnp
import pytest

from stylegen import ops
from stylegen.networks.build import build_networks
from stylegen.networks.generator import Generator
from stylegen.networks.mapping import broadcast_styles, num_styles
from stylegen.sampling.generate import styles, synthesize
from stylegen.training import losses
from stylegen.training.state import abstract_state
from tests.networks.test_reference_stylegan1 import TOLERANCE, assert_close
from tests.support.reference import Reference2, check_norms

WS = num_styles(32)


@functools.cache
def load():
    return Reference2()


@functools.cache
def networks():
    return build_networks(load().config)


def generator(params=None):
    ref = load()
    return networks().generator(params or ref.params(ref.generator_paths()), ref.noise_const())


def discriminator():
    ref = load()
    return networks().discriminator(ref.params(ref.discriminator_paths()))


def public():
    """The generator as everything downstream takes it."""
    ref = load()
    return Generator(
        config=ref.config,
        params=ref.params(ref.generator_paths()),
        noise_const=ref.noise_const(),
        w_avg=ref["vars/G/mapping.w_avg"],
        resolution=32,
    )


def test_every_variable_is_mapped():
    ref, abstract = load(), abstract_state(load().config)
    for params, paths in ((abstract.g, ref.generator_paths()), (abstract.d, ref.discriminator_paths())):
        assert jax.tree.map(lambda a: a.shape, ref.params(paths)) == jax.tree.map(lambda a: a.shape, params)
    assert jax.tree.map(lambda a: a.shape, ref.noise_const()) == jax.tree.map(lambda a: a.shape, abstract.noise_const)


def test_styles():
    assert_close(styles(public(), load()["in/z"]), load()["out/ws"], "ws")


@pytest.mark.parametrize(("noise", "name"), [("const", "images"), ("none", "images_no_noise")])
def test_images(noise, name):
    ref = load()
    assert_close(synthesize(public(), ref["out/ws"], noise=noise, as_float=True), ref.images(f"out/{name}"), name)


def test_truncated_images():
    ref, G = load(), public()
    ws = styles(G, ref["in/z"], psi=0.7, cutoff=4)
    assert_close(synthesize(G, ws, as_float=True), ref.images("out/images_psi0.7_cutoff4"), "images")


def test_scores_and_losses():
    ref = load()
    reals, fakes = ops.to_float(ref.images("in/reals_uint8")), jnp.asarray(ref.images("out/images"))
    score = jax.jit(discriminator())
    real, fake = score(reals), score(fakes)
    assert_close(real, ref["out/real_scores"][:, 0], "real scores")
    assert_close(fake, ref["out/fake_scores"][:, 0], "fake scores")
    assert_close(jnp.mean(losses.logistic_generator(fake)), ref["out/g_loss"], "generator loss")
    loss = jnp.mean(losses.logistic_discriminator(real, fake))
    assert_close(loss, ref["out/d_loss_without_r1"], "discriminator loss")
    _, r1 = losses.scores_and_penalty(score, reals, 32)
    assert_close(r1, ref["out/r1"], "R1")
    assert_close(loss + 5 * jnp.mean(r1), ref["out/d_loss"], "discriminator loss with R1")


def check_gradients(kind, paths, gradients):
    check_norms(load(), f"out/{kind}_grad_l2/", paths, gradients, TOLERANCE)


def test_discriminator_gradients_with_r1():
    ref = load()
    reals, fakes = ops.to_float(ref.images("in/reals_uint8")), jnp.asarray(ref.images("out/images"))

    @jax.jit
    @jax.grad
    def gradients(params):
        score = networks().discriminator(params)
        loss = losses.logistic_discriminator(score(reals), score(fakes))
        return jnp.mean(loss + 5 * losses.scores_and_penalty(score, reals, 32)[1])

    check_gradients("d", ref.discriminator_paths(prefix=""), gradients(ref.params(ref.discriminator_paths())))


def test_generator_gradients():
    ref = load()

    @jax.jit
    @jax.grad
    def gradients(params):
        g = generator(params)
        images = g.synthesis(broadcast_styles(g.mapping(ref["in/z"]), WS), resolution=32)
        return jnp.mean(losses.logistic_generator(discriminator()(images)))

    check_gradients("g", ref.generator_paths(prefix=""), gradients(ref.params(ref.generator_paths())))


def test_path_lengths_and_their_gradients():
    ref = load()
    noise = jnp.asarray(ref.images("in/path_noise"), jnp.float32)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradients(params):
        g = generator(params)
        draw = functools.partial(g.synthesis, resolution=32)
        lengths = losses.path_lengths(draw, broadcast_styles(g.mapping(ref["in/z"]), WS), noise)
        return jnp.mean(jnp.square(lengths)), lengths

    slopes, lengths = gradients(ref.params(ref.generator_paths()))
    assert_close(lengths, ref["out/path_lengths"], "path lengths")
    check_gradients("path", ref.generator_paths(prefix=""), slopes)
