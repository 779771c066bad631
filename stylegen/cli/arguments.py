"""Command lines of all verbs, read in one way.

A boolean is a pair of flags: ``--overwrite`` and ``--no-overwrite``, nested ``--run.overwrite`` and
``--run.no-overwrite``. Options are written with dashes; underscores are accepted as well. Up to version 0.1, ``train``
and ``train_style`` took a value instead (``--run.overwrite True``); every verb still understands it in this version.
"""

import dataclasses
import math
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from stylegen.cli import VERBS
from stylegen.cli.common import UsageError
from stylegen.config import option
from stylegen.paths import expanded, expanded_list
from stylegen.version import version

Kind = TypeVar("Kind")
SCRIPTS = {f"{verb}.py" for verb in VERBS}


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The smallest and the largest value of an option, in its annotation: ``scale: Annotated[int, Bounds(1, 64)]``.

    They keep a slip of the finger from hours of work or from all memory, so the largest is far above any use.
    """

    least: float | None = None
    most: float | None = None


SEED = Bounds(0, 2**32 - 1)
SCALE = Bounds(1, 1024)  # of pixels to squares of pixels
BATCH = Bounds(1, 4096)  # images at once
STEPS = Bounds(1, 1_000_000)
FPS = Bounds(0.1, 1000)


def parse(
    kind: type[Kind],
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    default: Kind | None = None,
    registry: ConstructorRegistry | None = None,
) -> Kind:
    """Read a command line into a dataclass, or into one of a union of them (subcommands).

    Prints help, the version or a wrong command's error and raises SystemExit, as argparse does.

    Args:
        kind: the dataclass, whose fields are the options and whose comments are their help.
        argv: the words after the command; those of this process if None.
        prog: name of the verb.
        description: text above the options; its lines that begin with a verb are shown as one would type them here.
        default: values of options that are not given; those of the class if None.
        registry: further rules of how types are read.

    Raises:
        UsageError: a boolean has a value that no flag stands for, or a number is not finite or out of its ``Bounds``.
    """
    argv = sys.argv[1:] if argv is None else argv
    if "--version" in argv:
        print(f"stylegen {version()}")
        raise SystemExit(0)
    names = booleans(kind)
    if names:
        on, off = (option(next(iter(names)), value) for value in (True, False))
        description += f"\nA setting that is on or off is a pair of flags: {on} and {off}.\n"
    given: dict[str, Any] = {} if default is None else {"default": default}
    parsed: Kind = tyro.cli(
        kind,
        prog=command(prog),
        description=_EXAMPLE.sub(lambda match: f"  {command(match[1])} ", description),
        args=normalized(argv, names),
        config=(tyro.conf.AvoidSubcommands,),
        registry=_add_optional_flags(registry or ConstructorRegistry()),
        **given,
    )
    parsed = _with_home(parsed)
    _check_numbers(parsed)
    return parsed


def _with_home(value: Any) -> Any:
    """Options with the home folder for ``~``, which a shell leaves in ``--run.dir=~/x`` and in quotes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        changed = {name: new for name, old in fields.items() if (new := _with_home(old)) != old}
        return dataclasses.replace(value, **changed) if changed else value
    if isinstance(value, Path):
        return expanded(value)
    return expanded_list(value) if isinstance(value, str) and "~" in value else value


_EXAMPLE = re.compile(rf"^  ({'|'.join(VERBS)}) ", re.MULTILINE)


def command(verb: str) -> str:
    """How one calls a verb: ``stylegen train``, or ``python train.py`` where this process is such a script."""
    script = Path(sys.argv[0])
    return f"python {script.with_name(f'{verb}.py')}" if script.name in SCRIPTS else f"stylegen {verb}"


def _check_numbers(options: Any) -> None:
    """Raise UsageError for the first number among the options that is not finite, or out of its bounds."""
    hints = typing.get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), option(field.name, "").strip()
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if not math.isfinite(value):
            raise UsageError(f"{name} {value}: must be a finite number.")
        for bounds in getattr(hints[field.name], "__metadata__", ()):
            if not isinstance(bounds, Bounds):
                continue
            if bounds.least is not None and value < bounds.least:
                raise UsageError(f"{name} {value:g}: must be at least {bounds.least:g}.")
            if bounds.most is not None and value > bounds.most:
                raise UsageError(f"{name} {value:.12g}: must be at most {bounds.most:,.12g}.")


def booleans(kind: Any) -> dict[str, bool]:
    """Boolean options of a dataclass or of a union of them: by name (``run.compile-ahead``), whether it may be None."""
    names: dict[str, bool] = {}
    for owner in _dataclasses(kind):
        hints = typing.get_type_hints(owner)
        for field in dataclasses.fields(owner):
            name, hint = field.name.replace("_", "-"), hints[field.name]
            if hint is bool or _is_optional_bool(hint):
                names[name] = hint is not bool
            else:
                names |= {f"{name}.{inner}": optional for inner, optional in booleans(hint).items()}
    return names


def normalized(argv: Iterable[str], names: Mapping[str, bool]) -> list[str]:
    """Options with dashes, and each boolean of these ``names`` that has a value as the flag that means the same.

    Prints a line on stderr for each such value, which the next version does not take.

    Raises:
        UsageError: the value is None, which no flag stands for.
    """
    words: list[str] = []
    flag = ""  # the boolean that the word before is, if it has no value yet
    for word in map(_dashed, argv):
        before, flag = flag, ""
        if before and word in ("True", "False", "None"):
            words[-1] = _flag(before, word, names[before])
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in names:
            if equals:
                word = _flag(name, value, names[name])
            else:
                flag = name
        words.append(word)
    return words


def _flag(name: str, value: str, optional: bool) -> str:
    """The flag that means a boolean with a value, and a line on stderr that says so."""
    flags = {"True": option(name, True), "False": option(name, False)}
    if value not in flags:
        default = ", or neither for the default" if optional else ""
        raise UsageError(f"--{name} {value}: a flag takes no value; give {' or '.join(flags.values())}{default}.")
    print(f"deprecated: --{name} {value} is now {flags[value]}; the next version refuses the value.", file=sys.stderr)
    return flags[value]


def _dashed(word: str) -> str:
    """An option with dashes for underscores; its value, and words that are no options, as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _dataclasses(kind: Any) -> list[type]:
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _dataclasses(typing.get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return [owner for member in typing.get_args(kind) for owner in _dataclasses(member)]
    return [kind] if dataclasses.is_dataclass(kind) and isinstance(kind, type) else []


def _is_optional_bool(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType) and set(typing.get_args(hint)) == {bool, type(None)}


def _add_optional_flags(registry: ConstructorRegistry) -> ConstructorRegistry:
    """Let ``bool | None`` be a pair of flags too, None being that neither is given; tyro by itself wants a value."""
    inside = False

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal inside
        if inside or not dataclasses.is_dataclass(info.type):
            return None
        inside = True  # what tyro itself makes of the class
        try:
            spec = ConstructorRegistry.get_struct_spec(info)
        finally:
            inside = False
        if not isinstance(spec, StructConstructorSpec):
            return None
        fields = tuple(
            dataclasses.replace(field, type=Annotated[field.type, tyro.conf.DisallowNone])  # type: ignore[arg-type]
            if _is_optional_bool(field.type)
            else field
            for field in spec.fields
        )
        return dataclasses.replace(spec, fields=fields)

    return registry
