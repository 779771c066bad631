"""Transfers: tiles, styles and their weights, masks, colors, and what is refused."""

import numpy as np
import pytest

from stylegen.style_transfer import StyleError, color
from stylegen.style_transfer import stylize as transfer
from stylegen.style_transfer.stylize import stylize


@pytest.fixture(scope="module")
def content(make_picture):
    return make_picture(1, 100, 131)


@pytest.fixture(scope="module")
def styles(make_picture):
    return [make_picture(2, 40, 64), 255 - make_picture(3, 57, 33) // 2]


def test_tiles_equal_the_whole(model, content, styles):
    """Statistics are those of the whole picture and margins as wide as the networks see: no seams, at any tile."""
    untiled = stylize(model, content, styles[:1], tile=512).astype(int)
    assert untiled.shape == content.shape and untiled.std() > 5
    for tile in (16, 40):
        assert np.abs(stylize(model, content, styles[:1], tile=tile) - untiled).max() <= 1  # a rounding of 0.5


def test_features_and_pixels_of_tiles_are_those_of_the_whole(model, content):
    untiled = transfer.features_of(model, content, 512)
    assert untiled.shape == (13, 17, 10)
    np.testing.assert_allclose(transfer.features_of(model, content, 24), untiled, atol=1e-5)
    assert np.array_equal(
        transfer.image_of(model, untiled, (100, 131), 24), transfer.image_of(model, untiled, (100, 131))
    )


def test_margins_are_as_narrow_as_they_can_be(model, content, monkeypatch):
    """So the tests above test something."""
    assert transfer.margin(model.stages) == 3  # 2 + 4 + 8 + 8 = 22 pixels
    untiled = transfer.features_of(model, content, 512)
    monkeypatch.setattr(transfer, "margin", lambda stages: 2)
    assert np.abs(transfer.features_of(model, content, 24) - untiled).max() > 1e-4


def test_spans_cover_everything_once_with_one_size():
    for length in (5, 14, 15, 40, 41):
        spans = transfer._spans(length, 8, 3)
        assert np.array_equal(np.concatenate([np.arange(length)[s.core] for s in spans]), np.arange(length))
        assert len({s.end - s.begin for s in spans}) == 1
        for s in spans:
            assert s.begin == 0 or s.first - s.begin >= 3
            assert s.end == length or s.end - s.last >= 3


@pytest.mark.parametrize("options", [{}, {"preserve_color": "coral"}, {"preserve_color": "luminance"}])
def test_alpha_0_is_the_content(model, content, styles, options):
    result = stylize(model, content, styles[:1], alpha=0, **options)
    np.testing.assert_array_equal(result, content)
    assert result is not content
    assert np.abs(stylize(model, content, styles[:1], alpha=0.01, **options).astype(int) - content).mean() > 1


def test_the_result_has_the_statistics_of_the_weighted_styles(model, content, styles):
    """Before decoding: means and deviations are 0.3 of the one and 0.7 of the other."""
    measured = [transfer.style_of(model, style) for style in styles]
    mean, std = (np.stack([getattr(f, name) for f in measured]) for name in ("mean", "std"))
    features = transfer.features_of(model, content)[None]
    target = transfer._restyle(features, mean, std, np.float32([0.3, 0.7]), 1.0, variance="biased")
    np.testing.assert_allclose(np.mean(target, (0, 1, 2)), 0.3 * mean[0] + 0.7 * mean[1], atol=1e-4)
    live = features.std((0, 1, 2)) > 0.05
    wanted = 0.3 * std[0] + 0.7 * std[1]
    np.testing.assert_allclose(np.std(target, (0, 1, 2))[live], wanted[live], rtol=1e-2)


def test_weights_are_floats(model, content, styles):
    """The port that most people use reads them as whole numbers."""
    one, mixed, other = (stylize(model, content, styles, weights=w).astype(int) for w in ((1, 0), (0.3, 0.7), (0, 1)))
    assert np.array_equal(one, stylize(model, content, styles[:1]))
    assert 0 < np.abs(mixed - other).mean() < np.abs(one - other).mean()


def test_variance_matters(make_model, make_picture, styles):
    content = make_picture(5, 17, 24)
    a, b = (stylize(make_model(v), content, styles[:1]).astype(int) for v in ("biased", "unbiased"))
    assert np.abs(a - b).max() > 0


def test_a_mask_of_one_half_each(model, content, styles):
    """Hard masks: each half has the statistics of its own style, as the authors' -mask."""
    mask = np.zeros(content.shape[:2], np.uint8)
    mask[:, :64] = 255
    regions = transfer.feature_masks([mask], 2, mask.shape, 8)
    assert set(np.unique(regions)) == {0, 1} and regions[0, :, :8].all() and not regions[0, :, 8:].any()
    measured = [transfer.style_of(model, style) for style in styles]
    features = transfer.features_of(model, content)[None]
    mean, std = (np.stack([getattr(f, name) for f in measured]) for name in ("mean", "std"))
    target = np.asarray(transfer._restyle_regions(features, mean, std, regions, 1.0, variance="biased"))
    np.testing.assert_allclose(target[:, :, :8].mean((0, 1, 2)), mean[0], atol=1e-4)
    np.testing.assert_allclose(target[:, :, 8:].mean((0, 1, 2)), mean[1], atol=1e-4)


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
def test_a_mask_that_is_all_white_is_no_mask(make_model, content, styles, variance):
    model = make_model(variance)
    white = np.full(content.shape[:2], 255, np.uint8)
    a = stylize(model, content, styles, masks=[white]).astype(int)
    assert np.abs(a - stylize(model, content, styles[:1])).max() <= 1


def test_the_mask_of_one_style_is_where_it_goes(model, content, styles):
    """Inside there is nothing but the style, with the statistics of the region; outside the content, to the pixel."""
    mask = np.zeros(content.shape[:2], np.uint8)
    mask[:, :64] = 255
    mask[:, 120] = 128
    result = stylize(model, content, styles[:1], masks=[mask]).astype(int)
    np.testing.assert_array_equal(result[:, 64:120], content[:, 64:120])
    np.testing.assert_array_equal(result[:, 121:], content[:, 121:])
    both = stylize(model, content, styles, masks=[mask]).astype(int)
    assert np.abs(result[:, :32] - both[:, :32]).max() <= 1
    assert np.abs(result[:, :64] - content[:, :64]).mean() > 5
    floats = stylize(model, content, styles[:1], masks=[mask / np.float32(255)])
    np.testing.assert_array_equal(floats, result)
    with pytest.raises(StyleError, match="mask: is black everywhere"):
        stylize(model, content, styles[:1], masks=[np.zeros_like(mask)])


def test_half_a_mask_is_half_a_style(model, content, styles):
    features, half = transfer.features_of(model, content)[None], np.full((1, 13, 17), 0.5, np.float32)
    style = transfer.style_of(model, styles[0])
    of_half, of_all = (
        np.asarray(
            transfer._restyle_regions(features, style.mean[None], style.std[None], shares, 1.0, variance="biased")
        )
        for shares in (half, 2 * half)
    )
    np.testing.assert_allclose(of_half, (of_all + features) / 2, atol=1e-4)


def test_soft_masks_are_normalized(content):
    masks = [np.full(content.shape[:2], value, np.float32) for value in (0.2, 0.4, 1.0)]
    shares = transfer.feature_masks(masks, 3, content.shape[:2], 8)
    np.testing.assert_allclose(shares[:, 0, 0], np.array([0.2, 0.4, 1.0]) / 1.6, rtol=1e-5)
    half = transfer.feature_masks([np.full((9, 9), 64, np.uint8)], 2, (9, 9), 8)
    np.testing.assert_allclose(half[0], 64 / 255, rtol=1e-5)
    assert half.shape == (2, 2, 2)


def test_coral_gives_the_style_the_colors_of_the_content(content, styles):
    """Of pictures of different sizes too: a scatter that is not divided by the number of pixels gives 5 times it."""
    x, wanted = (picture.reshape(-1, 3) / 255 for picture in (styles[0], content))
    recolored = color.coral_floats(x, wanted)
    np.testing.assert_allclose(recolored.mean(0), wanted.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.cov(recolored.T), np.cov(wanted.T), atol=1e-4)
    assert np.abs(np.cov(x.T) - np.cov(wanted.T)).max() > 0.001
    rounded = color.coral(styles[0], content)
    assert rounded.shape == styles[0].shape
    np.testing.assert_allclose(rounded.reshape(-1, 3) / 255, np.clip(recolored, 0, 1), atol=0.002)


def test_coral_of_a_gray_style(content):
    gray = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1).repeat(4, 0).repeat(4, 1), 3, axis=2)
    assert np.isfinite(color.coral_floats(gray.reshape(-1, 3) / 255, content.reshape(-1, 3) / 255)).all()
    flat = np.full((16, 16, 3), 77, np.uint8)
    np.testing.assert_allclose(color.coral(flat, content)[0, 0], content.reshape(-1, 3).mean(0), atol=1)


