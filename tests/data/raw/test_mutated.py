"""Damaged files of every kind that this room reads end in a value or in a sentence, whatever the damage."""

import gzip
import io
import json
import random
import tarfile

import numpy as np
import pytest

from stylegen.data import alignment
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.raw.opening import open_raw
from stylegen.errors import StylegenError
from tests.support.archives import python_archive, write_records
from tests.support.mutation import mutate

COUNT = 40  # files of each kind
LABELS = {"labels": [["a/1.png", [0, 1]], ["b/2.png", [1, 0]]]}


def _npy(array, save=np.save):
    buffer = io.BytesIO()
    save(buffer, array)
    return buffer.getvalue()


def _tar(mode, pngs):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in {**pngs, "dataset.json": json.dumps(LABELS).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def kinds(tmp_path, photo, to_bytes):
    """By kind: a good file, and what reads all of it."""
    pngs = {name: to_bytes(photo(i, (8, 8)), "PNG") for i, name in enumerate(("a/1.png", "b/2.png"))}
    folder, records, labeled = (tmp_path / name for name in ("in", "records", "labeled"))
    for name, data in pngs.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    for place in (records, labeled):  # each kind damages a file of its own
        place.mkdir()
        write_records(place / "x-r03.tfrecords", np.zeros((3, 8, 8, 3), np.uint8))
    fields = np.random.default_rng(0).standard_normal((3, 8, 8, 2))

    def written(path, read):
        def case(data):
            path.write_bytes(data)
            read()

        return case

    def images(path, labels):
        list(ImageFilesDataset(path, labels).read(0, 9))

    def arrays(path):
        list(open_raw("arrays", path).read(0, 9))

    def tfrecords(place):
        list(open_raw("images", place, labels="auto").read(0, 9))

    landmarks = json.dumps({"a.png": [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]}).encode()
    tar, labels_file, npy, compressed = (tmp_path / name for name in ("t.tar", "l.csv", "a.npy", "a.npz"))
    cifar10, points = tmp_path / "c.tar", tmp_path / "p.json"
    return {
        "tar": (_tar("w", pngs), written(tar, lambda: images(tar, "auto"))),
        "tar.gz": (_tar("w:gz", pngs), written(tar, lambda: images(tar, "auto"))),
        "records": (
            (records / "x-r03.tfrecords").read_bytes(),
            written(records / "x-r03.tfrecords", lambda: tfrecords(records)),
        ),
        "record labels": (
            _npy(np.eye(3, dtype=np.float32)),
            written(labeled / "x-rxx.labels", lambda: tfrecords(labeled)),
        ),
        "json": (json.dumps(LABELS).encode(), written(folder / "dataset.json", lambda: images(folder, "auto"))),
        "csv": (
            b'file,label\n"a/1.png",cat\nb/2.png,"a, b"\n',
            written(labels_file, lambda: images(folder, f"csv:{labels_file}")),
        ),
        "npy": (_npy(fields), written(npy, lambda: arrays(npy))),
        "npz": (_npy(fields, np.savez), written(compressed, lambda: arrays(compressed))),
        "landmarks": (landmarks, written(points, lambda: alignment.read_landmarks(points))),
        "cifar10": (
            gzip.decompress(python_archive(tmp_path).read_bytes()),
            written(cifar10, lambda: open_raw("cifar10", cifar10)),
        ),
    }


def test_damage_is_a_sentence(kinds):
    rng = random.Random(0)
    for name, (good, case) in kinds.items():
        case(good)
        refused = 0
        for _ in range(COUNT):
            try:
                case(mutate(good, rng, codes=b'\x00\xff{}[],"0'))
            except StylegenError as error:
                assert str(error), name
                refused += 1
        assert refused, f"{name}: no damage was found"
