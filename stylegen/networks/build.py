"""Both networks of a configuration, described once: structure apart from weights."""

import dataclasses
from typing import Any

from flax import nnx

from stylegen.config import Config
from stylegen.networks.discriminator import Discriminator
from stylegen.networks.layers import Initializer
from stylegen.networks.structure import GeneratorNetwork, structure

Params = dict[str, Any]  # nested dicts of arrays, keyed by module and parameter name


@dataclasses.dataclass(frozen=True)
class Networks:
    """The structure of both networks (hashable, so it can be static under jit)."""

    g: Any  # graphdef of the GeneratorNetwork
    d: Any  # graphdef of the Discriminator

    def generator(self, params: Params, noise_const: Params) -> GeneratorNetwork:
        """The generator with these weights, to be called."""
        return nnx.merge(self.g, params, noise_const)

    def discriminator(self, params: Params) -> Discriminator:
        """The discriminator with these weights, to be called."""
        return nnx.merge(self.d, params)


def build_networks(config: Config) -> Networks:
    """The structure of the configured networks; nothing is computed."""
    d = nnx.eval_shape(lambda: Discriminator(config, init=Initializer(None)))
    return Networks(g=structure(config).graphdef, d=nnx.graphdef(d))
