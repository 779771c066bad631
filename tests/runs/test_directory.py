"""The run directory: its log where files cannot be written, lines that are lost, and what killed processes leave."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboardX import record_writer

from stylegen.io import json_lines
from stylegen.runs import directory

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@needs_full
def test_a_tensorboard_file_that_cannot_be_written_is_said_once_and_given_up(tmp_path, monkeypatch, capsys):
    opened = []

    def open_full(path):
        opened.append(path)
        return open("/dev/full", "wb")

    monkeypatch.setattr(record_writer, "open_file", open_full)
    with directory.RunLog(tmp_path, 0) as log:
        for nimg in range(30):  # more than a queue of ten takes
            log.grid("fakes", np.random.default_rng(nimg).integers(0, 255, (4, 32, 32, 3), np.uint8), 2, nimg)
            log.scalars(nimg, {"Loss/G/loss": 1.0})
    assert len(opened) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if "could not be written" in line]
    assert said == [
        f"{tmp_path}/tensorboard could not be written (No space left on device); training goes on without it."
    ]
    assert [line["nimg"] for line in json_lines.read(tmp_path / "stats.jsonl")] == list(range(30))
    assert said[0] in (tmp_path / "log.txt").read_text()


@needs_full
@pytest.mark.parametrize("name", ["stats.jsonl", "log.txt"])
def test_lines_that_cannot_be_written_are_said_once(tmp_path, capsys, name):
    (tmp_path / name).symlink_to("/dev/full")
    with directory.RunLog(tmp_path, 0) as log:
        for nimg in range(3):
            log.line("here")
            log.scalars(nimg, {"a": 1.0})
        (tmp_path / name).unlink()  # and when there is room again, they are
        log.line("again")
        log.scalars(3, {"a": 1.0})
    output = capsys.readouterr().out
    assert output.count("here\n") == 3 and output.count("could not be written") == 1
    assert f"{tmp_path / name} could not be written (No space left on device)" in output
    assert "again" in (tmp_path / "log.txt").read_text()
    assert json_lines.read(tmp_path / "stats.jsonl")[-1] == {"nimg": 3, "a": 1.0}


def test_a_grid_that_cannot_be_written_is_said_once(tmp_path, capsys):
    (tmp_path / "fakes000001.png").mkdir()
    with directory.RunLog(tmp_path, 0) as log:
        for nimg in (1, 1):
            log.grid(f"fakes{nimg:06d}", np.zeros((4, 8, 8, 3), np.uint8), 2, nimg, newest="fakes")
        log.grid("fakes000002", np.zeros((4, 8, 8, 3), np.uint8), 2, 2, newest="fakes")
    assert capsys.readouterr().out.count("fakes.png could not be written") == 1
    assert (tmp_path / "fakes.png").is_file() and (tmp_path / "fakes000002.png").is_file()


def test_tensorboard_reads_what_is_written(tmp_path):
    with directory.RunLog(tmp_path, 0) as log:
        log.scalars(4, {"a": 1.5})
        log.board_text(4, "Doctor", "well")
        log.grid("fakes000000", np.zeros((1, 8, 8, 3), np.uint8), 1, 4)
        log.rewind(2)
        log.scalars(3, {"a": 2.5})
    files = sorted((tmp_path / "tensorboard").iterdir(), key=lambda path: int(path.suffix[1:]))
    first, second = (list(events(path)) for path in files)
    assert [(event.step, [value.tag for value in event.summary.value]) for event in first[2:]] == [
        (4, ["a"]),
        (4, ["Doctor/text_summary"]),
        (4, ["fakes"]),
    ]
    assert first[2].summary.value[0].simple_value == 1.5 and first[0].file_version == "brain.Event:2"
    assert second[1].step == 2 and second[1].session_log.status == 1  # purges what is beyond
    assert second[2].step == 3


def events(path):
    """TFRecords: length, its CRC, the event, its CRC."""
    from tensorboardX.proto.event_pb2 import Event

    data = path.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12 : 12 + length])
        data = data[12 + length + 4 :]


def test_lines_that_are_lost_are_said(tmp_path):
    for name, nimgs in (("stats.jsonl", (1000, 2000)), ("metric-swd16.jsonl", (2000,)), ("metric-kid.jsonl", (500,))):
        for nimg in nimgs:
            json_lines.append(tmp_path / name, {"nimg": nimg, "x": 1.0})
    known = directory.last_lines(tmp_path)
    assert known == {"stats.jsonl": 2000, "metric-swd16.jsonl": 2000, "metric-kid.jsonl": 500}
    json_lines.append(tmp_path / "stats.jsonl", {"nimg": 3000, "x": 1.0})
    assert directory.lost_lines(tmp_path, known) == []
    json_lines.drop_after(tmp_path / "stats.jsonl", 1500)
    (tmp_path / "metric-swd16.jsonl").unlink()
    stats, metric = sorted(directory.lost_lines(tmp_path, known), reverse=True)
    assert stats.endswith("stats.jsonl: lines are lost. It had some up to 2 kimg, and now has them up to 1 kimg.")
    assert metric.endswith("metric-swd16.jsonl: lines are lost. It had some up to 2 kimg, and now has none.")


def test_incomplete_files_of_killed_processes_go_and_those_of_running_ones_stay(tmp_path):
    (tmp_path / "snapshots").mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    gone = [tmp_path / f".best.{ended.pid}.partial.safetensors", tmp_path / "snapshots" / f".a.{ended.pid}.partial.b"]
    gone.append(tmp_path / f".fakes.{os.getpid()}.partial.png")  # of one that had this number, as in containers
    running = tmp_path / f".metric-swd16.{os.getppid()}.partial.jsonl"
    for path in (*gone, running):
        path.write_text("half")
    directory.tidy(tmp_path)
    assert running.exists() and not any(path.exists() for path in gone)
