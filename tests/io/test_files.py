"""Files and folders are whole or absent, also after an error, a kill or a power cut."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stylegen.io import files
from stylegen.io.tensor_files import save_tensors
from tests.support.disks import small_files


def tree(folder: Path) -> dict[str, str | None]:
    """Every path below a folder, with the text of files."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in paths}


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, str]]:
    """(fsync or replace, name) in their order; the name of what is synced, or of the place that is taken."""
    recorded: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        recorded.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def replaced(source, target) -> None:
        recorded.append(("replace", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "replace", replaced)
    return recorded


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        assert partial.suffix == ".txt", "encoders go by the extension"
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"a.txt": "old"}


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, calls):
    files.write_text(tmp_path / "new" / "a.txt", "whole: ü")
    kinds = [(kind, name if kind == "replace" or name == "new" else "partial") for kind, name in calls]
    assert kinds == [("fsync", "partial"), ("replace", "a.txt"), ("fsync", "new")]
    assert (tmp_path / "new" / "a.txt").read_bytes() == "whole: ü".encode()


def test_what_can_be_drawn_again_does_not_wait_for_the_disk(tmp_path, calls):
    with files.replacing(tmp_path / "a.txt", durable=False) as partial:
        partial.write_text("whole")
    assert calls == [("replace", "a.txt")] and tree(tmp_path) == {"a.txt": "whole"}


def test_json_ends_with_a_line_and_has_the_wanted_indent(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": [1]}, indent=1)
    assert (tmp_path / "a.json").read_text() == '{\n "b": [\n  1\n ]\n}\n'
    files.write_json(tmp_path / "a.json", {"b": 1})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1\n}\n'


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", [object()])
    assert json.loads((tmp_path / "a.json").read_text()) == [1] and len(tree(tmp_path)) == 1


def test_a_new_folder_comes_by_one_rename_after_all_that_is_in_it(tmp_path, calls):
    with files.replacing_folder(tmp_path / "in" / "run") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "a.txt").write_text("a")
        (partial / "b.txt").write_text("b")
        assert not (tmp_path / "in" / "run").exists()
    assert tree(tmp_path / "in") == {"run": None, "run/b.txt": "b", "run/deep": None, "run/deep/a.txt": "a"}
    position = calls.index(("replace", "run"))
    assert {name for _, name in calls[:position]} > {"a.txt", "b.txt", "deep"}
    assert calls[position + 1 :] == [("fsync", "in")]


