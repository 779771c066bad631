"""Exported generators: programs that need JAX alone, files, folders for the hub with their cards, and the verb."""

import dataclasses
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen import convolution
from stylegen.cli import convert, sample, train
from stylegen.evaluation import evaluate_run
from stylegen.evaluation.measure import Result
from stylegen.export import ExportError, files, model_card, stablehlo
from stylegen.hub import init_from
from stylegen.io.images import save_image
from stylegen.nvidia import importing
from stylegen.runs import load
from stylegen.runs.load import LoadError
from tests.support.original_pickles import TINY, networks, write
from tests.support.paths import ROOT
from tests.test_wheel import closure, link

needs_flatbuffers = pytest.mark.skipif(
    not importlib.util.find_spec("flatbuffers"), reason="jax.export writes with the package flatbuffers"
)


def close_to_the_last_bit(actual, expected):
    """Equal, but for roundings at the border between two of the 256 levels."""
    assert actual.dtype == expected.dtype == np.uint8 and actual.shape == expected.shape
    different = np.abs(actual.astype(int) - expected)
    assert different.max() <= 1 and np.mean(different > 0) < 0.01
    assert np.std(expected) > 10


def inputs_and_images(G, seeds, psi, cutoff=None, labels=None):
    z = stylegen.latents(seeds, G.z_dim)
    c = [] if labels is None else [np.eye(G.c_dim, dtype=np.float32)[labels]]
    ws = stylegen.styles(G, z, labels=labels, psi=psi, cutoff=cutoff)
    return [z, *c, np.float32(psi)], stylegen.synthesize(G, ws)


