"""How the factor reader is trained and judged: rooms with known factors, some without a thing, some degraded.

Generated images are blurred, ring and have blotches, so the reader sees such rooms too; else it would take a soft
window for none, or the noise of a bad generator for a lamp.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from stylegen.data.toy import bedrooms
from stylegen.evaluation import toy_factors
from stylegen.io.images import box_mean, enlarge
from stylegen.runtime import compilation

# Things that are removed, and from which share of the images; the rest are complete rooms.
REMOVED_SHARES: tuple[tuple[tuple[str, ...], float], ...] = (
    (("pillows",), 0.15),
    (("bed",), 0.12),
    (("window",), 0.15),
    (("pillows", "window"), 0.05),
    (("bed", "window"), 0.03),
)
TRAINING_SEED, HELD_OUT_SEED = 1, 2  # of toy_bedrooms; 0 is the data that generators learn from
BLUR = np.array((0.1, 0.2, 0.4, 0.2, 0.1), np.float32)
MEASURED_WEIGHT = 0.5  # of the squared errors of colors and numbers against the entropies of the rest


@dataclass(frozen=True)
class Settings:
    """How long to train, and on how much."""

    rooms: int = 40_000
    passes: int = 8
    batch: int = 64
    learning_rate: float = 0.002  # falls to 0 along a cosine
    seed: int = 0


@dataclass(frozen=True)
class Rooms:
    """Images and their factors, in the form of ``toy_factors.read_factors``."""

    images: np.ndarray  # uint8 [N, r, r, 3]
    factors: dict[str, np.ndarray]


def draw_rooms(count: int, resolution: int, seed: int) -> Rooms:
    """The first ``count`` rooms of a seed, of which some have no bed, pillows or window (``REMOVED_SHARES``)."""
    order = np.random.RandomState(seed).permutation(count)
    images = np.empty((count, resolution, resolution, 3), np.uint8)
    removed = {name: np.zeros(count, bool) for name in bedrooms.REMOVABLE}
    shares = [*REMOVED_SHARES, ((), 1.0)]
    start = 0
    for names, share in shares:
        chosen = order[start:] if not names else order[start : start + round(share * count)]
        start += len(chosen)
        images[chosen] = bedrooms.render(chosen, resolution, seed, without=names)
        for name in names:
            removed[name][chosen] = True
    return Rooms(images, _visible_factors(bedrooms.factor_arrays(range(count), seed), removed))


def _visible_factors(table: dict[str, np.ndarray], removed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The factors as they are seen once things are removed."""
    bed, window = ~removed["bed"], ~removed["window"]
    factors = {name: np.asarray(table[name]) for name in (*toy_factors.FLAGS, *toy_factors.CHOICES)}
    factors |= {name: table[name].astype(np.float32) for name in (*toy_factors.COLORS, *toy_factors.NUMBERS)}
    for name in toy_factors.THINGS:
        factors[f"has_{name}"] = table[name] if name not in bedrooms.REMOVABLE else ~removed[name]
    for name, support in (("pillows", bed), ("cushion", bed), ("throw", bed), ("curtains", window)):
        factors[f"has_{name}"] = factors[f"has_{name}"] & support
    return toy_factors.blank_meaningless(factors)


