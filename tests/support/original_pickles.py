"""Small networks of the original's with random weights, and their pickles."""

from pathlib import Path
from typing import Any

from tests.support import original, pickles

SMALL = {"fmap_base": 32, "fmap_max": 5, "latent_size": 7, "dlatent_size": 6, "mapping_fmaps": 6, "mapping_layers": 2}
TINY = {**SMALL, "resolution": 8}


def networks(settings: dict[str, Any], lod: float = 0.0, d: dict[str, Any] | None = None) -> tuple[Any, Any, Any]:
    """(G, D, Gs) of the original with random weights; ``d`` are settings of D alone."""
    for_d = {name: value for name, value in settings.items() if name in original.D_DEFAULTS}
    for_d = {"num_channels": 3, **for_d, **(d or {})}
    return (
        original.make_generator(settings, 1, lod),
        original.make_discriminator(for_d, 11),
        original.make_generator(settings, 21, lod),
    )


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    """Pickle a value as the original's machines do; the path."""
    path.write_bytes(pickles.dumps(value, protocol))
    return path
