"""Walks of ``sample --interpolate``: from a command to the frames of a video, and one sentence for errors."""

import json
import subprocess
import wave

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import sample
from stylegen.editing import directions, walks
from stylegen.editing.directions import Direction, Directions
from stylegen.io import audio, images, video
from stylegen.projection import result
from stylegen.runs.load import save_generator


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch, make_generator):
    monkeypatch.chdir(tmp_path)
    save_generator(make_generator(), "g.safetensors")
    return tmp_path


@pytest.fixture
def G():
    return stylegen.load("g.safetensors")


def run(command):
    return sample.main(["--run", "g.safetensors", "--interpolate", "--noise", "none", *command.split()])


def frames(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("frame*.png"))])


def assert_close(a, b):
    assert np.abs(a.astype(int) - b).max() <= 1


def drawn(G, seeds, **options):
    return stylegen.sample(G, seeds, noise="none", **options)


def test_a_grid_of_cubic_loops(G, in_a_folder):
    assert run("--path cubic --seeds 0-7 --grid 2x2 --loop --frames 3 --out out") == 0
    found = frames(in_a_folder / "out")
    assert found.shape == (6, 32, 32, 3)
    assert_close(found[3], images.grid(drawn(G, [1, 3, 5, 7]), 2))


def test_a_sweep_of_psi_and_a_circle(G, in_a_folder):
    assert run("--seeds 7 --psi=-1,1 --frames 5 --out out") == 0
    found = frames(in_a_folder / "out")
    assert len(found) == 5
    assert_close(found[0], drawn(G, [7], psi=-1)[0])
    assert run("--seeds 7 --path circle --radius 2 --frames 4 --out circle") == 0
    assert len(frames(in_a_folder / "circle")) == 4


def test_a_row_that_moves(G, in_a_folder):
    assert run("--mix --rows 1,2 --cols 11,12 --layers 0-2 --frames 2 --out out") == 0
    found = frames(in_a_folder / "out")
    assert found.shape == (3, 32, 48, 3)
    ws = stylegen.styles(G, stylegen.latents([2, 12], 16))
    assert (found[:, :16, :16] == 255).all()
    assert_close(found[2, :16, 32:], drawn(G, [12])[0])
    assert_close(found[2, 16:, :16], drawn(G, [2])[0])
    mixed = stylegen.mix(ws[:1], ws[1:], [0, 1, 2])[0]
    assert_close(found[2, 16:, 32:], stylegen.synthesize(G, mixed, noise="none")[0])


def test_along_a_direction(G, in_a_folder):
    vector = np.linspace(-1, 1, 16, dtype=np.float32)
    found = Directions((Direction("light", vector, (0, 1, 2)),), result.fingerprint(G))
    directions.save(found, "d.npz")
    assert run("--seeds 3 --direction d.npz:light --strengths=-2,2 --frames 4 --out out") == 0
    ws = stylegen.styles(G, stylegen.latents([3], 16))
    moved = directions.move(ws, found.entries[0], -2)
    assert_close(frames(in_a_folder / "out")[0], stylegen.synthesize(G, moved, noise="none")[0])


def write_keyframes(keyframes, **others):
    with open("keyframes.json", "w") as file:
        json.dump({"keyframes": keyframes, **others}, file)


def test_keyframes_of_a_file(G, in_a_folder):
    ws = stylegen.styles(G, stylegen.latents([42], 16))
    result.save(result.Projection(ws, ("room",), (result.fingerprint(G),)), "p.npz")
    write_keyframes(
        [
            {"seed": 3, "seconds": 0.2, "psi": 0.5},
            {"projection": "p.npz", "name": "room", "seconds": 0.4},
            {"seed": 5, "layers": {"0-1": 9}},
        ]
    )
    assert run("--keyframes keyframes.json --fps 10 --out out") == 0
    found = frames(in_a_folder / "out")
    assert len(found) == 2 + 4 + 1
    assert_close(found[0], drawn(G, [3], psi=0.5)[0])
    assert_close(found[2], drawn(G, [42])[0])
    ws = stylegen.styles(G, stylegen.latents([5, 9], 16))
    mixed = stylegen.mix(ws[:1], ws[1:], [0, 1])[0]
    assert_close(found[6], stylegen.synthesize(G, mixed, noise="none")[0])


