"""Signals at random times to every verb that runs for long: it stops cleanly, and ends as an undisturbed run does."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from stylegen.config_json import to_json
from stylegen.io import files, video
from stylegen.projection import result
from stylegen.runs.checkpoint import Checkpointer, read_config
from tests.support.configs import tiny_config
from tests.support.paths import ROOT

SIGNALS = 4  # sent to each verb, one after the other, before it is left to itself
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclass(frozen=True)
class Verb:
    """A command, in a folder of its own, and what is compared at its end."""

    words: str  # {out} is where it writes to
    read: Callable[[Path], object]  # equal for equal results
    again: str = ""  # added to the command where it is given a second time
    saves: bool = False  # ends with status 0 when it has saved


def state_of(run: Path) -> dict[str, bytes]:
    """The newest checkpoint of a run."""
    with Checkpointer(run, read_config(run), keep_last=10) as checkpointer:
        restored = checkpointer.restore()
    assert restored is not None
    leaves = jax.tree_util.tree_leaves_with_path(restored.state)
    return {
        jax.tree_util.keystr(path): np.asarray(
            jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        ).tobytes()
        for path, x in leaves
    }


def contents(path: Path) -> dict[str, bytes]:
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in paths if file.is_file()}


def projection_of(path: Path) -> list[bytes]:
    projection = result.load(path / "projection.npz")
    return [projection.ws.tobytes(), *contents(path / "projected.png").values()]


def tensors_of(path: Path) -> dict[str, bytes]:
    """Without the metadata, whose order in the file is none."""
    return {name: x.tobytes() for name, x in load_file(path).items()}


def values_of(path: Path) -> dict[str, float]:
    return {name: entry["value"] for name, entry in json.loads(path.read_text()).items()}


VERBS = {
    "train": Verb("--config train_config.py --run.dir {out}", state_of, saves=True),
    "train_style": Verb(
        "--config style_transfer --data.rooms 2 --data.textures 5 --data.photographs none --data.side 64 --data.crop 32"
        " --data.zoom 2 --encoder.network autoencoder --encoder.widths 4 6 --encoder.steps 150 --encoder.batch 4"
        " --decoder.steps 150 --decoder.batch 2 --run.save-steps 20 --run.dir {out}",
        lambda out: tensors_of(out / "style.safetensors"),
    ),
    "prepare": Verb("toy_bedrooms --num-images 1500 --resolution 32 --workers 2 --out {out}", contents),
    "project": Verb(
        "--run toy_bedrooms --target target.png --perceptual none --steps 60 --candidates 20 --frames 5 --out {out}",
        projection_of,
        again="--overwrite",
    ),
    "sample": Verb(
        "--run toy_bedrooms --interpolate --seeds 1,2,3 --frames 60 --out {out}.mp4", contents, again="--overwrite"
    ),
    "stylize": Verb("--content in.mp4 --style target.png --out {out}.mp4", contents, again="--overwrite"),
    "evaluate": Verb(
        "--images target --reference target --resolution 32 --metrics fid,kid,swd --extractor random_vgg --cache="
        " --json {out}.json",
        values_of,
    ),
    "convert": Verb("toy_bedrooms --to safetensors --out {out}.safetensors", tensors_of, again="--overwrite"),
}


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """What the verbs read."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "target").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(tmp_path / "target" / f"{i}.png")
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save("target.png")
    video.save_video(rng.integers(0, 255, (12, 64, 64, 3), np.uint8), "in.mp4", scale=1)
    run = {"tick_kimg": 0.04, "checkpoint_kimg": 0.1, "keep_last": 2, "grid": (2, 1)}
    config = tiny_config(
        schedule={"start_resolution": 4, "total_kimg": 2, "stable_kimg": 0.5, "fade_kimg": 0.5}, run=run
    )
    text = to_json(config)
    (tmp_path / "train_config.py").write_text(
        f"from stylegen.config_json import from_json\n\n\ndef get_config():\n    return from_json({text!r})\n"
    )
    return tmp_path


def start(name: str, out: str, more: str = "") -> "subprocess.Popen[str]":
    words = f"{VERBS[name].words.format(out=out)} {more}".split()
    return subprocess.Popen(
        [sys.executable, str(ROOT / f"{name}.py"), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def output_of(name: str, out: str) -> Path:
    (word,) = [word for word in VERBS[name].words.split() if "{out}" in word]
    return Path(word.format(out=out))


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_signals_at_random_times(in_a_folder, name):
    verb, rng = VERBS[name], random.Random(name)
    for out in ("warm", "whole"):  # the first one compiles, for all
        began = time.monotonic()
        with start(name, out) as process:
            _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    whole, seconds = verb.read(output_of(name, "whole")), time.monotonic() - began
    finished = False
    for _ in range(SIGNALS):
        number = rng.choice(list(STATUS))
        with start(name, "stopped", verb.again) as process:
            time.sleep(rng.uniform(1, max(seconds, 2)))  # Python itself takes a while to begin
            if process.poll() is None:
                os.killpg(process.pid, number)  # as a terminal and a scheduler do
            said, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors and "Exception" not in errors, errors
        assert process.returncode in (0, STATUS[number], -number), errors
        if process.returncode == STATUS[number]:
            assert errors.splitlines()[-1].startswith("interrupted. "), errors
        elif verb.saves and "Stopping" in errors:
            assert "the same command goes on" in said or "Finished" in said
        else:  # all was done, and Python was closing down, if it was ended by the signal itself
            finished = True
        if name != "prepare":  # which keeps a folder of its own until it is done
            assert not list(in_a_folder.rglob(files.PARTIAL))
        if finished:
            break
    if not finished:
        with start(name, "stopped", verb.again) as process:
            _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    ours = verb.read(output_of(name, "stopped"))
    if isinstance(ours, dict) and isinstance(whole, dict):
        ours = {key.replace("stopped", "whole"): value for key, value in ours.items()}
    assert ours == whole
