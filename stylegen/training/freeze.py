"""Layers that training leaves as they are, named by prefixes of their parameters' paths (``run.freeze``).

A parameter's name is its network and its path, without the words that all share: ``d.b64.conv0.weight`` is
``blocks.b64.conv0.weight`` of the discriminator, ``g.b8.act0.bias`` is ``synthesis.blocks.b8.act0.bias`` of the
generator, ``g.mapping.dense.dense0.weight`` is of its mapping network.
"""

from typing import Any

import jax
import jax.numpy as jnp

from stylegen.config import Config, ConfigError
from stylegen.io.files import natural_order
from stylegen.networks.trees import by_path
from stylegen.training.state import abstract_state

_SHARED = ("synthesis.", "blocks.")


def name(side: str, path: str) -> str:
    """The name of a parameter of a network, ``g`` or ``d``, from its dotted path there."""
    for word in _SHARED:
        path = path.replace(word, "", 1)
    return f"{side}.{path}"


def prefixes(freeze: str) -> tuple[str, ...]:
    """The prefixes that ``run.freeze`` lists, as they are compared with names."""
    given = [part.strip().rstrip(".") for part in freeze.split(",") if part.strip()]
    return tuple(name(*part.split(".", 1)) if "." in part else part for part in given)


def is_frozen(parameter: str, chosen: tuple[str, ...]) -> bool:
    """Whether a parameter's name begins with one of the prefixes, whole words compared: d.b6 is not d.b64."""
    return any(f"{parameter}.".startswith(f"{prefix}.") for prefix in chosen)


def without_frozen(gradients: Any, side: str, freeze: str) -> Any:
    """Gradients of a network, ``g`` or ``d``, with zeros for what is frozen.

    Adam's moments of a frozen parameter stay 0 like that, and the parameter is what it was; the compiler leaves out
    what would only compute its gradient.
    """
    chosen = prefixes(freeze)
    if not chosen:
        return gradients

    def masked(path: Any, gradient: Any) -> Any:
        parameter = name(side, jax.tree_util.keystr(path, simple=True, separator="."))
        return jnp.zeros_like(gradient) if is_frozen(parameter, chosen) else gradient

    return jax.tree_util.tree_map_with_path(masked, gradients)


def frozen(config: Config) -> list[str]:
    """Names of the parameters that ``run.freeze`` keeps as they are.

    Raises:
        ConfigError: a prefix names nothing, or nothing of a network is left to train.
    """
    state = abstract_state(config)
    names = {side: [name(side, path) for path in by_path(getattr(state, side))] for side in ("g", "d")}
    every = names["g"] + names["d"]
    chosen = prefixes(config.run.freeze)
    for prefix in chosen:
        if not any(is_frozen(parameter, (prefix,)) for parameter in every):
            groups = sorted({".".join(parameter.split(".")[:2]) for parameter in every}, key=natural_order)
            raise ConfigError(
                f"run.freeze = {config.run.freeze!r}: there are no parameters {prefix}; name some of "
                f"{', '.join(groups)}, or parts of them, such as d.b8.conv0."
            )
    for side, all_of_it in names.items():
        if all(is_frozen(parameter, chosen) for parameter in all_of_it):
            raise ConfigError(f"run.freeze = {config.run.freeze!r}: leaves nothing of {side} to train; name layers.")
    return [parameter for parameter in every if is_frozen(parameter, chosen)]
