"""Files in object stores, ``gs://``, ``s3://`` and the like, through fsspec, as etils.epath reads them too.

An object is there whole or not at all, and nothing can be renamed or locked. What fails is tried again, because
networks fail for seconds.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from stylegen.errors import StylegenError
from stylegen.io.files import replacing
from stylegen.untrusted import FileError, json_text, shown

RETRIES, FIRST_WAIT = 4, 1.0  # times that an operation is tried again, and the seconds before the first; then doubled
PACKAGES = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}  # the extra that a scheme needs

_T = TypeVar("_T")


class StoreError(StylegenError):
    """An object store cannot be used; the message says which, why, and what to do."""


def is_url(path: object) -> bool:
    """Whether this names something in an object store, ``gs://bucket/name``, and no path of a disk."""
    return "://" in str(path)


class Store:
    """A folder of an object store: objects by their names below it."""

    def __init__(self, url: str):
        """Open it; nothing is read.

        Args:
            url: ``gs://bucket/folder``, ``s3://bucket/folder``.

        Raises:
            StoreError: there is no such kind of store, or its package is not installed.
        """
        import fsspec

        self.url = url.rstrip("/")
        scheme = url.partition("://")[0]
        try:
            options = {"auto_mkdir": True} if scheme == "file" else {}
            self._fs, self._root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError) as error:
            extra = PACKAGES.get(scheme)
            fix = f"pip install 'stylegen[{extra}]'" if extra else "give gs://, s3:// or a folder"
            raise StoreError(f"{url} cannot be used ({error}): {fix}.") from error

    def list(self) -> dict[str, int]:
        """Sizes in bytes of all objects, by name."""

        def find() -> dict[str, int]:
            self._fs.invalidate_cache()
            entries = self._fs.find(self._root, detail=True)
            return {path[len(self._root) :].lstrip("/"): int(info["size"]) for path, info in entries.items()}

        return self._retried(find, "listed")

    def read(self, name: str) -> bytes | None:
        """An object; None if there is none."""

        def cat() -> bytes | None:
            try:
                return bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

        return self._retried(cat, name)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None if there is none, or it is damaged."""
        data = self.read(name)
        try:
            return None if data is None else json_text.parse_object(data, f"{self.url}/{name}")
        except FileError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._retried(lambda: self._fs.pipe_file(self._path(name), data), name)

    def put(self, path: Path, name: str) -> None:
        """Copy a file into the store. FileNotFoundError if it is gone."""
        self._retried(lambda: self._fs.put_file(str(path), self._path(name)), name)

    def get(self, name: str, path: Path) -> None:
        """Copy an object to a file, whole or not at all.

        Raises:
            StoreError: it cannot be read; or its name, which a stranger may have chosen, could lead elsewhere.
        """
        if "\\" in name or Path(name).is_absolute() or any(part in ("", ".", "..") for part in name.split("/")):
            raise StoreError(f"{self.url}: {shown(name)} is no name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            self._retried(lambda: self._fs.get_file(self._path(name), str(partial)), name)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are gone already are no error."""
        for name in names:

            def remove(name: str = name) -> None:
                with suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(name))

            self._retried(remove, name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _retried(self, operation: Callable[[], _T], what: str) -> _T:
        wait = FIRST_WAIT
        for attempt in range(RETRIES + 1):
            try:
                return operation()
            except FileNotFoundError:
                raise
            except PermissionError as error:
                raise StoreError(f"{self.url}/{what}: {error}; check your credentials.") from error
            except Exception as error:  # of as many kinds as there are stores
                if attempt == RETRIES:
                    line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                    raise StoreError(f"{self.url}/{what}: {line}, after {attempt + 1} attempts.") from error
                time.sleep(wait)
                wait *= 2
        raise AssertionError
