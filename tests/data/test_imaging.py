import contextlib
import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from stylegen.data import imaging
from stylegen.io.images import box_mean
from tests.support.icc import DISPLAY_P3, rgb_profile


def flat(mode, color, size=(12, 10)):
    return Image.new(mode, size, color)


def decoded(data, channels):
    return imaging.to_array(imaging.decode(data, channels))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG", "BMP", "GIF", "TIFF"])
def test_the_format_is_sniffed(form, to_bytes):
    array = decoded(to_bytes(flat("RGB", (200, 0, 0)), form), 3)
    assert array.shape == (10, 12, 3)
    assert np.abs(array.astype(int) - [200, 0, 0]).max() <= 3


@pytest.mark.parametrize(
    ("image", "channels", "expected"),
    [
        (flat("L", 90), 3, [90, 90, 90]),
        (flat("RGB", (255, 0, 0)), 1, [76]),  # ITU-R 601: 0.299 * 255
        (flat("RGBA", (0, 0, 255, 0)), 3, [255, 255, 255]),  # what cannot be seen becomes white
        (flat("RGBA", (0, 0, 0, 102)), 3, [153, 153, 153]),
        (flat("RGBA", (0, 0, 0, 102)), 1, [153]),
        (flat("RGBA", (1, 2, 3, 4)), 4, [1, 2, 3, 4]),
        (flat("RGB", (1, 2, 3)), 4, [1, 2, 3, 255]),
        (flat("LA", (50, 60)), 2, [50, 60]),
        (flat("L", 50), 2, [50, 255]),
        (flat("RGBA", (50, 50, 50, 60)), 2, [50, 60]),
        (flat("LA", (0, 102)), 3, [153, 153, 153]),
        (flat("1", 1), 3, [255, 255, 255]),
        (flat("I;16", 257 * 123), 3, [123, 123, 123]),  # scaled, not clipped
        (flat("I;16", 257 * 123), 1, [123]),
    ],
)
def test_modes_are_brought_to_the_wanted_channels(image, channels, expected, to_bytes):
    array = decoded(to_bytes(image, "PNG"), channels)
    assert array.shape == (10, 12, channels) and array.dtype == np.uint8
    np.testing.assert_array_equal(array[4, 4], expected)


