"""Imports of StyleGAN2's pickles, of TensorFlow and of PyTorch: the reference's images, and each other's weights."""

import jax
import numpy as np
import pytest

from stylegen import ops
from stylegen.formats import WeightsError
from stylegen.networks.build import build_networks
from stylegen.networks.mapping import truncate
from stylegen.nvidia import importing
from stylegen.nvidia import pickles as nvidia_files
from tests.nvidia.test_importing import check_settings
from tests.support import original, pickles
from tests.support.paths import REFERENCES, SHARED

SHARED_PICKLE = SHARED / "reference" / "stylegan2_32.pkl"
REFERENCE = REFERENCES / "networks" / "stylegan2_32.npz"
BUFFERS = ("resample_filter", "noise_const", "w_avg")
WIDTHS = {"channel_base": 1024, "channel_max": 64, "num_fp16_res": 0, "conv_clamp": None}
G_SETTINGS = {
    "z_dim": 64,
    "c_dim": 0,
    "w_dim": 64,
    "img_resolution": 32,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 4},
    "synthesis_kwargs": WIDTHS,
}
D_SETTINGS = {"c_dim": 0, "img_resolution": 32, "img_channels": 3, "epilogue_kwargs": {"mbstd_group_size": 4}, **WIDTHS}


@pytest.fixture(scope="module")
def arrays():
    with np.load(REFERENCE) as file:
        return dict(file)


def variables_of_network(arrays, network):
    prefix = f"vars/{network}/"
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def module(kind, settings, variables):
    result = pickles.Module(kind, settings)
    for name, value in variables.items():
        result.put(name, value, name.rpartition(".")[2] in BUFFERS)
    return result


def torch_file(arrays, g=G_SETTINGS, d=D_SETTINGS):
    """A file as the training loop of StyleGAN2-ADA writes it; G is not the averaged G."""
    averaged = variables_of_network(arrays, "G")
    plain = {name: value * (1 if name.endswith(BUFFERS) else 2) for name, value in averaged.items()}
    variables_of = {"G": plain, "G_ema": averaged}
    generators = {part: module("Generator", g, variables) for part, variables in variables_of.items()}
    return {
        **generators,
        "D": module("Discriminator", d, variables_of_network(arrays, "D")),
        "augment_pipe": None,
        "training_set_kwargs": {},
    }


def tensorflow_variables(torch):
    """The same variables under TensorFlow's names, in its layouts."""
    variables = {}
    for name, value in torch.items():
        *path, last = name.split(".")
        if last == "resample_filter":
            continue
        if path[:1] == ["synthesis"]:
            variables[f"synthesis/{_layer(path[1:], last)}"] = _value(path[1:], last, value)
        elif name == "mapping.w_avg":
            variables["dlatent_avg"] = value
        else:
            variables[f"{_layer(path, last)}"] = _value(path, last, value)
    return variables


def _layer(path, last):
    block, *rest = path
    if block == "mapping":
        name = rest[0].replace("fc", "Dense").replace("embed", "LabelEmbed")
        return f"mapping/{name}/{last}"
    size = int(block[1:])
    if last == "const":
        return "4x4/Const/const"
    if last == "noise_const":
        return f"noise{2 * size.bit_length() - (7 if rest[0] == 'conv0' else 6)}"
    names = {"torgb": "ToRGB", "fromrgb": "FromRGB", "skip": "Skip", "conv": "Conv", "fc": "Dense0"}
    names |= {"conv0": "Conv0_up", "conv1": "Conv" if size == 4 else "Conv1"}
    if rest[0] == "out":
        return f"Output/{last}"
    last = f"mod_{last}" if rest[-1] == "affine" else last
    return f"{size}x{size}/{names[rest[0]]}/{last}"


def _value(path, last, value):
    if last == "const":
        return value[None]
    if last == "noise_const":
        return value[None, None]
    if path[-1] == "affine" and last == "bias":
        return value - 1
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
        return value[::-1, ::-1] if "conv0" in path else value
    return value.T if value.ndim == 2 else value


def tensorflow_file(arrays):
    g = {"latent_size": 64, "dlatent_size": 64, "mapping_layers": 4, "mapping_fmaps": 64, "label_size": 0}
    g |= {"resolution": 32, "num_channels": 3, "fmap_base": 512, "fmap_max": 64}
    g_variables = tensorflow_variables(variables_of_network(arrays, "G"))
    by_component = {
        part: {
            name.removeprefix(f"{part}/"): value for name, value in g_variables.items() if name.startswith(f"{part}/")
        }
        for part in ("synthesis", "mapping")
    }
    kinds = {"synthesis": "G_synthesis_stylegan2", "mapping": "G_mapping"}
    components = {part: original.Network(part, kinds[part], g, v, version=4) for part, v in by_component.items()}
    top = {"lod": np.float32(0), "dlatent_avg": g_variables["dlatent_avg"]}
    G = original.Network("G", "G_main", g, top, components, version=4)
    d = {name: g[name] for name in ("label_size", "resolution", "num_channels", "fmap_base", "fmap_max")}
    variables = tensorflow_variables(variables_of_network(arrays, "D"))
    # In the discriminator the first convolution keeps the size, and the second halves it.
    variables = {_halving(name): _unturned(name, value) for name, value in variables.items()}
    return G, original.Network("D", "D_stylegan2", d, variables, version=4), G


def _halving(name):
    return name.replace("Conv0_up", "Conv0").replace("Conv1", "Conv1_down")


