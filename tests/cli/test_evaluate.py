"""The verb ``evaluate``, end to end at tiny counts with random_vgg, and every wrong command in one sentence."""

import dataclasses
import hashlib
import json
import re
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import evaluate, sample
from stylegen.config import DataConfig
from stylegen.data.toy.bedrooms import DRAWING_VERSION, render
from stylegen.evaluation import plot
from stylegen.metrics import extractors
from stylegen.pretrained import weights
from stylegen.runs import snapshots
from stylegen.runs.directory import write_config
from stylegen.runs.load import save_generator

SIDE, COUNT = 16, 12
FEW = pytest.mark.filterwarnings("ignore:.*(every subset holds all of it|the name asks for):UserWarning")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(autouse=True)
def a_smaller_network(narrow_vgg, monkeypatch):
    monkeypatch.setattr(extractors, "BATCH", 8)


@pytest.fixture
def pictures():
    return render(np.arange(COUNT), SIDE), render(np.arange(100, 100 + COUNT + 3), SIDE) // 2


def run(command: str) -> int:
    return evaluate.main(command.split())


def write_folder(images, folder):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03d}.png")


METRICS = "fid,kid,pr,dc,swd"
NAMES = {"fid", "kid", "pr_precision", "pr_recall", "dc_density", "dc_coverage", "swd"}


@FEW
def test_folder_zip_and_array_give_the_same(in_a_folder, pictures, capsys):
    fakes, reals = pictures
    write_folder(fakes, in_a_folder / "A")
    write_folder(reals, in_a_folder / "B")
    with zipfile.ZipFile("B.zip", "w") as file:
        for path in sorted((in_a_folder / "B").iterdir()):
            file.write(path, path.name)
    np.save("A.npy", fakes)
    options = f"--metrics {METRICS} --extractor random_vgg"
    assert run(f"--images A --reference B {options} --json one.json") == 0
    assert run(f"--images A.npy --reference B.zip {options} --json two.json") == 0
    one, two = (json.loads((in_a_folder / f"{name}.json").read_text()) for name in ("one", "two"))
    assert set(one) == set(two) == NAMES
    for name in NAMES:
        assert one[name]["value"] == pytest.approx(two[name]["value"], rel=1e-6)
    assert one["fid"]["value"] > 0 and one["swd"]["value"] > 0
    out, err = capsys.readouterr()
    assert "fid " in out and "random_vgg, 12 fakes, 15 reals" in out and "pixels, 12 fakes, 12 reals" in out


@FEW
def test_provenance_is_complete(in_a_folder, pictures):
    np.save("A.npy", pictures[0])
    np.save("B.npy", pictures[1])
    assert run("--images A.npy --reference B.npy --metrics fid,swd,kid --extractor random_vgg --json out.json") == 0
    results = json.loads((in_a_folder / "out.json").read_text())
    fid = results["fid"]["provenance"]
    assert fid["extractor"]["extractor"] == "random_vgg" and len(fid["extractor"]["weights_sha256"]) == 64
    assert "antialiased" in fid["extractor"]["resize"] and fid["versions"]["stylegen"]
    for side, n in (("fakes", COUNT), ("reals", COUNT + 3)):
        assert fid[side]["count"] == fid[side]["images"] == n and len(fid[side]["fingerprint"]) == 64
        assert {"crop", "resize_filter", "resolution", "channels", "order_seed"} <= set(fid[side])
    assert "extractor" not in results["swd"]["provenance"]
    assert set(results["swd"]["provenance"]["by_resolution"]) == {"16"}
    assert results["kid"]["provenance"]["subset_size"] == COUNT


