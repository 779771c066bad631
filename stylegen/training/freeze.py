"""Frozen layers, named by prefixes of their parameters' paths (``run.freeze``).

A parameter's name is its network and its path, without the words that all paths share: ``d.b64.conv0.weight`` is
``blocks.b64.conv0.weight`` of the discriminator, ``g.b8.act0.bias`` is ``synthesis.blocks.b8.act0.bias`` of the
generator, ``g.mapping.dense.dense0.weight`` is of its mapping network.
"""

from collections.abc import Callable
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
    parts = [part.strip().rstrip(".") for part in freeze.split(",") if part.strip()]
    return tuple(name(*part.split(".", 1)) if "." in part else part for part in parts)


def is_frozen(parameter: str, frozen_prefixes: tuple[str, ...]) -> bool:
    """Whether a parameter's name begins with one of the prefixes, whole words compared: d.b6 is not d.b64."""
    return any(f"{parameter}.".startswith(f"{prefix}.") for prefix in frozen_prefixes)


def without_frozen(gradients: Any, side: str, freeze: str) -> Any:
    """Gradients of a network, ``g`` or ``d``, with zeros for frozen parameters.

    Adam's moments of a frozen parameter thus stay 0, and the parameter stays as it is. The compiler drops operations
    that only its gradient needs.
    """
    return _where_frozen(gradients, side, freeze, jnp.zeros_like)


def with_frozen(average: Any, before: Any, side: str, freeze: str) -> Any:
    """A moving average of a network's parameters, with those ``before`` in the places of frozen ones.

    An average that was taken from another run differs from the network's own weights. Without this a frozen layer
    would move toward them in the copy that is sampled from.
    """
    return _where_frozen(average, side, freeze, lambda _, old: old, before)


def _where_frozen(tree: Any, side: str, freeze: str, replace: Callable[..., Any], *others: Any) -> Any:
    """The tree of a network's parameters, with ``replace`` of the leaves (and those of others) that are frozen."""
    frozen_prefixes = prefixes(freeze)
    if not frozen_prefixes:
        return tree

    def replaced(path: Any, leaf: Any, *other_leaves: Any) -> Any:
        parameter = name(side, jax.tree_util.keystr(path, simple=True, separator="."))
        return replace(leaf, *other_leaves) if is_frozen(parameter, frozen_prefixes) else leaf

    return jax.tree_util.tree_map_with_path(replaced, tree, *others)


def frozen(config: Config) -> list[str]:
    """Names of the parameters that ``run.freeze`` freezes.

    Raises:
        ConfigError: a prefix names nothing, or nothing of a network is left to train.
    """
    state = abstract_state(config)
    names = {side: [name(side, path) for path in by_path(getattr(state, side))] for side in ("g", "d")}
    parameters = names["g"] + names["d"]
    frozen_prefixes = prefixes(config.run.freeze)
    for prefix in frozen_prefixes:
        if not any(is_frozen(parameter, (prefix,)) for parameter in parameters):
            groups = sorted({".".join(parameter.split(".")[:2]) for parameter in parameters}, key=natural_order)
            raise ConfigError(
                f"run.freeze = {config.run.freeze!r}: there are no parameters {prefix}; name some of "
                f"{', '.join(groups)}, or parts of them, such as d.b8.conv0."
            )
    for side, parameter_names in names.items():
        if all(is_frozen(parameter, frozen_prefixes) for parameter in parameter_names):
            raise ConfigError(f"run.freeze = {config.run.freeze!r}: leaves nothing of {side} to train; name layers.")
    return [parameter for parameter in parameters if is_frozen(parameter, frozen_prefixes)]
