"""The training loop: exact resume, stopping, the run directory and what it refuses."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.config import (
    AugmentConfig,
    Config,
    RunConfig,
    ScheduleConfig,
)
from stylegen.config_json import to_json
from stylegen.data import DataError
from stylegen.data.toy import bedrooms
from stylegen.io import json_lines
from stylegen.io.files import exclusive
from stylegen.runs import snapshots
from stylegen.runs.checkpoint import Checkpointer, available, load_generator
from stylegen.runs.directory import RunError
from stylegen.runtime import compilation
from stylegen.runtime.compilation import CompileAhead
from stylegen.train import train
from stylegen.training.programs import StagePrograms
from tests.support.configs import tiny_config
from tests.support.hooks import Interrupt, Killed, terminate
from tests.support.paths import ROOT


def tiny(folder: Path, cache: Path, **run) -> Config:
    """From 4 to 8 pixels in 40 steps of 4: stable to 48 images, fading to 100, stable to 160; lazy R1."""
    own = {"dir": str(folder), "tick_kimg": 0.02, "checkpoint_kimg": 0.02, "keep_last": 10, "grid": (3, 2)}
    return tiny_config(
        generator={"channel_base": 32},
        discriminator={"channel_base": 32},
        loss={"r1_gamma": 1.0, "r1_interval": 3},
        schedule={"total_kimg": 0.16, "stable_kimg": 0.048, "fade_kimg": 0.052},
        run={**own, "compilation_cache": str(cache), **run},
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    """A run from beginning to end in one sitting."""
    return train(tiny(tmp_path_factory.mktemp("runs") / "whole", cache))


def final_state(folder: Path):
    config = stylegen.runs.checkpoint.read_config(folder)
    with Checkpointer(folder, config, keep_last=10) as checkpointer:
        return checkpointer.restore()


def assert_same_run(one: Path, other: Path) -> None:
    a, b = final_state(one), final_state(other)
    assert a.meta.nimg == b.meta.nimg and a.meta.phase == b.meta.phase
    paths = jax.tree_util.tree_leaves_with_path(a.state)
    for (path, x), y in zip(paths, jax.tree.leaves(b.state), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.array_equal(x, y), jax.tree_util.keystr(path)


def stats(folder: Path) -> list[dict]:
    return json_lines.read(folder / "stats.jsonl")


# 56: killed after growing, resumed from before; 92: within the fade; 112: after the fade's end, resumed from before it.
@pytest.mark.parametrize("at", [56, *(pytest.param(at, marks=pytest.mark.slow) for at in (92, 112))])
def test_a_killed_run_resumes_bit_for_bit(at, finished, tmp_path, cache, monkeypatch):
    config = tiny(tmp_path / "run", cache)
    with pytest.raises(Killed):
        train(config, Interrupt(at))
    assert max(available(tmp_path / "run")) <= at
    train(config)
    assert_same_run(finished, tmp_path / "run")
    ours, uninterrupted = stats(tmp_path / "run"), stats(finished)
    assert [line["nimg"] for line in ours] == [line["nimg"] for line in uninterrupted]
    assert ours[-1]["Loss/G/loss"] == uninterrupted[-1]["Loss/G/loss"]


def test_without_compiling_ahead_a_stage_is_compiled_when_it_begins(finished, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(compilation, "compiles_ahead", lambda configured: False)
    events = []
    for owner, name in ((CompileAhead, "start"), (CompileAhead, "run"), (StagePrograms, "begin")):
        monkeypatch.setattr(owner, name, spied(getattr(owner, name), events))
    folder = train(tiny(tmp_path / "run", cache))
    names = [name for name, _ in events]
    assert names[0] == "begin" and names.count("begin") == 2 and "run" not in names
    assert {key[1] for name, key in events[: names.index("begin", 1)] if name == "start"} == {4}
    assert "Each stage is compiled when it begins" in (folder / "log.txt").read_text()
    assert "Each stage is compiled when it begins" not in (finished / "log.txt").read_text()
    assert_same_run(folder, finished)


def spied(method, events):
    def call(self, argument):
        events.append((method.__name__, argument))
        return method(self, argument)

    return call


@pytest.mark.slow
def test_adaptive_augmentation_resumes_bit_for_bit(tmp_path, cache, monkeypatch):
    """Killed between two adjustments of the strength: what has been counted so far is in the checkpoint."""

    def config(name):
        strong = AugmentConfig("ada", p=0.4, interval=3, speed_kimg=0.06)
        shorter = ScheduleConfig(start_resolution=8, total_kimg=0.048)
        return dataclasses.replace(tiny(tmp_path / name, cache), augment=strong, schedule=shorter)

    uninterrupted = train(config("whole"))
    with pytest.raises(Killed):
        train(config("run"), Interrupt(24))
    assert available(tmp_path / "run") == [20]
    halfway = final_state(tmp_path / "run").state.augment
    # Moved once, by 12 images of 60; since then there were two steps of 4.
    assert abs(halfway.p - 0.4) == pytest.approx(12 / 60, rel=1e-5)
    assert halfway.images == 8 and -8 <= halfway.signs <= 8
    train(config("run"))
    assert_same_run(uninterrupted, tmp_path / "run")
    ours, theirs = stats(tmp_path / "run")[-1], stats(uninterrupted)[-1]
    assert ours["Loss/signs/real"] == theirs["Loss/signs/real"]
    assert ours["Progress/augment"] == theirs["Progress/augment"] and 0 <= ours["Progress/augment"] <= 0.8
    assert re.search(r"augment 0\.\d{3}$", (uninterrupted / "log.txt").read_text(), re.MULTILINE)
    with Image.open(uninterrupted / "augmented.png") as augmented, Image.open(uninterrupted / "reals.png") as reals:
        assert augmented.size == reals.size


def test_sigterm_saves_and_stops(finished, tmp_path, cache, monkeypatch, capsys):
    config = tiny(tmp_path / "run", cache)
    train(config, Interrupt(72, terminate))
    assert max(available(tmp_path / "run")) == 72
    output = capsys.readouterr().out
    assert "the same command goes on" in output
    assert "Waiting for a compilation" not in output
    train(config)
    assert_same_run(finished, tmp_path / "run")


def test_one_who_stops_during_a_compilation_is_told_of_the_wait(tmp_path, cache, monkeypatch, capsys):
    """The next stage compiles when the first step is done, and still does so when the run is saved."""
    compiles, may_compile, lower = threading.Event(), threading.Event(), StagePrograms.lower

    def wait_and_lower(self, key):
        if key[1] == 8:
            compiles.set()
            assert may_compile.wait(60)
        return lower(self, key)

    def terminate_then():
        assert compiles.wait(60)
        terminate()

    try:
        monkeypatch.setattr(StagePrograms, "lower", wait_and_lower)
        train(tiny(tmp_path / "run", cache), Interrupt(4, terminate_then))
    finally:
        may_compile.set()
    assert available(tmp_path / "run") == [4]
    stopped, waiting = capsys.readouterr().out.splitlines()[-2:]
    assert "the same command goes on" in stopped
    assert "Waiting for a compilation to end" in waiting
    assert "Waiting" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.slow
def test_kill_9_in_the_middle_and_resume(finished, tmp_path, cache):
    folder = tmp_path / "run"
    config = tiny(folder, cache)
    (tmp_path / "config.py").write_text(
        "from stylegen.config_json import from_json\n\n\n"
        f"def get_config():\n    return from_json({to_json(config)!r})\n"
    )
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(tmp_path / "config.py")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if (folder / "stats.jsonl").exists() and len((folder / "stats.jsonl").read_text().splitlines()) >= 3:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert_same_run(finished, folder)


def test_the_run_directory(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"config.json", "log.txt", "stats.jsonl", "tensorboard", "checkpoints", "reals.png", "fakes.png"} <= names
    with Image.open(finished / "fakes.png") as fakes:
        assert fakes.size == (3 * 8, 2 * 8)
    lines = stats(finished)
    assert [line["nimg"] for line in lines] == list(range(20, 161, 20))
    last = lines[-1]
    for key in ("Loss/G/loss", "Loss/D/loss", "Loss/scores/real", "Loss/signs/real", "Loss/r1_penalty"):
        assert np.isfinite(last[key])
    assert [line["Progress/resolution"] for line in lines] == [4, 4, 8, 8, 8, 8, 8, 8]
    assert 0 < lines[2]["Progress/alpha"] < lines[3]["Progress/alpha"] < 1 == last["Progress/alpha"]
    log = (finished / "log.txt").read_text()
    assert "Finished" in log and "background failed" not in log
    assert "8x8 pixels, batch 4, 1 reader thread" in log
    assert "Progress/augment" not in last and "augmented.png" not in names


def test_snapshots_are_the_generators_of_their_checkpoints(finished):
    assert snapshots.available(finished) == available(finished) == list(range(20, 161, 20))
    from_snapshot, from_checkpoint = stylegen.load(finished, kimg=0.08), load_generator(finished, kimg=0.08)
    assert 0 < from_snapshot.alpha < 1 and from_snapshot.kimg == from_checkpoint.kimg == 0.08
    assert np.array_equal(stylegen.sample(from_snapshot, seeds=range(4)), stylegen.sample(from_checkpoint, range(4)))
    assert from_snapshot.source == str(snapshots.path_of(finished, 80))


def test_a_generator_from_the_middle_of_a_fade_samples_what_training_saw(tmp_path, cache, monkeypatch):
    config = tiny(tmp_path / "run", cache)
    train(config, Interrupt(80, terminate))
    G = stylegen.load(tmp_path / "run")
    assert G.resolution == 8 and 0 < G.alpha < 1 and G.kimg == 0.08
    grid = np.asarray(Image.open(tmp_path / "run" / "fakes.png"))
    fakes = grid.reshape(2, 8, 3, 8, 3).transpose(0, 2, 1, 3, 4).reshape(6, 8, 8, 3)
    assert np.array_equal(stylegen.sample(G, seeds=range(6)), fakes)
    # With alpha 1 it would be another image.
    assert not np.array_equal(stylegen.sample(dataclasses.replace(G, alpha=1.0), seeds=range(6)), fakes)


@pytest.mark.slow
def test_a_longer_run_goes_on_where_the_shorter_ended(finished, tmp_path, cache):
    config = tiny(tmp_path / "run", cache)
    short = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, total_kimg=0.064))
    train(short)
    assert max(available(tmp_path / "run")) == 64
    train(config)
    assert_same_run(finished, tmp_path / "run")


def test_another_configuration_is_refused_and_overwrite_starts_anew(tmp_path, cache):
    config = tiny(tmp_path / "run", cache)
    short = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, total_kimg=0.02))
    train(short)
    other = dataclasses.replace(short, loss=dataclasses.replace(short.loss, r1_gamma=2.0))
    with pytest.raises(RunError, match=r"loss\.r1_gamma: 1\.0 -> 2\.0"):
        train(other)
    assert max(available(tmp_path / "run")) == 20
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(dataclasses.replace(other, run=dataclasses.replace(other.run, overwrite=True)))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["loss"]["r1_gamma"] == 2.0
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_other_data_is_refused_on_resuming(tmp_path, cache, monkeypatch):
    config = tiny(tmp_path / "run", cache)
    short = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, total_kimg=0.02))
    train(short)
    checkpoint = max(available(tmp_path / "run"))
    monkeypatch.setattr(bedrooms, "DRAWING_VERSION", bedrooms.DRAWING_VERSION + 1)  # the same settings, other images
    with pytest.raises(RunError, match="other data"):
        train(config)
    assert max(available(tmp_path / "run")) == checkpoint


def test_images_that_are_added_are_for_new_runs_alone(tmp_path, cache, capsys):
    config = tiny(tmp_path / "run", cache)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, source="images", path=str(tmp_path / "photos"))
    )
    short = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, total_kimg=0.02))
    (tmp_path / "photos").mkdir()
    for i in range(5):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)).save(
            tmp_path / "photos" / f"{i}.png"
        )
    train(short)
    (tmp_path / "photos" / "0.png").unlink()
    with pytest.raises(DataError, match=r"is not what .*stylegen-photos-8 was prepared of \(images 5, not 4\)"):
        train(config)
    train(dataclasses.replace(short, run=dataclasses.replace(short.run, dir=str(tmp_path / "new"))))
    assert "(4 images)" in (tmp_path / "new" / "log.txt").read_text()
    with pytest.raises(RunError, match="was trained on other data"):  # its images are gone now
        train(config)


def test_a_directory_of_something_else_is_refused(tmp_path, cache):
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(RunError, match="holds files, but no run"):
        train(tiny(tmp_path, cache))
    with pytest.raises(RunError, match="a file of that name"):
        train(tiny(tmp_path / "photo.jpg", cache))
    with pytest.raises(RunError, match=r"run\.dir is empty"):
        train(dataclasses.replace(tiny(tmp_path, cache), run=RunConfig()))
    assert (tmp_path / "photo.jpg").read_text() == "x"


def test_a_damaged_configuration_is_a_sentence(tmp_path, cache):
    for text in (b"{", b"\xff\xfe", b'{"resolution": 17}'):
        (tmp_path / "config.json").write_bytes(text)
        with pytest.raises(RunError, match=r"config\.json cannot be used: "):
            train(tiny(tmp_path, cache))
        assert (tmp_path / "config.json").read_bytes() == text


def test_a_second_process_is_kept_out(tmp_path, cache):
    folder = tmp_path / "run"
    folder.mkdir()
    with exclusive(folder, RuntimeError("taken")), pytest.raises(RunError, match="another process trains there"):
        train(tiny(folder, cache))
