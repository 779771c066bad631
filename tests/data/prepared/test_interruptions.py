"""Preparing that is killed, stopped, out of disk or not alone: what is whole stays, and the same command goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from stylegen.data import DataError
from stylegen.data.prepared import shards as writer
from stylegen.data.prepared.manifest import read_manifest, settings_to_json
from stylegen.data.prepared.prepare import Options, prepare
from stylegen.data.raw.lsun import LsunDataset
from tests.support.marks import slow_but
from tests.support.paths import ROOT
from tests.support.pyramids import contents, everything


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


def test_two_processes_do_not_write_into_one_folder(make_lsun, photo_bytes, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    other = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="is being prepared by another process"):
        prepare(LsunDataset(make_lsun(photo_bytes(3))), tmp_path / "out", Options(16), workers=1)
    os.close(other)


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


@pytest.mark.parametrize("number", slow_but([signal.SIGINT, signal.SIGTERM], [signal.SIGINT]))
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
