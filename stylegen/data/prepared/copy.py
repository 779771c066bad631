"""Copying prepared data from a folder or an object store to a disk of this machine, resumably and verified."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stylegen.data.prepared.manifest import MANIFEST_NAME, Manifest, check_shard, parse_manifest, read_manifest
from stylegen.data.source import DataError
from stylegen.io.files import exclusive, replacing
from stylegen.io.objects import Store, is_url
from stylegen.paths import expanded

THREADS = 8  # files at once

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]


def copy(source: str, folder: Path, *, resolution: int | None = None, progress: Progress | None = None) -> Manifest:
    """Copy what ``prepare`` has written; what is there already, and right, stays. prepared.json comes last.

    Args:
        source: folder, or URL of an object store.
        folder: to copy to: new, or to be continued.
        resolution: the largest that is copied, for a training of that size; None is all.
        progress: passes files on and shows how far it is; called with their number and ``files``.

    Returns:
        The manifest.

    Raises:
        DataError: the source holds no prepared data, the folder holds others, or a shard is not what was prepared.
        StoreError: the object store cannot be read.
    """
    store = Store(source if is_url(source) else expanded(source).absolute().as_uri())
    sizes = store.list()
    data = store.read(MANIFEST_NAME)
    if data is None:
        raise DataError(f"{source} holds no prepared data ({MANIFEST_NAME} is missing).")
    manifest = parse_manifest(data, f"{source}/{MANIFEST_NAME}")
    if resolution is not None:  # the smallest is trained from, whatever smaller one is asked for
        resolution = max(resolution, manifest.settings.resolutions[0])
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, DataError(f"{folder} is in use: another process copies or prepares there.")):
        if (folder / MANIFEST_NAME).is_file():
            existing = read_manifest(folder)
            if existing.fingerprint != manifest.fingerprint:
                raise DataError(f"{folder} holds other prepared data than {source}; give another folder.")
        elif others := [
            path.name for path in folder.iterdir() if path.name not in _tops(sizes) and not path.name.startswith(".")
        ]:
            raise DataError(f"{folder} holds {others[0]}, which is not of {source}; give another folder.")
        checksums = _checksums(manifest)
        names = [name for name in sizes if name != MANIFEST_NAME and _is_wanted(name, resolution)]
        with ThreadPoolExecutor(THREADS, thread_name_prefix="copy") as pool:
            done = pool.map(lambda name: _copy_file(store, name, folder / name, sizes[name], checksums), names)
            for _ in progress(done, len(names), "files") if progress else done:
                pass
        with replacing(folder / MANIFEST_NAME) as partial:
            partial.write_bytes(data)
    return manifest


def _tops(names: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


def _is_wanted(name: str, resolution: int | None) -> bool:
    """Whether a file is copied: not those of larger resolutions, nor what an unfinished preparation left."""
    top = name.split("/")[0]
    return not top.startswith(".") and (resolution is None or not top.isdecimal() or int(top) <= resolution)


def _checksums(manifest: Manifest) -> dict[str, str]:
    """Checksums of shards by name below the folder."""
    return {
        path.as_posix(): expected
        for resolution, sums in manifest.shard_checksums.items()
        for path, expected in zip(manifest.shard_paths(Path(), resolution), sums, strict=True)
    }


def _copy_file(store: Store, name: str, path: Path, size: int, checksums: dict[str, str]) -> list[str]:
    """Copy a file unless it is there; returns its name."""
    if not _is_right(path, size, checksums.get(name)):
        store.get(name, path)
        if path.stat().st_size != size:
            raise DataError(f"{store.url}/{name} has {size} bytes, and {path.stat().st_size} came; copy again.")
        if name in checksums:
            check_shard(path, checksums[name])
    return [name]


def _is_right(path: Path, size: int, checksum: str | None) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    if checksum is None:
        return True
    try:
        check_shard(path, checksum)
    except DataError:
        return False
    return True
