"""The verb ``stylize`` with the built-in networks: pictures, folders, videos; every wrong command in one sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegen.cli import stylize, train_style
from stylegen.config_json import to_dict
from stylegen.data.toy import bedrooms
from stylegen.io import video
from stylegen.io.files import write_json
from stylegen.style_transfer import textures
from stylegen.style_transfer.config import EncoderConfig, StyleConfig, StyleRunConfig
from stylegen.style_transfer.model import load_model

SIZE = (48, 64)  # height and width


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """With a room, two styles, masks, a folder of rooms, and files that are no pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("stylegen.runtime.compilation.use_cache", lambda folder: None)
    rooms = bedrooms.render([1, 2], 64)[:, : SIZE[0]]
    save("room.png", rooms[0])
    save("a.png", textures.texture(1, 48))
    save("b.png", textures.texture(3, 48))
    save("mask.png", np.uint8([[255] * 32 + [0] * 32] * 48))
    save("small.png", np.zeros((10, 10), np.uint8))
    (tmp_path / "rooms").mkdir()
    for i, room in enumerate(rooms):
        save(f"rooms/{i}.jpg", room)
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def save(name, pixels):
    Image.fromarray(pixels).save(name)


def run(command: str) -> int:
    return stylize.main(command.split())


def pixels(name) -> np.ndarray:
    return np.asarray(Image.open(name)).astype(int)


def test_a_picture(capsys):
    assert run("--content room.png --style a.png --alpha 0.8 --style-size 0 --out out.png") == 0
    assert "built-in" in capsys.readouterr().out
    result, content, style = (pixels(name) for name in ("out.png", "room.png", "a.png"))
    assert result.shape == content.shape
    assert np.abs(result - content).mean() > 10

    def distance(picture, other):
        return np.abs(picture.mean((0, 1)) - other.mean((0, 1))).sum()

    assert distance(result, style) < 0.5 * distance(content, style)  # it has the colors of the style


def test_a_folder_with_weights_and_colors(capsys):
    command = "--content rooms --style a.png,b.png --weights 0.3,0.7 --preserve-color --style-size 32 --out results"
    assert run(command) == 0
    assert pixels("results/0.png").shape == (*SIZE, 3) and pixels("results/1.png").shape == (*SIZE, 3)
    assert "2 images" in capsys.readouterr().out
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(command + " --overwrite") == 0


def test_a_folder_is_done_whole_whatever_is_broken_in_it(capsys):
    Path("mixed/deep/.hidden").mkdir(parents=True)
    for name in ("mixed/b.png", "mixed/deep/b.png", "mixed/deep/.hidden/x.png", "mixed/._b.png"):
        Path(name).write_bytes(Path("room.png").read_bytes())
    Path("mixed/a.png").write_text("no picture")
    command = "--content mixed --style a.png --style-size 32 --out mixed/out"
    for options in ("", " --overwrite"):  # the second time, what the first one wrote is no content
        assert run(command + options) == 0
        written = {path.relative_to("mixed/out").as_posix() for path in Path("mixed/out").rglob("*.png")}
        assert written == {"b.png", "deep/b.png"}
        out = capsys.readouterr().out
        assert "mixed/out: 2 images" in out and "1 image was left out:\n  mixed/a.png: not an image that can be" in out
    for name in ("b.png", "deep/b.png"):
        Path("mixed", name).unlink()
    assert run(command + " --overwrite") == 2
    assert "mixed/a.png: not an image that can be used" in capsys.readouterr().err


def test_a_folder_leaves_no_image_out_and_says_what_else_is_there(capsys):
    Path("mixed").mkdir()
    for name in ("10.avif", "9.jp2", "8.pgm"):
        Image.open("room.png").convert("L" if name == "8.pgm" else "RGB").save(Path("mixed", name))
    Path("mixed", "notes.txt").touch()
    assert run("--content mixed --style a.png --style-size 32 --out results") == 0
    assert {path.name for path in Path("results").iterdir()} == {"8.png", "9.png", "10.png"}
    assert "mixed: 1 file that is no image was left out, such as notes.txt." in capsys.readouterr().out
    Path("empty").mkdir()
    assert run("--content empty --style a.png --out results") == 2
    assert "--content empty holds no images" in capsys.readouterr().err


