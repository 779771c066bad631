"""The command ``stylegen`` itself: versions, mistyped verbs, examples to paste, the cache of programs."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from stylegen import cli
from stylegen.version import version
from tests.support.paths import ROOT


@pytest.mark.parametrize("command", ["--version", *(f"{verb} --version" for verb in cli.VERBS)])
def test_version(command, capsys):
    try:
        assert cli.main(command.split()) == 0
    except SystemExit as end:
        assert end.code == 0
    assert capsys.readouterr().out == f"stylegen {version()}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("smaple", "; perhaps sample"), ("Train", "; perhaps train"), ("stylise", "; perhaps stylize"), ("fly", "")],
)
def test_a_mistyped_verb(word, hint, capsys):
    assert cli.main([word, "--run", "x"]) == 2
    assert capsys.readouterr().err.startswith(f"error: there is no verb {word!r}{hint}.\n")


def test_a_verb_may_have_a_dash(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train-style", "--version"])


@pytest.mark.parametrize("verb", cli.VERBS)
def test_examples_can_be_pasted(verb, monkeypatch, capsys):
    for program, expected in (("/usr/bin/stylegen", "stylegen {}"), ("tools/train.py", "python tools/{}.py")):
        monkeypatch.setattr("sys.argv", [program])
        with pytest.raises(SystemExit):
            cli.main([verb, "--help"])
        text = capsys.readouterr().out
        assert f"usage: {expected.format(verb)} " in re.sub(r"\s+", " ", text)
        assert f"\n  {expected.format(verb)} --" in text or f"\n  {expected.format(verb)} " in text
        assert not re.search(rf"^  ({'|'.join(cli.VERBS)}) -", text, re.MULTILINE)


def test_the_scripts_of_a_checkout_show_themselves():
    command = [sys.executable, "sample.py", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "\n  python sample.py --run toy_bedrooms --seeds 0-15 --out out\n" in text


class Used(Exception):
    """The cache was asked for."""


@pytest.mark.parametrize(
    "command",
    [
        "sample --run toy_bedrooms --seeds 1",
        "project --run toy_bedrooms --target a.png",
        "edit --run toy_bedrooms --discover 2",
        "evaluate --run toy_bedrooms --metrics is10",
        "evaluate --images a.npy --reference a.npy --metrics swd",
        "convert toy_bedrooms --to npz --out b.npz",
        "stylize --content a.png --style a.png --out b.png",
        "train_style --config style_transfer --run.dir run",
        "train --config quickstart --run.dir run",
    ],
)
def test_every_verb_keeps_what_it_compiles(command, tmp_path, monkeypatch):
    def asked(folder):
        raise Used

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stylegen.runtime.compilation.use_cache", asked)
    Image.new("RGB", (32, 32)).save("a.png")
    np.save("a.npy", np.zeros((4, 16, 16, 3), np.uint8))
    with pytest.raises(Used):
        cli.main(command.split())


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "file" / "folder"))
    from stylegen.cli import common

    common.use_compiled_programs()
    assert capsys.readouterr().err.startswith("warning: compiled programs are not kept: ")
