"""The training doctor: it judges the health of a run by a few numbers, and advises.

Once a tick, ``vitals`` computes a few numbers from the scalars that training measures anyway. ``Doctor.look`` reports
in a sentence which of them have left their healthy range for several ticks, once until they are back.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stylegen.config import Config
from stylegen.networks.build import Params
from stylegen.networks.trees import by_path
from stylegen.runtime import compilation
from stylegen.training.state import TrainState

PATIENCE = 3  # ticks in a row that make a finding, or end one: a single tick may be noise, or the start of a fade
DEAD = 0.01  # standard deviation below which a style is dead, where the normalized features that it scales have 1

Line = dict[str, float]  # the scalars of a tick, by log key
Weights = dict[str, Any]  # arrays by path


def vitals(means: Line, config: Config, state: TrainState, w: np.ndarray, resolution: int) -> Line:
    """The doctor's numbers at a tick, by log key.

    Args:
        means: of the metrics of the steps since the last tick.
        config: of the run.
        state: at the tick, on this process's device or on the host.
        w: styles of the moving average, [n, w_dim].
        resolution: of the stage: blocks beyond it are not counted.
    """
    distance, dead = of_weights(state.g, state.g_ema, w, resolution)
    numbers = {"Doctor/ema_distance": distance, "Doctor/dead_styles": dead}
    if "Loss/signs/real" in means:
        numbers["Doctor/r_t"] = means["Loss/signs/real"]
    if "Loss/scores/real" in means:
        numbers["Doctor/score_gap"] = means["Loss/scores/real"] - means["Loss/scores/fake"]
    if config.loss.name != "wgan_gp" and config.loss.r1_gamma == 0:
        numbers["Doctor/r1_size"] = 0.0
    elif "Loss/r1_penalty" in means:
        numbers["Doctor/r1_size"] = config.loss.r1_gamma / 2 * means["Loss/r1_penalty"]
    return numbers


def of_weights(g: Params, g_ema: Params, w: np.ndarray, resolution: int) -> tuple[float, float]:
    """``ema_distance`` and ``dead_styles``, computed where the weights are: only two numbers leave an accelerator.

    A CPU's weights are in the host's memory already, and numpy has nothing to compile.
    """
    if jax.default_backend() == "cpu":
        return ema_distance(g, g_ema, resolution), dead_styles(g_ema, w, resolution)
    distance, dead = jax.device_get(_of_weights(_weights(g, resolution), _weights(g_ema, resolution), w))
    return float(distance), float(dead)


@compilation.jit()  # at highest precision: whether a style is dead is a matter of small differences
def _of_weights(g: Weights, g_ema: Weights, w: Array) -> tuple[Array, Array]:
    """One program for each resolution, whose weights are others."""
    return _ema_distance(g, g_ema, jnp), _dead_styles(g_ema, w, jnp)


def ema_distance(g: Params, g_ema: Params, resolution: int) -> float:
    """Distance of the generator from its average: ``|g - g_ema| / |g_ema|`` of each weight array in use, averaged.

    By array, because their sizes differ by a hundred: the mapping network's weights are stored that much larger.
    """
    return float(_ema_distance(_on_host(_weights(g, resolution)), _on_host(_weights(g_ema, resolution)), np))


def _ema_distance(g: Weights, g_ema: Weights, xp: Any) -> Any:
    """``ema_distance`` by numpy or by jax.numpy."""
    distances = [
        xp.linalg.norm(weight - g_ema[path]) / xp.maximum(xp.linalg.norm(g_ema[path]), 1e-12)
        for path, weight in g.items()
    ]
    return xp.mean(xp.stack(distances))


def dead_styles(g_ema: Params, w: np.ndarray, resolution: int) -> float:
    """Share of the channels in use whose style does not depend on w [n, w_dim].

    AdaIN normalizes each channel of a layer to a standard deviation of 1, then gives it a scale and a shift, both
    affine in w. A channel is dead if neither varies over w by more than ``DEAD``: it looks the same in all images.
    """
    return float(_dead_styles(_on_host(_weights(g_ema, resolution)), w, np))


def _dead_styles(g_ema: Weights, w: Any, xp: Any) -> Any:
    """``dead_styles`` by numpy or by jax.numpy."""
    dead = []
    for path, weight in g_ema.items():
        if path.endswith("affine.weight"):
            spread = xp.std(w @ weight / math.sqrt(weight.shape[0]), axis=0)  # equalized learning rate, gain 1
            kinds = 2 if ".adain." in path else 1  # scales, then shifts
            dead.append(spread.reshape(kinds, -1).max(0) < DEAD)
    return xp.mean(xp.concatenate(dead))


def _on_host(weights: Weights) -> Weights:
    return {path: np.asarray(leaf) for path, leaf in weights.items()}


def _weights(params: Params, resolution: int) -> Weights:
    """Arrays of two axes or more, biases left out, of the blocks up to a resolution, by path."""

    def in_use(path: str) -> bool:
        blocks = [part[1:] for part in path.split(".") if part[:1] == "b" and part[1:].isdigit()]
        return all(int(block) <= resolution for block in blocks)

    return {path: leaf for path, leaf in by_path(params).items() if leaf.ndim > 1 and in_use(path)}


@dataclass(frozen=True)
class Patient:
    """The facts that a finding is based on."""

    line: Line  # scalars of the present tick
    past: Sequence[Line]  # of the ticks before
    config: Config
    epochs: float  # how often each image has been shown

    def get(self, name: str) -> float:
        """One of the doctor's numbers; not a number where it was not measured."""
        return self.line.get(f"Doctor/{name}", math.nan)


