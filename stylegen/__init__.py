"""stylegen: a StyleGAN in JAX to train, sample, explore and build on.

The names below are the public interface. Each is imported when it is first used, so ``import stylegen`` itself loads
neither JAX nor anything heavier.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what _HOME says, for type checkers; tests/test_public_api.py holds the two together
    from stylegen.config import Config as Config
    from stylegen.editing.directions import Direction as Direction
    from stylegen.editing.directions import Directions as Directions
    from stylegen.editing.directions import move as move
    from stylegen.editing.discovery import find_directions as find_directions
    from stylegen.errors import StylegenError as StylegenError
    from stylegen.evaluation.compare import compare as compare
    from stylegen.explorer.widget import explore as explore
    from stylegen.hub.opening import load as load
    from stylegen.io.images import save_grid as save_grid
    from stylegen.io.images import save_image as save_image
    from stylegen.io.video import save_video as save_video
    from stylegen.networks.generator import Generator as Generator
    from stylegen.projection.loss import Weights as ProjectionWeights  # noqa: F401
    from stylegen.projection.search import Options as ProjectionOptions  # noqa: F401
    from stylegen.projection.search import project as project
    from stylegen.projection.targets import load_target as load_target
    from stylegen.runs.load import save as save
    from stylegen.sampling import latents as latents
    from stylegen.sampling import mix as mix
    from stylegen.sampling import sample as sample
    from stylegen.sampling import stream as stream
    from stylegen.sampling import styles as styles
    from stylegen.sampling import synthesize as synthesize
    from stylegen.sampling import walk as walk
    from stylegen.sampling.interpolation import interpolate as interpolate
    from stylegen.sampling.interpolation import slerp as slerp
    from stylegen.style_transfer.model import load_model as load_style_model  # noqa: F401
    from stylegen.style_transfer.stylize import stylize as stylize
    from stylegen.train import Hooks as Hooks
    from stylegen.train import train as train

# The module of each public name, and its name there. ``train`` is a module that can be called.
_HOME: dict[str, tuple[str, str]] = {
    "train": ("train", ""),
    "Hooks": ("train", "Hooks"),
    "Config": ("config", "Config"),
    "load": ("hub.opening", "load"),
    "save": ("runs.load", "save"),
    "Generator": ("networks.generator", "Generator"),
    "latents": ("sampling", "latents"),
    "styles": ("sampling", "styles"),
    "synthesize": ("sampling", "synthesize"),
    "sample": ("sampling", "sample"),
    "stream": ("sampling", "stream"),
    "mix": ("sampling", "mix"),
    "walk": ("sampling", "walk"),
    "interpolate": ("sampling.interpolation", "interpolate"),
    "slerp": ("sampling.interpolation", "slerp"),
    "project": ("projection.search", "project"),
    "ProjectionOptions": ("projection.search", "Options"),
    "ProjectionWeights": ("projection.loss", "Weights"),
    "load_target": ("projection.targets", "load_target"),
    "find_directions": ("editing.discovery", "find_directions"),
    "move": ("editing.directions", "move"),
    "Direction": ("editing.directions", "Direction"),
    "Directions": ("editing.directions", "Directions"),
    "stylize": ("style_transfer.stylize", "stylize"),
    "load_style_model": ("style_transfer.model", "load_model"),
    "compare": ("evaluation.compare", "compare"),
    "explore": ("explorer.widget", "explore"),
    "save_image": ("io.images", "save_image"),
    "save_grid": ("io.images", "save_grid"),
    "save_video": ("io.video", "save_video"),
    "StylegenError": ("errors", "StylegenError"),
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """A name of the public interface, or a submodule such as ``stylegen.ops``, imported now."""
    if name in _HOME:
        home, attribute = _HOME[name]
        module = importlib.import_module(f"{__name__}.{home}")
        return getattr(module, attribute) if attribute else module
    if not name.startswith("_"):
        path = f"{__name__}.{name}"
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
