"""Containers as people have them: tars, TFRecords, HEIC; NVIDIA's zips are in test_labels."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from stylegen.data import DataError, imaging
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw import containers, tfrecords
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.raw.opening import open_raw
from stylegen.evaluation.opening import open_images
from tests.support.archives import crc32c, masked, write_records

MODES = ("w", "w:gz", "w:bz2", "w:xz")


@pytest.fixture
def make_tar(tmp_path, photo, to_bytes):
    def make(mode="w", names=("dog/1.png", "cat/2.png", "notes.txt"), name="in.tar"):
        path = tmp_path / name
        with tarfile.open(path, mode) as archive:
            for i, member in enumerate(names):
                data = to_bytes(photo(i), "PNG") if member.endswith(".png") else b"x"
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return make


@pytest.mark.parametrize("mode", MODES)
def test_a_tar_is_read_like_a_folder(make_tar, photo, tmp_path, mode):
    path = make_tar(mode)
    dataset = ImageFilesDataset(path, "auto")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.note.startswith(f"{path}: 1 file that is no image was left out, such as notes.txt.")
    assert bool(dataset.unpacked_bytes) == (mode != "w")
    sample = [np.asarray(imaging.decode(image.data, 3)) for image in dataset.sample(9)]
    assert sorted(x.sum() for x in sample) == sorted(np.asarray(photo(i)).sum() for i in (0, 1))
    prepare(dataset, tmp_path / "out", Options(16), workers=1)
    batch = PreparedSource(tmp_path / "out").read(np.arange(2), 16)
    assert batch["label"].tolist() == [0, 1]
    for image, i in zip(batch["image"], (1, 0), strict=True):
        np.testing.assert_array_equal(image, imaging.crop_and_resize(photo(i), 16, "center-crop"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0008", "0016", "prepared.json"]


@pytest.mark.parametrize("mode", MODES)
def test_a_tar_can_be_measured_against(make_tar, photo, mode):
    read = open_images(make_tar(mode, [f"{i}.png" for i in range(3)]), 16).read(np.arange(3))
    expected = [imaging.crop_and_resize(photo(i), 16, "center-crop") for i in range(3)]
    assert sorted(map(int, read.reshape(3, -1).sum(1))) == sorted(int(x.sum()) for x in expected)


def test_workers_read_a_tar_without_listing_it_again(make_tar, monkeypatch):
    dataset = pickle.loads(pickle.dumps(ImageFilesDataset(make_tar())))
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("listed again"))
    assert all(image.data for image in dataset.read(0, 2))


def test_nothing_of_a_tar_is_followed_or_written_elsewhere(tmp_path, photo, to_bytes, make_tar):
    path = make_tar(names=["../../up.png", "/abs.png", "1.png", "1.png"])
    with tarfile.open(path, "a") as archive:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    dataset = ImageFilesDataset(path)
    keys = [image.key for image in dataset.read(0, 9)]
    assert keys == ["/abs.png", "1.png"], "a path with .. counts as hidden"
    last = next(image for image in dataset.read(0, 9) if image.key == "1.png")
    np.testing.assert_array_equal(np.asarray(imaging.decode(last.data, 3)), np.asarray(photo(3)))
    assert "2 links in it were not followed" in dataset.note
    prepare(dataset, tmp_path / "out", Options(16), workers=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tar", "out"]


@pytest.mark.parametrize("mode", MODES)
def test_a_tar_that_is_cut_short_is_a_sentence(make_tar, mode):
    path = make_tar(mode)
    path.write_bytes(path.read_bytes()[: 2 * path.stat().st_size // 3 if mode != "w" else 700])
    with pytest.raises(DataError, match=r"in.tar: cannot be read as a tar archive: "):
        ImageFilesDataset(path)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_compressed_and_no_tar_is_a_sentence(tmp_path, compress):
    (tmp_path / "in.tar.gz").write_bytes(compress(b"no tar" * 1000))
    with pytest.raises(DataError, match=r"in.tar.gz: cannot be read as a tar archive: "):
        ImageFilesDataset(tmp_path / "in.tar.gz")


def test_a_tar_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "BOMB_BYTES", 10**6)
    with tarfile.open(tmp_path / "in.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("1.png")
        info.size = 10**7
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(DataError, match=r"in.tgz unpacks to more than 1.0 MB: a decompression bomb"):
        ImageFilesDataset(tmp_path / "in.tgz")


def test_a_sample_of_a_tar_leaves_out_what_is_too_large(tmp_path, photo, to_bytes, monkeypatch):
    with tarfile.open(tmp_path / "in.tgz", "w:gz") as archive:
        for name, data in (("1.png", bytes(10**6)), ("2.png", to_bytes(photo(1, (8, 8)), "PNG"))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(containers.Tar.small, "__defaults__", (10**5,))
    monkeypatch.setattr(containers.Tar.stream, "__defaults__", (10**5,))
    assert [image.key for image in ImageFilesDataset(tmp_path / "in.tgz").sample(9)] == ["2.png"]


@pytest.fixture
def records(tmp_path):
    """A set of the original's: 5 images at 4 to 16 pixels, with one-hot labels of 3 classes."""
    folder = tmp_path / "cars"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    for level in (2, 3, 4):
        step = 16 >> level
        write_records(folder / f"cars-r{level:02d}.tfrecords", images[:, ::step, ::step])
    np.save(folder / "labels.npy", np.eye(3, dtype=np.float32)[[0, 2, 1, 2, 0]])
    (folder / "labels.npy").rename(folder / "cars-rxx.labels")
    return folder, images


