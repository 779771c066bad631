"""Raw data that changes after it was prepared, and prepared data that is replaced: never trained on unnoticed."""

import dataclasses
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from stylegen.config import Config, DataConfig
from stylegen.data import DataError, open_source
from stylegen.data.prepared.manifest import MANIFEST_NAME, checksum, read_manifest
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.raw.opening import ToyDataset, open_raw
from tests.support.icc import DISPLAY_P3, rgb_profile


def config(path, source="images", **fields):
    return Config(resolution=8, data=DataConfig(source=source, path=str(path)), **fields)


@pytest.fixture
def make_photos(tmp_path, photo):
    """Writes images 0 to count - 1 into a folder."""

    def make(count, first=0, folder=tmp_path / "photos", form="png"):
        folder.mkdir(exist_ok=True)
        for i in range(first, first + count):
            photo(i).save(folder / f"{i}.{form}")
        return folder

    return make


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def keys(source):
    from stylegen.data.prepared.records import tf_example_pb2

    records = source._reader(8).read(np.arange(source.num_images))
    return [tf_example_pb2.Example.FromString(r).features.feature["key"].bytes_list.value[0].decode() for r in records]


def test_images_that_are_added_are_trained_on_by_a_new_run(make_photos, tmp_path, capsys):
    folder = make_photos(3)
    assert open_source(config(folder), renew=True).num_images == 3
    make_photos(12, first=3)
    capsys.readouterr()
    assert open_source(config(folder), renew=True).num_images == 15
    said = capsys.readouterr().err
    assert "photos has changed since" in said and "(images 3, not 15): preparing it anew" in said
    assert open_source(config(folder), renew=True).num_images == 15
    assert "preparing it anew" not in capsys.readouterr().err


def test_images_that_are_deleted_leave_the_prepared_data(make_photos, tmp_path):
    folder = make_photos(5)
    open_source(config(folder), renew=True)
    (folder / "2.png").unlink()
    assert keys(open_source(config(folder), renew=True)) == ["0.png", "1.png", "3.png", "4.png"]


def test_an_image_replaced_by_one_of_the_same_size_is_noticed(make_photos, tmp_path):
    folder = make_photos(3, form="bmp")
    before = open_source(config(folder), renew=True).fingerprint
    content = (folder / "1.bmp").read_bytes()
    os.utime(folder / "1.bmp", ns=(0, 1))
    (folder / "1.bmp").write_bytes(content[:-300] + bytes(300))
    assert open_source(config(folder), renew=True).fingerprint != before


def test_a_resumed_run_refuses_data_that_has_changed_and_deletes_nothing(make_photos, tmp_path):
    folder = make_photos(3)
    before = open_source(config(folder)).fingerprint
    make_photos(1, first=3)
    out = tmp_path / "stylegen-photos-8"
    with pytest.raises(
        DataError, match=rf"is not what {out} was prepared of \(images 3, not 4\). Set data.path {out} to"
    ):
        open_source(config(folder))
    assert open_source(config(out)).fingerprint == before


def test_a_folder_that_is_named_for_prepared_data_is_never_deleted(make_photos, tmp_path):
    folder, other = make_photos(3), make_photos(2, first=7, folder=tmp_path / "other")
    out = tmp_path / "p"
    prepare(open_raw("images", folder), out, Options(8), workers=1)
    run_config = Config(resolution=8, data=DataConfig(source="images", path=str(other), prepared=str(out)))
    with pytest.raises(DataError, match=r"\(images 3, not 2\).* or set data.prepared to another folder"):
        open_source(run_config, renew=True)
    assert read_manifest(out).num_images == 3


def test_an_interrupted_preparation_of_data_that_changed_since_begins_anew(make_photos, tmp_path, monkeypatch):
    folder = make_photos(3)
    monkeypatch.setattr("stylegen.data.prepared.prepare._finish", lambda *_: pytest.fail("stop"))
    with pytest.raises(pytest.fail.Exception):
        open_source(config(folder), renew=True)
    monkeypatch.undo()
    make_photos(2, first=3)
    assert open_source(config(folder), renew=True).num_images == 5


def test_two_zips_in_one_folder_are_two_data_sets(make_photos, tmp_path):
    cats = zipped(make_photos(3, folder=tmp_path / "a"), tmp_path / "cats.zip")
    dogs = zipped(make_photos(3, first=3, folder=tmp_path / "b"), tmp_path / "dogs.zip")
    assert keys(open_source(config(cats), renew=True)) == ["0.png", "1.png", "2.png"]
    assert keys(open_source(config(dogs), renew=True)) == ["3.png", "4.png", "5.png"]
    assert {path.name for path in tmp_path.glob("stylegen-*")} == {"stylegen-cats.zip-8", "stylegen-dogs.zip-8"}
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match=r"text.zip: cannot be read as a zip archive: it is text"):
        open_source(config(tmp_path / "text.zip"), renew=True)


