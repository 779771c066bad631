"""Training: images, steps whose losses are right, the encoder's normalization, resuming, and what is refused."""

import io
import json
import os
import shutil
import signal
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stylegen.cli import train_style
from stylegen.config import ConfigError
from stylegen.io import signals
from stylegen.io.progress import Progress
from stylegen.style_transfer import (
    StyleError,
    losses,
    networks,
    textures,
    train,
    train_step,
    training_images,
    training_run,
)
from stylegen.style_transfer.config import DataConfig, DecoderConfig, EncoderConfig, StyleConfig, StyleRunConfig
from stylegen.style_transfer.model import load_model, save_model

TINY = StyleConfig(
    data=DataConfig(rooms=2, textures=5, photographs="none", side=64, crop=32, zoom=2.0),
    encoder=EncoderConfig(network="autoencoder", widths=(4, 6), steps=4, batch=4),
    decoder=DecoderConfig(steps=5, batch=2),
    run=StyleRunConfig(save_steps=2, preview_steps=100),
)


def within(folder, **changes):
    return replace(TINY, run=replace(TINY.run, dir=str(folder)), **changes)


@pytest.fixture(scope="module")
def full_run(tmp_path_factory):
    """A training from beginning to end."""
    folder = tmp_path_factory.mktemp("style") / "run"
    with open(folder.parent / "log", "w") as log:
        model = train.train_style(within(folder), Progress(log))
    return folder, model


def test_a_run(full_run):
    folder, model = full_run
    assert (folder / "preview.png").is_file() and model.stages == ((4, 4), (6,))
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in lines] == [("encoder", 4), ("decoder", 5)]
    assert "img/s" in (folder.parent / "log").read_text() and "left" in (folder.parent / "log").read_text()
    loaded = load_model(folder / "style.safetensors")
    assert loaded.stages == model.stages and loaded.variance == "biased"
    for mine, theirs in ((loaded.encoder, model.encoder), (loaded.decoder, model.decoder)):
        assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("phase", "at"), [("encoder", 3), ("decoder", 1)])
def test_a_resumed_run_is_the_run_that_was_not_interrupted(full_run, tmp_path, monkeypatch, phase, at):
    """Asked to stop in the middle of a step, in either phase, bit for bit."""
    name, steps = f"{phase}_step", {"n": 0}
    original = getattr(train_step, name)

    def signaled(*arguments, **options):
        steps["n"] += 1
        training = original(*arguments, **options)  # the buffers of the state before are given away here
        if steps["n"] == at:
            os.kill(os.getpid(), signal.SIGINT)
        return training

    monkeypatch.setattr(train_step, name, signaled)
    with (tmp_path / "log").open("w") as log, pytest.raises(signals.Interrupted):
        train.train_style(within(tmp_path / "run"), Progress(log))
    monkeypatch.setattr(train_step, name, original)
    assert training_run.Run(TINY, tmp_path / "run", None, Progress(), signals.StopRequest()).where() == (phase, at)
    model = train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    assert f"stopped at step {at} of the {phase}; the same command goes on" in (tmp_path / "log").read_text()
    for name, x in full_run[1].decoder.items():
        np.testing.assert_array_equal(model.decoder[name], x)


