"""Which files are images, by their names; and what to say of the others."""

import functools
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stylegen.errors import StylegenError
from stylegen.io.files import natural_order, printable
from stylegen.io.progress import counted
from stylegen.paths import expanded

KINDS_SHOWN = 8  # endings of files that are left out
# Of all that Pillow reads, the formats that photographs and drawings are kept in.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".jp2", ".j2k", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
# Read where the extra ``heic`` is installed (``reads_heif``).
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
_HINTS = (
    (HEIF_SUFFIXES, 'HEIC is read with an extra: pip install "stylegen[heic]", or convert it to JPEG or PNG first.'),
    ((".tar", ".tgz", ".gz", ".7z", ".rar", ".zip"), "Archives in a folder are not opened: unpack them first."),
    ((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"), "Raw photographs are not read: develop them first."),
)
# Tables of images that ``sample`` and ``project`` write, and the names of the images beside them that tell it.
SHEETS = {
    "grid.png": re.compile(r"(.*-)?seed\d{4,}(-class.+)?\.png"),
    "psi.png": re.compile(r"seed\d{4,}(-class.+)?\.png"),
    "mix.png": re.compile(r"seed\d{4,}(-class.+)?\.png"),
    "side_by_side.png": re.compile(r"projected(-.*)?\.png"),
}


class NoImagesError(StylegenError):
    """A folder or an archive holds no images; the message says what is looked for."""


@dataclass(frozen=True)
class Listing:
    """The images of a folder, and a note on its other files."""

    files: list[Path]  # in natural order: 2.png before 10.png
    note: str  # sentences for the user about files that are left out; empty if there are none


def list_images(
    folder: str | os.PathLike[str], *, recursive: bool = False, skip: Callable[[Path], bool] | None = None
) -> Listing:
    """The image files in a folder, by the endings of their names; hidden files are passed over.

    Tables of the images beside them (``SHEETS``, such as the grid.png of ``sample``) are no images of the set; the note
    says that they are left out.

    Args:
        folder: where to look.
        recursive: in all its folders too.
        skip: says of a folder in it that it is to be passed over, like hidden ones.

    Raises:
        NoImagesError: there are none.
        OSError: the folder cannot be read.
    """
    folder = expanded(folder)
    names, link_note = find_files(folder, recursive=recursive, skip=skip)
    chosen, note = choose_images(names, str(folder))
    return Listing([folder / name for name in chosen], f"{note} {link_note}".strip())


def find_files(
    folder: Path, *, recursive: bool = False, skip: Callable[[Path], bool] | None = None
) -> tuple[list[str], str]:
    """The files of a folder by relative path, and a sentence about links that lead to nothing new.

    Links to files and folders are followed. A folder is read once, by its own path if that is in ``folder``, so that
    links in a circle end.

    Args:
        folder: where to look.
        recursive: in all its folders too.
        skip: says of a folder in it that it is to be passed over, like hidden ones.

    Raises:
        OSError: the folder cannot be read.
    """
    if not recursive:
        paths = list(folder.iterdir())
        dead = [path for path in paths if _leads_nowhere(path)]
        return [path.name for path in paths if path.is_file()], _links_note(folder, dead, [])
    files: list[Path] = []
    again: list[Path] = []
    seen: set[str] = set()
    begun = [folder]  # linked folders come after all others
    while begun:
        top = begun.pop(0)
        if os.path.realpath(top) in seen:
            again.append(top)
            continue
        for parent, folders, own_files in os.walk(top):
            seen.add(os.path.realpath(parent))
            inside = [Path(parent, name) for name in sorted(folders) if not _is_hidden(name)]
            inside = [path for path in inside if skip is None or not skip(path)]
            begun += [path for path in inside if path.is_symlink()]
            own = [path for path in inside if not path.is_symlink()]
            # A folder of a linked one may have been read by another link.
            folders[:] = [path.name for path in own if os.path.realpath(path) not in seen]
            files += [Path(parent, name) for name in own_files]
    dead = [path for path in files if _leads_nowhere(path)]
    names = [path.relative_to(folder).as_posix() for path in files if path.is_file()]
    return names, _links_note(folder, dead, again)


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists() and not _is_hidden(path.name)


def _links_note(folder: Path, dead: list[Path], again: list[Path]) -> str:
    """What to say of links that lead to nothing, and to folders that are read anyway."""
    notes = []
    for links, where in ((dead, "to nothing"), (again, "to a folder that is read already")):
        if links:
            verb = f"{len(links):,} links lead" if len(links) > 1 else "1 link leads"
            shown = printable(min(links).relative_to(folder))
            notes.append(f"{printable(folder)}: {verb} {where} and {'were' if len(links) > 1 else 'was'} left out,")
            notes.append(f"such as {shown}.")
    return " ".join(notes)


@functools.cache
def reads_heif() -> bool:
    """Whether HEIC can be read: by pillow-heif, the extra ``heic``."""
    return importlib.util.find_spec("pillow_heif") is not None


def choose_images(names: Iterable[str], location: str) -> tuple[list[str], str]:
    """The paths that name images, in natural order, and sentences about the others; see ``list_images``.

    Args:
        names: relative paths.
        location: of the files, for messages.

    Raises:
        NoImagesError: there are none; the message begins with ``location``.
    """
    location = printable(location)
    shown = [name for name in names if not _is_hidden(name)]
    chosen = sorted((name for name in shown if _is_image(name)), key=natural_order)
    other_files = sorted((name for name in shown if not _is_image(name)), key=natural_order)
    if not chosen:
        contents = f"; it holds {counted(len(other_files), 'other file')}" if other_files else ""
        contents += f", such as {printable(other_files[0])}" if other_files else ""
        looked_for = f"files named {', '.join(SUFFIXES)} are looked for"
        raise NoImagesError(f"{location} holds no images ({looked_for}){contents}.{_hint(other_files)}")
    sheets = _sheets(chosen)
    chosen = [name for name in chosen if name not in sheets]
    notes = []
    if other_files:
        notes.append(f"{location}: {_left_out(other_files)}.{_hint(other_files)}")
    if sheets:
        verb, others = ("is a table", "it") if len(sheets) == 1 else ("are tables", "them")
        notes.append(f"{location}: {', '.join(map(printable, sheets))} {verb} of the images beside {others}; left out.")
    return chosen, "\n".join(notes)


def _left_out(other_files: list[str]) -> str:
    """How many files are no images, of which kinds, with one of each by name."""
    verbs = "that is no image was", "that are no images were"
    text = f"{counted(len(other_files), 'file', verbs)} left out"
    kinds: dict[str, list[str]] = {}
    for name in other_files:
        kinds.setdefault(PurePosixPath(name).suffix.lower() or "without an ending", []).append(name)
    if len(kinds) == 1:
        return f"{text}, such as {printable(other_files[0])}"
    most = sorted(kinds.items(), key=lambda item: -len(item[1]))
    shown = [f"{len(of):,} {printable(kind)} ({printable(of[0])})" for kind, of in most[:KINDS_SHOWN]]
    shown += [f"{len(most) - KINDS_SHOWN:,} kinds more"] if len(most) > KINDS_SHOWN else []
    return f"{text}: {', '.join(shown)}"


def _hint(other_files: list[str]) -> str:
    """What can be done about files of a kind that photographs come in, and that is not read."""
    kinds = {PurePosixPath(name).suffix.lower() for name in other_files}
    hints = [hint for suffixes, hint in _HINTS if kinds & set(suffixes)]
    return "".join(f" {hint}" for hint in hints)


def _sheets(names: Sequence[str]) -> list[str]:
    """Those of these paths that are tables of images beside them."""
    suspects = [name for name in names if PurePosixPath(name).name in SHEETS]
    if not suspects:
        return []
    beside: dict[PurePosixPath, list[str]] = {PurePosixPath(name).parent: [] for name in suspects}
    for path in map(PurePosixPath, names):
        if path.parent in beside:
            beside[path.parent].append(path.name)
    return [
        name
        for name in suspects
        if any(map(SHEETS[PurePosixPath(name).name].fullmatch, beside[PurePosixPath(name).parent]))
    ]


def _is_image(name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in SUFFIXES or (suffix in HEIF_SUFFIXES and reads_heif())


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
