"""One convention for the command lines of all verbs: booleans are pairs of flags, and options have dashes."""

import ast
import contextlib
import dataclasses
import functools
import io
import itertools
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from stylegen import cli
from stylegen.cli import arguments, convert, edit, evaluate, explore, prepare, project, sample, stylize
from stylegen.config import Config, option
from stylegen.style_transfer.config import StyleConfig
from tests.support import documents
from tests.support.paths import ROOT

# Of each verb: what it cannot do without, what it calls with the options it has read, and their class.
VERBS: dict[str, tuple[list[str], str, Any]] = {
    "train": (["--config", "quickstart", "--augment.mode", "ada"], "stylegen.train.train", Config),
    "train_style": (["--config", "style_transfer"], "stylegen.style_transfer.train.train_style", StyleConfig),
    "prepare lsun": (["A.zip", "--out", "D"], "stylegen.cli.prepare.run", prepare.Lsun),
    "prepare images": (["A", "--out", "D"], "stylegen.cli.prepare.run", prepare.Images),
    "prepare cifar10": (["A", "--out", "D"], "stylegen.cli.prepare.run", prepare.Cifar10),
    "prepare arrays": (["A.npy", "--out", "D"], "stylegen.cli.prepare.run", prepare.Arrays),
    "prepare toy_bedrooms": (["--out", "D"], "stylegen.cli.prepare.run", prepare.ToyBedrooms),
    "prepare copy": (["A", "--out", "D"], "stylegen.cli.prepare.run", prepare.Copy),
    "sample": (["--run", "toy_bedrooms"], "stylegen.cli.sample.draw", sample.Options),
    "evaluate": ([], "stylegen.cli.evaluate.evaluate", evaluate.Options),
    "project": (["--run", "toy_bedrooms", "--target", "a.png"], "stylegen.cli.project.project", project.Options),
    "edit": ([], "stylegen.cli.edit.edit", edit.Options),
    "explore": (["--run", "toy_bedrooms"], "stylegen.cli.explore.explore", explore.Options),
    "stylize": ([], "stylegen.cli.stylize.stylize", stylize.Options),
    "convert": (["a.pkl"], "stylegen.cli.convert.convert", convert.Options),
}
FLAGS = [(verb, name) for verb, (_, _, kind) in VERBS.items() for name in arguments.booleans(kind)]
# Files whose messages name a flag, and the verbs that print them.
MESSAGES = {
    "cli/common.py": ["sample", "project", "edit", "stylize", "convert"],
    "cli/convert.py": ["convert"],
    "cli/edit.py": ["edit"],
    "cli/evaluate.py": ["evaluate"],
    "cli/explore.py": ["explore"],
    "cli/project.py": ["project"],
    "cli/sample.py": ["sample"],
    "cli/sample_projections.py": ["sample"],
    "cli/sample_walks.py": ["sample"],
    "cli/stylize.py": ["stylize"],
    "data/prepared/prepare.py": ["prepare lsun", "prepare images", "prepare cifar10", "prepare toy_bedrooms"],
    "evaluation/run_tables.py": ["evaluate"],
    "export/web/page.py": ["convert"],
    "nvidia/importing.py": ["convert"],
    "runs/directory.py": ["train"],
    "hub/init_from.py": ["train"],
}
# Options of programs that are not ours, and of benchmarks and studies.
OTHERS = re.compile(r"--(xla_\w+|no-deps|logdir|help|version|against|other|fid)")


@pytest.fixture
def read(monkeypatch):
    """Runs ``stylegen VERB ...`` and returns the options that the verb acts upon."""
    received: list[Any] = []
    for target in {called for _, called, _ in VERBS.values()}:
        monkeypatch.setattr(target, received.append)
    monkeypatch.setattr("stylegen.runtime.compilation.use_cache", lambda folder: None)

    def run(verb: str, *words: str) -> Any:
        received.clear()
        assert cli.main([*verb.split(), *VERBS[verb][0], *words]) == 0
        return received[0]

    return run


def value_of(options: Any, name: str) -> Any:
    for part in name.replace("-", "_").split("."):
        options = getattr(options, part)
    return options


@functools.cache
def help_of(verb: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit) as exit_:
        cli.main([*verb.split(), "--help"])
    assert exit_.value.code == 0
    return output.getvalue()