def test_luminance_keeps_the_color_differences(model, styles):
    content = np.full((32, 32, 3), (150, 110, 90), np.uint8)
    result = np.random.default_rng(0).integers(80, 140, content.shape, np.uint8)
    combined = color.with_luminance(content, result).astype(int)
    assert np.abs((combined - content) - (combined - content)[..., :1]).max() == 0
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(combined @ luma, result @ luma, atol=0.6)
    transferred = stylize(model, content, styles[:1], preserve_color="luminance").astype(int)
    assert np.abs(transferred - content - (transferred - content)[..., :1]).max() <= 1


def test_preserved_colors_change_the_result(model, content, styles):
    plain, coral = (stylize(model, content, styles[:1], preserve_color=p).astype(int) for p in (None, "coral"))
    assert np.abs(plain - coral).mean() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": [0.3, 0.3]}, r"weights 0\.3,0\.3: their sum is 0\.6; it must be 1"),
        ({"weights": [1.0]}, "1 for 2 styles; give one each"),
        ({"weights": [float("nan"), 1.0]}, "must be numbers that are not negative"),
        ({"weights": [1.5, -0.5]}, "must be numbers that are not negative"),
        ({"alpha": 1.5}, r"alpha = 1\.5: must be from 0"),
        ({"masks": [np.ones((10, 10))]}, "mask: 10x10 pixels, but the content has 131x100"),
        ({"masks": [np.ones((100, 131))] * 3}, "3 masks for 2 styles"),
        ({"masks": [np.zeros((100, 131))] * 2}, "all of them are black at some place"),
        ({"masks": [np.full((100, 131), -1.0)]}, "not negative"),
        ({"masks": [np.ones((100, 131))], "weights": [0.5, 0.5]}, "exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused(model, content, styles, changes, message):
    with pytest.raises(StyleError, match=message):
        stylize(model, content, styles, **changes)


def test_small_and_odd_pictures(model, styles, make_picture):
    assert stylize(model, make_picture(7, 16, 17), styles[:1]).shape == (16, 17, 3)
    with pytest.raises(StyleError, match="content: 15x40 pixels are too few; at least 16"):
        stylize(model, make_picture(7, 40, 15), styles[:1])
    with pytest.raises(StyleError, match=r"content: must be uint8 \[h, w, 3\], not float64"):
        stylize(model, np.zeros((20, 20, 3)), styles[:1])
    with pytest.raises(StyleError, match="at least one style is needed"):
        stylize(model, make_picture(7, 40, 35), [])
