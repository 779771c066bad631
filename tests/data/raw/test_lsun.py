import pickle
import zipfile

import lmdb
import pytest

from stylegen.data import DataError
from stylegen.data.raw.lsun import LsunDataset, find_archive
from stylegen.io.progress import Progress


def test_images_come_in_the_order_of_their_keys_from_any_start(make_lsun, tmp_path, photo_bytes):
    dataset = LsunDataset(make_lsun(photo_bytes(30)))
    dataset.unpack(tmp_path / "work", Progress())
    in_order = [(image.key, image.data) for image in dataset.read(0, 30)]
    assert [key for key, _ in in_order] == sorted(key for key, _ in in_order) and len(in_order) == 30
    sent = pickle.loads(pickle.dumps(dataset))
    in_chunks = [(i.key, i.data) for start in (0, 7, 14, 21, 28) for i in sent.read(start, min(start + 7, 30))]
    assert in_chunks == in_order
    assert [i.key for i in sent.read(3, 5)] == [key for key, _ in in_order[3:5]]  # backwards, too


@pytest.mark.parametrize(
    ("name", "category", "split"),
    [
        ("bedroom_train_lmdb", "bedroom", "train"),
        ("dining_room_val_lmdb", "dining_room", "val"),
        ("cat", "cat", "train"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_category_and_split_are_read_off_the_archive(make_lsun, tmp_path, name, category, split, zipped, photo_bytes):
    path = make_lsun(photo_bytes(3), name, zipped)
    dataset = LsunDataset(path)
    assert (dataset.identity["category"], dataset.split, dataset.num_images) == (category, split, 3)
    assert dataset.name == f"lsun_{category}"
    assert find_archive(path.parent, category, split) == path


def test_a_renamed_zip_is_still_known(make_lsun, tmp_path, photo_bytes):
    path = make_lsun(photo_bytes(2)).rename(tmp_path / "download (1).zip")
    assert LsunDataset(path).identity["category"] == "bedroom"


def test_only_the_first_images(make_lsun, photo_bytes):
    assert LsunDataset(make_lsun(photo_bytes(5)), max_images=2).num_images == 2
    assert LsunDataset(make_lsun(photo_bytes(5)), max_images=9).num_images == 5


def test_images_are_sampled_without_unpacking(make_lsun, photo_bytes):
    values = photo_bytes(8, (200, 160))
    sample = LsunDataset(make_lsun(values)).sample(5)
    assert len(sample) == 5
    assert all(any(image.data.startswith(value) for value in values) for image in sample)


def test_unpacking_is_atomic_and_done_once(make_lsun, tmp_path, monkeypatch, photo_bytes):
    dataset = LsunDataset(make_lsun(photo_bytes(3)))
    monkeypatch.setattr(Progress, "update", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        dataset.unpack(tmp_path / "work", Progress())
    assert not (tmp_path / "work" / "lsun").exists()
    monkeypatch.undo()
    dataset.unpack(tmp_path / "work", Progress())
    monkeypatch.setattr(Progress, "update", _interrupt)
    dataset.unpack(tmp_path / "work", Progress())  # nothing left to do


def _interrupt(self, text):
    raise KeyboardInterrupt


def test_what_is_no_archive_is_refused_with_a_sentence(make_lsun, tmp_path):
    text = tmp_path / "bedroom_train_lmdb.zip"
    text.write_text("<html>not found</html>")
    with pytest.raises(DataError, match="is not an LSUN archive: it is no zip file, or it is cut short"):
        LsunDataset(text)
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="is not an LSUN archive: it has no data.mdb in it, where one is wanted.$"):
        LsunDataset(text)
    with zipfile.ZipFile(text, "a") as archive:  # as NVIDIA's dataset_tool.py makes one of LSUN's images
        archive.writestr("00000/img00000000.png", b"")
    with pytest.raises(DataError, match="Its images are read by `prepare images`"):
        LsunDataset(text)
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("x/data.mdb", b"\0" * 9999)
    with pytest.raises(DataError, match=r"its data\.mdb is no LMDB database"):
        LsunDataset(text)
    with pytest.raises(DataError, match=r"there is no data\.mdb in it"):
        LsunDataset(tmp_path)
    with pytest.raises(DataError, match=r"is empty: its data\.mdb has no images"):
        LsunDataset(make_lsun([], "cat"))
    with pytest.raises(DataError, match="holds none of bedroom_val_lmdb, bedroom_val_lmdb.zip; give"):
        find_archive(tmp_path, "bedroom", "val")


def test_a_database_that_is_cut_short_is_refused_before_it_kills_the_process(make_lsun, photo_bytes):
    folder = make_lsun(photo_bytes(20, (200, 160)), zipped=False)
    data = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is cut short: its data.mdb has .* of .*; download it again"):
        LsunDataset(folder)


def test_a_zip_that_is_damaged_inside_is_refused(make_lsun, tmp_path, photo_bytes, monkeypatch):
    path = make_lsun(photo_bytes(20, (200, 160)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged .*; download it again"):
        LsunDataset(path)
    monkeypatch.setattr("stylegen.data.raw.lsun._IDENTITY_BYTES", 8192)  # the damage is behind what is read at first
    dataset = LsunDataset(path)
    with pytest.raises(DataError, match="is damaged .*; download it again"):
        dataset.unpack(tmp_path / "work", Progress())
    assert not (tmp_path / "work" / "lsun").exists()


def test_a_database_with_a_damaged_page_is_refused(make_lsun, photo_bytes):
    folder = make_lsun(photo_bytes(200, (30, 30)), zipped=False)
    with lmdb.open(str(folder), readonly=True, lock=False) as database:
        assert database.stat()["depth"] > 1
    data = bytearray((folder / "data.mdb").read_bytes())
    for page in range(2 * 4096, len(data), 4096):
        data[page + 10 : page + 12] = b"\0\0"  # of no kind
    (folder / "data.mdb").write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        list(LsunDataset(folder).read(0, 200))


def test_the_development_archive(lsun_folder):
    dataset = LsunDataset(lsun_folder / "bedroom_val_lmdb.zip")
    assert (dataset.num_images, dataset.split) == (50, "val")
    assert len(dataset.sample(20)) == 20
