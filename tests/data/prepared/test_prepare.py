"""The whole of preparing, from raw images to what TFDS and training read."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegen.data import DataError, imaging
from stylegen.data.prepared import shards as writer
from stylegen.data.prepared.manifest import read_manifest, settings_to_json
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.prepared.source import PreparedSource
from stylegen.data.raw.lsun import LsunDataset
from stylegen.data.raw.opening import ToyDataset, open_raw
from stylegen.io.progress import Progress
from tests.support.paths import ROOT


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def everything(folder, resolution):
    source = PreparedSource(folder)
    return source.read(np.arange(source.num_images), resolution)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("stylegen.data.prepared.prepare._IMAGES_PER_SHARD", (4, 4))


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


def test_an_interrupted_preparation_continues_and_ends_the_same(
    make_lsun, photo_bytes, tmp_path, small_shards, monkeypatch
):
    dataset = LsunDataset(make_lsun(photo_bytes(14)))
    prepare(dataset, tmp_path / "whole", Options(16), workers=1)
    make_levels, calls = writer.make_levels, []

    def stop_at_times(raw, settings):
        calls.append(raw.key)
        if len(calls) in (6, 12):  # in the middle of a shard, before and after one was finished
            raise KeyboardInterrupt
        return make_levels(raw, settings)

    monkeypatch.setattr(writer, "make_levels", stop_at_times)
    monkeypatch.setattr("stylegen.data.prepared.prepare._SAMPLE", 0.001)  # the sample would count
    monkeypatch.setattr(LsunDataset, "sample", lambda self, count: [])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            prepare(dataset, tmp_path / "broken", Options(16), workers=1)
        assert not (tmp_path / "broken" / "prepared.json").exists()
    prepare(dataset, tmp_path / "broken", Options(16), workers=1)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert len(calls) < 14 + 2 * 4  # finished shards were not made again


def test_a_shard_that_was_lost_meanwhile_is_made_again(make_lsun, photo_bytes, tmp_path, small_shards, monkeypatch):
    dataset = LsunDataset(make_lsun(photo_bytes(8)))
    monkeypatch.setattr("stylegen.data.prepared.prepare._finish", lambda *_: pytest.fail("stop"))
    with pytest.raises(pytest.fail.Exception):
        prepare(dataset, tmp_path / "out", Options(16), workers=1)
    monkeypatch.undo()
    victim = next((tmp_path / "out" / "0008").glob("*-00001-of-*"))
    victim.write_bytes(victim.read_bytes()[:100])
    monkeypatch.setattr("stylegen.data.prepared.prepare._IMAGES_PER_SHARD", (4, 4))
    prepare(dataset, tmp_path / "out", Options(16), workers=1)
    assert len(everything(tmp_path / "out", 8)["image"]) == 8


@pytest.mark.slow
def test_kill_9_leaves_nothing_behind_that_hurts(lsun_folder, tmp_path):
    def command(out):
        archive = str(lsun_folder / "bedroom_train_lmdb.zip")
        return [sys.executable, "prepare.py", "lsun", archive, "--out", str(out), "--resolution", "256"]

    for shards in (1, 3, 5):
        process = subprocess.Popen(command(tmp_path / "killed"), cwd=ROOT)
        while process.poll() is None and len(list((tmp_path / "killed").glob(".preparing/0*.json"))) < shards:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        time.sleep(1)  # the workers see that their parent is gone
    for out in ("killed", "whole"):
        subprocess.run(command(tmp_path / out), cwd=ROOT, check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


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


def test_two_processes_do_not_write_into_one_folder(make_lsun, photo_bytes, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    other = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="is being prepared by another process"):
        prepare(LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "out", Options(16), workers=1)
    os.close(other)


def test_unreadable_images_are_left_out_counted_and_named(make_lsun, photo_bytes, tmp_path, small_shards, capsys):
    values = photo_bytes(12)
    values[2:9] = [b"broken", values[3][:200], b"", b"\xff\xd8\xff", b"x", b"x", b"x"]
    dataset = LsunDataset(make_lsun(values))
    manifest = prepare(dataset, tmp_path / "out", Options(16), workers=1)
    assert (manifest.num_images, manifest.unreadable, len(manifest.unreadable_keys)) == (5, 7, 7)
    assert all(len(reason.split(": ")[0]) == 40 for reason in manifest.unreadable_keys)
    assert sum(manifest.shard_lengths) == 5
    assert len(everything(tmp_path / "out", 8)["image"]) == 5
    assert "7 images were left out, which could not be read, the first: 000" in capsys.readouterr().err


def test_a_shard_without_one_readable_image_can_be_read_by_tfds(tmp_path, photo, small_shards):
    import tensorflow_datasets as tfds

    (tmp_path / "in").mkdir()
    for i in range(12):
        if 4 <= i < 8:
            (tmp_path / "in" / f"{i:02d}.png").write_text("broken")
        else:
            photo(i).save(tmp_path / "in" / f"{i:02d}.png")
    manifest = prepare(open_raw("images", tmp_path / "in"), tmp_path / "out", Options(8), workers=1)
    assert manifest.shard_lengths == [4, 0, 4]
    data = tfds.builder_from_directory(str(tmp_path / "out" / "0008")).as_data_source("train")
    stored = everything(tmp_path / "out", 8)["image"]
    assert len(data) == len(stored) == 8
    np.testing.assert_array_equal(data[5]["image"], stored[5])


def test_nothing_readable_at_all_is_an_error(make_lsun, tmp_path):
    with pytest.raises(DataError, match="None of the 2 images could be read; the first was 0000"):
        prepare(LsunDataset(make_lsun([b"a", b"b"])), tmp_path / "out", Options(16), workers=1)


def test_enlarged_images_are_reported(make_lsun, photo_bytes, tmp_path, capsys):
    manifest = prepare(LsunDataset(make_lsun(photo_bytes(3, (40, 32)))), tmp_path / "out", Options(64), workers=1)
    assert manifest.upscaled == 3
    assert "warning: 3 images are smaller than 64 pixels" in capsys.readouterr().err


def test_the_disk_is_measured_first(make_lsun, photo_bytes, tmp_path, monkeypatch, capsys):
    dataset = LsunDataset(make_lsun(photo_bytes(9, (300, 280))))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**5, 10**5))
    with pytest.raises(DataError, match="needs about .* MB of disk and has 100 kB free; choose another disk"):
        prepare(dataset, tmp_path / "out", Options(256), workers=1)
    log = capsys.readouterr().err
    assert "disk: archive" in log and "unpacked" in log and "pyramid about" in log and "free 100 kB" in log
    assert not list((tmp_path / "out").rglob("data.mdb"))
    monkeypatch.undo()
    prepare(dataset, tmp_path / "out", Options(256), workers=1)


def test_the_estimate_is_right(lsun_folder, tmp_path, capsys):
    dataset = LsunDataset(lsun_folder / "bedroom_val_lmdb.zip")
    manifest = prepare(dataset, tmp_path, Options(128), workers=1)
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("disk:"))
    number, unit = line.split("pyramid about ")[1].split(" (")[0].split()
    assert unit == "MB"
    assert float(number) * 1e6 == pytest.approx(sum(manifest.bytes_on_disk.values()), rel=0.15)


def test_a_worker_that_dies_is_a_sentence(make_lsun, photo_bytes, tmp_path, small_shards):
    dataset = Deadly(make_lsun(photo_bytes(9)))
    with pytest.raises(DataError, match="A worker process died"):
        prepare(dataset, tmp_path / "out", Options(16), workers=2)


class Deadly(LsunDataset):
    """Kills the process that reads it."""

    def sample(self, count):
        return []

    def read(self, start, stop):
        os._exit(1)


def test_images_are_bombs_or_gray_or_odd_and_all_is_well(tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    photo(1, (50, 33), "L").save(folder / "grey.jpg")
    photo(2, (33, 50), "RGBA").save(folder / "alpha.png")
    photo(3, (64, 64)).convert("P").save(folder / "palette.gif")
    photo(4, (35, 35)).convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(np.full((40, 60), 40_000, np.uint16)).save(folder / "deep.png")
    manifest = prepare(open_raw("images", folder), tmp_path / "out", Options(32), workers=1)
    assert (manifest.num_images, manifest.unreadable) == (5, 0)
    assert everything(tmp_path / "out", 32)["image"].shape == (5, 32, 32, 3)


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


def test_a_disk_that_is_full_after_all_is_a_sentence(make_lsun, photo_bytes, tmp_path, monkeypatch):
    dataset = LsunDataset(make_lsun(photo_bytes(3)))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "write_json", full)
    with pytest.raises(
        DataError,
        match="no space left on device; free some.* What is done is kept, and the same",
    ):
        prepare(dataset, tmp_path / "out", Options(16), workers=1)
    monkeypatch.undo()
    assert prepare(dataset, tmp_path / "out", Options(16), workers=1).num_images == 3


def test_what_a_killed_call_left_half_written_is_removed(make_lsun, photo_bytes, tmp_path):
    dataset = LsunDataset(make_lsun(photo_bytes(3)))
    prepare(dataset, tmp_path / "whole", Options(16), workers=1)
    for name in (
        "0016/.lsun_bedroom-train.1.partial.array_record-00000-of-00001",
        ".preparing/.lsun.1.partial/data.mdb",
    ):
        (tmp_path / "out" / name).parent.mkdir(parents=True)
        (tmp_path / "out" / name).write_text("half")
    (tmp_path / "out" / ".preparing" / "settings.json").write_bytes(
        json.dumps(settings_to_json(read_manifest(tmp_path / "whole").settings)).encode()
    )
    prepare(dataset, tmp_path / "out", Options(16), workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_ends_in_a_sentence_and_keeps_what_is_whole(tmp_path, number):
    """Ctrl-C on a terminal, or a scheduler, reaches the workers too, also while these import."""
    command = [sys.executable, "prepare.py", "toy_bedrooms", "--num-images", "600", "--resolution", "16"]
    command += ["--workers", "2", "--out"]
    rng = random.Random(int(number))
    for _ in range(2):
        started = subprocess.Popen(
            [*command, str(tmp_path / "stopped")], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        with started as process:
            time.sleep(rng.uniform(0.8, 2.5))
            if process.poll() is None:
                os.killpg(process.pid, number)
            _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        assert process.returncode in (0, 128 + number), errors
        assert process.returncode == 0 or errors.endswith("interrupted. The same command goes on.\n")
    for out in ("stopped", "whole"):
        subprocess.run([*command, str(tmp_path / out)], cwd=ROOT, check=True, capture_output=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_huge_images_are_in_memory_one_at_a_time_and_named(tmp_path, monkeypatch):
    import multiprocessing
    import threading

    context = multiprocessing.get_context("spawn")
    shared = writer.Shared.make(context)
    monkeypatch.setattr(writer._Process, "shared", shared)
    inside, states = [], []

    def decode(number):
        with writer._one_at_a_time(f"{number}.png", (13_377, 13_377)):
            inside.append(number)
            states.append(shared.state())
            time.sleep(0.02)
            assert inside == [number]
            inside.remove(number)

    threads = [threading.Thread(target=decode, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == [f"; decoding {i}.png, 13,377x13,377 pixels" for i in range(4)]
    assert shared.state() == ""


def test_huge_images_are_prepared_by_several_processes(tmp_path, photo):
    (tmp_path / "in").mkdir()
    for i in range(130):
        photo(i, (9, 8)).save(tmp_path / "in" / f"{i}.png")
    for i in (3, 70):
        photo(i, (50, 50)).resize((6000, 6000)).save(tmp_path / "in" / f"{i}.png", compress_level=1)
    manifest = prepare(open_raw("images", tmp_path / "in"), tmp_path / "out", Options(8), workers=2)
    assert (manifest.num_images, manifest.unreadable) == (130, 0)


@pytest.fixture
def odd_folder(tmp_path, photo):
    """Folder, class and files with names that are not UTF-8."""
    folder = os.fsencode(tmp_path) + b"/in\xff"
    try:
        os.makedirs(folder + b"/class\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    for i in range(3):
        with open(folder + b"/class\xe9/\xe9%d.png" % i, "wb") as file:
            photo(i).save(file, "PNG")
    with open(folder + b"/class\xe9/\xe9.txt", "wb") as file:
        file.write(b"text")
    return Path(os.fsdecode(folder))


@pytest.mark.parametrize("workers", [1, 2])
def test_file_names_that_are_not_utf_8_are_read_and_shown_escaped(odd_folder, tmp_path, workers, small_shards):
    import tensorflow_datasets as tfds

    from stylegen.evaluation.opening import open_images

    broken = odd_folder / os.fsdecode(b"class\xe9/\xe9_broken.png")
    broken.write_bytes(b"text")
    for i in range(3, 7):  # two shards
        (odd_folder / "class").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(odd_folder / "class" / f"{i}.png")
    dataset = open_raw("images", odd_folder, labels="folders")
    manifest = prepare(dataset, tmp_path / "out", Options(8), workers=workers)
    assert (manifest.num_images, manifest.settings.class_names) == (7, ("class", "class\\udce9"))
    assert manifest.unreadable_keys[0].startswith("class\\udce9/\\udce9_broken.png: ")
    data = tfds.builder_from_directory(str(tmp_path / "out" / "0008")).as_data_source("train")
    assert [example["key"] for example in data][-1] == b"class\\udce9/\\udce92.png"
    broken.unlink()
    images = open_images(odd_folder)
    assert images.note.encode() and images.provenance["fingerprint"]
    with pytest.raises(DataError, match=r"in\\udcff is no printable UTF-8.*; choose another folder"):
        prepare(dataset, odd_folder, Options(8), workers=1)


def test_a_folder_whose_name_is_not_utf_8_is_trained_on(odd_folder, tmp_path):
    from stylegen.config import Config, DataConfig
    from stylegen.data import open_source

    source = open_source(Config(resolution=8, data=DataConfig(source="images", path=str(odd_folder))))
    assert source.num_images == 3 and (tmp_path / "stylegen-in\\udcff-8").is_dir()


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