def test_preserve_color_with_and_without_a_value():
    assert stylize._with_mode(["--preserve-color", "--out", "x"]) == ["--preserve-color", "coral", "--out", "x"]
    assert stylize._with_mode(["--preserve-color"]) == ["--preserve-color", "coral"]
    assert stylize._with_mode(["--preserve-color", "luminance"]) == ["--preserve-color", "luminance"]
    assert stylize._with_mode(["--out", "coral"]) == ["--out", "coral"]


def test_a_mask():
    for name, style in (("out.png", "a.png,b.png --mask mask.png"), ("a_alone.png", "a.png"), ("b_alone.png", "b.png")):
        assert run(f"--content room.png --style {style} --style-size 0 --out {name}") == 0
    result, a, b = (pixels(name) for name in ("out.png", "a_alone.png", "b_alone.png"))
    left, right = slice(0, 24), slice(40, 64)
    for side, near, far in ((left, a, b), (right, b, a)):
        nearer, farther = (np.abs(result[:, side].mean((0, 1)) - x[:, side].mean((0, 1))).sum() for x in (near, far))
        assert nearer < farther


def test_the_mask_of_one_style_leaves_the_content_elsewhere():
    assert run("--content room.png --style a.png --mask mask.png --out out.png") == 0
    result, content = pixels("out.png"), pixels("room.png")
    np.testing.assert_array_equal(result[:, 32:], content[:, 32:])
    assert np.abs(result[:, :32] - content[:, :32]).mean() > 10


def test_alpha_0_is_the_content(capsys):
    assert run("--content room.png --style a.png --alpha 0 --out out.png") == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("room.png"))
    frames = [bedrooms.render([3], 128)[0][10:58, 3 * i : 3 * i + 64] for i in range(3)]
    video.save_video(frames, "in.mp4", fps=10, scale=1)
    assert run("--content in.mp4 --style a.png --alpha 0 --out frames") == 0
    for i, frame in enumerate(video.read_frames(video.open_video("in.mp4"))):
        np.testing.assert_array_equal(pixels(f"frames/frame{i:05d}.png"), frame)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_kept(suffix):
    alpha = np.uint8([[255] * 40 + [128] * 10 + [0] * 14] * 48)
    save("cut.png", np.dstack([pixels("room.png").astype(np.uint8), alpha]))
    assert run(f"--content cut.png --style a.png --out out.{suffix}") == 0
    result = pixels(f"out.{suffix}")
    np.testing.assert_array_equal(result[..., 3], alpha)
    assert np.abs(result[:, :50, :3] - pixels("room.png")[:, :50]).mean() > 10
    assert run("--content cut.png --style a.png --alpha 0 --out same.png") == 0
    np.testing.assert_array_equal(pixels("same.png")[:, :50, :3], pixels("room.png")[:, :50])


def test_transparency_is_resized_and_laid_on_white_where_none_is_kept():
    alpha = np.uint8([[255] * 32 + [0] * 32] * 48)
    save("cut.png", np.dstack([np.zeros((*SIZE, 3), np.uint8), alpha]))
    assert run("--content cut.png --style a.png --size 96 --out out.png") == 0
    assert pixels("out.png").shape == (96, 128, 4) and pixels("out.png")[:, :56, 3].min() == 255
    assert pixels("out.png")[:, 72:, 3].max() == 0
    assert run("--content cut.png --style a.png --out out.bmp") == 0
    assert pixels("out.bmp").shape == (*SIZE, 3) and pixels("out.bmp")[:, 32:].min() == 255
    assert pixels("out.bmp")[:, :24].max() < 255


def test_an_opaque_alpha_leaves_no_alpha():
    save("opaque.png", np.dstack([pixels("room.png").astype(np.uint8), np.full(SIZE, 255, np.uint8)]))
    for name in ("opaque", "room"):
        assert run(f"--content {name}.png --style a.png --out styled-{name}.png") == 0
    np.testing.assert_array_equal(pixels("styled-opaque.png"), pixels("styled-room.png"))


