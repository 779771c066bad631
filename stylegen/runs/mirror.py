"""A run directory in an object store: process 0 works in a folder of its own disk, which is copied there.

Object stores lack what a run needs of a file system, renaming and locking above all. So orbax and everything else write
to a working copy, and this copies what is finished. A checkpoint's files come first and then ``complete.json``, with
the size and the hash of each: without it they are no checkpoint, so that a kill between two objects leaves the earlier
checkpoints as they were. Copying runs beside the training. A failure is said, and copying is tried again with the next
checkpoint; at the end of a run it is an error. The other processes need no disk: they get the state from process 0.
"""

import json
import os
import re
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stylegen.io.files import replacing_folder, sha256
from stylegen.io.objects import Store, StoreError
from stylegen.runs.checkpoint_files import available, step_dir
from stylegen.runs.directory import LEFTOVERS, OWNER_TOKEN, RunError, working_copy
from stylegen.untrusted import FileError, json_text

COMPLETE = "complete.json"
OWNER = "owner.json"  # who writes the run


class Mirror:
    """Copies a working copy to its store, in the background."""

    def __init__(self, url: str, folder: Path, store: Store | None = None):
        """Open it; nothing is copied.

        Args:
            url: of the run.
            folder: the working copy.
            store: in the place of the URL's own.
        """
        self.folder = folder
        self.url = url
        self._store = store or Store(url)
        self._token = ""
        self._copied: dict[str, tuple[int, int]] = {}  # size and time of small files, by name
        self._wanted = threading.Event()
        self._closed = False
        self._error: RunError | None = None
        self.say: Callable[[str], None] = print  # is told what could not be copied

    def pull(self) -> None:
        """Make the working copy the run as it is in the store.

        A working copy of this machine that nobody has gone on with since stays as it is: it may have a checkpoint that
        could not be copied.

        Raises:
            StoreError: it cannot be read, or a file is not what was written.
        """
        owner = self._store.read_json(OWNER)
        if owner is not None and self._own_token() == owner.get("token"):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        names = self._store.list()
        for name in names:
            parts = name.split("/")
            if parts[0] != "checkpoints" and name != OWNER:
                self._store.get(name, self.folder / name)
        for step in _complete(names).values():
            self._pull_checkpoint(step)

    def _pull_checkpoint(self, step: str) -> None:
        listed = self._store.read(f"{step}/{COMPLETE}")
        if listed is None:
            return  # deleted meanwhile
        with replacing_folder(self.folder / step) as partial:
            for name, (size, digest) in _files_of(listed, f"{self.url}/{step}/{COMPLETE}").items():
                path = partial / name
                self._store.get(f"{step}/{name}", path)
                if path.stat().st_size != size or sha256(path) != digest:
                    raise StoreError(
                        f"{self.url}/{step}/{name} is not what was written; delete {step} to go without it."
                    )

    def take_over(self, clear: bool) -> None:
        """Become the one who writes the run; who wrote it before notices and stops. ``clear`` deletes it first."""
        if clear:
            self._store.delete(sorted(self._store.list(), key=lambda name: not name.endswith(COMPLETE)))
        self._token = secrets.token_hex(8)
        facts = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._store.write(OWNER, _json(facts))
        (self.folder / OWNER_TOKEN).write_text(self._token)

    def _own_token(self) -> str | None:
        path = self.folder / OWNER_TOKEN
        return path.read_text() if path.is_file() else None

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Copy in the background whenever ``wake`` says so, and what is left at the end.

        Raises:
            StoreError: it could not be copied at the end; the message says where it is.
            RunError: somebody else writes the run now.
        """
        self._closed, self._error = False, None
        thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._closed = True
            self._wanted.set()
            thread.join()
            if self._error is not None:
                raise self._error
            self._copy_the_rest()

    def wake(self) -> None:
        """Let what has changed be copied.

        Raises:
            RunError: somebody else writes the run now.
        """
        if self._error is not None:
            raise self._error
        self._wanted.set()

    def _copy_the_rest(self) -> None:
        try:
            self.copy()
        except StoreError as error:
            raise StoreError(
                f"{error} The run is whole in {self.folder}: the same command on this machine copies it."
            ) from error

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closed:
                return
            try:
                self.copy()
            except (StoreError, OSError) as error:
                self.say(f"{error} Training goes on; copying is tried again with the next checkpoint.")
            except RunError as error:
                self._error = error
                return

    def copy(self) -> None:
        """Copy what is new, and delete what is gone.

        Raises:
            StoreError: the store cannot be used now.
            RunError: somebody else writes the run now.
        """
        owner = self._store.read_json(OWNER) or {}
        if owner.get("token") != self._token:
            raise RunError(
                f"{self.url} is in use: process {owner.get('pid')} on {owner.get('host')} trains there now. "
                "This one stops; its working copy is not used again."
            )
        names = self._store.list()
        # Looked for before the logs are copied, so that these are never older than a checkpoint that is there.
        present = {f"checkpoints/{step_dir(Path(), nimg).name}" for nimg in available(self.folder)}
        self._copy_files(names)
        for step in sorted(present):
            if f"{step}/{COMPLETE}" not in names:
                self._copy_checkpoint(step)
        # What makes it a checkpoint goes first.
        saved = [name for name in names if name.startswith("checkpoints/")]
        gone = [name for name in saved if "/".join(name.split("/")[:2]) not in present]
        self._store.delete(sorted(gone, key=lambda name: not name.endswith(f"/{COMPLETE}")))

    def _copy_files(self, names: dict[str, int]) -> None:
        here = set()
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            own = name.startswith("checkpoints/") or any(map(path.match, LEFTOVERS))
            if own or not path.is_file():
                continue
            here.add(name)
            try:
                status = path.stat()
                state = (status.st_size, status.st_mtime_ns)
                if self._copied.get(name) != state or name not in names:
                    self._store.put(path, name)
                    self._copied[name] = state
            except FileNotFoundError:
                continue  # replaced just now
        gone = [name for name in names if not name.startswith("checkpoints/") and name != OWNER and name not in here]
        self._store.delete(gone)

    def _copy_checkpoint(self, step: str) -> None:
        folder = self.folder / step
        listed: dict[str, Any] = {}
        try:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                name = path.relative_to(folder).as_posix()
                listed[name] = path.stat().st_size, sha256(path)
                self._store.put(path, f"{step}/{name}")
        except FileNotFoundError:
            return  # deleted meanwhile, because newer ones are there
        self._store.write(f"{step}/{COMPLETE}", _json({"files": listed}))


def _complete(names: Iterable[str]) -> dict[int, str]:
    """The prefix of each complete checkpoint, by its images, ascending. A stranger may have chosen the names."""
    found = (re.fullmatch(rf"(checkpoints/([0-9]{{9,18}}))/{re.escape(COMPLETE)}", name) for name in names)
    return dict(sorted((int(match[2]), match[1]) for match in found if match))


def _files_of(listed: bytes, source: str) -> dict[str, tuple[int, str]]:
    """Size and hash of each file that a list names."""
    try:
        files = json_text.parse_object(listed, source).get("files")
    except FileError as error:
        raise StoreError(f"{error} Delete it to go without this checkpoint.") from error
    if not isinstance(files, dict) or not all(
        isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and isinstance(entry[1], str)
        for entry in files.values()
    ):
        raise StoreError(f"{source} is no list of files; delete it to go without this checkpoint.")
    return {name: (size, digest) for name, (size, digest) in files.items()}


def fetched(url: str, kimg: float | None = None) -> Path:
    """A folder with the configuration and the newest complete checkpoint of a run, or the one at ``kimg``, to read.

    Raises:
        StoreError: there is no run, or it cannot be read.
    """
    folder = working_copy(url, ".read")
    store = Store(url)
    names = store.list()
    if "config.json" not in names:
        raise StoreError(f"{url} is no run: it has no config.json.")
    steps = _complete(names)
    shutil.rmtree(folder, ignore_errors=True)
    store.get("config.json", folder / "config.json")
    if steps:
        nimg = max(steps) if kimg is None else min(steps, key=lambda nimg: abs(nimg - kimg * 1000))
        Mirror(url, folder, store)._pull_checkpoint(steps[nimg])
    return folder


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
