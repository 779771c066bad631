"""Adversarial losses and gradient penalties; each returns one number per example, [N] float32.

Callers average. ``score`` arguments are functions from images [N, r, r, C] to scores [N].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from stylegen.array_types import Array
from stylegen.config import LossConfig

Score = Callable[[Array], Array]


def logistic_generator(fake_scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """Non-saturating loss: softplus(-D(G(z))) (Goodfellow et al. 2014)."""
    return jax.nn.softplus(-fake_scores)


def logistic_discriminator(real_scores: Float[Array, " n"], fake_scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """softplus(D(G(z))) + softplus(-D(x)) (Goodfellow et al. 2014)."""
    return jax.nn.softplus(fake_scores) + jax.nn.softplus(-real_scores)


def wasserstein_generator(fake_scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """-D(G(z)) (Arjovsky et al. 2017)."""
    return -fake_scores


def wasserstein_discriminator(real_scores: Float[Array, " n"], fake_scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """D(G(z)) - D(x) (Arjovsky et al. 2017)."""
    return fake_scores - real_scores


def relativistic_generator(real_scores: Float[Array, " n"], fake_scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """softplus(-(D(G(z)) - D(x))): a fake is to score above the real image that it is paired with.

    RpGAN (Jolicoeur-Martineau 2018, "The relativistic discriminator", Sec. 4.2), which R3GAN takes with R1 and R2
    (Huang et al. 2024, "The GAN is dead; long live the GAN!", Eq. 2 with f(t) = -log(1 + exp(-t))).
    """
    return jax.nn.softplus(real_scores - fake_scores)


def relativistic_discriminator(real_scores: Float[Array, " n"], fake_scores: Float[Array, " n"]) -> Float[Array, " n"]:
    """softplus(-(D(x) - D(G(z)))): the counterpart of ``relativistic_generator``."""
    return jax.nn.softplus(fake_scores - real_scores)


class AdversarialLoss(NamedTuple):
    """The two sides of a loss, each from scores [N] to [N], and what kind of loss it is."""

    generator: Callable[..., Array]  # of fake scores; of real and fake scores if relativistic
    discriminator: Callable[[Array, Array], Array]  # of real and fake scores
    relativistic: bool = False  # pairs real and fake scores on both sides, and takes R2 beside R1


LOSSES = {
    "logistic": AdversarialLoss(logistic_generator, logistic_discriminator),
    "relativistic": AdversarialLoss(relativistic_generator, relativistic_discriminator, relativistic=True),
    "wgan_gp": AdversarialLoss(wasserstein_generator, wasserstein_discriminator),
}


def penalties(loss: LossConfig) -> tuple[str, ...]:
    """The penalties that r1_gamma/2 weighs: R1 on reals and, if the loss is relativistic, R2 on fakes."""
    if loss.name == "wgan_gp" or loss.r1_gamma == 0:
        return ()
    return ("r1", "r2") if LOSSES[loss.name].relativistic else ("r1",)


def scores_and_squared_gradient(
    score: Score, images: Float[Array, "n h w c"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Scores [N], and the sum over pixels and channels of (dD/dx)^2 [N], from one pass.

    One pass for both, because XLA cannot merge the backward passes of two: a discriminator step with R1 that scores the
    reals a second time costs 13 passes of the discriminator instead of 11.
    The gradient is of the raw scores, summed over the batch: images influence each other only through the minibatch
    standard deviation, as in the original.
    """
    scores, backward = jax.vjp(score, images)
    (gradient,) = backward(jnp.ones_like(scores))
    return scores, jnp.sum(jnp.square(gradient), axis=(1, 2, 3))


def scores_and_penalty(
    score: Score, images: Float[Array, "n h w c"], full_resolution: int
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Scores [N] and R1 or R2 [N], from one pass: the squared gradient as seen at full resolution.

    It is R1 on reals and R2 on fakes (Mescheder et al. 2018, Eq. 9 and 10). The loss adds gamma/2 times it. The fakes
    are constants: no gradient goes into the generator.

    The original feeds images upsampled to full resolution, where a gradient g at the stage's resolution is spread over
    f^2 pixels, f = full/stage, as g/f^2 each: the sum of squares is g^2/f^2.
    """
    scores, squared = scores_and_squared_gradient(score, images)
    return scores, squared * (images.shape[1] / full_resolution) ** 2


def gradient_penalty(
    score: Score,
    reals: Float[Array, "n h w c"],
    fakes: Float[Array, "n h w c"],
    mix: Float[Array, " n"],
    full_resolution: int,
) -> Float[Array, " n"]:
    """WGAN-GP: (norm of dD/dx - 1)^2 on random blends of reals and fakes (Gulrajani et al. 2017, Eq. 3), [N].

    Args:
        score: images to scores.
        reals: [N, r, r, C].
        fakes: [N, r, r, C].
        mix: uniform in [0, 1], [N]; the weight of the fakes.
        full_resolution: rows of images at full resolution, at which the norm is taken; see ``scores_and_penalty``.
    """
    blend = reals + (fakes - reals) * mix[:, None, None, None]
    _, squared = scores_and_penalty(score, blend, full_resolution)
    return jnp.square(_root(squared) - 1)


def path_lengths(
    draw: Callable[[Array], Array], ws: Float[Array, "n layers w_dim"], noise: Float[Array, "n h w c"]
) -> Float[Array, " n"]:
    """How far an image moves for a small step of its styles: ``|J^T y|`` (StyleGAN2, Karras et al. 2020, Eq. 4), [N].

    The squares of an image's styles are summed over the size of a style and averaged over the layers.

    Args:
        draw: styles [N, layers, w_dim] to images [N, r, r, C], one by one.
        ws: [N, layers, w_dim].
        noise: y [N, h, w, C], normal with std 1/sqrt(h w), so that lengths do not depend on the resolution.
    """
    gradient = jax.grad(lambda ws: jnp.sum(draw(ws) * noise))(ws)
    return _root(jnp.mean(jnp.sum(jnp.square(gradient), axis=2), axis=1))


def _root(squares: Array) -> Array:
    """The square root. At 0, where it has no derivative, the tiny constant gives it one; it changes no other value."""
    return jnp.sqrt(squares + 1e-20)