def test_commas_in_names(capsys):
    Path("a.png").rename("comma, a.png")
    Path("mask.png").rename("mask, left.png")
    lists = ["--style", "comma, a.png,b.png", "--mask", "mask, left.png"]
    assert stylize.main(["--content", "room.png", *lists, "--out", "out, 1.png"]) == 0
    assert "2 styles" in capsys.readouterr().out and Path("out, 1.png").is_file()


def test_a_mask_for_each_style_and_a_size():
    save("white.png", np.full(SIZE, 255, np.uint8))
    assert run("--content room.png --style a.png,b.png --mask white.png,mask.png --size 32 --out out.png") == 0
    assert pixels("out.png").shape == (32, 43, 3)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (200, 30, 30)])
def test_a_mask_drawn_in_alpha(color):
    """Of one color on nothing: what is drawn is the mask, whatever the color."""
    gray = pixels("mask.png").astype(np.uint8)
    save("alpha.png", np.dstack([np.full((*SIZE, 3), color, np.uint8), gray]))
    np.testing.assert_array_equal(stylize._read_mask(Path("alpha.png")), gray)
    opaque = np.dstack([np.repeat(gray[..., None], 3, axis=2), np.full(SIZE, 255, np.uint8)])
    save("opaque.png", opaque)
    np.testing.assert_array_equal(stylize._read_mask(Path("opaque.png")), gray)


def test_a_video(capsys):
    picture = bedrooms.render([3], 128)[0]
    frames = [picture[10:58, 3 * i : 3 * i + 64] for i in range(4)]
    video.save_video(frames, "in.mp4", fps=10, scale=1)
    assert run("--content in.mp4 --style a.png --style-size 0 --out out.mp4") == 0
    out = capsys.readouterr().out
    assert "consistency: change along the motion" in out and "without blending" in out
    styled = video.open_video("out.mp4")
    assert run("--content in.mp4 --style a.png --size 7000 --out huge.mp4") == 2
    assert "huge.mp4: frames of 9,333x7,000 pixels are too large" in capsys.readouterr().err
    assert (styled.width, styled.height, styled.frames, styled.fps) == (64, 48, 4, 10)
    assert run("--content in.mp4 --style a.png --preserve-color --out frames") == 0
    assert pixels("frames/frame00003.png").shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--style a.png --out out.png", "--content is missing"),
        ("--content room.png --out out.png", "--style is missing"),
        ("--content room.png --style a.png", "--out is missing"),
        ("--content none.png --style a.png --out out.png", "--content none.png: there is no such file or folder"),
        ("--content text.png --style a.png --out out.png", "text.png: not an image that can be used"),
        ("--content room.png --style text.png --out out.png", "text.png: not an image that can be used"),
        ("--content room.png --style none.png --out out.png", "none.png: cannot be read: No such file"),
        ("--content small.png --style a.png --out out.png", "small.png: 10x10 pixels are too few; at least 16"),
        ("--content room.png --style a.png,b.png --weights 0.3,0.3 --out out.png", "their sum is 0.6; it must be 1"),
        ("--content room.png --style a.png,b.png --weights 0.3,x --out out.png", "must be numbers such as 0.3,0.7"),
        ("--content room.png --style a.png,b.png --weights 1 --out out.png", "1 for 2 styles; give one each"),
        ("--content room.png --style a.png --alpha 2 --out out.png", "--alpha 2: must be from 0"),
        (
            "--content room.png --style a.png,b.png --mask small.png --out out.png",
            "10x10 pixels, but the content has 64",
        ),
        ("--content room.png --style a.png --mask mask.png,mask.png --out out.png", "2 masks for 1 style; give"),
        ("--content room.png --style a.png,b.png --mask mask.png --weights 1,0 --out out.png", "exclude each other"),
        ("--content room.png --style a.png --out out.txt", "cannot write .txt"),
        ("--content room.png --style a.png --out out.png --encoder none.pth", "--decoder is missing"),
        ("--content room.png --style a.png --out out.png --decoder none.pth", "--encoder is missing"),
        (
            "--content room.png --style a.png --out out.png --encoder none.pth --decoder none.pth",
            "there is no such file of an encoder. `stylegen stylize --download vgg19`",
        ),
        (
            "--content room.png --style a.png --out out.png --model none.safetensors",
            "there is no such file; the built-in",
        ),
        ("--content room.png --style a.png --out out.png --model text.png", "cannot be read as safetensors"),
        (
            "--content room.png --style a.png --out out.png --network vgg16 --model a.safetensors",
            "--network vgg16 is an encoder itself; it excludes --model and --encoder",
        ),
        (
            "--content room.png --style a.png --out out.png --network vgg16 --decoder none.safetensors",
            "none.safetensors: there is no such file",
        ),
        ("--content room.png --style a.png --out out.png --tile 8", "--tile 8: must be at least 64"),
        ("--content rooms --style a.png --out out.png", "--out out.png: names one image; a folder of images goes to a"),
        ("--content room.png --style a.png --out out.png --tile 90000", "--tile 90000: must be at most 8,192"),
        ("--content room.png --style a.png --out out.png --size 60000", "--size 60000: must be at most 16,384"),
        (
            "--content room.png --style a.png --out out.png --size 16000",
            "--size 16000: the content would have 21,333x16,000 pixels, and an image has at most 178,956,970",
        ),
        ("--content room.png --style a.png --out out.png --style-size 60000", "--style-size 60000: must be at most"),
        ("--content room.png --style a.png --out out.png --alpha nan", "--alpha nan: must be a finite number"),
        ("--content empty.mp4 --style a.png --out out.mp4", "empty.mp4: no video with frames in it"),
    ],
)
def test_wrong_commands(command, message, capsys, tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert run(command) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob(".*partial*"))