BARE = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from pathlib import Path
from jax import export
for name in ("stylegen", "flax", "optax", "safetensors", "PIL"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
sample = export.deserialize(bytearray(Path(sys.argv[2]).read_bytes())).call
inputs = np.load(sys.argv[3])
found = {}
for batch in (1, 3):
    for psi in (0.5, 1.0):
        given = [inputs[name][:batch] for name in ("z", "c") if name in inputs]
        found[f"{batch} {psi}"] = sample(*given, np.float32(psi))
assert not [name for name in sys.modules if name.split(".")[0] == "stylegen"]
np.savez(sys.argv[4], **found)
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder to import from that has JAX, what it depends on, and flatbuffers."""
    folder = tmp_path_factory.mktemp("bare")
    for name in {*closure(["jax"]), "flatbuffers"}:
        link(importlib.metadata.distribution(name), folder)
    return folder


@needs_flatbuffers
@pytest.mark.parametrize("changes", [{"classes": 2, "stage": 8, "alpha": 0.25}, {"block": "demod"}], ids=str)
def test_the_program_needs_jax_alone(changes, bare, make_generator, tmp_path):
    G = make_generator(**changes)
    labels = [1, 0, 1] if G.c_dim else None
    stablehlo.save_sampler(G, tmp_path / "s.stablehlo", cutoff=2)
    (z, *c, _), _ = inputs_and_images(G, [5, 6, 7], 1, labels=labels)
    np.savez(tmp_path / "in.npz", z=z, **({"c": c[0]} if c else {}))
    # -I -S: neither the environment's packages nor this folder can be imported from.
    command = [sys.executable, "-I", "-S", "-c", BARE, str(bare)]
    paths = [str(tmp_path / name) for name in ("s.stablehlo", "in.npz", "out.npz")]
    process = subprocess.run([*command, *paths], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    actual = np.load(tmp_path / "out.npz")
    for batch in (1, 3):
        for psi in (0.5, 1.0):
            _, expected = inputs_and_images(G, [5, 6, 7][:batch], psi, 2, labels[:batch] if labels else None)
            close_to_the_last_bit(actual[f"{batch} {psi}"], expected)
    assert np.mean(actual["3 0.5"] != actual["3 1.0"]) > 0.1


def test_every_platform_has_its_forms(make_generator, monkeypatch):
    """The program of other platforms, run on a CPU: with the forms exchanged, the images stay the same."""
    G = make_generator(resolution=8, block="demod")
    inputs, expected = inputs_and_images(G, [1, 2], 0.7)
    platforms = []

    def exchanged(platform):
        platforms.append(platform)
        return convolution.tracing_for("cpu" if platform == "gpu" else "gpu")

    usual = stablehlo.sampler(G)
    monkeypatch.setattr(stablehlo, "tracing_for", exchanged)
    other = stablehlo.sampler(G)
    assert sorted(platforms) == ["cpu", "gpu"] and usual.platforms == ("cpu", "cuda", "tpu")
    count = [jax.jit(e.call).lower(*inputs).compile().as_text().count(" convolution(") for e in (usual, other)]
    assert "conditional(" not in jax.jit(usual.call).lower(*inputs).compile().as_text()
    assert count[0] > count[1] > 0, "a CPU has several convolutions where the others have one"
    for exported in (usual, other):
        close_to_the_last_bit(np.asarray(exported.call(*inputs)), expected)


def test_a_cutoff_that_is_none(make_generator):
    with pytest.raises(ExportError, match="cutoff = 7: must be the number of layers to truncate, 0 to 6"):
        stablehlo.sampler(make_generator(), 7)


def test_npz_gives_back_the_same_generator(make_generator, tmp_path):
    G = make_generator(stage=8, alpha=0.25, classes=2)
    load.save_npz(G, tmp_path / "g.npz")
    back = stylegen.load(tmp_path / "g.npz")
    assert (back.config, back.resolution, back.alpha, back.kimg) == (G.config, 8, 0.25, 5.0)
    assert jax.tree.structure(back.params) == jax.tree.structure(G.params)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(G), strict=True):
        np.testing.assert_array_equal(a, b)
    with np.load(tmp_path / "g.npz", allow_pickle=False) as file:
        assert json.loads(file["metadata"].tobytes())["format"] == load.FORMAT
        assert file["w_avg"].shape == (16,)


def header(shape, dtype):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": dtype})
    return buffer.getvalue()


DAMAGED = {
    "truncated": (None, "cannot be read as npz"),
    "missing": ({"w_avg": None}, "the weight w_avg is missing"),
    "unknown": ({"extra": header((1,), "<f4") + bytes(4)}, "the weight extra is unknown"),
    "huge": ({"w_avg": header((2**40,), "<f4")}, r"w_avg is damaged: its size is not that of \(1099511627776,\)"),
    "pickle": (
        {"w_avg": header((16,), "|O") + bytes(99)},
        "w_avg cannot be read as an array: .* none of numbers",
    ),
    "cut": ({"w_avg": header((16,), "<f4") + bytes(8)}, "w_avg is damaged: its size"),
    "nan": ({"w_avg": header((16,), "<f4") + np.full(16, np.nan, "f4").tobytes()}, "not finite"),
    "no array": ({"w_avg": b"hello"}, "w_avg cannot be read"),
    "no metadata": ({"metadata": None}, "not of a stylegen generator"),
    "long metadata": (
        {"metadata": header((2**30,), "|u1")},
        r"metadata is damaged: its size is not",
    ),
    "other metadata": ({"metadata": header((2,), "|u1") + b"[]"}, r"metadata: holds \[\]; wanted a JSON object"),
    "no json": ({"metadata": header((2,), "|u1") + b"[{"}, "metadata: not valid JSON"),
}


@pytest.mark.parametrize(("changes", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_npz_is_refused_with_a_sentence(changes, message, make_generator, tmp_path):
    load.save_npz(make_generator(), tmp_path / "g.npz")
    with zipfile.ZipFile(tmp_path / "g.npz") as file:
        members = {name: file.read(name) for name in file.namelist()}
    if changes is None:
        (tmp_path / "g.npz").write_bytes((tmp_path / "g.npz").read_bytes()[:-100])
    else:
        members |= {f"{name}.npy": data for name, data in changes.items()}
        with zipfile.ZipFile(tmp_path / "g.npz", "w") as file:
            for name, data in members.items():
                if data is not None:
                    file.writestr(name, data)
    with pytest.raises(LoadError, match=message):
        stylegen.load(tmp_path / "g.npz")


def front_matter(card):
    return re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1].splitlines()


def run_with_metrics(G, folder):
    """A run directory as far as a card reads it, and the generator where it is loaded from."""
    folder.mkdir(parents=True)
    for nimg, value in ((4000, 9.5), (5000, 7.25)):
        provenance = {"extractor": {"extractor": "random_vgg", "sha256": "abc"}, "fakes": {"count": 1000}}
        evaluate_run.record(
            folder, nimg, [Result("fid1k", value, {**provenance, "reals": {"count": 50, "fingerprint": "f00d"}})]
        )
    return folder


@pytest.fixture
def a_run(make_generator, monkeypatch, tmp_path):
    """The verb finds a tiny generator in ``run``, whose configuration names places on this machine."""
    monkeypatch.chdir(tmp_path)
    G = make_generator()
    data = dataclasses.replace(G.config.data, path="/home/me/photos")
    run = dataclasses.replace(G.config.run, dir="/home/me/run", init_from="/home/me/other")
    G = dataclasses.replace(G, config=dataclasses.replace(G.config, data=data, run=run))
    run_with_metrics(G, tmp_path / "run")
    monkeypatch.setattr("stylegen.load", lambda source, kimg=None: G)
    return G


def test_a_folder_for_the_hub(a_run, capsys):
    assert convert.main(["run", "--to", "safetensors", "--out", "x.v1/hub", "--license", "cc0-1.0"]) == 0
    folder = Path("x.v1/hub")
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "generator.safetensors", "README.md", "grid.png"),
    }
    assert [path.name for path in Path("x.v1").iterdir()] == ["hub"]
    card = (folder / "README.md").read_text()
    lines = front_matter(card)
    assert "license: cc0-1.0" in lines and "library_name: stylegen" in lines
    assert "- unconditional-image-generation" in lines[lines.index("tags:") :]
    assert "| fid1k | 7.25 | 5 | random_vgg | 1000 | 50 |" in card and "f00d" in card and "9.5" not in card
    assert "![Samples](grid.png)" in card and "5 kimg" in card and "Data: a folder of images" in card
    with Image.open(folder / "grid.png") as grid:
        assert grid.size == (4 * 128, 4 * 128)
    assert not [path for path in folder.iterdir() if b"/home/me" in path.read_bytes()]
    config = json.loads((folder / "config.json").read_text())
    assert config["stage"]["resolution"] == config["config"]["resolution"] == 16
    back = stylegen.load(folder)
    np.testing.assert_array_equal(stylegen.sample(back, [3]), stylegen.sample(a_run, [3]))
    assert convert.main(["run", "--to", "safetensors", "--out", "x.v1/hub"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert convert.main(["run", "--to", "npz", "--out", "x.v1/hub", "--overwrite"]) == 0
    assert stylegen.load(folder / "generator.npz").kimg == 5
    assert "license: unknown" in front_matter((folder / "README.md").read_text())


def run_snippets(card, folder, monkeypatch):
    """Run the card's Python beside the files that it names."""
    monkeypatch.chdir(folder)
    outputs = []
    for snippet in re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL):
        names: dict = {}
        exec(snippet, names)
        outputs.append(np.asarray(names["images"]))
    return outputs


