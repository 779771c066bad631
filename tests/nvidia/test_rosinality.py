"""Checkpoints of rosinality's form: the images of its own code, other programs that use it, and refusals.

The files were made by that code (tests/references/make_rosinality.py); none of them is anybody's trained network.
"""

import argparse
import collections
import io
import pickle
import random
import zipfile

import jax
import numpy as np
import pytest

from stylegen import ops
from stylegen.formats import WeightsError, torch_files
from stylegen.formats.torch_files import STATE_DICT
from stylegen.networks.build import build_networks
from stylegen.networks.mapping import truncate
from stylegen.nvidia import importing
from tests.support.mutation import mutate
from tests.support.paths import REFERENCES

FOLDER = REFERENCES / "networks"
TRAINING, CONVERTED = FOLDER / "rosinality_32.pt", FOLDER / "rosinality_32_legacy.pt"


@pytest.fixture(scope="module")
def reference():
    with np.load(FOLDER / "rosinality_32.npz") as file:
        return dict(file)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("path", [TRAINING, CONVERTED], ids=["of a training", "of a converted network"])
def test_images_are_those_of_its_own_code(path, reference):
    imported = importing.read(path)
    G = importing.generator(imported)
    assert (G.resolution, G.z_dim, G.config.generator.block, G.config.generator.channel_base) == (32, 16, "demod", 128)
    ws = G.broadcast(G.mapping(reference["z"]))
    assert_close(ws, reference["ws"])
    synthesize = jax.jit(G.synthesis, static_argnames="noise")
    assert_close(synthesize(ws, noise="const"), nhwc(reference["images"]))
    assert_close(synthesize(ws, noise="none"), nhwc(reference["images_no_noise"]))
    if path == CONVERTED:  # a training has no mean of w in its file
        assert_close(synthesize(truncate(ws, G.w_avg, 0.7), noise="const"), nhwc(reference["images_psi0.7"]))


def test_the_mean_of_w_is_computed_where_it_is_not_in_the_file():
    imported, converted = importing.read(TRAINING), importing.read(CONVERTED)
    assert "the mean of w is not in the file; it was computed from 10,000 latents" in imported.report.remarks
    spread = np.linalg.norm(np.asarray(importing.generator(imported).mapping(np.eye(16))), axis=1).mean()
    assert np.linalg.norm(imported.w_avg - converted.w_avg) < 0.05 * spread


def test_the_plain_generator_and_the_discriminator(reference):
    config, state, _ = importing.state_of(importing.read(TRAINING))
    networks = build_networks(config)
    plain = networks.generator(state.g, state.noise_const)
    ws = np.repeat(np.asarray(plain.mapping(reference["z"]))[:, None], 8, axis=1)
    assert_close(plain.synthesis(ws, resolution=32, noise="none"), nhwc(reference["g_images_no_noise"]))
    order = np.array(ops.minibatch_std_order(4, 4))
    scores = jax.jit(networks.discriminator(state.d))(nhwc(reference["images"])[order])
    assert_close(scores, reference["scores"].reshape(-1)[order])


def test_a_run_of_it_and_its_report(tmp_path):
    importing.write_run(importing.read(CONVERTED), tmp_path / "run", str(CONVERTED))
    text = (tmp_path / "run" / importing.REPORT).read_text()
    assert "g_ema: rosinality's" in text and "the file has no discriminator; the run gets a new one" in text
    assert "convs.4.conv.modulation.bias [8] -> synthesis.blocks.b32.conv0.affine.bias" in text


class Storage:
    """A storage beside a pickle."""

    def __init__(self, array, key):
        self.array, self.key = np.ascontiguousarray(array, np.float32), key


class Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        steps = tuple(int(np.prod(self.shape[i + 1 :], dtype=int)) for i in range(len(self.shape)))
        return rebuild, (self.storage, 0, self.shape, steps, False, collections.OrderedDict())


def rebuild(*arguments):
    raise AssertionError("a function that a file names was called")


class FloatStorage:
    pass


class Writer(pickle._Pickler):
    """Python's pickler, but for names and storages, which are written as torch does."""

    NAMES = {rebuild: ("torch._utils", "_rebuild_tensor_v2"), FloatStorage: ("torch", "FloatStorage")}

    def persistent_id(self, obj):
        return ("storage", FloatStorage, obj.key, "cpu", obj.array.size) if isinstance(obj, Storage) else None

    def save_global(self, obj, name=None):
        module, name = self.NAMES.get(obj) or (obj.__module__, obj.__qualname__)
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch, type(rebuild): save_global, type: save_global}


def save(path, tree):
    """Write nested dicts of arrays and plain values as ``torch.save`` does."""
    storages = []

    def tensors(value):
        if isinstance(value, dict):
            return {name: tensors(inner) for name, inner in value.items()}
        if isinstance(value, np.ndarray):
            storages.append(Storage(value, str(len(storages))))
            return Tensor(storages[-1], value.shape)
        return value

    buffer = io.BytesIO()
    Writer(buffer, 2).dump(tensors(tree))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", buffer.getvalue())
        for storage in storages:
            file.writestr(f"archive/data/{storage.key}", storage.array.tobytes())
    return path


