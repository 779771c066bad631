"""What the README, the pages of docs/ and the experiments' docstrings tell people to type exists and is understood."""

import importlib
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

import stylegen
from stylegen import cli
from stylegen.cli import (
    convert,
    edit,
    evaluate,
    experiments,
    prepare,
    project,
    sample,
    stylize,
    train,
    train_style,
)
from stylegen.data.prepared.prepare import Options
from stylegen.evaluation import metric_names as names
from stylegen.export.files import SUFFIXES
from stylegen.io import images
from stylegen.nvidia import importing
from stylegen.pretrained import weights
from stylegen.projection import result
from tests.support import documents
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
EXPERIMENTS = sorted(path for path in (ROOT / "configs").glob("*.py") if path.stem != "style_transfer")


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text()


def commands_of(document: Path) -> list[list[str]]:
    """The words of each command in a document's blocks of shell."""
    return [words for line in documents.commands(document) if (words := shlex.split(line, comments=True))]


def all_commands() -> list[list[str]]:
    """Those of the README and of the pages that are tried, each once."""
    found = [words for document in documents.RUN for words in commands_of(document)]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def docstring_commands(experiment: Path) -> list[list[str]]:
    """Indented lines of the docstring; one that begins with an option continues the first command."""
    docstring = experiment.read_text().split('"""')[1]
    commands = [shlex.split(line) for line in re.findall(r"^    ((?:python |--).*)$", docstring, re.MULTILINE)]
    return [commands[0] + words if words[0].startswith("--") else words for words in commands]


def verb_and_arguments(words: list[str]) -> tuple[str, list[str]] | None:
    """(train, [...]) of ``python train.py ...`` and of ``stylegen train ...``."""
    if words[0] == "stylegen":
        return words[1], words[2:]
    if words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file()
        return words[1].removesuffix(".py"), words[2:]
    return None


def of_verb(verb: str, commands: list[list[str]]) -> list[list[str]]:
    found = [verb_and_arguments(words) for words in commands]
    return [call[1] for call in found if call and call[0] == verb]


def ids(arguments: list[list[str]]) -> list[str]:
    return [" ".join(words) for words in arguments]


COMMANDS = all_commands()
TRAIN = of_verb("train", COMMANDS)
PREPARE = of_verb("prepare", COMMANDS)
SAMPLE = of_verb("sample", COMMANDS) + [c for e in EXPERIMENTS for c in of_verb("sample", docstring_commands(e))]
EVALUATE = of_verb("evaluate", COMMANDS)
CONVERT = of_verb("convert", COMMANDS)
STYLIZE, TRAIN_STYLE = of_verb("stylize", COMMANDS), of_verb("train_style", COMMANDS)
PROJECTIONS, EDIT = of_verb("project", COMMANDS), of_verb("edit", COMMANDS)
IN_DOCSTRINGS = [(e.stem, c) for e in EXPERIMENTS for c in of_verb("train", docstring_commands(e))]


def test_every_command_of_the_readme_is_of_a_known_kind():
    kinds = {words[0].removeprefix(".venv/bin/") for words in commands_of(documents.README)}
    assert kinds == {"git", "make", "python3", "pip", "stylegen"}


def test_every_verb_that_is_named_exists():
    documented = [words for document in (documents.README, *documents.PAGES) for words in commands_of(document)]
    used = {words[1] for words in documented if words[0] == "stylegen" and not words[1].startswith("-")}
    assert used <= set(cli.VERBS)
    assert set(cli.VERBS) - used == set(), "a verb without an example"
    assert TRAIN and PREPARE and SAMPLE and EVALUATE and CONVERT and STYLIZE and TRAIN_STYLE and PROJECTIONS and EDIT


@pytest.mark.parametrize("arguments", TRAIN, ids=ids(TRAIN))
def test_train(arguments, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    if "--run.init-from" in arguments:  # what it names is not here; tests/export/test_export.py starts from one that is
        monkeypatch.setattr("stylegen.hub.init_from.describe", lambda config: config.run.init_from)
    if "--target" in arguments:  # which takes a compiler and minutes; tests/training/test_plan.py compiles
        monkeypatch.setattr("stylegen.runtime.chips.prepare_environment", lambda: None)
        monkeypatch.setattr(
            "stylegen.training.plan.describe", lambda config, target, *_, **__: f"generator: all {target.name}"
        )
    if "--config" not in arguments:  # which goes on with a run, and none is here
        assert train.main(arguments) == 2
        assert "--config is missing" in capsys.readouterr().err
        return
    assert train.main([*arguments, "--dry-run"]) == 0
    assert "generator: all" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "arguments"), IN_DOCSTRINGS, ids=[name for name, _ in IN_DOCSTRINGS])
