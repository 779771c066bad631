"""Sound that moves a walk: energy and onsets of bands of frequencies, and the layers that they drive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stylegen.networks.generator import Generator
from stylegen.sampling.generate import SamplingError, latents, styles
from stylegen.sampling.walks import Frames, Walk

# Hz: the kick and the bass; voices and most instruments; cymbals and consonants.
BANDS: dict[str, tuple[float, float]] = {"low": (20, 200), "mid": (200, 2000), "high": (2000, 11_000)}
WINDOW = 2048  # samples of a spectrum, 93 ms at 22,050 Hz
LOUD = 95  # percentile of a band's energy that counts as 1, so that one bang does not hide all the rest
QUIET = 0.01  # of the loudest band (-40 dB): a band that is never louder than that does not count up to 1
RELEASE = 0.15  # seconds in which a driven layer falls back by a factor e; it rises at once
FIRST_SEED = 1000  # of the styles that bands pull their layers to


@dataclass(frozen=True)
class Band:
    """What one band does in every frame; [frames] each, in [0, 1]."""

    energy: np.ndarray
    onset: np.ndarray  # how suddenly it becomes louder


def bands(samples: np.ndarray, rate: int, fps: float, frames: int) -> dict[str, Band]:
    """Energy and onsets of ``BANDS`` at the time of every frame.

    Energy is the band's amplitude, the root of its power, over its ``LOUD`` percentile. An onset is the part of it that
    the frame before did not have (half-wave rectified spectral flux, Bello et al. 2005), normalized likewise. Both fall
    back slowly.

    Args:
        samples: [n] around [-1, 1].
        rate: samples a second.
        fps: frames a second.
        frames: how many.
    """
    window = np.hanning(WINDOW)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / rate)
    padded = np.pad(np.asarray(samples, np.float32), (WINDOW // 2, WINDOW))
    power = np.zeros((frames, len(BANDS)))
    inside = [(frequencies >= low) & (frequencies < high) for low, high in BANDS.values()]
    for i in range(frames):
        start = min(round(i / fps * rate), len(padded) - WINDOW)
        spectrum = np.square(np.abs(np.fft.rfft(padded[start : start + WINDOW] * window)))
        power[i] = [spectrum[band].sum() for band in inside]
    energy = np.sqrt(power)
    flux = np.maximum(np.diff(energy, axis=0, prepend=energy[:1]), 0)
    energy, flux = _normalized(energy), _normalized(flux)
    return {name: Band(_fallen(energy[:, i], fps), _fallen(flux[:, i], fps)) for i, name in enumerate(BANDS)}


def _normalized(values: np.ndarray) -> np.ndarray:
    """Each band's column [frames, bands] in [0, 1]: its loud percentile is 1, unless another band is far louder."""
    loud = np.zeros(values.shape[1])
    for i, column in enumerate(values.T):
        sounding = column[column > 1e-6 * np.max(column, initial=0.0)]
        loud[i] = np.percentile(sounding, LOUD) if sounding.size else 0.0
    if not loud.any():
        return np.zeros_like(values)
    return np.clip(values / np.maximum(loud, QUIET * np.max(loud)), 0, 1)


def _fallen(values: np.ndarray, fps: float) -> np.ndarray:
    """Values that rise at once and fall back slowly."""
    keep = np.exp(-1 / (RELEASE * fps))
    fallen, level = np.empty_like(values), 0.0
    for i, value in enumerate(values):
        level = max(float(value), level * keep)
        fallen[i] = level
    return fallen


def default_layers(num_ws: int) -> dict[str, list[int]]:
    """Layers by band: the coarse third moves with the bass, the fine one with the highs."""
    parts = np.array_split(np.arange(num_ws), len(BANDS))
    return {name: [int(layer) for layer in part] for name, part in zip(BANDS, parts, strict=True)}


def driven(
    G: Generator,
    walk: Walk,
    sound: Mapping[str, Band],
    *,
    layers: Mapping[str, Sequence[int]] | None = None,
    strength: float = 0.5,
    labels: int | None = None,
) -> Walk:
    """The walk with its layers pulled by sound: each band draws its own to a style of its own seed.

    A layer's style is w + s (v - w), s = strength * (energy + onset) / 2, and v the style of seed ``FIRST_SEED`` plus
    the band's number: at a strength of 1 the loudest onset replaces the layer's style.

    Args:
        G: the generator.
        walk: not truncated yet.
        sound: of ``bands``, for as many frames as the walk has.
        layers: by band; ``default_layers`` if None.
        strength: 0 is none.
        labels: class of those styles, of a generator with classes.

    Raises:
        SamplingError: an unknown band, or a layer that does not exist.
    """
    chosen = default_layers(G.num_ws) if layers is None else layers
    for name, numbers in chosen.items():
        if name not in sound:
            raise SamplingError(f"band {name!r}: there is none of this name; there are {', '.join(sound)}.")
        if outside := [layer for layer in numbers if not 0 <= layer < G.num_ws]:
            raise SamplingError(f"layer {outside[0]} does not exist: there are {G.num_ws}, 0 to {G.num_ws - 1}.")
    targets = styles(G, latents(range(FIRST_SEED, FIRST_SEED + len(BANDS)), G.z_dim), labels=labels)

    def change(frames: Frames, ws: np.ndarray) -> np.ndarray:
        moved = np.array(ws)
        for number, name in enumerate(BANDS):
            if not (numbers := list(chosen.get(name, ()))):
                continue
            band = sound[name]
            s = (strength / 2 * (band.energy + band.onset)[frames, None, None, None]).astype(np.float32)
            moved[:, :, numbers] += s * (targets[number, numbers] - moved[:, :, numbers])
        return moved

    return walk.changed(change)