@pytest.mark.parametrize("phase", ["encoder", "decoder"])
def test_what_interrupts_at_once_leaves_what_was_saved(full_run, tmp_path, monkeypatch, phase):
    """A second Ctrl-C comes within a step, where the state is nowhere whole; saving it would be a step off, or fail."""
    name, steps = f"{phase}_step", {"n": 0}
    original = getattr(train_step, name)

    def interrupted(*arguments, **options):
        steps["n"] += 1
        result = original(*arguments, **options)
        if steps["n"] == 4:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(train_step, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    monkeypatch.setattr(train_step, name, original)
    assert training_run.Run(TINY, tmp_path / "run", None, Progress(), signals.StopRequest()).where() == (phase, 2)
    model = train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    for name, x in full_run[1].decoder.items():
        np.testing.assert_array_equal(model.decoder[name], x)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_step_at_hand(full_run, tmp_path, monkeypatch, number):
    original = training_images.ImagePool.draw
    calls = {"n": 0}

    def asked(*arguments):
        calls["n"] += 1
        if calls["n"] == 3:
            os.kill(os.getpid(), number)
        return original(*arguments)

    monkeypatch.setattr(training_images.ImagePool, "draw", asked)
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    monkeypatch.setattr(training_images.ImagePool, "draw", original)
    assert training_run.Run(TINY, tmp_path / "run", None, Progress(), signals.StopRequest()).where() == ("encoder", 3)
    model = train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    for name, x in full_run[1].decoder.items():
        np.testing.assert_array_equal(model.decoder[name], x)


def test_a_resumed_run_has_each_line_of_its_statistics_once(full_run, tmp_path):
    """A killed run has lines beyond its saved state, and half a one."""
    shutil.copytree(full_run[0], tmp_path / "run")
    stats = tmp_path / "run" / "stats.jsonl"
    before = stats.read_text()
    stats.write_text(before + '{"phase": "decoder", "step": 50, "loss": 1}\n{"phase": "deco')
    train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    assert stats.read_text() == before


def test_a_resumed_run_refuses_other_photographs(tmp_path):
    (tmp_path / "photos").mkdir()

    def photographs(count):
        for i in range(count):
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8)).save(
                tmp_path / "photos" / f"{i}.png"
            )
        data = replace(TINY.data, photographs=str(tmp_path / "photos"))
        return training_images.open_pool(data), within(tmp_path / "run", data=data)

    (pool, config), asked = photographs(2), signals.StopRequest()
    (tmp_path / "run").mkdir()
    run = training_run.Run(config, tmp_path / "run", pool, Progress(io.StringIO()), asked)
    run.check_photographs()  # nothing was saved yet
    run.save("encoder", 1, {"x": np.zeros(1)}, {})
    run.check_photographs()
    pool, config = photographs(3)
    with pytest.raises(StyleError, match="was trained on other photographs than data.photographs = .* holds now"):
        training_run.Run(config, tmp_path / "run", pool, Progress(io.StringIO()), asked).check_photographs()


