"""Configurations as JSON and back, and how two of them differ."""

import dataclasses
import functools
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from stylegen.config import Config, ConfigError, check
from stylegen.untrusted import FileError, json_text, numbers, shown

Kind = TypeVar("Kind")


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration (or one of its parts) as plain dicts, lists, strings and numbers."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def to_json(config: Config) -> str:
    """The configuration as JSON text; ``from_json`` gives the same configuration back."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Read what ``to_json`` wrote.

    Fields that are missing take their defaults, so that a run of an older version still loads; one that augments
    images goes on as it began, when there was no ``augment.paired``.

    Raises:
        ConfigError: the text is no JSON object, holds an unknown field, or a value is wrong.
    """
    try:
        tree = json_text.parse(text, "the configuration")
    except FileError as error:
        raise ConfigError(str(error)) from error
    return from_tree(tree)


def from_tree(tree: Any) -> Config:
    """As ``from_json``, of what its text holds."""
    augment = tree.get("augment") if isinstance(tree, dict) else None
    if isinstance(augment, dict) and augment.get("mode", "none") != "none":
        augment.setdefault("paired", False)
    return from_dict(Config, tree)


def read(path: Path) -> Config:
    """The configuration in a file that holds what ``to_json`` wrote.

    Raises:
        ConfigError: there is no such file, it cannot be read, or it is not one of this version; names the file.
    """
    try:
        return from_tree(json_text.read(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror or error}.") from error
    except (FileError, ConfigError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ConfigError(f"{path} cannot be used: {reason}") from error


def from_dict(kind: type[Kind], tree: Any) -> Kind:
    """Rebuild a configuration, or one of its parts, from what ``to_dict`` made of it.

    Raises:
        ConfigError: an unknown field, or a value of another type or that is wrong.
    """
    built: Kind = _build(kind, tree, "")
    return built


def _build(kind: Any, value: Any, where: str) -> Any:
    """Rebuild a value of the annotated kind from what JSON made of it."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(
                f"{where.rstrip('.') or 'the configuration'} = {shown(value)}: must be an object with fields."
            )
        hints = _hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ConfigError(f"{where}{shown(unknown[0])}: no such field; {kind.__name__} has {', '.join(hints)}.")
        return kind(**{name: _build(hints[name], item, f"{where}{name}.") for name, item in value.items()})
    name = where.rstrip(".")
    origin = typing.get_origin(kind)
    if origin is Literal:
        choices = typing.get_args(kind)
        check(isinstance(value, str) and value in choices, name, value, f"must be one of {', '.join(choices)}")
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _build(typing.get_args(kind)[0], value, where)
    if origin is dict:
        check(isinstance(value, dict), name, value, "must be an object of values by resolution")
        item = typing.get_args(kind)[1]
        keys = {key: numbers.digits(key) for key in value}
        check(None not in keys.values(), name, value, "its keys must be resolutions")
        return {keys[key]: _scalar(item, entry, f"{name}.{key}") for key, entry in value.items()}
    if origin is tuple:
        items = typing.get_args(kind)
        if items[1:] == (Ellipsis,) and isinstance(value, list):
            items = items[:1] * len(value)
        fits = isinstance(value, list) and len(value) == len(items)
        check(fits, name, value, f"must be a list of {len(items)}")
        return tuple(_build(item, entry, where) for item, entry in zip(items, value, strict=True))
    return _scalar(kind, value, name)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _scalar(kind: type, value: Any, name: str) -> Any:
    """A string, bool, int or float of exactly that kind; an int is a float too."""
    fits = type(value) is kind or (kind is float and type(value) is int)
    check(fits, name, value, f"must be of type {kind.__name__}")
    return kind(value)  # of an int of at most 40 digits a float too is finite


# Settings that may change between two sessions of one run: paths, frequency of reports, length, end and precision.
RESUMABLE = (
    *("run.", "distributed.", "data.path", "data.prepared", "data.labels", "data.workers"),
    *("class_names", "channel_stats", "schedule.total_kimg", "schedule.cooldown_kimg", "precision"),
)
# Settings among these that make another run nevertheless.
DECISIVE = ("run.seed", "run.init_from", "run.freeze")


# Settings that may differ between the processes of one run.
LOCAL = ("distributed.", "data.path", "data.prepared", "data.workers", "run.dir", "run.compilation_cache")


def differences(old: Config, new: Config, ignored: tuple[str, ...] = RESUMABLE) -> list[str]:
    """Fields in which two configurations compute different runs, as lines ``name: old -> new``.

    Fields that begin with one of ``ignored`` are left out, except the ``DECISIVE`` ones; by default those that do not
    change what has been computed so far: paths, processes, reporting, precision, and the run's length and cooldown.
    """
    # A table that is empty in one of them has no entries to name, and is not a field of its own.
    a, b = ({n: v for n, v in _flatten(to_dict(c)).items() if v != {}} for c in (old, new))
    changed = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
    decisive = [name for name in changed if name in DECISIVE or not name.startswith(ignored)]
    return [f"{name}: {a.get(name)!r} -> {b.get(name)!r}" for name in decisive]


def flat(config: Config) -> dict[str, Any]:
    """All settings by dotted name, for services that show them."""
    return _flatten(to_dict(config))


def names(config: Any) -> list[str]:
    """Names of all settings of a configuration: ``resolution``, ``loss.r1_gamma``; a table by resolution is one."""
    dotted: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        inner = [f"{field.name}.{name}" for name in names(value)] if dataclasses.is_dataclass(value) else [field.name]
        dotted += inner
    return dotted


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    # Not ``state.by_path``: this file is plain Python without JAX, for which an empty table would not be a leaf either.
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
