"""Grids, labels and files of images."""

import numpy as np
import pytest
from PIL import Image

from stylegen.io import images
from tests.support.disks import small_files


def random_images(n: int, side: int = 4, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, channels), np.uint8)


@pytest.mark.parametrize("channels, mode", [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_png_keeps_every_channel(tmp_path, channels, mode):
    (image,) = random_images(1, channels=channels)
    images.save_image(image, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as back:
        assert back.mode == mode
        np.testing.assert_array_equal(np.asarray(back).reshape(4, 4, channels), image)


def test_a_grid_is_filled_row_by_row_and_scaled_by_whole_pixels():
    five = random_images(5)
    table = images.grid(five, columns=3, scale=2)
    assert table.shape == (16, 24, 3)
    for i in range(5):
        y, x = divmod(i, 3)
        cell = table[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        np.testing.assert_array_equal(cell, np.kron(five[i], np.ones((2, 2, 1), np.uint8)))
    assert (table[8:, 16:] == 255).all()


def test_missing_images_are_transparent_where_there_is_alpha():
    table = images.grid(random_images(3, channels=4), columns=2)
    assert (table[4:, 4:, 3] == 0).all()


@pytest.mark.parametrize("n, columns", [(1, 1), (4, 4), (5, 3), (16, 4), (17, 5), (64, 8)])
def test_columns_of_a_grid(n, columns):
    assert images.grid_columns(n) == columns


def test_save_grid_writes_the_grid(tmp_path):
    images.save_grid(random_images(4), tmp_path / "fakes000012.png", 2, scale=3)
    with Image.open(tmp_path / "fakes000012.png") as back:
        np.testing.assert_array_equal(np.asarray(back), images.grid(random_images(4), 2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["fakes000012.png"]


def test_a_mixing_grid_has_its_sources_along_the_edges():
    rows, cols, mixed = random_images(2), random_images(3), random_images(6).reshape(2, 3, 4, 4, 3)
    table = images.mixing_grid(rows, cols, mixed)
    assert table.shape == (3, 4, 4, 4, 3)
    np.testing.assert_array_equal(table[0, 1:], cols)
    np.testing.assert_array_equal(table[1:, 0], rows)
    np.testing.assert_array_equal(table[1:, 1:], mixed)
    assert (table[0, 0] == 255).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_labels_stand_above_and_left_of_the_images(channels):
    table = random_images(6, side=8, channels=channels).reshape(2, 3, 8, 8, channels)
    page = images.labeled_grid(table, ["a", "b"], ["1", "2", "3"], scale=4, gap=5)
    left, top = page.shape[1] - 3 * 32 - 5, page.shape[0] - 2 * 32 - 5
    for i, j in np.ndindex(2, 3):
        y, x = top + 32 * i + 5 * (i > 0), left + 32 * j + 5 * (j > 0)
        np.testing.assert_array_equal(page[y : y + 32, x : x + 32], images.enlarge(table[i, j], 4))
    for margin in (page[:top, left:, 0], page[top:, :left, 0]):
        assert margin.min() < 128 and margin.max() == 255, "dark text on white"
    assert (page[:top, :left, 0] == 255).all()
    assert (page[top + 32 : top + 37, left:, 0] == 255).all()


def test_columns_are_wide_enough_for_their_labels():
    page = images.labeled_grid(random_images(2).reshape(1, 2, 4, 4, 3), ["a"], ["a long label", "another long label"])
    assert page.shape[1] > 2 * 80


def test_comfortable_scale():
    assert [images.comfortable_scale(side) for side in (16, 32, 96, 128, 256)] == [8, 4, 2, 1, 1]


def test_arrays_that_are_no_image_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        images.to_pil(np.zeros((4, 4, 3), np.float32))


@pytest.mark.parametrize(("shape", "factor"), [((2, 8, 8, 3), 4), ((7, 10, 1), 4), ((2, 5, 6, 3), 3), ((3, 3, 2), 8)])
def test_box_means_count_incomplete_squares_by_what_they_have(shape, factor):
    x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    means = images.box_mean(x, factor)
    h, w = shape[-3:-1]
    assert means.dtype == np.float32 and means.shape[-3:-1] == (-(-h // factor), -(-w // factor))
    for i, j in np.ndindex(means.shape[-3:-1]):
        square = x[..., i * factor : (i + 1) * factor, j * factor : (j + 1) * factor, :].astype(np.float64)
        np.testing.assert_allclose(means[..., i, j, :], square.mean((-3, -2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "order"),
    [((5, 3, 8, 9), "0, 2, 3, 1"), ((1, 64, 64), "1, 2, 0"), ((5, 8, 9, 3), None), ((3, 8, 4), None), ((8, 8), None)],
)
def test_arrays_with_channels_first_are_told_how_to_transpose(shape, order):
    hint = images.layout_hint(shape)
    assert hint == ("" if order is None else f"; channels come last here: transpose it, array.transpose({order})")
    if order is not None:
        axes = [int(axis) for axis in order.split(",")]
        assert np.zeros(shape).transpose(axes).shape == (*shape[:-3], *shape[-2:], shape[-3])


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_on_white_is_that_of_pillow(channels):
    (image,) = random_images(1, 16, channels)
    page = Image.new("RGBA", (16, 16), "white")
    expected = np.asarray(Image.alpha_composite(page, images.to_pil(image).convert("RGBA")))[..., : channels - 1]
    shown = images.on_white(image)
    assert shown.shape == (16, 16, channels - 1)
    assert np.abs(shown.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(images.on_white(shown), shown)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_formats_that_lose_something_are_written_at_high_quality(tmp_path, suffix):
    """Fine stripes of two colors of one lightness: at half the resolution of color they would be gray."""
    stripes = np.empty((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 80, 80), (80, 130, 110)
    image = np.where(np.arange(32)[:, None, None] < 16, stripes, stripes[:, ::-1])
    images.save_image(image, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as back:
        difference = abs(np.asarray(back.convert("RGB")).astype(int) - image).mean()
        if suffix != ".webp":
            assert [component[1:3] for component in back.layer] == [(1, 1)] * 3  # 4:4:4
            assert difference < 4 and back.quantization[0][0] <= 2  # quality 95


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif"])
def test_a_disk_that_is_full_is_an_error_and_leaves_no_half_image(tmp_path, suffix):
    """Pillow itself wrote half a JPEG, and said nothing."""
    (image,) = random_images(1, side=300)
    with small_files(16_384), pytest.raises(OSError) as full:
        images.save_image(image, tmp_path / f"a{suffix}")
    assert full.value.filename == str(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []
