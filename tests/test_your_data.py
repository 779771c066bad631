"""The commands of docs/your_data.md: those of prepare are run, the others are read as the verb reads them."""

import json
import re
import shlex
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import evaluate, prepare, project, sample, train
from stylegen.config import Config
from stylegen.data.prepared.source import PreparedSource
from tests.support.archives import python_archive, write_records
from tests.support.paths import ROOT

TEXT = (ROOT / "docs" / "your_data.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
OF_PREPARE = [words[2:] for words in COMMANDS if words[:2] == ["stylegen", "prepare"]]
OTHERS = [words[1:] for words in COMMANDS if words[0] == "stylegen" and words[1] != "prepare"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the page names."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = [f"{kind}/{i}.png" for i in range(4) for kind in ("cat", "dog")]
    for name in names:
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8)).save(Path("photos", name))
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for name in names:
            archive.write(Path("photos", name), name)
        archive.writestr("dataset.json", json.dumps({"labels": [[name, i % 3] for i, name in enumerate(names)]}))
    with tarfile.open("photos.tar.gz", "w:gz") as tar:
        tar.add("photos")
    Path("labels.csv").write_text(
        "file,label\n" + "".join(f"{name},{'wild' if i else 'tame'}\n" for i, name in enumerate(names))
    )
    Path("tfrecords").mkdir()
    write_records(Path("tfrecords/photos-r04.tfrecords"), rng.integers(0, 256, (3, 16, 16, 3), np.uint8))
    python_archive(tmp_path)
    (landmarks,) = blocks("json")
    Path("landmarks.json").write_text(landmarks)
    (fields,) = [block for block in blocks("python") if "smooth_fields" in block]
    exec(compile(fields, "your_data.md", "exec"), {})
    return tmp_path


def test_the_page_has_commands_of_all_kinds():
    assert {words[0] for words in OTHERS} == {"train", "sample", "evaluate", "project"}
    assert {words[0] for words in OF_PREPARE} == {"images", "cifar10", "arrays"}


@pytest.mark.parametrize("words", OF_PREPARE, ids=" ".join)
def test_prepare(words, here):
    assert prepare.main([*words, "--workers", "1"]) == 0
    source = PreparedSource(words[words.index("--out") + 1])
    wanted = {"auto": ("cat", "dog"), "csv:labels.csv": ("tame", "wild"), "json": ("0", "1", "2")}
    if "--labels" in words:
        assert source.class_names == wanted[words[words.index("--labels") + 1]]
    if "64x32" in words:
        assert source.shape_at(source.resolutions[-1]) == (32, 64)
    if "--align" in words:
        assert source.num_images == 1
    if words[0] == "arrays":
        assert source.channel_stats[0] == pytest.approx((101_325, 900), rel=1e-6)


def test_python(here):
    (block,) = [block for block in blocks("python") if "open_raw" in block]
    names: dict[str, object] = {}
    exec(compile(block, "your_data.md", "exec"), names)
    assert PreparedSource("data/python").class_names == ("0", "1", "2")


def test_the_fields_have_the_spectrum_that_the_page_says(here):
    temperature = np.load("fields.npy")[..., 1]
    power = np.abs(np.fft.rfft2(temperature - temperature.mean())) ** 2
    k = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)[None])
    inside = (k > 0.05) & (k < 0.4)
    slope = np.polyfit(np.log(k[inside]), np.log(power.mean(axis=0)[inside]), 1)[0]
    assert slope == pytest.approx(-4, abs=0.1), "power is the square of the amplitude"


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_the_other_verbs_understand_their_commands(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    ran: list[object] = []
    monkeypatch.setattr("stylegen.train.train", ran.append)
    monkeypatch.setattr(sample, "draw", ran.append)
    monkeypatch.setattr(evaluate, "evaluate", ran.append)
    monkeypatch.setattr(project, "project", ran.append)
    verb = {"train": train, "sample": sample, "evaluate": evaluate, "project": project}[words[0]]
    assert verb.main(words[1:]) == 0
    assert len(ran) == 1
    if "64x32" in words:
        assert isinstance(ran[0], Config) and ran[0].shape_at(ran[0].resolution) == (32, 64)


@pytest.mark.slow
def test_fields_are_trained_sampled_and_measured(here, capsys):
    """All commands on arrays, on a tiny network."""
    fields = [words for words in COMMANDS if any("fields" in word for word in words)]
    tiny = "--resolution 16 --generator.channel-max 8 --discriminator.channel-max 8 --generator.z-dim 8"
    length = "--schedule.start-resolution 16 --schedule.total-kimg 0.064 --run.metrics= --data.batch 16 --run.grid 2 2"
    for _, script, *words in fields:
        if script == "prepare":
            assert prepare.main([*words, "--workers", "1"]) == 0
        elif script == "train":
            assert train.main([*words, *tiny.split(), *length.split()]) == 0
        elif script == "sample":
            assert sample.main(words) == 0
        else:
            assert evaluate.main([word.replace("swd1k", "swd64") for word in words]) == 0
            assert (
                evaluate.main([word.replace("swd1k", "fid64") for word in words] + ["--extractor", "random_vgg"]) == 2
            )
    assert "arrays are measured by swd alone" in capsys.readouterr().err
    with np.load("out/values.npz") as file:
        images, seeds = file["images"], file["seeds"]
    assert images.shape == (16, 16, 16, 2) and seeds.tolist() == list(range(16))
    assert 90_000 < images[..., 0].mean() < 110_000, "Pa"
    G = stylegen.load("runs/fields")
    np.testing.assert_allclose(G.config.channel_stats, [(101_325, 900), (288, 12)], rtol=1e-6)
    with Image.open("out/seed0000.png") as picture:
        assert picture.mode == "RGB" and picture.size == (16, 16)
    with Image.open("runs/fields/reals.png") as picture:
        assert picture.mode == "RGB"
