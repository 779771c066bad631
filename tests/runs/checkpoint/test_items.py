import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from stylegen.config import Config
from stylegen.runs import checkpoint_layout
from stylegen.runs.checkpoint import Checkpointer, CheckpointError, available, checkpointer, load_generator
from stylegen.training import schedule
from tests.support.checkpoints import CONFIG, assert_same, damage_data, flip_bit, make_state, restore, save, step


@pytest.mark.parametrize("item, field", [("ema", "g_ema"), ("train", "d")])
def test_flipped_bit_is_found(run, item, field):
    big = lambda tree: max(jax.tree.leaves(tree), key=lambda leaf: leaf.size)  # noqa: E731
    flip_bit(step(run, 2500) / item, big(getattr(make_state(2500), field)))
    restored, log = restore(run)
    assert_same(restored.state, make_state(1500))
    assert len(log) == 1 and f"2.5 kimg is damaged ({item}: wrong CRC of {field}." in log[0] and "1.5 kimg" in log[0]
    assert available(run) == [1500]
    assert (run / "checkpoints" / "damaged-000002500").is_dir()
    save(run, 2500)  # the run goes on over the same ground
    assert_same(restore(run)[0].state, make_state(2500))


def test_flipped_bit_of_meta_is_found(run):
    path = step(run, 2500) / "meta" / "metadata"
    text = path.read_text()
    path.write_text(text.replace('"alpha": 1.0', '"alpha": 0.0'))
    assert path.read_text() != text
    restored, log = restore(run)
    assert restored.meta.nimg == 1500 and "meta: wrong CRC" in log[0]


def damage(run: Path, how: str) -> None:
    newest = step(run, 2500)
    if how == "truncated":
        damage_data(newest / "train")
    elif how == "deleted":
        for path in newest.rglob("d/*"):
            path.unlink()
    elif how == "manifest":
        (newest / "train" / "manifest.ocdbt").unlink()
    elif how == "train":
        shutil.rmtree(newest / "train")
    elif how == "meta":
        shutil.rmtree(newest / "meta")
    elif how == "empty":
        shutil.rmtree(newest)
        newest.mkdir()
    elif how == "another":
        shutil.rmtree(newest)
        shutil.copytree(step(run, 1500), newest)


@pytest.mark.parametrize("how", ["truncated", "deleted", "manifest", "train", "meta", "empty", "another"])
def test_broken_checkpoint_is_passed_over(run, how):
    damage(run, how)
    restored, log = restore(run)
    assert_same(restored.state, make_state(1500))
    assert len(log) == 1 and len(log[0]) < 400
    assert available(run) == [1500]


def test_stray_directories_are_ignored(run):
    folder = run / "checkpoints"
    for name in ("9", "notes", "000000777.orbax-checkpoint-tmp", "damaged-000002500"):
        (folder / name).mkdir()
    (folder / "000009999").write_text("a file")
    (step(run, 500)).mkdir()  # half deleted, and older
    restored, log = restore(run)
    assert restored.meta.nimg == 2500 and log == []
    assert not (folder / "000000777.orbax-checkpoint-tmp").exists()
    save(run, 3500)
    assert restore(run)[0].meta.nimg == 3500


def test_nothing_is_touched_if_no_checkpoint_is_good(run):
    damage_data(step(run, 2500) / "ema")
    shutil.rmtree(step(run, 1500) / "train")
    before = sorted(run.rglob("*"))
    with pytest.raises(CheckpointError, match="No usable") as caught:
        restore(run)
    assert "000002500: ema: " in str(caught.value) and "000001500: train is missing" in str(caught.value)
    assert sorted(run.rglob("*")) == before


def test_default_log_warns(run):
    damage(run, "train")
    with Checkpointer(run, CONFIG, keep_last=1) as checkpointer, pytest.warns(UserWarning, match="is damaged"):
        checkpointer.restore()


def other(**changes) -> Config:
    return dataclasses.replace(CONFIG, generator=dataclasses.replace(CONFIG.generator, **changes))


@pytest.mark.parametrize(
    "config, message",
    [
        (other(channel_max=4), r"g_ema\.\S+ has shape \[16\] where \[8\] is expected \(and \d+ more\)"),
        (other(mapping_layers=3), r"it has no g_ema\.mapping\.dense\.dense2\.bias"),
        (other(mapping_layers=1), r"it has g_ema\.mapping\.dense\.dense1\.bias, which this configuration has not"),
    ],
)
def test_checkpoint_of_another_shape(run, config, message):
    with pytest.raises(CheckpointError, match=f"does not fit the configuration: {message}"):
        restore(run, config)
    assert available(run) == [1500, 2500]


def test_checkpoint_of_another_dtype(tmp_path):
    state = make_state(100)
    state = dataclasses.replace(state, w_avg=state.w_avg.astype(jnp.bfloat16))
    with Checkpointer(tmp_path, CONFIG, keep_last=1) as checkpointer:
        checkpointer.save(state, schedule.at(CONFIG, 100))
        with pytest.raises(CheckpointError, match="w_avg is bfloat16 where float32 is expected"):
            checkpointer.restore()


def test_checkpoint_of_another_kind_of_key(tmp_path):
    state = dataclasses.replace(make_state(100), key=jax.random.key(0, impl="rbg"))
    with Checkpointer(tmp_path, CONFIG, keep_last=1) as checkpointer:
        checkpointer.save(state, schedule.at(CONFIG, 100))
        with pytest.raises(CheckpointError, match=r"key is key<rbg> where key<fry> is expected"):
            checkpointer.restore()


def test_checkpoint_of_another_format(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_layout, "FORMAT", 2)
    monkeypatch.setattr(checkpointer, "Meta", lambda **fields: checkpoint_layout.Meta(**fields, format=2))
    save(tmp_path, 100)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 2, .*reads format 1"):
        restore(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"nimg": "many"},
        {"kimg": None},
        {"kimg": 1e300},
        {"resolution": 2**40},
        {"resolution": 12},
        {"alpha": 2},
        {"alpha": []},
        {"phase": -1},
        {"leaves": []},
        {"leaves": {"w_avg": 5}},
        {"leaves": {"w_avg": {"shape": 5, "dtype": "float32", "crc32": 0}}},
        {"versions": None},
        {"extra": 7},
        {"unknown": 7},
        {"format": [], "versions": 5},
    ],
)
def test_a_description_with_the_right_crc_and_wrong_contents(run, change):
    """Anyone can compute a CRC; what a stranger's run says of itself is checked all the same."""
    for nimg in available(run):
        path = step(run, nimg) / "meta" / "metadata"
        body = json.loads(path.read_text())["meta"] | change
        path.write_text(json.dumps({"crc32": checkpoint_layout._crc32_of_json(body), "meta": body}))
    with pytest.raises(CheckpointError, match="No usable checkpoint|does not fit the configuration|cannot be read"):
        load_generator(run)
