"""Losses that are not finite: skipped, counted, gone back from another way, and given up on with a sentence."""

import dataclasses
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from stylegen import data
from stylegen.config import (
    Config,
)
from stylegen.io import files, json_lines
from stylegen.runs import rollback
from stylegen.runs.checkpoint import Checkpointer, available
from stylegen.runs.directory import RunError
from stylegen.runs.rollback import Rollback
from stylegen.train import Hooks, TrainingError, train
from tests.support.configs import tiny_config
from tests.support.hooks import Killed, kill, terminate
from tests.support.marks import slow_but

NAN = float("nan")


def tiny(folder: Path, learning_rate: float = 0.001, **run) -> Config:
    """20 steps of 4 images at 4 pixels; a tick and a checkpoint after every fifth."""
    own = {"dir": str(folder), "tick_kimg": 0.02, "checkpoint_kimg": 0.02, "keep_last": 10}
    return tiny_config(
        4,
        generator={"channel_base": 16},
        discriminator={"channel_base": 16},
        loss={"r1_gamma": 1.0},
        optimizer={"learning_rate": learning_rate},
        schedule={"total_kimg": 0.08},
        run={**own, "compilation_cache": os.environ["JAX_COMPILATION_CACHE_DIR"], **run},
    )


class Poison(Hooks):
    """Spoils steps by number, from 0: their reals, with an alpha that is no number; or a weight of D after them.

    Steps count on where the run goes back. After ``steps`` of them, ``do`` is called.
    """

    def __init__(self, bad_reals=(), bad_weight=None, steps=None, do=None):
        self.bad_reals, self.bad_weight, self.steps, self.do = bad_reals, bad_weight or {}, steps, do
        self.steps_taken = 0

    def on_stage(self, stage, steps, programs):
        def step(state, images, labels, alpha, learning_rate):
            alpha = np.float32(NAN) if self.steps_taken in self.bad_reals else alpha
            state, metrics = steps["train"](state, images, labels, alpha, learning_rate)
            if self.steps_taken in self.bad_weight:
                state = dataclasses.replace(state, d=with_weight(state.d, self.bad_weight[self.steps_taken]))
            return state, metrics

        return steps | {"train": step}

    def on_step(self, state, metrics, nimg):
        self.steps_taken += 1
        if self.steps_taken == self.steps:
            self.do()


def with_weight(d, value: float):
    weight = d["blocks"]["b4"]["dense0"]["weight"]
    numbers = np.full(weight.shape, value, np.float32)
    # Not device_put, which makes sure that all processes give the same numbers: NaN is not the same as NaN.
    spoilt = jax.make_array_from_callback(weight.shape, weight.sharding, lambda part: numbers[part])
    layer = d["blocks"]["b4"]["dense0"] | {"weight": spoilt}
    return d | {"blocks": d["blocks"] | {"b4": d["blocks"]["b4"] | {"dense0": layer}}}


def stats(folder: Path) -> list[dict]:
    return json_lines.read(folder / "stats.jsonl")


def state(folder: Path):
    with Checkpointer(folder, tiny(folder), keep_last=10) as checkpointer:
        restored = checkpointer.restore().state
    return dataclasses.replace(restored, key=jax.random.key_data(restored.key))


def assert_same(one, other) -> None:
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
        assert np.array_equal(a, b), jax.tree_util.keystr(path)


