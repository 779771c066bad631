"""Data of images that are not square: crops, pyramids, prepared folders, drawn rooms."""

import numpy as np
import pytest
from PIL import Image

from stylegen.cli.prepare import main
from stylegen.config import Config, DataConfig
from stylegen.data import DataError, imaging, make_pipeline, open_source
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw.opening import open_raw
from stylegen.data.toy.source import ToySource


@pytest.fixture
def folder(tmp_path, photo):
    (tmp_path / "in").mkdir()
    for i, size in enumerate([(100, 60), (60, 100), (64, 32)]):
        photo(i, size).save(tmp_path / "in" / f"{i}.png")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("size", "shape", "box"),
    [
        ((100, 60), (32, 64), (0, 5, 100, 50)),
        ((60, 100), (32, 64), (0, 35, 60, 30)),
        ((64, 32), (32, 64), (0, 0, 64, 32)),
        ((200, 50), (32, 64), (50, 0, 100, 50)),
        ((100, 60), (32, 32), (20, 0, 60, 60)),
        ((61, 100), (32, 32), (0, 19, 61, 61)),
        ((1, 1000), (4, 16), (0, 499, 1, 1)),
    ],
)
def test_the_largest_part_of_the_proportions(size, shape, box):
    assert imaging.centered_box(size, shape) == box


def test_transposed_data_is_transposed(photo):
    for i, size in enumerate([(32, 24), (51, 24), (32, 41)]):  # cropped, not resized: Pillow rounds between its passes
        image = photo(i, size)
        turned = image.transpose(Image.Transpose.TRANSPOSE)
        a = imaging.crop_and_resize(image, (24, 32), "center-crop")
        b = imaging.crop_and_resize(turned, (32, 24), "center-crop")
        np.testing.assert_array_equal(a.swapaxes(0, 1), b)
        levels, others = imaging.pyramid(a, (4, 8, 16), 16), imaging.pyramid(a.swapaxes(0, 1), (4, 8, 16), 16)
        for r in (4, 8, 16):
            assert levels[r].shape == (24 * r // 16, 32 * r // 16, 3)
            np.testing.assert_array_equal(levels[r].swapaxes(0, 1), others[r])


def test_prepared(folder, tmp_path):
    manifest = prepare(open_raw("images", folder), tmp_path / "out", Options(32, const_shape=(4, 8)), workers=1)
    assert manifest.upscaled == 1, "60x100 gives 60x30"
    source = PreparedSource(tmp_path / "out")
    assert source.const_shape == (4, 8) and source.resolutions == (8, 16, 32)
    whole = source.read(np.arange(3), 32)["image"]
    assert whole.shape == (3, 32, 64, 3)
    np.testing.assert_array_equal(whole[2], np.asarray(Image.open(folder / "2.png").convert("RGB")))
    assert source.read(np.arange(3), 4)["image"].shape == (3, 4, 8, 3)
    batch = next(make_pipeline(source, 16, 2, workers=0))
    assert batch["image"].shape == (2, 16, 32, 3)


def test_a_pyramid_down_to_a_large_constant(folder, tmp_path):
    assert main(["images", str(folder), "--out", str(tmp_path / "out"), "--resolution", "80x60"]) == 0
    source = PreparedSource(tmp_path / "out")
    assert source.const_shape == (15, 20)
    for r, shape in ((16, (60, 80)), (8, (30, 40)), (4, (15, 20))):
        assert source.read(np.arange(1), r)["image"].shape == (1, *shape, 3)


def test_the_command(folder, tmp_path, capsys):
    command = ["images", str(folder), "--out", str(tmp_path / "out"), "--resolution", "64x32"]
    assert main(command) == 0
    assert "3 images at 16x8 to 64x32 pixels" in capsys.readouterr().err
    assert main([*command[:-1], "32"]) == 2
    assert "holds another preparation" in capsys.readouterr().err
    assert main([*command[:-1], "500x300"]) == 2
    assert "must be a power of two times small numbers" in capsys.readouterr().err
    assert main([*command, "--crop", "center-crop-wide"]) == 2
    assert "is for squares" in capsys.readouterr().err


def test_data_of_another_shape_is_refused(folder, tmp_path):
    prepare(open_raw("images", folder), tmp_path / "out", Options(32, const_shape=(4, 8)), workers=1)
    data = DataConfig(source="images", path=str(tmp_path / "out"))
    assert open_source(Config(resolution=32, const_shape=(4, 8), data=data)).num_images == 3
    with pytest.raises(DataError, match="resolution = 32: .* has images of 64x32 pixels, of another shape"):
        open_source(Config(resolution=32, data=data))
    raw = DataConfig(source="images", path=str(folder))
    assert open_source(Config(resolution=16, const_shape=(8, 4), data=raw)).read(np.arange(3), 16)["image"].shape == (
        *(3, 32, 16, 3),
    )
    assert (tmp_path / "stylegen-in-16x32").is_dir()


def test_rooms_are_cut_out_of_squares():
    wide, square = ToySource(5, 32, const_shape=(4, 8)), ToySource(5, 64)
    for r in (8, 32):
        whole = square.read(np.arange(5), 2 * r)["image"]
        np.testing.assert_array_equal(wide.read(np.arange(5), r)["image"], whole[:, r // 2 : r // 2 + r])
    assert wide.fingerprint != square.fingerprint
    assert wide.read(np.arange(2), 4)["image"].shape == (2, 4, 8, 3)
