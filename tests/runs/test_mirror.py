"""Runs in object stores: what is there after faults, and who may go on with it."""

import dataclasses
import hashlib
import json
import shutil
import threading
from pathlib import Path

import pytest

import stylegen
from stylegen.io import objects
from stylegen.io.objects import Store, StoreError
from stylegen.runs import directory
from stylegen.runs.checkpoint import available
from stylegen.runs.directory import RunError
from stylegen.runs.mirror import COMPLETE, Mirror, fetched
from stylegen.train import train
from tests.support.hooks import Interrupt, Killed
from tests.support.stores import Faulty, s3_server
from tests.test_train import assert_same_run, stats, tiny


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "FIRST_WAIT", 0.001)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make_checkpoint(folder: Path, nimg: int, files: int = 3) -> None:
    step = folder / "checkpoints" / f"{nimg:09d}"
    for i in range(files):
        path = step / "train" / f"{i}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([nimg % 251, i]) * 100)


def opened(url: str, folder: Path) -> Mirror:
    mirror = Mirror(url, folder)
    mirror.pull()
    mirror.take_over(clear=False)
    return mirror


def steps_in(url: str) -> list[str]:
    return sorted(name.split("/")[1] for name in Store(url).list() if name.endswith(COMPLETE))


def test_what_was_copied_comes_back(tmp_path):
    url, one, two = Faulty.reset(), tmp_path / "one", tmp_path / "two"
    mirror = opened(url, one)
    make_checkpoint(one, 64)
    (one / "config.json").write_text("{}")
    (one / "tensorboard").mkdir()
    (one / "tensorboard" / "events").write_bytes(b"e")
    (one / ".log.txt.1.partial").write_text("half")
    mirror.copy()
    Mirror(url, two).pull()
    files = {str(path.relative_to(two)): path.read_bytes() for path in two.rglob("*") if path.is_file()}
    assert set(files) == {
        *("config.json", "tensorboard/events"),
        *(f"checkpoints/000000064/train/{i}.bin" for i in range(3)),
    }
    assert files["checkpoints/000000064/train/2.bin"] == bytes([64, 2]) * 100


def test_only_what_changed_is_copied_and_what_is_gone_is_deleted(tmp_path):
    url, folder = Faulty.reset(), tmp_path / "run"
    mirror = opened(url, folder)
    make_checkpoint(folder, 64)
    (folder / "config.json").write_text("{}")
    mirror.copy()
    Faulty.log.clear()
    mirror.copy()
    assert Faulty.log == []
    shutil.rmtree(folder / "checkpoints" / "000000064")
    make_checkpoint(folder, 128)
    mirror.copy()
    assert steps_in(url) == ["000000128"] and len(Store(url).list()) == 6, "with config.json and owner.json"


@pytest.mark.parametrize("writes", range(8))
def test_a_kill_between_any_two_objects_leaves_the_checkpoint_before(writes, tmp_path):
    url, folder = Faulty.reset(), tmp_path / "run"
    mirror = opened(url, folder)
    make_checkpoint(folder, 64)
    mirror.copy()
    make_checkpoint(folder, 128)
    (folder / "log.txt").write_text("later")
    Faulty.fatal_after = writes
    try:
        mirror.copy()
    except StoreError:
        assert writes < 5  # log.txt, three files and complete.json
    Faulty.fatal_after = None
    Mirror(url, tmp_path / "other").pull()
    assert available(tmp_path / "other") == ([64] if writes < 5 else [64, 128])
    mirror.copy()
    assert steps_in(url) == ["000000064", "000000128"], "and the next attempt completes it"


def test_a_put_that_fails_for_a_moment_is_tried_again(tmp_path):
    url, folder = Faulty.reset(), tmp_path / "run"
    mirror = opened(url, folder)
    make_checkpoint(folder, 64)
    Faulty.failures = objects.RETRIES
    mirror.copy()
    assert steps_in(url) == ["000000064"]
    Faulty.failures = objects.RETRIES + 1
    make_checkpoint(folder, 128)
    with pytest.raises(StoreError, match="503 Slow Down, after 5 attempts"):
        mirror.copy()