def strings(path: Path, docstrings: bool = True) -> str:
    """The text that a source file holds, apart from comments: messages, and docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [x for x in nodes if isinstance(x, ast.Constant) and (docstrings or id(x) not in alone)]
    return "\n".join(text.value for text in texts if isinstance(text.value, str))


def flags_in(text: str, names: set[str]) -> set[str]:
    return options_in(text) & {option(name, value) for name in names for value in (True, False)}


def test_all_verbs_are_here():
    assert {verb.split()[0] for verb in VERBS} == set(cli.VERBS)


def booleans(verb: str, value: bool) -> list[str]:
    """Names of a verb's flags that can all have a value at once: an augmentation needs one transformation."""
    return [name for of, name in FLAGS if of == verb and (value or name != "augment.blit")]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("value", [True, False])
def test_every_boolean_turns_on_and_off(verb, value, read, capsys):
    names = booleans(verb, value)
    flags = [option(name, value) for name in names]
    underscored = ["--" + flag.removeprefix("--").replace("-", "_") for flag in flags]
    against = [option(name, not value) for name in names]  # the last one counts
    for words in (flags, underscored, against + flags):
        options = read(verb, *words)
        assert {name: value_of(options, name) for name in names} == dict.fromkeys(names, value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("value", [True, False])
def test_the_old_values_still_work_and_say_what_is_new(verb, value, read, capsys):
    names = booleans(verb, value)
    lines = [
        f"deprecated: --{name} {value} is now {option(name, value)}; the next version refuses the value.\n"
        for name in names
    ]
    for words in (
        [word for name in names for word in (f"--{name}", str(value))],
        [f"--{name.replace('-', '_')}={value}" for name in names],
    ):
        options = read(verb, *words)
        assert {name: value_of(options, name) for name in names} == dict.fromkeys(names, value)
        assert capsys.readouterr().err == "".join(lines)


def test_a_dry_run_can_have_a_value_too(capsys, read):
    for words in (["--dry_run", "True"], ["--dry-run"], ["--no-dry-run", "--dry_run"]):
        assert cli.main(["train", "--config", "quickstart", *words]) == 0
        output = capsys.readouterr()
        assert "generator: all" in output.out
        assert output.err.count("deprecated: --dry-run True is now --dry-run;") == ("True" in words)
    assert isinstance(read("train", "--dry-run", "False"), Config)
    assert isinstance(read("train", "--dry-run", "--no-dry-run"), Config)


def test_a_boolean_with_three_values_is_a_pair_of_flags_too(read, capsys):
    assert read("train").run.compile_ahead is None
    assert cli.main(["train", "--config", "quickstart", "--run.compile_ahead", "None"]) == 2
    fix = "give --run.compile-ahead or --run.no-compile-ahead, or neither for the default."
    assert capsys.readouterr().err == f"error: --run.compile-ahead None: a flag takes no value; {fix}\n"


NUMBERS = [
    (verb, field.name.replace("_", "-"))
    for verb, (_, _, kind) in VERBS.items()
    for field in dataclasses.fields(kind)
    if kind not in (Config, StyleConfig) and re.search(r"\bfloat\b", str(field.type))
]


@pytest.mark.parametrize(("verb", "name"), NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_is_finite(verb, name, value, capsys):
    assert cli.main([*verb.split(), *VERBS[verb][0], f"--{name}={value}"]) == 2
    assert capsys.readouterr().err == f"error: --{name} {value}: must be a finite number.\n"


@pytest.mark.parametrize("word", ["--overwrite=yes", "--overwrite=", "--overwrite=true"])
def test_any_other_value_is_refused(word, capsys):
    assert cli.main(["sample", "--run", "toy_bedrooms", word]) == 2
    value = word.partition("=")[2]
    assert capsys.readouterr().err == (
        f"error: --overwrite {value}: a flag takes no value; give --overwrite or --no-overwrite.\n"
    )


@pytest.mark.parametrize(("spelled", "value"), [("--run.keep_last", "3"), ("--run.keep-last", "3")])
def test_underscores_are_dashes_in_options_and_not_in_values(spelled, value, read):
    config = read(
        "train", spelled, value, "--run.dir=runs/my_run", "--run.metrics_weights", "a_b.pth", "--run.metrics=fid9"
    )
    assert (config.run.keep_last, config.run.dir, config.run.metrics_weights) == (3, "runs/my_run", "a_b.pth")


def test_none_still_switches_other_settings_off(read):
    config = read("train", "--config", "lsun_bedroom_256", "--run.keep-every-kimg", "None")
    assert config.run.keep_every_kimg is None


@pytest.mark.parametrize(("verb", "name"), FLAGS)
def test_help_shows_both_flags(verb, name):
    text = help_of(verb)
    assert f"{option(name, True)}, {option(name, False)}" in text
    assert not re.search(r"^[│ ] --[\w.-]*_", text, re.MULTILINE), "options have dashes"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_teaches_the_convention(verb):
    taught = re.search(r"on or off is a pair of flags: (--\S+) and (--\S+)\.", help_of(verb))
    assert taught and (taught[1], taught[2]) in {
        (option(name, True), option(name, False)) for of, name in FLAGS if of.split()[0] == verb
    }


def test_messages_name_flags_that_their_verbs_take(read):
    names = {name for _, name in FLAGS}
    sources = {str(path.relative_to(ROOT / "stylegen")): path for path in (ROOT / "stylegen").rglob("*.py")}
    shown = {name: flags_in(strings(path, docstrings=False), names) for name, path in sources.items()}
    shown["hub/init_from.py"] = {option("generator.normalize_z", value) for value in (True, False)}  # made by option
    told = {name: flags for name, flags in shown.items() if flags}
    assert set(told) == set(MESSAGES), "say in MESSAGES which verb prints the message"
    for name, flags in told.items():
        for verb in MESSAGES[name]:
            for flag in flags:
                read(verb, flag)


def all_options() -> set[str]:
    """What --help lists, of all verbs."""
    lists = [re.findall(r"^[│ ] (--\S+(?: --\S+)?)", help_of(verb), re.MULTILINE) for verb in VERBS]
    return {name for line in itertools.chain(*lists) for name in line.split(", ")}


def shown_in(path: Path) -> str:
    """A document, or what the sources of a folder say; but for the one that tells of the old spelling."""
    sources = [source for source in sorted(path.rglob("*.py")) if source.name != "arguments.py"]
    return "\n".join(map(strings, sources)) if path.is_dir() else path.read_text()


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text))


