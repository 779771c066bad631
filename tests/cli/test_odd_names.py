"""Names that programs trip over, given to verbs as output: the file is there, or a sentence says why not."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import common, convert, edit, evaluate, prepare, project, sample, stylize
from stylegen.io import video
from stylegen.projection import result
from stylegen.runs.load import save_generator

NAMES = ["12:30", "50%d done", "two\nlines", "-dash", "quote'\"", "x" * 200, os.fsdecode(b"caf\xe9"), "ünï"]
TOO_LONG = "x" * 300


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch, make_generator):
    """Run in a fresh folder with a generator, an image and an array."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_generator(make_generator(), "g.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    Image.fromarray(pixels[0]).save("photo.png")
    np.save("A.npy", pixels)
    return tmp_path


def words(text: str, *more: str) -> list[str]:
    """The words of a command; in ``more`` spaces stay."""
    return [*text.split(), *more]


def check(verb, words: list[str], written: str, capsys) -> Path:
    """A verb has written a file of that very name, and nothing half-written."""
    assert verb.main(words) == 0, capsys.readouterr().err
    assert Path(written).exists(), sorted(os.listdir())
    assert not list(Path().rglob(".*.partial*"))
    return Path(written)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_files(name, capsys):
    mix = words("--run g.safetensors --mix --rows 1 --cols 2 --layers 0", f"--out={name}.png")  # = for the dash
    with Image.open(check(sample, mix, f"{name}.png", capsys)) as image:
        image.load()
    walk = "--run g.safetensors --interpolate --seeds 1,2 --frames 2 --scale 1"
    path = check(sample, words(walk, f"--out={name}.mp4"), f"{name}.mp4", capsys)
    assert sum(1 for _ in video.read_frames(video.open_video(path))) == 3
    check(sample, words(walk, f"--out={name}.gif"), f"{name}.gif", capsys)
    export = words("g.safetensors --to safetensors --overwrite", f"--out={name}.safetensors")  # its grid is a .png too
    assert stylegen.load(check(convert, export, f"{name}.safetensors", capsys)).resolution == 16
    measured = words("--images A.npy --reference A.npy --metrics swd", f"--json={name}.json")
    check(evaluate, measured, f"{name}.json", capsys)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_folders(name, capsys):
    draw = words("--run g.safetensors --seeds 1", f"--out={name}")
    check(sample, draw, f"{name}/seed0001.png", capsys)
    search = "--run g.safetensors --perceptual none --steps 2 --candidates 4 --target photo.png --overwrite"
    found = check(project, words(search, f"--out={name}"), f"{name}/projection.npz", capsys)
    assert result.load(found).ws.shape[0] == 1
    discover = words("--run g.safetensors --discover 2 --method sefa --overwrite", f"--out={name}")
    check(edit, discover, f"{name}/directions.npz", capsys)
    check(convert, words("g.safetensors --to npz", f"--out={name} 2"), f"{name} 2/generator.npz", capsys)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_prepared_data_and_styled_images(name, capsys):
    drawn = words("toy_bedrooms --num-images 4 --resolution 8 --workers 1", f"--out={name}")
    if name.isprintable():
        check(prepare, drawn, f"{name}/prepared.json", capsys)
    else:  # names of shards are stored as text
        assert prepare.main(drawn) == common.USER_ERROR
        assert "is no printable UTF-8" in capsys.readouterr().err
    styled = words("--content photo.png --style photo.png", f"--out={name}.png")
    check(stylize, styled, f"{name}.png", capsys)


@pytest.mark.parametrize(
    ("verb", "command"),
    [
        (sample, "--run g.safetensors --seeds 1"),
        (sample, "--run g.safetensors --interpolate --seeds 1,2"),
        (convert, "g.safetensors --to safetensors"),
        (prepare, "toy_bedrooms --num-images 4 --resolution 8"),
        (project, "--run g.safetensors --target photo.png"),
        (stylize, "--content photo.png --style photo.png"),
    ],
)
def test_a_name_that_is_too_long_is_a_sentence(verb, command, capsys):
    before = sorted(os.listdir())
    assert verb.main(words(command, f"--out={TOO_LONG}")) == common.USER_ERROR
    message = capsys.readouterr().err
    assert "file name too long" in message.lower() and message.count("\n") == 1
    assert sorted(os.listdir()) == before
