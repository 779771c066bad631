"""The whole of preparing, from raw images to what TFDS and training read."""

import json
import os
import sys
import zipfile

import numpy as np
import pytest

from stylegen.data import DataError, imaging
from stylegen.data.prepared import shards as writer
from stylegen.data.prepared.manifest import read_manifest
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw.lsun import LsunDataset
from stylegen.data.raw.opening import ToyDataset, open_raw
from stylegen.io.progress import Progress
from tests.support.pyramids import contents, everything


def test_what_reading_costs_follows_how_images_are_stored(make_lsun, photo_bytes, tmp_path):
    costs = {}
    for encoding in ("raw", "jpeg", "lossless"):
        prepare(LsunDataset(make_lsun(photo_bytes(2))), tmp_path / encoding, Options(16, encoding=encoding), workers=1)
        source = PreparedSource(tmp_path / encoding)
        costs[encoding] = source.read_seconds(16)
        assert source.read_seconds(4) == source.read_seconds(8) < source.read_seconds(16)  # 8 is the smallest stored
    assert costs["raw"] < costs["jpeg"] and costs["raw"] < costs["lossless"]


def test_an_lsun_archive_becomes_a_pyramid(make_lsun, photo_bytes, tmp_path):
    values = photo_bytes(6, (90, 70))
    out = tmp_path / "out"
    manifest = prepare(LsunDataset(make_lsun(values)), out, Options(64), workers=1)
    assert (manifest.num_images, manifest.unreadable, manifest.upscaled) == (6, 0, 0)
    assert sorted(os.listdir(out)) == ["0008", "0016", "0032", "0064", "prepared.json"]
    assert read_manifest(out) == manifest

    dataset = LsunDataset(make_lsun(values))
    dataset.unpack(tmp_path, Progress())
    squares = [imaging.crop_and_resize(imaging.decode(i.data, 3), 64, "center-crop") for i in dataset.read(0, 6)]
    levels = [imaging.pyramid(square, (8, 16, 32, 64)) for square in squares]
    for r in (8, 16, 32, 64):
        np.testing.assert_array_equal(everything(out, r)["image"], [level[r] for level in levels])


@pytest.mark.parametrize(("encoding", "channels"), [("raw", 3), ("jpeg", 3), ("jpeg", 1), ("lossless", 4), ("raw", 2)])
def test_tfds_reads_the_same_images(make_lsun, photo_bytes, tmp_path, encoding, channels):
    import tensorflow_datasets as tfds

    dataset = LsunDataset(make_lsun(photo_bytes(5)))
    prepare(dataset, tmp_path / "out", Options(32, 16, channels, encoding=encoding), workers=1)
    for r in (16, 32):
        builder = tfds.builder_from_directory(str(tmp_path / "out" / f"{r:04d}"))
        data = builder.as_data_source("train")
        assert builder.info.name == "lsun_bedroom" and builder.info.splits["train"].num_examples == len(data) == 5
        stored = everything(tmp_path / "out", r)["image"]
        for example, image in zip(data, stored, strict=True):
            assert set(example) == {"key", "image"} and len(example["key"]) == 40
            np.testing.assert_array_equal(example["image"], image)
    assert "tensorflow" not in sys.modules


def test_labels_are_kept_and_known_to_tfds(tmp_path):
    import tensorflow_datasets as tfds

    prepare(ToyDataset(12, 16), tmp_path, Options(16), workers=1)
    builder = tfds.builder_from_directory(str(tmp_path / "0016"))
    labels = [example["label"] for example in builder.as_data_source("train")]
    assert everything(tmp_path, 8)["label"].tolist() == labels
    assert tuple(builder.info.features["label"].names) == PreparedSource(tmp_path).class_names
    assert len(set(labels)) > 2


