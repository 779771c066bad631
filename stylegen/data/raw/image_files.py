"""Image files in a folder, a zip or a tar, with the classes that a file or folders say."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from stylegen.data.raw import labels as labels_of
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.raw.containers import Tar, open_container
from stylegen.data.source import DataError
from stylegen.io.files import printable
from stylegen.io.image_listing import NoImagesError, choose_images
from stylegen.io.progress import Progress
from stylegen.paths import expanded


class ImageFilesDataset(RawDataset):
    """All image files of a folder or archive, in the natural order of their paths; hidden files are left out.

    ``labels`` is a mode of ``stylegen.data.raw.labels.find``.

    Raises:
        DataError: nothing there, no images, or no such labels.
    """

    kind = "images"
    name = "images"

    def __init__(self, path: Path, labels: str = "none", max_images: int | None = None) -> None:
        self.path = path = expanded(path)
        self._container = container = open_container(path)
        self.unpacked_bytes = container.unpacked_bytes
        versions = container.versions
        known = {labels_of.labels_file([*versions]), labels.removeprefix("csv:")} if labels != "none" else set()
        try:
            keys, note = choose_images((name for name in versions if name not in known), str(path))
        except NoImagesError as error:
            raise DataError(str(error)) from error
        container.check(keys)
        parsed = labels_of.find(labels, path, [*versions], keys, container.read)
        self.class_names = parsed.class_names
        self.note = " ".join(text for text in (note, container.note, parsed.note) if text)
        chosen = labels_of.spread(parsed.numbers or [0] * len(keys), max_images)
        self._keys = [keys[i] for i in chosen]
        self._labels = parsed.numbers and [parsed.numbers[i] for i in chosen]
        self.num_images = len(self._keys)
        self.identity = {
            "images": self.num_images,
            "hash of names and sizes": _hash(f"{key} {versions[key][0]}" for key in self._keys),
            "hash of times or checksums": _hash(str(versions[key][1]) for key in self._keys),
        }
        if parsed.digest:
            self.identity["hash of labels"] = parsed.digest
        container.keep(self._keys)

    @property
    def keys(self) -> list[str]:
        """Names of the images, fit to be shown."""
        return [printable(key) for key in self._keys]

    def unpack(self, folder: Path, progress: Progress) -> None:
        """Decompress a tar that is compressed, for reading at offsets."""
        self._container.unpack(folder, progress)

    def sample(self, count: int) -> Iterable[RawImage]:
        """As ``RawDataset``; of a compressed tar the first images that are not too large, which need no unpacking."""
        if not (self._container.sequential and isinstance(self._container, Tar)):
            return super().sample(count)
        first = self._container.stream(self._container.small(self._keys))
        return (RawImage(printable(name), data) for (name, data), _ in zip(first, range(count), strict=False))

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """A file that cannot be read comes without bytes and with the problem."""
        for i in range(start, min(stop, self.num_images)):
            data, problem = b"", ""
            try:
                data = self._read_file(self._keys[i])
            except Exception as error:  # a bad checksum, a password, no permission: to be counted, like a damaged image
                problem = str(error) or type(error).__name__
            yield RawImage(printable(self._keys[i]), data, self._labels[i] if self._labels else None, problem)

    def _read_file(self, key: str) -> bytes:
        return self._container.read(key)


def _hash(lines: Iterable[str]) -> str:
    # Names that are not UTF-8 come with surrogates in place of their odd bytes.
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
