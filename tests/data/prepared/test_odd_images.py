"""Preparing images that are unreadable, huge or oddly named."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegen.data import DataError
from stylegen.data.prepared import shards as writer
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.raw.lsun import LsunDataset
from stylegen.data.raw.opening import open_raw
from tests.support.pyramids import everything


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
