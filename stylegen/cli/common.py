"""What the verbs share: errors as sentences, lists of numbers, care for existing files, and a line of progress."""

import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stylegen.errors import StylegenError
from stylegen.io import files, images, signals
from stylegen.io.files import printable
from stylegen.io.progress import counted  # for all verbs
from stylegen.io.progress import with_progress as with_progress
from stylegen.untrusted import shown

MAX_LEFT_OUT = 20  # images that are named
MAX_NUMBERS = 10_000_000  # in one list; more is a slip of the finger
_LABEL = re.compile(r'\s*(?:([0-9][^",]*)|"([^"]*)"\s*|([^",]+))(?:,|$)')  # a number or range, or a name
USER_ERROR = 2  # exit status, as of argparse


class UsageError(StylegenError):
    """The command line asks for something that cannot be; the message says what can."""


def run(verb: Callable[[], None], interrupted: str = "") -> int:
    """Do what a verb does; its exit status: that of a shell after SIGTERM or Ctrl-C, if one of these ended it.

    A StylegenError, which this package raises on purpose, and errors of the file system become one sentence. Anything
    else is a bug and keeps its traceback.

    Args:
        verb: what to do; it stops where ``signals.check`` is called, or looks at ``signals.stop_requested``.
        interrupted: how to go on after that, one sentence.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files that are not UTF-8 are shown escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with signals.stopping_at_checks():
            signals.check()
            verb()
    except StylegenError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        end = "" if error.errno is None else "."
        advice = " Files that were written before it are whole." if error.errno in files.ADVICE else ""
        print(f"error: {files.why(error)}{end}{advice}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as error:
        print(f"interrupted. {interrupted}".rstrip(), file=sys.stderr)
        return 128 + (error.number if isinstance(error, signals.Interrupted) else signal.SIGINT)
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
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if match is None:
            raise UsageError(
                f"{name} {shown(text)!r}: {shown(part.strip())!r} is neither a number nor a range; write 0-15,42."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{name} {text!r}: the range {part.strip()} runs backwards; write {last}-{first}.")
        if len(numbers) + last - first >= MAX_NUMBERS:
            raise UsageError(f"{name} {text!r}: more than {MAX_NUMBERS:,} numbers.")
        numbers.extend(range(first, last + 1))
    return numbers


def parse_labels(text: str | None, n: int, of: str) -> int | str | list[int | str] | None:
    """One class for all, or one for each of n seeds or targets (``of`` names them), from ``label_list``."""
    if text is None:
        return None
    labels = label_list(text)
    if len(labels) not in (1, n):
        found, wanted = counted(len(labels), "class"), counted(n, of.removesuffix("s"))
        raise UsageError(f"--labels {text}: {found} for {wanted}; give one, or one each.")
    return labels[0] if len(labels) == 1 else labels


def label_list(text: str) -> list[int | str]:
    """Classes by number or name: ``0-2,cat``. A name with a comma or a digit first goes in double quotes.

    Raises:
        UsageError: a number does not parse.
    """
    labels: list[int | str] = []
    for number, quoted, name in _LABEL.findall(text):
        labels += parse_numbers("--labels: class list", number) if number else [quoted or name.strip()]
    return labels


def print_left_out(reasons: Sequence[str]) -> None:
    """Count and name the images of a folder that could not be used, at the end; nothing if there are none."""
    if reasons:
        more = [f"and {len(reasons) - MAX_LEFT_OUT:,} more"] if len(reasons) > MAX_LEFT_OUT else []
        first = f"{counted(len(reasons), 'image', ('was', 'were'))} left out:"
        print("\n  ".join([first, *map(printable, reasons[:MAX_LEFT_OUT]), *more]))


def page_scale(scale: int | None, shape: tuple[int, int], rows: int, columns: int) -> int:
    """The enlargement of images in a table: what was asked for, or so much that one can see them.

    Args:
        scale: what was asked for.
        shape: rows and columns of an image.
        rows: of the table.
        columns: of the table.

    Raises:
        UsageError: the table would have more pixels than an image may have; said before anything is drawn.
    """
    chosen = images.comfortable_scale(min(shape)) if scale is None else scale
    width, height = columns * shape[1] * chosen, rows * shape[0] * chosen
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
        raise UsageError(
            f"{printable(paths[0])}{more} exists already; give another --out, or --overwrite to replace it."
        )


def check_outputs(folder: Path, names: Iterable[str], overwrite: bool) -> None:
    """Make sure, before the work, that files of these names can be written to a folder or below; nothing is written.

    Raises:
        UsageError: ``folder`` is a file, or holds one of the files and they may not be overwritten.
        OSError: the folder cannot be written to, or a name is too long.
    """
    names = list(names)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{printable(folder)} is a file, not a folder; give another --out.")
    if not overwrite and folder.is_dir():
        refuse_existing([path for name in dict.fromkeys(names) if (path := folder / name).exists()])
    if names:
        files.check_writable(folder / max(names, key=lambda name: len(os.fsencode(name))))


def check_video(path: Path, overwrite: bool) -> None:
    """Make sure, before the work, that a video, or a folder of frames, can be written.

    Raises:
        VideoError: the extension is none of a video.
        UsageError: it is there already, and may not be overwritten.
        OSError: its folder cannot be written to.
    """
    from stylegen.io import video

    video.check_path(path)
    if not overwrite:
        refuse_existing(video.existing(path))
    files.check_writable(path / video.FRAME.format(0) if video.is_folder(path) else path)