# Ranges. Except for r_t they are measured, 2026-11-22: in broken and healthy toy runs (studies/doctor.py), and in
# healthy runs of the quickstart (32 pixels, r1_gamma 1.5) and of photographs of bedrooms (64 pixels, r1_gamma 10).
R_T = 0.9  # 0 is no overfitting, 1 complete; ADA holds it at 0.6 (Karras et al. 2020, limited data, Sec. 3)
EPOCHS = 50.0  # a healthy toy run has r_t up to 0.8 in its first kimg, long before it memorizes an image
# Growth of the gap from its least, in one stage (Sec. 2 there, Fig. 1), which with 16 images is 2.7 to 7.2, and in the
# quickstart 1.1. In healthy runs whose gap dips in their first kimg it is up to 7.1 too; their r_t is 0.52 at most
# after the first kimg.
DRIFT = 1.4
R_T_DRIFTING = 0.6  # where a growing gap is overfitting; not where ADA itself, whose target it is, holds r_t there
GAP_HIGH = 5.0  # in healthy runs 0.1 to 3.1, in single ticks 0.04, and up to 4.8 in the first
GAP_LOW = 0.05  # a learning rate 20 times too high, augmentation of 0.6 at once: said at 0.007 to 0.024
R1_HIGH = 1.0  # share of the gap that R1 costs: healthy 0.01 to 0.35, at first 0.5; r1_gamma 1000: 2 and more
R1_MATTERS = 0.01  # of the loss; where a discriminator cannot tell for another reason, R1 and gap are below it both
R1_LOW = 0.01  # of runs whose scores differ by GAP_MATTERS at least; r1_gamma 0: 0
GAP_MATTERS = 0.3
EMA_DISTANCE = 0.15  # healthy up to 0.1, at the end of a fade; a learning rate 20 times too high: 0.03 to 2
DEAD_SHARE = 0.5  # of toy runs, healthy and broken: 0; a mapping network that has collapsed: 1
NORM_JUMP = 20.0  # times the median of the ticks before; a healthy one falls by 100 in its first kimg, and hardly rises
HISTORY = 10  # ticks before a jump can be told


def _drift(p: Patient) -> float:
    """The mean gap of the last ticks by the least that as many ticks had, since the resolution is what it is."""
    name, key, gaps = "Doctor/score_gap", "Progress/resolution", []
    for line in reversed([*p.past, p.line]):
        if line.get(key) != p.line.get(key) or line.get("Progress/alpha", 1.0) < 1:
            break
        gaps.append(line.get(name, math.nan))
    means = np.convolve(gaps, np.ones(PATIENCE) / PATIENCE, "valid") if len(gaps) >= PATIENCE else np.array([1.0])
    return float(means[0] / max(np.nanmin(means), GAP_LOW)) if np.isfinite(means[0]) else math.nan


def _overfitting(p: Patient) -> str | None:
    r_t, drift = p.get("r_t"), _drift(p)
    adapts = p.config.augment.mode == "ada"
    apart = r_t > R_T_DRIFTING and drift > DRIFT and not adapts
    if p.epochs <= EPOCHS or p.config.loss.name == "wgan_gp" or not (r_t > R_T or apart):
        return None
    drifts = f", real and fake scores drift apart, {drift:.1f} times as far as before" if apart else ""
    more = "a smaller augment.speed_kimg" if adapts else "augment.mode ada"
    return (
        f"r_t is {r_t:.2f}{drifts}, and each image was shown {p.epochs:.0f} times: the discriminator memorizes them. "
        f"Try more images, data.mirror, {more}, a larger loss.r1_gamma, a smaller "
        "discriminator.channel_max, or stop earlier (schedule.total_kimg)."
    )


def _share(p: Patient) -> float:
    """Loss that R1 costs by what the scores gain."""
    return p.get("r1_size") / max(p.get("score_gap"), 1e-6)


def _r1_holds(p: Patient) -> bool:
    """Whether R1 keeps the discriminator at chance level; unknown where loss and gap are both close to 0."""
    return _share(p) > R1_HIGH and p.get("r1_size") > R1_MATTERS