@pytest.mark.parametrize(
    ("keyframes", "others", "message"),
    [
        ([{"seed": 1}], {}, "keyframes.json: keyframes is no list of 2"),
        ([{"seed": 1}, {"seconds": 2}], {}, "keyframe 1: has none of seed and projection"),
        ([{"seed": 1}, {"seed": 2, "projection": "p.npz"}], {}, "keyframe 1: has both of seed and projection"),
        ([{"seed": 1}, {"seed": -2}], {}, "keyframe 1: seed is -2; wanted a whole number from 0"),
        ([{"seed": 1}, {"seed": 2, "second": 1}], {}, "keyframe 1: second is unknown; there are seed,"),
        ([{"seed": 1}, {"seed": 2, "seconds": 0}], {}, "keyframe 1: seconds is 0; wanted a finite number from 0.01"),
        ([{"seed": 1}, {"seed": 2, "layers": {"4-9": 1}}], {}, "layers '4-9' are not among 0 to 5"),
        ([{"seed": 1}, {"seed": 2, "layers": {"4-9": "x"}}], {}, "keyframe 1: layers 4-9 is x; wanted a whole number"),
        ([{"seed": 1}, {"projection": "p.npz"}], {}, "p.npz: cannot be read: No such file"),
        ([{"seed": 1}, {"seed": 2}], {"loop": 1}, "loop is 1; wanted true or false"),
        ([{"seed": 1}, {"seed": 2}], {"fps": 1}, "fps is unknown; there are loop and keyframes"),
    ],
)
def test_keyframes_that_are_wrong(keyframes, others, message, capsys):
    write_keyframes(keyframes, **others)
    assert run("--keyframes keyframes.json --out out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def write_wave(path, seconds=1.0):
    t = np.arange(int(44_100 * seconds)) / 44_100
    beats = np.sin(2 * np.pi * 80 * t) * (np.sin(2 * np.pi * 2 * t) > 0.5)
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes((beats * 20_000).astype("<i2").tobytes())


def streams(path):
    probe = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(probe, capture_output=True, text=True, check=False).stderr


def test_sound_moves_the_layers_and_is_in_the_video(in_a_folder):
    write_wave("track.wav")
    assert abs(len(audio.read("track.wav")) - audio.RATE) < 100
    assert run("--seeds 1-3 --path eased --audio track.wav --audio-layers low:0-3 --fps 10 --out out/a.mp4") == 0
    text = streams("out/a.mp4")
    assert "Audio: aac" in text and "Video: h264" in text and "Duration: 00:00:01." in text
    assert run("--seeds 1-3 --path eased --audio track.wav --fps 10 --out frames") == 0  # without the sound in it
    assert len(frames(in_a_folder / "frames")) == 11
    assert run("--seeds 1 --audio track.wav --audio-strength 0 --fps 10 --out still") == 0
    still = frames(in_a_folder / "still")
    assert len(still) == 10 and (still == still[0]).all()


def test_quality_and_size(in_a_folder):
    assert run("--seeds 1,2 --frames 4 --size 99 --quality 40 --out a.mp4") == 0
    found = video.open_video("a.mp4")
    assert (found.width, found.height) == (100, 100)  # padded to even sides
    assert run("--seeds 1,2 --frames 4 --size 99 --quality 0 --out b.mp4") == 0
    assert (in_a_folder / "a.mp4").stat().st_size < 0.5 * (in_a_folder / "b.mp4").stat().st_size


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--seeds 1,2,3 --grid 2x2", "3 seeds cannot be shared among 2 rows and 2 columns"),
        ("--seeds 1,2 --grid 2by2", "--grid 2by2: must be columns x rows such as 3x2"),
        ("--seeds 1,2 --radius 2", "--radius is that of --path circle"),
        ("--seeds 1,2 --strengths=-1,1", "--strengths needs --direction"),
        ("--seeds 1 --direction d.npz", "--direction d.npz: must be FILE:NAME"),
        ("--seeds 1 --direction d.npz:a", "d.npz: there are no directions there"),
        ("--seeds 1,2 --audio-strength 1", "--audio-layers and --audio-strength need --audio"),
        ("--seeds 1,2 --audio none.wav", "none.wav: there is no such sound file"),
        ("--seeds 1,2 --audio g.safetensors", "g.safetensors: no sound that can be read (it is safetensors)"),
        ("--seeds 1,2 --audio g.safetensors --audio-layers 0-3", "'0-3' is no band with its layers"),
        ("--keyframes k.json --seeds 1", "--keyframes has the seeds in its file"),
        ("--keyframes k.json --grid 2x1", "--grid does not go with --keyframes"),
        ("--keyframes k.json --psi 0.5", "--keyframes states psi and loop in its file"),
        ("--keyframes k.json", "k.json: cannot be read: No such file"),
        ("--mix --rows 1,2 --cols 3 --layers 0 --grid 2x1", "--mix and --grid do not go together"),
        ("--seeds 1,2 --size 64 --scale 2", "size = 64: give it or scale, not both"),
        ("--seeds 1,2 --quality 20 --out a.gif", "quality = 20: is of .mp4 alone"),
    ],
)
def test_what_does_not_fit_is_one_sentence(command, message, capsys):
    assert run(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_they_need_interpolate(capsys):
    assert sample.main(["--run", "g.safetensors", "--seeds", "1,2", "--path", "cubic"]) == 2
    assert "--path needs --interpolate" in capsys.readouterr().err
    assert walks.FIELDS  # of keyframes, which docs/walks.md lists
