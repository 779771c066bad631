"""Imports of StyleGAN's pickles: the same function, whatever its settings, as that of the original's own operations."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import stylegen
from stylegen import ops
from stylegen.cli import convert, sample
from stylegen.formats import WeightsError
from stylegen.networks.build import build_networks
from stylegen.networks.mapping import truncate
from stylegen.nvidia import importing
from stylegen.nvidia import pickles as nvidia_files
from stylegen.runs.checkpoint import Checkpointer
from tests.support import original
from tests.support.original_pickles import SMALL, TINY, networks, write
from tests.support.paths import REFERENCES, SHARED

REFERENCE = REFERENCES / "networks"


def labels_of(settings, n):
    classes = settings.get("label_size", 0)
    return np.eye(classes, dtype=np.float32)[np.arange(n) % classes] if classes else None


def assert_close(actual, expected, tolerance=2e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance * np.abs(expected).max())


def check_images(G, network, settings, lod=0.0):
    z = np.random.default_rng(3).standard_normal((2, G.z_dim)).astype(np.float32)
    labels = labels_of(settings, 2)
    w = original.run_mapping(network, z, labels)
    assert_close(G.mapping(z, labels), w)

    @jax.jit
    def synthesize(w):
        return G.synthesis(G.broadcast(w))

    expected = original.run_synthesis(network, w, lod)
    assert np.std(expected) > 0.1 and np.abs(expected[0] - expected[1]).max() > 0.1
    assert_close(synthesize(w), expected, 1e-4)


def check_scores(imported, network, settings):
    config, state, _ = importing.state_of(imported)
    d = build_networks(config).discriminator(state.d)
    images = np.random.default_rng(4).standard_normal((8, config.resolution, config.resolution, config.image_channels))
    images, labels = images.astype(np.float32), labels_of(settings, 8)
    order = np.array(ops.minibatch_std_order(8, config.discriminator.mbstd_group_size))
    scores = jax.jit(d)(images[order], None if labels is None else labels[order])
    assert_close(scores, original.run_discriminator(network, images, labels)[order], 1e-4)


VARIATIONS = {
    "fused": {"resolution": 128, "fmap_base": 256, "label_size": 3, "mapping_layers": 3, "mapping_fmaps": 9},
    "fused twice": {"resolution": 256, "fmap_base": 256, "fmap_max": 4},
    "64": {"resolution": 64, "fmap_base": 100, "fmap_max": 4},
    "fused everywhere": {"resolution": 16, "fused_scale": True},
    "fused nowhere": {"resolution": 128, "fmap_base": 256, "fused_scale": False},
    "widths": {"resolution": 32, "fmap_base": 17, "fmap_max": 11, "fmap_decay": 0.7},
    "unscaled": {"resolution": 16, "use_wscale": False, "label_size": 2},
    "no noise": {"resolution": 16, "use_noise": False},
    "z as it is": {"resolution": 8, "normalize_latents": False, "mapping_lrmul": 0.1, "mapping_layers": 1},
    "gray": {"resolution": 8, "num_channels": 1},
    "fixed": {"resolution": 16, "structure": "fixed"},
}


LONG = ("fused twice", "fused nowhere")


@pytest.mark.parametrize(
    "changes",
    [pytest.param(c, id=name, marks=[pytest.mark.slow] if name in LONG else []) for name, c in VARIATIONS.items()],
)
def test_the_same_images_and_scores(changes, tmp_path):
    settings = {**SMALL, **changes}
    G, D, Gs = networks(settings)
    imported = importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))
    check_images(importing.generator(imported), Gs, settings)
    check_scores(imported, D, settings)
    _, state, _ = importing.state_of(imported)
    plain, averaged = (tree["mapping"]["dense"]["dense0"]["bias"] for tree in (state.g, state.g_ema))
    np.testing.assert_array_equal(plain, G.variables()["mapping/Dense0/bias"])
    np.testing.assert_array_equal(averaged, Gs.variables()["mapping/Dense0/bias"])
    np.testing.assert_array_equal(state.w_avg, Gs.variables()["dlatent_avg"])


@pytest.mark.parametrize("group", [0, 1, 2, 3, 8])
@pytest.mark.parametrize("wscale", [True, False])
def test_minibatch_std_groups(group, wscale, tmp_path):
    settings = {**TINY, "use_wscale": wscale}
    if group == 3:  # images are in eighths here
        imported = importing.read(write(tmp_path / "x.pkl", networks(settings, d={"mbstd_group_size": 3})))
        assert imported.config.discriminator.mbstd_group_size == 3 and imported.config.data.batch % 3 == 0
        return
    G, D, Gs = networks(settings, d={"mbstd_group_size": group})
    check_scores(importing.read(write(tmp_path / "x.pkl", (G, D, Gs))), D, settings)


@pytest.mark.parametrize(
    ("lod", "resolution", "alpha"), [(0.4, 32, 0.6), (1.0, 16, 1.0), (2.25, 8, 0.75), (3.0, 4, 1.0)]
)
def test_networks_from_the_middle_of_growing(lod, resolution, alpha, tmp_path):
    settings = {**SMALL, "resolution": 32}
    G, D, Gs = networks(settings, lod)
    imported = importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))
    config, state, stage = importing.state_of(imported)
    assert stage.resolution == resolution and stage.alpha == pytest.approx(alpha)
    scheduled = importing.schedule.at(config, int(state.nimg))
    assert (scheduled.resolution, scheduled.alpha) == (resolution, pytest.approx(alpha, abs=1e-4))
    check_images(importing.generator(imported), Gs, settings, lod)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol(protocol, tmp_path):
    G, D, Gs = networks({**TINY, "label_size": 2})
    first = importing.read(write(tmp_path / "x.pkl", (G, D, Gs), protocol))
    np.testing.assert_array_equal(
        first.g_ema["synthesis.blocks.b4.const"], Gs.variables()["synthesis/4x4/Const/const"].transpose(0, 2, 3, 1)
    )
    assert first.d is not None and first.report.mapped


def test_files_without_components_or_discriminator(tmp_path):
    """Names with the network's own name in front, as in what others have saved; a generator alone."""
    _, _, Gs = networks(TINY)
    flat = original.Network("Gs", "G_style", TINY, {}, version=2)
    flat.state["variables"] = [
        (name.replace("synthesis/", "G_synthesis/").replace("mapping/", "G_mapping/"), value)
        for name, value in Gs.variables().items()
    ]
    imported = importing.read(write(tmp_path / "x.pkl", flat))
    check_images(importing.generator(imported), Gs, TINY)
    assert imported.d is None and any("no discriminator" in line for line in imported.report.remarks)


