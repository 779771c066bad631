"""prepared.json: the contents of a folder of prepared data, the settings it was made with, and its shards."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegen.data.imaging import Crop, Encoding
from stylegen.data.source import DataError
from stylegen.io.files import write_json
from stylegen.untrusted import json_text

MANIFEST_NAME = "prepared.json"
FORMAT_VERSION = 1


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

    def differences(self, other: "Settings") -> list[str]:
        """Names and values that differ, as ``name A, not B`` for this and the other."""
        own, others = _flat(self), _flat(other)
        names = [n for n in {**own, **others} if own.get(n) != others.get(n)]
        # How a resolution is stored that only one of them has is no difference of its own.
        names = [n for n in names if not n.startswith("encoding") or (n in own and n in others)]
        return [f"{name} {_show(own.get(name))}, not {_show(others.get(name))}" for name in names]


def _flat(settings: Settings) -> dict[str, Any]:
    fields = settings_to_json(settings)
    encodings = {f"encoding at {r}": encoding for r, encoding in fields.pop("encodings").items()}
    fields["start_resolution"] = fields.pop("resolutions")[0]
    return {**fields.pop("identity"), **fields, **encodings}


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
    format_version: int = FORMAT_VERSION

    def shard_paths(self, folder: Path, resolution: int) -> list[Path]:
        """Files of one resolution, in order."""
        count = len(self.shard_lengths)
        return [folder / shard_name(self.name, self.split, resolution, i, count) for i in range(count)]

    def write(self, folder: Path) -> None:
        """Write prepared.json; its presence means that everything else is in place."""
        fields = {**dataclasses.asdict(self), "settings": settings_to_json(self.settings)}
        write_json(folder / MANIFEST_NAME, fields, indent=1)


def resolution_folder(resolution: int) -> str:
    """Name of the folder of one resolution, itself a TFDS data set."""
    return f"{resolution:04d}"


def shard_name(name: str, split: str, resolution: int, index: int, count: int) -> str:
    """Path of a shard in the prepared folder, by TFDS's rules."""
    return f"{resolution_folder(resolution)}/{name}-{split}.array_record-{index:05d}-of-{count:05d}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder.

    Raises:
        DataError: there is none, or it is unreadable or of another version.
    """
    path = folder / MANIFEST_NAME
    try:
        fields = json_text.read_object(path)
        version = fields.get("format_version")
        if version != FORMAT_VERSION:
            raise DataError(f"{path} is of version {version}, this program reads {FORMAT_VERSION}; prepare it again.")
        fields["settings"] = settings_from_json(fields["settings"])
        fields["bytes_on_disk"] = {int(r): n for r, n in fields["bytes_on_disk"].items()}
        return Manifest(**fields)
    except FileNotFoundError as error:
        raise DataError(f"{folder} holds no prepared data ({MANIFEST_NAME} is missing).") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({error}); prepare it again.") from error