def test_a_damaged_object_is_not_taken_for_a_checkpoint(tmp_path):
    url, folder = Faulty.reset(), tmp_path / "run"
    mirror = opened(url, folder)
    make_checkpoint(folder, 64)
    mirror.copy()
    Store(url).write("checkpoints/000000064/train/1.bin", b"\0" * 200)
    with pytest.raises(StoreError, match="train/1.bin is not what was written"):
        Mirror(url, tmp_path / "other").pull()


def test_who_is_overtaken_stops(tmp_path):
    url = Faulty.reset()
    first = opened(url, tmp_path / "one")
    make_checkpoint(tmp_path / "one", 64)
    first.copy()
    opened(url, tmp_path / "two")
    make_checkpoint(tmp_path / "one", 128)
    with pytest.raises(RunError, match="is in use: process"):
        first.copy()
    assert steps_in(url) == ["000000064"]


def test_a_checkpoint_that_could_not_be_copied_stays_on_this_machine_unless_somebody_went_on(tmp_path):
    url, one, two = Faulty.reset(), tmp_path / "one", tmp_path / "two"
    mirror = opened(url, one)
    make_checkpoint(one, 64)
    mirror.copy()
    make_checkpoint(one, 128)
    again = opened(url, one)
    assert available(one) == [64, 128]
    again.copy()
    opened(url, two).copy()
    make_checkpoint(one, 192)
    opened(url, one)
    assert available(one) == [64, 128]


def test_a_slow_store_does_not_hold_the_training_up(tmp_path):
    """What is due while something is copied is copied after it; ``wake`` does not wait."""
    url, folder, said = Faulty.reset(), tmp_path / "run", []
    mirror = opened(url, folder)
    Faulty.delay = 0.05
    mirror.say = said.append
    with mirror.copying():
        for nimg in (64, 128, 192):
            make_checkpoint(folder, nimg)
            mirror.wake()
        assert "checkpoints/000000192" not in "".join(Faulty.log)
    assert steps_in(url) == ["000000064", "000000128", "000000192"] and not said
    assert not [thread for thread in threading.enumerate() if thread.name == "mirror"]


def test_a_failure_at_the_end_says_where_the_run_is(tmp_path):
    url, folder, said = Faulty.reset(), tmp_path / "run", []
    mirror = opened(url, folder)
    mirror.say = said.append
    with pytest.raises(StoreError, match=f"The run is whole in {folder}"), mirror.copying():
        make_checkpoint(folder, 64)
        Faulty.fatal_after = 1
    Faulty.fatal_after = None


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("xla")


@pytest.mark.slow
def test_a_run_in_a_store_is_the_run_of_a_disk_killed_and_resumed_elsewhere(tmp_path, cache, monkeypatch):
    local = train(tiny(tmp_path / "local", cache))
    url = Faulty.reset()
    config = tiny(tmp_path / "unused", cache)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, dir=url))
    half = stats(local)[len(stats(local)) // 2]["nimg"]
    with pytest.raises(Killed):
        train(config, hooks=Interrupt(at=half))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    folder = train(config)
    assert folder == directory.working_copy(url) and "another machine" in str(folder)
    assert_same_run(local, folder)
    assert json.loads(Store(url).read("config.json"))["run"]["dir"] == url
    G = stylegen.load(url)
    assert G.kimg == stylegen.load(local).kimg


@pytest.mark.slow
def test_a_run_on_an_s3_server(tmp_path, cache, monkeypatch):
    with s3_server(monkeypatch) as bucket:
        config = tiny(tmp_path / "unused", cache)
        url = f"{bucket}/runs/tiny"
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, dir=url))
        folder = train(config)
        newest = max(available(folder))
        assert steps_in(url)[-1] == f"{newest:09d}"
        assert available(fetched(url)) == [newest]
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
        other = train(config)  # it has ended; nothing but reading is left
        assert available(other) == available(folder)


