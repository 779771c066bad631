"""The small pair's training with VGG-16 as loss network, VGG-16 as a loss network, and decoders that are fitted."""

import io
import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.io.progress import Progress
from stylegen.style_transfer import (
    StyleError,
    inversion,
    losses,
    networks,
    perceptual,
    perceptual_step,
    train,
    train_small,
    train_step,
)
from stylegen.style_transfer import model as models
from stylegen.style_transfer.config import (
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    LossConfig,
    RebuildConfig,
    RefineConfig,
    SmallConfig,
    StyleConfig,
    StyleRunConfig,
)
from stylegen.style_transfer.stylize import stylize

_SHORT = SmallConfig(crop=32, style_crop=40, contents=3, styles=2, steps=3, batch=2)
TINY = StyleConfig(
    data=DataConfig(textures=5, photographs="none", side=64, crop=32, zoom=2.0),
    decoder=DecoderConfig(steps=1, batch=2, fit_crops=8),
    rebuild=RebuildConfig(crop=32, steps=3, batch=2),
    small=_SHORT,
    refine=RefineConfig(crop=48, style_crop=40, contents=3, styles=2, steps=2, batch=2),
    loss=LossConfig(compressed=False),
    run=StyleRunConfig(save_steps=2, preview_steps=100),
)


@pytest.fixture(scope="module")
def vgg():
    """VGG-16 with random weights."""
    return networks.random_params(networks.encoder_shapes(perceptual.VGG16), 0)


def within(folder):
    return replace(TINY, run=replace(TINY.run, dir=str(folder)))


@pytest.fixture
def few_crops(vgg, monkeypatch):
    """A training with random weights, and few crops to fit to."""
    monkeypatch.setattr(perceptual, "load", lambda: vgg)
    monkeypatch.setattr(train_small, "_CROPS", 4)
    monkeypatch.setattr(train_small, "_SIZE", 32)


