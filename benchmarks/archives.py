"""Archives to prepare and read, made of drawn rooms that are as large as photographs in pixels and bytes."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from stylegen.data.raw.cifar10 import Cifar10Dataset
from stylegen.data.toy import bedrooms

_NOISE = 14  # of 255: an image of 341x256 pixels then has the 14 kB that one of LSUN's bedrooms has on average


def draw(index: int, width: int, height: int) -> Image.Image:
    """A drawn room with noise, which makes it as hard to store as a photograph."""
    room = Image.fromarray(bedrooms.render([index], 256)[0]).resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(index).integers(-_NOISE, _NOISE, (height // 2, width // 2, 1), np.int16)
    noise = noise.repeat(2, 0).repeat(2, 1)
    pixels = np.asarray(room, np.int16)
    pixels[: noise.shape[0], : noise.shape[1]] += noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encode(index: int, width: int, height: int) -> tuple[bytes, str]:
    """An image file, WebP or JPEG of quality 75 by turns, and its suffix."""
    form = ("WEBP", "JPEG")[index % 2]
    buffer = io.BytesIO()
    draw(index, width, height).save(buffer, form, quality=75)
    return buffer.getvalue(), form.lower()


def write_lsun(folder: Path, count: int) -> Path:
    """An unpacked LSUN archive of images of 341x256 pixels; LSUN's shorter sides have 256."""
    import lmdb

    path = folder / "bedroom_train_lmdb"
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**34) as database, database.begin(write=True) as transaction:
        for i in range(count):
            transaction.put(f"{i * 7919 % 2**32:040x}".encode(), encode(i, 341, 256)[0])
    return path


def write_images(folder: Path, count: int, side: int) -> Path:
    """A folder of square images."""
    path = folder / "images"
    path.mkdir(parents=True)
    for i in range(count):
        data, suffix = encode(i, side, side)
        (path / f"{i:06d}.{suffix}").write_bytes(data)
    return path


def write_cifar10(folder: Path, count: int) -> Path:
    """An archive in CIFAR-10's binary form, of drawn rooms."""
    path = folder / "cifar-10-binary.tar.gz"
    planes = bedrooms.render(range(count), 32).transpose(0, 3, 1, 2).reshape(count, -1)
    labels = (np.arange(count) % len(Cifar10Dataset.class_names)).astype(np.uint8)[:, None]
    records = np.concatenate([labels, planes], axis=1)
    with tarfile.open(path, "w:gz") as archive:
        for i, part in enumerate(np.array_split(records, 5), start=1):
            data = part.tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/data_batch_{i}.bin")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path
