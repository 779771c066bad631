"""prepared.json: the contents of a folder of prepared data, the settings it was made with, and its shards."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from stylegen.data.imaging import Color, Crop, Encoding
from stylegen.data.source import DataError
from stylegen.io.files import write_json
from stylegen.shapes import SQUARE, Shape, shape_at
from stylegen.untrusted import FileError, checksums, json_text, shown

MANIFEST_NAME = "prepared.json"
WORK_FOLDER = ".preparing"  # in the prepared folder while it is incomplete
SETTINGS_NAME = "settings.json"  # in that
FORMAT_VERSION = 1
_BLOCKS, _BLOCK_BYTES = 16, 4096  # of a shard, that its checksum is of


@dataclass(frozen=True)
class Settings:
    """Everything that decides what the prepared images are; two equal settings give the same bytes."""

    origin: str  # lsun, images, cifar10 or toy_bedrooms
    identity: dict[str, Any]  # distinguishes it from others of its kind: category, split, sizes, number of images
    resolution: int  # largest, in pixels a side
    resolutions: tuple[int, ...]  # all that are stored, smallest first
    image_channels: int
    crop: Crop
    encodings: dict[int, Encoding]  # by resolution
    class_names: tuple[str, ...]  # empty if unlabeled
    images_per_shard: int  # images read for a shard; it holds fewer where some were unreadable
    filter: str = "lanczos, then 2x2 means"
    const_shape: Shape = SQUARE  # rows and columns of 4 pixels' images; others have resolution / 4 times as many
    channel_stats: tuple[tuple[float, float], ...] = ()  # mean and deviation of each channel of arrays
    color: Color | None = None  # what becomes of ICC profiles; None: by an earlier version, which left them out

    @property
    def is_arrays(self) -> bool:
        """Whether values are numbers, float32, and not colors."""
        return bool(self.channel_stats)

    @property
    def shape(self) -> Shape:
        """Rows and columns of the largest images."""
        return shape_at(self.resolution, self.const_shape)

    def differences(self, other: "Settings") -> list[str]:
        """Names and values that differ, as ``name A, not B`` for this and the other."""
        own, others = _flat(self), _flat(other)
        names = [n for n in {**own, **others} if own.get(n) != others.get(n)]
        # How a resolution is stored that only one of them has is no difference of its own. Neither is, of the same kind
        # of data, what an earlier version did not note.
        optional = {n for n in own.keys() ^ others.keys() if n.startswith("encoding") or self.origin == other.origin}
        optional |= {"color"} if None in (self.color, other.color) else set()
        return [_difference(n, own.get(n), others.get(n)) for n in names if n not in optional]

    def source_differences(self, origin: str, identity: dict[str, Any]) -> list[str]:
        """As ``differences``, of the raw data alone: from one of that kind and identity."""
        return self.differences(dataclasses.replace(self, origin=origin, identity=identity))


def _flat(settings: Settings) -> dict[str, Any]:
    fields = settings_to_json(settings)
    encodings = {f"encoding at {r}": encoding for r, encoding in fields.pop("encodings").items()}
    fields["start_resolution"] = fields.pop("resolutions")[0]
    return {**fields.pop("identity"), **fields, **encodings}


def _difference(name: str, own: Any, other: Any) -> str:
    if name.startswith("hash of "):
        return "other " + name.removeprefix("hash of ")
    return f"{name} {_show(own)}, not {_show(other)}"


def _show(value: Any) -> str:
    text = "none" if value in (None, [], ()) else json.dumps(value).strip('"')
    return text if len(text) <= 60 else text[:57] + "..."


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Plain lists, strings and numbers."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def settings_from_json(fields: dict[str, Any]) -> Settings:
    """Inverse of ``settings_to_json``."""
    return Settings(
        **{
            **fields,
            "resolutions": tuple(fields["resolutions"]),
            "class_names": tuple(fields["class_names"]),
            "channel_stats": tuple(map(tuple, fields.get("channel_stats", ()))),
            "const_shape": tuple(fields.get("const_shape", SQUARE)),
            "encodings": {int(r): e for r, e in fields["encodings"].items()},
        }
    )


@dataclass(frozen=True)
class Manifest:
    """A finished folder of prepared data."""

    settings: Settings
    name: str  # of the data set in TFDS, and the first word of every file name
    split: str
    num_images: int
    shard_lengths: list[int]  # images in each shard, the same at every resolution
    bytes_on_disk: dict[int, int]  # by resolution
    unreadable: int  # images that could not be read and were left out
    unreadable_keys: list[str]  # the first hundred of them
    upscaled: int  # images that were smaller than the largest resolution
    fingerprint: str  # hash of every image at every resolution, in order
    # By resolution, the ``checksum`` of each shard; empty in folders that an earlier version prepared.
    shard_checksums: dict[int, list[str]] = dataclasses.field(default_factory=dict)
    class_counts: list[int] = dataclasses.field(default_factory=list)  # images by class; empty if unlabeled or unknown
    format_version: int = FORMAT_VERSION

    def shard_paths(self, folder: Path, resolution: int) -> list[Path]:
        """Files of one resolution, in order."""
        count = len(self.shard_lengths)
        return [folder / shard_name(self.name, self.split, resolution, i, count) for i in range(count)]

    def check_shards(self, folder: Path, largest: int) -> None:
        """Make sure that the shards are those that were written, by their checksums, which takes about a second.

        Resolutions above ``largest`` are not looked at, nor those whose folder somebody deleted for want of space.

        Raises:
            DataError: one is missing, damaged or of other data.
        """
        for resolution, expected_checksums in self.shard_checksums.items():
            if resolution > largest or not (folder / resolution_folder(resolution)).is_dir():
                continue
            for path, expected in zip(self.shard_paths(folder, resolution), expected_checksums, strict=True):
                check_shard(path, expected)

    def write(self, folder: Path) -> None:
        """Write prepared.json; its presence means that everything else is in place."""
        fields = {**dataclasses.asdict(self), "settings": settings_to_json(self.settings)}
        write_json(folder / MANIFEST_NAME, checksums.seal(fields), indent=1)


def resolution_folder(resolution: int) -> str:
    """Name of the folder of one resolution, itself a TFDS data set."""
    return f"{resolution:04d}"


def shard_name(name: str, split: str, resolution: int, index: int, count: int) -> str:
    """Path of a shard in the prepared folder, by TFDS's rules."""
    return f"{resolution_folder(resolution)}/{name}-{split}.array_record-{index:05d}-of-{count:05d}"


