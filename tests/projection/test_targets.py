"""Files of targets: cropped, named and refused."""

import re

import numpy as np
import pytest
from PIL import Image

from stylegen.projection import (
    targets,
)


@pytest.mark.parametrize(
    "size, words",
    [
        ((40, 20), "40x20 pixels, 20 cut off at left and right together .* enlarged from 20 to 32"),
        ((64, 100), "36 cut off at top and bottom together .* resized from 64 to 32"),
        ((32, 32), "32x32 pixels, not resized"),
    ],
)
def test_targets_of_any_size_say_how_they_were_cropped(tmp_path, size, words):
    path = tmp_path / "photo.png"
    half_white = np.zeros((size[1], size[0], 3), np.uint8)
    half_white[:, size[0] // 2 :] = 255
    Image.fromarray(half_white).save(path)
    target = targets.load_target(path, 32, 3)
    assert target.name == "photo" and target.image.shape == (32, 32, 3)
    assert target.image[:, :14].max() < 40 and target.image[:, 18:].min() > 215, "the middle stays in the middle"
    assert re.search(words, target.note)


def test_gray_and_transparent_targets(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "gray.png")
    assert (targets.load_target(tmp_path / "gray.png", 8, 3).image == 77).all()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (targets.load_target(tmp_path / "clear.png", 8, 3).image == 255).all()
    assert targets.load_target(tmp_path / "clear.png", 8, 4).image[0, 0].tolist() == [255, 0, 0, 0]


def test_files_that_are_no_targets(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(targets.TargetError, match="cannot be used as an image"):
        targets.load_target(tmp_path / "text.jpg", 8, 3)
    with pytest.raises(targets.TargetError, match="cannot be read"):
        targets.load_target(tmp_path, 8, 3)
    with pytest.raises(targets.TargetError, match="no such file or folder"):
        targets.find_targets(str(tmp_path / "nothing.jpg"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(targets.TargetError, match="holds no images"):
        targets.find_targets(str(tmp_path / "empty"))


def test_an_image_too_large_to_be_honest(tmp_path, monkeypatch):
    from stylegen.data import imaging

    Image.new("L", (100, 100)).save(tmp_path / "big.png")
    monkeypatch.setattr(imaging, "MAX_PIXELS", 9999)
    with pytest.raises(targets.TargetError, match="100x100 pixels are too many"):
        targets.load_target(tmp_path / "big.png", 8, 3)


def test_targets_of_the_same_name_get_names_of_their_own(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "room.png")
    paths = targets.find_targets(f"{tmp_path / 'a'},{tmp_path / 'b' / 'room.png'}")
    assert [target.name for target in targets.load_targets(paths, 8, 3)] == ["room", "room-2"]


def test_targets_of_a_folder_are_those_that_can_be_used(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/c.png", ".hidden.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "a.png").write_text("no image")
    paths = targets.find_targets(str(tmp_path))
    assert [path.name for path in paths] == ["a.png", "b.png", "c.png"]
    left_out: list[str] = []
    loaded = targets.load_targets(paths, 8, 3, left_out=left_out)
    assert [target.name for target in loaded] == ["b", "c"]
    assert len(left_out) == 1 and "a.png: cannot be used as an image" in left_out[0]
    with pytest.raises(targets.TargetError, match="a.png: cannot be used"):
        targets.load_targets(paths, 8, 3)
    with pytest.raises(targets.TargetError, match="None of 1 images can be used .*a.png: cannot be used"):
        targets.load_targets(paths[:1], 8, 3, left_out=[])
