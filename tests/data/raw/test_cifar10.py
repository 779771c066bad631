import numpy as np
import pytest

from stylegen.data import DataError
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw.opening import open_raw
from tests.support.archives import make_archive, python_archive, records

NAMES = [f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]


@pytest.fixture
def archive(tmp_path):
    files = {name: records(4, i).tobytes() for i, name in enumerate(NAMES)}
    return make_archive(tmp_path / "cifar-10-binary.tar.gz", {"cifar-10-batches-bin/readme.html": b"hello", **files})


def test_the_images_and_labels_are_those_of_the_archive(archive, tmp_path):
    for split, seeds in (("train", range(5)), ("test", [5])):
        expected = np.concatenate([records(4, seed) for seed in seeds])
        prepare(open_raw("cifar10", archive, split=split), tmp_path / split, Options(32), workers=1)
        source = PreparedSource(tmp_path / split)
        batch = source.read(np.arange(len(expected)), 32)
        np.testing.assert_array_equal(batch["label"], expected[:, 0])
        np.testing.assert_array_equal(batch["image"], expected[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        assert source.class_names[3] == "cat" and len(source.class_names) == 10
        assert source.manifest.split == split


def test_the_folder_of_the_archive_will_do(archive):
    assert open_raw("cifar10", archive.parent, max_images=7).num_images == 7


def test_what_is_not_cifar10_is_a_sentence(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_text("no archive")
    with pytest.raises(DataError, match=r"is not CIFAR-10's archive cifar-10-binary\.tar\.gz"):
        open_raw("cifar10", path)
    make_archive(path, {"cifar-10-batches-py/data_batch_1": b"pickle"})
    with pytest.raises(DataError, match=r"data_batch_2 is not in it"):
        open_raw("cifar10", path)
    make_archive(path, dict.fromkeys(NAMES, b"short"))
    with pytest.raises(DataError, match=r"data_batch_1\.bin has 5 bytes"):
        open_raw("cifar10", path)
    make_archive(path, dict.fromkeys(NAMES, b"\x0b" * 3073))
    with pytest.raises(DataError, match="it has a label 11, above 9"):
        open_raw("cifar10", path)
    with pytest.raises(DataError, match="has the splits train and test, not 'val'"):
        open_raw("cifar10", path, split="val")


def test_an_archive_that_is_cut_short_is_a_sentence(archive):
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is not CIFAR-10's archive"):
        open_raw("cifar10", archive)


def test_the_archive_for_python_has_the_same_images(archive, tmp_path):
    (tmp_path / "python").mkdir()
    of_python = open_raw("cifar10", python_archive(tmp_path / "python").parent)
    binary = open_raw("cifar10", archive)
    assert of_python.num_images == binary.num_images == 20
    for one, other in zip(of_python.read(0, 20), binary.read(0, 20), strict=True):
        assert one.label == other.label
        np.testing.assert_array_equal(one.data, other.data)
    assert of_python.identity == binary.identity


class Runs:
    """Would run, if the file were unpickled as Python does."""

    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data": Runs()}, "nothing in it was run"),
        ({"data": np.zeros((4, 3072), np.float32)}, r"it has no array `data`, uint8 \[n, 3,072\]"),
        ({"data": np.zeros((4, 3), np.uint8)}, "it has no array `data`"),
        ({"labels": [0, 1, 2]}, "it has no list `labels`, a whole number for each image"),
        ({"labels": [0, 1, 2, "cat"]}, "it has no list `labels`"),
        ({"labels": [0, 1, 2, 300]}, "it has no list `labels`"),
        ({"labels": [0, 1, 2, 11]}, "it has a label 11, above 9"),
    ],
)
def test_a_wrong_archive_for_python_is_a_sentence_and_runs_nothing(tmp_path, capsys, changed, words):
    with pytest.raises(DataError, match=words):
        open_raw("cifar10", python_archive(tmp_path, **changed))
    assert "ran" not in capsys.readouterr().out