def all_finite(folder: Path) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state(folder)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tiny(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def recovered(tmp_path_factory):
    """A run whose weights are spoilt in the eighth step, of 32 images; the last checkpoint is of 20."""
    return train(tiny(tmp_path_factory.mktemp("runs") / "run"), Poison(bad_weight={7: NAN}))


def test_single_bad_steps_are_skipped_and_counted(tmp_path, undisturbed):
    folder = train(tiny(tmp_path / "run"), Poison(bad_reals=(6, 7, 9)))
    assert [line["Progress/skipped"] for line in stats(folder)] == [0, 3, 3, 3]
    assert [line["nimg"] for line in stats(folder)] == [20, 40, 60, 80]
    assert all(np.isfinite(list(line.values())).all() for line in stats(folder))
    # The tenth step, at 40 images, was skipped: there is no checkpoint of a place that may be past help.
    assert available(folder) == [20, 60, 80]
    assert all_finite(folder) and not (folder / rollback.NAME).exists()
    a, b = state(folder), state(undisturbed)
    np.testing.assert_array_equal(a.key, b.key)
    assert not np.array_equal(a.w_avg, b.w_avg)


def test_spoilt_weights_send_a_run_back_another_way(recovered, undisturbed):
    assert rollback.read(recovered) == [rollback.Rollback(at=48, to=20)]
    log = (recovered / "log.txt").read_text()
    assert "3 updates in a row were skipped" in log and "Going back to the checkpoint at 0.02 kimg" in log
    assert "Finished: 0.08 kimg" in log and all_finite(recovered)
    assert [line["nimg"] for line in stats(recovered)] == [20, 40, 60, 80]
    assert stats(recovered)[-1]["Progress/skipped"] == 0, "the count is that of the way that was taken"
    a, b = state(recovered), state(undisturbed)
    assert not np.array_equal(a.key, b.key)
    assert stats(recovered)[0]["Loss/G/loss"] == stats(undisturbed)[0]["Loss/G/loss"]
    assert stats(recovered)[1]["Loss/G/loss"] != stats(undisturbed)[1]["Loss/G/loss"]


def test_the_order_of_images_is_another_one_after_going_back(tmp_path, monkeypatch):
    seeds, make = [], data.make_pipeline

    def record(*arguments, **named):
        seeds.append((named["start"], named["seed"]))
        return make(*arguments, **named)

    monkeypatch.setattr(data, "make_pipeline", record)
    train(tiny(tmp_path / "run"), Poison(bad_weight={7: NAN}))
    assert [start for start, _ in seeds] == [0, 20]
    assert seeds[0][1] == 0 != seeds[1][1] == rollback.order_seed(0, 1)


# 15 steps: killed three after going back, before the next checkpoint; 18: after it.
@pytest.mark.parametrize("steps", slow_but([15, 18], [15]))
def test_a_run_that_is_killed_after_going_back_is_the_run_that_was_not(steps, recovered, tmp_path):
    config = tiny(tmp_path / "run")
    with pytest.raises(Killed):
        train(config, Poison(bad_weight={7: NAN}, steps=steps, do=kill))
    train(config)
    assert_same(state(tmp_path / "run"), state(recovered))
    assert stats(tmp_path / "run")[-1]["Loss/G/loss"] == stats(recovered)[-1]["Loss/G/loss"]


def test_a_checkpoint_that_leads_nowhere_is_set_aside(tmp_path):
    """It is of the step at 40 images, whose losses were fine; the weights that it left are finite, but of no use."""
    folder = train(tiny(tmp_path / "run"), Poison(bad_weight={9: 1e38}))
    first, second = json.loads((folder / rollback.NAME).read_text())
    assert (first["to"], second["to"]) == (40, 20)
    assert (folder / "checkpoints" / "diverged-000000040").is_dir()
    assert available(folder) == [20, 40, 60, 80] and all_finite(folder)


def test_one_who_stops_while_updates_are_skipped_goes_on_from_before(tmp_path, capsys):
    folder = train(tiny(tmp_path / "run"), Poison(bad_reals=(6, 7), steps=7, do=terminate))
    assert available(folder) == [20]
    assert "goes on from 0.02 kimg, before updates were skipped" in capsys.readouterr().out


def test_a_run_that_diverges_again_and_again_is_given_up(tmp_path):
    with pytest.raises(TrainingError) as caught:
        train(tiny(tmp_path / "run", learning_rate=1e30, max_rollbacks=2))
    text = str(caught.value)
    assert "after going back 2 times" in text and "Nothing was saved" in text
    assert "optimizer.learning_rate" in text and "loss.r1_gamma" in text
    assert available(tmp_path / "run") == []
    assert [entry["to"] for entry in json.loads((tmp_path / "run" / rollback.NAME).read_text())] == [0, 0]


def test_advice_names_the_checkpoint_to_start_from():
    text = rollback.advice("Why", [Rollback(50, 20), Rollback(60, 20)], Path("runs/a"))
    assert "--run.init-from runs/a" in text and "0.02 kimg" in text and "going back 1 time." in text


def test_rollbacks_are_in_vain_until_a_checkpoint_lies_beyond_them():
    assert rollback.in_vain([]) == 0
    assert rollback.in_vain([Rollback(50, 40)]) == 1
    assert rollback.in_vain([Rollback(50, 40), Rollback(58, 50)]) == 2
    assert rollback.in_vain([Rollback(50, 40), Rollback(70, 60)]) == 1
    assert rollback.in_vain([Rollback(50, 40), Rollback(70, 60), Rollback(75, 60), Rollback(70, 40)]) == 3


def test_orders_and_keys_differ_by_the_number_of_rollbacks():
    seeds = [rollback.order_seed(7, n) for n in range(5)]
    assert seeds[0] == 7 and len(set(seeds)) == 5 and all(0 <= seed < 2**32 for seed in seeds)
    keys = {tuple(jax.random.key_data(rollback.other_key(jax.random.key(7), n)).tolist()) for n in range(1, 5)}
    assert len(keys) == 4


def test_the_list_is_on_disk_before_training_goes_on(tmp_path, monkeypatch):
    """A run that is killed by a power cut and resumed must not take the way that diverged once more."""
    synced: list[str] = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    rollback.write(tmp_path, [Rollback(3000, 2000)])
    assert [Path(name).name for name in synced][1:] == [tmp_path.name] and "rollbacks" in synced[0]
    assert rollback.read(tmp_path) == [Rollback(3000, 2000)]
    (entry,) = json.loads((tmp_path / rollback.NAME).read_text())
    assert entry == {"at": 3000, "to": 2000, "crc32": entry["crc32"]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"5",
        b"null",
        b"{}",
        b"[5]",
        b'[{"at": 5}]',
        b'[{"at": "5", "to": 1}]',
        b'[{"at": -1, "to": 0}]',
        b"[{",
        b"\xff",
    ]
    + [b"[" * 100_000, b'[{"at": 1e999, "to": 0}]', b'[{"at": ' + b"9" * 5000 + b', "to": 0}]'],
)
def test_a_damaged_list_is_a_sentence_with_the_way_out(tmp_path, data):
    (tmp_path / rollback.NAME).write_bytes(data)
    with pytest.raises(
        RunError, match=r"rollbacks\.json: .* Restore it from a copy; or delete it, and the run goes on"
    ):
        rollback.read(tmp_path)


def test_a_run_with_damaged_scalars_resumes(tmp_path):
    """Lines of other things, and bytes that are no text, cost these lines alone, and the log says so."""
    folder = tmp_path / "run"
    train(tiny(folder), Poison(steps=12, do=terminate))
    with (folder / "stats.jsonl").open("ab") as file:
        file.write(b'null\n{}\n\xff\n{"nimg": "many"}\n7\n')
    train(tiny(folder))
    assert [line["nimg"] for line in stats(folder)] == [20, 40, 60, 80]
    assert len((folder / "stats.jsonl.damaged").read_bytes().splitlines()) == 5
    assert "5 lines that cannot be read are now in stats.jsonl.damaged" in (folder / "log.txt").read_text()