def test_a_file_without_the_mean_of_w(tmp_path):
    G, D, Gs = networks(TINY)
    for network in (G, Gs):
        network.state["variables"] = network.state["variables"][:1]
    imported = importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))
    assert not importing.generator(imported).w_avg.any()
    assert "Gs dlatent_avg is not in the file; w_avg is zero" in imported.report.remarks
    Gs.state["variables"].append(("dlatent_avg", np.zeros(7, np.float32)))
    with pytest.raises(WeightsError, match=r"dlatent_avg \[6\] +dlatent_avg \[7\]"):
        importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))


def test_a_fortran_array_and_other_floats(tmp_path):
    G, D, Gs = networks(TINY)
    plain = importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))
    variables = Gs.state["components"]["synthesis"].state["variables"]
    for i, (name, value) in enumerate(variables):
        if name.endswith("Conv1/weight"):
            variables[i] = (name, np.asfortranarray(value.astype(">f8")))
    other = importing.read(write(tmp_path / "y.pkl", (G, D, Gs)))
    for path, array in plain.g_ema.items():
        np.testing.assert_array_equal(array, other.g_ema[path])


def test_a_run_directory_to_load_sample_and_train_from(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**TINY, "label_size": 2}
    G, D, Gs = networks(settings)
    write(tmp_path / "x.pkl", (G, D, Gs))
    assert convert.main(["x.pkl", "--out", "runs/x", "--report"]) == 0
    printed = capsys.readouterr().out
    assert "found:\n  G: G_style, format 3" in printed and "sample with --psi 0.7 --cutoff 8" in printed
    assert "Gs synthesis/8x8/Conv0_up/weight [3, 3, 5, 5] -> synthesis.blocks.b8.conv0.weight" in printed
    assert "runs/x: Generator(8x8, z 7, 4 styles of 6, 2 classes, 0 kimg)" in printed
    loaded = stylegen.load("runs/x")
    check_images(loaded, Gs, settings)
    assert (
        sample.main(
            ["--run", "runs/x", "--seeds", "0-3", "--labels", "1", "--psi", "0.7", "--cutoff", "3", "--out", "out"]
        )
        == 0
    )
    with Checkpointer(tmp_path / "runs/x", loaded.config, keep_last=1) as checkpointer:
        restored = checkpointer.restore()
    assert restored is not None and restored.meta.extra["imported"]["file"] == "x.pkl"
    np.testing.assert_array_equal(
        restored.state.d["blocks"]["b8"]["conv0"]["weight"], D.variables()["8x8/Conv0/weight"]
    )
    np.testing.assert_array_equal(
        restored.state.g["mapping"]["dense"]["dense1"]["weight"], G.variables()["mapping/Dense1/weight"]
    )
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["x"]
    assert json.loads((tmp_path / "runs/x/config.json").read_text())["run"]["dir"] == "runs/x"
    assert convert.main(["x.pkl", "--out", "runs/x"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert convert.main(["x.pkl", "--out", "runs/x", "--overwrite"]) == 0


def test_help_names_the_kinds_of_files(capsys):
    with pytest.raises(SystemExit) as ended:
        convert.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "convert karras2019stylegan-bedrooms-256x256.pkl --out runs/nvidia-bedroom --report" in text


def test_nothing_is_written_of_a_file_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    assert convert.main(["x.pkl", "--out", "runs/x"]) == 2
    assert "asks for os.system" in capsys.readouterr().err
    assert convert.main(["x.pkl"]) == 2 and "--out is missing" in capsys.readouterr().err
    assert convert.main(["none.pkl", "--report"]) == 2 and "none.pkl" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.pkl"]


REFUSED = {
    "nonlinearity": ({"nonlinearity": "relu"}, "its setting nonlinearity = 'relu' cannot be represented"),
    "constant": ({"const_input_layer": False}, "its setting const_input_layer = False cannot be represented"),
    "styles": ({"use_styles": False}, "its setting use_styles = False"),
    "pixel norm": ({"use_pixel_norm": True}, "its setting use_pixel_norm = True"),
    "instance norm": ({"use_instance_norm": False}, "its setting use_instance_norm = False"),
    "blur": ({"blur_filter": [1, 3, 3, 1]}, r"its setting blur_filter = \[1, 3, 3, 1\]"),
    "no blur": ({"blur_filter": None}, "its setting blur_filter = None"),
    "depth": ({"mapping_layers": 0}, "its setting mapping_layers = 0: must be a whole number of at least 1"),
    "resolution": ({"resolution": 2048}, "resolution = 2048"),
    "channels": ({"num_channels": 5}, "image_channels = 5"),
    "kind": ({"fmap_base": "many"}, "its setting fmap_base = 'many': must be a number"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_represented_is_named(changes, message, tmp_path):
    G, D, Gs = networks(TINY)
    for network in (G, D, Gs, *G.state["components"].values(), *Gs.state["components"].values()):
        network.state["static_kwargs"] = {**network.state["static_kwargs"], **changes}
    with pytest.raises(WeightsError, match=message):
        importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))


@pytest.mark.parametrize("name", ["resolution", "label_size", "num_channels"])
def test_a_discriminator_of_other_settings(name, tmp_path):
    with pytest.raises(WeightsError, match=f"its setting {name} is .* in G and 4 in D"):
        importing.read(write(tmp_path / "x.pkl", networks({**TINY}, d={name: 4})))


@pytest.mark.parametrize(("version", "kind"), [(1, "G_style"), (5, "G_style"), (2, "G_paper"), (3, "os.system")])
def test_other_formats_and_networks(version, kind, tmp_path):
    Gs = original.Network("Gs", kind, {}, {}, version=version)
    with pytest.raises(WeightsError, match=f"format version {version}" if version in (1, 5) else f"is a {kind} of"):
        importing.read(write(tmp_path / "x.pkl", Gs))


def test_a_mismatch_lists_both_sides(tmp_path):
    G, D, Gs = networks(TINY)
    variables = Gs.state["components"]["synthesis"].state["variables"]
    changed = dict(variables)
    changed["8x8/Conv1/weight"] = np.zeros((3, 3, 5, 4), np.float32)
    changed["8x8/Conv9/weight"] = changed.pop("8x8/Conv0_up/weight")
    variables[:] = changed.items()
    with pytest.raises(WeightsError) as caught:
        importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))
    table = [re.split(r"  +", line.strip()) for line in str(caught.value).splitlines()[1:]]
    assert table == [
        ["expected", "found"],
        ["synthesis/8x8/Conv1/weight [3, 3, 5, 5]", "synthesis/8x8/Conv1/weight [3, 3, 5, 4]"],
        ["synthesis/8x8/Conv0_up/weight [3, 3, 5, 5]", "synthesis/8x8/Conv9/weight [3, 3, 5, 5]"],
    ]


