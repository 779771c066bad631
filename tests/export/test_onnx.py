"""ONNX models against JAX: generators of all kinds, style transfer, and the verb that writes them."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen.cli import convert
from stylegen.export import ExportError, files, model_card
from stylegen.export.onnx import convert as converter
from stylegen.export.onnx import networks
from stylegen.runs.load import save_generator
from stylegen.style_transfer import stylize
from stylegen.style_transfer.model import load_model, save_model
from tests.export.test_export import close_to_the_last_bit, run_snippets

onnx = pytest.importorskip("onnx", reason="models are written with the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="models are run with the package onnxruntime")

BATCHES = (1, 3, 64)
TOLERANCE = 1e-4  # of the greatest value; what is measured is 2e-6
GENERATORS = {
    "StyleGAN": {},
    "grey, classes, in a fade": {"channels": 1, "classes": 2, "alpha": 0.4},
    "half-grown, in a fade": {"stage": 8, "alpha": 0.25, "channels": 2},
    "StyleGAN2 with classes and transparency": {"block": "demod", "classes": 3, "channels": 4},
}


def session(model):
    """A session of one thread that does not spin, which would slow everything beside it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def relative(actual, expected):
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    return np.abs(actual - expected).max() / np.abs(expected).max()


def run(session, **inputs):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def inputs_of(G, n):
    """Latents, labels and psi of a batch, and its styles by JAX."""
    z = stylegen.latents(range(n), G.z_dim)
    labels = np.arange(n) % G.c_dim if G.c_dim else None
    c = {} if labels is None else {"c": np.eye(G.c_dim, dtype=np.float32)[labels]}
    ws = stylegen.styles(G, z, labels=labels, psi=0.7, batch=64)
    return {"z": z, "psi": np.array(0.7, np.float32), **c}, ws


@pytest.mark.parametrize("changes", GENERATORS.values(), ids=GENERATORS)
def test_a_generator_is_that_of_jax(changes, make_generator):
    G = make_generator(**changes)
    sampler, synthesis = session(networks.sampler(G)), session(networks.synthesis(G))
    for n in BATCHES:
        inputs, ws = inputs_of(G, n)
        drawn = run(sampler, **inputs)
        assert relative(drawn["ws"], ws) < TOLERANCE
        close_to_the_last_bit(drawn["images"], stylegen.synthesize(G, ws, batch=64))
        noise = np.random.default_rng(n).standard_normal((n, G.num_noise), np.float32)
        image = run(synthesis, ws=ws, noise=noise)["image"]
        assert relative(image, stylegen.synthesize(G, ws, noise=noise, as_float=True, batch=64)) < TOLERANCE
        own = run(synthesis, ws=ws, noise=drawn["noise"])["image"]
        assert relative(own, stylegen.synthesize(G, ws, as_float=True, batch=64)) < TOLERANCE
    none = run(synthesis, ws=ws, noise=np.zeros_like(noise))["image"]
    assert relative(none, stylegen.synthesize(G, ws, noise="none", as_float=True, batch=64)) < TOLERANCE
    assert relative(none, own) > 0.01, "noise should matter"


def without_noise(G):
    generator = dataclasses.replace(G.config.generator, use_noise=False)
    return dataclasses.replace(G, config=dataclasses.replace(G.config, generator=generator))


def test_a_generator_without_noise_takes_none(make_generator):
    G = without_noise(make_generator())
    sampler, synthesis = session(networks.sampler(G)), session(networks.synthesis(G))
    inputs, ws = inputs_of(G, 3)
    assert [output.name for output in sampler.get_outputs()] == ["images", "ws"]
    close_to_the_last_bit(run(sampler, **inputs)["images"], stylegen.synthesize(G, ws))
    assert relative(run(synthesis, ws=ws)["image"], stylegen.synthesize(G, ws, as_float=True)) < TOLERANCE


def test_bfloat16_generators_compute_in_float32(make_generator):
    G = make_generator()
    rounded = dataclasses.replace(G, config=dataclasses.replace(G.config, compute_dtype="bfloat16"))
    inputs, ws = inputs_of(G, 3)
    drawn = run(session(networks.sampler(rounded)), **inputs)
    close_to_the_last_bit(drawn["images"], stylegen.synthesize(G, ws))


