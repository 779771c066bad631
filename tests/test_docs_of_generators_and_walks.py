"""Every command and snippet of docs/generators.md and docs/walks.md runs, on tiny generators and few frames."""

import json
import re
import shlex
import shutil
import wave

import numpy as np
import pytest

import stylegen
from stylegen.cli import convert, edit, sample, train
from stylegen.config import LOGGERS
from stylegen.hub import remote
from stylegen.hub.published import NVIDIA, PREFIX
from stylegen.projection import result
from stylegen.runs import power_ema
from stylegen.runs.load import save_generator
from tests.support.paths import REFERENCES, ROOT

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("generators", "walks")}
CHECKPOINT = REFERENCES / "networks" / "rosinality_32_legacy.pt"


def commands(verb, *pages):
    blocks = [block for page in pages for block in re.findall(r"^```sh\n(.*?)^```", PAGES[page], re.M | re.S)]
    words = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    assert all(line[0] == "stylegen" for line in words)
    return [line[2:] for line in words if line[1] == verb]


SAMPLE, CONVERT = commands("sample", "generators", "walks"), commands("convert", "generators")
TRAIN = commands("train", "generators")


def test_there_is_no_other_verb():
    total = sum(text.count("\nstylegen ") for text in PAGES.values())
    assert len(SAMPLE) + len(CONVERT) + len(TRAIN) == total and len(SAMPLE) > 10


@pytest.mark.parametrize("arguments", SAMPLE, ids=[" ".join(words) for words in SAMPLE])
def test_sample(arguments, make_generator, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    G = make_generator(classes=3) if "--labels" in arguments else make_generator(resolution=32)
    monkeypatch.setattr(stylegen, "load", lambda run, kimg=None: G)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if "--keyframes" in arguments:
        (text,) = re.findall(r"^```json\n(.*?)^```", PAGES["walks"], re.M | re.S)
        (tmp_path / "keyframes.json").write_text(text)
        assert json.loads(text)["loop"] is True
        ws = np.zeros((1, G.num_ws, G.w_dim), np.float32)
        result.save(result.Projection(ws, ("photo",), (result.fingerprint(G),)), "out/projection.npz")
        arguments = [*arguments, "--fps", "2"]
    if "--direction" in arguments:
        edit.main(["--run", "g", "--discover", "2", "--samples", "100", "--out", "edits", "--seeds", "0"])
    if "--audio" in arguments:
        with wave.open("track.wav", "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((8000 * np.sin(np.arange(8000) / 5)).astype("<i2").tobytes())
        arguments = [*arguments, "--fps", "10"]
    elif "--interpolate" in arguments and "--keyframes" not in arguments:
        arguments = [*arguments, "--frames", "2"]
    assert sample.main(arguments) == 0
    assert list(tmp_path.glob("*/*.mp4")) or list(tmp_path.glob("*/grid.png"))


@pytest.mark.parametrize("arguments", CONVERT, ids=[" ".join(words) for words in CONVERT])
def test_convert(arguments, make_generator, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CHECKPOINT, "550000.pt")
    G = make_generator(resolution=32)
    for name in ("faces", "cartoon") if {"--blend", "--average"} & set(arguments) else ():
        save_generator(G, tmp_path / "runs" / name / "generator.safetensors")
    if "--ema" in arguments:
        (tmp_path / "runs/quick").mkdir(parents=True)
        (tmp_path / "runs/quick/config.json").write_text("{}")
        monkeypatch.setattr(power_ema, "reconstruct", lambda run, std, kimg: (G, 0.0))
    assert convert.main(arguments) == 0


@pytest.mark.parametrize("arguments", TRAIN, ids=[" ".join(words) for words in TRAIN])
def test_train(arguments, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert train.main([*arguments, "--dry-run"]) == 0
    assert "generator: all" in capsys.readouterr().out


def test_the_snippets(make_generator, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stylegen, "load", lambda run, kimg=None: make_generator())
    for page in PAGES.values():
        for snippet in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
            exec(snippet.replace("frames=30", "frames=2"), {})
    assert (tmp_path / "walk.mp4").is_file()


def test_what_is_named_exists():
    text = PAGES["generators"]
    assert all(f"`{name}`" in text for name in LOGGERS)
    for name in re.findall(r"nvidia:([\w-]+)", text):
        assert remote.resolve(PREFIX + name).url == NVIDIA[name].url
