"""Every reader of a file of ours refuses what is none with its own error, which names the file and says what it is."""

import gzip
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from stylegen.editing import directions, discovery
from stylegen.editing.directions import EditError
from stylegen.errors import StylegenError
from stylegen.evaluation.opening import open_images
from stylegen.formats.torch_files import read_state_dict
from stylegen.nvidia import importing, pickles
from stylegen.pretrained import weights
from stylegen.projection import result
from stylegen.projection.result import ProjectionError
from stylegen.runs import load
from stylegen.style_transfer import StyleError, model

READERS = {
    "g.safetensors": load.load,
    "g.npz": load.load,
    "p.npz": result.load,
    "d.npz": directions.load,
    "w.npz": lambda path: weights.read_tensors(path, {"a": (1,)}),
    "w.safetensors": lambda path: weights.read_tensors(path, {"a": (1,)}),
    "w.pth": lambda path: weights.read_tensors(path, {"a": (1,)}),
    "s.safetensors": model.load_model,
    "n.pkl": pickles.read,
    "t.pt": read_state_dict,
    "c.pt": importing.read,
    "a.npy": open_images,
}
OTHERS = {
    "a web page": (b"<!DOCTYPE html><html><head><title>404</title>", r"it is a web page \(a failed download\)"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "it is a Git LFS pointer"),
    "gzip": (gzip.compress(bytes(99)), "it is gzip: unpack it first"),
    "nothing": (b"", "it is empty"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(("data", "words"), OTHERS.values(), ids=OTHERS)
def test_another_kind_of_file_is_named(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StylegenError, match=f"{tmp_path / name}.*: {words}"):
        READERS[name](tmp_path / name)


PROJECTION = {"format": result.FORMAT, "names": ["a"], "generators": ["g"], "about": {}}
WS = np.zeros((1, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("header", "arrays"),
    [
        (PROJECTION | {"names": [5]}, {}),
        (PROJECTION | {"names": "a"}, {}),
        (PROJECTION | {"generators": {}}, {}),
        (PROJECTION | {"about": []}, {}),
        (PROJECTION | {"about": None}, {}),
        (PROJECTION | {"format": [1]}, {}),
        ([], {}),
        (PROJECTION, {"ws": np.zeros((1, 2, 3), int)}),
        (PROJECTION, {"ws": WS * np.nan}),
        (PROJECTION, {"ws": WS[0]}),
        (PROJECTION, {"noise": np.zeros((2, 5), np.float32)}),
        (PROJECTION, {"z": np.zeros(5, np.float32)}),
        (PROJECTION, {"loss": np.zeros((5, 2), np.float32)}),
    ],
)
def test_projections(tmp_path, header, arrays):
    np.savez(tmp_path / "p.npz", header=np.array(json.dumps(header)), **({"ws": WS} | arrays))
    with pytest.raises(ProjectionError, match="p.npz is (not a projection|a damaged projection)"):
        result.load(tmp_path / "p.npz")


ENTRY = {"name": "a", "layers": [0], "about": {}}
DIRECTIONS = {"format": directions.FORMAT, "generator": "g", "directions": [ENTRY]}


@pytest.mark.parametrize(
    ("header", "vectors"),
    [
        (DIRECTIONS | {"directions": 5}, None),
        (DIRECTIONS | {"directions": [5]}, None),
        (DIRECTIONS | {"directions": [ENTRY | {"name": 5}]}, None),
        (DIRECTIONS | {"directions": [ENTRY | {"layers": 5}]}, None),
        (DIRECTIONS | {"directions": [ENTRY | {"layers": ["a"]}]}, None),
        (DIRECTIONS | {"directions": [ENTRY | {"layers": [10**9]}]}, None),
        (DIRECTIONS | {"directions": [ENTRY, ENTRY]}, None),
        (DIRECTIONS | {"generator": []}, None),
        ("text", None),
        (DIRECTIONS, np.zeros(4)),
        (DIRECTIONS, np.full((1, 4), np.inf)),
        (DIRECTIONS, np.zeros((1, 4), int)),
    ],
)
def test_directions(tmp_path, header, vectors):
    vectors = np.zeros((1, 4), np.float32) if vectors is None else vectors
    np.savez(tmp_path / "d.npz", header=np.array(json.dumps(header)), vectors=vectors)
    with pytest.raises(EditError, match=r"d\.npz holds no directions"):
        directions.load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": ""},
        {"stages": "{"},
        {"stages": "5"},
        {"stages": "[]"},
        {"stages": "[[]]"},
        {"stages": "[5]"},
        {"stages": '[["a"]]'},
        {"stages": "[[1e999]]"},
        {"stages": "[[" + "9" * 5000 + "]]"},
        {"stages": "[" * 100_000},
        {"stages": str([[1] * 100] * 3)},
        {"stages": str([[10**9]])},
        {"variance": "none"},
        {"format": "other"},
    ],
)
def test_style_networks(tmp_path, changes):
    tensors = load_file(model.BUILT_IN)
    metadata = {"format": model.FORMAT, "stages": "[[4]]", "variance": "biased"} | changes
    save_file(tensors, tmp_path / "s.safetensors", {name: text for name, text in metadata.items() if text})
    with pytest.raises(StyleError, match="s.safetensors: "):
        model.load_model(tmp_path / "s.safetensors")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"3": NaN}', '{"3": 1e999}', "[[1, 2]]", '{"3": "' + "9" * 5000 + '"}']
)
def test_scores(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(EditError, match="s.json: ") as caught:
        discovery.read_scores(tmp_path / "s.json")
    assert len(str(caught.value)) < 400
