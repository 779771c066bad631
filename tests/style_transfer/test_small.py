"""The small network and its training: what modulates it, what its losses are, resuming, and files."""

import io
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.io.progress import Progress
from stylegen.pretrained import installed
from stylegen.style_transfer import (
    StyleError,
    losses,
    networks,
    perceptual,
    small,
    small_step,
    train,
    train_small,
)
from stylegen.style_transfer import model as models
from stylegen.style_transfer.config import DataConfig, LossConfig, SmallConfig, StyleConfig, StyleRunConfig

_SHORT = SmallConfig(crop=32, style_crop=40, contents=3, styles=2, steps=3, batch=2)
TINY = StyleConfig(
    data=DataConfig(textures=5, photographs="none", side=64, zoom=2.0),
    small=_SHORT,
    refine=replace(_SHORT, crop=48, steps=2),
    loss=LossConfig(compressed=False),
    run=StyleRunConfig(save_steps=2, preview_steps=100),
)


@pytest.fixture(scope="module")
def vgg():
    """VGG-16 with random weights."""
    return networks.random_params(networks.encoder_shapes(perceptual.VGG16), 0)


def within(folder):
    return replace(TINY, run=replace(TINY.run, dir=str(folder)))


@pytest.fixture(scope="module")
def full_run(tmp_path_factory, vgg):
    folder = tmp_path_factory.mktemp("small") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual, "load", lambda: vgg)
        return folder, train.train_style(within(folder), Progress(io.StringIO()))


def test_a_run(full_run):
    folder, model = full_run
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in lines] == [("small", 3), ("refine", 2)]
    loaded = models.load_model(folder / "style.safetensors")
    assert isinstance(loaded, models.SmallModel) and (folder / "preview.png").is_file()
    assert (folder / "style.safetensors").stat().st_size < 1_000_000
    for name, x in model.params.items():
        np.testing.assert_array_equal(loaded.params[name], np.float32(np.float16(x)))


