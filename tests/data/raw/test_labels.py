"""Labels as people have them: NVIDIA's dataset.json, CSV files and folders, in folders, zips and tars."""

import io
import json
import re
import tarfile
import zipfile

import numpy as np
import pytest

from stylegen.data import DataError
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.data.raw.labels import find

IMAGES = ["00000/img00000000.png", "00000/img00000001.png", "00001/img00000002.png"]


@pytest.fixture
def make(tmp_path, photo, to_bytes):
    """Writes files as a folder, an uncompressed zip as NVIDIA's, or a tar; names that end in .png are images."""

    def write(files, kind="folder"):
        contents = {
            name: to_bytes(photo(i), "PNG") if name.endswith(".png") else text.encode()
            for i, (name, text) in enumerate(files.items())
        }
        path = tmp_path / f"in-{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                for name, data in contents.items():
                    archive.writestr(name, data)
        elif kind == "tar":
            with tarfile.open(path, "w:gz") as archive:
                for name, data in contents.items():
                    info = tarfile.TarInfo(f"./{name}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        else:
            for name, data in contents.items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(data)
        return path

    return write


def nvidia(labels):
    return {**dict.fromkeys(IMAGES, ""), "dataset.json": json.dumps({"labels": labels})}


def labels_of(dataset):
    return [image.label for image in dataset.read(0, 99)]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("mode", ["auto", "json"])
def test_dataset_json(make, kind, mode):
    path = make(nvidia([[IMAGES[2], 0], [IMAGES[0], 3], [IMAGES[1].replace("/", "\\"), 1]]), kind)
    dataset = ImageFilesDataset(path, mode)
    assert dataset.class_names == ("0", "1", "2", "3")
    assert labels_of(dataset) == [3, 1, 0]
    assert dataset.note == f"{path}: dataset.json: labels of 4 classes.", "and it is not named as left out"
    assert ImageFilesDataset(path, "none").class_names == ()


@pytest.mark.parametrize(
    ("numbers", "vectors"), [([2, 0, 1], np.eye(3)[[2, 0, 1]].tolist()), ([0, 0, 0], [[1], [1], [1]])]
)
def test_class_vectors_are_classes(make, numbers, vectors):
    dataset = ImageFilesDataset(make(nvidia([list(pair) for pair in zip(IMAGES, vectors, strict=True)])), "json")
    assert labels_of(dataset) == numbers
    assert len(dataset.class_names) == len(vectors[0])


@pytest.mark.parametrize("labels", [None, []])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_without_labels_the_folders_of_nvidia_are_no_classes(make, labels, kind):
    path = make(nvidia(labels), kind)
    dataset = ImageFilesDataset(path, "auto")
    assert dataset.class_names == () and "its dataset.json has none" in dataset.note
    with pytest.raises(DataError, match=r"has no labels: its dataset.json has none \(null\). Give --labels folders"):
        ImageFilesDataset(path, "json")
    assert ImageFilesDataset(path, "folders").class_names == ("00000", "00001")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([[IMAGES[0], 1]], r"2 of 3 images have no label, such as 00000/img00000001.png; the first file that it names"),
        ([["x.png", 1]], "3 of 3 images have no label"),
        ([[name, None] for name in IMAGES], "3 of 3 images have no label"),
        ([[name, -1] for name in IMAGES], "has the label -1; classes are 0 to 999,999"),
        ([[name, 10**6] for name in IMAGES], "has the label 1000000; classes are"),
        ([[name, 0.5] for name in IMAGES], "has the label 0.5; wanted a number or a name"),
        ([[name, True] for name in IMAGES], "has the label True; wanted"),
        ([[name, [0, 1, 1]] for name in IMAGES], "it must have a single 1 and zeros"),
        ([[name, [0.1, 0.9]] for name in IMAGES], "it must have a single 1 and zeros"),
        ([[IMAGES[0], [0, 1]], [IMAGES[1], [0, 1]], [IMAGES[2], 1]], "has the label 1; others are vectors of 2"),
        ([[name, []] for name in IMAGES], "it must have a single 1"),
        ([IMAGES[0]], r"'?00000/img00000000.png'? is no \[file, class\]"),
        ("cat", r'"labels" is cat; wanted a list of \[file, class\], or null'),
    ],
)
def test_wrong_labels_are_a_sentence(make, labels, words):
    with pytest.raises(DataError, match=words):
        ImageFilesDataset(make(nvidia(labels)), "auto")


def test_a_dataset_json_of_another_program_has_no_labels(make):
    path = make({"a.png": "", "dataset.json": '{"name": "mine"}'})
    assert ImageFilesDataset(path, "auto").class_names == ()
    with pytest.raises(DataError, match=r'has no "labels": \[\[file, class\], ...\], as NVIDIA'):
        ImageFilesDataset(path, "json")
    broken = make({"a.png": "", "dataset.json": "{"}, "zip")
    assert ImageFilesDataset(broken, "auto").class_names == ()
    with pytest.raises(DataError, match="not valid JSON"):
        ImageFilesDataset(broken, "json")


