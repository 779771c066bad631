"""Images with ICC profiles come as sRGB; Display P3 by its published numbers."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylegen.data import imaging
from tests.support.icc import DISPLAY_P3, SRGB, gray_profile, rgb_profile

P3 = rgb_profile(DISPLAY_P3)


def color_of(data, channels=3, **options):
    return imaging.to_array(imaging.decode(data, channels, **options))[4, 4]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_display_p3_becomes_srgb(form, to_bytes):
    options = {"quality": 100} if form in ("JPEG", "WEBP") else {}
    data = to_bytes(Image.new("RGB", (16, 16), (230, 90, 60)), form, icc_profile=P3, **options)
    assert np.abs(color_of(data).astype(int) - [249, 77, 45]).max() <= (0 if not options else 3)
    assert np.abs(color_of(data, color="as-is").astype(int) - [230, 90, 60]).max() <= (0 if not options else 3)


def test_alpha_stays_as_it_is(to_bytes):
    data = to_bytes(Image.new("RGBA", (16, 16), (230, 90, 60, 77)), "PNG", icc_profile=P3)
    assert color_of(data, 4).tolist() == [249, 77, 45, 77]


def test_palettes_are_converted_too(to_bytes):
    image = Image.new("RGB", (16, 16), (230, 90, 60)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert color_of(to_bytes(image, "PNG", icc_profile=P3)).tolist() == [249, 77, 45]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_gray_with_a_curve_of_its_own(mode, to_bytes):
    data = to_bytes(Image.new(mode, (16, 16), 128 if mode == "L" else (128, 255)), "PNG", icc_profile=gray_profile(1.0))
    # Half of the light, which sRGB writes as 188.
    assert color_of(data, 1).tolist() == [188] and color_of(data, 2).tolist() == [188, 255]


@pytest.mark.parametrize(
    "profile",
    [
        rgb_profile(SRGB),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"damaged",
        gray_profile(1.0),
    ],
)
def test_what_means_srgb_or_does_not_fit_changes_nothing(profile, photo, to_bytes):
    image = photo(0)
    data = to_bytes(image, "PNG", icc_profile=profile)
    np.testing.assert_array_equal(imaging.to_array(imaging.decode(data, 3)), np.asarray(image))


def test_cmyk_is_converted_by_its_profile_alone(to_bytes):
    data = to_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF", icc_profile=P3)  # of RGB: does not fit
    assert color_of(data).tolist() == [255, 0, 0]


def test_project_stylize_and_evaluate_convert_too_or_leave_as_is(tmp_path, to_bytes):
    from stylegen.evaluation.opening import open_images
    from stylegen.projection.targets import load_target
    from stylegen.style_transfer import training_images

    path = tmp_path / "photo.png"
    path.write_bytes(to_bytes(Image.new("RGB", (16, 16), (230, 90, 60)), "PNG", icc_profile=P3))
    for color, expected in (("srgb", [249, 77, 45]), ("as-is", [230, 90, 60])):
        assert load_target(path, 8, 3, color).image[0, 0].tolist() == expected
        assert training_images.read(path, 8, color=color)[0, 0].tolist() == expected
        images = open_images(tmp_path, color=color)
        assert images.read(np.arange(1))[0, 0, 0].tolist() == expected and images.provenance["color"] == color
