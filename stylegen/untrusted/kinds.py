"""What a file is, from its first bytes: one sentence for a file that was given where another kind is wanted."""

import os
import re
from dataclasses import dataclass

from stylegen.paths import expanded
from stylegen.untrusted import FileError

HEAD = 1024  # bytes that are looked at
_FTYP_IMAGES = (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim", b"heis")


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str  # with its article: "a web page"
    hint: str = ""  # what to do about it, a clause


EMPTY = Kind("empty", "a download or a copy that failed; get it again")
WEB_PAGE = Kind("a web page (a failed download)", "get the file itself, not the page about it")
LFS_POINTER = Kind("a Git LFS pointer", "`git lfs pull` in its repository fetches the file itself")
TEXT = Kind("text")

# By the first bytes. Order matters where one begins with another.
_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"version https://git-lfs.github.com/", LFS_POINTER),
    (b"\x1f\x8b", Kind("gzip", "unpack it first (gunzip)")),
    (b"BZh", Kind("bzip2", "unpack it first (bunzip2)")),
    (b"\xfd7zXZ\0", Kind("xz", "unpack it first (unxz)")),
    (b"\x28\xb5\x2f\xfd", Kind("zstd", "unpack it first (unzstd)")),
    (b"7z\xbc\xaf\x27\x1c", Kind("7-Zip", "unpack it first")),
    (b"Rar!\x1a\x07", Kind("RAR", "unpack it first")),
    (b"PK\x03\x04", Kind("a zip archive")),
    (b"PK\x05\x06", Kind("a zip archive", "it is empty")),
    (b"\x93NUMPY", Kind("a numpy array (.npy)")),
    (b"\x89HDF\r\n\x1a\n", Kind("HDF5")),
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG image")),
    (b"\xff\xd8\xff", Kind("a JPEG image")),
    (b"GIF8", Kind("a GIF image")),
    (b"%PDF-", Kind("a PDF document")),
    (b"%!PS", Kind("a PostScript document")),
    (b"8BPS", Kind("a Photoshop document", "save it as PNG")),
    (b"\x00\x00\x01\xba", Kind("an MPEG video")),
    (b"\x00\x00\x01\xb3", Kind("an MPEG video")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("a Windows Media video")),
    (b"\x1a\x45\xdf\xa3", Kind("a Matroska or WebM video")),
    (b"FLV\x01", Kind("a Flash video")),
    (b"\x7fELF", Kind("a program")),
    (b"MZ", Kind("a Windows program")),
    (b"SQLite format 3\0", Kind("an SQLite database")),
)


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file that begins with these bytes (``HEAD`` of them are enough); None where it is not known."""
    if not head:
        return EMPTY
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    for test in (_container, _text):
        if (found := test(head)) is not None:
            return found
    return None


def _container(head: bytes) -> Kind | None:
    """Kinds whose mark is not at the very beginning."""
    if head[:4] == b"RIFF":
        return {b"WEBP": Kind("a WebP image"), b"AVI ": Kind("an AVI video")}.get(head[8:12])
    if head[4:8] == b"ftyp":
        if head[8:12] in _FTYP_IMAGES:
            return Kind("a HEIC image", "save it as JPEG or PNG")
        return Kind("an AVIF image") if head[8:12] in (b"avif", b"avis") else Kind("an MP4 or QuickTime video")
    if head[257:262] == b"ustar":
        return Kind("a tar archive", "unpack it first (tar xf)")
    if len(head) > 400 and any(head[at::step][:3] == b"GGG" for at, step in ((0, 188), (4, 192))):
        return Kind("an MPEG transport stream (.ts, .mts)")
    if len(head) > 9 and int.from_bytes(head[:8], "little") < 2**32 and head[8:9] == b"{":
        return Kind("safetensors")
    if re.match(rb"\x80[\x02-\x05]", head):
        return Kind("a pickle")
    return None


def _text(head: bytes) -> Kind | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.match(rb"<(!doctype html|html|head|body|!--)", start):
        return WEB_PAGE
    if start.startswith(b"<?xml") and b"<html" in start:
        return WEB_PAGE
    if start.startswith((b"<svg", b"<?xml")):
        return Kind("an SVG drawing" if b"<svg" in start else "XML")
    if start[:1] in (b"{", b"["):
        return Kind("JSON")
    printable = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in head)
    return TEXT if len(head) > 3 and printable == len(head) else None


def read_head(path: str | os.PathLike[str]) -> bytes:
    """The first ``HEAD`` bytes of a file.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    with expanded(path).open("rb") as file:
        return file.read(HEAD)


def sentence(head: bytes) -> str:
    """What a file is, such as "it is gzip: unpack it first (gunzip)"; empty where that is not known."""
    kind = kind_of(head[:HEAD])
    if kind is None:
        return ""
    return f"it is {kind.name}" + (f": {kind.hint}" if kind.hint else "")


def refuse_others(head: bytes, source: str, what: str, *wanted: str) -> None:
    """Raise FileError if a file that begins with ``head`` is known to be of another kind than those wanted.

    Args:
        head: its first bytes.
        source: its name.
        what: it should be, for the message.
        wanted: names of kinds, as ``Kind.name`` has them.
    """
    kind = kind_of(head[:HEAD])
    if kind is not None and kind.name not in wanted:
        raise FileError(f"{source}: cannot be read as {what}: {sentence(head)}.")
