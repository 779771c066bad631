import dataclasses
import json
import shutil
import signal
import warnings

import jax
import pytest

from stylegen.config import AugmentConfig
from stylegen.config_json import to_json
from stylegen.runs.checkpoint import Checkpointer, CheckpointError, available, load_generator, read_config
from stylegen.training import schedule
from tests.support.checkpoints import CONFIG, assert_same, donated_update, make_state, python, restore, save, step
from tests.support.states import numbers


def test_round_trip_is_exact(run):
    restored, log = restore(run)
    assert log == []
    assert_same(restored.state, make_state(2500))
    assert restored.state.key.dtype == make_state(0).key.dtype
    stage = schedule.at(CONFIG, 2500)
    meta = restored.meta
    assert (meta.nimg, meta.kimg, meta.resolution, meta.alpha, meta.phase) == (2500, 2.5, 4, 1.0, stage.phase)
    assert meta.extra == {"position": [2500]}
    assert meta.config == json.loads(to_json(CONFIG))
    assert meta.versions["jax"] == jax.__version__


def test_strength_of_augmentation_is_restored_and_others_have_none(run, tmp_path):
    """Checkpoints from before there was augmentation, and configurations without it, have no such leaves."""
    meta = json.loads((step(run, 2500) / "meta" / "metadata").read_text())["meta"]
    assert not [path for path in meta["leaves"] if path.startswith("augment")]
    old = json.loads((run / "config.json").read_text())
    del old["augment"]
    (run / "config.json").write_text(json.dumps(old))
    assert read_config(run) == CONFIG and load_generator(run).kimg == 2.5
    assert restore(run)[0].state.augment is None
    adaptive = dataclasses.replace(CONFIG, augment=AugmentConfig("ada"))
    with pytest.raises(CheckpointError, match=r"does not fit the configuration: it has no augment\.p \(and 2 more\)"):
        restore(run, adaptive)
    state = make_state(3000, adaptive)
    with Checkpointer(tmp_path / "other", adaptive, keep_last=1) as checkpointer:
        checkpointer.save(state, schedule.at(adaptive, 3000))
        assert_same(checkpointer.restore().state, state)
    assert len(jax.tree.leaves(state.augment)) == 3


def test_averaged_weights_are_stored_once(run):
    meta = json.loads((step(run, 2500) / "meta" / "metadata").read_text())["meta"]
    leaves = {item: (step(run, 2500) / item / "_METADATA").read_text() for item in ("ema", "train")}
    for path in meta["leaves"]:
        assert [f"{path}'" in text for text in leaves.values()].count(True) == 1, path
    assert "g_ema." in leaves["ema"] and "g_ema." not in leaves["train"] and "g_opt." not in leaves["ema"]


def test_nothing_to_restore(tmp_path):
    with Checkpointer(tmp_path / "new" / "run", CONFIG, keep_last=1) as checkpointer:
        assert checkpointer.restore() is None
        assert checkpointer.latest is None
    assert available(tmp_path / "nowhere") == []


def test_save_does_not_see_later_steps(tmp_path):
    run, update = tmp_path / "run", jax.jit(donated_update, donate_argnums=0)
    update(make_state(1))  # compiled before, so that the updates follow the save at once
    state = make_state(500)
    before = numbers(state)
    with Checkpointer(run, CONFIG, keep_last=1) as checkpointer:
        checkpointer.save(state, schedule.at(CONFIG, 500))
        for _ in range(20):
            state = update(state)
        jax.block_until_ready(state.g)
        checkpointer.wait()
        restored = checkpointer.restore().state
    for a, b in zip(numbers(restored), before, strict=True):
        assert a.tobytes() == b.tobytes()


def test_restored_buffers_can_be_donated(run):
    state = restore(run)[0].state
    addresses = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state) if x is not state.key]
    assert len(set(addresses)) == len(addresses)
    updated = jax.jit(donated_update, donate_argnums=0)(state)
    assert_same(updated, donated_update(make_state(2500)))


def test_keeps_the_last_and_one_every_so_often(tmp_path):
    run = tmp_path / "run"
    nimgs = [900, 1010, 4100, 4200, 4300]
    for nimg in nimgs[:2], nimgs[2:]:  # the rule outlives the process
        save(run, *nimg, keep_last=1, keep_every_nimg=1000)
    assert available(run) == [1010, 4100, 4300]
    assert restore(run)[0].meta.nimg == 4300


