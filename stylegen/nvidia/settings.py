"""Settings of NVIDIA's networks, by their names in TensorFlow: read, checked, and turned into a Config."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from stylegen.config import Config, ConfigError, DataConfig, DiscriminatorConfig, GeneratorConfig, ScheduleConfig
from stylegen.formats import WeightsError
from stylegen.formats.pickle_tree import printable

BATCH = 32  # images, about: a multiple of the minibatch-std group


def config_of(
    source: str,
    g: dict[str, Any],
    *,
    block: Literal["adain", "demod"],
    sizes: tuple[int, int, int],
    group: int,
    hidden: int,
    w_avg_beta: float,
    style_mixing_prob: float,
    g_widths: dict[str, Any],
    d_widths: dict[str, Any],
) -> Config:
    """The configuration of two networks.

    Args:
        source: of the file, for messages.
        g: the generator's settings.
        block: of both networks.
        sizes: resolution, channels of images, classes.
        group: images that share a minibatch standard deviation.
        hidden: features between the layers of the mapping network.
        w_avg_beta: the decay of the mean of w.
        style_mixing_prob: the probability of style mixing.
        g_widths: our settings of the generator's widths; see ``width_settings``.
        d_widths: of the discriminator's.

    Raises:
        WeightsError: a setting is of another kind, or cannot be represented; names it.
    """
    resolution, channels, classes = sizes
    w_dim = number(source, g, "dlatent_size", 512, 1)
    try:
        return Config(
            resolution=resolution,
            image_channels=channels,
            num_classes=classes,
            data=DataConfig(source="images", batch=group * max(BATCH // group, 1)),
            generator=GeneratorConfig(
                block=block,
                z_dim=number(source, g, "latent_size", 512, 1),
                w_dim=w_dim,
                mapping_layers=number(source, g, "mapping_layers", 8, 1),
                mapping_width=hidden if hidden != w_dim else None,
                mapping_lr_multiplier=number(source, g, "mapping_lrmul", 0.01),
                normalize_z=bool(g.get("normalize_latents", True)),
                use_noise=bool(g.get("use_noise", True)),
                w_avg_beta=w_avg_beta,
                style_mixing_prob=style_mixing_prob,
                **g_widths,
            ),
            discriminator=DiscriminatorConfig(mbstd_group_size=group, **d_widths),
            schedule=ScheduleConfig(start_resolution=resolution),
        )
    except ConfigError as error:
        raise WeightsError(f"{source}: its settings cannot be represented: {error}") from error


def require(source: str, settings: dict[str, Any], name: str, allowed: Sequence[Any], why: str) -> None:
    """Raise WeightsError unless a setting is absent or one of those allowed; names the setting."""
    if name in settings and settings[name] not in allowed:
        shown = " or ".join(repr(value) for value in allowed)
        raise WeightsError(
            f"{source}: its setting {name} = {_shown(settings[name])} cannot be represented: {why} ({shown})."
        )


def width_settings(source: str, settings: dict[str, Any], fmap_base: float) -> dict[str, Any]:
    """Our settings of a network's widths; ``fmap_base`` is their default, half of our ``channel_base``."""
    return {
        "channel_base": math.floor(2 * number(source, settings, "fmap_base", fmap_base)),
        "channel_max": number(source, settings, "fmap_max", 512, 1),
        "channel_decay": float(number(source, settings, "fmap_decay", 1.0)),
    }


def require_equal(source: str, d: dict[str, Any], settings: Sequence[tuple[str, int, Any]]) -> None:
    """Raise WeightsError unless a discriminator's settings are the generator's; names the setting.

    Args:
        source: of the file.
        d: the discriminator's settings.
        settings: name of each, its default in the discriminator, and its value in the generator.
    """
    for name, default, value in settings:
        if (d_value := number(source, d, name, default)) != value:
            raise WeightsError(
                f"{source}: its setting {name} is {value} in G and {d_value} in D; here it is one for both."
            )


def number(source: str, settings: dict[str, Any], name: str, default: float, least: float = 0) -> Any:
    """A setting that is a number, not below ``least``; whole if the default is.

    Raises:
        WeightsError: it is something else; names the setting.
    """
    value = settings.get(name, default)
    is_integer = isinstance(default, int)
    if isinstance(value, float) and is_integer and value.is_integer():
        value = int(value)
    kinds = (int,) if is_integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < 2**31:
        kind = "a whole number" if is_integer else "a number"
        raise WeightsError(f"{source}: its setting {name} = {_shown(value)}: must be {kind} of at least {least}.")
    return value


def optional_number(source: str, settings: dict[str, Any], name: str, default: float) -> float:
    """As ``number``; 0 where the setting is None, which switches off what it belongs to."""
    return 0.0 if settings.get(name, default) is None else float(number(source, settings, name, default))


def _shown(value: Any) -> str:
    return printable(repr(value), 60)


def summary(settings: dict[str, Any]) -> str:
    """Settings in a line."""
    return ", ".join(f"{printable(name)} {_shown(value)}" for name, value in settings.items()) or "none of its own"
