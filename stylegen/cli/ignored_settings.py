"""Settings of a command that its other settings make useless: refused, because somebody meant something by them.

Only those that stand in the command count: an experiment may hold settings for a mode that it does not choose.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stylegen.config import Config, ConfigError, option
from stylegen.data.settings import USED_BY, check_used


@dataclass(frozen=True)
class _Rule:
    """Settings that have an effect under a condition alone."""

    names: tuple[str, ...]  # dotted
    are_used: Callable[[Config], bool]
    why: str  # they are not
    fix: str  # words of a command


_OF_TRANSFORMATIONS = ("speed_kimg", "blit", "geometric", "color", "noise", "cutout", "paired")
_RULES = (
    _Rule(
        ("augment.p", *(f"augment.{name}" for name in _OF_TRANSFORMATIONS)),
        lambda config: config.augment.mode != "none",
        "augment.mode none augments nothing",
        "--augment.mode ada (or fixed)",
    ),
    _Rule(
        ("augment.target", "augment.interval", "augment.max_p"),
        lambda config: config.augment.mode == "ada",
        "only augment.mode ada adapts the strength",
        "--augment.mode ada",
    ),
    _Rule(
        ("loss.wgan_lambda", "loss.wgan_epsilon"),
        lambda config: config.loss.name == "wgan_gp",
        "only the loss wgan_gp has it",
        "--loss.name wgan_gp",
    ),
    _Rule(
        ("loss.r1_gamma", "loss.r1_interval"),
        lambda config: config.loss.name != "wgan_gp",
        "the loss wgan_gp has a gradient penalty of its own",
        "--loss.name logistic (or relativistic)",
    ),
    _Rule(
        ("loss.pl_interval", "loss.pl_decay", "loss.pl_batch_shrink"),
        lambda config: config.loss.pl_weight > 0,
        "loss.pl_weight 0 is no path-length regularization",
        "--loss.pl-weight 2",
    ),
    _Rule(
        ("run.metrics_every", "run.metrics_extractor", "run.metrics_weights"),
        lambda config: bool(config.run.metrics),
        "run.metrics names no metric",
        "--run.metrics fid10k",
    ),
)


def check(config: Config, words: Sequence[str]) -> None:
    """Raise ConfigError if one of a command's words is a setting, other than the default, that has no effect.

    Args:
        config: as resolved.
        words: of the command, with dashes in the names of options.
    """
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    for name in USED_BY:
        if _options(f"data.{name}") & given:
            check_used(config.data, name)
    for rule in _RULES:
        for name in rule.names:
            value = _value(config, name)
            if _options(name) & given and value != _value(Config(), name) and not rule.are_used(config):
                raise ConfigError(
                    f"{name} = {value!r}: has no effect, because {rule.why}; leave it out, or add {rule.fix}."
                )


def _value(config: Config, name: str) -> object:
    section, _, field = name.partition(".")
    return getattr(getattr(config, section), field)


def _options(name: str) -> set[str]:
    """A setting on the command line; as a boolean, its two flags."""
    return {option(name, "").strip(), option(name, True), option(name, False)}
