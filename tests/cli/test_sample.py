"""The verb ``sample``: what it writes, and that every wrong command ends in one sentence and loses nothing."""

import functools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import common, sample
from stylegen.io import images
from stylegen.runs.load import save_generator
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch, make_generator):
    """Run in a fresh folder that holds one plain and one class-conditional generator."""
    monkeypatch.chdir(tmp_path)
    save_generator(make_generator(), "g.safetensors")
    save_generator(make_generator(classes=3), "classes.safetensors")
    return tmp_path


@pytest.fixture
def G(make_generator):
    return make_generator()


def run(command: str) -> int:
    return sample.main(command.split())


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_and_their_grid(G, in_a_folder, capsys):
    assert run("--run g.safetensors --seeds 0-3,42 --psi 0.7 --cutoff 2 --out out") == 0
    names = sorted(path.name for path in (in_a_folder / "out").iterdir())
    assert names == ["grid.png", "seed0000.png", "seed0001.png", "seed0002.png", "seed0003.png", "seed0042.png"]
    expected = stylegen.sample(G, [0, 1, 2, 3, 42], psi=0.7, cutoff=2)
    np.testing.assert_array_equal(read("out/seed0042.png"), expected[4])
    np.testing.assert_array_equal(read("out/seed0001.png"), expected[1])
    np.testing.assert_array_equal(read("out/grid.png"), images.grid(expected, 3, scale=8))
    assert "out: 5 images, seed0000.png to seed0042.png; grid.png shows all of them" in capsys.readouterr().out


def test_a_long_list_makes_a_grid_of_the_first(G, in_a_folder, capsys):
    assert run("--run g.safetensors --seeds 0-99 --noise none --scale 1 --columns 16 --out many") == 0
    assert len(list((in_a_folder / "many").glob("seed*.png"))) == 100
    expected = images.grid(stylegen.sample(G, range(64), noise="none"), 16)
    np.testing.assert_array_equal(read("many/grid.png"), expected)
    assert "the first 64" in capsys.readouterr().out


def test_classes_for_all_or_one_each(make_generator, in_a_folder):
    G = make_generator(classes=3)
    assert run("--run classes.safetensors --seeds 4,5 --labels 2 --batch 4 --out all") == 0
    np.testing.assert_array_equal(read("all/seed0005.png"), stylegen.sample(G, [5], labels=2, batch=4)[0])
    assert run("--run classes.safetensors --seeds 4,4,4 --labels 0-2 --batch 4 --out each") == 0
    for label in range(3):
        expected = stylegen.sample(G, [4], labels=[label], batch=4)[0]
        np.testing.assert_array_equal(read(f"each/seed0004-class{label}.png"), expected)


def test_a_truncation_sweep(G, capsys):
    assert run("--run g.safetensors --seeds 1,2 --psi=-1,0,0.5 --scale 1 --batch 4 --out out") == 0
    page = read("out/psi.png")
    for row, seed in enumerate([1, 2]):
        # Labels are wider than these pictures; the columns' places follow from the page's width.
        expected = stylegen.sample(G, [seed], psi=0.5, batch=4)[0]
        y = page.shape[0] - 32 + 16 * row
        strip = page[y : y + 16]
        assert any(np.array_equal(strip[:, x : x + 16], expected) for x in range(page.shape[1] - 15))


def test_a_mixing_table_has_its_sources_along_the_edges(G, in_a_folder, capsys):
    choices = "--rows 1-2 --cols 11-13 --layers 0-3 --psi 0.8 --scale 8 --batch 4"
    assert run(f"--run g.safetensors --mix {choices} --out out") == 0
    page = read("out/mix.png")
    left, top = page.shape[1] - 4 * 128 - 8, page.shape[0] - 3 * 128 - 8
    ws = stylegen.styles(G, stylegen.latents([1, 2, 11, 12, 13], 16), psi=0.8, batch=4)
    draw = functools.partial(stylegen.synthesize, G, batch=4)  # the same to the bit

    def cell(i: int, j: int) -> np.ndarray:
        y, x = top + 128 * i + 8 * (i > 0), left + 128 * j + 8 * (j > 0)
        return page[y : y + 128 : 8, x : x + 128 : 8]

    np.testing.assert_array_equal(cell(2, 0), draw(ws[1]))
    np.testing.assert_array_equal(cell(0, 3), draw(ws[4]))
    np.testing.assert_array_equal(cell(2, 3), draw(np.concatenate([ws[4, :4], ws[1, 4:]])))
    assert "layers 0-3 of 0-5 from the columns" in capsys.readouterr().out


def test_the_layers_of_a_generator(G, in_a_folder, capsys):
    before = sorted(in_a_folder.rglob("*"))
    assert run("--run g.safetensors --layers-table") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == list(map(str, range(G.num_ws)))
    assert lines[2].split()[1:6] == ["4", "x", "4", "b4.const", "8"]
    assert "--cutoff N" in lines[-1] and sorted(in_a_folder.rglob("*")) == before