def test_the_directory_is_checked(full_run, tmp_path):
    with pytest.raises(StyleError, match=r"holds a training with another decoder\.style_weight"):
        train.train_style(within(full_run[0], decoder=replace(TINY.decoder, style_weight=3.0)))
    with pytest.raises(StyleError, match="run.dir is empty"):
        train.train_style(TINY)
    (tmp_path / "file").touch()
    with pytest.raises(StyleError, match="holds something else"):
        train.train_style(within(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(StyleError, match="cannot be read"):
        train.train_style(within(tmp_path / "run"))


def with_old_names(folder):
    """Write config.json as versions did before the renaming."""
    tree = json.loads((folder / "config.json").read_text())
    old = {"pictures": tree.pop("data"), **tree}
    old["encoder"]["recognition"] = old["encoder"].pop("classification_weight")
    (folder / "config.json").write_text(json.dumps(old))


def test_a_run_whose_settings_have_their_old_names_resumes(full_run, tmp_path):
    shutil.copytree(full_run[0], tmp_path / "run")
    with_old_names(tmp_path / "run")
    train.train_style(within(tmp_path / "run"), Progress(io.StringIO()))
    with pytest.raises(StyleError, match=r"holds a training with another data\.zoom, encoder\.classification_weight"):
        changed = {"data": replace(TINY.data, zoom=1.5), "encoder": replace(TINY.encoder, classification_weight=0.3)}
        train.train_style(within(tmp_path / "run", **changed), Progress(io.StringIO()))


@pytest.mark.parametrize(
    ("word", "new"),
    [
        ("--pictures.crop", "--data.crop"),
        ("--pictures.photographs=none", "--data.photographs"),
        ("--encoder.recognition", "--encoder.classification-weight"),
    ],
)
def test_an_option_with_an_old_name_says_the_new_one(word, new, capsys):
    assert train_style.main(["--config", "style_transfer", word, "1"]) == 2
    assert capsys.readouterr().err == f"error: {word.partition('=')[0]} is now {new}.\n"


def test_decoder_loss_is_that_of_the_paper(model, make_picture):
    """Content against AdaIN's output, not against the content's features."""
    content, style = (np.stack([make_picture(i, 32, 32), make_picture(i + 1, 32, 32)]) for i in (0, 5))
    weights = train_step.LossWeights(2.0, 3.0)
    loss = jax.jit(
        lambda decoder: train_step.decoder_loss(decoder, model.encoder, content, style, weights, model.stages, "biased")
    )
    total, metrics = loss(model.decoder)
    maps, style_maps = (networks.encode(model.encoder, model.stages, x / 255) for x in (content, style))
    styles = [losses.statistics(x, "biased") for x in style_maps]
    target = losses.adain(maps[-1], *styles[-1], "biased")
    result_maps = networks.encode(model.encoder, model.stages, networks.decode(model.decoder, model.stages, target))
    expected = float(jnp.mean(jnp.square(result_maps[-1] - target)))
    np.testing.assert_allclose(metrics["content"], expected, rtol=1e-4)
    assert abs(float(jnp.mean(jnp.square(result_maps[-1] - maps[-1]))) - expected) > 0.01 * expected
    style_loss = float(jnp.mean(losses.style_loss(result_maps, styles, "biased")))
    np.testing.assert_allclose(total, 2 * expected + 3 * style_loss, rtol=1e-4)


def test_normalizing_changes_no_function(model, make_picture):
    images = np.stack([make_picture(i, 32, 32) for i in range(3)])
    means = train_step.mean_activations(model.encoder, images, stages=model.stages)
    encoder, decoder = train_step.normalize_activations(model.encoder, model.decoder, means)
    after = train_step.mean_activations(encoder, images, stages=model.stages)
    live = [np.asarray(m) > 0.05 * np.mean(m) for m in means]
    for mean, alive in zip(after, live, strict=True):
        np.testing.assert_allclose(np.asarray(mean)[alive], 1, rtol=1e-3)
    x = images.astype(np.float32) / 255
    both = [
        networks.decode(d, model.stages, networks.encode(e, model.stages, x)[-1])
        for e, d in ((model.encoder, model.decoder), (encoder, decoder))
    ]
    np.testing.assert_allclose(both[0], both[1], atol=1e-4)


def test_one_step_of_adam(model):
    gradients = {name: jnp.ones_like(jnp.asarray(x)) for name, x in model.decoder.items()}
    before = train_step.begin({name: jnp.asarray(x) for name, x in model.decoder.items()})
    after = train_step.updated(before, gradients, 0.01)
    np.testing.assert_allclose(after.params["conv0.bias"], model.decoder["conv0.bias"] - 0.01, atol=1e-5)
    assert train_step.learning_rate(0.5, 0, 10) == 0.5 and train_step.learning_rate(0.5, 5, 10) == pytest.approx(0.25)


def test_a_given_encoder_is_kept(model, tmp_path):
    save_model(model, tmp_path / "given.safetensors")
    encoder = replace(TINY.encoder, weights=str(tmp_path / "given.safetensors"))
    trained = train.train_style(within(tmp_path / "run", encoder=encoder), Progress(io.StringIO()))
    assert trained.stages == model.stages
    assert all(np.array_equal(trained.encoder[name], x) for name, x in model.encoder.items())
    assert not np.array_equal(trained.decoder["conv0.kernel"], model.decoder["conv0.kernel"])


def test_crops_depend_on_the_step_alone():
    pool = training_images.open_pool(TINY.data)
    a, b, c = (pool.draw(np.random.default_rng([0, i]), 12, 32, 2.0, training_images.PAIR_STYLES) for i in (1, 1, 2))
    assert np.array_equal(a.images, b.images) and not np.array_equal(a.images, c.images)
    assert a.images.shape == (12, 32, 32, 3) and set(a.labels) <= {-1, 0, 1, 2, 3, 4}


def test_textures_are_functions_of_seed_and_index():
    for i in range(len(textures.FAMILIES)):
        drawn = textures.texture(i, 48)
        assert drawn.shape == (48, 48, 3) and drawn.dtype == np.uint8 and drawn.std() > 8
    assert np.array_equal(textures.texture(3, 48, 5), textures.texture(3, 48, 5))
    assert not np.array_equal(textures.texture(3, 48, 5), textures.texture(3, 48, 6))


def test_photographs(tmp_path):
    Image.fromarray(np.zeros((70, 80, 3), np.uint8)).save(tmp_path / "a.png")
    assert training_images.photograph_files(str(tmp_path)) == [tmp_path / "a.png"]
    assert training_images.read(tmp_path / "a.png").shape == (70, 80, 3)
    with pytest.raises(StyleError, match="data.photographs = '.*nothing': there is no such folder"):
        training_images.photograph_files(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StyleError, match="data.photographs: .*empty holds no images"):
        training_images.photograph_files(str(tmp_path / "empty"))
    (tmp_path / "notes.txt").touch()
    said: list[str] = []
    training_images.photograph_files(str(tmp_path), said.append)
    assert said == [f"{tmp_path}: 1 file that is no image was left out, such as notes.txt."]
    assert (
        training_images.resolved("auto") in ("scikit-image", "none") and training_images.photograph_files("none") == []
    )


def test_those_of_scikit_image(monkeypatch):
    monkeypatch.setattr(training_images, "_scikit_image", lambda: None)
    assert training_images.resolved("auto") == "none"
    with pytest.raises(StyleError, match="pip install scikit-image, or train without photographs"):
        training_images.photograph_files("scikit-image")
    monkeypatch.undo()
    if training_images._scikit_image() is None:
        pytest.skip("scikit-image is not installed")
    assert {path.name for path in training_images.photograph_files("scikit-image")} == set(
        training_images.PUBLIC_DOMAIN
    )


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("data", {"crop": 36}, r"data\.crop = 36: must be a multiple of 8"),
        ("data", {"side": 100}, r"data\.side = 100: must be 64, 128 or 256"),
        ("encoder", {"classification_weight": -0.1}, r"encoder\.classification_weight = -0\.1: must not be negative"),
        ("encoder", {"steps": 0}, r"encoder\.steps = 0: must be at least 1"),
        ("encoder", {"widths": (4,)}, r"encoder\.widths = \(4,\): must be two or more"),
        ("decoder", {"style_weight": -1.0}, r"decoder\.style_weight = -1\.0: must not be negative"),
    ],
)
def test_wrong_settings(part, changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **{part: replace(getattr(TINY, part), **changes)})


def test_gradients_reach_every_weight(model, make_picture):
    images = np.stack([make_picture(i, 32, 32) for i in range(4)])
    shapes = train_step.head_shapes(model.stages, 3)
    params = {f"encoder.{n}": jnp.asarray(x) for n, x in model.encoder.items()}
    params |= {f"decoder.{n}": jnp.asarray(x) for n, x in model.decoder.items()}
    params |= {n: jnp.asarray(x) for n, x in networks.random_params(shapes, 0).items()}
    labels = np.array([0, 1, 2, -1])
    gradients = jax.jit(jax.grad(lambda p: train_step.encoder_loss(p, images, labels, 1.0, model.stages)[0]))(params)
    assert all(float(jnp.abs(x).max()) > 0 for x in gradients.values())
