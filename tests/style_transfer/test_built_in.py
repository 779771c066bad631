"""What the networks in the package do, measured: losses against alpha, colors, content, and sizes."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open

from studies import style_transfer_measures
from stylegen.data.toy import bedrooms
from stylegen.style_transfer import StyleError, losses, model, networks, textures, train_small
from stylegen.style_transfer.config import StyleConfig
from stylegen.style_transfer.stylize import stylize

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def built_in():
    return model.load_model()


@pytest.fixture(scope="module")
def curves(built_in):
    rooms, styles = bedrooms.render(range(900, 903), 64), [textures.texture(i, 64, seed=77) for i in (1, 3, 5)]
    return style_transfer_measures.against_alpha(built_in, rooms, styles, ALPHAS)


def test_alpha_trades_content_for_style(curves):
    """On rooms and textures that training has not seen: monotone, wherever the decoder draws the image."""
    content, style = (np.array([getattr(point, name) for point in curves]) for name in ("content", "style"))
    assert (np.diff(content) > 0).all() and (np.diff(style[1:]) < 0).all()
    assert style[-1] < 0.85 * style[1]


def test_structure_is_kept_edges_have_no_fringes_and_the_palette_is_that_of_the_style(built_in):
    """Of rooms in four styles: the measures of docs/style_transfer.md, where the pair before had 0.24 and 1.94."""
    rooms, styles = bedrooms.render(range(920, 923), 128), [textures.texture(i, 128, seed=79) for i in (0, 1, 3, 5)]
    results = [(stylize(built_in, room, [style]), room, style) for room in rooms for style in styles]
    assert np.mean([style_transfer_measures.structure(result, room) for result, room, _ in results]) > 0.4
    fringes = style_transfer_measures.fringes
    assert np.mean([fringes(result) / fringes(style) for result, _, style in results]) < 1.5
    palette = style_transfer_measures.palette_distance
    assert np.mean([palette(result, style) / palette(room, style) for result, room, style in results]) < 0.1


def test_the_measured_losses_are_the_losses(built_in, curves):
    """One point by hand, from the pictures themselves."""
    room, style = bedrooms.render([900], 64)[0], textures.texture(1, 64, seed=77)
    (point,) = style_transfer_measures.against_alpha(built_in, room[None], [style], (0.5,))
    result = stylize(built_in, room, [style], alpha=0.5)
    maps = [
        networks.encode(built_in.encoder, built_in.stages, picture[None].astype(np.float32) / 255)
        for picture in (result, room, style)
    ]
    wanted = [losses.statistics(x, "biased") for x in maps[2]]
    assert point.content == pytest.approx(float(losses.content_loss(maps[0][-1], maps[1][-1])[0]), rel=1e-3)
    assert point.style == pytest.approx(float(losses.style_loss(maps[0], wanted, "biased")[0]), rel=1e-3)


def test_the_content_stays_recognizable(built_in):
    """Of eight rooms of 128 pixels each result is most like its own, by where edges are; chance gives one of eight."""
    rooms, style = bedrooms.render(range(910, 918), 128), textures.texture(1, 128, seed=78)

    def edges(picture):
        gray = picture.astype(np.float32).mean(-1)
        gradients = np.hypot(np.diff(gray, axis=0)[:124, :124], np.diff(gray, axis=1)[:124, :124])
        gradients = np.log1p(gradients.reshape(31, 4, 31, 4).mean((1, 3))).ravel()
        return (gradients - gradients.mean()) / gradients.std()

    results = [edges(stylize(built_in, room, [style])) for room in rooms]
    likeness = np.array([[result @ edges(room) for room in rooms] for result in results])
    assert (likeness.argmax(axis=1) == np.arange(8)).sum() >= 7


def test_the_file_is_small_and_says_how_it_was_made(built_in):
    assert model.BUILT_IN.stat().st_size < 3_000_000 and built_in.stages == train_small.STAGES
    assert built_in.scales == "all"
    with safe_open(model.BUILT_IN, framework="numpy") as file:
        made_by = json.loads(file.metadata()["made_by"])
    wanted = StyleConfig()
    assert made_by["encoder"]["network"] == wanted.encoder.network == "small"
    assert made_by["rebuild"]["steps"] == wanted.rebuild.steps
    assert made_by["small"]["steps"] == wanted.small.steps and made_by["refine"]["steps"] == wanted.refine.steps


def test_activations_have_the_mean_1(built_in):
    """In every layer, so that the losses weigh layers alike."""
    pictures = np.concatenate([bedrooms.render(range(20), 64), [textures.texture(i, 64) for i in range(20)]])
    outputs = networks.activations(built_in.encoder, built_in.stages, pictures.astype(np.float32) / 255)
    means = [float(x.mean()) for x in jax.device_get(outputs)]
    assert all(0.4 < mean < 2.5 for mean in means), means


def test_files_of_ours(built_in, tmp_path):
    model.save_model(built_in, tmp_path / "x.safetensors")
    stages, encoder, layout = model.load_encoder(tmp_path / "x.safetensors")
    assert layout == "stylegen" and stages == built_in.stages and set(encoder) == set(built_in.encoder)
    pair = model.load_pair(tmp_path / "x.safetensors", tmp_path / "x.safetensors")
    assert np.array_equal(pair.decoder["conv0.kernel"], built_in.decoder["conv0.kernel"])
    with pytest.raises(StyleError, match="there is no such file of a decoder"):
        model.load_pair(tmp_path / "x.safetensors", tmp_path / "none.pth")


def test_published_files_go_together(built_in, tmp_path, monkeypatch):
    """pytorch-AdaIN's pair has unbiased variances; its decoder does not fit torchvision's encoder."""
    from stylegen.pretrained import vgg19

    rng = np.random.default_rng(0)
    shapes = vgg19.layouts() | {"decoder": vgg19.decoder_shapes()}
    for name, wanted in shapes.items():
        drawn = {n: 0.05 * rng.standard_normal(shape, np.float32) for n, shape in wanted.items()}
        np.savez(tmp_path / f"{name}.npz", **drawn)
    pair = model.load_pair(tmp_path / "pytorch-AdaIN.npz", tmp_path / "decoder.npz")
    assert pair.variance == "unbiased" and pair.stages == networks.VGG19
    result = stylize(pair, np.full((24, 33, 3), 99, np.uint8), [textures.texture(0, 32)])
    assert result.shape == (24, 33, 3)
    with pytest.raises(StyleError, match=r"goes with its own vgg_normalised\.pth"):
        model.load_pair(tmp_path / "torchvision.npz", tmp_path / "decoder.npz")
    model.save_model(built_in, tmp_path / "ours.safetensors")
    with pytest.raises(StyleError, match="a decoder for another encoder"):
        model.load_pair(tmp_path / "torchvision.npz", tmp_path / "ours.safetensors")