def test_a_missing_package_is_named(monkeypatch):
    import fsspec

    def missing(url, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(StoreError, match=r"pip install 'stylegen\[s3\]'"):
        Store("s3://bucket/run")
    monkeypatch.undo()
    with pytest.raises(StoreError, match="give gs://, s3:// or a folder"):
        Store("nothing://bucket/run")


@pytest.mark.slow
def test_two_processes_without_a_shared_disk(tmp_path):
    """Only process 0 has a disk: the other one's working copy may not even exist."""
    from tests.runtime.test_processes import Processes, together
    from tests.runtime.test_processes import tiny as several

    url = f"file://{tmp_path}/bucket/run"
    config = several(tmp_path / "unused", 0.128)
    for kimg in (0.128, 0.16):  # the second one restores
        schedule = dataclasses.replace(config.schedule, total_kimg=kimg)
        run = dataclasses.replace(config.run, dir=url)
        with together(tmp_path, dataclasses.replace(config, schedule=schedule, run=run)) as processes:
            assert isinstance(processes, Processes)
            assert processes.statuses() == [0, 0], processes.output(0) + processes.output(1)
        assert steps_in(url)[-1] == f"{round(kimg * 1000):09d}"
    folder = directory.working_copy(url)
    assert [line["nimg"] for line in stats(folder)] == list(range(16, 161, 16))
    assert "Resuming" in (folder / "log.txt").read_text()
    assert not (tmp_path / "unused").exists() and len(list(folder.parent.iterdir())) == 1


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "train/../../evil", "a\\b", "train//x", "."])
def test_a_store_cannot_write_outside_the_folder(name, tmp_path):
    url = Faulty.reset()
    store = Store(url)
    store.write("config.json", b"{}")
    store.write(f"checkpoints/000000064/{COMPLETE}", json.dumps({"files": {name: [4, "0"]}}).encode())
    before = sorted(tmp_path.rglob("evil"))
    for read in (lambda: fetched(url), lambda: Mirror(url, tmp_path / "run").pull()):
        with pytest.raises(StoreError, match="is no name of a file"):
            read()
    assert sorted(tmp_path.rglob("evil")) == before == []


@pytest.mark.parametrize(
    "step",
    ["checkpoints/../../../evil", "checkpoints/x/000000064", "../evil/000000064", "checkpoints/000000064/../../evil"],
)
def test_only_numbers_are_checkpoints(step, tmp_path):
    url = Faulty.reset()
    store = Store(url)
    store.write("config.json", b"{}")
    store.write("checkpoints/000000032/a", b"good")
    good = {"a": [4, hashlib.sha256(b"good").hexdigest()]}
    store.write(f"checkpoints/000000032/{COMPLETE}", json.dumps({"files": good}).encode())
    store.write(f"{step}/{COMPLETE}", b'{"files": {}}')  # the folder would be replaced by an empty one
    folder = tmp_path / "one" / "two" / "run"
    copies = [fetched(url)]
    if step.startswith("checkpoints/"):
        Mirror(url, folder).pull()
        copies.append(folder)
    else:
        with pytest.raises(StoreError, match="is no name of a file"):
            Mirror(url, folder).pull()
    assert not list(tmp_path.rglob("*evil*"))
    for copy in copies:
        assert [path.name for path in (copy / "checkpoints").rglob("*")] == ["000000032", "a"]


@pytest.mark.parametrize("listed", [{}, {"files": []}, {"files": {"a": 1}}, {"files": {"a": ["4", "0"]}}])
def test_a_list_of_files_that_is_none_is_said(listed, tmp_path):
    url = Faulty.reset()
    Store(url).write(f"checkpoints/000000064/{COMPLETE}", json.dumps(listed).encode())
    with pytest.raises(StoreError, match="is no list of files"):
        Mirror(url, tmp_path / "run").pull()


@pytest.mark.parametrize("listed", [b"{", b"[]", b"[" * 100_000], ids=["cut", "another value", "deep"])
def test_a_list_of_files_that_is_no_json_object_is_said(listed, tmp_path):
    url = Faulty.reset()
    Store(url).write(f"checkpoints/000000064/{COMPLETE}", listed)
    with pytest.raises(StoreError, match=f"000000064/{COMPLETE}: .* Delete it to go without this checkpoint"):
        Mirror(url, tmp_path / "run").pull()


@pytest.mark.parametrize("owner", [b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_a_damaged_owner_is_nobody(owner, tmp_path):
    url = Faulty.reset()
    mirror = opened(url, tmp_path / "run")
    Store(url).write("owner.json", owner)
    with pytest.raises(RunError, match="is in use"):
        mirror.copy()
    opened(url, tmp_path / "run").copy()


def test_names_with_dots_have_folders_of_their_own(tmp_path):
    folders = set()
    for version in ("bed-v1.5", "bed-v1.6"):
        url = f"file://{tmp_path}/bucket/{version}"
        Store(url).write("config.json", b"{}")
        folders.add(fetched(url))
    assert len(folders) == 2
