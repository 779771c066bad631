import pickle
import zipfile

import pytest

from stylegen.data import DataError, imaging
from stylegen.data.raw.image_files import ImageFilesDataset


@pytest.fixture
def make_tree(tmp_path, photo, to_bytes):
    """Writes files as a folder or a zip; names that end in .png are images."""

    def make(names, zipped):
        files = {
            name: to_bytes(photo(i), "PNG") if name.endswith((".png", ".PNG")) else b"x" for i, name in enumerate(names)
        }
        if zipped:
            with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
            return tmp_path / "in.zip"
        for name, data in files.items():
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(data)
        return tmp_path / "in"

    return make


@pytest.mark.parametrize("zipped", [True, False])
def test_images_are_found_in_all_folders_and_sorted(make_tree, zipped):
    names = ["b.png", "z/deep/er/a.PNG", "a.png", "notes.txt", ".hidden.png", "__MACOSX/._b.png", ".git/c.png"]
    dataset = ImageFilesDataset(make_tree(names, zipped))
    assert [image.key for image in dataset.read(0, 99)] == ["a.png", "b.png", "z/deep/er/a.PNG"]
    assert [image.key for image in pickle.loads(pickle.dumps(dataset)).read(1, 2)] == ["b.png"]
    assert all(image.label is None and imaging.decode(image.data, 3) for image in dataset.read(0, 3))
    assert dataset.class_names == ()
    assert ImageFilesDataset(dataset.path, max_images=2).num_images == 2
    assert dataset.note == f"{dataset.path}: 1 file that is no image was left out, such as notes.txt."


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_in_names_count_as_numbers(make_tree, zipped):
    dataset = ImageFilesDataset(make_tree(["10.png", "9.png", "f10/1.png", "f9/1.png"], zipped), max_images=3)
    assert [image.key for image in dataset.read(0, 99)] == ["9.png", "10.png", "f9/1.png"]
    assert dataset.note == ""


@pytest.mark.parametrize("zipped", [True, False])
def test_the_top_folders_are_classes(make_tree, zipped):
    dataset = ImageFilesDataset(make_tree(["dog/1.png", "cat/x/2.png", "cat/1.png"], zipped), labels_from_folders=True)
    assert dataset.class_names == ("cat", "dog")
    assert [(i.key, i.label) for i in dataset.read(0, 3)] == [("cat/1.png", 0), ("cat/x/2.png", 0), ("dog/1.png", 1)]


def test_the_one_folder_around_a_zip_is_no_class(make_tree):
    dataset = ImageFilesDataset(make_tree(["all/dog/1.png", "all/cat/1.png"], True), labels_from_folders=True)
    assert dataset.class_names == ("cat", "dog")


def test_a_single_class_is_one(make_tree):
    assert ImageFilesDataset(make_tree(["dog/1.png", "dog/2.png"], False), labels_from_folders=True).class_names == (
        "dog",
    )


def test_labels_need_folders(make_tree):
    with pytest.raises(DataError, match=r"has images outside of folders, such as 1\.png"):
        ImageFilesDataset(make_tree(["dog/1.png", "1.png"], False), labels_from_folders=True)


def test_a_changed_folder_is_another_dataset(make_tree, photo):
    folder = make_tree(["1.png", "2.png"], False)
    before = ImageFilesDataset(folder).identity
    assert ImageFilesDataset(folder).identity == before
    photo(9, (90, 90)).save(folder / "2.png")
    assert ImageFilesDataset(folder).identity != before


def test_nothing_there_is_a_sentence(make_tree, tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        ImageFilesDataset(make_tree(["notes.txt"], False))
    with pytest.raises(DataError, match="holds no images"):
        ImageFilesDataset(make_tree(["notes.txt"], True))
    (tmp_path / "broken.zip").write_text("no zip")
    with pytest.raises(DataError, match="broken.zip: cannot be read as a zip archive: it is text"):
        ImageFilesDataset(tmp_path / "broken.zip")


def test_a_file_that_cannot_be_read_comes_empty(make_tree, monkeypatch):
    path = make_tree(["1.png", "2.png"], True)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # inside of the first file: its checksum is wrong now
    path.write_bytes(data)
    assert [bool(image.data) for image in ImageFilesDataset(path).read(0, 2)] == [False, True]
    monkeypatch.setattr("stylegen.data.raw.image_files.MAX_BYTES", 10)
    assert [image.data for image in ImageFilesDataset(path).read(0, 2)] == [b"", b""]


def changed(path, **fields):
    """A zip whose entries say something else of themselves, locally and in the directory."""
    data = bytearray(path.read_bytes())
    for mark, start in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            for offset, name in enumerate(("flags", "method")):
                if name in fields:
                    data[at + start + 2 * offset] = fields[name]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"flags": 1}, "1.png in it is protected by a password: unpack the archive with it, and give the folder"),
        (
            {"method": 9},
            r"1.png in it is compressed with Deflate64 \(as Windows does with large files\), which is not read",
        ),
    ],
)
def test_a_zip_that_cannot_be_unpacked_says_why(make_tree, fields, words):
    with pytest.raises(DataError, match=words):
        ImageFilesDataset(changed(make_tree(["1.png", "2.png"], True), **fields))


def test_a_zip_of_windows_has_folders(make_tree):
    dataset = ImageFilesDataset(make_tree(["dog\\1.png", "cat\\x\\2.png"], True), labels_from_folders=True)
    assert dataset.class_names == ("cat", "dog")
    assert [(i.key, i.label) for i in pickle.loads(pickle.dumps(dataset)).read(0, 3)] == [
        ("cat/x/2.png", 0),
        ("dog/1.png", 1),
    ]
    assert all(imaging.decode(image.data, 3) for image in dataset.read(0, 2))


def test_what_is_given_for_a_zip_is_named(tmp_path):
    (tmp_path / "in.zip").write_bytes(b"Rar!\x1a\x07\x00 and more")
    with pytest.raises(DataError, match="in.zip: cannot be read as a zip archive: it is RAR: unpack it first"):
        ImageFilesDataset(tmp_path / "in.zip")
