"""The public interface: the names of ``stylegen`` are the same everywhere, typed, documented and imported late."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import types

import pytest

import stylegen
from tests.support.documents import GUIDES, python_blocks
from tests.support.paths import ROOT

REFERENCE = ROOT / "docs" / "api.md"
FUNCTIONS = [name for name in stylegen.__all__ if not name[0].isupper() and name != "train"]


def for_type_checkers() -> dict[str, tuple[str, str]]:
    """Public name to (module, name there) of the imports under TYPE_CHECKING."""
    tree = ast.parse((ROOT / "stylegen" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname, "a type checker sees what is imported as itself"
            found[alias.asname] = (str(node.module), alias.name)
    return found


def parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(getattr(stylegen, name)).parameters.values())


def test_type_checkers_see_what_is_there():
    checked = for_type_checkers()
    assert set(checked) == set(stylegen.__all__)
    for name, (module, attribute) in checked.items():
        found = getattr(importlib.import_module(module), attribute)
        assert getattr(stylegen, name) is (sys.modules[module] if name == "train" else found), name


def test_the_reference_lists_every_public_name_and_no_other():
    listed = re.findall(r"^\.\. auto(?:function|class):: stylegen\.(?:train\.)?(\w+)$", REFERENCE.read_text(), re.M)
    assert sorted(listed) == sorted(stylegen.__all__)


def test_the_package_lists_its_names():
    assert set(stylegen.__all__) <= set(dir(stylegen))
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        stylegen.smaple  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_typed_and_says_what_its_parameters_are(name):
    function = getattr(stylegen, name)
    documentation = inspect.getdoc(function) or ""
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty
    for parameter in parameters(name):
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
    refers = re.search(r"Arguments and errors are those of|Like ``sample``|arguments are those of", documentation)
    short = "Args:" not in documentation
    assert refers or short or all(f"    {p.name}: " in documentation for p in parameters(name))
    assert re.search(r"Raises|raise|are those of", documentation), "the errors are named"


@pytest.mark.parametrize("name", [name for name in stylegen.__all__ if name[0].isupper()])
def test_every_class_says_what_it_is(name):
    assert inspect.getdoc(getattr(stylegen, name))


def test_train_is_a_function_and_a_module(monkeypatch):
    called = []
    monkeypatch.setattr("stylegen.train.train", lambda config, hooks: called.append((config, hooks)))
    config = stylegen.Config()
    stylegen.train(config)
    stylegen.train(config, hooks=(hooks := stylegen.Hooks()))
    assert called == [(config, None), (config, hooks)]
    assert isinstance(stylegen.train, types.ModuleType)
    assert stylegen.train.Hooks is stylegen.Hooks
    assert [p.name for p in parameters("train")] == ["config", "hooks"]


@pytest.mark.parametrize("first", ["import stylegen", "import stylegen.train", "from stylegen import train"])
def test_train_can_be_called_however_it_was_imported(first):
    code = f"{first}\nimport stylegen\nassert callable(stylegen.train) and stylegen.train.train"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("document", GUIDES, ids=str)
def test_guides_need_public_names_alone(document):
    """``stylegen.X`` with X public, or ``stylegen.ops``; nothing from deeper inside."""
    for block in python_blocks(document):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "stylegen":
                assert node.attr in {*stylegen.__all__, "ops"}
            if isinstance(node, ast.ImportFrom):
                deep = str(node.module).startswith("stylegen.")
                assert not deep or node.module == "stylegen.config", f"{node.module}: give it a public name"
