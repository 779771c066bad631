"""The state of a run: ``TrainState``, its initial value, and the generator to sample from."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from stylegen.config import Config
from stylegen.networks.build import Params
from stylegen.networks.discriminator import Discriminator
from stylegen.networks.generator import Generator
from stylegen.networks.layers import Initializer
from stylegen.networks.structure import split_generator
from stylegen.training.augment import Controller, init_controller
from stylegen.training.losses import penalties
from stylegen.training.schedule import Stage

# Fields of the state that hold the arrays of a Generator (``structure.ARRAYS``): sampled from, loaded and exported.
GENERATOR_FIELDS = {"params": "g_ema", "noise_const": "noise_const", "w_avg": "w_avg"}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that training changes; saving and restoring it is resuming the run."""

    nimg: Array  # int32, real images shown: the clock
    key: Array  # typed key of the run; every step folds nimg into it, so that it never changes
    g: Params
    d: Params
    g_ema: Params  # moving average of g: what is sampled from
    w_avg: Array  # [w_dim], moving average of w
    noise_const: Params  # constant noise inputs; drawn once
    g_opt: optax.OptState  # Adam's moments
    d_opt: optax.OptState
    pl_mean: Array | None = None  # moving average of path lengths; None without path-length regularization
    augment: Controller | None = None  # strength of augmentation; only where it adapts
    power_ema: tuple[Params, ...] | None = None  # averages of g for ``optimizer.power_ema``; None without


def _adam(config: Config, correction: float) -> optax.GradientTransformation:
    o = config.optimizer
    return optax.scale_by_adam(b1=o.beta1**correction, b2=o.beta2**correction, eps=o.epsilon)


def regularizes_lazily(config: Config) -> bool:
    """Whether R1 (with the relativistic loss, R1 and R2) is a step of its own, every ``loss.r1_interval`` steps."""
    return bool(penalties(config.loss)) and config.loss.r1_interval > 1


def lazy_correction(config: Config) -> float:
    """Factor c on the discriminator's learning rate and exponent on its betas under lazy regularization.

    With R1 every k steps the optimizer takes k + 1 steps where it took k, and c = k/(k + 1) makes them equivalent: rate
    c * lambda, betas beta1^c and beta2^c. The penalty is multiplied by k, and Adam's moments are shared by
    both kinds of step (StyleGAN2, Karras et al. 2020, appendix B, "Lazy regularization"). Without such steps c is 1.
    """
    k = config.loss.r1_interval
    return k / (k + 1) if regularizes_lazily(config) else 1.0


def path_correction(config: Config) -> float:
    """The same for the generator, whose lazy regularization is that of path lengths."""
    k = config.loss.pl_interval
    return k / (k + 1) if config.loss.pl_weight > 0 else 1.0


def g_optimizer(config: Config) -> optax.GradientTransformation:
    """Adam for the generator, without the learning rate, which the schedule gives; with its correction likewise."""
    return _adam(config, path_correction(config))


def d_optimizer(config: Config) -> optax.GradientTransformation:
    """Adam for the discriminator, without the learning rate; with the correction for lazy regularization."""
    return _adam(config, lazy_correction(config))


def init_state(config: Config, seed: int | None = None) -> TrainState:
    """The state at the beginning of a run; ``seed`` defaults to ``run.seed``."""
    return _state(config, config.run.seed if seed is None else seed)


def abstract_state(config: Config) -> TrainState:
    """Shapes and dtypes of ``init_state``'s result; nothing is computed."""
    return jax.eval_shape(lambda: _state(config, None))


def _state(config: Config, seed: int | None) -> TrainState:
    seeds = [None] * 2 if seed is None else np.random.SeedSequence(seed).spawn(2)
    _, g, noise_const = split_generator(config, Initializer(seeds[0]))
    d = nnx.to_pure_dict(nnx.state(Discriminator(config, init=Initializer(seeds[1])), nnx.Param))
    return TrainState(
        nimg=jnp.zeros((), jnp.int32),
        key=jax.random.key(seed or 0),
        g=g,
        d=d,
        g_ema=jax.tree.map(jnp.copy, g),
        w_avg=jnp.zeros(config.generator.w_dim),
        noise_const=noise_const,
        g_opt=g_optimizer(config).init(g),
        d_opt=d_optimizer(config).init(d),
        pl_mean=jnp.zeros(()) if config.loss.pl_weight > 0 else None,
        augment=init_controller(config.augment),
        power_ema=tuple(jax.tree.map(jnp.copy, g) for _ in config.optimizer.power_ema) or None,
    )


def blank_state(config: Config) -> TrainState:
    """A state of zeros on the host, to warm programs up with."""

    def blank(x: jax.ShapeDtypeStruct) -> Any:
        is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        return jax.random.key(0) if is_key else np.zeros(x.shape, x.dtype)

    return jax.tree.map(blank, abstract_state(config))


def ema_generator(config: Config, state: TrainState, stage: Stage, source: str = "") -> Generator:
    """The generator to sample from at this point of a run."""
    return Generator(
        config=config,
        **{name: getattr(state, field) for name, field in GENERATOR_FIELDS.items()},
        resolution=stage.resolution,
        alpha=stage.alpha,
        kimg=int(state.nimg) / 1000,
        source=source,
    )
