"""A ``~`` is the home folder wherever a path is given, in commands and in Python; never a folder of that name."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import arguments, edit, evaluate, prepare, project, sample, stylize
from stylegen.config import Config, DataConfig, RunConfig
from stylegen.config_json import from_json, to_json
from stylegen.data.raw.image_files import ImageFilesDataset
from stylegen.editing import directions, discovery
from stylegen.evaluation.opening import open_images
from stylegen.formats.torch_files import read_state_dict
from stylegen.io import files, image_listing, images, json_lines, video
from stylegen.nvidia import pickles
from stylegen.paths import expanded, expanded_list
from stylegen.pretrained import weights
from stylegen.projection import result, targets
from stylegen.runs import checkpoint, directory, load
from stylegen.style_transfer import model, training_images
from stylegen.style_transfer import train as style_train
from stylegen.style_transfer.config import StyleConfig, StyleRunConfig


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder beside the working directory, which must stay without a folder of the name ``~``."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert list((tmp_path / "here").iterdir()) == []


def test_what_is_expanded_and_what_is_not(home):
    assert expanded("~/x") == home / "x" and str(expanded("a~/x")) == "a~/x" and str(expanded("x/~")) == "x/~"
    assert str(expanded("~nobody-of-this-name/x")) == "~nobody-of-this-name/x"
    assert expanded_list("~/a.png,~/b.png,c~.png") == f"{home}/a.png,{home}/b.png,c~.png"
    assert expanded_list("~") == str(home) and expanded_list("a~b") == "a~b"


COMMANDS = {
    "sample --run ~/run --out ~/out": (sample.Options, {"run": "run", "out": "out"}),
    "sample --run=~/run --from=~/a.npz,~/b.npz": (sample.Options, {"run": "run"}),
    "edit --run ~/run --out=~/out --directions ~/d.npz": (edit.Options, {"run": "run", "out": "out"}),
    "project --run ~/run --target=~/a.png,~/b.png --out=~/out": (project.Options, {"run": "run", "out": "out"}),
    "evaluate --run ~/run --images=~/i --json=~/j.json": (evaluate.Options, {"run": "run", "images": "i"}),
    "stylize --content=~/c.png --style=~/a.png,~/b.png --out=~/o.png": (stylize.Options, {"content": "c.png"}),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, home):
    kind, expected = COMMANDS[command]
    options = arguments.parse(kind, command.split()[1:], prog="x", description="")
    for name, path in expected.items():
        assert str(getattr(options, name)) == str(home / path)
    texts = [str(getattr(options, field.name)) for field in dataclasses.fields(options)]
    assert not any("~" in text for text in texts)


def test_train_and_prepare(home):
    words = ["--run.dir=~/run", "--data.path", "~/photos", "--run.init-from=~/g.npz", "--data.prepared=~/p"]
    config = arguments.parse(Config, words, prog="train", description="", default=Config())
    assert (config.run.dir, config.run.init_from) == (f"{home}/run", f"{home}/g.npz")
    assert (config.data.path, config.data.prepared) == (f"{home}/photos", f"{home}/p")
    (home / "photos").mkdir()
    assert prepare.main(["images", "~/photos", "--out=~/prepared", "--resolution", "16"]) == 2
    assert not (home / "prepared").exists()


def test_configurations_in_python(home):
    config = Config(data=DataConfig(path="~/photos"), run=RunConfig(dir="~/run", metrics_weights="~/w.pth"))
    assert (config.data.path, config.run.dir) == (f"{home}/photos", f"{home}/run")
    assert config.run.metrics_weights == f"{home}/w.pth" and from_json(to_json(config)) == config
    assert directory.check_run(config) == home / "run"


def test_generators_in_python(home, make_generator):
    G = make_generator()
    load.save_generator(G, "~/g.safetensors")
    load.save_npz(G, "~/new/g.npz")
    assert stylegen.load("~/g.safetensors").config == stylegen.load("~/new/g.npz").config == G.config
    (home / "run").mkdir()
    (home / "run" / "config.json").write_text(to_json(G.config))
    assert checkpoint.read_config("~/run") == G.config
    with pytest.raises(checkpoint.CheckpointError, match="has no checkpoint yet"):
        stylegen.load("~/run")


def test_files_in_python(home, make_generator):
    picture = np.zeros((20, 20, 3), np.uint8)
    images.save_image(picture, "~/in/a.png")
    images.save_grid(picture[None], "~/in/b.png")
    assert len(image_listing.list_images("~/in").files) == 2 == open_images("~/in").count
    assert ImageFilesDataset(expanded("~/in")).num_images == 2
    assert len(targets.find_targets("~/in")) == 2 and targets.load_target("~/in/a.png", 8, 3).name == "a"
    assert len(training_images.photograph_files("~/in")) == 2
    video.save_video([picture] * 2, "~/v.mp4")
    assert video.open_video("~/v.mp4").width == 260
    files.write_json("~/x.json", {"3": 1})
    assert json.loads((home / "x.json").read_text()) == {"3": 1} and discovery.read_scores("~/x.json")[0] == [3]
    json_lines.write("~/x.jsonl", [{"nimg": 1}])
    assert json_lines.read("~/x.jsonl") == [{"nimg": 1}]
    model.save_model(model.load_model(), "~/s.safetensors")
    assert model.load_encoder("~/s.safetensors")[0] == model.load_model("~/s.safetensors").stages
    projection = result.Projection(np.zeros((1, 2, 3), np.float32), ("a",), ("g",))
    result.save(projection, "~/p.npz")
    assert result.load("~/p.npz").names == ("a",)
    directions.save(directions.Directions((directions.Direction("a", np.ones(3), (0,)),), "g"), "~/d.npz")
    assert len(directions.load("~/d.npz")) == 1
    np.savez(home / "w.npz", a=np.ones(2))
    assert weights.read_tensors("~/w.npz", {"a": (2,)})["a"].sum() == 2 and weights.find("vgg16", "~/w.npz").is_file()
    Image.fromarray(picture).save(home / "n.pkl", "PNG")
    for read in (pickles.read, read_state_dict):
        with pytest.raises(stylegen.StylegenError, match="it is a PNG image"):
            read("~/n.pkl")


def test_a_style_training_in_python(home):
    folder = style_train._open_run(StyleConfig(run=StyleRunConfig(dir="~/style")))
    assert folder == home / "style" and (folder / "config.json").is_file()
