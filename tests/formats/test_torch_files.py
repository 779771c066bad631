"""State dicts of torch: read right in both forms, and never a way to run code."""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from stylegen.formats import WeightsError
from stylegen.formats.torch_files import read_state_dict
from tests.support.paths import REFERENCES

FOLDER = REFERENCES / "metrics"


def text_pickle(module, name, argument):
    """A pickle that calls module.name(argument), written by hand so that the name need not exist here."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def archive(path, data, **entries):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data)
        for name, content in entries.items():
            file.writestr(f"archive/{name}", content)
    return path


def tensor_pickle(numel=6, offset=0, size=(2, 3), stride=(3, 1), kind="FloatStorage"):
    """{"x": tensor} as torch writes it (protocol 2), without torch."""

    def value(numbers):
        return b"(" + b"".join(b"J" + struct.pack("<i", n) for n in numbers) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += b"J" + struct.pack("<i", numel) + b"tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"J" + struct.pack("<i", offset)
    rebuild += value(size) + value(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x01\x00\x00\x00x" + rebuild + b"s."


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pth"])
def test_files_of_torch(name):
    """Written by tests/references/make_metrics.py: floats, halves, integers, and strided views of one storage."""
    tensors = read_state_dict(FOLDER / name)
    with np.load(FOLDER / "state.npz") as expected:
        assert list(tensors) == expected.files
        for key in expected.files:
            assert tensors[key].dtype == expected[key].dtype
            np.testing.assert_array_equal(tensors[key], expected[key])
            assert tensors[key].flags.writeable
    assert tensors["transposed"].shape == (6, 4) and tensors["1.num_batches_tracked"].shape == ()


def test_a_file_by_hand(tmp_path):
    numbers = np.arange(6, dtype=np.float32)
    tensors = read_state_dict(archive(tmp_path / "x.pt", tensor_pickle(), **{"data/0": numbers.tobytes()}))
    np.testing.assert_array_equal(tensors["x"], numbers.reshape(2, 3))


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("posix", "system"),
    ],
)
def test_code_is_refused_before_it_runs(form, module, name, tmp_path):
    path, witness = tmp_path / "evil.pth", tmp_path / "ran"
    data = text_pickle(module, name, f"touch {witness}")
    if form == "zip":
        archive(path, data)
    else:
        path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + data)
    with pytest.raises(WeightsError, match=rf"asks for {module}\.{name}, which is no part of a state dict"):
        read_state_dict(path)
    assert not witness.exists()


def test_the_same_pickle_would_run_where_it_is_not_refused(tmp_path):
    """So the test above tests something."""
    witness = tmp_path / "ran"
    pickle.loads(text_pickle(os.system.__module__, "system", f"touch {witness}"))
    assert witness.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (2, 4)}, "does not fit its storage"),
        ({"offset": 1}, "does not fit its storage"),
        ({"offset": -1}, "does not fit its storage"),
        ({"stride": (-3, 1)}, "does not fit its storage"),
        ({"size": (1000, 1000, 1000), "stride": (0, 0, 0)}, "does not fit its storage"),
        ({"numel": 5}, "has not the size that is stated"),
        ({"numel": 2**30}, "storages are larger than the file"),
        ({"kind": "LongStorage"}, "has not the size that is stated"),
        ({"kind": "QUInt8Storage"}, r"asks for torch\.QUInt8Storage"),
    ],
)
def test_tensors_that_lie_about_themselves(changes, message, tmp_path):
    numbers = np.arange(6, dtype=np.float32).tobytes()
    path = archive(tmp_path / "x.pt", tensor_pickle(**changes), **{"data/0": numbers, "padding": bytes(100)})
    with pytest.raises(WeightsError, match=message):
        read_state_dict(path)


def test_other_files(tmp_path):
    with pytest.raises(WeightsError, match="a TorchScript program, which is code"):
        read_state_dict(archive(tmp_path / "script.pt", b"", **{"constants.pkl": b""}))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("picture.png", b"")
    with pytest.raises(WeightsError, match="not one that torch.save wrote"):
        read_state_dict(tmp_path / "other.zip")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError, match="cannot be read as a pickle"):
        read_state_dict(tmp_path / "text.pth")
    with pytest.raises(WeightsError, match="something else than a state dict"):
        read_state_dict(archive(tmp_path / "list.pt", pickle.dumps([1, 2], 2)))
    with pytest.raises(WeightsError, match="something else than a state dict"):
        read_state_dict(archive(tmp_path / "dict.pt", pickle.dumps(OrderedDict(a=1), 2)))
    complete = (FOLDER / "legacy.pth").read_bytes()
    for length in (10, 200, len(complete) - 4):
        (tmp_path / "cut.pth").write_bytes(complete[:length])
        with pytest.raises(WeightsError):
            read_state_dict(tmp_path / "cut.pth")


def test_a_flipped_bit_is_noticed(tmp_path):
    path = archive(tmp_path / "x.pt", tensor_pickle(), **{"data/0": np.arange(6, dtype=np.float32).tobytes()})
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(3).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="CRC"):
        read_state_dict(path)


def test_a_dict_around_the_state_dict(tmp_path):
    data = b"\x80\x02}X\x0a\x00\x00\x00state_dict" + tensor_pickle()[2:-1] + b"s."
    tensors = read_state_dict(archive(tmp_path / "x.pt", data, **{"data/0": np.arange(6, dtype=np.float32).tobytes()}))
    assert list(tensors) == ["x"]
