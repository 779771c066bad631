"""One file from an address into a cache: bounded, over HTTPS, whole or not at all, with its hash checked.

A redirect may lead to another HTTPS address and to nothing else. What the hub's token is sent to is the hub alone.
"""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylegen.hub import HubError
from stylegen.io import files
from stylegen.io.progress import Progress, size, with_progress
from stylegen.untrusted import FileError, json_text, kinds, shown

CHUNK = 2**20  # bytes
MAX_BYTES = 8 * 10**9  # of a file; a training's checkpoint of 1024 pixels has 0.5e9
TIMEOUT = 60  # seconds without a byte
RECORD = "source.json"  # beside a file in the cache: where it is from, and its hash
_ORIGIN = "asked_for"  # of a request: the address before all redirects
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Remote:
    """A file to fetch."""

    name: str  # as it was asked for
    url: str
    filename: str
    sha256: str | None = None  # where it is known: anything else is refused
    size: int | None = None  # bytes, likewise
    headers: Mapping[str, str] = field(default_factory=dict)  # for the first address, not for where it redirects to
    facts: str = ""  # said before anything is fetched: what it is, and its license


def fetch(remote: Remote, folder: Path, say: Callable[[str], None] | None = None) -> Path:
    """The file in the cache, fetched unless it is there already.

    Args:
        remote: what to fetch.
        folder: the cache; the file is in a folder of its own there, by its address.
        say: is told the address, the license and the size before anything is fetched; default: standard error.

    Raises:
        HubError: the address or a redirect is not allowed, there is no such file, or it is truncated, too large or
            another one than its hash says; nothing of it is left.
        OSError: the cache cannot be written to; nothing is left either.
    """
    path = folder / hashlib.sha256(remote.url.encode()).hexdigest()[:16] / remote.filename
    if (kept := _kept(path)) is not None and remote.sha256 in (None, kept):
        return path
    check_address(remote.url, remote.url)
    try:
        with files.replacing(path) as partial:
            digest = _download(remote, partial, folder, say or Progress().say)
    except BaseException:
        with suppress(OSError):  # it may hold the file of before
            path.parent.rmdir()
        raise
    files.write_json(path.with_name(RECORD), {"url": remote.url, "sha256": digest})
    return path


def _kept(path: Path) -> str | None:
    """The hash of a file in the cache; None if it is not there, or not as it was fetched."""
    record = path.with_name(RECORD)
    if not path.is_file() or not record.is_file():
        return None
    try:
        stated = json_text.parse_object(record.read_bytes(), str(record)).get("sha256")
    except FileError:
        return None
    digest = files.sha256(path)
    return digest if digest == stated else None


def _download(remote: Remote, partial: Path, folder: Path, say: Callable[[str], None]) -> str:
    """Write the file to ``partial``; its hash."""
    digest, count = hashlib.sha256(), 0
    with _open(remote) as response:
        total = _stated_size(remote, response)
        facts = f" ({remote.facts})" if remote.facts else ""
        say(f"Fetching {remote.name}{facts} from {remote.url}: {size(total) if total else 'of unknown size'}.")
        if total and total > (free := shutil.disk_usage(partial.parent).free):
            raise HubError(f"{remote.name}: {size(total)} do not fit into {folder}, which has {size(free)} left.")
        with partial.open("wb") as file:
            for chunk in with_progress(_chunks(remote, response), total or 0, "bytes"):
                if count == 0:
                    _check_kind(remote, chunk)
                count += len(chunk)
                if count > (total or MAX_BYTES):
                    raise HubError(f"{remote.name}: {remote.url} sends more than {size(total or MAX_BYTES)}.")
                digest.update(chunk)
                file.write(chunk)
    if count == 0 or count < (total or 0):
        raise HubError(
            f"{remote.name}: {remote.url} ended after {count:,} of {total or 0:,} bytes; nothing was kept. Try again."
        )
    sha256 = digest.hexdigest()
    if remote.sha256 is not None and sha256 != remote.sha256.lower():
        raise HubError(
            f"{remote.name}: {remote.url} has the SHA-256 {sha256}, not {remote.sha256}: it was changed, or damaged on "
            "the way. Nothing was kept."
        )
    return sha256


def _open(remote: Remote) -> Any:
    request = urllib.request.Request(remote.url, headers={"User-Agent": "stylegen", **remote.headers})
    setattr(request, _ORIGIN, remote.url)
    try:
        return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise HubError(f"{remote.name}: {remote.url} answers {error.code} ({_line(error.reason)}).") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(why, HubError):
            raise why from error
        raise HubError(f"{remote.name}: {remote.url} cannot be reached ({shown(str(why), 200)}).") from error


def _line(text: object) -> str:
    """A text from elsewhere as a part of a sentence."""
    return shown(" ".join(str(text).split()), 120)


def _stated_size(remote: Remote, response: Any) -> int | None:
    """The bytes that are to come."""
    header = response.headers.get("Content-Length")
    stated = int(header) if header is not None and header.isdecimal() and len(header) < 16 else None
    if remote.size is not None and stated not in (None, remote.size):
        raise HubError(f"{remote.name}: {remote.url} has {stated:,} bytes; {remote.size:,} were announced.")
    total = stated if stated is not None else remote.size
    if total is not None and total > MAX_BYTES:
        raise HubError(f"{remote.name}: {remote.url} has {size(total)}; at most {size(MAX_BYTES)} are fetched.")
    if total is None and response.headers.get("Transfer-Encoding") is None and remote.sha256 is None:
        raise HubError(
            f"{remote.name}: {remote.url} states no size, so that a part could not be distinguished from the whole; "
            "fetch it otherwise and give the file."
        )
    return total


def _chunks(remote: Remote, response: Any) -> Iterator[bytes]:
    """The bytes; errors of the network are no errors of the disk."""
    while True:
        try:
            chunk: bytes = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise HubError(f"{remote.name}: the connection to {remote.url} broke ({error}). Try again.") from error
        if not chunk:
            return
        yield chunk


def _check_kind(remote: Remote, start: bytes) -> None:
    """Refuse a web page that says why there is no file, before it is taken for one."""
    try:
        kinds.refuse_others(start, remote.url, "a generator", "a pickle", "a zip archive", "safetensors")
    except FileError as error:
        raise HubError(f"{remote.name}: {error}") from error


def check_address(url: str, first: str) -> None:
    """Raise HubError unless an address, or what the one asked for ``first`` redirects to, may be fetched from.

    It must be HTTPS. HTTP is for servers on this machine, and only where one asked for such a server oneself.
    """
    parts, begins = urllib.parse.urlsplit(url), urllib.parse.urlsplit(first)
    local = begins.scheme == "http" and begins.hostname in LOOPBACK
    if not (parts.scheme == "https" or (parts.scheme == "http" and local and parts.hostname in LOOPBACK)):
        what = "is not fetched" if url == first else f"is where {first} redirects to, and is not followed"
        raise HubError(f"{shown(url, 200)} {what}: generators come over https alone.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to allowed addresses, and takes no token along to another host."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        location = headers.get("Location") or headers.get("URI") or ""
        try:
            check_address(urllib.parse.urljoin(req.full_url, location), getattr(req, _ORIGIN))
        except HubError:
            fp.close()
            raise
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            setattr(request, _ORIGIN, getattr(req, _ORIGIN))
            if urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
                request.remove_header("Authorization")
        return request
