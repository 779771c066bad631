"""Tiny archives to prepare."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from tests.support.paths import SHARED


def _photo(seed: int, size: tuple[int, int] = (40, 32), mode: str = "RGB") -> Image.Image:
    """An image with large shapes and some noise, width and height as given."""
    rng = np.random.default_rng(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    coarse = rng.integers(0, 256, (5, 5, bands), np.uint8)
    image = Image.fromarray(coarse[:, :, 0] if bands == 1 else coarse, mode).resize(size, Image.Resampling.BICUBIC)
    noisy = np.asarray(image).astype(int) + rng.integers(-20, 20, np.asarray(image).shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8), mode)


def _to_bytes(image: Image.Image, form: str = "WEBP", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _photo_bytes(count: int, size: tuple[int, int] = (40, 32)) -> list[bytes]:
    """Half WebP, half JPEG, as in LSUN."""
    return [_to_bytes(_photo(i, size), ("WEBP", "JPEG")[i % 2], quality=95) for i in range(count)]


@pytest.fixture
def photo() -> Callable[..., Image.Image]:
    return _photo


@pytest.fixture
def to_bytes() -> Callable[..., bytes]:
    return _to_bytes


@pytest.fixture
def photo_bytes() -> Callable[..., list[bytes]]:
    return _photo_bytes


@pytest.fixture
def lsun_folder() -> Path:
    """Real photographs in LSUN's layout, kept beside the repository."""
    folder = SHARED / "data" / "lsun"
    if not folder.is_dir():
        pytest.skip("the development photographs are not here")
    return folder


@pytest.fixture
def make_lsun(tmp_path: Path) -> Callable[..., Path]:
    """Writes an LSUN archive, zipped or not, and returns its path."""

    def make(values: list[bytes], name: str = "bedroom_train_lmdb", zipped: bool = True) -> Path:
        target = tmp_path / ("unpacked" if zipped else "") / name
        target.mkdir(parents=True, exist_ok=True)
        with lmdb.open(str(target), map_size=2**26) as database, database.begin(write=True) as transaction:
            for i, value in enumerate(values):
                transaction.put(f"{i * 7919 % 65_536:040x}".encode(), value)
        if not zipped:
            return target
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in ("data.mdb", "lock.mdb"):
                archive.write(target / file, f"{name}/{file}")
        return path

    return make