def test_saving_what_is_there_is_an_error(run):
    with Checkpointer(run, CONFIG, keep_last=5) as checkpointer:
        for nimg in (2500, 2000):
            with pytest.raises(CheckpointError, match="was not saved: .* already has one at 2.5 kimg"):
                checkpointer.save(make_state(nimg), schedule.at(CONFIG, nimg))


def test_checkpoint_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be used for checkpoints"):
        Checkpointer(tmp_path, CONFIG, keep_last=1)


def test_killed_while_saving(tmp_path):
    """Killed at the last moment: everything is written, but for the rename that makes it a checkpoint."""
    code = """
        import os
        run = Path(sys.argv[1])
        save(run, 500)
        rename = os.rename
        def last_moment(a, b, **keywords):
            if str(b).endswith("000000600"):
                os.kill(os.getpid(), signal.SIGKILL)
            rename(a, b, **keywords)
        os.rename = os.replace = last_moment
        save(run, 600)
    """
    result = python(code, tmp_path)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert available(tmp_path) == [500]
    assert list((tmp_path / "checkpoints").glob("000000600*tmp*"))
    assert load_generator(tmp_path).kimg == 0.5
    restored, log = restore(tmp_path)
    assert_same(restored.state, make_state(500))
    assert log == [] and sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000000500"]
    save(tmp_path, 600)
    assert_same(restore(tmp_path)[0].state, make_state(600))


def test_full_disk(tmp_path):
    code = """
        import resource
        run = Path(sys.argv[1])
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with Checkpointer(run, CONFIG, keep_last=1) as checkpointer:
            checkpointer.save(make_state(500), schedule.at(CONFIG, 500))
            checkpointer.wait()
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # files of 5 kB at most: writing fails
            try:
                checkpointer.save(make_state(600), schedule.at(CONFIG, 600))
                checkpointer.wait()
            except CheckpointError as error:
                print(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert available(run) == [500]
            assert_same(checkpointer.restore().state, make_state(500))
            checkpointer.save(make_state(600), schedule.at(CONFIG, 600))
        assert available(run) == [600], available(run)
    """
    result = python(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert "checkpoint at 0.6 kimg could not be saved" in result.stdout and "File too large" in result.stdout
    assert result.stdout.count("\n") == 1


def test_disk_without_room(run, monkeypatch):
    room = shutil.disk_usage(run)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    with pytest.raises(CheckpointError, match=r"at 3.5 kimg was not saved: it takes \d+\.\d kB, .* has 1\.0 kB left"):
        save(run, 3500)
    assert available(run) == [1500, 2500]


def test_any_number_of_devices(run):
    """Saved on one device, restored and saved on two, restored on one; and quietly."""
    code = """
        from stylegen.runtime import sharding
        mesh = sharding.make_mesh(CONFIG)
        assert mesh.size == 2
        with Checkpointer(sys.argv[1], CONFIG, keep_last=5) as checkpointer:
            state = checkpointer.restore(sharding.replicated(mesh)).state
            assert all(leaf.sharding.device_set == set(mesh.devices.flat) for leaf in jax.tree.leaves(state))
            assert_same(state, make_state(2500))
            state = jax.jit(donated_update, donate_argnums=0)(state)
            assert_same(state, donated_update(make_state(2500)))
            state = sharding.put_replicated(mesh, make_state(3500))
            checkpointer.save(state, schedule.at(CONFIG, 3500))
            state = jax.jit(donated_update, donate_argnums=0)(state)
    """
    result = python(code, run, devices=2)
    assert result.returncode == 0, result.stderr
    assert result.stdout == result.stderr == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(restore(run)[0].state, make_state(3500))


def test_what_is_left_of_a_deleted_checkpoint_goes_when_the_run_is_resumed(tmp_path):
    """And all that the next save would delete; not one that is kept for ever, nor before the newest is known good."""
    run = tmp_path / "run"
    save(run, 1010, 4100, 4200, 4300)
    shutil.rmtree(step(run, 4200) / "train")  # as a process leaves it that is killed while it deletes
    with Checkpointer(run, CONFIG, keep_last=1, keep_every_nimg=4000) as checkpointer:
        assert available(run) == [1010, 4100, 4200, 4300]
        assert checkpointer.restore().meta.nimg == 4300
        assert available(run) == [4100, 4300]
        checkpointer.save(make_state(4400), schedule.at(CONFIG, 4400))
    assert available(run) == [4100, 4400]
