"""Where the classes of images are written, and how to read them: NVIDIA's dataset.json, a CSV file, or folders."""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from stylegen.config import MAX_CLASSES
from stylegen.data.source import DataError
from stylegen.io.files import natural_order, printable
from stylegen.io.progress import counted
from stylegen.paths import expanded
from stylegen.untrusted import FileError, json_text, shown
from stylegen.untrusted.limits import MAX_LABELS
from stylegen.untrusted.numbers import digits

MODES = "auto, folders, json, csv:FILE or none"
NVIDIA_LABELS = "dataset.json"
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"}
_LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "species", "breed")
_NUMBERED = re.compile("[0-9]{5}")  # folders into which NVIDIA's dataset_tool and FFHQ sort images

Read = Callable[[str, int], bytes]  # a file of the container by name, of at most so many bytes


@dataclass(frozen=True)
class Labels:
    """The class of each image, in the order of their names."""

    class_names: tuple[str, ...] = ()
    numbers: list[int] | None = None  # None: no labels
    note: str = ""  # a sentence on where they are from
    digest: str = ""  # changes with the labels; empty for those of folders, which are in the images' names


def find(mode: str, path: Path, files: Sequence[str], keys: Sequence[str], read: Read) -> Labels:
    """The labels of images.

    Args:
        mode: auto takes dataset.json if it has labels, else folders if they can be classes, else none; folders, json,
            csv:FILE or none.
        path: of the folder or archive, for messages.
        files: all names in it.
        keys: those of the images.
        read: reads a file of it.

    Raises:
        DataError: the labels are missing, damaged, or not of these images; or there is no such mode.
    """
    if mode == "none":
        return Labels()
    if mode.startswith("csv:"):
        return _from_csv(mode.removeprefix("csv:"), path, files, keys, read)
    if mode == "folders":
        return _from_folders(path, keys)
    if mode not in ("auto", "json"):
        raise DataError(f"labels = {shown(mode)!r}: must be {MODES}.")
    file = labels_file(files)
    entries = None if file is None else _entries(path, file, read, strict=mode == "json")
    if entries:
        assert file is not None
        return _from_entries(f"{printable(path)}: {printable(file)}", PurePosixPath(file).parent, entries, keys)
    if mode == "json":
        why = f"there is no {NVIDIA_LABELS} in it" if file is None else f"its {NVIDIA_LABELS} has none (null)"
        raise DataError(f"{printable(path)} has no labels: {why}. Give --labels folders, csv:FILE or none.")
    return _automatic(path, file, keys)


def labels_file(files: Sequence[str]) -> str | None:
    """The dataset.json among the files of a container: at the top, or in the one folder that holds everything."""
    candidates = [name for name in files if name.rpartition("/")[2] == NVIDIA_LABELS]
    shallow = min(candidates, key=lambda name: name.count("/"), default=None)
    if shallow is None or "/" not in shallow:
        return shallow
    parent = f"{PurePosixPath(shallow).parent}/"
    return shallow if all(name.startswith(parent) for name in files) else None


def _automatic(path: Path, file: str | None, keys: Sequence[str]) -> Labels:
    """Folders as classes if they look like such; else none, and why."""
    if file is not None:
        return Labels(note=f"{printable(path)}: no labels; its {NVIDIA_LABELS} has none.")
    try:
        labels = _from_folders(path, keys)
    except DataError:
        return Labels()  # all in one place, as most sets without labels are
    names = labels.class_names
    if all(map(_NUMBERED.fullmatch, names)):
        return Labels(note=f"{printable(path)}: no labels; its folders are numbered. --labels folders makes classes.")
    if {name.lower() for name in names} <= _SPLITS or len(names) == 1:
        what = "look like splits" if len(names) > 1 else "is only one"
        return Labels(note=f"{printable(path)}: no labels; its folders ({', '.join(names)}) {what}.")
    return labels


def _from_folders(path: Path, keys: Sequence[str]) -> Labels:
    """Top folders as classes, in natural order.

    Where everything lies in one folder that itself has nothing but folders, as in the zip of a folder, that one is
    passed over.
    """
    parts = [PurePosixPath(key).parts for key in keys]
    depth = 0
    while len({p[depth] for p in parts}) == 1 and all(len(p) > depth + 2 for p in parts):
        depth += 1
    outside = next((key for key, p in zip(keys, parts, strict=True) if len(p) < depth + 2), None)
    if outside is not None:
        raise DataError(
            f"{printable(path)} has images outside of folders, such as {printable(outside)}, so folders cannot be their"
            " labels."
        )
    names = sorted({p[depth] for p in parts}, key=natural_order)
    number = {name: i for i, name in enumerate(names)}
    class_names = tuple(map(printable, names))
    note = f"{printable(path)}: labels are its {counted(len(names), 'folder')}."
    if {name.lower() for name in class_names} <= _SPLITS:
        note = (
            f"{printable(path)}: its classes are {', '.join(class_names)}, which look like splits; to train on the"
            " classes within one, give its folder."
        )
    return Labels(class_names, [number[p[depth]] for p in parts], note)


