"""Copying prepared data: resumed where it was, every shard verified."""

import shutil

import pytest

from stylegen.cli import prepare as verb
from stylegen.data.prepared import copy as copying
from stylegen.data.prepared.manifest import read_manifest
from stylegen.data.source import DataError
from stylegen.io import objects
from stylegen.io.objects import Store
from tests.support.stores import Faulty


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "data"
    assert verb.main(["toy_bedrooms", "--out", str(folder), "--resolution", "16", "--num-images", "20"]) == 0
    return folder


@pytest.fixture
def url(prepared, monkeypatch):
    monkeypatch.setattr(objects, "FIRST_WAIT", 0.001)
    url = Faulty.reset()
    for path in prepared.rglob("*"):
        if path.is_file():
            Store(url).put(path, path.relative_to(prepared).as_posix())
    return url


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_the_same_from_a_folder_and_from_a_store(prepared, url, tmp_path, capsys):
    for number, source in enumerate((str(prepared), url)):
        out = tmp_path / str(number)
        assert verb.main(["copy", source, "--out", str(out)]) == 0
        assert contents(out) == contents(prepared)
        assert f"20 images, verified. Train with --data.path {out}" in capsys.readouterr().out


def test_a_copy_that_was_interrupted_goes_on(prepared, url, tmp_path, monkeypatch):
    fetched, get = [], Store.get

    def record(self, name, path):
        if len(fetched) == 2:
            raise KeyboardInterrupt
        fetched.append(name)
        get(self, name, path)

    monkeypatch.setattr(copying, "THREADS", 1)
    monkeypatch.setattr(Store, "get", record)
    with pytest.raises(KeyboardInterrupt):
        copying.copy(url, tmp_path / "out")
    assert not (tmp_path / "out" / "prepared.json").exists()
    before = set(fetched)
    assert len(before) == 2
    fetched[:] = ["again"] * 4
    copying.copy(url, tmp_path / "out")
    assert not before & set(fetched) and contents(tmp_path / "out") == contents(prepared)


def test_damage_is_found_and_mended(prepared, url, tmp_path):
    out = tmp_path / "out"
    copying.copy(url, out)
    (shard,) = read_manifest(out).shard_paths(out, 16)
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    copying.copy(url, out)
    assert shard.read_bytes() == good
    name = shard.relative_to(out).as_posix()
    Store(url).write(name, good[:-1] + bytes([good[-1] ^ 1]))
    shutil.rmtree(out)
    with pytest.raises(DataError, match="is not the file that was prepared"):
        copying.copy(url, out)
    assert not (out / "prepared.json").exists()


def test_only_the_resolutions_that_are_needed(url, tmp_path):
    copying.copy(url, tmp_path / "out", resolution=8)
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert "0008" in folders and "0016" not in folders


def test_other_data_is_not_mixed_in(url, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds letter.txt, which is not of"):
        copying.copy(url, out)
    with pytest.raises(DataError, match="holds no prepared data"):
        copying.copy(str(tmp_path), tmp_path / "other")
    (out / "letter.txt").rename(out / ".prepared.json.4194305.partial")  # of a copy that was killed
    copying.copy(url, out)


def test_a_smaller_resolution_than_there_is_copies_the_smallest(prepared, tmp_path):
    out = tmp_path / "out"
    manifest = copying.copy(str(prepared), out, resolution=4)
    smallest = f"{manifest.settings.resolutions[0]:04}"
    assert {path.name for path in out.iterdir()} == {smallest, "prepared.json"}
    assert contents(out / smallest) == contents(prepared / smallest)


def test_a_folder_with_something_else_is_left_as_it_was(prepared, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds thesis.txt"):
        copying.copy(str(prepared), tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}