def test_a_zip_of_a_folder_has_its_labels_in_it(make):
    files = {
        "all/00000/a.png": "",
        "all/00000/b.png": "",
        "all/dataset.json": '{"labels": [["00000/a.png", 1], ["00000/b.png", 0]]}',
    }
    assert labels_of(ImageFilesDataset(make(files, "zip"), "auto")) == [1, 0]


def test_other_labels_are_another_dataset(make):
    one, other = (
        ImageFilesDataset(make(nvidia([[name, i % k] for i, name in enumerate(IMAGES)])), "auto") for k in (2, 3)
    )
    assert one.identity["hash of labels"] != other.identity["hash of labels"]


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,cat\nb.png,dog\nc/d.png,cat\n",
        "a.png,cat\nb.png,dog\nc/d.png,cat",
        "label,file\r\ncat,c/d.png\r\ncat,a.png\r\ndog,b.png\r\n",
        '"cat","a.png"\n"dog","b.png"\n"cat","c/d.png"\n',
        "\ufeffid;breed\na;cat\nb;dog\nd;cat\n",
        "id\tbreed\tage\na.png\tcat\t3\nb.png\tdog\t4\nd.png\tcat\t5\n",
        "file,label\na.png,cat\nb.png,dog\nc\\d.png,cat\nelsewhere.png,bird\n",
    ],
)
def test_csv(make, tmp_path, text):
    path = make({"a.png": "", "b.png": "", "c/d.png": ""})
    (tmp_path / "labels.csv").write_bytes(text.encode())
    dataset = ImageFilesDataset(path, f"csv:{tmp_path / 'labels.csv'}")
    assert (dataset.class_names, labels_of(dataset)) == (("cat", "dog"), [0, 1, 0])


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_csv_within_the_container(make, kind):
    dataset = ImageFilesDataset(
        make({"a.png": "", "b.png": "", "my labels.csv": "a.png,7\nb.png,2\n"}, kind), "csv:my labels.csv"
    )
    assert (len(dataset.class_names), labels_of(dataset)) == (8, [7, 2]), "numbers stay what they are"
    assert "left out" not in dataset.note


def test_names_with_commas_and_quotes(make, tmp_path):
    path = make({"a,1.png": "", 'b"2.png': ""})
    (tmp_path / "l.csv").write_text('"a,1.png","dog, wet"\n"b""2.png",cat\n')
    dataset = ImageFilesDataset(path, f"csv:{tmp_path / 'l.csv'}")
    assert (dataset.class_names, labels_of(dataset)) == (("cat", "dog, wet"), [1, 0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x.png,cat\n", "none of its rows names an image: it has x.png, and the images are such as a.png"),
        ("a.png,cat\n", "1 of 2 images have no label, such as b.png"),
        ("a.png,cat\nb.png,\n", "b.png has the label"),
        ("a.png,cat\na.png,dog\nb.png,dog\n", "a.png has two labels, cat and dog"),
        ("a.png,cat,1\nb.png,dog,2\n", "has 3 columns; name the one of the classes `label` in a first row"),
        ("a.png,dog, wet\nb.png,cat\n", "row 2 has 2 columns, the first has 3; names with commas need quotes"),
        ("a.png\nb.png\n", "no CSV of labels: wanted rows of file,label"),
        ("", "no CSV of labels"),
        ('a.png,"cat\nb.png,dog', "cannot be read as CSV"),
        (b"a.png,\xff\xfe\n", "no CSV in UTF-8"),
    ],
)
def test_a_wrong_csv_is_a_sentence(make, tmp_path, text, words):
    path = make({"a.png": "", "b.png": ""})
    (tmp_path / "l.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        ImageFilesDataset(path, f"csv:{tmp_path / 'l.csv'}")
    with pytest.raises(DataError, match="there is no such file, here or in"):
        ImageFilesDataset(path, "csv:gone.csv")


def test_labels_too_many_to_be_read_are_said(make, monkeypatch):
    monkeypatch.setattr("stylegen.data.raw.labels.MAX_LABELS", 20)
    for kind in ("folder", "zip", "tar"):
        with pytest.raises(DataError, match="dataset.json: cannot be read .* are too many.*--labels none does without"):
            ImageFilesDataset(make(nvidia([[name, 0] for name in IMAGES]), kind), "auto")


@pytest.mark.parametrize(
    ("names", "classes", "words"),
    [
        (["dog/1.png", "cat/1.png"], ("cat", "dog"), "labels are its 2 folders"),
        (["1.png", "2.png"], (), ""),
        (["00000/1.png", "01000/1.png"], (), "its folders are numbered. --labels folders makes classes"),
        (["train/1.png", "Val/1.png"], (), r"\(Val, train\) look like splits"),
        (["photos/1.png", "photos/2.png"], (), r"\(photos\) is only one"),
    ],
)
def test_what_auto_takes_of_folders(make, names, classes, words):
    path = make(dict.fromkeys(names, ""))
    labels = find("auto", path, names, names, lambda name, most: b"")
    assert labels.class_names == classes
    assert (words == "") == (labels.note == "") and re.search(words, labels.note)


def test_an_unknown_mode_is_a_sentence(make):
    with pytest.raises(DataError, match="labels = 'yes': must be auto, folders, json, csv:FILE or none"):
        ImageFilesDataset(make({"a.png": ""}), "yes")
