"""Image sets by their paths: all that training reads, arrays, and statistics."""

import dataclasses
import io
import json
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import lmdb
import numpy as np
import pytest
from PIL import Image

from stylegen.config import DataConfig
from stylegen.data import DataError
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.toy.bedrooms import render
from stylegen.evaluation import EvaluationError, metric_names
from stylegen.evaluation.image_sets import ArraySet
from stylegen.evaluation.measure import measure
from stylegen.evaluation.opening import open_images
from stylegen.evaluation.reference_cache import collect_cached
from stylegen.metrics import extractors
from stylegen.metrics.moments import Moments
from stylegen.runs.directory import write_config
from tests.support.configs import tiny_config

COUNT, SIDE = 12, 16


@pytest.fixture
def rooms() -> np.ndarray:
    return render(np.arange(COUNT), SIDE)


@pytest.fixture
def extractor(narrow_vgg, monkeypatch):
    monkeypatch.setattr(extractors, "BATCH", 8)
    return extractors.open_extractor("random_vgg")


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def all_of(images) -> np.ndarray:
    """All images of a set, by their first pixels, so that sets in different orders compare."""
    pixels = np.asarray(images.read(np.arange(images.count)))
    return pixels[np.lexsort(pixels.reshape(len(pixels), -1).T)]


def write_folder(rooms: np.ndarray, folder: Path) -> Path:
    folder.mkdir()
    for i, image in enumerate(rooms):
        (folder / f"{i}.png").write_bytes(png(image))
    return folder


def prepared(rooms, tmp_path):
    prepare(ImageFilesDataset(write_folder(rooms, tmp_path / "raw")), tmp_path / "ready", Options(SIDE), workers=1)
    return tmp_path / "ready"


def run(rooms, tmp_path):
    config = tiny_config(SIDE, data={"num_images": COUNT, "mirror": False})
    (tmp_path / "run").mkdir()
    write_config(tmp_path / "run", config)
    return tmp_path / "run"


def lsun(rooms, tmp_path):
    folder = tmp_path / "lsun" / "bedroom_train_lmdb"
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as transaction:
        for i, image in enumerate(rooms):
            transaction.put(f"{i * 7919 % 65_536:040x}".encode(), png(image))
    return folder


def folder_of_lsun(rooms, tmp_path):
    return lsun(rooms, tmp_path).parent


def zipped_lsun(rooms, tmp_path):
    path = tmp_path / "bedrooms.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(lsun(rooms, tmp_path) / "data.mdb", "bedroom_train_lmdb/data.mdb")
    return path


def npz(rooms, tmp_path):
    np.savez(tmp_path / "rooms.npz", arr_0=rooms, labels=np.arange(COUNT))
    return tmp_path / "rooms.npz"


@pytest.mark.parametrize("write", [prepared, run, lsun, folder_of_lsun, zipped_lsun, npz])
def test_whatever_training_reads_is_an_image_set(write, rooms, tmp_path):
    images = open_images(write(rooms, tmp_path))
    assert (images.count, images.resolution, images.channels) == (COUNT, (SIDE, SIDE), 3)
    np.testing.assert_array_equal(all_of(images), all_of(ArraySet(rooms)))
    assert json.loads(json.dumps(images.provenance))["images"] == COUNT


