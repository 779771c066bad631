"""The meaning of a metric's name: fid50k_full is FID of 50,000 fakes against all reals."""

import re
from dataclasses import dataclass
from typing import Literal

from stylegen.evaluation import EvaluationError
from stylegen.untrusted import shown

Kind = Literal["fid", "kid", "pr", "dc", "is", "swd", "ppl"]

# Where a name does not say how many: those that are published most often.
STANDARD = {
    "fid": "fid50k_full",  # StyleGAN's own is fid50k, against 50,000 reals; fid50k_full is that of StyleGAN2-ADA
    "kid": "kid50k_full",  # StyleGAN2-ADA
    "pr": "pr50k3_full",  # Kynkäänniemi et al. 2019
    "dc": "dc10k5",  # Naeem et al. 2020
    "is": "is50k",  # Salimans et al. 2016
    "swd": "swd8k",  # Karras et al. 2018: 8192
}
LOWER_IS_BETTER = ("fid", "kid", "swd", "ppl")  # kinds, with which names begin
THOUSAND = {"swd": 1024}  # a k; 1000 for the others
PPL_SAMPLES = 100_000  # StyleGAN; a name such as ppl50k_wend says otherwise
MAX_IMAGES = 10_000_000  # to draw for a metric; published ones take up to 100,000
MAX_NEIGHBOR_REALS = 50_000  # of precision, recall, density and coverage, whose definition takes as many
HELP = (
    "fid50k_full, kid50k_full, pr50k3_full (precision and recall), dc10k5 (density and coverage), is50k, swd8k, "
    "ppl_zfull, ppl_zend, ppl_wfull, ppl_wend, each with another number of images, such as fid1k (1,000), fid300 (300) "
    "or pr5k3 (5,000, third neighbor)"
)


@dataclass(frozen=True)
class Metric:
    """One metric that was asked for."""

    name: str
    kind: Kind
    fakes: int | None  # generated images; None is all there are
    reals: int | None  # real images at most; None is all there are
    k: int = 0  # nearest neighbor of pr and dc
    space: Literal["z", "w"] = "w"  # of ppl
    sampling: Literal["full", "end"] = "full"  # of ppl

    @property
    def needs_reals(self) -> bool:
        """Whether it compares with real images."""
        return self.kind not in ("is", "ppl")

    @property
    def needs_features(self) -> bool:
        """Whether it is of an extractor's features."""
        return self.kind not in ("swd", "ppl")

    @property
    def reals_asked_for(self) -> int:
        """The real images that its name asks for; 0 where it takes those that there are."""
        if not self.needs_reals or self.fakes is None or STANDARD.get(self.name, self.name).endswith("_full"):
            return 0
        return self.reals or 0

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the numbers that it gives."""
        suffixes = {"pr": ("precision", "recall"), "dc": ("density", "coverage")}.get(self.kind)
        return tuple(f"{self.name}_{suffix}" for suffix in suffixes) if suffixes else (self.name,)

    @property
    def lower_is_better(self) -> bool:
        """The direction in which it improves."""
        return self.kind in LOWER_IS_BETTER


def parse(name: str, *, everything: bool = False) -> Metric:
    """Read a metric's name.

    Args:
        name: such as fid50k_full.
        everything: a name without a number takes all images that there are, not the usual number; of reals as many as
            the definition allows.

    Raises:
        EvaluationError: there is no such metric.
    """
    if everything and name in STANDARD:
        k = {"pr": 3, "dc": 5}.get(name, 0)
        return Metric(name, name, None, MAX_NEIGHBOR_REALS if k else None, k)  # type: ignore[arg-type]
    text = STANDARD.get(name, name)
    if match := re.fullmatch(r"(fid|kid|is|swd)([0-9]{1,9})(k?)(_full)?", text):
        kind, number, thousand, full = match.groups()
        count = int(number) * (THOUSAND.get(kind, 1000) if thousand else 1)
        metric = Metric(name, kind, count, None if full else count)  # type: ignore[arg-type]
        if full and kind in ("is", "swd"):
            raise EvaluationError(f"metric {name!r}: {kind} takes no _full; write {name.removesuffix('_full')}.")
    elif match := re.fullmatch(r"(pr|dc)([0-9]{1,9})k([0-9]{1,9})(_full)?", text):
        kind, number, neighbors, full = match.groups()
        count = int(number) * 1000
        reals = MAX_NEIGHBOR_REALS if full else min(count, MAX_NEIGHBOR_REALS)
        metric = Metric(name, kind, count, reals, int(neighbors))  # type: ignore[arg-type]
    elif match := re.fullmatch(r"ppl(?:([0-9]{1,9})(k?))?_(z|w)(full|end)", text):
        number, thousand, space, sampling = match.groups()
        count = int(number) * (1000 if thousand else 1) if number else PPL_SAMPLES
        metric = Metric(name, "ppl", count, 0, 0, space, sampling)  # type: ignore[arg-type]
    else:
        raise EvaluationError(f"metric {shown(name)!r}: there is no such; there are {HELP}.")
    if metric.fakes is None or metric.fakes < 2 or (metric.kind in ("pr", "dc") and metric.k < 1):
        raise EvaluationError(f"metric {name!r}: the numbers in it must be at least 2 images and 1 neighbor.")
    if metric.fakes > MAX_IMAGES:
        raise EvaluationError(f"metric {name!r}: asks for {metric.fakes:,} images; at most {MAX_IMAGES:,}.")
    return metric


def parse_list(text: str, *, everything: bool = False) -> list[Metric]:
    """Several names, with commas between them.

    Raises:
        EvaluationError: there is no such metric, one is there twice, or there are none.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise EvaluationError(f"metrics {text!r}: names none; there are {HELP}.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise EvaluationError(f"metrics {text!r}: {twice[0]} is there twice.")
    return [parse(name, everything=everything) for name in names]