def test_encodings_follow_the_size():
    options = Options(512)
    assert [options.encoding_at(r) for r in (8, 128, 256, 512)] == ["raw", "raw", "jpeg", "jpeg"]
    assert Options(256, image_channels=4).encoding_at(256) == "lossless"
    assert Options(256, image_channels=2).encoding_at(256) == "raw"
    assert Options(256, encoding="lossless").encoding_at(8) == "lossless"


def test_wrong_options_are_sentences():
    for arguments, sentence in [
        ({"resolution": 100}, "resolution = 100: must be a power of two from 4 to 1024"),
        ({"resolution": 64, "start_resolution": 12}, "start_resolution = 12"),
        ({"resolution": 64, "image_channels": 5}, "image_channels = 5"),
        ({"resolution": 64, "image_channels": 4, "encoding": "jpeg"}, "JPEG has no alpha"),
        ({"resolution": 64, "image_channels": 2, "encoding": "lossless"}, "stored raw only"),
    ]:
        with pytest.raises(DataError, match=sentence):
            Options(**arguments)


def test_the_number_of_workers_does_not_matter(make_lsun, photo_bytes, tmp_path, small_shards):
    dataset = LsunDataset(make_lsun(photo_bytes(11)))
    for workers in (1, 2):
        prepare(dataset, tmp_path / str(workers), Options(16), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(read_manifest(tmp_path / "2").shard_lengths) == 3


def test_the_same_command_twice_does_nothing(make_lsun, photo_bytes, tmp_path, monkeypatch, capsys):
    dataset = LsunDataset(make_lsun(photo_bytes(3)))
    first = prepare(dataset, tmp_path / "out", Options(16), workers=1)
    monkeypatch.setattr(writer, "write_shard", lambda *_: pytest.fail("nothing was left to do"))
    assert prepare(dataset, tmp_path / "out", Options(16), workers=1) == first
    assert "is prepared already: 3 images" in capsys.readouterr().err


def test_other_settings_in_the_same_folder_are_named(make_lsun, photo_bytes, tmp_path):
    dataset, out = LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "out"
    prepare(dataset, out, Options(16), workers=1)
    before = contents(out)
    for other, sentence in [
        (
            Options(32),
            "holds another preparation: resolution 16, not 32; choose another folder, or start anew with --over",
        ),
        (Options(16, crop="center-crop-wide"), "crop center-crop, not center-crop-wide"),
        (Options(16, encoding="jpeg"), "encoding at 8 raw, not jpeg"),
        (Options(16, image_channels=1), "image_channels 3, not 1"),
    ]:
        with pytest.raises(DataError, match=sentence):
            prepare(dataset, out, other, workers=1)
    with pytest.raises(DataError, match="category bedroom, not cat"):
        prepare(LsunDataset(make_lsun(photo_bytes(3), "cat")), out, Options(16), workers=1)
    assert contents(out) == before
    prepare(dataset, out, Options(32), workers=1, overwrite=True)
    assert PreparedSource(out).resolutions == (8, 16, 32)


def test_a_folder_with_other_things_is_left_alone(make_lsun, photo_bytes, tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("do not touch")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"holds other files, such as thesis\.txt; choose an empty or a new folder"):
            prepare(LsunDataset(make_lsun(photo_bytes(3))), out, Options(16), workers=1, overwrite=overwrite)
    assert os.listdir(out) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("shard_lengths", ["2"], r"shard_lengths is \['2'\]"),
        ("shard_lengths", [1], "its shards hold 1 images, and it says 3"),
        ("shard_lengths", [4, -1], "its shards hold 3 images"),
        ("num_images", True, "num_images is True"),
        ("bytes_on_disk", {"8": "many"}, "bytes_on_disk is"),
        ("name", 7, "name is 7"),
    ],
)
def test_a_manifest_of_other_things_is_a_sentence(make_lsun, photo_bytes, tmp_path, field, value, words):
    prepare(LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "out", Options(8), workers=1)
    path = tmp_path / "out" / "prepared.json"
    fields = {**json.loads(path.read_text()), field: value}
    del fields["crc32"]  # or that would be what is wrong
    if field == "shard_lengths":
        del fields["shard_checksums"]
    path.write_text(json.dumps(fields))
    with pytest.raises(DataError, match=rf"prepared.json cannot be read \({words}.*; prepare it again"):
        read_manifest(tmp_path / "out")


