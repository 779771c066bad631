"""Keras' files that are damaged, or that lead out of themselves."""

import numpy as np
import pytest

from stylegen.formats import WeightsError, keras_files

h5py = pytest.importorskip("h5py")
SHAPES = {"conv": ((3, 3, 1, 2), (2,))}
KERNEL, BIAS = np.ones((3, 3, 1, 2), np.float32), np.ones(2, np.float32)


def good(file):
    file["conv/kernel"], file["conv/bias"] = KERNEL, BIAS


def external_link(file):
    file["conv"] = h5py.ExternalLink("/etc/hostname", "/conv")


def soft_link(file):
    file["conv"] = h5py.SoftLink("/nowhere")


def external_root(file):
    file["model_weights"] = h5py.ExternalLink("other.h5", "/")


def external_numbers(file):
    file["conv/bias"] = BIAS
    file.create_dataset("conv/kernel", KERNEL.shape, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def virtual_numbers(file):
    file["conv/bias"] = BIAS
    layout = h5py.VirtualLayout(KERNEL.shape, "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", KERNEL.shape)
    file.create_virtual_dataset("conv/kernel", layout)


def text(file):
    file["conv/kernel"] = KERNEL
    file["conv/bias"] = np.array([b"one", b"two"])


def references(file):
    file["conv/kernel"] = KERNEL
    file.create_dataset("conv/bias", (2,), h5py.ref_dtype)


def array_for_a_group(file):
    file["conv"] = KERNEL


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (external_link, "conv in it is a link to another place"),
        (soft_link, "conv in it is a link to another place"),
        (external_root, "model_weights in it is a link to another place"),
        (external_numbers, "the layer conv is kept in another file"),
        (virtual_numbers, "the layer conv is kept in another file"),
        (text, "the layer conv holds .* where numbers are wanted"),
        (references, "the layer conv holds .* where numbers are wanted"),
        (array_for_a_group, "the layer conv is missing"),
    ],
)
def test_refused_with_a_sentence(tmp_path, write, words):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file)
    with pytest.raises(WeightsError, match=f"x.h5: .*{words}"):
        keras_files.read_layers(tmp_path / "x.h5", SHAPES)


def test_cut_and_changed_files(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        good(file)
    kernel, bias = keras_files.read_layers(tmp_path / "x.h5", SHAPES)["conv"]
    np.testing.assert_array_equal(kernel, KERNEL)
    np.testing.assert_array_equal(bias, BIAS)
    data = (tmp_path / "x.h5").read_bytes()
    rng = np.random.RandomState(0)
    for number in range(300):
        changed = bytearray(data[: rng.randint(1, len(data))] if number % 3 == 0 else data)
        for at in rng.randint(0, len(changed), 3):
            changed[at] = rng.randint(256)
        (tmp_path / "y.h5").write_bytes(changed)
        try:
            keras_files.read_layers(tmp_path / "y.h5", SHAPES)
        except WeightsError as error:
            assert str(error).startswith(str(tmp_path / "y.h5"))
