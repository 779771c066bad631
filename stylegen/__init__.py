"""stylegen: a StyleGAN in JAX to train, sample, explore and build on.

Names are imported when they are first used, so that ``import stylegen`` itself loads neither JAX nor anything heavier.
"""

import importlib
import warnings
from typing import Any

_HOME = {
    "load": "runs.load",
    "latents": "sampling",
    "styles": "sampling",
    "synthesize": "sampling",
    "sample": "sampling",
    "stream": "sampling",
    "mix": "sampling",
    "interpolate": "sampling.interpolation",
    "slerp": "sampling.interpolation",
    "walk": "sampling",
    "explore": "explorer.widget",
    "Generator": "networks.generator",
    "Config": "config",
    "StylegenError": "errors",
}

_RENAMED = {"lerp": "interpolate"}  # old names, which go with version 0.2; ``ops.lerp`` is another function

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """A name of the public interface, or a submodule such as ``stylegen.ops``, imported now."""
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(
            f"stylegen.{name} is now stylegen.{new}; the old name goes with version 0.2.",
            DeprecationWarning,
            stacklevel=2,
        )
        name = new
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if not name.startswith("_"):
        module = f"{__name__}.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
