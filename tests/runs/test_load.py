"""Loading by name and path, and single files that come back exactly."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import stylegen
from stylegen.config_json import to_json
from stylegen.formats import WeightsError
from stylegen.runs import checkpoint, load
from stylegen.runs.load import LoadError


def test_a_file_gives_back_the_same_generator(make_generator, tmp_path):
    G = make_generator(stage=8, alpha=0.25, classes=2)
    load.save_generator(G, tmp_path / "g.safetensors")
    back = stylegen.load(tmp_path / "g.safetensors")
    assert (back.config, back.resolution, back.alpha, back.kimg) == (G.config, 8, 0.25, 5.0)
    assert jax.tree.structure(back.params) == jax.tree.structure(G.params)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(G), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(stylegen.sample(back, [1], labels=1), stylegen.sample(G, [1], labels=1))
    assert [path.name for path in tmp_path.iterdir()] == ["g.safetensors"]


def test_a_run_directory_goes_to_its_checkpoints(make_generator, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(to_json(make_generator().config))
    monkeypatch.setattr(checkpoint, "load_generator", lambda run_dir, kimg: (run_dir, kimg))
    assert stylegen.load(tmp_path, kimg=12) == (tmp_path, 12)
    assert stylegen.load(str(tmp_path)) == (tmp_path, None)


def test_a_shipped_generator_is_loaded_by_name(make_generator, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "SHIPPED_DIR", tmp_path)
    load.save_generator(make_generator(), tmp_path / "tiny.safetensors")
    assert load.shipped() == ["tiny"]
    assert stylegen.load("tiny").resolution == 16
    with pytest.raises(LoadError, match=r"no such run directory or file\..* With the package comes tiny"):
        stylegen.load("runs/nothing")


def test_what_ships_are_generators():
    assert load.shipped() == ["toy_bedrooms", "toy_bedrooms_64"]
    assert stylegen.load("toy_bedrooms").resolution == 32


def test_an_error_for_a_misspelled_run_lists_its_neighbors(tmp_path):
    (tmp_path / "bedroom").mkdir()
    (tmp_path / "bedroom" / "config.json").write_text("{}")
    for wrong in (tmp_path / "bedrom", tmp_path):
        with pytest.raises(LoadError, match=f"Runs in {tmp_path}: {tmp_path / 'bedroom'}"):
            stylegen.load(wrong)


def damage(path, what: str) -> None:
    tensors = load_file(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    name = "params.synthesis.blocks.b4.const"
    match what:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
            return
        case "missing":
            del tensors[name]
        case "unknown":
            tensors["params.extra"] = np.zeros(3, np.float32)
        case "shape":
            tensors[name] = tensors[name][..., :-1].copy()
        case "dtype":
            tensors[name] = tensors[name].astype(np.float16)
        case "nan":
            tensors[name] = tensors[name] * np.nan
        case "format":
            metadata = {"format": "pt"}
        case "no stage":
            del metadata["stage"]
        case "strange stage":
            metadata["stage"] = '{"resolution": 16, "alpha": []}'
        case "other stage":
            metadata["stage"] = '{"resolution": 32, "alpha": 1, "kimg": 0}'
        case "config":
            config = json.loads(metadata["config"]) | {"colour": 3}
            metadata["config"] = json.dumps(config)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    "what, words",
    [
        ("truncated", "cannot be read as safetensors"),
        ("missing", "params.synthesis.blocks.b4.const is missing"),
        ("unknown", "params.extra is unknown"),
        ("shape", r"b4.const is float32 \(1, 4, 4, 7\); wanted float32 \(1, 4, 4, 8\)"),
        ("dtype", "b4.const is float16"),
        ("nan", "b4.const holds numbers that are not finite"),
        ("format", "not of a stylegen generator"),
        ("no stage", "its metadata has no configuration, or no stage"),
        ("strange stage", r"its stage of growing: alpha is \[\]; wanted a finite number from 0 to 1"),
        ("other stage", "has no such stage of growing"),
        ("config", "colour: no such field"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence(make_generator, tmp_path, what, words):
    path = tmp_path / "g.safetensors"
    load.save_generator(make_generator(), path)
    damage(path, what)
    with pytest.raises(ValueError, match=words) as caught:
        stylegen.load(path)
    assert type(caught.value).__module__.startswith("stylegen.")


def test_other_files_are_refused(make_generator, tmp_path):
    for name, kind in (("weights.h5", LoadError), ("weights.pkl", WeightsError), ("weights.pt", WeightsError)):
        (tmp_path / name).write_bytes(b"x")
        words = "not a generator; give a run directory" if kind is LoadError else "cannot be read as a pickle"
        with pytest.raises(kind, match=f"{name}: {words}"):
            stylegen.load(tmp_path / name)
    load.save_generator(dataclasses.replace(make_generator()), tmp_path / "g.safetensors")
    with pytest.raises(LoadError, match="kimg = 3: .* is a single generator"):
        stylegen.load(tmp_path / "g.safetensors", kimg=3)