def test_a_run_and_the_same_run_interrupted(few_crops, tmp_path, monkeypatch):
    """In each of the three trainings, after something was saved; to the bit."""
    model = train.train_style(within(tmp_path / "a"), Progress(io.StringIO()))
    lines = [json.loads(line) for line in (tmp_path / "a" / "stats.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in lines] == [("rebuild", 3), ("small", 3), ("refine", 2)]
    loaded = models.load_model(tmp_path / "a" / "style.safetensors")
    assert (tmp_path / "a" / "preview.png").is_file() and loaded.stages == train_small.STAGES
    assert loaded.scales == "last", "layers that were trained for style"
    for name, x in model.decoder.items():
        np.testing.assert_array_equal(loaded.decoder[name], np.float32(np.float16(x)))
    original, steps = perceptual_step.step, {"n": 0}

    def interrupted(*arguments, **options):
        steps["n"] += 1
        if steps["n"] in (3, 6):  # the third step; after it is done again, the second one on larger crops
            raise KeyboardInterrupt
        return original(*arguments, **options)

    rebuilding, rebuilt = inversion.step, {"n": 0}

    def interrupted_before(*arguments, **options):
        rebuilt["n"] += 1
        if rebuilt["n"] == 3:
            raise KeyboardInterrupt
        return rebuilding(*arguments, **options)

    monkeypatch.setattr(inversion, "step", interrupted_before)
    monkeypatch.setattr(perceptual_step, "step", interrupted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            train.train_style(within(tmp_path / "b"), Progress(io.StringIO()))
    resumed = train.train_style(within(tmp_path / "b"), Progress(io.StringIO()))
    for name, x in model.decoder.items():
        np.testing.assert_array_equal(resumed.decoder[name], x)


def test_the_losses_are_those_of_the_paper(vgg, model, make_picture):
    """Content loss to AdaIN's output, and style loss at four layers, from the images by hand."""
    contents, styles = (np.stack([make_picture(i + k, 32, 32) for i in range(2)]) for k in (1, 5))
    vgg = {name: jnp.asarray(x) for name, x in vgg.items()}
    maps, features, *_ = perceptual_step.activations(model.encoder, vgg, contents, stages=model.stages)
    *_, mean, std, statistics = perceptual_step.activations(model.encoder, vgg, styles, stages=model.stages)
    batch = perceptual_step.Batch(maps, mean, std, features, statistics)
    weights = perceptual_step.Weights(2.0, 3.0, 0.0, 0.0)
    total, parts = perceptual_step.loss(model.decoder, vgg, batch, weights, model.stages)
    assert float(total) == pytest.approx(2 * float(parts["content"]) + 3 * float(parts["style"]), rel=1e-5)
    content, style = (networks.encode(model.encoder, model.stages, x / np.float32(255))[-1] for x in (contents, styles))
    restyled = losses.adain(content, *losses.statistics(style, "biased"), "biased")
    image = networks.decode(model.decoder, model.stages, restyled)
    outputs, wanted, own = (
        networks.activations(vgg, perceptual.VGG16, jnp.asarray(x))
        for x in (image, styles / np.float32(255), contents / np.float32(255))
    )
    by_hand = 0.0
    for tap in perceptual.TAPS:
        a, b = np.asarray(outputs[tap]), np.asarray(wanted[tap])
        for moment in (np.mean, np.std):
            by_hand += np.mean(np.square(moment(a, (1, 2)) - moment(b, (1, 2))), axis=1).mean()
    assert float(parts["style"]) == pytest.approx(by_hand, rel=5e-3)
    target = losses.adain(own[-1], *losses.statistics(wanted[-1], "biased"), "biased")
    assert float(parts["content"]) == pytest.approx(float(jnp.mean(jnp.square(outputs[-1] - target))), rel=1e-2)


def test_total_variation():
    x = np.zeros((1, 2, 3, 1), np.float32)
    x[0, 1, 2] = 6
    assert float(perceptual_step.total_variation(jnp.asarray(x))) == pytest.approx(6 / 3 + 6 / 4)


def test_normalized_activations_have_the_mean_1(vgg, make_picture):
    images = np.stack([make_picture(i, 32, 32) for i in range(4)])
    normal, divisor = perceptual.normalized(vgg, images)
    x = jnp.asarray(images, jnp.float32) / 255
    outputs = networks.activations(normal, perceptual.VGG16, x)
    assert [float(jnp.mean(y)) for y in outputs] == pytest.approx([1] * len(outputs), rel=1e-3)
    whole = networks.activations(vgg, perceptual.VGG16, x)[-1]
    np.testing.assert_allclose(outputs[-1] * divisor, whole, rtol=1e-3, atol=1e-4 * divisor)


def test_compressing_to_full_rank_changes_nothing(vgg, make_picture, monkeypatch):
    images = np.stack([make_picture(i, 48, 48) for i in range(4)])
    monkeypatch.setattr(perceptual, "RANKS", {1: 64, 3: 128})
    x = jnp.asarray(images, jnp.float32) / 255
    for a, b in zip(perceptual.taps(perceptual.compressed(vgg, images), x), perceptual.taps(vgg, x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * float(jnp.abs(b).max()))


def test_compressing_keeps_the_largest_components(vgg, make_picture, monkeypatch):
    """Fewer are worse, and half of them are not much."""
    images = np.stack([make_picture(i, 48, 48) for i in range(4)])
    x = jnp.asarray(images, jnp.float32) / 255
    whole, errors = perceptual.taps(vgg, x)[0], []
    for rank in (8, 32):
        monkeypatch.setattr(perceptual, "RANKS", {1: rank})
        compressed = perceptual.taps(perceptual.compressed(vgg, images), x)[0]
        errors.append(float(jnp.mean(jnp.square(compressed - whole)) / jnp.mean(jnp.square(whole))))
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.05


def test_a_decoder_for_vgg16(vgg, make_model, make_picture, tmp_path, monkeypatch):
    """Saved alone in half precision, and put together with the encoder of the extra."""
    monkeypatch.setattr(perceptual, "load", lambda: vgg)
    decoder = networks.random_params(networks.decoder_shapes(perceptual.VGG16), 1)
    path = tmp_path / "decoder.safetensors"
    models.save_decoder(models.StyleModel(perceptual.VGG16, "biased", vgg, decoder, "x"), path)
    assert path.stat().st_size < 8_000_000
    model = models.load_network("vgg16", path)
    assert isinstance(model, models.StyleModel) and model.stages == perceptual.VGG16
    np.testing.assert_array_equal(model.decoder["conv3.kernel"], np.float32(np.float16(decoder["conv3.kernel"])))
    assert stylize(model, make_picture(1, 24, 33), [make_picture(2, 32, 32)]).shape == (24, 33, 3)
    with pytest.raises(StyleError, match="no decoder for it comes with this version"):
        models.load_network("vgg16")
    with pytest.raises(StyleError, match="a decoder for VGG-16; use it with --network vgg16"):
        models.load_model(path)
    models.save_model(make_model(), tmp_path / "pair.safetensors")
    with pytest.raises(StyleError, match="not a decoder for VGG-16"):
        models.load_network("vgg16", tmp_path / "pair.safetensors")


def test_a_fitted_decoder_gives_the_image_back(make_picture):
    """Far better than the mean color, of images that it was not fitted to; and it is what a training begins with."""
    stages = ((16, 16), (32,))
    encoder = networks.random_params(networks.encoder_shapes(stages), 0)
    images = np.stack([make_picture(i, 48, 48) for i in range(12)])
    decoder = inversion.fitted_decoder(encoder, stages, images)
    assert {n: x.shape for n, x in decoder.items()} == networks.decoder_shapes(stages)
    image = jnp.asarray(make_picture(50, 48, 48), jnp.float32)[None] / 255
    rebuilt = networks.decode(decoder, stages, networks.encode(encoder, stages, image)[-1])
    error = float(jnp.mean(jnp.square(rebuilt - image)))
    assert error < 0.25 * float(jnp.mean(jnp.square(image - image.mean((1, 2), keepdims=True))))


def test_rebuilding_brings_all_layers_together_nearer(make_picture):
    """Of images that were not trained on: the pixels, what the encoder sees in them, and no layer farther by much."""
    stages = ((16, 16), (32,))
    encoder = {n: jnp.asarray(x) for n, x in networks.random_params(networks.encoder_shapes(stages), 0).items()}
    images, others = (np.stack([make_picture(i, 32, 32) for i in range(k, k + 8)]) for k in (0, 50))
    training = train_step.begin(inversion.fitted_decoder(encoder, stages, images))
    weights = inversion.Weights(1.0, 20.0, 1.0)
    before = inversion.loss(training.params, encoder, others, weights, stages)[1]
    for _ in range(60):
        training, _ = inversion.step(training, encoder, images, 1e-3, weights, stages=stages)
    after = inversion.loss(training.params, encoder, others, weights, stages)[1]
    assert after["pixels"] < 0.9 * before["pixels"] and after["features"] < 0.9 * before["features"]
    assert after["layers"] < 1.2 * before["layers"]


def test_what_a_decoder_misses_by_hand(make_picture):
    """A decoder that gives nothing but zeros: each distance is a mean square to a variance."""
    stages = ((4, 4), (6,))
    encoder = {n: jnp.asarray(x) for n, x in networks.random_params(networks.encoder_shapes(stages), 0).items()}
    decoder = {n: jnp.zeros(shape) for n, shape in networks.decoder_shapes(stages).items()}
    images = np.stack([make_picture(i, 16, 16) for i in range(2)])
    total, parts = inversion.loss(decoder, encoder, images, inversion.Weights(2.0, 3.0, 0.0), stages)
    x, *inner, _ = (np.asarray(y) for y in inversion.given(encoder, stages, jnp.asarray(images, jnp.float32) / 255))
    shares = [np.mean(y**2) / np.mean((y - y.mean((0, 1, 2))) ** 2) for y in inner]
    assert float(parts["layers"]) == pytest.approx(np.mean(shares), rel=1e-4)
    assert float(parts["pixels"]) == pytest.approx(np.mean(x**2), rel=1e-4)
    assert float(total) == pytest.approx(2 * np.mean(shares) + 3 * np.mean(x**2), rel=1e-4)


def test_a_fitted_layer_is_the_least_squares_solution():
    """Of a convolution that exists, that one."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 3, 2, 3)).astype(np.float32), np.float32([1, 2, 3])
    x = [jnp.asarray(rng.normal(size=(1, 24, 24, 2)), jnp.float32) for _ in range(4)]
    y = [inversion.layer_output(each, kernel, bias, True) for each in x]
    found, offset = inversion.fitted(x, y, rng)
    np.testing.assert_allclose(found, kernel, atol=0.05)
    np.testing.assert_allclose(offset, bias, atol=0.05)


@pytest.mark.slow
def test_a_training_of_a_decoder_for_vgg16_begins_with_a_fitted_one(vgg, tmp_path, monkeypatch):
    monkeypatch.setattr(perceptual, "load", lambda: vgg)
    config = replace(TINY, encoder=EncoderConfig(network="vgg16"), run=replace(TINY.run, dir=str(tmp_path / "run")))
    log = io.StringIO()
    model = train.train_style(config, Progress(log))
    assert "Fitting the decoder to 8 crops" in log.getvalue() and "--network vgg16 --decoder" in log.getvalue()
    loaded = models.load_network("vgg16", tmp_path / "run" / "style.safetensors")
    np.testing.assert_array_equal(loaded.decoder["conv0.kernel"], np.float32(np.float16(model.decoder["conv0.kernel"])))
    np.testing.assert_array_equal(loaded.encoder["conv0.kernel"], vgg["conv0.kernel"])


def test_vgg16_is_the_one_that_lpips_uses(real_weights):
    """With the pixels' own scaling: relu1_2 of a gray image away from the borders, which differ by design."""
    from stylegen.pretrained import lpips, vgg16

    params, image = perceptual.load(), np.random.default_rng(0).uniform(size=(1, 24, 24, 3)).astype(np.float32)
    mine = perceptual.taps({n: jnp.asarray(x) for n, x in params.items()}, image)[0]
    conv, _ = lpips.load_convolutions("vgg16")
    theirs = vgg16.activations({"conv": conv}, vgg16.normalized(jnp.asarray(image) * 255))[1]
    np.testing.assert_allclose(mine[:, 3:-3, 3:-3], theirs[:, 3:-3, 3:-3], rtol=1e-3, atol=1e-3)


def test_the_learning_rate_rises_and_falls():
    settings = SmallConfig(learning_rate=0.5, steps=1000)
    assert train_small._rate(settings, 0) == pytest.approx(0.5 / 30)
    assert train_small._rate(settings, 500) == pytest.approx(0.25)
    assert train_small._rate(settings, 999) < 0.01