@pytest.fixture(scope="module")
def checkpoint():
    """The converted checkpoint as nested dicts of arrays."""
    value, storages = torch_files.load(CONVERTED.read_bytes(), STATE_DICT, "x")
    tensors = torch_files.Tensors(storages, "x")
    state = {name: np.array(tensors.array(x)) for name, x in torch_files.as_mapping(value["g_ema"]).items()}
    return {"g_ema": state, "latent_avg": np.array(tensors.array(value["latent_avg"]))}


def test_the_generator_within_an_encoder(checkpoint, tmp_path):
    """pSp and e4e: under ``decoder.``, with the mean of w for every layer, and settings of the encoder beside it."""
    state = {f"decoder.{name}": array for name, array in checkpoint["g_ema"].items()}
    path = save(
        tmp_path / "psp.pt",
        {
            "state_dict": {"encoder.input_layer.0.weight": np.ones((3, 3)), **state},
            "latent_avg": np.repeat(checkpoint["latent_avg"][None], 8, axis=0),
            "opts": {"output_size": 32, "options": argparse.Namespace(encoder_type="GradualStyleEncoder")},
        },
    )
    expected, found = importing.generator(importing.read(CONVERTED)), importing.generator(importing.read(path))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_files_of_before_there_was_constant_noise(checkpoint, tmp_path):
    state = {name: x for name, x in checkpoint["g_ema"].items() if not name.startswith("noises.")}
    imported = importing.read(save(tmp_path / "x.pt", {"g_ema": state, "latent_avg": checkpoint["latent_avg"]}))
    assert "the constant noise is not in the file; it is zero here" in imported.report.remarks
    assert not np.any(importing.generator(imported).constant_noise())


def changed(checkpoint, **arrays):
    state = {**checkpoint["g_ema"], **{name.replace("__", "."): value for name, value in arrays.items()}}
    return {**checkpoint, "g_ema": {name: value for name, value in state.items() if value is not None}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convs__0__conv__weight": None}, "convs.0.conv.weight is missing"),
        ({"convs__1__activate__bias": None}, r"convs.1.activate.bias \[8\]"),
        ({"extra": np.zeros(3)}, r"extra \[3\]"),
        ({"convs__1__activate__bias": np.full(8, np.nan)}, "convs.1.activate.bias holds numbers that are not finite"),
        ({"convs__2__conv__weight": np.zeros((1, 5, 8, 3, 3))}, "its channels .* cannot be represented"),
        ({"convs__0__conv__blur__kernel": np.ones((4, 4))}, "convs.0.conv.blur.kernel is another filter"),
        ({"input__input": None}, "none of rosinality's StyleGAN2"),
    ],
)
def test_networks_that_do_not_fit_are_refused_by_name(checkpoint, change, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        importing.read(save(tmp_path / "x.pt", changed(checkpoint, **change)))


def test_a_mean_of_w_that_differs_between_layers(checkpoint, tmp_path):
    path = save(tmp_path / "x.pt", {**checkpoint, "latent_avg": np.arange(8 * 16.0).reshape(8, 16)})
    with pytest.raises(WeightsError, match="latent_avg differs between layers"):
        importing.read(path)
    path = save(tmp_path / "x.pt", {**checkpoint, "latent_avg": np.zeros(5)})
    with pytest.raises(WeightsError, match=r"latent_avg is float32 \[5\]; wanted the mean of w, \[16\]"):
        importing.read(path)


def test_lucidrains_networks_are_refused_with_the_reason(tmp_path):
    path = save(tmp_path / "model_1.pt", {"GAN": {"S.net.0.weight": np.ones((2, 2))}, "version": "1.8.9"})
    with pytest.raises(WeightsError, match="lucidrains' stylegan2-pytorch. It has one style a block"):
        importing.read(path)


def test_code_in_the_file_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}X\x05\x00\x00\x00g_emacos\nsystem\n(X\x01\x00\x00\x00atRs.")
    with pytest.raises(WeightsError, match=r"it asks for os.system, which is no part of a generator"):
        importing.read(tmp_path / "x.pt")


def test_another_state_dict(tmp_path):
    path = save(tmp_path / "x.pt", {"weight": np.ones(3)})
    with pytest.raises(WeightsError, match="rosinality's hold a dict of state dicts, g_ema among them"):
        importing.read(path)


@pytest.mark.parametrize("path", [TRAINING, CONVERTED], ids=["zip", "legacy"])
def test_changed_bytes_end_in_an_error_or_a_network(path, tmp_path):
    content, rng = path.read_bytes(), random.Random(0)
    outcomes = set()
    for _ in range(60):
        (tmp_path / "x.pt").write_bytes(mutate(content, rng, range(256)))
        try:
            importing.read(tmp_path / "x.pt")
            outcomes.add("read")
        except WeightsError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_damaged_files(tmp_path):
    content = CONVERTED.read_bytes()
    for end in (100, len(content) // 2, len(content) - 1):
        (tmp_path / "x.pt").write_bytes(content[:end])
        with pytest.raises(WeightsError):
            importing.read(tmp_path / "x.pt")