def _entries(path: Path, file: str, read: Read, strict: bool) -> list[Any]:
    """The list of [file, class] in a dataset.json; empty if it has none.

    With ``strict``, a file of another program is an error; else it has none.
    """
    source = f"{printable(path)}: {printable(file)}"
    try:
        tree = json_text.parse(read(file, MAX_LABELS), source, most=MAX_LABELS)
        if not isinstance(tree, dict) or "labels" not in tree:
            raise FileError(f'{source}: has no "labels": [[file, class], ...], as NVIDIA\'s dataset_tool writes them.')
    except FileError as error:
        if strict:
            raise DataError(str(error)) from error
        return []
    except Exception as error:  # too large, a password, no permission: there may be labels
        raise DataError(f"{source}: cannot be read ({error}); --labels none does without.") from error
    labels = tree["labels"]
    if isinstance(labels, dict):
        labels = [[name, label] for name, label in labels.items()]
    if labels is not None and not isinstance(labels, list):
        raise DataError(f'{source}: "labels" is {shown(labels)}; wanted a list of [file, class], or null.')
    return labels or []


def _from_entries(source: str, folder: PurePosixPath, entries: list[Any], keys: Sequence[str]) -> Labels:
    """Labels of a list of [file, class], each class a whole number, a name or a class vector."""
    given: dict[str, Any] = {}
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise DataError(f"{source}: {shown(entry)} is no [file, class].")
        name = entry[0].replace("\\", "/").removeprefix("./")
        given[name if str(folder) == "." else f"{folder}/{name}"] = entry[1]
    values = _of_all(source, given, keys)
    if any(isinstance(value, list) for value in values):
        return _from_vectors(source, values, keys)
    return _from_values(source, values, keys)


def _of_all(source: str, given: dict[str, Any], keys: Sequence[str]) -> list[Any]:
    """The label of each image; raises DataError if some have none."""
    missing = [key for key in keys if given.get(key) is None]
    if missing:
        many = f"{len(missing):,} of {len(keys):,} images have no label"
        names = f"; the first file that it names is {shown(next(iter(given)))}" if given else ""
        raise DataError(
            f"{source}: {many}, such as {printable(missing[0])}{names}. Add them, remove these images, or give"
            " --labels none."
        )
    return [given[key] for key in keys]


def _from_vectors(source: str, values: list[Any], keys: Sequence[str]) -> Labels:
    """Class vectors: one-hot, all of one length."""
    size = next(len(value) for value in values if isinstance(value, list))
    numbers = []
    for key, value in zip(keys, values, strict=True):
        if not isinstance(value, list) or len(value) != size:
            raise DataError(f"{source}: {printable(key)} has the label {shown(value)}; others are vectors of {size:,}.")
        if value.count(1) != 1 or value.count(0) != size - 1:
            raise DataError(
                f"{source}: {printable(key)} has the class vector {shown(value)}; it must have a single 1 and zeros,"
                " because an image is of one class."
            )
        numbers.append(value.index(1))
    names = tuple(map(str, range(size)))
    return _labels(source, names, numbers)


def _from_values(source: str, values: list[Any], keys: Sequence[str]) -> Labels:
    """Whole numbers as they are, from 0 to the largest; or names, numbered in natural order."""
    parsed = [value if type(value) is int else digits(value) if isinstance(value, str) else None for value in values]
    if all(number is not None for number in parsed):
        numbers = [number for number in parsed if number is not None]
        wrong = next((i for i, number in enumerate(numbers) if not 0 <= number < MAX_CLASSES), None)
        if wrong is not None:
            raise DataError(
                f"{source}: {printable(keys[wrong])} has the label {numbers[wrong]}; classes are 0 to"
                f" {MAX_CLASSES - 1:,}."
            )
        return _labels(source, tuple(map(str, range(max(numbers) + 1))), numbers)
    for key, value in zip(keys, values, strict=True):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{source}: {printable(key)} has the label {shown(value)}; wanted a number or a name.")
    names = sorted({value.strip() for value in values}, key=natural_order)
    if len(names) > MAX_CLASSES:
        raise DataError(f"{source}: {len(names):,} classes are too many; at most {MAX_CLASSES:,} are read.")
    number = {name: i for i, name in enumerate(names)}
    return _labels(source, tuple(map(printable, names)), [number[value.strip()] for value in values])


def _labels(source: str, names: tuple[str, ...], numbers: list[int]) -> Labels:
    digest = hashlib.sha256(repr((names, numbers)).encode()).hexdigest()[:16]
    return Labels(names, numbers, f"{source}: labels of {counted(len(names), 'class')}.", digest)