def test_a_walk_as_a_folder_of_frames(G, in_a_folder):
    assert run("--run g.safetensors --interpolate --seeds 1,2,3 --space z --frames 4 --loop --out out/walk") == 0
    frames = np.stack([read(path) for path in sorted((in_a_folder / "out/walk").iterdir())])
    np.testing.assert_array_equal(frames, np.stack(list(stylegen.walk(G, [1, 2, 3], space="z", frames=4, loop=True))))


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp"])
def test_a_walk_as_a_video(in_a_folder, suffix, capsys):
    assert run(f"--run g.safetensors --interpolate --seeds 1,2 --frames 5 --fps 10 --out out/walk.{suffix}") == 0
    assert [path.name for path in (in_a_folder / "out").iterdir()] == [f"walk.{suffix}"]
    assert f"out/walk.{suffix}: 6 frames, 0.6 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command, words",
    [
        ("--seeds 3-1", "seed list '3-1': the range 3-1 runs backwards"),
        ("--seeds 1,,2", "seed list '1,,2': '' is neither a number nor a range"),
        ("--seeds one", "'one' is neither"),
        ("--seeds 0-99999999", "more than 10,000,000"),
        ("--seeds 4294967296", "seed 4294967296: must be a whole number from 0"),
        ("", "--seeds is missing"),
        ("--seeds 1 --labels 0", "has no classes"),
        ("--run classes.safetensors --seeds 1", "give labels, each from 0 to 2"),
        ("--run classes.safetensors --seeds 1 --labels 3", "label 3 is no class"),
        ("--run classes.safetensors --seeds 1 --labels cat", "label 'cat' is no class of this generator; its classes"),
        ("--run classes.safetensors --seeds 1-3 --labels 0,1", "2 classes for 3 seeds"),
        ("--run runs/nothing --seeds 1", "runs/nothing: no such run directory or file"),
        ("--run . --seeds 1", "no config.json"),
        ("--kimg 12 --seeds 1", "single generator"),
        ("--seeds 1 --psi much", "--psi much: must be a number"),
        ("--seeds 1 --psi nan", "--psi nan: must be a number"),
        ("--seeds 1 --psi 1e30", "and none beyond 100"),
        ("--seeds " + "9" * 5000, "is neither a number nor a range; write 0-15,42"),
        ("--seeds ²", "'²' is neither a number nor a range"),
        ("--seeds 1 --cutoff -1", "cutoff = -1"),
        ("--seeds 1 --batch 0", "--batch 0: must be at least 1"),
        ("--seeds 1 --batch 5000", "--batch 5000: must be at most 4,096"),
        ("--seeds 1 --scale 5000", "--scale 5000: must be at most 1,024"),
        ("--seeds 1-64 --scale 1000", "--scale 1000: the table would have 128,000x128,000 pixels, and an image has at"),
        ("--seeds 1 --columns 900 --scale 1000", "--scale 1000: the table would have 14,400,000x16,000 pixels"),
        ("--seeds 1-99 --psi=0,1 --scale 300", "--scale 300: the table would have 9,600x475,200 pixels"),
        ("--mix --rows 1-9 --cols 1-9 --layers 0 --scale 900", "--scale 900: the table would have 144,000x144,000"),
        ("--seeds 1 --kimg nan", "--kimg nan: must be a finite number"),
        ("--seeds 1 --scale 0", "--scale 0: must be at least 1"),
        ("--seeds 1 --columns 0", "--columns 0: must be at least 1"),
        ("--seeds 1 --rows 2", "--rows needs --mix"),
        ("--seeds 1 --loop", "--loop needs --interpolate"),
        ("--mix --interpolate", "--rows is missing"),
        ("--mix --rows 1 --cols 2", "--layers is missing"),
        ("--mix --rows 1 --cols 2 --layers 0 --seeds 3", "--mix takes its seeds"),
        ("--mix --rows 1 --cols 2 --layers 4-6", "layer 6 does not exist"),
        ("--mix --rows 1 --cols 2 --layers 0 --psi=0,1", "a sweep goes with --seeds alone"),
        ("--interpolate --seeds 1", "at least two seeds"),
        ("--interpolate --seeds 1,2 --frames 0", "--frames 0: must be at least 1"),
        ("--interpolate --seeds 1,2 --frames 1000000000", "--frames 1000000000: must be at most 100,000"),
        ("--interpolate --seeds 1,2 --fps 0 --out out/walk.mp4", "--fps 0: must be at least 0.1"),
        ("--interpolate --seeds 1,2 --fps nan", "--fps nan: must be a finite number"),
        ("--interpolate --seeds 1,2 --fps inf", "--fps inf: must be a finite number"),
        ("--interpolate --seeds 1,2 --fps 0.001 --out out/walk.gif", "--fps 0.001: must be at least 0.1"),
        ("--interpolate --seeds 1,2 --scale 600", "frames of 9,600x9,600 pixels are too large; at most 8,192 a side"),
        ("--interpolate --seeds 1,2 --scale 300 --out walk.gif", "61 frames of 4,800x4,800 pixels are too many for a"),
        ("--interpolate --seeds 1,2 --out out/walk.avi", "cannot write .avi"),
        ("--run classes.safetensors --interpolate --seeds 1,2 --labels 0,1 --space z", "stays in one class"),
        ("--seeds 1 --out g.safetensors", "g.safetensors is a file, not a folder"),
        ("--seeds 1 --out a.png", "single images go to a folder"),
        ("--layers-table --seeds 1", "--layers-table draws nothing: leave out --seeds"),
        ("--layers-table --mix-seed 1", "--layers-table draws nothing: leave out --mix-seed"),
    ],
)
def test_a_wrong_command_is_one_sentence(in_a_folder, capsys, command, words):
    before = sorted(in_a_folder.rglob("*"))
    command = command if "--run" in command else f"--run g.safetensors {command}"
    assert run(command) == common.USER_ERROR
    message = capsys.readouterr().err
    assert words in message and message.startswith("error: ") and message.count("\n") == 1, message
    assert sorted(in_a_folder.rglob("*")) == before