def test_the_cutoff_is_in_the_sampler(make_generator):
    G = make_generator()
    inputs, full = inputs_of(G, 3)
    ws = run(session(networks.sampler(G, cutoff=2)), **inputs)["ws"]
    assert relative(ws, stylegen.styles(G, inputs["z"], psi=0.7, cutoff=2)) < TOLERANCE
    assert np.abs(ws - full).max() > 0.1
    with pytest.raises(ExportError, match="cutoff = 7: must be the number of layers to truncate, 0 to 6"):
        networks.sampler(G, cutoff=7)


def test_weights_are_not_enlarged(make_generator):
    """Noise times its strengths would be a constant of all channels, were it computed beforehand."""
    G = make_generator()
    arrays = jax.tree.leaves((G.params, G.noise_const, G.w_avg))
    # Weights that enlarge have 16 taps instead of 9, and the noise is there once more as an output.
    assert networks.sampler(G).ByteSize() < 2 * sum(leaf.nbytes for leaf in arrays)


def test_the_shipped_generator():
    G = stylegen.load("toy_bedrooms")
    model = networks.sampler(G)
    assert [node.op_type for node in model.graph.node].count("Transpose") <= 1
    inputs, ws = inputs_of(G, 3)
    close_to_the_last_bit(run(session(model), **inputs)["images"], stylegen.synthesize(G, ws, batch=64))


def pattern(height, width, phase=0):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3 + y + phase, y * 5, x * y // 9], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [None, 64])
def test_style_transfer_is_that_of_jax(size):
    networks_of_style = load_model()
    model = session(networks.stylizer(networks_of_style, size))
    for height, width, y, x in [(64, 64, 64, 64)] if size else [(16, 40, 64, 24), (48, 16, 16, 16)]:
        content, style = pattern(height, width), pattern(y, x, 90)[::-1]
        for alpha in (0.5, 1.0):
            inputs = {"content": content[None], "style": style[None], "alpha": np.array(alpha, np.float32)}
            image = run(model, **inputs)["image"][0]
            close_to_the_last_bit(image, stylize.stylize(networks_of_style, content, [style], alpha=alpha))


def test_sizes_of_style_transfer():
    for size in (8, 102):
        with pytest.raises(ExportError, match=f"size = {size}: must be a multiple of 4, and at least 16"):
            networks.stylizer(load_model(), size)


def test_what_cannot_be_converted_is_named():
    vector = {"x": jax.ShapeDtypeStruct((3,), jnp.float32)}
    with pytest.raises(ExportError, match="the operation sort of JAX cannot be converted to ONNX"):
        converter.convert(lambda x: [jnp.sort(x)], vector, ["y"], "")


def test_what_the_card_says_works(make_generator, monkeypatch, tmp_path):
    G = make_generator(classes=2, resolution=8)
    files.save_folder(G, "onnx", tmp_path / "hub", model_card.facts(None, G, None))
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "ONNX files do not expire" in card
    outputs = run_snippets(card, tmp_path / "hub", monkeypatch)
    assert [(x.shape, x.dtype) for x in outputs] == [((3, 8, 8, 3), np.uint8)] * 2


def test_the_verb(make_generator, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    save_generator(make_generator(resolution=8), "g.safetensors")
    assert convert.main(["g.safetensors", "--to", "onnx", "--out", "out/g.onnx"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {"g.onnx", "g-synthesis.onnx", "g.md", "g.png"}
    (images,) = run_snippets(Path("out/g.md").read_text(), tmp_path / "out", monkeypatch)
    assert images.shape == (3, 8, 8, 3)
    monkeypatch.chdir(tmp_path)
    save_model(load_model(), "style.safetensors")
    for source, name in (("style_transfer", "a.onnx"), ("style.safetensors", "b.onnx")):
        assert convert.main([source, "--to", "onnx", "--out", name, "--size", "16"]) == 0
        assert session(name).get_inputs()[0].shape == [1, 16, 16, 3]
    for arguments, message in (
        (["g.safetensors", "--to", "onnx", "--out", "x", "--size", "64"], "--size is of style transfer"),
        (["style_transfer", "--to", "onnx", "--out", "x"], "style transfer is one file that ends with .onnx"),
        (["style_transfer", "--to", "onnx", "--out", "x.onnx", "--cutoff", "2"], "--cutoff is of generators"),
        (["style_transfer", "--to", "npz", "--out", "x.npz"], "style_transfer is exported with --to onnx"),
    ):
        capsys.readouterr()
        assert convert.main(arguments) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))