STRANGE = [
    None,
    True,
    -1,
    0,
    3,
    2**80,
    0.5,
    1e300,
    float("nan"),
    "lrelu",
    "x\x1b[2J",
    [],
    [1, 2, 1],
    [2**80] * 3,
    {"a": 1},
]


def with_setting(network, name, value):
    """A network and its components with another setting."""
    components = {part: with_setting(inner, name, value) for part, inner in network.components.items()}
    return dataclasses.replace(network, settings={**network.settings, name: value}, components=components)


def check_settings(file, network, names):
    """Settings of any kind are taken or refused with a sentence that a terminal can show; nothing else happens."""
    counts = {"taken": 0, "refused": 0}
    for name in sorted(names):
        for value in STRANGE:
            networks = {**file.networks, network: with_setting(file.networks[network], name, value)}
            if network == "G_ema":
                del networks["G"]
            try:
                text = importing.convert(dataclasses.replace(file, networks=networks)).report.text()
                counts["taken"] += 1
            except WeightsError as error:
                text = str(error)
                counts["refused"] += 1
            assert text.replace("\n", "").isprintable()
    assert min(counts.values()) > 20


@pytest.mark.parametrize("network", ["G_ema", "D"])
def test_settings_of_any_kind_and_value(network, tmp_path):
    names = {*original.G_DEFAULTS, *original.D_DEFAULTS, "blur_filter", "truncation_psi", "truncation_cutoff", "dtype"}
    names |= {"dlatent_avg_beta", "style_mixing_prob", "nonlinearity", "use_styles", "mbstd_num_features"}
    check_settings(nvidia_files.read(write(tmp_path / "x.pkl", networks(TINY))), network, names)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(value, tmp_path):
    G, D, Gs = networks(TINY)
    dict(D.state["variables"])["8x8/Conv0/weight"][0, 0, 0, 0] = value
    with pytest.raises(WeightsError, match="D: 8x8/Conv0/weight holds numbers that are not finite"):
        importing.read(write(tmp_path / "x.pkl", (G, D, Gs)))