def _from_csv(file: str, path: Path, files: Sequence[str], keys: Sequence[str], read: Read) -> Labels:
    """Labels of a table of files and classes: beside it, or in the folder or archive."""
    rows = _rows(file, path, files, read)
    source = printable(file)
    column, given = _file_column(source, rows, keys)
    header = rows[0] if rows and rows[0][column] not in given else None
    body = rows[1:] if header is not None else rows
    label = _label_column(source, header, column, len(rows[0]))
    named: dict[str, Any] = {}
    for row in body:
        key = given.get(row[column])
        if key is None:
            continue  # of an image that is not here: a table of train and test often has both
        if key in named and named[key] != row[label]:
            raise DataError(f"{source}: {printable(key)} has two labels, {shown(named[key])} and {shown(row[label])}.")
        named[key] = row[label]
    labels = _from_values(source, _of_all(source, named, keys), keys)
    others = len(body) - len(named)
    note = f" {others:,} of its rows are of other images." if others else ""
    return Labels(labels.class_names, labels.numbers, labels.note + note, labels.digest)


def _rows(file: str, path: Path, files: Sequence[str], read: Read) -> list[list[str]]:
    """The rows of a CSV file, all of the same number of columns."""
    beside = expanded(file)
    try:
        if beside.is_file():
            with beside.open("rb") as stream:
                data = stream.read(MAX_LABELS + 1)
        elif file in files:
            data = read(file, MAX_LABELS)
        else:
            raise DataError(f"labels = csv:{printable(file)}: there is no such file, here or in {printable(path)}.")
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"labels = csv:{printable(file)}: cannot be read ({error}).") from error
    source = printable(file)
    if len(data) > MAX_LABELS:
        raise DataError(f"{source}: more than {MAX_LABELS:,} bytes are too many for labels.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: no CSV in UTF-8: {error.reason} at byte {error.start:,}.") from error
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator, strict=True) if any(row)]
    except csv.Error as error:
        raise DataError(f"{source}: cannot be read as CSV: {error}.") from error
    if not rows or len(rows[0]) < 2:
        raise DataError(f"{source}: no CSV of labels: wanted rows of file,label.")
    if (odd := next((i for i, row in enumerate(rows) if len(row) != len(rows[0])), None)) is not None:
        problem = f"row {odd + 1:,} has {counted(len(rows[odd]), 'column')}, the first has {len(rows[0])}"
        raise DataError(f"{source}: {problem}; names with commas need quotes.")
    return [[cell.strip() for cell in row] for row in rows]


def _file_column(source: str, rows: list[list[str]], keys: Sequence[str]) -> tuple[int, dict[str, str]]:
    """The column that names images, and the image that each of its cells names.

    A cell may be an image's path, its name without folders, or without its ending, where that is one image's alone.
    """
    by_cell: dict[str, str] = {}
    for short in (lambda path: str(path.with_suffix("")), lambda path: path.stem, lambda path: path.name, str):
        names = Counter(short(PurePosixPath(key)) for key in keys)
        by_cell |= {name: key for key in keys if names[name := short(PurePosixPath(key))] == 1}
    cells = [[row[column].replace("\\", "/").removeprefix("./") for row in rows] for column in range(len(rows[0]))]
    counts = [sum(cell in by_cell for cell in column) for column in cells]
    best = max(range(len(counts)), key=lambda column: counts[column])
    if not counts[best]:
        raise DataError(
            f"{source}: none of its rows names an image: it has {shown(rows[-1][0])}, and the images are such as"
            f" {printable(keys[0])}."
        )
    matched = {row[best]: by_cell[cell] for row, cell in zip(rows, cells[best], strict=True) if cell in by_cell}
    return best, matched


def _label_column(source: str, header: list[str] | None, file_column: int, columns: int) -> int:
    """The column of labels: by the header, or the other one of two."""
    if header is not None:
        named = [i for i, name in enumerate(header) if name.lower() in _LABEL_COLUMNS and i != file_column]
        if named:
            return named[0]
    if columns == 2:
        return 1 - file_column
    _refuse_columns(source, columns)


def _refuse_columns(source: str, columns: int) -> NoReturn:
    raise DataError(f"{source}: has {columns} columns; name the one of the classes `label` in a first row.")


def spread(labels: list[int], count: int | None) -> list[int]:
    """Numbers of at most ``count`` images, the first ones of each class and as many of each as there are, in order."""
    if count is None or count >= len(labels):
        return list(range(len(labels)))
    nth: Counter[int] = Counter()  # of each class, so far
    ranks = []
    for i, label in enumerate(labels):
        ranks.append((nth[label], label, i))
        nth[label] += 1
    return sorted(i for _, _, i in sorted(ranks)[:count])
