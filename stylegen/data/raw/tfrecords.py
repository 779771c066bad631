"""The original's data sets: TFRecords of raw images, a file a resolution, read without TensorFlow.

``NAME-r02.tfrecords`` has the images of 4 pixels, ``NAME-r10.tfrecords`` those of 1024, and ``NAME-rxx.labels`` the
classes, a numpy array of one-hot rows (ProGAN and StyleGAN, ``dataset_tool.py``). The largest file is read; the pyramid
is made anew. A record is a length in 8 bytes, its checksum, a protobuf ``tf.train.Example`` with ``shape`` (channels,
rows, columns) and ``data``, and the checksum of that.
"""

import hashlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stylegen.config import MAX_CLASSES
from stylegen.data.raw.base import RawDataset, RawImage
from stylegen.data.raw.labels import Labels, spread
from stylegen.data.source import DataError
from stylegen.io.files import printable
from stylegen.io.progress import counted
from stylegen.untrusted import FileError, npz
from stylegen.untrusted.limits import MAX_LABELS

_FILE = re.compile(r"(?P<prefix>.+)-r(?P<level>[0-9]{2})\.tfrecords")
_HEADER, _FOOTER = 12, 4  # bytes before and after a record
_MAX_RECORD = 2**26  # bytes: an image of 1024 pixels and 4 channels has 4 million
_MASK_DELTA = 0xA282EAD8
_CLASSES = 2  # dimensions of one-hot labels


def is_tfrecords(path: Path) -> bool:
    """Whether this is a folder of such files, or one of them."""
    if path.is_file():
        return _FILE.fullmatch(path.name) is not None
    return any(_FILE.fullmatch(name) for name in os.listdir(path))


class TfRecordsDataset(RawDataset):
    """The images of the largest file of ``*-rNN.tfrecords``, in their order.

    Raises:
        DataError: there are several sets, a file is damaged, or the labels do not fit.
    """

    kind = "images"
    name = "images"

    def __init__(self, path: Path, labels: str = "auto", max_images: int | None = None) -> None:
        self.path = path
        self._file, prefix = _largest(path)
        offsets = _offsets(self._file)
        parsed = _read_labels(prefix, len(offsets), labels)
        self.class_names, self.note = parsed.class_names, parsed.note
        chosen = spread(parsed.numbers or [0] * len(offsets), max_images)
        self._places = offsets[chosen]
        self._numbers = np.asarray(chosen)
        self._labels = parsed.numbers and [parsed.numbers[i] for i in chosen]
        self.num_images = len(chosen)
        status = self._file.stat()
        self.identity = {
            "file": printable(self._file.name),
            "images": self.num_images,
            "bytes of the file": status.st_size,
            "hash of lengths and labels": hashlib.sha256(offsets.tobytes() + parsed.digest.encode()).hexdigest()[:16],
            "time of the file": status.st_mtime_ns,
        }

    def read(self, start: int, stop: int) -> Iterator[RawImage]:
        """Images uint8 [h, w, c]; a record that is damaged comes without data and with the problem."""
        with self._file.open("rb") as file:
            for i in range(start, min(stop, self.num_images)):
                place, length = self._places[i].tolist()
                file.seek(place)
                data: bytes | np.ndarray = b""
                problem = ""
                try:
                    data = _image(file.read(length))
                except Exception as error:  # protobuf's own kinds, and ours
                    problem = str(error) or type(error).__name__
                key = f"{self._numbers[i]:08d}"
                yield RawImage(key, data, self._labels[i] if self._labels else None, problem)


def _largest(path: Path) -> tuple[Path, str]:
    """The file of the largest resolution, and the beginning of the names of its set, with the folder."""
    if path.is_file():
        match = _FILE.fullmatch(path.name)
        assert match is not None  # by ``is_tfrecords``
        return path, str(path.parent / match["prefix"])
    matches = [match for name in os.listdir(path) if (match := _FILE.fullmatch(name))]
    sets = sorted({match["prefix"] for match in matches})
    if len(sets) > 1:
        raise DataError(f"{path} holds several sets of TFRecords ({', '.join(sets)}); give the path of one file.")
    best = max(matches, key=lambda match: match["level"])
    return path / best.string, str(path / best["prefix"])