def reference_networks(arrays, settings, g_name="G", d_name="D"):
    """The networks of a reference file, as the original pickles them."""
    variables = {"synthesis": {}, "mapping": {}}
    top = {"lod": np.float32(0)}
    d = {}
    for name, value in arrays.items():
        if name.startswith("vars/D/"):
            d[name.removeprefix("vars/D/")] = value
        elif name.startswith("vars/G/G_"):
            part, _, rest = name.removeprefix("vars/G/G_").partition("/")
            variables[part][rest] = value
        elif name.startswith("vars/G/"):
            top[name.removeprefix("vars/G/")] = value
    components = {
        part: original.Network(f"G_{part}", f"G_{part}", settings, values) for part, values in variables.items()
    }
    for_d = {name: value for name, value in settings.items() if name in original.D_DEFAULTS}
    G = original.Network("G", "G_style", settings, top, components)
    return G, original.Network("D", "D_basic", for_d, d), G


REFERENCES = {
    "stylegan1_32": {"mapping_layers": 4, "resolution": 32, "fmap_base": 512, "label_size": 0},
    "stylegan1_16_labels": {"mapping_layers": 3, "resolution": 16, "fmap_base": 256, "label_size": 3},
}
for _settings, _size in zip(REFERENCES.values(), (64, 32), strict=True):
    _settings |= dict.fromkeys(("latent_size", "dlatent_size", "mapping_fmaps", "fmap_max"), _size) | {
        "num_channels": 3
    }


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("shared", [False, True], ids=["written here", "their file"])
def test_the_reference(name, shared, tmp_path):
    with np.load(REFERENCE / f"{name}.npz") as file:
        arrays = dict(file)
    path = SHARED / "reference" / f"{name}.pkl"
    if shared and not path.is_file():
        pytest.skip("the reference pickles are not here")
    if not shared:
        path = write(tmp_path / "x.pkl", reference_networks(arrays, REFERENCES[name]))
    imported = importing.read(path)
    G = importing.generator(imported)
    ws = G.broadcast(G.mapping(arrays["in/z"], arrays.get("in/labels")))
    assert_close(ws, arrays["out/dlatents"], 1e-4)
    synthesize = jax.jit(G.synthesis)
    assert_close(synthesize(ws), arrays["out/lod0/images"].transpose(0, 2, 3, 1), 1e-4)
    if "out/images_psi0.7_cutoff4" in arrays:
        truncated = truncate(ws, G.w_avg, 0.7, 4)
        expected = arrays["out/images_psi0.7_cutoff4"].transpose(0, 2, 3, 1)
        assert_close(synthesize(truncated), expected, 1e-4)
    config, state, _ = importing.state_of(imported)
    d, labels = build_networks(config).discriminator(state.d), arrays.get("in/labels")
    order = np.array(ops.minibatch_std_order(len(ws), 4))
    images = arrays["out/lod0/images"].transpose(0, 2, 3, 1)[order]
    scores = jax.jit(d)(images, None if labels is None else labels[order])
    assert_close(scores, arrays["out/lod0/fake_scores"].reshape(-1)[order], 1e-4)