OURS = [*documents.GUIDES, *(ROOT / "configs").glob("*.py"), *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "stylegen"]
DOCUMENTS = [*OURS, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_every_option_that_is_shown_exists(path):
    shown = {word for word in options_in(shown_in(path)) if not OTHERS.fullmatch(word)}
    assert shown - all_options() == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_shown_has_dashes_and_flags_without_values(path):
    text, options = shown_in(path), all_options()
    assert {word for word in options_in(text) if "_" in word and word.replace("_", "-") in options} == set()
    flags = {option(name, value) for _, name in FLAGS for value in (True, False)} | {"--dry-run"}
    assert not re.search(rf"({'|'.join(map(re.escape, flags))})[ =](True|False)\b", text)


SOURCES = [
    *(ROOT / "stylegen" / name for name in ("config/experiment.py", "config/sections.py", "style_transfer/config.py")),
    *sorted((ROOT / "stylegen" / "cli").glob("*.py")),
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_option_has_one_description(path):
    """Behind it, above it or in a docstring below: of two, --help would show one, and of none it would show nothing."""
    source = path.read_text()
    lines = source.splitlines()
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    for owner in (node for node in classes if node.name != "Bounds"):
        for field, following in itertools.pairwise([*owner.body, None]):
            if not isinstance(field, ast.AnnAssign) or re.search(r"Config\b", ast.unparse(field)):
                continue
            docstring = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            above, line = lines[field.lineno - 2].strip(), lines[(field.end_lineno or 0) - 1]
            told = [docstring, above.startswith("#"), line[field.end_col_offset :].strip().startswith("#")]
            assert sum(told) == 1, f"{path.name}: {owner.name}.{ast.unparse(field.target)}"


@pytest.mark.parametrize(("verb", "kind"), [("train", Config), ("train_style", StyleConfig)])
def test_each_group_of_settings_has_its_own_description(verb, kind):
    text = re.sub(r"([│─╭╰╮╯\s]|-{3,})+", " ", help_of(verb))  # without the lines of boxes
    for part, owner in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(owner):
            description = re.sub(r"\s+", " ", owner.__doc__ or "").strip()
            assert f"{part} options {description} --{part}." in text


def test_every_field_of_the_configuration_is_reached():
    """``booleans`` finds those of the whole tree."""
    fields = {
        f"{part.name}.{field.name}".replace("_", "-")
        for part in dataclasses.fields(Config)
        if dataclasses.is_dataclass(part.type)
        for field in dataclasses.fields(part.type)  # type: ignore[arg-type]
        if "bool" in str(field.type)
    }
    assert set(arguments.booleans(Config)) == fields and "run.compile-ahead" in fields