@needs_flatbuffers
def test_what_the_card_says_works(make_generator, monkeypatch, tmp_path):
    G = make_generator(classes=2, resolution=8)
    files.save_folder(G, "stablehlo", tmp_path / "hub", model_card.facts(None, G, None))
    card = (tmp_path / "hub" / "README.md").read_text()
    assert f"was exported by jax {importlib.metadata.version('jax')} and expires" in card
    assert "weights in `generator.safetensors` last" in card
    card = (tmp_path / "hub" / "README.md").read_text()
    assert (
        "2 classes" in card
        and "truncated to psi 0.7 toward the mean of all classes" in card
        and "No measurement" in card
    )
    outputs = run_snippets(card, tmp_path / "hub", monkeypatch)
    assert [(x.shape, x.dtype) for x in outputs] == [((3, 8, 8, 3), np.uint8)] * 2


def test_a_single_file_has_its_card_beside_it(a_run, tmp_path, monkeypatch):
    assert convert.main(["run", "--to", "npz", "--out", "out/g.npz"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {"g.npz", "g.md", "g.png"}
    (images,) = run_snippets(Path("out/g.md").read_text(), tmp_path / "out", monkeypatch)
    np.testing.assert_array_equal(images, stylegen.sample(a_run, [1, 2, 3], psi=0.7))


REFUSED = {
    "pickle": (["x.pkl", "--to", "npz", "--out", "y"], "x.pkl is a pickle: import it first"),
    "no form": (["run", "--out", "y"], "run is no pickle, so it can only be exported: add --to"),
    "shipped": (["toy_bedrooms", "--out", "y"], "toy_bedrooms is no pickle"),
    "alone": (["x.pkl", "--out", "y", "--push-to-hub", "me/x"], "--push-to-hub goes with --to"),
    "report": (["run", "--to", "npz", "--report", "--out", "y"], "--report is of pickles"),
    "cutoff": (["run", "--to", "npz", "--cutoff", "2", "--out", "y"], "--cutoff goes with --to stablehlo"),
    "no out": (["run", "--to", "npz"], "--out is missing: a file such as generator.npz, or a folder"),
    "ending": (["run", "--to", "npz", "--out", "y.safetensors"], "writes a file that ends with .npz, or a folder"),
    "folder": (["run", "--to", "npz", "--out", "f.npz"], "f.npz is a folder; give the name of a file"),
    "license": (["run", "--to", "npz", "--out", "y", "--license", "a: b"], "--license 'a: b': must be an identifier"),
    "run": (["run", "--to", "npz", "--out", "other"], "other holds a run"),
    "hub license": (["run", "--to", "npz", "--out", "y", "--push-to-hub", "me/x"], "--license is missing"),
    "hub name": (["run", "--to", "npz", "--out", "y", "--push-to-hub", "../x y"], "must be the name of a repository"),
    "hub file": (["run", "--to", "npz", "--out", "y.npz", "--push-to-hub", "me/x"], "uploads a folder"),
    "hub": (
        ["run", "--to", "npz", "--out", "y", "--push-to-hub", "me/x", "--license", "other"],
        r"needs the package huggingface_hub: pip install",
    ),
    "serializer": (["run", "--to", "stablehlo", "--out", "y"], "needs the package flatbuffers"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_mixtures_are_refused_before_anything_is_written(arguments, message, a_run, capsys, monkeypatch):
    Path("x.pkl").touch()
    Path("f.npz").mkdir()
    Path("other").mkdir()
    Path("other/config.json").touch()
    for name in ("huggingface_hub", "flatbuffers"):
        monkeypatch.setitem(sys.modules, name, None)
    before = sorted(Path(".").rglob("*"))
    assert convert.main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(Path(".").rglob("*")) == before


def test_uploading(a_run, monkeypatch, capsys):
    calls = []

    class HfApi:
        def create_repo(self, **options):
            calls.append(("create", options))
            return f"https://example.org/{options['repo_id']}"

        def upload_folder(self, **options):
            calls.append(
                ("upload", {**options, "uploaded": sorted(p.name for p in Path(options["folder_path"]).iterdir())})
            )

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=HfApi))
    Path("hub").mkdir()
    Path("hub/secret.txt").write_text("mine")
    command = ["run", "--to", "safetensors", "--out", "hub", "--push-to-hub", "me/rooms", "--license", "apache-2.0"]
    assert convert.main(command) == 0
    assert "uploaded to https://example.org/me/rooms" in capsys.readouterr().out
    assert [kind for kind, _ in calls] == ["create", "upload"]
    upload = calls[1][1]
    assert upload["repo_id"] == "me/rooms" and "secret.txt" in upload["uploaded"]
    assert set(upload["allow_patterns"]) == set(upload["uploaded"]) - {"secret.txt"}


def test_the_shipped_generator_has_the_license_of_the_package(make_generator):
    assert files.facts_of("toy_bedrooms", make_generator(), None).license == "apache-2.0"
    assert files.facts_of("toy_bedrooms", make_generator(), "mit").license == "mit"


@pytest.mark.slow
def test_imported_fine_tuned_sampled_and_exported(tmp_path, monkeypatch, capsys):
    """What the README says of other people's generators, in its order, at 8 pixels."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.pkl", networks(TINY))
    rng = np.random.default_rng(0)
    for i in range(20):
        save_image(rng.integers(0, 255, (16, 16, 3), np.uint8), f"photos/{i}.png")
    assert convert.main(["x.pkl", "--out", "runs/x", "--report"]) == 0
    assert sample.main(["--run", "runs/x", "--seeds", "0-3", "--psi", "0.7", "--cutoff", "3", "--out", "out"]) == 0
    imported = stylegen.load("runs/x")
    g, d = imported.config.generator, imported.config.discriminator
    own = [f"--generator.{f.name}={getattr(g, f.name)}" for f in dataclasses.fields(g)]
    own += [f"--discriminator.{f.name}={getattr(d, f.name)}" for f in dataclasses.fields(d)]
    command = ["--config", str(ROOT / "configs/folder_256.py"), "--run.dir", "runs/fine", "--data.path", "photos"]
    command += ["--run.init-from", "runs/x", "--schedule.start-resolution", "8", "--schedule.total-kimg", "0.1"]
    assert train.main([*command, "--resolution", "8", "--data.batch", "4", "--schedule.batch", "8:4", *own]) == 0
    assert "Taken from runs/x" in Path("runs/fine/log.txt").read_text()
    fine = stylegen.load("runs/fine")
    assert fine.kimg == pytest.approx(0.1) and not np.array_equal(fine.w_avg, imported.w_avg)
    assert sample.main(["--run", "runs/fine", "--seeds", "0-3", "--psi", "0.7", "--out", "out/fine"]) == 0
    command = ["--to", "safetensors", "--out", "exported", "--license", "cc-by-nc-4.0"]
    assert convert.main(["runs/fine", *command]) == 0
    assert sample.main(["--run", "exported", "--seeds", "0-3", "--psi", "0.7", "--out", "out/exported"]) == 0
    for name in ("seed0000.png", "seed0003.png", "grid.png"):
        assert Path("out/fine", name).read_bytes() == Path("out/exported", name).read_bytes()
    np.testing.assert_array_equal(stylegen.sample(stylegen.load("exported"), [7]), stylegen.sample(fine, [7]))
    assert convert.main(["runs/x", "--to", "npz", "--out", "x.npz"]) == 0
    assert "imported from x.pkl, SHA-256" in Path("x.md").read_text()
    assert importing.REPORT in os.listdir("runs/x")


def test_an_exported_folder_starts_a_run(make_generator, tmp_path):
    """It has a ``config.json`` and is no run directory all the same."""
    G = make_generator(resolution=8)
    files.save_folder(G, "safetensors", tmp_path / "hub", model_card.facts(None, G, None))
    run = dataclasses.replace(G.config.run, init_from=str(tmp_path / "hub"))
    transfer = init_from.read(dataclasses.replace(G.config, run=run))
    np.testing.assert_array_equal(transfer.weights["w_avg"], G.w_avg)
    assert "no discriminator" in transfer.text