@pytest.mark.filterwarnings("always::UserWarning")
def test_the_work_is_said_before_it_begins_and_small_sets_are_warned_of(in_a_folder, pictures, capsys, monkeypatch):
    np.save("A.npy", np.concatenate([pictures[0]] * 15))
    np.save("B.npy", pictures[1])
    command = "--images A.npy --reference B.npy --extractor random_vgg --json out.json"

    class BeforeTheWorkError(Exception):
        pass

    def stop(*arguments):
        raise BeforeTheWorkError

    with monkeypatch.context() as patch:
        patch.setattr(extractors.Extractor, "outputs", stop)
        with pytest.raises(BeforeTheWorkError):
            run(f"{command} --metrics fid150,kid")
    out, err = capsys.readouterr()
    assert "fid150: 150 fakes, 15 reals\nkid: 180 fakes, 15 reals\n" in out
    assert "warning: fid150: the name asks for 150 real images; there are 15, and all are taken." in err
    assert "warning: fid150: 150 fakes and 15 reals: the value depends on both numbers" in err
    assert "warning: kid: subsets have 1,000 images, and the smaller set has 15" in err
    assert run(f"{command} --metrics fid150,kid") == 0
    assert capsys.readouterr().err.count("the value depends on both numbers") == 1
    results = json.loads((in_a_folder / "out.json").read_text())
    noted = {name: result["provenance"]["warnings"] for name, result in results.items()}
    assert len(noted["kid"]) == 1 and len(noted["fid150"]) >= 2


def test_the_same_images_have_no_distance(in_a_folder, pictures):
    np.save("A.npy", pictures[0])
    assert run("--images A.npy --reference A.npy --metrics fid,pr --extractor random_vgg --json out.json") == 0
    results = json.loads((in_a_folder / "out.json").read_text())
    assert results["fid"]["value"] == pytest.approx(0, abs=1e-4)
    assert results["pr_precision"]["value"] == results["pr_recall"]["value"] == 1


def test_statistics_of_reals_are_kept(in_a_folder, pictures, monkeypatch):
    np.save("A.npy", pictures[0])
    np.save("B.npy", pictures[1])
    command = "--images A.npy --reference B.npy --metrics fid --extractor random_vgg --json out.json"
    seen = []
    original = extractors.Extractor.outputs

    def counting(self, images, names):
        seen.append(len(images))
        return original(self, images, names)

    monkeypatch.setattr(extractors.Extractor, "outputs", counting)
    values = []
    for extra in ("", "", " --cache elsewhere"):
        seen.clear()
        assert run(command + extra) == 0
        values.append((sum(seen), json.loads((in_a_folder / "out.json").read_text())["fid"]["value"]))
    assert [count for count, _ in values] == [2 * COUNT + 3, COUNT, 2 * COUNT + 3]
    assert values[0][1] == values[1][1] == values[2][1]
    # Other pictures of the same name and number are not mistaken for them; a damaged file is not trusted.
    np.save("B.npy", pictures[1] + 1)
    seen.clear()
    assert run(command) == 0 and sum(seen) == 2 * COUNT + 3
    for path in (in_a_folder / "cache").rglob("moments-*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    seen.clear()
    assert run(command) == 0 and sum(seen) == 2 * COUNT + 3


@pytest.fixture
def toy_generator(make_generator):
    """A tiny generator whose training data are twenty drawn rooms."""
    G = make_generator()
    config = dataclasses.replace(G.config, data=DataConfig(source="toy_bedrooms", num_images=20))
    save_generator(dataclasses.replace(G, config=config), "g.safetensors")
    return stylegen.load("g.safetensors")


@FEW
def test_a_generator_against_its_data(toy_generator, in_a_folder):
    assert run("--run g.safetensors --metrics fid10,swd10,kid10_full --extractor random_vgg --json out.json") == 0
    results = json.loads((in_a_folder / "out.json").read_text())
    provenance = results["fid10"]["provenance"]
    assert (
        provenance["fakes"]["noise"] == "random"
        and provenance["fakes"]["psi"] == 1
        and provenance["fakes"]["kimg"] == 5
    )
    assert provenance["fakes"]["count"] == provenance["reals"]["count"] == 10
    assert (
        provenance["reals"]["fingerprint"] == f"toy_bedrooms-v{DRAWING_VERSION}-20"
        and not provenance["reals"]["mirror"]
    )
    assert results["kid10_full"]["provenance"]["reals"]["count"] == 20
    # The same pictures by hand.
    np.save("fakes.npy", stylegen.sample(toy_generator, range(10), noise="random"))
    np.save("reals.npy", render(np.random.RandomState(0).permutation(20)[:10], SIDE))
    assert run("--images fakes.npy --reference reals.npy --metrics fid --extractor random_vgg --json two.json") == 0
    again = json.loads((in_a_folder / "two.json").read_text())
    assert results["fid10"]["value"] == pytest.approx(again["fid"]["value"], rel=1e-3)


@pytest.fixture
def two_runs(toy_generator, in_a_folder):
    """Runs without checkpoints and with a snapshot each or two, of other weights."""
    for name, factors in {"one": (1.0, 0.5), "two": (0.25,)}.items():
        (in_a_folder / name).mkdir()
        write_config(in_a_folder / name, toy_generator.config)
        for number, factor in enumerate(factors, 1):
            G = jax.tree.map(lambda x, factor=factor: np.asarray(x) * np.float32(factor), toy_generator)
            path = snapshots.path_of(name, 1000 * number)
            save_generator(dataclasses.replace(G, kimg=float(number)), path)


@FEW
def test_all_snapshots_and_runs_side_by_side(two_runs, in_a_folder, capsys):
    assert run("--run one --all --metrics swd10,kid10 --extractor random_vgg") == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split() == ["kimg", "swd10", "kid10"])
    rows = [line.split() for line in lines[head + 2 : head + 4]]
    assert [row[0] for row in rows] == ["1", "2"]
    for column in (1, 2):
        values = [float(row[column].rstrip("*")) for row in rows]
        assert rows[int(np.argmin(values))][column].endswith("*") and sum("*" in row[column] for row in rows) == 1
    with Image.open(in_a_folder / "one" / "metrics.png") as plotted:
        assert plotted.size == (2 * plot.WIDTH, plot.HEIGHT)
    assert run("--run two --all --metrics swd10 --plot two.png") == 0
    assert (in_a_folder / "two.png").is_file() and not (in_a_folder / "two" / "metrics.png").exists()
    capsys.readouterr()
    assert run("--compare one,two --plot both.png") == 0
    text = capsys.readouterr().out
    compared = [line.split() for line in text.splitlines() if line.startswith("swd10")]
    assert [(line[2], line[3]) for line in compared] == [("one", "2"), ("two", "1")]
    assert min(float(row[1].rstrip("*")) for row in rows) == pytest.approx(float(compared[0][4]))
    with Image.open(in_a_folder / "both.png") as plotted:
        colors = {color for _, color in plotted.getcolors(100_000)}
    assert set(plot.LINES[:2]) <= colors and plot.LINES[2] not in colors


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--compare one", "one: no metric is recorded there; measure it first"),
        ("--compare nowhere", "--compare: nowhere is no run directory"),
        ("--compare one,two --metrics swd", "--compare measures nothing: leave out --metrics"),
        ("--compare one --plot a.jpg", "--plot a.jpg: give the name of a .png"),
        ("--run one --metrics swd10 --plot a.png", "--plot goes with --all or --compare"),
    ],
)
def test_wrong_comparisons(two_runs, command, message, capsys):
    assert run(command) == 2
    assert message in capsys.readouterr().err