def _r1_weak(p: Patient) -> str | None:
    gap, gamma = p.get("score_gap"), p.config.loss.r1_gamma
    if p.config.loss.name == "wgan_gp" or not (gap > GAP_HIGH or (gap > GAP_MATTERS and _share(p) < R1_LOW)):
        return None
    return (
        f"real and fake scores are {gap:.2f} apart, and R1 is {p.get('r1_size'):.2g} of the loss: hardly anything "
        f"holds the discriminator back. Try a larger loss.r1_gamma (now {gamma:g}) or a smaller "
        "optimizer.learning_rate."
    )


def _r1_strong(p: Patient) -> str | None:
    gap, gamma = p.get("score_gap"), p.config.loss.r1_gamma
    if p.config.loss.name == "wgan_gp" or not _r1_holds(p):
        return None
    return (
        f"R1 is {p.get('r1_size'):.2g} of the loss, and real and fake scores are only {gap:.2g} apart: it costs the "
        f"discriminator more than it can gain by telling them apart. Try a smaller loss.r1_gamma (now {gamma:g})."
    )


def _discriminator(p: Patient) -> str | None:
    gap, gamma = p.get("score_gap"), p.config.loss.r1_gamma
    if p.config.loss.name == "wgan_gp" or not gap < GAP_LOW or _r1_holds(p):
        return None
    p_max = {"ada": "augment.max_p", "fixed": "augment.p"}.get(p.config.augment.mode)
    augmented = f", or weaker augmentation ({p_max}, a larger augment.speed_kimg)" if p_max else ""
    return (
        f"real and fake scores are {gap:.2g} apart: the discriminator is at chance level, and the generator learns "
        "nothing. Unless the samples are perfect, try a smaller optimizer.learning_rate, a larger "
        f"discriminator.channel_max, a smaller loss.r1_gamma (now {gamma:g}){augmented}."
    )


def _restless(p: Patient) -> str | None:
    distance = p.get("ema_distance")
    if not distance > EMA_DISTANCE:
        return None
    return (
        f"the generator is {distance:.0%} away from its moving average: its weights go back and forth. Try a smaller "
        "optimizer.learning_rate, or a shorter optimizer.ema_kimg."
    )


def _collapse(p: Patient) -> str | None:
    share = p.get("dead_styles")
    if not share > DEAD_SHARE:
        return None
    return (
        f"{share:.0%} of the channels have a style that is the same for all w: all samples become the same image. "
        "Go back to an earlier checkpoint (run.init_from, run.keep_every_kimg), and try a smaller "
        "optimizer.learning_rate or a larger loss.r1_gamma."
    )


def _gradients(p: Patient) -> str | None:
    for side in ("G", "D"):
        past = [line[name] for line in p.past if (name := f"Doctor/gradient_norm/{side}") in line]
        norm = p.get(f"gradient_norm/{side}")
        if len(past) >= HISTORY and norm > NORM_JUMP * float(np.median(past)):
            return (
                f"the gradients of {side} are {norm / float(np.median(past)):.0f} times as long as usual ({norm:.3g}). "
                "Try a smaller optimizer.learning_rate or a larger loss.r1_gamma."
            )
    return None


# By name, in the order in which they are reported. A comparison with a number that was not measured is false.
FINDINGS: dict[str, Callable[[Patient], str | None]] = {
    "overfitting": _overfitting,
    "R1 too weak": _r1_weak,
    "R1 too strong": _r1_strong,
    "discriminator at a loss": _discriminator,
    "restless weights": _restless,
    "collapse": _collapse,
    "exploding gradients": _gradients,
}


class Doctor:
    """Reports each finding once, until it is over; a resumed run knows the findings reported before."""

    def __init__(self, config: Config, num_images: int, lines: Sequence[Line]):
        """Begin where a run stands.

        Args:
            config: of the run.
            num_images: in the data.
            lines: scalars of the ticks so far, oldest first.
        """
        self._config, self._num_images = config, num_images
        self._reported: set[str] = set()
        self._streaks = dict.fromkeys(FINDINGS, 0)  # ticks with the finding, or, negative, without it
        self._past: list[Line] = []
        for line in lines:
            self.look(line)

    def look(self, line: Line) -> list[str]:
        """The sentences to report at a tick, given its scalars."""
        epochs = line["Progress/kimg"] * 1000 / self._num_images
        patient = Patient(line, tuple(self._past), self._config, epochs)
        self._past.append(line)
        sentences: list[str] = []
        for name, judge in FINDINGS.items():
            sentence, streak = judge(patient), self._streaks[name]
            self._streaks[name] = max(streak, 0) + 1 if sentence else min(streak, 0) - 1
            if sentence and self._streaks[name] >= PATIENCE and name not in self._reported:
                self._reported.add(name)
                sentences.append(f"{name}: {sentence}")
            elif self._streaks[name] <= -PATIENCE and name in self._reported:
                self._reported.remove(name)
                sentences.append(f"{name}: no longer seen.")
        return sentences
