"""Checksums that our own files carry: formats of JSON and safetensors would let a changed byte pass.

They find damage, not malice: anyone can compute them. A file of an earlier version has none, and is taken as it is.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegen.untrusted import FileError

KEY = "crc32"  # of a JSON object, and of the metadata of a file of safetensors


def seal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its checksum."""
    return {**fields, KEY: _of_json(fields)}


def unseal(fields: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The reverse of ``seal``.

    Raises:
        FileError: the object is not what was written; begins with ``source``.
    """
    body = {name: value for name, value in fields.items() if name != KEY}
    if KEY in fields and fields[KEY] != _of_json(body):
        raise FileError(f"{source}: its checksum is that of other contents; it was changed, or is damaged.")
    return body


def sealed_metadata(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of a file of safetensors, with a checksum of it and of the tensors."""
    return {**metadata, KEY: _of_arrays(tensors, metadata)}


def check_tensors(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], source: str) -> None:
    """Make sure that tensors and metadata are those that were written.

    Args:
        tensors: all of the file.
        metadata: of the file, with the checksum if it has one.
        source: the file's name.

    Raises:
        FileError: they are not.
    """
    body = {name: value for name, value in metadata.items() if name != KEY}
    if KEY in metadata and metadata[KEY] != _of_arrays(tensors, body):
        raise FileError(
            f"{source}: its checksum is that of other weights; it is damaged. If you changed it, leave {KEY} out of "
            "its metadata."
        )


def _of_json(fields: Mapping[str, Any]) -> str:
    tree = json.loads(json.dumps(fields))  # keys as they will be read again, which are strings
    return f"{zlib.crc32(json.dumps(tree, sort_keys=True).encode()):08x}"


def _of_arrays(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    crc = zlib.crc32(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"