def test_path_length(toy_generator, in_a_folder):
    assert run("--run g.safetensors --metrics ppl6_wend,ppl6_zfull --ppl-distance random_vgg --json out.json") == 0
    results = json.loads((in_a_folder / "out.json").read_text())
    assert results["ppl6_wend"]["value"] > 0 and results["ppl6_zfull"]["value"] > 0
    provenance = results["ppl6_wend"]["provenance"]
    assert (
        "not LPIPS" in provenance["distance"]["distance"] and provenance["epsilon"] == 1e-4 and provenance["kept"] == 6
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("A-A", "--metrics is missing, for example"),
        ("--metrics fid", "give either --run, or --images and --reference"),
        ("--run r --images A.npy --metrics fid", "give either --run, or --images and --reference"),
        ("--run r --reference A.npy --metrics fid", "--reference goes with --images"),
        ("--images A.npy --metrics fid", "--reference is missing"),
        ("A-A --metrics fud", "metric 'fud': there is no such"),
        ("A-A --metrics fid", "stylegen evaluate --download inception"),
        ("A-A --metrics is --extractor random_vgg", "is needs the classes of inception"),
        ("A-A --metrics fid1k --extractor random_vgg", "fid1k takes 1,000 images; there are 12"),
        ("A-A --metrics ppl_wend", "path lengths are of a generator"),
        ("--images run -A --metrics swd", "--images run: is a run; give --run"),
        ("--images A.npy --reference run --metrics swd", "run/config.json cannot be used"),
        ("--images nothing -A --metrics swd", "nothing: there is no such folder or file"),
        ("--images empty -A --metrics swd", "empty holds no images"),
        ("--images floats.npy -A --metrics swd", r"floats.npy holds float64 \(2, 8, 8, 3\); wanted uint8"),
        ("--images text.npy -A --metrics swd", "text.npy: cannot be read as an array"),
        ("--images nothing.npy -A --metrics swd", "nothing.npy: cannot be read as an array"),
        ("--images mixed -A --metrics swd --resolution -5", "--resolution -5: must be 1 to 4096 pixels"),
        ("A-A --metrics swd --resolution 0", "--resolution 0: must be 1 to 4096 pixels"),
        ("--run toy_bedrooms --metrics is10 --cutoff -1 --extractor random_vgg", "cutoff = -1: must be the number"),
        ("--images mixed -A --metrics swd", "not all of one size .* give --resolution"),
        ("--images broken -A --metrics swd", "broken: 0.png cannot be read as an image"),
        ("--images small.npy -A --metrics swd", "swd compares images of one size; these are 8x8x3"),
        ("A-A --metrics fid --extractor random_vgg --weights A.npy", "random_vgg takes no weights"),
        ("A-A --metrics swd --kimg 3", "go with --run"),
        ("--run nothing --metrics swd", "nothing: no such run directory or file"),
        ("--run toy_bedrooms --all --metrics swd", "toy_bedrooms is no run directory"),
        ("--run toy_bedrooms --metrics swd --data-path A.npy", "--data-path A.npy: .* is toy_bedrooms, which is drawn"),
        ("--run toy_bedrooms --metrics swd --resolution 8", "--resolution goes with --images"),
    ],
)
def test_wrong_commands(command, message, in_a_folder, pictures, capsys):
    np.save("A.npy", pictures[0])
    np.save("small.npy", np.zeros((2, 8, 8, 3), np.uint8))
    np.save("floats.npy", np.zeros((2, 8, 8, 3)))
    (in_a_folder / "text.npy").write_text("hello")
    (in_a_folder / "nothing.npy").write_bytes(b"")
    (in_a_folder / "empty").mkdir()
    (in_a_folder / "run").mkdir()
    (in_a_folder / "run" / "config.json").write_text("[]")
    write_folder([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 20, 3), np.uint8)], in_a_folder / "mixed")
    (in_a_folder / "broken").mkdir()
    (in_a_folder / "broken" / "0.png").write_bytes(b"no picture")
    # A-A and -A are short for the same pictures on both sides, and for good ones to compare with.
    command = re.sub(r"-A\b", "--reference A.npy", command.replace("A-A", "--images A.npy -A"))
    assert run(command) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err)
    assert not list(in_a_folder.glob("*.json"))