@pytest.mark.parametrize(
    "command, name",
    [
        ("--seeds 1-3 --out out", "seed0002.png"),
        ("--seeds 1-3 --out out", "grid.png"),
        ("--seeds 1-3 --psi=0,1 --out out", "psi.png"),
        ("--mix --rows 1 --cols 2 --layers 0 --out out", "mix.png"),
        ("--mix --rows 1 --cols 2 --layers 0 --out out/other.png", "other.png"),
        ("--interpolate --seeds 1,2 --frames 2 --out out/walk.gif", "walk.gif"),
        ("--interpolate --seeds 1,2 --frames 2 --out out", "frame00001.png"),
    ],
)
def test_what_is_there_is_kept_unless_overwritten(in_a_folder, capsys, command, name):
    (in_a_folder / "out").mkdir()
    (in_a_folder / "out" / name).write_text("mine")
    (in_a_folder / "out" / "notes.txt").write_text("mine too")
    assert run(f"--run g.safetensors {command}") == common.USER_ERROR
    assert f"{name} exists already; give another --out, or --overwrite" in capsys.readouterr().err
    assert {path.name for path in (in_a_folder / "out").iterdir()} == {name, "notes.txt"}
    assert run(f"--run g.safetensors {command} --overwrite") == 0
    read(in_a_folder / "out" / name)
    assert (in_a_folder / "out" / "notes.txt").read_text() == "mine too"


def test_bugs_keep_their_traceback_and_interruptions_are_quiet(capsys):
    def bug():
        raise ValueError("not ours")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="not ours"):
        common.run(bug)
    assert common.run(interrupted, "Go on so.") == 130
    assert capsys.readouterr().err == "interrupted. Go on so.\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_between_two_images_and_leaves_whole_ones(in_a_folder, monkeypatch, capsys, number, status):
    save, written = images.save_image, []

    def save_and_signal(image, path):
        written.append(path)
        if len(written) == 3:  # in the middle of a batch of two
            os.kill(os.getpid(), number)
        save(image, path)

    monkeypatch.setattr(images, "save_image", save_and_signal)
    assert run("--run g.safetensors --seeds 0-9 --batch 2 --out out") == status
    assert sorted(path.name for path in (in_a_folder / "out").iterdir()) == [f"seed{n:04d}.png" for n in range(4)]
    assert "interrupted. Images that are there are whole" in capsys.readouterr().err


def test_help_teaches_the_modes(capsys):
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for command in ("--seeds 0-15,42 --psi 0.7", "--mix --rows 1-5 --cols 11-16 --layers 0-3", "--interpolate"):
        assert command in text


@pytest.mark.parametrize(
    "text, expected",
    [("0-3", [0, 1, 2, 3]), ("1,2,3", [1, 2, 3]), ("0-2,42", [0, 1, 2, 42]), (" 7 , 5-6 ", [7, 5, 6]), ("4-4", [4])],
)
def test_lists_of_numbers(text, expected):
    assert common.parse_numbers("list", text) == expected


def test_help_and_wrong_commands_do_not_wait_for_jax():
    code = (
        "import sys\n"
        "from stylegen.cli import sample\n"
        "status = sample.main(['--run', 'toy_bedrooms', '--seeds', '5-1'])\n"
        "print('jax' in sys.modules, status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "2"]
