"""Every verb on a toy run of 64x32 pixels."""

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import convert, edit, evaluate, project, sample, train
from stylegen.runs.load import save_generator

SIZE = (64, 32)  # width and height
TINY = [
    *("--config", "quickstart", "--resolution", "64x32", "--data.num-images", "64", "--data.batch", "8"),
    *("--generator.z-dim", "8", "--generator.w-dim", "8", "--generator.channel-max", "4"),
    *("--generator.mapping-layers", "2", "--discriminator.channel-max", "4", "--schedule.start-resolution", "16"),
    *("--schedule.total-kimg", "0.048", "--schedule.stable-kimg", "0.016", "--schedule.fade-kimg", "0.016"),
    *("--schedule.stable-kimg-at", "", "--schedule.fade-kimg-at", "", "--schedule.batch", ""),
    *("--run.tick-kimg", "0.016", "--run.metrics", "", "--run.no-compile-ahead", "--run.grid", "4", "2"),
    "--generator.use-noise",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide") / "run"
    assert train.main([*TINY, "--run.dir", str(folder)]) == 0
    return folder


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.slow
def test_train(run, capsys):
    assert size_of(run / "reals.png") == (4 * 64, 2 * 32) == size_of(run / "fakes.png")
    G = stylegen.load(run)
    assert G.shape == (32, 64) and "64x32" in repr(G)
    assert train.main([*TINY, "--run.dir", str(run)]) == 0, "the same command, on a run that is at its end"
    assert train.main(["--run.dir", str(run), "--dry-run"]) == 0
    assert "64x32" in capsys.readouterr().out


@pytest.mark.slow
def test_sample(run, tmp_path):
    common = ["--run", str(run)]
    assert sample.main([*common, "--seeds", "0-2", "--out", str(tmp_path / "a"), "--scale", "1"]) == 0
    assert size_of(tmp_path / "a" / "seed0000.png") == SIZE
    assert size_of(tmp_path / "a" / "grid.png") == (3 * 64, 32)
    mix = ["--mix", "--rows", "1", "--cols", "2,3", "--layers", "0-1", "--scale", "1", "--out", str(tmp_path / "m.png")]
    assert sample.main([*common, *mix]) == 0 and size_of(tmp_path / "m.png")[0] > 3 * 64
    walk = ["--interpolate", "--seeds", "1,2", "--frames", "2", "--out", str(tmp_path / "walk.gif"), "--scale", "1"]
    assert sample.main([*common, *walk]) == 0
    assert size_of(tmp_path / "walk.gif") == SIZE


@pytest.mark.slow
@pytest.mark.parametrize("space", ["w+", "w+noise"])
def test_project_and_edit(run, tmp_path, space):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 100, 3), np.uint8)).save(tmp_path / "photo.png")
    out = tmp_path / "p"
    words = ["--run", str(run), "--target", str(tmp_path / "photo.png"), "--steps", "3", "--perceptual", "none"]
    assert project.main([*words, "--space", space, "--candidates", "8", "--out", str(out)]) == 0
    assert size_of(out / "projected.png") == SIZE
    again = ["--run", str(run), "--from", str(out / "projection.npz"), "--out", str(tmp_path / "again")]
    assert sample.main(again) == 0
    words = ["--run", str(run), "--out", str(tmp_path / "d"), "--samples", "50"]
    assert edit.main([*words, "--discover", "1", "--method", "pca,sefa"]) == 0
    moved = ["--apply", "0", "--strength", "0,1", "--from", str(out / "projection.npz"), "--scale", "1"]
    assert edit.main([*words, *moved]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:fid16.*samples are no more than:UserWarning")
def test_evaluate(run, tmp_path, capsys):
    assert evaluate.main(["--run", str(run), "--metrics", "swd16,fid16", "--extractor", "random_vgg"]) == 0
    assert "swd16" in capsys.readouterr().out
    assert sample.main(["--run", str(run), "--seeds", "0-3", "--out", str(tmp_path / "a")]) == 0
    (tmp_path / "a" / "grid.png").unlink()
    words = ["--images", str(tmp_path / "a"), "--reference", str(run), "--metrics", "swd", "--resolution"]
    assert evaluate.main([*words, "64x32"]) == 0
    assert evaluate.main([*words, "64"]) == 2
    assert "has images of 64x32 pixels" in capsys.readouterr().err


@pytest.mark.slow
def test_export(run, tmp_path):
    G = stylegen.load(run)
    save_generator(G, tmp_path / "g.safetensors")
    again = stylegen.load(tmp_path / "g.safetensors")
    assert again.shape == (32, 64)
    np.testing.assert_array_equal(stylegen.sample(again, [3], batch=2), stylegen.sample(G, [3], batch=2))
    assert convert.main([str(run), "--to", "safetensors", "--out", str(tmp_path / "folder")]) == 0
    assert "64 x 32 pixels" in (tmp_path / "folder" / "README.md").read_text()
    assert stylegen.load(tmp_path / "folder").shape == (32, 64)
    assert convert.main([str(run), "--to", "stablehlo", "--out", str(tmp_path / "program")]) == 0
