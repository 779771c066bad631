"""What a generator is without its weights: the module of both networks, and the shapes of its arrays."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from stylegen.config import Config
from stylegen.networks.layers import Initializer, NoiseConst
from stylegen.networks.mapping import MappingNetwork
from stylegen.networks.synthesis import SynthesisNetwork

ARRAYS = ("params", "noise_const", "w_avg")  # the fields of a Generator that files and checkpoints hold as arrays


class GeneratorNetwork(nnx.Module):
    """Mapping and synthesis network together."""

    def __init__(self, config: Config, *, init: Initializer):
        self.mapping = MappingNetwork(config.generator, config.num_classes, init=init)
        self.synthesis = SynthesisNetwork(config, init=init)


class Structure:
    """A network without its arrays: a static part of compiled programs.

    Equal structures are the same object (``structure``), so that they are compared and hashed by identity. Flax's own
    hash goes through the whole network, at every call of a jitted function: 0.3 ms for a network of 32 pixels.
    """

    def __init__(self, graphdef: Any) -> None:
        self.graphdef = graphdef


MAX_SHAPES = 16  # architectures whose shapes are kept: tracing a network takes up to 0.2 s
_SHAPES: dict[Any, tuple[Any, ...]] = {}
_BY_SETTINGS: dict[Any, Structure] = {}
_BY_GRAPHDEF: dict[Any, Structure] = {}


def _architecture(config: Config) -> tuple[Any, ...]:
    """The settings that decide what a generator is."""
    sizes = config.resolution, config.const_shape, config.image_channels
    return config.generator, config.num_classes, *sizes, config.compute_dtype


def structure(config: Config) -> Structure:
    """The structure of the configured generator; nothing is computed."""
    settings = _architecture(config)
    if settings not in _BY_SETTINGS:
        graphdef = nnx.graphdef(nnx.eval_shape(lambda: GeneratorNetwork(config, init=Initializer(None))))
        _BY_SETTINGS[settings] = _BY_GRAPHDEF.setdefault(graphdef, Structure(graphdef))
    return _BY_SETTINGS[settings]


def split_generator(config: Config, init: Initializer) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A new network as (graphdef, params, noise_const); the last two are nested dicts of arrays."""
    network = GeneratorNetwork(config, init=init)
    params, noise_const = nnx.state(network, nnx.Param), nnx.state(network, NoiseConst)
    return nnx.graphdef(network), nnx.to_pure_dict(params), nnx.to_pure_dict(noise_const)


def abstract_arrays(config: Config) -> dict[str, Any]:
    """Shapes and dtypes of ``ARRAYS`` of the configured generator; nothing is computed."""
    settings = _architecture(config)
    if settings not in _SHAPES:
        if len(_SHAPES) >= MAX_SHAPES:
            _SHAPES.clear()
        params, noise_const = jax.eval_shape(lambda: split_generator(config, Initializer(None))[1:])
        _SHAPES[settings] = params, noise_const, jax.ShapeDtypeStruct((config.generator.w_dim,), np.float32)
    return dict(zip(ARRAYS, _SHAPES[settings], strict=True))
