"""Checksums in our own files: what was written is read, and a change of it is refused."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from stylegen.untrusted import FileError, checksums


def test_an_object_is_read_as_it_was_written():
    fields = {"a": 0.1, "b": [1, None, "ü"], "c": {"8": "raw"}, "nan": math.inf}
    read = json.loads(json.dumps(checksums.seal(fields)))
    assert checksums.unseal(read, "x.json") == fields


def test_keys_that_json_turns_into_text_do_not_matter():
    read = json.loads(json.dumps(checksums.seal({"encodings": {16: "raw", 8: "raw", 128: "jpeg"}})))
    assert list(checksums.unseal(read, "x.json")) == ["encodings"]


@pytest.mark.parametrize("change", [{"a": 2}, {"b": 1}, {"crc32": "00000000"}, {"crc32": None}])
def test_a_changed_object_is_refused(change):
    with pytest.raises(FileError, match=r"^x.json: its checksum"):
        checksums.unseal(checksums.seal({"a": 1}) | change, "x.json")


def test_what_has_no_checksum_is_taken():
    assert checksums.unseal({"a": 1}, "x.json") == {"a": 1}
    checksums.check_tensors({"a": np.zeros(2)}, {"format": "1"}, "x")


def test_tensors_with_their_metadata(tmp_path):
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.zeros((), np.int8), "c": np.zeros((0, 2))}
    metadata = checksums.sealed_metadata(tensors, {"format": "1", "stage": "{}"})
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, tmp_path / "x.safetensors", metadata)
    read = load_file(tmp_path / "x.safetensors")
    checksums.check_tensors(read, metadata, "x")
    read["b"][1, 1] = np.nextafter(read["b"][1, 1], 9)
    with pytest.raises(FileError, match="its checksum is that of other weights"):
        checksums.check_tensors(read, metadata, "x")
    with pytest.raises(FileError, match="its checksum is that of other weights"):
        checksums.check_tensors(load_file(tmp_path / "x.safetensors"), metadata | {"stage": "{ }"}, "x")
