"""Files of weights: kinds, checks, where they are looked for, and the download that must not lie."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import save_file

from stylegen.formats import WeightsError
from stylegen.pretrained import weights
from stylegen.pretrained.resizing import resize, resize_matrix


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def published(home, monkeypatch):
    """Weights that are "published" as a file of this machine."""
    content = b"weights" * 1000
    source = home / "server.pth"
    source.write_bytes(content)
    entry = weights.Published("vgg.pth", source.as_uri(), hashlib.sha256(content).hexdigest(), None, "test")
    monkeypatch.setitem(weights.PUBLISHED, "vgg16", entry)
    return source


def test_kinds_of_files(home):
    arrays = {"a": np.arange(3.0), "b": np.ones((2, 2), np.float32), "other": np.zeros(1)}
    np.savez(home / "w.npz", **arrays)
    save_file(arrays, home / "w.safetensors")
    for name in ("w.npz", "w.safetensors"):
        tensors = weights.read_tensors(home / name, {"b": (2, 2), "a": (3,)})
        assert list(tensors) == ["b", "a"] and all(x.dtype == np.float32 for x in tensors.values())
        np.testing.assert_array_equal(tensors["a"], [0, 1, 2])


def test_wrong_files(home):
    np.savez(home / "w.npz", a=np.array([1.0, np.inf]))
    with pytest.raises(WeightsError, match=r"w\.npz: b is missing; these are the weights of another network"):
        weights.read_tensors(home / "w.npz", {"b": (2,)})
    with pytest.raises(WeightsError, match=r"a is \(2,\); wanted \(3,\)"):
        weights.read_tensors(home / "w.npz", {"a": (3,)})
    with pytest.raises(WeightsError, match="a holds numbers that are not finite"):
        weights.read_tensors(home / "w.npz", {"a": (2,)})
    with pytest.raises(WeightsError, match=r"unknown kind of file; weights are read from \.pt, \.pth, \.npz"):
        weights.read_tensors(home / "w.onnx", {"a": (2,)})
    np.savez(home / "pickled.npz", a=np.array([{}], dtype=object))
    for name in ("pickled.npz", "broken.npz", "broken.safetensors"):
        if name.startswith("broken"):
            (home / name).write_text("nothing")
        with pytest.raises(WeightsError, match="cannot be read"):
            weights.read_tensors(home / name, {"a": (1,)})


def test_missing_weights_say_how_to_get_them(home):
    with pytest.raises(WeightsError, match=r"stylegen evaluate --download inception.*--extractor random_vgg"):
        weights.find("inception")
    with pytest.raises(WeightsError, match=r"no such file of weights"):
        weights.find("inception", home / "nothing.pth")


def test_download(published, home):
    path = weights.download("vgg16", lambda chunks, total, unit: chunks)
    assert path.read_bytes() == published.read_bytes() and weights.find("vgg16") == path
    published.unlink()
    assert weights.download("vgg16") == path  # there already


def test_a_download_with_another_hash_is_not_kept(published, home):
    published.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="was changed or damaged on the way, and was not kept"):
        weights.download("vgg16")
    assert not list(weights.folder().iterdir())


def test_download_without_a_connection(published, home):
    published.unlink()
    with pytest.raises(WeightsError, match="cannot be fetched"):
        weights.download("vgg16")
    assert not list(weights.folder().iterdir())
    with pytest.raises(WeightsError, match="'alexnet': no such weights; there are inception, vgg16, lpips"):
        weights.download("alexnet")


def test_published_hashes_match_the_names_that_their_authors_gave():
    for name in ("inception", "vgg16", "lpips"):
        entry = weights.PUBLISHED[name]
        assert len(entry.sha256) == 64 and entry.sha256[:8] in entry.filename
        assert entry.url.startswith("https://")
        assert weights.is_published(name, entry.sha256) and not weights.is_published(name, "0" * 64)


def test_resize_as_tensorflow_does():
    """Corners at the top left: new pixel i lies at i * old / new of the old ones, beyond the last one stands still."""
    row = np.array([0.0, 10.0, 30.0])
    np.testing.assert_allclose(resize_matrix(3, 6, "tensorflow") @ row, [0, 5, 10, 20, 30, 30], atol=1e-5)
    np.testing.assert_allclose(resize_matrix(4, 2, "tensorflow") @ np.array([1.0, 2, 3, 4]), [1, 3])


def test_resize_with_antialiasing():
    np.testing.assert_allclose(resize_matrix(2, 4, "triangle") @ np.array([0.0, 8.0]), [0, 2, 6, 8])
    small = resize_matrix(8, 2, "triangle")
    np.testing.assert_allclose(small.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(small @ np.arange(8.0), [1.5 + 0.0625 * 2, 5.5 - 0.0625 * 2], atol=0.3)
    assert (small > 0).sum(axis=1).min() >= 5  # a pixel sees its whole neighborhood


def test_resize_both_axes_of_a_batch():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    resized = resize(images, 11, "tensorflow")
    rows, columns = resize_matrix(5, 11, "tensorflow"), resize_matrix(7, 11, "tensorflow")
    expected = np.einsum("ah,bw,nhwc->nabc", rows, columns, images.astype(np.float64))
    np.testing.assert_allclose(resized, expected, atol=1e-3)
