"""Sampling: from seeds to images."""

from stylegen.sampling.batches import default_batch
from stylegen.sampling.generate import (
    NOISE_MODES,
    Labels,
    SamplingError,
    latents,
    mix,
    one_hot,
    sample,
    stream,
    styles,
    synthesize,
    walk,
)

__all__ = [
    "NOISE_MODES",
    "Labels",
    "SamplingError",
    "default_batch",
    "latents",
    "mix",
    "one_hot",
    "sample",
    "stream",
    "styles",
    "synthesize",
    "walk",
]