def _unturned(name, value):
    return value[::-1, ::-1] if "Conv0_up" in name and value.ndim == 4 else value


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("form", ["torch", "tensorflow", "their file"])
def test_the_reference(form, arrays, tmp_path):
    path = tmp_path / "x.pkl"
    if form == "their file":
        path = SHARED_PICKLE
        if not path.is_file():
            pytest.skip("the reference pickles are not here")
    else:
        path.write_bytes(pickles.dumps(torch_file(arrays) if form == "torch" else tensorflow_file(arrays)))
    imported = importing.read(path)
    config, state, stage = importing.state_of(imported)
    assert (stage.resolution, stage.alpha, config.generator.block) == (32, 1, "demod")
    G = importing.generator(imported)
    ws = G.broadcast(G.mapping(arrays["in/z"]))
    assert_close(ws, arrays["out/ws"])
    synthesize = jax.jit(G.synthesis, static_argnames="noise")
    for name, styles, noise in (
        ("images", ws, "const"),
        ("images_no_noise", ws, "none"),
        ("images_psi0.7_cutoff4", truncate(ws, G.w_avg, 0.7, 4), "const"),
    ):
        assert_close(synthesize(styles, noise=noise), arrays[f"out/{name}"].transpose(0, 2, 3, 1))
    d = build_networks(config).discriminator(state.d)
    order = np.array(ops.minibatch_std_order(len(ws), 4))
    images = arrays["out/images"].transpose(0, 2, 3, 1)[order]
    assert_close(jax.jit(d)(images), arrays["out/fake_scores"].reshape(-1)[order])


def test_g_is_not_the_averaged_one(arrays, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickles.dumps(torch_file(arrays)))
    imported = importing.read(path)
    for name in ("synthesis.blocks.b8.conv0.weight", "mapping.dense.dense1.bias"):
        np.testing.assert_array_equal(imported.g[name], 2 * imported.g_ema[name])


def test_settings_as_stylegan3s_repository_gives_them(arrays, tmp_path):
    path = tmp_path / "x.pkl"
    flat = {name: value for name, value in G_SETTINGS.items() if name != "synthesis_kwargs"}
    flat |= {**WIDTHS, "conv_clamp": 256, "fused_modconv_default": "inference_only"}
    path.write_bytes(pickles.dumps(torch_file(arrays, flat)))
    imported = importing.read(path)
    assert imported.config.generator.channel_base == 1024
    assert imported.report.remarks == ["features are not clamped here: conv_clamp 256"]


def with_labels(arrays, classes=3):
    """The same networks with classes: random weights for what that adds, under PyTorch's names."""
    rng = np.random.default_rng(0)
    extended = dict(arrays)
    first = "vars/G/mapping.fc0.weight"
    extended[first] = np.concatenate([extended[first], rng.standard_normal((64, 64), np.float32)], axis=1)
    extended["vars/G/mapping.embed.weight"] = rng.standard_normal((64, classes), np.float32)
    extended["vars/G/mapping.embed.bias"] = rng.standard_normal(64, np.float32)
    extended["vars/D/b4.out.weight"] = rng.standard_normal((64, 64), np.float32)
    extended["vars/D/b4.out.bias"] = rng.standard_normal(64, np.float32)
    extended["vars/D/mapping.embed.weight"] = rng.standard_normal((64, classes), np.float32)
    extended["vars/D/mapping.embed.bias"] = rng.standard_normal(64, np.float32)
    for i in range(8):
        extended[f"vars/D/mapping.fc{i}.weight"] = rng.standard_normal((64, 64), np.float32)
        extended[f"vars/D/mapping.fc{i}.bias"] = rng.standard_normal(64, np.float32)
    return extended


def test_classes(arrays, tmp_path):
    path = tmp_path / "x.pkl"
    g, d = {**G_SETTINGS, "c_dim": 3}, {**D_SETTINGS, "c_dim": 3}
    path.write_bytes(pickles.dumps(torch_file(with_labels(arrays), g, d)))
    config, state, _ = importing.state_of(importing.read(path))
    assert config.num_classes == 3
    np.testing.assert_array_equal(state.d["label_mapping"]["dense"]["dense7"]["bias"].shape, (64,))
    with pytest.raises(WeightsError, match="its setting c_dim|its setting label_size is 3 in G and 0 in D"):
        path.write_bytes(pickles.dumps(torch_file(with_labels(arrays), g)))
        importing.read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synthesis_kwargs": {**WIDTHS, "architecture": "orig"}}, "its setting architecture = 'orig'"),
        ({"mapping_kwargs": {"num_layers": 4, "activation": "relu"}}, "its setting mapping_activation = 'relu'"),
        ({"mapping_kwargs": {"num_layers": 3}}, r"mapping.fc3.weight \[64, 64\]"),
        ({"img_resolution": 64}, "its setting resolution is 64 in G and 32 in D"),
    ],
)
def test_what_cannot_be_represented_is_named(changes, message, arrays, tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickles.dumps(torch_file(arrays, {**G_SETTINGS, **changes})))
    with pytest.raises(WeightsError, match=message):
        importing.read(tmp_path / "x.pkl")


def test_another_filter_is_refused(arrays, tmp_path):
    changed = dict(arrays)
    name = "vars/G/synthesis.b8.conv0.resample_filter"
    changed[name] = np.full_like(changed[name], 1 / 16)
    (tmp_path / "x.pkl").write_bytes(pickles.dumps(torch_file(changed)))
    with pytest.raises(WeightsError, match=r"synthesis.b8.conv0.resample_filter is another filter"):
        importing.read(tmp_path / "x.pkl")


@pytest.mark.parametrize("network", ["G_ema", "D"])
def test_settings_of_any_kind_and_value(network, arrays, tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickles.dumps(torch_file(arrays)))
    names = {*G_SETTINGS, *D_SETTINGS, "block_kwargs", "resample_filter", "architecture", "mbstd_num_channels"}
    check_settings(nvidia_files.read(tmp_path / "x.pkl"), network, names)