def test_a_zipped_archive_is_unpacked_for_as_long_as_it_is_used(rooms, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    images = open_images(zipped_lsun(rooms, tmp_path))
    assert list((tmp_path / "tmp").glob("stylegen-lsun-*/lsun/data.mdb"))
    del images
    assert not list((tmp_path / "tmp").iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(EvaluationError, match="bedrooms.zip takes .* unpacked, and .* has 10 bytes"):
        open_images(tmp_path / "bedrooms.zip")


def test_cifar10_is_an_image_set(tmp_path):
    records = np.random.default_rng(0).integers(0, 10, (50, 3073), np.uint8)
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for i in range(1, 6):
            data = records[10 * i - 10 : 10 * i].tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/data_batch_{i}.bin")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    expected = records[:, 1:].reshape(50, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(all_of(open_images(path)), all_of(ArraySet(np.ascontiguousarray(expected))))


@pytest.mark.parametrize("write", [prepared, run])
def test_prepared_images_are_taken_at_a_power_of_two(write, rooms, tmp_path):
    path = write(rooms, tmp_path)
    assert open_images(path, 8).read(np.arange(3)).shape == (3, 8, 8, 3)
    for resolution in (12, 32, 2):
        with pytest.raises(EvaluationError, match=f"--resolution {resolution}: .* has images of 16 pixels"):
            open_images(path, resolution)


def test_a_mirrored_run_has_its_mirror_images_as_data(rooms, tmp_path):
    path = run(rooms, tmp_path)
    config = tiny_config(SIDE, data=DataConfig(num_images=COUNT, mirror=True))
    write_config(path, config)
    assert open_images(path).count == 2 * COUNT


def fid(name: str, fakes, reals, extractor) -> float:
    (result,) = measure([metric_names.parse(name, everything=True)], fakes, reals, extractor)
    return result.value


def test_statistics_stand_for_the_images(rooms, extractor, tmp_path):
    """Those of the cache know their network and their number; pytorch-fid's are of whatever network one says."""
    fakes, reals = ArraySet(rooms // 2), ArraySet(rooms)
    expected = fid("fid", fakes, reals, extractor)
    from stylegen.evaluation.collect import MomentsCollector

    collect_cached(reals, [MomentsCollector(COUNT)], extractor, tmp_path)
    (kept,) = tmp_path.glob("moments-*.npz")
    assert fid("fid", fakes, open_images(kept), extractor) == pytest.approx(expected, rel=1e-12)
    assert fid(f"fid{COUNT}", fakes, open_images(kept), extractor) == pytest.approx(expected, rel=1e-12)
    moments = Moments.of([extractor(rooms)])
    np.savez(tmp_path / "theirs.npz", mu=moments.mean, sigma=moments.covariance)
    theirs = open_images(tmp_path / "theirs.npz")
    assert fid("fid", fakes, theirs, extractor) == pytest.approx(expected, rel=1e-6)
    assert "does not say which network" in theirs.note
    with pytest.raises(EvaluationError, match="fid12 compares with 12 real images, .* a number that the file does not"):
        fid("fid12", fakes, theirs, extractor)
    with pytest.raises(EvaluationError, match="kid needs the real images; .* statistics, for fid alone"):
        fid("kid", fakes, theirs, extractor)
    with pytest.raises(EvaluationError, match="it can only be a --reference"):
        fid("fid", theirs, reals, extractor)


def test_statistics_of_another_network_are_refused(rooms, extractor, tmp_path):
    from stylegen.evaluation.collect import MomentsCollector

    collect_cached(ArraySet(rooms), [MomentsCollector(COUNT)], extractor, tmp_path)
    (kept,) = tmp_path.glob("moments-*.npz")
    other = dataclasses.replace(extractor, provenance={**extractor.provenance, "weights": "others"})
    with pytest.raises(EvaluationError, match="holds statistics of random_vgg, .* cannot be compared .* others"):
        fid("fid", ArraySet(rooms), open_images(kept), other)
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    with pytest.raises(EvaluationError, match="statistics of 2,048 features; random_vgg has"):
        fid("fid", ArraySet(rooms), open_images(tmp_path / "theirs.npz"), extractor)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, "one array of images, uint8 .* is wanted; it holds a float64"),
        ({"a": np.zeros((2, 8, 8, 3), np.uint8), "b": np.zeros((2, 8, 8, 3), np.uint8)}, "one array of images"),
        ({"mu": np.zeros(3), "sigma": np.eye(2)}, "its statistics cannot be used"),
        ({"mu": np.full(2, np.nan), "sigma": np.eye(2)}, "its statistics cannot be used .* not finite"),
        ({"key": "{}", "count": 3, "mean": np.zeros(2), "scatter": np.eye(2)}, "its statistics cannot be used"),
        ({"key": '{"extractor": {}}', "count": 1, "mean": np.zeros(2), "scatter": np.eye(2)}, "at least 2 samples"),
    ],
)
def test_arrays_that_are_neither(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(EvaluationError, match=message):
        open_images(tmp_path / "a.npz")


def test_several_archives_and_damaged_ones_are_sentences(rooms, tmp_path):
    folder = lsun(rooms, tmp_path).parent
    (folder / "church_train_lmdb").mkdir()
    (folder / "church_train_lmdb" / "data.mdb").write_bytes(b"short")
    with pytest.raises(EvaluationError, match="several LSUN archives .bedroom_train_lmdb, church_train_lmdb.; give"):
        open_images(folder)
    with pytest.raises(DataError, match="is no LMDB database"):
        open_images(folder / "church_train_lmdb")
    (tmp_path / "damaged.npz").write_bytes(b"PK")
    with pytest.raises(EvaluationError, match="damaged.npz: cannot be read as npz"):
        open_images(tmp_path / "damaged.npz")


def test_a_zip_whose_directory_is_damaged_is_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.png", b"0" * 100)
    data = bytearray((tmp_path / "photos.zip").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at : at + 4] = b"XXXX"
    (tmp_path / "photos.zip").write_bytes(data)
    with pytest.raises(DataError, match="photos.zip: cannot be read as a zip archive"):
        open_images(tmp_path / "photos.zip")
