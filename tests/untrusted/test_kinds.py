"""What a file is, from its first bytes."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from stylegen.untrusted import FileError, kinds


def image(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, form)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


FILES = {
    "empty": (b"", "it is empty"),
    "web page": (b"\n<!DOCTYPE html>\n<html><head>", r"it is a web page \(a failed download\)"),
    "old web page": (b"\xef\xbb\xbf<HTML>", "it is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a Git LFS pointer"),
    "gzip": (gzip.compress(b"x"), "it is gzip: unpack it first"),
    "tar": (tar(), "it is a tar archive: unpack it first"),
    "zip": (b"PK\x03\x04", "it is a zip archive"),
    "pickle": (pickle.dumps({}), "it is a pickle"),
    "safetensors": (save({"a": np.zeros(2)}), "it is safetensors"),
    "png": (image("PNG"), "it is a PNG image"),
    "jpeg": (image("JPEG"), "it is a JPEG image"),
    "webp": (image("WEBP"), "it is a WebP image"),
    "heic": (bytes(3) + b"\x18ftypheic", "it is a HEIC image: save it as JPEG"),
    "mp4": (bytes(3) + b"\x18ftypisom", "it is an MP4 or QuickTime video"),
    "mpg": (b"\x00\x00\x01\xba\x44", "it is an MPEG video"),
    "mts": (b"".join(bytes(4) + b"G" + bytes(187) for _ in range(4)), "it is an MPEG transport stream"),
    "ts": (b"".join(b"G" + bytes(187) for _ in range(4)), "it is an MPEG transport stream"),
    "wmv": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "it is a Windows Media video"),
    "json": (b'{"a": 1}', "it is JSON"),
    "text": (b"seed,bed\n1,2\n", "it is text"),
    "bytes": (bytes(range(200, 256)), ""),
}


@pytest.mark.parametrize(("data", "words"), FILES.values(), ids=FILES)
def test_said_in_a_sentence(data, words):
    said = kinds.sentence(data)
    assert bool(said) == bool(words)
    if words:
        with pytest.raises(FileError, match=f"x.pth: cannot be read as weights: {words}"):
            kinds.refuse_others(data, "x.pth", "weights")
        kind = kinds.kind_of(data)
        kinds.refuse_others(data, "x.pth", "weights", kind.name)