def _offsets(file: Path) -> np.ndarray:
    """First byte and length of every record, int64 [n, 2], by their headers; each length has its own checksum."""
    places: list[tuple[int, int]] = []
    total, position = file.stat().st_size, 0
    with file.open("rb") as stream:
        while position < total:
            header = stream.read(_HEADER)
            length, checksum = struct.unpack("<QI", header) if len(header) == _HEADER else (0, 0)
            if checksum != _masked_crc(header[:8]) or not 0 < length <= _MAX_RECORD:
                raise DataError(f"{file} is no file of TFRecords, or is damaged at byte {position:,}.")
            places.append((position + _HEADER, length))
            position += _HEADER + length + _FOOTER
            stream.seek(position)
    if position != total or not places:
        raise DataError(f"{file} is {'cut short' if places else 'empty'}; download or make it again.")
    return np.array(places, np.int64)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)  # CRC-32C's polynomial, reflected
        table.append(byte)
    return table


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    """TFRecords' checksum: CRC-32C (Castagnoli), rotated and moved, of a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _image(record: bytes) -> np.ndarray:
    """The image of a record, uint8 [h, w, c]."""
    from tensorflow_datasets.proto import tf_example_pb2

    feature = tf_example_pb2.Example.FromString(record).features.feature
    shape = list(feature["shape"].int64_list.value)
    values = feature["data"].bytes_list.value
    if len(shape) != 3 or not 1 <= shape[0] <= 4 or len(values) != 1:
        raise DataError(f"its shape is {shape}; wanted are channels (1 to 4), rows and columns")
    if min(shape) < 1 or len(values[0]) != int(np.prod(shape, dtype=object)):
        raise DataError(f"{len(values[0]):,} bytes are no image of shape {shape}")
    return np.frombuffer(values[0], np.uint8).reshape(shape).transpose(1, 2, 0)


def _read_labels(prefix: str, count: int, mode: str) -> Labels:
    """The classes in ``PREFIX-rxx.labels``, which are one-hot rows or numbers."""
    file = Path(f"{prefix}-rxx.labels")
    if mode not in ("auto", "none"):
        raise DataError(f"labels = {mode!r}: TFRecords have theirs in {file.name}; give auto or none.")
    if mode == "none" or not file.is_file():
        return Labels()
    try:
        header = npz.read_npy_header(file)
        if header.nbytes > MAX_LABELS:
            raise FileError(
                f"{file}: {header.nbytes:,} bytes are too many for labels; at most {MAX_LABELS:,} are read."
            )
        table = np.load(file, allow_pickle=False)
    except (FileError, OSError, ValueError) as error:
        raise DataError(str(error)) from error
    if table.ndim == _CLASSES and table.shape[1] == 0:
        return Labels(note=f"{file}: no labels in it.")
    if table.ndim not in (1, _CLASSES) or len(table) != count:
        raise DataError(f"{file}: labels of shape {table.shape} do not fit {counted(count, 'image')}.")
    one_hot = table.ndim == _CLASSES
    if one_hot and not (np.isin(table, (0, 1)).all() and (table.sum(axis=1) == 1).all()):
        raise DataError(f"{file}: its rows are not one-hot, as class labels are; --labels none does without.")
    numbers = table.argmax(axis=1) if one_hot else table
    if not one_hot and (table.dtype.kind not in "iu" or table.min() < 0):
        raise DataError(f"{file}: labels must be whole numbers from 0.")
    classes = table.shape[1] if one_hot else int(numbers.max()) + 1
    if classes > MAX_CLASSES:
        raise DataError(f"{file}: {classes:,} classes are too many; at most {MAX_CLASSES:,} are read.")
    digest = hashlib.sha256(np.ascontiguousarray(numbers, np.int64).tobytes()).hexdigest()[:16]
    return Labels(tuple(map(str, range(classes))), numbers.tolist(), f"{file}: {counted(classes, 'class')}.", digest)