def checksum(path: Path) -> str:
    """A hash of the size of a shard and of blocks spread over it: quick, and another one if the images are others."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.sha256(str(size).encode())
        # All of a small file. At the end of a file are the places of its images, which depend on all of them.
        last = max(0, size - _BLOCK_BYTES)
        starts = [last * i // _BLOCKS for i in range(_BLOCKS)] if size > _BLOCKS * _BLOCK_BYTES else [0]
        for start in starts:
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES if len(starts) > 1 else size))
        file.seek(last)
        digest.update(file.read())
    return digest.hexdigest()[:16]


def check_shard(path: Path, expected: str) -> None:
    """Make sure that a shard is the one whose ``checksum`` was noted.

    Raises:
        DataError: it is missing, damaged or of other data.
    """
    try:
        actual = checksum(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; prepare the data again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    if actual != expected:
        raise DataError(
            f"{path} is not the file that was prepared: it is damaged, or was replaced by other data;"
            " prepare the data again."
        )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        DataError: there is none, or it is unreadable or of another version.
    """
    path = folder / MANIFEST_NAME
    try:
        return _manifest(json_text.read_object(path), str(path))
    except FileNotFoundError as error:
        raise DataError(f"{folder} holds no prepared data ({MANIFEST_NAME} is missing).") from error
    except (OSError, FileError) as error:
        raise _unreadable(error, str(path)) from error


def parse_manifest(data: bytes, source: str) -> Manifest:
    """The manifest in the bytes of its file; ``source`` names it in errors.

    Raises:
        DataError: it is unreadable or of another version.
    """
    try:
        return _manifest(json_text.parse_object(data, source), source)
    except FileError as error:
        raise _unreadable(error, source) from error


def _unreadable(error: Exception, path: str) -> DataError:
    reason = str(error).removeprefix(f"{path}: ").rstrip(".") if isinstance(error, FileError) else error
    return DataError(f"{path} cannot be read ({reason}); prepare it again.")


def _manifest(tree: dict[str, Any], path: str) -> Manifest:
    try:
        fields = checksums.unseal(tree, path)
        version = fields.get("format_version")
        if version != FORMAT_VERSION:
            raise DataError(f"{path} is of version {version}, this program reads {FORMAT_VERSION}; prepare it again.")
        fields["settings"] = settings_from_json(fields["settings"])
        fields["bytes_on_disk"] = {int(r): n for r, n in fields["bytes_on_disk"].items()}
        fields["shard_checksums"] = {int(r): sums for r, sums in fields.get("shard_checksums", {}).items()}
        manifest = Manifest(**fields)
        if any(len(sums) != len(manifest.shard_lengths) for sums in manifest.shard_checksums.values()):
            raise ValueError("not every shard has a checksum")
        hints = get_type_hints(Manifest)
        for name, value in vars(manifest).items():
            if not _fits(value, hints[name]):
                raise ValueError(f"{name} is {shown(value)}")
        if min([0, *manifest.shard_lengths]) < 0 or sum(manifest.shard_lengths) != manifest.num_images:
            raise ValueError(f"its shards hold {sum(manifest.shard_lengths)} images, and it says {manifest.num_images}")
        return manifest
    except (FileError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise _unreadable(error, path) from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation of lists, dicts and plain types says; True and False are no numbers."""
    if (kind := get_origin(hint)) is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if kind is dict:
        key, item = get_args(hint)
        return isinstance(value, dict) and all(_fits(k, key) and _fits(v, item) for k, v in value.items())
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def existing_settings(folder: Path) -> Settings | None:
    """The settings of what is prepared in ``folder``, or is being prepared there; None if nothing is.

    Raises:
        DataError: they cannot be read.
    """
    if (folder / MANIFEST_NAME).is_file():
        return read_manifest(folder).settings
    work = folder / WORK_FOLDER / SETTINGS_NAME
    if not work.is_file():
        return None
    try:
        return settings_from_json(json_text.read_object(work))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{work} cannot be read ({error}); delete {work.parent} and prepare the data again.") from error