def test_the_checksum_is_crc32c():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of its catalogue
    for data in (b"", b"123456789", bytes(8), bytes(range(200))):
        assert tfrecords._masked_crc(data) == masked(data)


def test_tfrecords_of_the_original(records, tmp_path):
    folder, images = records
    dataset = open_raw("images", folder, labels="auto")
    assert dataset.class_names == ("0", "1", "2") and "3 classes" in dataset.note
    for image, pixels, label in zip(dataset.read(0, 9), images, [0, 2, 1, 2, 0], strict=True):
        np.testing.assert_array_equal(image.data, pixels)
        assert image.label == label
    prepare(dataset, tmp_path / "out", Options(16, encoding="lossless"), workers=1)
    source = PreparedSource(tmp_path / "out")
    batch = source.read(np.arange(5), 16)
    np.testing.assert_array_equal(batch["image"], images)
    assert batch["label"].tolist() == [0, 2, 1, 2, 0]
    assert open_raw("images", folder / "cars-r03.tfrecords").num_images == 5
    few = open_raw("images", folder, labels="auto", max_images=3)
    assert sorted(image.label for image in few.read(0, 9)) == [0, 1, 2], "of every class"
    assert open_raw("images", folder).class_names == ()
    assert open_images(folder).count == 5


def test_damaged_tfrecords_are_a_sentence(records):
    folder, _ = records
    file = folder / "cars-r04.tfrecords"
    data = file.read_bytes()
    for changed, words in (
        (b"", "is empty"),
        (data[:-3], "is cut short"),
        (data[:5], "is damaged at byte 0"),
        (b"\xff" + data[1:], "is no file of TFRecords, or is damaged at byte 0"),
    ):
        file.write_bytes(changed)
        with pytest.raises(DataError, match=words):
            open_raw("images", folder)
    at = data.index(b"shape") + 12
    file.write_bytes(data[:at] + bytes([data[at] ^ 7]) + data[at + 1 :])
    problems = [image.problem for image in open_raw("images", folder).read(0, 9)]
    assert problems[0] and not any(problems[1:]), "the others are read"
    (folder / "dogs-r02.tfrecords").write_bytes(data)
    with pytest.raises(DataError, match=r"several sets of TFRecords \(cars, dogs\); give the path of one file"):
        open_raw("images", folder)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.eye(3, dtype=np.float32)[:2], r"labels of shape \(2, 3\) do not fit 5 images"),
        (np.ones((5, 3), np.float32), "its rows are not one-hot"),
        (np.full(5, -1), "labels must be whole numbers from 0"),
        (np.array([0, 1, 2, 3, 2**40]), "1,099,511,627,777 classes are too many"),
        (np.array([{}] * 5, object), "none of numbers"),
        (np.zeros((5, 3, 2)), "do not fit"),
    ],
)
def test_wrong_labels_of_tfrecords_are_a_sentence(records, table, words):
    folder, _ = records
    with (folder / "cars-rxx.labels").open("wb") as file:
        np.save(file, table, allow_pickle=True)
    with pytest.raises(DataError, match=words):
        open_raw("images", folder, labels="auto")
    with pytest.raises(DataError, match="TFRecords have theirs in cars-rxx.labels; give auto or none"):
        open_raw("images", folder, labels="folders")


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra heic")
    x = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.stack([np.tile(x, (48, 1)), np.tile(x[:48, None], (1, 64)), np.full((48, 64), 90, np.uint8)], axis=-1)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "photo.HEIC", quality=95)
    dataset = ImageFilesDataset(tmp_path)
    (image,) = dataset.read(0, 9)
    decoded = np.asarray(imaging.decode(image.data, 3))
    assert decoded.shape == pixels.shape
    assert np.abs(decoded.astype(int) - pixels).mean() < 3