def test_a_zip_is_known_by_its_checksums(make_photos, tmp_path):
    folder = make_photos(2, form="bmp")
    before = ImageFilesDataset(zipped(folder, tmp_path / "in.zip")).identity
    os.utime(folder / "0.bmp", (0, 1e9))
    assert ImageFilesDataset(zipped(folder, tmp_path / "in.zip")).identity == before
    content = (folder / "0.bmp").read_bytes()
    (folder / "0.bmp").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert ImageFilesDataset(zipped(folder, tmp_path / "in.zip")).identity != before


def test_prepared_data_lies_beside_the_photographs(make_photos, tmp_path, monkeypatch):
    folder = make_photos(3)
    open_source(config(folder), renew=True)
    assert sorted(os.listdir(folder)) == ["0.png", "1.png", "2.png"]
    assert (tmp_path / "stylegen-photos-8" / MANIFEST_NAME).is_file()
    monkeypatch.chdir(folder)
    open_source(config("."), renew=True)
    assert sorted(os.listdir(tmp_path)) == ["photos", "stylegen-photos-8"]


def test_what_training_writes_into_a_folder_is_not_listed(make_photos, photo):
    folder = make_photos(3)
    for name, files in {"p": ["prepared.json"], "run": ["config.json", "checkpoints/1"], "b": [".preparing/x"]}.items():
        for file in files:
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_text("")
        photo(9).save(folder / name / "fakes.png")
    assert ImageFilesDataset(folder).num_images == 3


def _as_earlier(out):
    """What an earlier version would have written."""
    fields = json.loads((out / MANIFEST_NAME).read_text())
    fields.pop("shard_checksums")
    fields.pop("crc32")
    fields["settings"]["identity"].pop("hash of times or checksums")
    (out / MANIFEST_NAME).write_text(json.dumps(fields))


def test_data_that_an_earlier_version_prepared_is_used_and_that_is_said(make_photos, tmp_path, capsys):
    folder = make_photos(3)
    prepare(open_raw("images", folder), folder / "stylegen-8", Options(8), workers=1)
    _as_earlier(folder / "stylegen-8")
    capsys.readouterr()
    source = open_source(config(folder))
    assert source.folder == folder / "stylegen-8"
    assert "was prepared by an earlier version, which noted no times and checksums" in capsys.readouterr().err
    make_photos(1, first=3)  # and not where the data is another one
    with pytest.raises(DataError, match=r"is not what .*stylegen-8 was prepared of \(images 3, not 4\)"):
        open_source(config(folder))
    assert open_source(config(folder), renew=True).folder == tmp_path / "stylegen-photos-8"
    assert "stylegen-8, which an earlier version prepared, holds other images than" in capsys.readouterr().err


def test_a_zip_does_not_use_what_an_earlier_version_prepared_of_another(make_photos, tmp_path):
    cats = zipped(make_photos(3, folder=tmp_path / "a"), tmp_path / "cats.zip")
    dogs = zipped(make_photos(3, first=3, folder=tmp_path / "b"), tmp_path / "dogs.zip")
    prepare(open_raw("images", cats), tmp_path / "stylegen-8", Options(8), workers=1)
    _as_earlier(tmp_path / "stylegen-8")
    assert open_source(config(cats)).folder == tmp_path / "stylegen-8"
    assert keys(open_source(config(dogs))) == ["3.png", "4.png", "5.png"]


def test_an_lsun_archive_of_the_same_size_is_known_by_its_contents(make_lsun, photo, to_bytes, tmp_path):
    def archive(seed):
        shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)  # a database keeps what was in it
        values = [to_bytes(photo(seed + i), "BMP") for i in range(3)]
        return open_raw("lsun", make_lsun(values)).identity

    first, again, other = archive(0), archive(0), archive(5)
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"hash of the first megabyte"}


def test_prepared_data_whose_archive_is_gone_is_used_and_that_is_said(make_lsun, photo_bytes, tmp_path, capsys):
    archive = make_lsun(photo_bytes(3))
    open_source(config(tmp_path, "lsun"))
    archive.unlink()
    assert open_source(config(tmp_path, "lsun")).num_images == 3
    assert "Taking what was prepared of it before" in capsys.readouterr().err


@pytest.fixture
def two_prepared(tmp_path):
    """Two data sets of as many images of the same sizes."""
    folders = [tmp_path / name for name in "ab"]
    for number, folder in enumerate(folders):
        dataset = ToyDataset(6, 8)
        if number:  # the same drawn rooms in another order
            dataset.read = lambda start, stop: iter(list(ToyDataset(6, 8).read(0, 6))[::-1][start:stop])
        prepare(dataset, folder, Options(8), workers=1)
    return folders


def test_shards_of_other_data_under_the_same_manifest_are_refused(two_prepared):
    a, b = two_prepared
    for shard in (a / "0008").glob("*.array_record*"):
        shard.write_bytes((b / "0008" / shard.name).read_bytes())
    assert shard.stat().st_size == (b / "0008" / shard.name).stat().st_size
    with pytest.raises(DataError, match="is not the file that was prepared: it is damaged, or was replaced"):
        open_source(config(a))
    with pytest.raises(DataError, match="is not the file that was prepared"):  # while a run goes on, too
        PreparedSource(a).read(np.arange(6), 8)