def test_train_as_the_experiment_says(name, arguments, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert arguments[:2] == ["--config", f"configs/{name}.py"]
    assert train.main([*arguments, "--dry-run"]) == 0
    assert "generator: all" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", PREPARE, ids=ids(PREPARE))
def test_prepare(arguments, monkeypatch):
    ran = []

    def run(command):
        ran.append(command)
        resolution, const_shape = prepare.parse_resolution(command.resolution)
        Options(resolution, const_shape=const_shape, encoding=command.encoding)

    monkeypatch.setattr(prepare, "run", run)
    assert prepare.main(arguments) == 0
    assert len(ran) == 1


@pytest.mark.parametrize("arguments", SAMPLE, ids=ids(SAMPLE))
def test_sample(arguments, make_generator, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    classes = 10 if "--labels" in arguments else 0
    G = make_generator(classes=classes)
    if "--layers" in arguments and "4-7" in arguments:
        G = make_generator(resolution=32)
    monkeypatch.setattr(stylegen, "load", lambda run, kimg=None: G)
    if "--from" in arguments:
        write_projections(G)
    before = set(tmp_path.rglob("*.*"))
    frames = ["--frames", "2"] if "--frames" in arguments else []
    assert sample.main([*arguments, *frames]) == 0
    assert set(tmp_path.rglob("*.*")) > before


@pytest.mark.parametrize("arguments", PROJECTIONS + EDIT, ids=ids(PROJECTIONS + EDIT))
def test_project_and_edit(arguments, make_generator, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    G = make_generator(resolution=32 if any("4-7" in word for word in arguments) else 16)
    monkeypatch.setattr(stylegen, "load", lambda run, kimg=None: G)
    write_projections(G)
    if "--target" in arguments:
        quick = ["--steps", "2", "--perceptual", "none", "--candidates", "4", "--batch", "1", "--overwrite"]
        assert project.main([*arguments, *quick]) == 0
        assert len(list(tmp_path.glob("out/*"))) == 4
        return
    if "--discover" not in arguments:  # then a direction has been found before
        found = ["--method", "sefa", "--ranges", "4-7"] if G.resolution == 32 else []
        quick = ["--discover", "10", "--samples", "100", "--seeds", "0"]
        assert edit.main(["--run", "g", *quick, *found, "--out", "edits"]) == 0
    assert edit.main([*arguments, "--overwrite"]) == 0


def write_projections(G):
    """A photograph, and what project makes of it, where the commands look for them."""
    images.save_image(np.zeros((8, 16, 3), np.uint8), "photo.jpg")
    found = result.Projection(np.zeros((1, G.num_ws, G.w_dim), np.float32), ("photo",), (result.fingerprint(G),))
    for folder in ("out", "out2"):
        result.save(found, f"{folder}/projection.npz")


@pytest.mark.parametrize("arguments", EVALUATE, ids=ids(EVALUATE))
def test_evaluate(arguments, monkeypatch):
    ran = []

    def measure(options):
        evaluate._check(options)
        metrics = names.parse_list(options.metrics, everything=options.images is not None)
        ran.append(metrics)
        return []

    monkeypatch.setattr(evaluate, "_of_run", measure)
    monkeypatch.setattr(evaluate, "_of_images", measure)
    monkeypatch.setattr(evaluate, "_download", lambda name: ran.append(weights.PUBLISHED[name]))
    monkeypatch.setattr(evaluate, "_write", lambda *_, **__: None)
    assert evaluate.main(arguments) == 0 and len(ran) == 1


@pytest.mark.parametrize("arguments", CONVERT, ids=ids(CONVERT))
def test_convert(arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr(convert, "convert", ran.append)
    assert convert.main(arguments) == 0
    if ran[0].to:
        convert._check_export(ran[0], ran[0].to, SUFFIXES[ran[0].to])
    importing.check_free(ran[0].out or tmp_path)
    assert ran[0].report or ran[0].out


@pytest.mark.parametrize("arguments", STYLIZE, ids=ids(STYLIZE))
def test_stylize(arguments, monkeypatch, tmp_path):
    ran = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("room.jpg", "clip.mp4", "photos/a.jpg"):
        (tmp_path / name).touch()
    for name in ("_stylize_images", "_stylize_video", "_download"):
        monkeypatch.setattr(stylize, name, lambda *found: ran.append(found))
    assert stylize.main(arguments) == 0 and len(ran) == 1


@pytest.mark.parametrize("arguments", TRAIN_STYLE, ids=ids(TRAIN_STYLE))
def test_train_style(arguments, monkeypatch):
    ran = []
    monkeypatch.setattr("stylegen.style_transfer.train.train_style", ran.append)
    monkeypatch.setattr("stylegen.runtime.compilation.use_cache", lambda folder: None)
    monkeypatch.chdir(ROOT)
    assert train_style.main(arguments) == 0 and ran[0].run.dir


def test_the_metrics_that_are_listed():
    listed = re.findall(r"^\| (`(?:fid|kid|pr|dc|is|swd|ppl).*?) \|", page("evaluation"), re.MULTILINE)
    found = {names.parse(name).kind for cell in listed for name in re.findall(r"`(\w+)`", cell)}
    assert found == {"fid", "kid", "pr", "dc", "is", "swd", "ppl"}


def test_python_of_the_page_on_sampling(make_generator, monkeypatch, tmp_path):
    """That it runs is tested with the other pages; this is that it does what it says."""
    snippet, gradients = documents.python_blocks(ROOT / "docs" / "sampling.md")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stylegen, "load", lambda run, kimg=None: make_generator())
    names: dict = {}
    exec(snippet, names)
    assert names["images"].shape == (2, 16, 16, 3) and names["images"].dtype == np.uint8
    assert names["ws"].shape == (2, 6, 16)
    assert names["table"].shape == (2, 2, 16, 16, 3)
    assert names["path"].shape == (9, 6, 16)
    exec(gradients, names)
    assert names["floats"].shape == names["redder"].shape == (2, 16, 16, 3) and names["gradient"].shape == (2, 6, 16)
    before, after = (names["score"](names["G"].synthesis(names["ws"] + x * names["gradient"])) for x in (0, 1))
    assert after > before


def test_the_table_of_the_readme_has_every_verb():
    listed = re.findall(r"^\| `stylegen (\w+)` \|", documents.README.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(cli.VERBS)


def test_make_targets():
    used = [words for words in COMMANDS if words[0] == "make"]
    targets = {target for words in used for target in words[1:] if "=" not in target}
    assert targets >= {"demo", "test"}
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_extras():
    named = re.findall(r"\.\[(\w+)\]", page("install"))
    assert set(named) == set(PROJECT["optional-dependencies"]) - {"dev"}


def test_experiments_are_listed():
    listed = set(re.findall(r"^\| `(\w+)\.py` \|", page("training"), re.MULTILINE))
    assert listed == {experiment.stem for experiment in EXPERIMENTS}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_say_what_to_expect(experiment):
    config = experiments.load_config(experiment.stem)
    docstring = experiment.read_text().split('"""')[1]
    for heading in ("Hardware:", "Hours:", "Result:"):
        assert f"\n{heading}" in docstring
    assert config.run.dir == ""


@pytest.mark.parametrize("document", sorted(path.relative_to(ROOT) for path in DOCUMENTS), ids=str)
def test_nothing_is_left_of_a_merge(document):
    """Nor of a template: both mark places with two angle brackets."""
    marked = [line for line in (ROOT / document).read_text().splitlines() if re.search("<<|>>|^=======$", line)]
    assert not marked


def test_the_stated_files_of_the_package_exist():
    text = page("architecture").split("## The rooms")[1].split("\n## ")[0]
    owned, found_where = text.split("What the names do not say")
    names = re.findall(r"`([\w/]+(?:\.py|/))`", owned + found_where)
    missing = [n for n in names if not any((ROOT / folder / n).exists() for folder in ("stylegen", ""))]
    assert len(names) > 30 and not missing
    rooms = {path.name for path in (ROOT / "stylegen").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"`([a-z_]+)/`", owned))


def test_the_picture_of_the_rooms_is_that_of_the_imports(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    rooms = importlib.import_module("rooms")
    assert rooms.PICTURE.read_text() == rooms.draw(rooms.imports()), "draw it anew: python docs/rooms.py"