def test_a_huge_picture_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("stylegen.data.imaging.MAX_PIXELS", 2500)
    assert run("--content room.png --style a.png --out out.png") == 2
    assert "room.png: not an image that can be used: 64x48 pixels are too many" in capsys.readouterr().err


def test_a_weight_file_of_another_network(capsys):
    np.savez("other.npz", x=np.zeros(3))
    assert run("--content room.png --style a.png --out out.png --encoder other.npz --decoder other.npz") == 2
    assert "other.npz: these are the weights of another network; wanted is VGG-19" in capsys.readouterr().err


def test_train_style(monkeypatch, capsys, tmp_path):
    ran = []
    monkeypatch.setattr("stylegen.style_transfer.train.train_style", ran.append)
    assert train_style.main(["--config", "style_transfer", "--run.dir", "runs/style", "--decoder.steps", "7"]) == 0
    assert ran[0].run.dir == "runs/style" and ran[0].decoder.steps == 7
    assert isinstance(ran[0], StyleConfig)
    assert train_style.main(["--run.dir", "x"]) == 2
    assert "--config is missing" in capsys.readouterr().err
    assert train_style.main(["--config", "quickstart", "--run.dir", "x"]) == 2
    assert "gave a Config, not a StyleConfig" in capsys.readouterr().err


def test_a_training_resumes_from_its_own_settings(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr("stylegen.style_transfer.train.train_style", ran.append)
    settings = StyleConfig(encoder=EncoderConfig(widths=(4, 8, 16)), run=StyleRunConfig("elsewhere", seed=5))
    write_json(tmp_path / "config.json", to_dict(settings))
    assert train_style.main(["--run.dir", str(tmp_path), "--run.save-steps", "9"]) == 0
    assert ran == [replace(settings, run=StyleRunConfig(str(tmp_path), seed=5, save_steps=9))]


@pytest.mark.parametrize("verb", [stylize, train_style])
def test_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        verb.main(["--help"])
    assert ended.value.code == 0 and "usage: " in capsys.readouterr().out


def test_the_built_in_networks_are_those_of_the_experiment():
    from stylegen.cli.experiments import load_config
    from stylegen.style_transfer.train_small import STAGES

    assert load_config("style_transfer", StyleConfig).encoder.network == "small" and load_model().stages == STAGES
