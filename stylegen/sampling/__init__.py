"""Sampling: from seeds to images."""

from stylegen.sampling.batches import default_batch
from stylegen.sampling.generate import (
    NOISE_MODES,
    latents,
    mix,
    one_hot,
    sample,
    sample_w,
    stream,
    styles,
    synthesize,
    walk,
)
from stylegen.sampling.labels import Labels, SamplingError, class_numbers

__all__ = [
    "NOISE_MODES",
    "Labels",
    "SamplingError",
    "class_numbers",
    "default_batch",
    "latents",
    "mix",
    "one_hot",
    "sample",
    "sample_w",
    "stream",
    "styles",
    "synthesize",
    "walk",
]
