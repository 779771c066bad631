import io
import os
import subprocess
import sys
import tarfile

import lmdb
import numpy as np
import pytest
from PIL import Image

from stylegen.cli.prepare import main
from stylegen.data.prepared.source import PreparedSource
from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path):
    """Images in two folders."""
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), np.uint8)).save(
            tmp_path / "in" / name
        )
    return tmp_path / "in"


def refused(capsys, *argv):
    """The one sentence that a wrong command gives."""
    assert main([str(a) for a in argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_images(folder, tmp_path):
    out = tmp_path / "out"
    assert main(["images", str(folder), "--out", str(out), "--resolution", "16", "--labels-from-folders"]) == 0
    source = PreparedSource(out)
    assert (source.num_images, source.resolutions, source.class_names) == (2, (8, 16), ("cat", "dog"))


def test_labels(folder, tmp_path, capsys):
    (tmp_path / "l.csv").write_text("1.png,wild\n2.png,tame\n")
    for name, options, classes in (
        ("auto", [], ("cat", "dog")),
        ("folders", ["--labels", "folders"], ("cat", "dog")),
        ("csv", ["--labels", f"csv:{tmp_path / 'l.csv'}"], ("tame", "wild")),
        ("none", ["--labels", "none"], ()),
    ):
        assert main(["images", str(folder), "--out", str(tmp_path / name), "--resolution", "8", *options]) == 0
        assert PreparedSource(tmp_path / name).class_names == classes
        assert ("labels of 2 classes" in capsys.readouterr().err) == (name == "csv")
    sentence = refused(capsys, "images", folder, "--out", tmp_path / "json", "--labels", "json")
    assert "has no labels: there is no dataset.json in it" in sentence


def test_lsun(folder, tmp_path):
    (tmp_path / "bedroom_train_lmdb").mkdir()
    with lmdb.open(str(tmp_path / "bedroom_train_lmdb")) as database, database.begin(write=True) as transaction:
        transaction.put(b"a", (folder / "cat" / "1.png").read_bytes())
    out = tmp_path / "out"
    assert main(["lsun", str(tmp_path / "bedroom_train_lmdb"), "--out", str(out), "--resolution", "32x32"]) == 0
    assert PreparedSource(out).manifest.name == "lsun_bedroom"


def test_cifar10(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        info.size = 3073 * 2
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    arguments = ["cifar10", str(tmp_path / "cifar-10-binary.tar.gz"), "--out", str(tmp_path / "out"), "--split", "test"]
    assert main(arguments) == 0
    assert PreparedSource(tmp_path / "out").resolutions == (8, 16, 32)


def test_toy_bedrooms(tmp_path):
    arguments = [
        "toy_bedrooms",
        "--out",
        str(tmp_path),
        "--resolution",
        "16",
        "--num-images",
        "9",
        "--image-channels",
        "1",
    ]
    assert main([*arguments, "--start-resolution", "16", "--encoding", "lossless", "--workers", "1"]) == 0
    source = PreparedSource(tmp_path)
    assert (source.num_images, source.channels, source.resolutions) == (9, 1, (16,))
    assert source.read(np.arange(9), 16)["image"].shape == (9, 16, 16, 1)


def test_wrong_commands_are_refused_with_a_sentence(folder, tmp_path, capsys):
    out = ("--out", tmp_path / "out")
    sentence = refused(capsys, "images", folder, *out, "--resolution", "500x300")
    assert "must be a power of two times small numbers, up to 32" in sentence and "near it is" in sentence
    assert "must be a power of two" in refused(capsys, "images", folder, *out, "--resolution", "100")
    assert "must be a power of two" in refused(capsys, "images", folder, *out, "--resolution", "big")
    assert "does not exist" in refused(capsys, "lsun", tmp_path / "nothing.zip", *out)
    assert "is no zip file" in refused(capsys, "lsun", folder / "cat" / "1.png", *out)
    assert "holds none of bedroom_train_lmdb, " in refused(capsys, "lsun", folder, *out)
    assert "--workers 0: must be at least 1" in refused(capsys, "images", folder, *out, "--workers", "0")
    assert "--max-images -1: must be at least 1" in refused(capsys, "images", folder, *out, "--max-images", "-1")
    assert "cannot be 0 images" in refused(capsys, "toy_bedrooms", *out, "--num-images", "0")
    assert "drawn at 8, 16" in refused(capsys, "toy_bedrooms", *out, "--resolution", "512")
    assert not (tmp_path / "out").exists()
    assert "cannot be written" in refused(capsys, "images", folder, "--out", folder / "cat" / "1.png" / "x")


def test_a_typo_is_explained(folder, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["images", str(folder), "--ot", "x"])
    assert exit_.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_help_teaches_by_example(capsys):
    for argv, example in [
        ([], "prepare toy_bedrooms --out DATA --resolution 64"),
        (["lsun"], "prepare lsun DIR/bedroom_train_lmdb.zip --out DATA --resolution 256"),
        (["images"], "prepare images FOLDER_OR_ZIP --out DATA --resolution 64 --labels auto"),
        (["cifar10"], "prepare cifar10 cifar-10-binary.tar.gz --out DATA"),
        (["toy_bedrooms"], "--num-images 20000"),
    ]:
        with pytest.raises(SystemExit) as exit_:
            main([*argv, "--help"])
        assert exit_.value.code == 0
        assert example in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_script_works_from_anywhere_and_on_several_processes(folder, tmp_path):
    command = [sys.executable, str(ROOT / "prepare.py"), "images", str(folder), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--resolution", "16"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "2 images at 8 to 16 pixels" in done.stderr
    again = subprocess.run(
        [*command, "--resolution", "32"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert again.returncode == 2
    assert "holds another preparation: resolution 16, not 32" in again.stderr and "Traceback" not in again.stderr
