import functools
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
    dataset = ImageFilesDataset(make_tree(["dog/1.png", "cat/x/2.png", "cat/1.png"], zipped), labels="folders")
    assert dataset.class_names == ("cat", "dog")
    assert [(i.key, i.label) for i in dataset.read(0, 3)] == [("cat/1.png", 0), ("cat/x/2.png", 0), ("dog/1.png", 1)]


def test_the_one_folder_around_a_zip_is_no_class(make_tree):
    dataset = ImageFilesDataset(make_tree(["all/dog/1.png", "all/cat/1.png"], True), labels="folders")
    assert dataset.class_names == ("cat", "dog")


def test_a_single_class_is_one(make_tree):
    assert ImageFilesDataset(make_tree(["dog/1.png", "dog/2.png"], False), labels="folders").class_names == ("dog",)


def test_labels_need_folders(make_tree):
    with pytest.raises(DataError, match=r"has images outside of folders, such as 1\.png"):
        ImageFilesDataset(make_tree(["dog/1.png", "1.png"], False), labels="folders")


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
    dataset = ImageFilesDataset(path)
    assert [bool(image.data) for image in dataset.read(0, 2)] == [False, True]
    monkeypatch.setattr(dataset._container, "read", functools.partial(dataset._container.read, most=10))
    assert [image.data for image in dataset.read(0, 2)] == [b"", b""]


def test_a_picture_that_unpacks_to_a_gigabyte_is_left_out_and_named(tmp_path, photo, to_bytes, monkeypatch):
    monkeypatch.setattr("stylegen.data.raw.containers.BOMB_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", to_bytes(photo(0), "PNG") + bytes(10**7))
        archive.writestr("photo.png", to_bytes(photo(1), "PNG"))
    monkeypatch.setattr(zipfile.ZipFile, "read", _refuse_large(zipfile.ZipFile.read))
    bomb, image = ImageFilesDataset(tmp_path / "in.zip").read(0, 2)
    assert (bomb.key, bomb.data) == ("bomb.png", b"") and "unpack to 10.0 MB: a decompression bomb" in bomb.problem
    assert image.data and not image.problem


def _refuse_large(read):
    def checked(archive, name):
        member = name if isinstance(name, zipfile.ZipInfo) else archive.getinfo(name)
        assert member.file_size < 10**6, "it must not be unpacked to find out"
        return read(archive, name)

    return checked


def test_a_sample_is_read_one_by_one(make_tree, monkeypatch):
    dataset = ImageFilesDataset(make_tree(["1.png", "2.png", "3.png"], False))
    reads = []
    monkeypatch.setattr(dataset, "_read_file", lambda key: reads.append(key) or b"")
    sample = iter(dataset.sample(3))
    next(sample)
    assert reads == ["1.png"]


def test_links_are_followed_and_what_is_not_read_is_said(make_tree, tmp_path, monkeypatch):
    monkeypatch.setattr("stylegen.io.image_listing.reads_heif", lambda: False)
    folder = make_tree(["a.png", "b.HEIC", "deep/d.png"], False)
    (tmp_path / "elsewhere" / "more").mkdir(parents=True)
    (tmp_path / "elsewhere" / "more" / "e.png").write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere" / "more")
    (folder / "deep" / "loop").symlink_to(folder / "deep")
    (folder / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "c.png").symlink_to(folder / "a.png")
    dataset = ImageFilesDataset(folder)
    assert [image.key for image in dataset.read(0, 9)] == ["a.png", "again/e.png", "c.png", "deep/d.png"]
    assert dataset.note == (
        f"{folder}: 1 file that is no image was left out, such as b.HEIC. HEIC is read with an extra: pip install"
        f' "stylegen[heic]", or convert it to JPEG or PNG first. {folder}: 1 link leads to nothing and was left out,'
        f" such as gone.png. {folder}: 2 links lead to a folder that is read already and were left out, such as"
        " deep/loop."
    )


def test_a_link_that_leads_to_itself_is_no_folder(make_tree):
    folder = make_tree(["a.png"], False)
    (folder / "self").symlink_to(folder / "self")
    assert ImageFilesDataset(folder).num_images == 1


def test_kinds_of_files_that_are_left_out_are_counted(make_tree):
    names = ["a.png", "b.txt", "c.TXT", "d.psd", "README"]
    note = ImageFilesDataset(make_tree(names, False)).note
    assert note.endswith(
        "4 files that are no images were left out: 2 .txt (b.txt), 1 without an ending (README), 1 .psd (d.psd)."
    )


def test_archives_in_a_folder_are_to_be_unpacked(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "in.tar").write_text("")
    with pytest.raises(
        DataError, match=r"holds no images .*such as in.tar. Archives in a folder are not opened: unpack"
    ):
        ImageFilesDataset(tmp_path / "in")


def test_classes_are_in_natural_order(make_tree):
    names = ["10/a.png", "2/a.png", "1/a.png"]
    dataset = ImageFilesDataset(make_tree(names, False), labels="folders")
    assert dataset.class_names == ("1", "2", "10")
    assert [(image.key, image.label) for image in dataset.read(0, 3)] == [
        ("1/a.png", 0),
        ("2/a.png", 1),
        ("10/a.png", 2),
    ]


@pytest.mark.parametrize("zipped", [True, False])
def test_few_images_are_of_all_classes(make_tree, zipped):
    path = make_tree([*(f"a/{i}.png" for i in range(5)), *(f"b/{i}.png" for i in range(3)), "c/0.png"], zipped)
    dataset = ImageFilesDataset(path, labels="folders", max_images=6)
    assert [image.key for image in dataset.read(0, 9)] == [
        "a/0.png",
        "a/1.png",
        "a/2.png",
        "b/0.png",
        "b/1.png",
        "c/0.png",
    ]
    assert [image.label for image in dataset.read(0, 9)] == [0, 0, 0, 1, 1, 2]
    first = ImageFilesDataset(path, max_images=6)
    assert [image.key for image in first.read(0, 9)] == [*(f"a/{i}.png" for i in range(5)), "b/0.png"]


def test_folders_that_are_splits_are_said(make_tree):
    dataset = ImageFilesDataset(make_tree(["train/cat/1.png", "val/cat/1.png"], False), labels="folders")
    assert "its classes are train, val, which look like splits" in dataset.note


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
    dataset = ImageFilesDataset(make_tree(["dog\\1.png", "cat\\x\\2.png"], True), labels="folders")
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


def test_control_characters_of_names_are_escaped(make_tree):
    path = make_tree(["1.png", "\x1b[31mevil.txt"], True)
    note = ImageFilesDataset(path).note
    assert "\\x1b[31mevil.txt" in note and "\x1b" not in note
