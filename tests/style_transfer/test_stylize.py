"""Transfers: tiles, styles and their weights, masks, colors, and what is refused."""

import numpy as np
import pytest

from stylegen.style_transfer import StyleError, color, losses, matching, networks, tiles, transfer
from stylegen.style_transfer.model import load_model
from stylegen.style_transfer.stylize import feature_masks, prepare, style_of, stylize
from stylegen.style_transfer.tiles import Grid


@pytest.fixture(scope="module")
def content(make_picture):
    return make_picture(1, 100, 131)


@pytest.fixture(scope="module")
def styles(make_picture):
    return [make_picture(2, 40, 64), 255 - make_picture(3, 57, 33) // 2]


@pytest.fixture(scope="module", params=["last", "all"])
def any_model(request, make_model):
    return make_model(scales=request.param)


def grid_of(model, image, tile=512, masks=None, n=1):
    regions = None
    if masks is not None:
        regions = [feature_masks(masks, n, image.shape[:2], model.scale // level.places) for level in model.exchanges]
    return Grid(model.stages, model.levels, image.shape[:2], tile, regions)


def test_tiles_equal_the_whole(any_model, content, styles):
    """Statistics are those of the whole picture and margins as wide as the networks see: no seams, at any tile."""
    mask = np.zeros(content.shape[:2], np.uint8)
    mask[:60] = 255
    for options in ({}, {"masks": [mask]}):
        untiled = stylize(any_model, content, styles, tile=512, **options).astype(int)
        assert untiled.shape == content.shape and untiled.std() > 5
        for tile in (16, 40):
            tiled = stylize(any_model, content, styles, tile=tile, **options)
            assert np.abs(tiled - untiled).max() <= 1  # a rounding of 0.5


def test_features_and_statistics_of_tiles_are_those_of_the_whole(any_model, content):
    untiled, statistics = transfer.features_of(any_model, content, grid_of(any_model, content))
    assert untiled.shape == (13, 17, 10) and len(statistics) == {"last": 1, "all": 5}[any_model.scales]
    tiled, others = transfer.features_of(any_model, content, grid_of(any_model, content, 24))
    np.testing.assert_allclose(tiled, untiled, atol=1e-5)
    for a, b in zip(statistics, others, strict=True):
        np.testing.assert_allclose(a.mean, b.mean, atol=1e-5)
        np.testing.assert_allclose(a.root, b.root, atol=1e-4)


def test_statistics_are_those_of_the_encoder(make_model, content):
    """Of an image that ends within a feature too; numpy's, of each stage's first layer and of the pixels."""
    model = make_model(scales="all")
    _, found = transfer.features_of(model, content, grid_of(model, content))
    pixels = content[None].astype(np.float32) / 255
    maps = [*networks.encode(model.encoder, model.stages, pixels)[::-1], pixels]
    for statistics, x in zip(found, maps, strict=True):
        flat = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
        np.testing.assert_allclose(statistics.mean[0], flat.mean(0), atol=1e-5)
        if statistics.root.ndim == 2:
            np.testing.assert_allclose(statistics.root[0], np.sqrt(flat.var(0) + 1e-5), atol=1e-4)
        else:
            root = np.asarray(statistics.root[0])
            np.testing.assert_allclose(root @ root, np.cov(flat.T, bias=True) + 1e-4 * np.eye(3), atol=1e-5)
            np.testing.assert_allclose(root, root.T, atol=1e-6)


def test_margins_are_as_narrow_as_they_can_be(model, content, monkeypatch):
    """So the tests above test something."""
    assert tiles.margin(model.stages) == 3  # 2 + 4 + 8 + 8 = 22 pixels
    untiled, _ = transfer.features_of(model, content, grid_of(model, content))
    monkeypatch.setattr(tiles, "margin", lambda stages: 2)
    assert np.abs(transfer.features_of(model, content, grid_of(model, content, 24))[0] - untiled).max() > 1e-4


def test_spans_cover_everything_once_with_one_size():
    for length in (5, 14, 15, 40, 41):
        spans = tiles.spans(length, 8, 3)
        assert np.array_equal(np.concatenate([np.arange(length)[s.core()] for s in spans]), np.arange(length))
        assert len({s.end - s.begin for s in spans}) == 1
        for s in spans:
            assert s.begin == 0 or s.first - s.begin >= 3
            assert s.end == length or s.end - s.last >= 3


@pytest.mark.parametrize("options", [{}, {"preserve_color": "coral"}, {"preserve_color": "luminance"}])
def test_alpha_0_is_the_content(any_model, content, styles, options):
    result = stylize(any_model, content, styles[:1], alpha=0, **options)
    np.testing.assert_array_equal(result, content)
    assert result is not content
    assert np.abs(stylize(any_model, content, styles[:1], alpha=0.01, **options).astype(int) - content).mean() > 1


@pytest.mark.parametrize("options", [{}, {"preserve_color": "coral"}, {"preserve_color": "luminance"}])
def test_a_prepared_transfer_is_stylize(any_model, content, styles, options, monkeypatch):
    prepared = prepare(any_model, content, styles[:2], **options)
    whole = [
        stylize(any_model, content, styles[:2], alpha=alpha, weights=weights, **options)
        for alpha, weights in ((0, None), (0.5, [0.2, 0.8]), (1, None))
    ]
    monkeypatch.setattr(transfer, "_encode", None)  # which costs the most, and is not called any more
    for expected, alpha, weights in zip(whole, (0, 0.5, 1), (None, [0.2, 0.8], None), strict=True):
        np.testing.assert_array_equal(prepared.image(alpha, weights), expected)
    with pytest.raises(StyleError, match="alpha = 2"):
        prepared.image(2.0)
    with pytest.raises(StyleError, match="weights 1: 1 for 2 styles"):
        prepared.image(1.0, [1.0])


def test_a_prepared_transfer_with_a_mask(model, content, styles):
    mask = np.zeros(content.shape[:2], np.uint8)
    mask[:, : mask.shape[1] // 2] = 255
    prepared = prepare(model, content, styles[:1], masks=[mask])
    np.testing.assert_array_equal(prepared.image(0.5), stylize(model, content, styles[:1], masks=[mask], alpha=0.5))
    with pytest.raises(StyleError, match="exclude each other"):
        prepared.image(0.5, [1.0])


def exchanged(model, content, styles, wanted, alpha=1.0, masks=None):
    """The content's last features before and after AdaIN, [h', w', C]."""
    grid = grid_of(model, content, masks=masks, n=len(styles))
    features, own = transfer.features_of(model, content, grid)
    target = matching.between(own[0], wanted([style_of(model, style).statistics[0] for style in styles]), alpha)
    shares = None if grid.regions is None else grid.regions[0]
    return features, np.asarray(matching.applied(features, matching.map_to(own[0], target), shares))


def test_the_result_has_the_statistics_of_the_weighted_styles(model, content, styles):
    """Before decoding: means and deviations are 0.3 of the one and 0.7 of the other (Eq. 15)."""
    mean, std = (
        np.stack([np.asarray(getattr(style_of(model, style).statistics[0], name))[0] for style in styles])
        for name in ("mean", "root")
    )
    features, target = exchanged(
        model, content, styles, lambda measured: matching.mixed(measured, np.float32([0.3, 0.7]))
    )
    np.testing.assert_allclose(np.mean(target, (0, 1)), 0.3 * mean[0] + 0.7 * mean[1], atol=1e-4)
    live = features.std((0, 1)) > 0.05
    wanted = 0.3 * std[0] + 0.7 * std[1]
    np.testing.assert_allclose(np.std(target, (0, 1))[live], wanted[live], rtol=1e-2)


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
def test_alpha_is_the_share_of_adain(make_model, content, styles, variance):
    """(1 - alpha) f(c) + alpha AdaIN(f(c), f(s)), Eq. 14, with ``losses.adain``, which is tested by itself."""
    model = make_model(variance)
    features, result = exchanged(model, content, styles[:1], matching.stacked, alpha=0.3)
    style = networks.encode(model.encoder, model.stages, styles[0][None].astype(np.float32) / 255)[-1]
    adain = losses.adain(features[None], *losses.statistics(style, variance), variance)
    np.testing.assert_allclose(result, 0.7 * features + 0.3 * np.asarray(adain)[0], atol=1e-4)


def test_the_colors_of_the_result_are_those_of_the_style(content, styles):
    """With statistics at all scales: mean and covariance, but for colors that are not in [0, 1]."""
    dim = [style // 3 + 85 for style in styles]  # so that next to nothing is cut off
    colors = stylize(load_model(), content, dim[:1]).reshape(-1, 3) / 255
    wanted = dim[0].reshape(-1, 3) / 255
    np.testing.assert_allclose(colors.mean(0), wanted.mean(0), atol=5e-3)
    np.testing.assert_allclose(np.cov(colors.T), np.cov(wanted.T), atol=1e-3)
    assert np.abs(np.cov(content.reshape(-1, 3).T / 255) - np.cov(wanted.T)).max() > 0.02


def test_the_colors_are_mixed_as_asked(content, styles):
    """With statistics at all scales: by alpha and weights between the means, and in each region those of its style."""
    model = load_model()
    tints = [0, 0, 0], [40, 0, 20], [0, 50, 10]
    plain = [
        image // 3 + np.uint8([75, 75, 75]) + np.uint8(tint)
        for image, tint in zip((content, *styles), tints, strict=True)
    ]
    own, first, second = (image.reshape(-1, 3).mean(0) for image in plain)
    assert all(np.abs(a - b).max() > 30 for a, b in ((own, first), (own, second), (first, second)))
    half = stylize(model, plain[0], plain[1:2], alpha=0.5).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(half, (own + first) / 2, atol=1)
    weighted = stylize(model, plain[0], plain[1:], weights=(0.25, 0.75)).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(weighted, 0.25 * first + 0.75 * second, atol=1)
    mask = np.zeros(content.shape[:2], np.uint8)
    mask[:, :64] = 255
    regions = stylize(model, plain[0], plain[1:], masks=[mask])
    np.testing.assert_allclose(regions[:, :64].mean((0, 1)), first, atol=1)
    np.testing.assert_allclose(regions[:, 64:].mean((0, 1)), second, atol=1)


def test_a_style_of_itself_changes_little_beside_the_decoder(make_model, content):
    """All statistics are there already, so every map is the identity but for what the decoder does not rebuild."""
    model = make_model(scales="all")
    features, own = transfer.features_of(model, content, grid_of(model, content))
    style = style_of(model, content)
    for a, b in zip(own, style.statistics, strict=True):
        by = matching.map_to(a, matching.between(a, b, 1.0))
        identity = np.broadcast_to(np.eye(3) if by.matrix.ndim == 3 else 1, by.matrix.shape)
        live = np.ones(by.matrix.shape, bool) if by.matrix.ndim == 3 else np.asarray(a.root) > 0.05
        np.testing.assert_allclose(np.asarray(by.matrix)[live], identity[live], atol=3e-3)


def test_roots_of_covariances():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(50, 3, 3)) * 10 ** rng.uniform(-2, 0, (50, 1, 3))
    covariances = factors @ factors.transpose(0, 2, 1) * 0.1 + 1e-4 * np.eye(3)
    root, inverse = (np.asarray(x) for x in matching.roots(np.float32(covariances)))
    np.testing.assert_allclose(root @ root, covariances, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(root @ inverse, np.broadcast_to(np.eye(3), root.shape), atol=5e-3)


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
    regions = feature_masks([mask], 2, mask.shape, 8)
    assert set(np.unique(regions)) == {0, 1} and regions[0, :, :8].all() and not regions[0, :, 8:].any()
    means = [style_of(model, style).statistics[0].mean[0] for style in styles]
    _, target = exchanged(model, content, styles, matching.stacked, masks=[mask])
    np.testing.assert_allclose(target[:, :8].mean((0, 1)), means[0], atol=1e-4)
    np.testing.assert_allclose(target[:, 8:].mean((0, 1)), means[1], atol=1e-4)


@pytest.mark.parametrize(("variance", "scales"), [("biased", "last"), ("unbiased", "last"), ("biased", "all")])
def test_a_mask_that_is_all_white_is_no_mask(make_model, content, styles, variance, scales):
    model = make_model(variance, scales=scales)
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
    half, full = (np.full(content.shape[:2], share, np.float32) for share in (0.5, 1))
    features, of_half = exchanged(model, content, styles[:1], matching.stacked, masks=[half])
    _, of_all = exchanged(model, content, styles[:1], matching.stacked, masks=[full])
    np.testing.assert_allclose(of_half, (of_all + features) / 2, atol=1e-4)


def test_soft_masks_are_normalized(content):
    masks = [np.full(content.shape[:2], value, np.float32) for value in (0.2, 0.4, 1.0)]
    shares = feature_masks(masks, 3, content.shape[:2], 8)
    np.testing.assert_allclose(shares[:, 0, 0], np.array([0.2, 0.4, 1.0]) / 1.6, rtol=1e-5)
    half = feature_masks([np.full((9, 9), 64, np.uint8)], 2, (9, 9), 8)
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
