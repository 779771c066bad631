"""The training doctor: what the numbers of a run say of its health, and what to try. Host side and pure.

Once a tick, ``vitals`` makes a few telling numbers of what training measures anyway, and ``Doctor.look`` says in a
sentence which of them have left their healthy range for several ticks, once until they are back.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stylegen.config import Config
from stylegen.state import Params, TrainState, by_path

PATIENCE = 3  # ticks in a row that make a finding, or end one: a single tick may be noise, or the start of a fade
DEAD = 0.01  # standard deviation below which a style is dead, where the normalised features that it scales have 1

Line = dict[str, float]  # the scalars of a tick, by log key


def vitals(means: Line, config: Config, state: TrainState, w: np.ndarray, resolution: int) -> Line:
    """The doctor's numbers at a tick, by log key.

    Args:
        means: of what the steps since the last tick measured.
        config: of the run.
        state: at the tick, on this process's device or on the host.
        w: styles of the moving average, [n, w_dim].
        resolution: of the stage: blocks beyond it are not counted.
    """
    found = {
        "Doctor/ema_distance": ema_distance(state.g, state.g_ema, resolution),
        "Doctor/dead_styles": dead_styles(state.g_ema, w, resolution),
    }
    if "Loss/signs/real" in means:
        found["Doctor/r_t"] = means["Loss/signs/real"]
    if "Loss/scores/real" in means:
        found["Doctor/score_gap"] = means["Loss/scores/real"] - means["Loss/scores/fake"]
    if "Loss/r1_penalty" in means:
        penalty = means["Loss/r1_penalty"] + means.get("Loss/r2_penalty", 0.0)
        found["Doctor/r1_size"] = config.loss.r1_gamma / 2 * penalty
    return found


def ema_distance(g: Params, g_ema: Params, resolution: int) -> float:
    """How far the generator is from its average: |g - g_ema| / |g_ema| of each weight array in use, averaged.

    By array, because their sizes differ by a hundred: the mapping network's weights are stored that much larger.
    """
    averages = _weights(g_ema, resolution)
    distances = [
        np.linalg.norm(weight - averages[path]) / max(float(np.linalg.norm(averages[path])), 1e-12)
        for path, weight in _weights(g, resolution).items()
    ]
    return float(np.mean(distances))


def dead_styles(g_ema: Params, w: np.ndarray, resolution: int) -> float:
    """Share of the channels in use whose style does not depend on w [n, w_dim].

    AdaIN gives each channel of a layer, which it has normalised to a standard deviation of 1, a scale and a shift, both
    affine in w. A channel is dead if neither varies over w by more than ``DEAD``: it looks the same in all pictures.
    """
    dead: list[np.ndarray] = []
    for path, weight in _weights(g_ema, resolution).items():
        if path.endswith("affine.weight"):
            spread = np.std(w @ weight / math.sqrt(weight.shape[0]), axis=0)  # equalized learning rate, gain 1
            kinds = 2 if ".adain." in path else 1  # scales, then shifts
            dead.append(spread.reshape(kinds, -1).max(0) < DEAD)
    return float(np.mean(np.concatenate(dead)))


def _weights(params: Params, resolution: int) -> dict[str, np.ndarray]:
    """Arrays of two axes or more, biases left out, of the blocks up to a resolution, by path."""

    def in_use(path: str) -> bool:
        blocks = [part[1:] for part in path.split(".") if part[:1] == "b" and part[1:].isdigit()]
        return all(int(block) <= resolution for block in blocks)

    return {path: np.asarray(leaf) for path, leaf in by_path(params).items() if leaf.ndim > 1 and in_use(path)}


@dataclass(frozen=True)
class Patient:
    """What a judgement goes by."""

    line: Line  # of the present tick
    config: Config
    epochs: float  # how often each image has been shown


def _overfitting(p: Patient) -> str | None:
    return None


FINDINGS: dict[str, Callable[[Patient], str | None]] = {}


class Doctor:
    """Says what is wrong, once until it is right again; a resumed run knows what has been said."""

    def __init__(self, config: Config, num_images: int, lines: Sequence[Line]):
        """Begin where a run stands.

        Args:
            config: of the run.
            num_images: in the data.
            lines: scalars of the ticks so far, oldest first.
        """
        self._config, self._num_images = config, num_images
        self._said: set[str] = set()
        self._streaks = dict.fromkeys(FINDINGS, 0)  # ticks with the finding, or, negative, without it
        for line in lines:
            self.look(line)

    def look(self, line: Line) -> list[str]:
        """What there is to say at a tick, given its scalars."""
        patient = Patient(line, self._config, line["Progress/kimg"] * 1000 / self._num_images)
        sentences: list[str] = []
        for name, judge in FINDINGS.items():
            sentence, streak = judge(patient), self._streaks[name]
            self._streaks[name] = max(streak, 0) + 1 if sentence else min(streak, 0) - 1
            if sentence and self._streaks[name] >= PATIENCE and name not in self._said:
                self._said.add(name)
                sentences.append(f"{name}: {sentence}")
            elif self._streaks[name] <= -PATIENCE and name in self._said:
                self._said.remove(name)
                sentences.append(f"{name}: over.")
        return sentences