def test_resolutions_that_are_not_trained_at_need_not_be_there(tmp_path):
    prepare(ToyDataset(6, 32), tmp_path, Options(32), workers=1)
    next((tmp_path / "0032").glob("*.array_record*")).unlink()
    shutil.rmtree(tmp_path / "0008")
    source = open_source(dataclasses.replace(config(tmp_path), resolution=16))
    assert source.read(np.arange(6), 16)["image"].shape == (6, 16, 16, 3)
    with pytest.raises(DataError, match="is missing; prepare the data again"):
        source.read(np.arange(6), 8)


def test_other_prepared_data_in_the_same_place_has_another_fingerprint(two_prepared):
    a, b = two_prepared
    assert PreparedSource(a).fingerprint != PreparedSource(b).fingerprint


@pytest.mark.parametrize("content", [b"", b"\0" * 70_000])
def test_shards_that_are_emptied_are_a_sentence(two_prepared, content):
    a, _ = two_prepared
    next((a / "0008").glob("*.array_record*")).write_bytes(content)
    with pytest.raises(DataError, match="is not the file that was prepared"):
        open_source(config(a))


def test_shards_of_another_size_without_checksums_are_a_sentence(tmp_path):
    for resolution in (8, 16):
        prepare(ToyDataset(6, resolution), tmp_path / str(resolution), Options(resolution), workers=1)
    small, large = (next((tmp_path / name).rglob("*.array_record*")) for name in ("8/0008", "16/0016"))
    small.write_bytes(large.read_bytes())
    fields = json.loads((tmp_path / "8" / MANIFEST_NAME).read_text())
    del fields["crc32"]
    (tmp_path / "8" / MANIFEST_NAME).write_text(json.dumps({**fields, "shard_checksums": {}}))
    with pytest.raises(DataError, match="0008 hold something else than was prepared .*; prepare the data again"):
        PreparedSource(tmp_path / "8").read(np.arange(6), 8)


def test_a_shard_emptied_while_it_is_read_is_a_sentence(tmp_path):
    prepare(ToyDataset(6, 8), tmp_path, Options(8), workers=1)
    source = PreparedSource(tmp_path)
    source.read(np.arange(6), 8)
    next((tmp_path / "0008").glob("*.array_record*")).write_bytes(b"")
    with pytest.raises(DataError, match=r"is damaged|hold something else"):
        source.read(np.arange(6), 8)


def test_a_manifest_whose_checksums_are_of_other_shards_is_a_sentence(two_prepared):
    a, _ = two_prepared
    fields = json.loads((a / MANIFEST_NAME).read_text())
    del fields["crc32"]
    (a / MANIFEST_NAME).write_text(json.dumps({**fields, "shard_checksums": {"8": ["x", "y"]}}))
    with pytest.raises(DataError, match="not every shard has a checksum"):
        open_source(config(a))


@pytest.mark.parametrize("changed", [slice(0, 1), slice(150_000, 175_000), slice(299_999, 300_000)])
def test_a_checksum_sees_the_beginning_the_end_and_blocks_between(tmp_path, changed):
    content = bytearray(np.random.default_rng(0).bytes(300_000))
    (tmp_path / "a").write_bytes(content)
    content[changed] = bytes(len(content[changed]))
    (tmp_path / "b").write_bytes(content)
    assert checksum(tmp_path / "a") != checksum(tmp_path / "b")
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes())
    assert checksum(tmp_path / "a") == checksum(tmp_path / "b")


def test_color_profiles_are_converted_or_left_as_asked(tmp_path, to_bytes, capsys):
    (tmp_path / "photos").mkdir()
    image = Image.new("RGB", (8, 8), (230, 90, 60))
    (tmp_path / "photos" / "a.png").write_bytes(to_bytes(image, "PNG", icc_profile=rgb_profile(DISPLAY_P3)))

    def color(prepared, **data):
        run_config = config(tmp_path / "photos")
        data = dataclasses.replace(run_config.data, prepared=str(tmp_path / prepared), **data)
        return open_source(dataclasses.replace(run_config, data=data)).read(np.arange(1), 8)["image"][0, 0, 0].tolist()

    assert color("a") == [249, 77, 45]
    assert color("b", color="as-is") == [230, 90, 60]
    with pytest.raises(DataError, match=r"data.color = 'srgb': .* was prepared with as-is; set data.color to that"):
        color("b")
    fields = json.loads((tmp_path / "b" / MANIFEST_NAME).read_text())
    fields["settings"].pop("color")  # an earlier version knew no profiles
    fields.pop("crc32")
    (tmp_path / "b" / MANIFEST_NAME).write_text(json.dumps(fields))
    assert color("b") == [230, 90, 60]
    prepare(open_raw("images", tmp_path / "photos"), tmp_path / "b", Options(8), workers=1)
    assert "is prepared already" in capsys.readouterr().err
