"""One tiny configuration for all tests; each states only what matters to it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from stylegen.config import Config

# Four channels at every resolution up to 8 pixels, so that a training step compiles in seconds; four drawn rooms a
# batch. A small grid and one reader thread keep the trainings short.
TINY: Mapping[str, Mapping[str, Any]] = {
    "data": {"batch": 4, "num_images": 50, "workers": 1},
    "generator": {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_max": 4},
    "discriminator": {"channel_max": 4},
    "run": {"grid": (2, 1)},
}


def tiny_config(resolution: int = 8, **overrides: Any) -> Config:
    """A network of 8 pixels and at most 4 channels that grows from 4 pixels, and toy rooms to train it on.

    A network that cannot grow (``generator={"block": "demod"}``) starts at its resolution.

    Args:
        resolution: in pixels.
        **overrides: fields of ``Config``. A dict changes single fields of a section, ``loss={"r1_gamma": 1.0}``; the
            others stay tiny. A whole section, ``loss=LossConfig(r1_gamma=1.0)``, replaces it.
    """
    grows = dict(overrides.get("generator", {})).get("block") != "demod"
    start = {"start_resolution": 4 if grows else resolution}
    sections = {**TINY, "schedule": start}
    defaults = Config()
    fields: dict[str, Any] = {}
    for name in {**sections, **overrides}:
        value = overrides.get(name, {})
        if isinstance(value, Mapping):
            value = dataclasses.replace(getattr(defaults, name), **{**sections.get(name, {}), **value})
        fields[name] = value
    return Config(resolution=resolution, **fields)
