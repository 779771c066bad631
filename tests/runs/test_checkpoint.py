import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegen.config import AugmentConfig, Config
from stylegen.config_json import to_json
from stylegen.runs import checkpoint, checkpoint_layout
from stylegen.runs.checkpoint import Checkpointer, CheckpointError, available, load_generator, read_config
from stylegen.training import schedule
from stylegen.training.state import TrainState
from tests.support.configs import tiny_config
from tests.support.devices import with_devices
from tests.support.paths import ROOT
from tests.support.states import numbers, random_state

# Eight channels, so that a weight is larger than what Orbax writes about it.
CONFIG = tiny_config(
    data={"batch": 8},
    generator={"channel_max": 8},
    discriminator={"channel_max": 8},
    schedule={"stable_kimg": 3, "fade_kimg": 1, "total_kimg": 10},
)


def make_state(nimg: int, config: Config = CONFIG) -> TrainState:
    return random_state(nimg, config)


def assert_same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(numbers(a), numbers(b), strict=True):
        assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


def save(run: Path, *nimgs: int, keep_last: int = 10, keep_every_nimg: int | None = None) -> None:
    run.mkdir(exist_ok=True)
    (run / "config.json").write_text(to_json(CONFIG))
    with Checkpointer(run, CONFIG, keep_last=keep_last, keep_every_nimg=keep_every_nimg) as checkpointer:
        for nimg in nimgs:
            checkpointer.save(make_state(nimg), schedule.at(CONFIG, nimg), {"position": [nimg]})


def restore(run: Path, config: Config = CONFIG) -> tuple[checkpoint.Restored | None, list[str]]:
    log: list[str] = []
    with Checkpointer(run, config, keep_last=10) as checkpointer:
        return checkpointer.restore(log=log.append), log


def step(run: Path, nimg: int) -> Path:
    return run / "checkpoints" / f"{nimg:09d}"


def damage_data(item: Path) -> None:
    """Cut off the end of every file of array contents."""
    for path in item.rglob("d/*"):
        path.write_bytes(path.read_bytes()[:-10])


def flip_bit(item: Path, leaf: jax.Array) -> None:
    """Change one number on disk."""
    for path in item.rglob("d/*"):
        data = bytearray(path.read_bytes())
        if (at := data.find(np.asarray(leaf).tobytes())) >= 0:
            data[at + leaf.nbytes // 2] ^= 1
            path.write_bytes(data)
            return
    raise AssertionError("the leaf is not there, or compressed")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A run with two checkpoints; the tests that change it take a copy."""
    run = tmp_path_factory.mktemp("saved") / "run"
    save(run, 1500, 2500)
    return run


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "run")


def python(code: str, *args: object, devices: int = 1) -> subprocess.CompletedProcess:
    """Run code after this module's names in another process."""
    environment = with_devices(devices) | {"PYTHONPATH": str(ROOT)}
    code = "import sys\nfrom tests.runs.test_checkpoint import *\n" + textwrap.dedent(code)
    command = [sys.executable, "-c", code, *map(str, args)]
    # The limit is against hanging, not slowness.
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


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


def donated_update(state: TrainState) -> TrainState:
    """A step that overwrites every buffer."""

    def change(leaf: jax.Array) -> jax.Array:
        return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf * 2 + 1

    return jax.tree.map(change, state)


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
    monkeypatch.setattr(checkpoint.checkpoint_layout, "FORMAT", 2)
    monkeypatch.setattr(checkpoint, "Meta", lambda **fields: checkpoint.checkpoint_layout.Meta(**fields, format=2))
    save(tmp_path, 100)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 2, .*reads format 1"):
        restore(tmp_path)


def test_generator_is_what_training_saw(run):
    save(run, 3250)  # a quarter into a fade
    generator = load_generator(run)
    want = make_state(3250)
    assert (generator.resolution, generator.alpha, generator.kimg) == (8, 0.25, 3.25)
    assert generator.config == CONFIG and generator.source.endswith("000003250")
    assert_same(generator.params, want.g_ema)
    assert_same(generator.noise_const, want.noise_const)
    assert_same(generator.w_avg, want.w_avg)


def test_generator_needs_its_own_item_only(run):
    shutil.rmtree(step(run, 2500) / "train")
    before = sorted(run.rglob("*"))
    assert load_generator(run).kimg == 2.5
    assert sorted(run.rglob("*")) == before


def test_generator_of_a_given_time(run):
    assert load_generator(run, kimg=1.5).kimg == 1.5
    assert load_generator(run, kimg=1.1).kimg == 1.5
    assert load_generator(run, kimg=3).kimg == 2.5
    with pytest.raises(CheckpointError, match=r"has no checkpoint at 7 kimg; it has 1.5, 2.5\."):
        load_generator(run, kimg=7)


def test_generator_falls_back_unless_its_time_was_given(run):
    damage_data(step(run, 2500) / "ema")
    log: list[str] = []
    assert load_generator(run, log=log.append).kimg == 1.5
    assert len(log) == 1 and "2.5 kimg" in log[0] and "using the one at 1.5 kimg" in log[0]
    with pytest.raises(CheckpointError, match="000002500: ema: "):
        load_generator(run, kimg=2.5)
    assert available(run) == [1500, 2500]


def test_generator_leaves_an_unfinished_save_alone(run):
    unfinished = run / "checkpoints" / "000003500.orbax-checkpoint-tmp"
    unfinished.mkdir()
    load_generator(run)
    assert unfinished.is_dir() and available(run) == [1500, 2500]


def test_bad_run_directories(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere is no run directory: it does not exist"):
        load_generator(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no run directory: it has no config.json"):
        load_generator(tmp_path)
    path = tmp_path / "config.json"
    with pytest.raises(CheckpointError, match="no run directory: it is a file"):
        path.write_text("{")
        read_config(path)
    for text in ("{", "[]", '{"resolution": 17}', '{"resolution": "x"}', '{"data": 3}', '{"sizes": 3}', "\x00\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(CheckpointError, match="config.json cannot be used: "):
            read_config(tmp_path)
    path.write_text(to_json(CONFIG))
    assert read_config(tmp_path) == CONFIG
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_generator(tmp_path)


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
