"""FFHQ's alignment: where points end, whatever the image's size and turn; and what it refuses."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from stylegen.cli.prepare import main
from stylegen.data import DataError, alignment, imaging
from stylegen.data.prepared.source import PreparedSource

# Of a face without tilt: eyes 40 apart, the mouth 60 below them.
FACE = np.array([[100.0, 90], [140, 90], [120, 120], [105, 150], [135, 150]])


def scene(size, scale=1.0, turn=0.0, shift=(0.0, 0.0)):
    """A smooth drawing of which a similarity of the plane is taken, and the five points of a face in it."""
    h, w = size
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    columns, rows = np.meshgrid(np.arange(w) - shift[0], np.arange(h) - shift[1])
    x, y = ((columns * cosine + rows * sine) / scale**2, (rows * cosine - columns * sine) / scale**2)
    pixels = np.stack([128 + 100 * np.sin(x / 11), 128 + 100 * np.cos(y / 9), 128 + 60 * np.sin((x + y) / 17)], axis=-1)
    points = FACE @ np.array([[cosine, sine], [-sine, cosine]]) + np.array(shift)
    return Image.fromarray(np.rint(pixels).astype(np.uint8)), points


def test_the_square_of_a_face_without_tilt():
    """Half a side is the larger of twice 40 and 1.8 times 60; the middle is 6 below the eyes."""
    middle, right = alignment.square(FACE)
    np.testing.assert_allclose(middle, [120.5, 96.5])
    np.testing.assert_allclose(right, [108, 0], atol=1e-12)
    assert alignment.side_of(FACE) == pytest.approx(216)


def test_what_is_in_the_square_is_resampled():
    image, points = scene((400, 500), shift=(60.0, 50.0))
    aligned = np.asarray(alignment.align(image, points, 108)).astype(float)
    # Pixel i of the result is the mean of two of the image, from the corner 180.5 - 108 on.
    x = np.arange(108) * 2 + 72.5 + 1 - 0.5 - 60
    expected = 128 + 100 * np.sin(x / 11)
    assert np.abs(aligned[50, :, 0] - expected).max() < 3


@pytest.mark.parametrize(("scale", "turn"), [(1.0, 0.4), (2.3, -0.2), (0.7, 1.5), (6.0, 0.1)])
def test_the_same_face_is_the_same_image_whatever_its_size_and_turn(scale, turn):
    side = int(700 * scale)
    plain = alignment.align(*scene((600, 600), shift=(200.0, 200.0)), 64)
    other = alignment.align(*scene((side, side), scale, turn, shift=(side / 2, side / 3)), 64)
    difference = np.asarray(plain).astype(float) - np.asarray(other)
    assert np.abs(difference).mean() < 2.5


def test_beyond_the_image_it_is_reflected_and_fades():
    image, points = scene((160, 220))
    aligned = np.asarray(alignment.align(image, points, 128)).astype(float)
    assert aligned.shape == (128, 128, 3)
    inside = np.asarray(alignment.align(*scene((600, 600), shift=(200.0, 200.0)), 128)).astype(float)
    assert np.abs(aligned[40:80, 40:80] - inside[40:80, 40:80]).mean() < 2, "within the image it is as it was"
    assert np.std(aligned[-3:]) < np.std(aligned[60:63]), "far outside there is less to see"


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_all_kinds_of_images(mode):
    image, points = scene((160, 220))
    assert alignment.align(image.convert(mode), points, 16).mode == mode


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((5, 2)), "not those of eyes and a mouth"),
        (FACE[[0, 0, 2, 3, 3]] * 0 + 7, "not those of eyes and a mouth"),
        (FACE + 5000, r"do not fit its 220x160 pixels"),
        (FACE * 100, r"do not fit its 220x160 pixels"),
    ],
)
def test_points_of_no_face_are_a_sentence(points, words):
    image, _ = scene((160, 220))
    with pytest.raises(imaging.UnreadableImageError, match=words):
        alignment.align(image, points, 16)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], r"holds \[\]; wanted \{file: \[\[x, y\], ...\]\}"),
        ({"a.png": [[1, 2]]}, "a.png has 1 points; wanted five .*left eye, right eye, nose, left corner of the mouth"),
        ({"a.png": "x"}, "a.png has x; wanted five"),
        ({"a.png": [[1, 2], [1, 2], [1], [1, 2], [1, 2]]}, r"a.png: its nose is \[1\]; wanted \[x, y\] in pixels"),
        ({"a.png": [[1, 2], [1, "2"], [1, 2], [1, 2], [1, 2]]}, "a.png: its right eye is 2; wanted a finite number"),
        ({"a.png": [[1e9, 2]] * 5}, "its left eye is 1000000000.0; wanted a finite number"),
    ],
)
def test_wrong_landmarks_are_a_sentence(tmp_path, tree, words):
    (tmp_path / "l.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match=words):
        alignment.read_landmarks(tmp_path / "l.json")
    with pytest.raises(DataError, match="cannot be read"):
        alignment.read_landmarks(tmp_path / "gone.json")


def test_the_command(tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    image, points = scene((400, 400), shift=(60.0, 50.0))
    for name in ("a.png", "deep/b.png", "c.png"):
        image.save(tmp_path / "in" / name)
    (tmp_path / "l.json").write_text(json.dumps({"a.png": points.tolist(), "b.png": points.tolist()}))
    command = ["images", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--resolution", "32", "--labels", "none"]
    assert main([*command, "--align", str(tmp_path / "l.json"), "--encoding", "lossless"]) == 0
    output = capsys.readouterr().err
    assert "has no points of 1 of the images, which are left out" in output
    assert "1 image was left out, which could not be read, the first: c.png: " in output
    batch = PreparedSource(tmp_path / "out").read(np.arange(2), 32)["image"]
    for stored in batch:
        np.testing.assert_array_equal(stored, np.asarray(alignment.align(image, points, 32)))
    assert main([*command, "--align", str(tmp_path / "l.json"), "--max-images", "2"]) == 2
    assert "holds another preparation" in capsys.readouterr().err
    (tmp_path / "l.json").write_text(json.dumps({"x.png": points.tolist()}))
    assert main([*command[:3], str(tmp_path / "other"), "--align", str(tmp_path / "l.json")]) == 2
    assert "has points of none of the images" in capsys.readouterr().err


def test_points_go_by_path_or_by_a_name_that_is_one_images(tmp_path):
    five = tuple(map(tuple, FACE.tolist()))
    marks = alignment.Landmarks("l.json", {"cat/0.png": five, "1.png": five})
    assert alignment.matched(marks, ["cat/0.png", "dog/0.png", "dog/1.png", "dog/2.png"]) == 2
    for key, found in (("cat/0.png", True), ("dog/0.png", False), ("dog/1.png", True)):
        try:
            marks.of(key)
        except imaging.UnreadableImageError:
            assert not found
        else:
            assert found
    with pytest.raises(DataError, match="1.png is the name of several images; give their paths"):
        alignment.matched(marks, ["cat/1.png", "dog/1.png"])
    with pytest.raises(DataError, match="1.png is the name of several images"):
        alignment.matched(marks, ["1.png", "dog/1.png"])
