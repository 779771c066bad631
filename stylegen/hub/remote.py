"""Names of generators elsewhere: ``hf:owner/name``, ``https://…``, ``nvidia:bedroom-256``; and their files here."""

import importlib
import os
import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stylegen.hub import HubError, download
from stylegen.hub.download import Remote
from stylegen.hub.published import NVIDIA, PREFIX
from stylegen.runs.load import NPZ_SUFFIX, SUFFIX, WEIGHTS_NAME
from stylegen.untrusted import shown

OTHERS = (".pkl", ".pt", ".pth")  # files of other programs, which ``nvidia.importing`` reads
ENDINGS = (SUFFIX, NPZ_SUFFIX, *OTHERS)
HUB = "hf:"
_REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?P<path>(/[\w.-]+)+)?(@(?P<revision>[\w./-]+))?")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def folder() -> Path:
    """Where files are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylegen" / "generators"


def as_text(source: str | os.PathLike[str]) -> str:
    """A source as it was typed; a ``Path`` of an address has lost a slash."""
    return re.sub(r"^(https?):/(?=[^/])", r"\1://", os.fspath(source))


def is_remote(source: str | os.PathLike[str]) -> bool:
    """Whether this is the name of a generator elsewhere, and no path."""
    return as_text(source).startswith((HUB, PREFIX, "https://", "http://"))


def local(source: str | os.PathLike[str], say: Callable[[str], None] | None = None) -> str:
    """A path to the generator: of one that is elsewhere, its file in the cache; any other source as it is.

    Raises:
        HubError: it cannot be fetched, or there is no such name.
        OSError: the cache cannot be written to.
    """
    text = as_text(source)
    return str(download.fetch(resolve(text), folder(), say)) if is_remote(text) else text


def resolve(name: str) -> Remote:
    """Where the file of a name is. Of a repository of the hub, the hub is asked.

    Raises:
        HubError: there is no such name; the message lists those that exist, or says how they are written.
    """
    if name.startswith(PREFIX):
        return _published(name)
    return _of_hub(name) if name.startswith(HUB) else _of_address(name)


def _published(name: str) -> Remote:
    key = name.removeprefix(PREFIX)
    if key not in NVIDIA:
        raise HubError(f"{shown(name)}: no such generator; there are {', '.join(PREFIX + known for known in NVIDIA)}.")
    file = NVIDIA[key]
    return Remote(name, file.url, file.filename, facts=f"{file.what}; license: {file.license}")


def _of_address(name: str) -> Remote:
    """An address; ``#sha256=`` behind it states the hash."""
    url, _, fragment = name.partition("#")
    kind, _, digest = fragment.partition("=")
    if fragment and (kind != "sha256" or not _SHA256.fullmatch(digest)):
        raise HubError(f"{shown(name, 200)}: behind # comes sha256= and 64 hexadecimal digits.")
    filename = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    _check_ending(name, filename)
    return Remote(name, url, filename, sha256=digest.lower() or None, facts="license: as its publisher says")


def _check_ending(name: str, filename: str) -> None:
    if Path(filename).suffix.lower() not in ENDINGS or "\0" in filename:
        raise HubError(f"{shown(name, 200)}: must be the address of a file that ends with {', '.join(ENDINGS)}.")


def _of_hub(name: str) -> Remote:
    """A file of a repository of the hub; that which ``convert --push-to-hub`` uploads if none is named."""
    match = _REPOSITORY.fullmatch(name.removeprefix(HUB))
    if match is None or ".." in name:
        raise HubError(f"{shown(name)}: must be hf:owner/name, hf:owner/name/file.pkl or hf:owner/name@revision.")
    repo, path = match["repo"], (match["path"] or f"/{WEIGHTS_NAME}")[1:]
    _check_ending(name, path)
    hub = _hub_package()
    endpoint = os.environ.get("HF_ENDPOINT") or None  # read now; huggingface_hub reads it once
    try:
        url = hub.hf_hub_url(repo, path, revision=match["revision"], endpoint=endpoint)
        download.check_address(url, url)
        metadata = hub.get_hf_file_metadata(url)
        pinned = hub.hf_hub_url(repo, path, revision=metadata.commit_hash or match["revision"], endpoint=endpoint)
        headers = hub.utils.build_hf_headers()
    except HubError:
        raise
    except Exception as error:  # of httpx or requests, by version; a gated or missing repository says so in its text
        first = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise HubError(f"{name}: {path} cannot be fetched from {repo}: {shown(first, 200)}") from error
    etag = metadata.etag or ""
    return Remote(
        name,
        pinned,
        Path(path).name,
        sha256=etag if _SHA256.fullmatch(etag) else None,  # of large files it is
        size=metadata.size,
        headers=headers,
        facts=f"license: see the model card of {repo}",
    )


def _hub_package() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise HubError("hf: needs the package huggingface_hub: pip install 'stylegen[hub]'.") from error