def test_a_folder_that_is_there_keeps_its_other_files_and_gets_the_last_one_last(tmp_path, calls):
    (tmp_path / "run").mkdir()
    for name in ("kept.txt", "b.txt"):
        (tmp_path / "run" / name).write_text("old")
    with files.replacing_folder(tmp_path / "run", last="a.json") as partial:
        for name in ("a.json", "b.txt", "c.txt"):
            (partial / name).write_text("new")
    assert tree(tmp_path / "run") == {"a.json": "new", "b.txt": "new", "c.txt": "new", "kept.txt": "old"}
    assert [name for kind, name in calls if kind == "replace"] == ["b.txt", "c.txt", "a.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing_folder(tmp_path / "run") as partial:
        (partial / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"run": None, "run/a.txt": "old"}


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    code = f"""
import time
from stylegen.io import files
from stylegen.io.tensor_files import save_tensors
with files.replacing({str(tmp_path / "a.txt")!r}) as one, files.replacing_folder({str(tmp_path / "run")!r}) as many:
    one.write_text("half")
    (many / "b.txt").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    (tmp_path / ".hidden").write_text("kept")
    (tmp_path / "partial.txt").write_text("kept")
    assert len(tree(tmp_path)) == 5 and not (tmp_path / "a.txt").exists() and not (tmp_path / "run").exists()
    files.remove_partial(tmp_path)
    assert tree(tmp_path) == {".hidden": "kept", "partial.txt": "kept"}


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    code = f"""
import time
from pathlib import Path
from stylegen.io import files
from stylegen.io.tensor_files import save_tensors
with files.exclusive(Path({str(tmp_path)!r}), RuntimeError("busy")):
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        with pytest.raises(RuntimeError, match="busy"), files.exclusive(tmp_path, RuntimeError("busy")):
            pytest.fail("held twice")
        process.kill()
    with files.exclusive(tmp_path, RuntimeError("busy")):
        pass


def test_nothing_else_in_the_package_renames_or_syncs():
    """One scheme for all: a second one would have its own mistakes, and its own leftovers after a kill."""
    this_module = Path(files.__file__)
    for path in sorted(this_module.parents[1].rglob("*.py")):
        if path != this_module:
            text = path.read_text()
            for call in ("os.replace(", "os.fsync(", '.partial"', '.part"', "NamedTemporaryFile"):
                assert call not in text, f"{path}: {call} is for io/files.py"


def test_numbers_in_names_count_as_numbers():
    names = ["a.png", "a1.png", "a2.png", "a10.png", "b4/c.png", "b16/a.png", "b16/c", "b128/a.png", "b128/b1/a.png"]
    assert sorted(set(names), key=files.natural_order) == names != sorted(names)
    assert sorted(["7.png", "x.png", "007.png"], key=files.natural_order) == ["007.png", "7.png", "x.png"]
    padded = [f"img{i:05d}.png" for i in range(0, 20_000, 777)]
    assert sorted(padded, key=files.natural_order) == sorted(padded), "as before where numbers are padded"


@pytest.mark.parametrize(
    ("names", "taken", "expected"),
    [
        (["room", "room"], [], ["room", "room-2"]),
        (["room-2", "room"], [], ["room-2", "room"]),
        (["room", "room", "room-2"], [], ["room", "room-3", "room-2"]),
        (["room", "room-2", "room", "room"], [], ["room", "room-2", "room-3", "room-4"]),
        (["grid", "Grid", "grid-2"], ["grid"], ["grid-3", "Grid-4", "grid-2"]),
        (["Room", "room"], [], ["Room", "room-2"]),
        (["../a", "", "b\\c"], [], [".._a", "_", "b_c"]),
    ],
)
def test_names_differ(names, taken, expected):
    assert files.unique_names(names, taken) == expected


def test_what_can_be_written_is_tested_without_a_trace(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    files.check_writable(tmp_path / "new" / "folder" / "a.txt")
    files.check_writable(tmp_path / "old.txt")
    files.check_writable(tmp_path / f"{'n' * 250}.txt")
    assert tree(tmp_path) == {"old.txt": "old"}
    for path in (tmp_path, tmp_path / "old.txt" / "a.txt", tmp_path / f"{'n' * 252}.txt"):
        with pytest.raises(OSError) as refused:
            files.check_writable(path)
        assert refused.value.filename in (str(path), str(tmp_path / "old.txt")) and refused.value.strerror
    assert tree(tmp_path) == {"old.txt": "old"}


def test_a_name_as_long_as_a_disk_allows_can_be_written(tmp_path):
    path = tmp_path / f"{'n' * 251}.txt"
    files.write_text(path, "whole")
    assert tree(tmp_path) == {path.name: "whole"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_errors_name_what_is_to_be_written(tmp_path):
    with (
        pytest.raises(OSError, match="No space left on device") as full,
        files.replacing(tmp_path / "a.txt"),
        open("/dev/full", "w", buffering=1) as file,
    ):
        file.write("line\n")
    assert full.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError) as lacking, files.replacing_folder(tmp_path / "run") as partial:
        (partial / "no" / "folder").write_text("")
    assert lacking.value.filename == str(tmp_path / "run")
    with pytest.raises(FileNotFoundError) as other, files.replacing(tmp_path / "a.txt"):
        (tmp_path / "source").read_text()
    assert other.value.filename == str(tmp_path / "source")


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.parametrize("in_a_folder", [False, True])
def test_what_a_killed_process_left_goes_when_the_same_is_written_again(in_a_folder, gone, tmp_path):
    def leave(name: str, seconds_ago: float) -> None:
        path = tmp_path / name
        if in_a_folder:
            path.mkdir()
            (path / "b").write_text("half")
        else:
            path.write_text("half")
        changed = time.time() - seconds_ago
        for part in (*path.rglob("*"), path):
            os.utime(part, (changed, changed))

    leave(f".a.{gone}.partial.txt", 3600)
    leave(f".a.{os.getppid()}.partial.txt", 3600)  # of a process that is there
    leave(f".b.{gone}.partial.txt", 3600)  # of another file
    leave(f".a.{gone}.partial.png", 3600)
    leave(f".c.{gone}.partial.txt", 1)  # of a process on another machine, perhaps
    before = set(os.listdir(tmp_path))
    files.write_text(tmp_path / "a.txt", "new")
    files.write_text(tmp_path / "c.txt", "new")
    assert before - set(os.listdir(tmp_path)) == {f".a.{gone}.partial.txt"}


def test_errors_of_tensors_are_those_of_the_file_system(tmp_path):
    with small_files(16_384), pytest.raises(OSError) as full:
        save_tensors(tmp_path / "a.safetensors", {"a": np.zeros(10_000, np.float32)})
    assert full.value.filename == str(tmp_path / "a.safetensors") and full.value.errno == errno.EFBIG
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.png"), "a.png: no space left on device; free some space"),
        (OSError(errno.EROFS, "Read-only file system", b"a.png"), "a.png: read-only file system; give a place on"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device; free"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.png"), "a.png: no such file or directory"),
        (OSError("cannot write mode RGBA as JPEG"), "cannot write mode RGBA as JPEG"),
    ],
)
def test_errors_say_which_path_and_what_to_do(error, expected):
    assert files.why(error).startswith(expected)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a.png", ["a.png"]),
        ("a.png, b.png", ["a.png", "b.png"]),
        ("comma, one.png", ["comma, one.png"]),
        (" comma, one.png ,a.png", ["comma, one.png", "a.png"]),
        ("a.png,comma, one.png,x,y", ["a.png", "comma, one.png", "x,y"]),
        ("x,none.png", ["x", "none.png"]),
        ("a.png,", ["a.png", ""]),
        ("", [""]),
        ("a.png," + "n" * 5000, ["a.png", "n" * 5000]),
    ],
)
def test_a_file_that_exists_is_that_file_with_its_commas(text, paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "comma, one.png"):
        Path(name).touch()
    Path("x,y").mkdir()
    assert files.split_paths(text) == paths