def degrade(images: np.ndarray, rng: np.random.RandomState, share: float = 0.75) -> np.ndarray:
    """Images as a generator might give them: blurred or ringing, noisy, blotched, of other contrast.

    A third of all are at half their resolution besides.

    Args:
        images: float32 [N, r, r, 3] in [0, 255].
        rng: where the strengths come from.
        share: of the images that are blurred and so on.

    Returns:
        The same shape, rounded and clipped as uint8 would be.
    """
    n, r = images.shape[:2]
    per_image = (n, 1, 1, 1)

    def strength(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, per_image).astype(np.float32)

    is_degraded = (rng.rand(*per_image) < share).astype(np.float32)
    # A low-pass image, taken away or added: edges that overshoot, or soft ones.
    low = blurred(images)
    degraded = images + np.where(rng.rand(*per_image) < 0.5, -strength(0, 1), strength(0, 1.2)) * is_degraded * (
        images - low
    )
    noise = rng.standard_normal((n, r, r, 3)).astype(np.float32)
    degraded += noise * (strength(0, 10) * is_degraded)
    blotches = rng.standard_normal((n, r // 4, r // 4, 3)).astype(np.float32).repeat(4, axis=1).repeat(4, axis=2)
    degraded += blurred(blotches) * (strength(0, 9) * is_degraded)
    degraded = (degraded - 128) * (1 + strength(-0.06, 0.06) * is_degraded) + 128
    coarse = (rng.rand(n) < 1 / 3)[:, None, None, None]
    degraded = np.where(coarse, enlarge(box_mean(degraded, 2), 2), degraded)
    return np.clip(np.rint(degraded), 0, 255).astype(np.float32)


def blurred(images: np.ndarray) -> np.ndarray:
    """With ``BLUR`` along rows and columns, edges repeated."""
    for axis in (1, 2):
        widths = [(0, 0)] * 4
        widths[axis] = (2, 2)
        padded = np.pad(images, widths, mode="edge")
        size = images.shape[axis]
        shifted = [np.take(padded, range(k, k + size), axis=axis) for k in range(5)]
        images = np.sum([weight * neighbor for weight, neighbor in zip(BLUR, shifted, strict=True)], axis=0)
    return images


def targets(factors: dict[str, np.ndarray], mean: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected outputs of the network (choices one-hot), and which of them count: two float32 [N, num_outputs()]."""
    slices, n = toy_factors.columns(), len(factors["flip"])
    expected, counts = np.zeros((2, n, toy_factors.num_outputs()), np.float32)
    for name, columns in slices.items():
        is_meaningful = toy_factors.meaningful(factors, name)
        values = np.asarray(factors[name])
        if name in toy_factors.CHOICES:
            values = np.eye(toy_factors.CHOICES[name])[np.where(is_meaningful, values - (name == "pillows"), 0)]
        expected[:, columns] = np.nan_to_num(values.reshape(n, -1))
        counts[:, columns] = is_meaningful[:, None]
    m = toy_factors.num_measured()
    expected[:, -m:] = (expected[:, -m:] - mean) / spread * counts[:, -m:]
    return expected, counts


def scale(factors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std of all colors and numbers where they mean something, [toy_factors.num_measured()]."""
    values = np.concatenate(
        [factors[name].reshape(len(factors["flip"]), -1) for name in toy_factors.COLORS + toy_factors.NUMBERS], axis=1
    )
    exact = values.astype(np.float64)
    return np.asarray(np.nanmean(exact, axis=0)), np.asarray(np.nanstd(exact, axis=0))


def loss(params: dict[str, Array], pixels: Array, expected: Array, counts: Array) -> Array:
    """Entropies of yes and no and of choices, and squared errors, each a mean over where it counts, summed."""
    raw = toy_factors.network(params, pixels)
    total = counts.sum(axis=0) + 1e-6

    def mean(errors: Array, columns: slice) -> Array:
        return (errors * counts[:, columns]).sum(axis=0) / total[columns]

    yes_no = slice(0, len(toy_factors.YES_NO))
    result = mean(optax.sigmoid_binary_cross_entropy(raw[:, yes_no], expected[:, yes_no]), yes_no).sum()
    for name in toy_factors.CHOICES:
        columns = toy_factors.columns()[name]
        entropy = optax.softmax_cross_entropy(raw[:, columns], expected[:, columns])
        result += mean(entropy[:, None], slice(columns.start, columns.start + 1)).sum()
    last = slice(toy_factors.num_outputs() - toy_factors.num_measured(), toy_factors.num_outputs())
    return result + MEASURED_WEIGHT * mean((raw[:, last] - expected[:, last]) ** 2, last).sum()


def init_params(seed: int) -> dict[str, np.ndarray]:
    """He's initialization (He et al. 2015), the last layer a tenth of it."""
    rng = np.random.RandomState(seed)
    params = {}
    for name, shape in toy_factors.shapes().items():
        gain = math.sqrt(2 / math.prod(shape[:-1])) * (0.1 if name == "out.weight" else 1)
        params[name] = (rng.randn(*shape) * gain if name.endswith("weight") else np.zeros(shape)).astype(np.float32)
    return params


def train(settings: Settings, progress: Callable[[int, int, float], None] | None = None) -> dict[str, np.ndarray]:
    """Train a reader.

    Args:
        settings: how long, on how many rooms.
        progress: called after every step with the step, their number, and the loss.

    Returns:
        Parameters for ``toy_factors.network``, float16: rounded after training, for half the file.
    """
    rooms = draw_rooms(settings.rooms, toy_factors.RESOLUTION, TRAINING_SEED)
    mean, spread = scale(rooms.factors)
    params: Any = init_params(settings.seed)
    del params["mean"], params["spread"]
    total = settings.rooms // settings.batch * settings.passes
    adam = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, total))
    state = adam.init(params)

    @compilation.at_precision("highest")
    def update(params: Any, state: Any, *batch: Array) -> tuple[Any, Any, Array]:
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        change, state = adam.update(gradient, state, params)
        return optax.apply_updates(params, change), state, value

    step = jax.jit(update, donate_argnums=(0, 1), compiler_options=compilation.compiler_options())
    expected, counts = targets(rooms.factors, mean, spread)
    batches = _batches(rooms.images, expected, counts, settings)
    for number, batch in enumerate(batches, 1):
        params, state, value = step(params, state, *batch)
        if progress is not None:
            progress(number, total, float(value))
    trained = {name: np.asarray(values) for name, values in params.items()} | {"mean": mean, "spread": spread}
    return {name: values.astype(np.float16) for name, values in trained.items()}


def _batches(
    images: np.ndarray, expected: np.ndarray, counts: np.ndarray, settings: Settings
) -> Iterator[tuple[Array, Array, Array]]:
    """Degraded images, half of them mirrored, with their expected outputs and which of these count."""
    rng = np.random.RandomState(settings.seed)
    flip = toy_factors.columns()["flip"].start
    for _ in range(settings.passes):
        order = rng.permutation(len(images))
        for start in range(0, len(order) - settings.batch + 1, settings.batch):
            chosen = order[start : start + settings.batch]
            pixels, answers = images[chosen].astype(np.float32), expected[chosen]
            mirrored = rng.rand(len(chosen)) < 0.5
            pixels[mirrored] = pixels[mirrored][:, :, ::-1]
            answers[mirrored, flip] = 1 - answers[mirrored, flip]
            yield jnp.asarray(degrade(pixels, rng)), jnp.asarray(answers), jnp.asarray(counts[chosen])


def errors(read: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    """How well images were read, by factor, over the images in which it means something.

    Presences, flags and choices: the share that is wrong. Colors and numbers: R2, 1 - squared error / variance, of
    colors the mean of the three channels'; where the thing is not seen although it is there, the mean is taken.
    """
    result = {}
    for name in (*toy_factors.YES_NO, *toy_factors.CHOICES):
        is_meaningful = toy_factors.meaningful(truth, name)
        result[name] = float((read[name][is_meaningful] != truth[name][is_meaningful]).mean())
    for name in toy_factors.COLORS + toy_factors.NUMBERS:
        is_meaningful = toy_factors.meaningful(truth, name)
        expected, predicted = (np.asarray(x[name][is_meaningful], np.float64) for x in (truth, read))
        predicted = np.where(np.isnan(predicted), expected.mean(axis=0), predicted)
        result[name] = float(np.mean(1 - ((predicted - expected) ** 2).mean(axis=0) / expected.var(axis=0)))
    return result
