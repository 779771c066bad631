"""Every error of the package's own classes has one base, and the command line makes a sentence of it."""

import importlib
import inspect
import pkgutil

import pytest

import stylegen
from stylegen.cli import common
from stylegen.errors import StylegenError

NAMES = sorted(module.name for module in pkgutil.walk_packages(stylegen.__path__, "stylegen."))


def exceptions() -> dict[str, type[BaseException]]:
    """All classes of errors that modules of the package define, by dotted name; to be interrupted is no error."""
    found = {}
    for name in NAMES:
        for _, cls in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(cls, Exception) and cls.__module__.partition(".")[0] == "stylegen":
                found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return found


def test_every_exception_class_has_the_one_base():
    found = exceptions()
    assert {"stylegen.config.checks.ConfigError", "stylegen.runs.checkpoint_layout.Damaged"} <= set(found)
    assert [name for name, cls in found.items() if not issubclass(cls, StylegenError)] == []


def test_the_base_is_public_and_a_value_error():
    assert stylegen.StylegenError is StylegenError
    assert issubclass(StylegenError, ValueError), "code that catches ValueError goes on as it did"


@pytest.mark.parametrize("error", [StylegenError("why"), common.UsageError("why"), FileNotFoundError("why")])
def test_the_command_line_makes_a_sentence_of_it(error, capsys):
    def fail() -> None:
        raise error

    assert common.run(fail) == common.USER_ERROR
    assert capsys.readouterr().err == "error: why\n"


def test_a_bug_keeps_its_traceback():
    """A plain ValueError is none of ours, though ours are ValueErrors."""

    def fail() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        common.run(fail)