def test_cmyk_and_palettes(to_bytes):
    assert decoded(to_bytes(flat("CMYK", (0, 255, 255, 0)), "TIFF"), 3)[0, 0].tolist() == [255, 0, 0]
    palette = flat("RGB", (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert decoded(to_bytes(palette, "PNG"), 3)[0, 0].tolist() == [10, 200, 30]
    assert decoded(to_bytes(palette, "PNG", transparency=0), 3)[0, 0].tolist() == [255, 255, 255]


def test_the_exif_orientation_is_applied(photo, to_bytes):
    image = photo(0, (40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    array = decoded(to_bytes(image, "PNG", exif=exif), 3)
    np.testing.assert_array_equal(array, np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("huge", [False, True])
def test_the_orientation_survives_profiles_and_reduction(form, huge, to_bytes, monkeypatch):
    monkeypatch.setattr(imaging, "HUGE_PIXELS", 1000 if huge else 10**6)
    image = Image.fromarray(np.repeat(np.uint8([[0] * 60 + [255] * 60]), 60, axis=0)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: black on top
    data = to_bytes(image, form, exif=exif, icc_profile=rgb_profile(DISPLAY_P3))
    result = imaging.decode(data, 3, smallest=8)
    assert result.height == 2 * result.width and (result.width < 60) == huge
    array = imaging.to_array(result)
    assert array[: result.height // 3].mean() < 10 and array[-result.height // 3 :].mean() > 245


def test_the_orientation_of_16_bits_is_applied(to_bytes):
    values = np.repeat(np.uint16([[0] * 6 + [65_535] * 6]), 4, axis=0)
    data = to_bytes(Image.fromarray(values), "TIFF", tiffinfo={0x0112: 6})
    assert decoded(data, 1)[:, 0, 0].tolist() == [0] * 6 + [255] * 6


@pytest.mark.parametrize("form", ["WEBP", "JPEG", "PNG"])
def test_what_is_no_whole_image_is_unreadable(form, photo, to_bytes):
    data = to_bytes(photo(0, (200, 200)), form)
    for broken in (data[: len(data) // 2], b"", b"no image", data[:20]):
        with pytest.raises(imaging.UnreadableImageError, match="."):
            imaging.decode(broken, 3)


def test_decompression_bombs_are_refused(monkeypatch, to_bytes):
    monkeypatch.setattr(imaging, "MAX_PIXELS", 99)
    with pytest.raises(imaging.UnreadableImageError, match="12x10 pixels are too many"):
        imaging.decode(to_bytes(flat("RGB", 0), "PNG"), 3)


def test_floating_point_pixels_are_unreadable(to_bytes):
    with pytest.raises(imaging.UnreadableImageError, match="no known range"):
        imaging.decode(to_bytes(flat("F", 0.5), "TIFF"), 3)


@pytest.mark.parametrize("size", [(40, 31), (31, 40), (33, 33), (16, 100)])
def test_center_crop_is_that_of_the_original_tool(size, photo):
    image = photo(1, size)
    array = np.asarray(image)
    side = min(array.shape[:2])
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    square = Image.fromarray(array[top : top + side, left : left + side])
    expected = np.asarray(square.resize((16, 16), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(imaging.crop_and_resize(image, 16, "center-crop"), expected)


def test_center_crop_wide_puts_the_middle_between_black_bars():
    array = imaging.crop_and_resize(flat("RGB", (9, 99, 199), (400, 200)), 64, "center-crop-wide")
    assert array.shape == (64, 64, 3)
    assert not array[:8].any() and not array[56:].any()
    assert (array[8:56] == [9, 99, 199]).all()


def test_center_crop_wide_keeps_proportions():
    # A circle must stay one: as wide as high.
    y, x = np.mgrid[:240, :480]
    disc = ((x - 239.5) ** 2 + (y - 119.5) ** 2 < 80**2).astype(np.uint8) * 255
    array = imaging.crop_and_resize(Image.fromarray(disc), 64, "center-crop-wide")[:, :, 0] > 127
    assert abs(array.any(0).sum() - array.any(1).sum()) <= 1


def test_upscaling_is_noticed():
    assert imaging.is_upscaled(flat("RGB", 0, (300, 63)), 64, "center-crop")
    assert not imaging.is_upscaled(flat("RGB", 0, (64, 64)), 64, "center-crop")
    assert imaging.is_upscaled(flat("RGB", 0, (63, 63)), 64, "center-crop-wide")
    assert not imaging.is_upscaled(flat("RGB", 0, (64, 48)), 64, "center-crop-wide")


def test_the_pyramid_averages_before_it_rounds():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    levels = imaging.pyramid(image, (8, 16, 32))
    np.testing.assert_array_equal(levels[32], image)
    for r, factor in ((16, 2), (8, 4)):
        means = image.reshape(r, factor, r, factor, 3).mean(axis=(1, 3), dtype=np.float64)
        np.testing.assert_array_equal(levels[r], np.rint(means).astype(np.uint8))
    rounded_twice = np.rint(box_mean(levels[16], 2))
    assert (rounded_twice != levels[8]).any()


def test_pyramid_resolutions():
    assert imaging.pyramid_resolutions(64) == (8, 16, 32, 64)
    assert imaging.pyramid_resolutions(64, 32) == (32, 64)
    assert imaging.pyramid_resolutions(4) == (4,)


@pytest.mark.parametrize("library", ["cv2", "pillow"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_storage_returns_the_same_pixels(channels, library, monkeypatch):
    _use(library, monkeypatch)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, channels), np.uint8)
    stored = imaging.encode_stored(image, "lossless")
    np.testing.assert_array_equal(imaging.decode_stored(stored, channels), image)


@pytest.mark.parametrize("library", ["cv2", "pillow"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_storage_is_close(channels, library, monkeypatch, photo):
    _use(library, monkeypatch)
    image = imaging.to_array(photo(3, (64, 64), {1: "L", 3: "RGB"}[channels]).resize((256, 256)))
    stored = imaging.encode_stored(image, "jpeg")
    assert np.abs(imaging.decode_stored(stored, channels).astype(int) - image).mean() < 2
    assert not Image.open(io.BytesIO(stored)).info.get("progressive")
    assert {layer[1:3] for layer in Image.open(io.BytesIO(stored)).layer} == {(1, 1)}  # 4:4:4


def _use(library, monkeypatch):
    imaging.stored_decoder.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None if library == "pillow" else pytest.importorskip("cv2"))


@pytest.fixture(autouse=True)
def _forget_the_decoder():
    yield
    imaging.stored_decoder.cache_clear()


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "RGB"), ("PNG", "P")]
)
def test_huge_images_are_reduced_early_and_look_the_same(form, mode, photo, to_bytes, monkeypatch):
    image = photo(5, (1300, 1000), "RGB" if mode == "P" else mode)
    data = to_bytes(image.convert(mode), form, **({"quality": 95} if form == "JPEG" else {}))
    full = imaging.decode(data, 3, smallest=32)
    assert full.size == (1300, 1000)  # not huge
    monkeypatch.setattr(imaging, "HUGE_PIXELS", 1_000_000)
    held = []

    @contextlib.contextmanager
    def huge(size):
        held.append(size)
        yield
        held.append("done")

    small = imaging.decode(data, 3, smallest=32, huge=huge)
    assert held == [(1300, 1000), "done"]
    assert min(small.size) >= 3 * 32
    if mode != "P":
        assert min(small.size) < 3 * 32 * 2
    assert imaging.decode(data, 3).size == (1300, 1000)  # who did not say how small it may be gets all
    results = [imaging.crop_and_resize(i, 32, "center-crop").astype(int) for i in (full, small)]
    assert np.abs(results[0] - results[1]).mean() < 1.0


def _gray_tiff(values, bits):
    """A TIFF of unsigned gray of 12 (packed) or 32 bits a pixel."""
    if bits == 12:
        pixels = b"".join(
            bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for row in values for a, b in row.reshape(-1, 2).tolist()
        )
    else:
        pixels = values.astype("<u4").tobytes()
    height, width = values.shape
    fields = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items()) + bytes(4)
    padded = pixels + bytes(len(pixels) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory


def test_gray_of_12_bits_is_scaled_by_its_range():
    values = np.array([[0, 2048, 4095, 1000]] * 4)
    array = decoded(_gray_tiff(values, 12), 1)[:, :, 0]
    assert array[0].tolist() == [0, 128, 255, 62]


def test_gray_of_32_bits_is_refused():
    with pytest.raises(imaging.UnreadableImageError, match="gray of 32 bits has no known range; scale it to 8 or 16"):
        imaging.decode(_gray_tiff(np.full((4, 4), 2**31 - 1), 32), 3)


def test_twelve_bits_in_sixteen_are_refused_and_black_is_not(to_bytes):
    def png(value):
        return to_bytes(Image.fromarray(np.full((4, 4), value, np.uint16)), "PNG")

    with pytest.raises(imaging.UnreadableImageError, match="no value above 4,095, which is nearly black; if it holds"):
        imaging.decode(png(4095), 3)
    assert decoded(png(0), 1).max() == 0 and decoded(png(4112), 1).max() == 16


def test_every_value_of_16_bits_is_scaled_and_rounded(to_bytes):
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values.astype(np.float64) / 257)
    np.testing.assert_array_equal(decoded(to_bytes(Image.fromarray(values), "PNG"), 1)[:, :, 0], expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html>", r"it is a web page \(a failed download\)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (b"\x1f\x8b\x08\x00", "it is gzip: unpack it first"),
        (bytes(4) + b"ftypheic" + bytes(9), "it is a HEIC image: save it as JPEG or PNG"),
        (b"\x00\x00\x01\xba" + bytes(9), "it is an MPEG video"),
        (bytes(range(128, 200)), "^no image, or none of a format that is read$"),
        (b"", "it is empty"),
    ],
)
def test_what_is_no_image_is_named(data, words):
    with pytest.raises(imaging.UnreadableImageError, match=words):
        imaging.decode(data, 3)


def test_a_png_with_much_text_is_read(photo, to_bytes):
    """Programs write prompts and histories of megabytes into images; Pillow refuses more than one."""
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_text("workflow", "x" * 3_000_000, zip=True)
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(photo(0))).save(buffer, "PNG", pnginfo=about)
    with pytest.raises(ValueError, match="too large"):
        Image.open(io.BytesIO(buffer.getvalue()))
    np.testing.assert_array_equal(imaging.to_array(imaging.decode(buffer.getvalue(), 3)), np.asarray(photo(0)))


def test_a_header_without_an_image_is_refused(to_bytes):
    """A raw TIFF of 200 bytes may state 150 million pixels, and Pillow makes them all."""
    small = to_bytes(Image.new("L", (9, 8)), "TIFF")
    tall = (257).to_bytes(2, "little") + b"\x04\x00\x01\x00\x00\x00"
    at = small.index(tall) + len(tall)
    with pytest.raises(imaging.UnreadableImageError, match="9x16777225 pixels cannot be in"):
        imaging.decode(small[:at] + (16_777_225).to_bytes(4, "little") + small[at + 4 :], 3)
    blank = to_bytes(Image.new("1", (4000, 4000)), "PNG")
    assert imaging.decode(blank, 1).size == (4000, 4000), "the best packed image there is"


def test_only_formats_of_images_are_read():
    """Pillow finds formats by content and would start Ghostscript for PostScript, whatever the file is called."""
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    assert Image.open(io.BytesIO(postscript)).format == "EPS"
    with pytest.raises(imaging.UnreadableImageError):
        imaging.decode(postscript, 3)
