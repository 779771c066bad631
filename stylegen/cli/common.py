"""What the verbs share: errors as sentences, lists of numbers, care for existing files, and a line of progress."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stylegen.errors import StylegenError
from stylegen.io import images
from stylegen.io.progress import counted  # for all verbs
from stylegen.io.progress import with_progress as with_progress

MAX_NUMBERS = 10_000_000  # in one list; more is a slip of the finger
USER_ERROR, INTERRUPTED = 2, 130  # exit statuses, as of argparse and of a shell after Ctrl-C


class UsageError(StylegenError):
    """The command line asks for something that cannot be; the message says what can."""


def run(verb: Callable[[], None]) -> int:
    """Do what a verb does; its exit status.

    A StylegenError, which this package raises on purpose, and errors of the file system become one sentence. Anything
    else is a bug and keeps its traceback.
    """
    try:
        verb()
    except (StylegenError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def use_compiled_programs() -> None:
    """Keep compiled programs on disk, or say why that cannot be. Imports JAX: wrong commands need not wait for it."""
    from stylegen.runtime import compilation

    if trouble := compilation.use_cache(None):
        print(f"warning: {trouble}.", file=sys.stderr)


def parse_numbers(name: str, text: str) -> list[int]:
    """Whole numbers and ranges, both ends included: "0-3,7" is [0, 1, 2, 3, 7].

    Raises:
        UsageError: it does not parse; the message begins with ``name``.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UsageError(f"{name} {text!r}: {part.strip()!r} is neither a number nor a range; write 0-15,42.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{name} {text!r}: the range {part.strip()} runs backwards; write {last}-{first}.")
        if len(numbers) + last - first >= MAX_NUMBERS:
            raise UsageError(f"{name} {text!r}: more than {MAX_NUMBERS:,} numbers.")
        numbers.extend(range(first, last + 1))
    return numbers


def parse_labels(text: str | None, n: int, of: str) -> int | list[int] | None:
    """One class for all, or one for each of n seeds or targets (``of`` names them), from a list of numbers."""
    if text is None:
        return None
    labels = parse_numbers("--labels: class list", text)
    if len(labels) not in (1, n):
        found, wanted = counted(len(labels), "class"), counted(n, of.removesuffix("s"))
        raise UsageError(f"--labels {text}: {found} for {wanted}; give one, or one each.")
    return labels[0] if len(labels) == 1 else labels


def page_scale(scale: int | None, resolution: int, rows: int, columns: int) -> int:
    """The enlargement of images in a table: what was asked for, or so much that one can see them.

    Args:
        scale: what was asked for.
        resolution: of an image.
        rows: of the table.
        columns: of the table.

    Raises:
        UsageError: the table would have more pixels than an image may have; said before anything is drawn.
    """
    chosen = images.comfortable_scale(resolution) if scale is None else scale
    width, height = columns * resolution * chosen, rows * resolution * chosen
    if width * height > images.MAX_PIXELS:
        smaller = f"--scale {chosen}" if chosen > 1 else f"a table of {rows:,} rows and {columns:,} columns"
        raise UsageError(
            f"{smaller}: the table would have {width:,}x{height:,} pixels, and an image has at most "
            f"{images.MAX_PIXELS:,}; give a smaller --scale, or draw fewer images at once."
        )
    return chosen


def refuse_existing(paths: Sequence[Path]) -> None:
    """Raise UsageError if there are such files already."""
    if paths:
        more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
        raise UsageError(f"{paths[0]}{more} exists already; give another --out, or --overwrite to replace it.")


def refuse_in(folder: Path, names: Iterable[str], overwrite: bool) -> None:
    """Raise UsageError if ``folder`` is a file, or holds one of these files and may not be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder; give another --out.")
    if not overwrite and folder.is_dir():
        present = {path.name for path in folder.iterdir()}
        refuse_existing([folder / name for name in dict.fromkeys(names) if name in present])