@pytest.mark.parametrize(("phase", "at"), [("small", 1), ("refine", 1)])
def test_a_resumed_run_is_the_run_that_was_not_interrupted(full_run, vgg, tmp_path, monkeypatch, phase, at):
    monkeypatch.setattr(perceptual, "load", lambda: vgg)
    original, steps = small_step.step, {"n": 0}

    def interrupted(*arguments, **options):
        steps["n"] += 1
        if steps["n"] == at + 1 + (3 if phase == "refine" else 0) + (phase == "small"):
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(small_step, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    monkeypatch.setattr(small_step, "step", original)
    model = train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    for name, x in full_run[1].params.items():
        np.testing.assert_array_equal(model.params[name], x)


def test_every_weight_matters(small_model, make_picture):
    """By the gradient of the image; a layer that were left out, or a modulation, would have none."""
    content, style = (jnp.asarray(make_picture(i, 32, 40))[None] / 255.0 for i in (1, 2))

    def drawn(params):
        maps = small.encode(params, content)
        mean, std = small.statistics(small.encode(params, style))
        return jnp.sum(jnp.sin(3 * small.decode(params, small.restyled(maps, mean, std), mean, std)))

    gradients = jax.grad(drawn)(small_model.params)
    assert {name for name, x in gradients.items() if float(jnp.abs(x).max()) < 1e-6} == set()
    assert set(gradients) == set(small.shapes())


def test_demodulation_keeps_the_size_of_activations(small_model):
    """Of white noise a layer makes variance 1 before its ReLU's slope, whatever the style's scales (Eq. 3)."""
    rng = np.random.default_rng(0)
    statistics = jnp.asarray(rng.normal(0, 3, (1, 2 * sum(small.CHANNELS))), jnp.float32)
    params = small_model.params | {"trunk0.shift": np.zeros((small.CODE, small.EIGHTH), np.float32)}
    params["trunk0.bias"] = np.zeros(small.EIGHTH, np.float32)
    layer = small._Modulation(params, statistics, None)
    x = jnp.asarray(rng.normal(0, 1, (1, 40, 40, small.EIGHTH)), jnp.float32)
    assert float(jnp.mean(jnp.square(layer("trunk0", x, 1)))) == pytest.approx(1.04, rel=0.1)  # (1 + 0.2²) of it


def test_regions_of_one_style_are_that_style(small_model, make_picture):
    content = jnp.asarray(make_picture(3, 32, 48))[None] / 255.0
    maps = small.encode(small_model.params, content)
    mean, std = small.statistics(maps)
    half = jnp.full((2, 4, 6), 0.5)
    whole = small.decode(small_model.params, maps, mean, std)
    twice = small.decode(small_model.params, maps, mean.repeat(2, 0), std.repeat(2, 0), half)
    np.testing.assert_allclose(twice, whole, atol=1e-5)


def test_the_losses_are_those_of_the_paper(vgg, small_model, make_picture):
    """Content loss to AdaIN's output, and style loss at four layers, from the images by hand."""
    contents, styles = (np.stack([make_picture(i + k, 32, 32) for i in range(2)]) for k in (1, 5))
    vgg = {name: jnp.asarray(x) for name, x in vgg.items()}
    features, _ = small_step.targets(vgg, contents)
    _, statistics = small_step.targets(vgg, styles[:1])
    repeated = jax.tree.map(lambda x: np.repeat(x, 2, axis=0), statistics)
    batch = small_step.Batch(contents, features, styles[:1], repeated)
    weights = small_step.Weights(2.0, 3.0, 0.0, 0.0)
    total, parts = small_step.loss(small_model.params, vgg, batch, weights)
    assert float(total) == pytest.approx(2 * float(parts["content"]) + 3 * float(parts["style"]), rel=1e-5)
    style = models.SmallModel(small_model.params, "").encode(styles[:1])
    mean, std = (x.repeat(2, 0) for x in small.statistics(style))
    maps = small.encode(small_model.params, contents / np.float32(255))
    image = small.decode(small_model.params, small.restyled(maps, mean, std), mean, std)
    outputs = networks.activations(vgg, perceptual.VGG16, image)
    wanted = networks.activations(vgg, perceptual.VGG16, jnp.asarray(styles[:1] / np.float32(255)))
    by_hand = 0.0
    for tap in perceptual.TAPS:
        a, b = np.asarray(outputs[tap]), np.asarray(wanted[tap])
        for moment in (np.mean, np.std):
            by_hand += np.mean(np.square(moment(a, (1, 2)) - moment(b, (1, 2))), axis=1).mean()
    assert float(parts["style"]) == pytest.approx(by_hand, rel=1e-3)
    own = networks.activations(vgg, perceptual.VGG16, jnp.asarray(contents / np.float32(255)))[-1]
    target = losses.adain(own, *losses.statistics(wanted[-1].repeat(2, 0), "biased"), "biased")
    assert float(parts["content"]) == pytest.approx(float(jnp.mean(jnp.square(outputs[-1] - target))), rel=5e-3)


def test_total_variation():
    x = np.zeros((1, 2, 3, 1), np.float32)
    x[0, 1, 2] = 6
    assert float(small_step.total_variation(jnp.asarray(x))) == pytest.approx(6 / 3 + 6 / 4)


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


def test_a_decoder_for_vgg16(vgg, make_picture, tmp_path, monkeypatch):
    """Saved alone in half precision, and put together with the encoder of the extra."""
    monkeypatch.setattr(perceptual, "load", lambda: vgg)
    decoder = networks.random_params(networks.decoder_shapes(perceptual.VGG16), 1)
    path = tmp_path / "decoder.safetensors"
    models.save_decoder(models.StyleModel(perceptual.VGG16, "biased", vgg, decoder, "x"), path)
    assert path.stat().st_size < 8_000_000
    model = models.load_network("vgg16", path)
    assert isinstance(model, models.StyleModel) and model.stages == perceptual.VGG16
    np.testing.assert_array_equal(model.decoder["conv3.kernel"], np.float32(np.float16(decoder["conv3.kernel"])))
    from stylegen.style_transfer.stylize import stylize

    assert stylize(model, make_picture(1, 24, 33), [make_picture(2, 32, 32)]).shape == (24, 33, 3)
    with pytest.raises(StyleError, match="a decoder for VGG-16; use it with --network vgg16"):
        models.load_model(path)
    models.save_model(models.SmallModel(small.random_params(0), "x"), tmp_path / "small.safetensors")
    with pytest.raises(StyleError, match="not a decoder for VGG-16"):
        models.load_network("vgg16", tmp_path / "small.safetensors")
    with pytest.raises(StyleError, match="the small network, whose parts go together; give it as --model"):
        models.load_encoder(tmp_path / "small.safetensors")


@pytest.mark.skipif(installed.find("vgg16") is None, reason=f"needs {installed.HOW}")
def test_vgg16_is_the_one_that_lpips_uses():
    """With the pixels' own scaling: relu1_2 of a gray image away from the borders, which differ by design."""
    from stylegen.pretrained import lpips, vgg16

    params, image = perceptual.load(), np.random.default_rng(0).uniform(size=(1, 24, 24, 3)).astype(np.float32)
    mine = perceptual.taps({n: jnp.asarray(x) for n, x in params.items()}, image)[0]
    conv, _ = lpips.load_convolutions("vgg16")
    theirs = vgg16.activations({"conv": conv}, vgg16.normalized(jnp.asarray(image) * 255))[1]
    np.testing.assert_allclose(mine[:, 3:-3, 3:-3], theirs[:, 3:-3, 3:-3], rtol=1e-3, atol=1e-3)


def test_the_learning_rate_rises_and_falls():
    assert train_small._rate(SmallConfig(learning_rate=0.5), "small", 0) == pytest.approx(0.005)
    assert train_small._rate(SmallConfig(learning_rate=0.5), "small", 1000) == 0.5
    assert train_small._rate(SmallConfig(learning_rate=0.5, steps=10), "refine", 5) == pytest.approx(0.25)