def test_the_manifest_says_how_it_was_made(make_lsun, photo_bytes, tmp_path):
    prepare(LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "out", Options(16), workers=1)
    fields = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert fields["settings"]["identity"]["category"] == "bedroom"
    assert fields["settings"]["crop"] == "center-crop"
    assert fields["settings"]["encodings"] == {"8": "raw", "16": "raw"}
    assert len(fields["fingerprint"]) == 32
    assert str(tmp_path) not in json.dumps(fields)


def test_a_damaged_folder_is_a_sentence(make_lsun, photo_bytes, tmp_path):
    out = tmp_path / "out"
    prepare(LsunDataset(make_lsun(photo_bytes(3))), out, Options(16), workers=1)
    shard = next((out / "0016").glob("*.array_record*"))
    complete = shard.read_bytes()
    shard.write_bytes(complete[:50])
    with pytest.raises(DataError, match="is not the file that was prepared: it is damaged, or was replaced"):
        everything(out, 16)
    fields = json.loads((out / "prepared.json").read_text())
    del fields["shard_checksums"], fields["crc32"]  # as earlier versions wrote it
    (out / "prepared.json").write_text(json.dumps(fields))
    with pytest.raises(DataError, match="holds 0 images where 3 were written; it is damaged"):
        everything(out, 16)
    shard.unlink()
    with pytest.raises(DataError, match="is missing; prepare the data again"):
        everything(out, 16)
    (out / "prepared.json").write_text('{"format_version": 99}')
    with pytest.raises(DataError, match="is of version 99"):
        PreparedSource(out)
    (out / "prepared.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        PreparedSource(out)
    with pytest.raises(DataError, match="holds no prepared data"):
        PreparedSource(tmp_path)


def test_a_zip_and_a_folder_give_the_same_images(tmp_path, photo):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for i in range(4):
            photo(i).save(tmp_path / "in" / f"{i}.png")
            archive.write(tmp_path / "in" / f"{i}.png", f"{i}.png")
    a = prepare(open_raw("images", tmp_path / "in"), tmp_path / "a", Options(16), workers=1)
    b = prepare(open_raw("images", tmp_path / "in.zip"), tmp_path / "b", Options(16), workers=1)
    assert a.fingerprint == b.fingerprint
    files = [contents(tmp_path / name) for name in "ab"]
    manifests = [json.loads(file.pop("prepared.json")) for file in files]
    assert files[0] == files[1]
    # Of a zip checksums are known, of a folder times: the rest of what is noted is the same.
    times = [manifest["settings"]["identity"].pop("hash of times or checksums") for manifest in manifests]
    sums = [manifest.pop("crc32") for manifest in manifests]
    assert times[0] != times[1] and sums[0] != sums[1] and manifests[0] == manifests[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_classes_are_printed_with_numbers_and_images(tmp_path, photo, small_shards, capsys, workers):
    for name, count in (("10", 2), ("2", 5), ("broken", 1)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(count):
            photo(i).save(tmp_path / "in" / name / f"{i}.png")
    (tmp_path / "in" / "broken" / "0.png").write_text("text")
    dataset = open_raw("images", tmp_path / "in", labels="folders")
    manifest = prepare(dataset, tmp_path / "out", Options(8), workers=workers)
    assert manifest.class_counts == [5, 2, 0]
    said = capsys.readouterr().err
    assert "classes: 0 2 (5), 1 10 (2), 2 broken (0)\n" in said
    assert "warning: no image that can be read is in broken" in said
    assert f"8 images of {tmp_path / 'in'} to" in said
