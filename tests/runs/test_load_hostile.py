"""Generators' files that ask for too much: refused within a second, before anything is built."""

import json
import shutil
import time

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import stylegen
from stylegen.config_json import to_json
from stylegen.errors import StylegenError
from stylegen.runs import load

HUGE = {
    "generator.mapping_layers": 10**6,
    "generator.z_dim": 10**9,
    "generator.w_dim": 10**9,
    "generator.mapping_width": 10**9,
    "generator.channel_max": 10**9,
    "generator.channel_base": 10**12,
    "discriminator.channel_max": 10**9,
    "discriminator.mbstd_group_size": 10**12,
    "num_classes": 10**9,
    "resolution": 2**40,
    "data.batch": 10**30,
    "data.num_images": 10**30,
}
TEXTS = {
    "nested": '{"a":' * 100_000,
    "digits": '{"resolution": ' + "1" * 5000 + "}",
    "infinite": '{"loss": {"r1_gamma": 1e999}}',
    "superscript": '{"schedule": {"batch": {"²": 8}}}',
    "NaN": '{"loss": {"r1_gamma": NaN}}',
    "list": "[]",
    "null": "null",
    "unhashable": '{"precision": {}}',
}
STAGES = {
    "nested": "[" * 100_000,
    "digits": '{"resolution": ' + "1" * 5000 + "}",
    "infinite": '{"resolution": 1e999, "alpha": 1, "kimg": 1}',
    "infinite alpha": '{"resolution": 16, "alpha": Infinity, "kimg": 1}',
    "infinite kimg": '{"resolution": 16, "alpha": 1, "kimg": 1e999}',
    "text": '{"resolution": "16", "alpha": 1, "kimg": 1}',
    "null": "null",
    "list": "[16, 1, 1]",
}


def asking(config, name: str, value: int) -> str:
    tree = json.loads(to_json(config))
    owner, _, field = name.rpartition(".")
    (tree[owner] if owner else tree)[field] = value
    return json.dumps(tree)


@pytest.fixture(scope="module")
def written(make_generator, tmp_path_factory):
    """A function that writes a generator as every kind of file, its metadata changed, and returns the paths."""
    G = make_generator()
    folder = tmp_path_factory.mktemp("written")
    load.save_generator(G, folder / "g.safetensors")
    tensors = load_file(folder / "g.safetensors")
    with safe_open(folder / "g.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    del metadata["crc32"]  # which somebody who means harm computes anew

    def write(**changes):
        meta = metadata | changes
        save_file(tensors, folder / "x.safetensors", meta)
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(folder / "x.npz", metadata=text, **tensors)
        for name in ("hub", "run"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir()
        shutil.copy(folder / "x.safetensors", folder / "hub" / load.WEIGHTS_NAME)
        (folder / "run" / "config.json").write_text(meta["config"])
        return [folder / name for name in ("x.safetensors", "x.npz", "hub", "run")]

    write.config = G.config
    stylegen.load(write()[0])  # what is imported and traced once
    return write


def refused(path) -> str:
    started = time.monotonic()
    with pytest.raises(StylegenError) as caught:
        stylegen.load(path)
    assert time.monotonic() - started < 1
    message = str(caught.value)
    assert path.name in message and len(message) < 700 and message.isprintable()
    return message


@pytest.mark.parametrize("name", HUGE)
def test_sizes_beyond_all_bounds(written, name):
    for path in written(config=asking(written.config, name, HUGE[name])):
        assert f"{name} = {HUGE[name]}: " in refused(path)


@pytest.mark.parametrize("name", ["generator.mapping_layers", "generator.z_dim", "generator.channel_max"])
def test_sizes_that_the_tensors_have_not(written, name, monkeypatch):
    """Within the bounds, and still refused before a weight is read."""
    monkeypatch.setattr("stylegen.untrusted.tensors.Tensors.read", None)
    largest = {"generator.mapping_layers": 64, "generator.z_dim": 16_384, "generator.channel_max": 9}[name]
    text = asking(written.config, name, largest)
    safetensors, npz, *_ = written(config=text)
    for path in (safetensors, npz):
        assert "is missing" in (message := refused(path)) or "wanted float32" in message


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_configurations_that_are_none(written, text):
    for path in written(config=text):
        refused(path)


@pytest.mark.parametrize("text", STAGES.values(), ids=STAGES)
def test_stages_that_are_none(written, text):
    for path in written(stage=text)[:3]:
        assert "its stage of growing" in refused(path)