def test_pictures_of_many_sizes_with_a_resolution(in_a_folder):
    sizes = [(20, 30), (16, 16), (40, 17)]
    write_folder([np.full((*size, 3), 40 * i, np.uint8) for i, size in enumerate(sizes)], in_a_folder / "mixed")
    assert run("--images mixed --reference mixed --metrics swd --resolution 16 --json out.json") == 0
    provenance = json.loads((in_a_folder / "out.json").read_text())["swd"]["provenance"]
    assert provenance["fakes"]["crop"] == "center-crop" and provenance["fakes"]["resize_filter"] == "lanczos"


def test_the_grid_of_sample_is_no_image_of_the_set(toy_generator, in_a_folder, capsys):
    assert sample.main(["--run", "g.safetensors", "--seeds", "0-4", "--out", "drawn"]) == 0
    assert (in_a_folder / "drawn" / "grid.png").is_file()
    assert run("--images drawn --reference drawn --metrics swd --resolution 16 --json out.json") == 0
    fakes = json.loads((in_a_folder / "out.json").read_text())["swd"]["provenance"]["fakes"]
    assert fakes["count"] == fakes["images"] == 5
    assert "drawn: grid.png is a table of the images beside it; left out." in capsys.readouterr().out


def test_download_says_what_it_is(monkeypatch, capsys, in_a_folder):
    (in_a_folder / "server").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    entry = weights.Published("x.pth", (in_a_folder / "server").as_uri(), digest, None, "some weights")
    monkeypatch.setitem(weights.PUBLISHED, "lpips", entry)
    assert run("--download lpips") == 0
    assert "some weights" in capsys.readouterr().out
    assert (in_a_folder / "cache" / "stylegen" / "weights" / "x.pth").read_bytes() == b"weights"
