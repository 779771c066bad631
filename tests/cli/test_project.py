"""The verbs ``project`` and ``edit``, and ``sample --from``: what they write, and what they refuse."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.cli import common, edit, project, sample
from stylegen.editing import directions
from stylegen.projection import result, targets
from stylegen.runs.load import save_generator
from tests.support.paths import ROOT

FAST = "--run g.safetensors --perceptual none --steps 6 --candidates 20 --batch 1"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch, make_generator):
    """Run in a fresh folder that holds a generator and photographs."""
    monkeypatch.chdir(tmp_path)
    save_generator(make_generator(), "g.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    Image.fromarray(pixels[:, :20]).save("other.png")
    return tmp_path


@pytest.fixture
def G(make_generator):
    return make_generator()


def call(verb, command: str) -> int:
    return verb.main(command.split())


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def assert_alike(image: np.ndarray, other: np.ndarray) -> None:
    """Up to rounding: one is drawn alone, the other with others."""
    assert abs(image.astype(int) - other).max() <= 1


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_photograph_is_projected_tuned_restyled_walked_and_edited(G, in_a_folder, capsys):
    assert call(project, f"{FAST} --target photo.jpg --space w+ --tune 2 --frames 3 --out out") == 0
    out = in_a_folder / "out"
    files = ["optimization.mp4", "projected.png", "projection.npz", "side_by_side.png", "tuned.safetensors"]
    assert names(out) == files
    said = capsys.readouterr().out
    assert "photo.jpg: 40x20 pixels, 20 cut off at left and right" in said and "compared by pixels at 2 scales" in said
    projection, tuned = result.load("out/projection.npz"), stylegen.load("out/tuned.safetensors")
    np.testing.assert_array_equal(read("out/projected.png"), result.draw(tuned, projection)[0])

    assert call(sample, "--run g.safetensors --from out/projection.npz --mix-seed 7,8 --layers 4-5 --out mixed") == 0
    assert names(in_a_folder / "mixed") == ["grid.png", "photo-seed0007.png", "photo-seed0008.png"]
    seven = stylegen.styles(G, stylegen.latents([7], G.z_dim))[0]
    expected = stylegen.synthesize(G, np.concatenate([projection.ws[0, :4], seven[4:]]))
    assert_alike(read("mixed/photo-seed0007.png"), expected)

    assert call(sample, "--run out/tuned.safetensors --from out/projection.npz --out again") == 0
    np.testing.assert_array_equal(read("again/photo.png"), read("out/projected.png"))

    both = "out/projection.npz,out/projection.npz"
    assert call(sample, f"--run g.safetensors --from {both} --interpolate --frames 3 --out walk") == 0
    assert len(list((in_a_folder / "walk").glob("frame*.png"))) == 4
    for path in (in_a_folder / "walk").glob("frame*.png"):
        assert_alike(read(path), result.draw(G, projection)[0])

    assert call(edit, "--run g.safetensors --discover 3 --samples 100 --out edits") == 0
    command = (
        "--run g.safetensors --directions edits/directions.npz --apply 2 --strength -1.5 --from out/projection.npz"
    )
    assert call(edit, f"{command} --out edited") == 0
    moved = result.load("edited/edited.npz")
    direction = directions.load("edits/directions.npz", G).get("pca2")
    np.testing.assert_array_equal(moved.ws, directions.move(projection.ws, direction, -1.5))
    np.testing.assert_array_equal(read("edited/edited-photo.png"), result.draw(G, moved)[0])


def test_commas_in_names(G, in_a_folder):
    (in_a_folder / "photo.jpg").rename("comma, photo.jpg")
    found = targets.find_targets("comma, photo.jpg,other.png")
    assert [path.name for path in found] == ["comma, photo.jpg", "other.png"]
    ws = np.zeros((1, 6, 16), np.float32)
    result.save(result.Projection(ws, ("room",), (result.fingerprint(G),)), "one, two.npz")
    assert sample.main(["--run", "g.safetensors", "--from", "one, two.npz,one, two.npz", "--out", "drawn"]) == 0
    assert names(in_a_folder / "drawn") == ["grid.png", "room-2.png", "room.png"]


def test_several_targets_have_files_of_their_own(in_a_folder):
    assert call(project, f"{FAST} --target photo.jpg,other.png --space w --frames 0 --out out") == 0
    assert names(in_a_folder / "out") == [
        "projected-other.png",
        "projected-photo.png",
        "projection.npz",
        "side_by_side.png",
    ]
    assert result.load("out/projection.npz").names == ("photo", "other")


def test_directions_are_found_named_and_applied(G, in_a_folder, capsys):
    command = "--run g.safetensors --samples 100 --seeds 0,1 --scale 1"
    assert call(edit, f"{command} --discover 2 --method pca,sefa --ranges all,0-1 --out edits") == 0
    listed = ["pca0", "pca0@0-1", "pca1", "pca1@0-1", "sefa0", "sefa0@0-1", "sefa1", "sefa1@0-1"]
    assert names(in_a_folder / "edits") == sorted(["directions.npz", *(f"{name}.png" for name in listed)])
    table = directions.load("edits/directions.npz", G)
    assert table.get("pca0").layers == tuple(range(6)) and table.get("sefa1@0-1").layers == (0, 1)
    assert call(edit, "--rename 0=light,sefa0=wall --out edits") == 0
    assert (in_a_folder / "edits" / "light.png").exists() and not (in_a_folder / "edits" / "pca0.png").exists()
    assert call(edit, f"{command} --apply light --strength -3..3 --steps 5 --out edits") == 0
    page = read("edits/light-applied.png")
    ws = stylegen.styles(G, stylegen.latents([0, 1], G.z_dim))
    expected = stylegen.synthesize(G, ws + np.float32(1.5) * table.get("pca0").vector)[1]
    strip = page[-16:]
    assert any(np.array_equal(strip[:, x : x + 16], expected) for x in range(page.shape[1] - 15))
    assert "light at -3, -1.5, 0, 1.5, 3" in capsys.readouterr().out


def test_attributes_are_probed(G, in_a_folder, capsys):
    w = stylegen.styles(G, stylegen.latents(range(200), G.z_dim))[:, 0]
    rows = [f"seed{i:04d}.png,{w[i, 3]},{int(w[i, 5] > np.median(w[:, 5]))}" for i in range(200)]
    (in_a_folder / "scores.csv").write_text("\n".join(["image,third,high fifth", *rows]))
    assert call(edit, "--run g.safetensors --probe scores.csv --out edits --seeds 0") == 0
    said = capsys.readouterr().out
    assert "third: R² 1.0" in said or "third: R² 0.99" in said
    vector = directions.load("edits/directions.npz", G).get("third").vector
    assert np.argmax(np.abs(vector)) == 3 and vector[3] > 0
    assert (in_a_folder / "edits" / "high_fifth.png").exists()


def test_what_is_there_is_not_replaced(in_a_folder, capsys):
    command = f"{FAST} --target other.png --space w --frames 0 --out out"
    assert call(project, command) == 0
    before = (in_a_folder / "out" / "projection.npz").read_bytes()
    assert call(project, f"{command} --seed 1") == common.USER_ERROR
    assert "exists already; give another --out, or --overwrite" in capsys.readouterr().err
    assert (in_a_folder / "out" / "projection.npz").read_bytes() == before
    assert call(project, f"{command} --overwrite --steps 2") == 0
    assert (in_a_folder / "out" / "projection.npz").read_bytes() != before
    assert call(edit, "--run g.safetensors --discover 1 --samples 100 --out edits") == 0
    assert call(edit, "--run g.safetensors --discover 1 --samples 100 --out edits") == common.USER_ERROR
    assert "has a direction pca0 already" in capsys.readouterr().err


def test_images_of_single_targets_are_not_replaced(in_a_folder, capsys, monkeypatch):
    """What would be replaced is known before the work begins."""
    monkeypatch.setattr(stylegen, "load", lambda *_, **__: pytest.fail("the work began"))
    (in_a_folder / "out").mkdir()
    (in_a_folder / "out" / "projected-other.png").write_text("mine")
    assert call(project, f"{FAST} --target photo.jpg,other.png --space w --out out") == common.USER_ERROR
    assert "out/projected-other.png exists already" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(in_a_folder)
    G = stylegen.load("g.safetensors")
    direction = directions.Direction("a", np.ones(16, np.float32), (0,))
    directions.save(directions.Directions((direction,), result.fingerprint(G)), "d.npz")
    result.save(result.Projection(np.zeros((2, 6, 16), np.float32), ("x", "y"), (result.fingerprint(G),)), "q.npz")
    (in_a_folder / "out" / "edited-y.png").write_text("mine")
    command = "--run g.safetensors --directions d.npz --apply a --strength 1 --from q.npz --out out"
    assert call(edit, command) == common.USER_ERROR
    assert "out/edited-y.png exists already" in capsys.readouterr().err
    assert names(in_a_folder / "out") == ["edited-y.png", "projected-other.png"]
    assert call(edit, f"{command} --overwrite") == 0
    read("out/edited-y.png")


def test_projections_and_attributes_have_files_of_their_own(G, in_a_folder):
    ws = np.random.default_rng(0).standard_normal((4, 6, 16)).astype(np.float32)
    for i, stem in enumerate(("room", "room-2", "grid", "room")):
        (in_a_folder / str(i)).mkdir()
        result.save(result.Projection(ws[i : i + 1], (stem,), (result.fingerprint(G),)), f"{i}/p.npz")
    assert call(sample, "--run g.safetensors --from 1/p.npz,0/p.npz,2/p.npz,3/p.npz --out drawn") == 0
    assert names(in_a_folder / "drawn") == ["grid-2.png", "grid.png", "room-2.png", "room-3.png", "room.png"]
    for name, i in {"room-2": 1, "room": 0, "grid-2": 2, "room-3": 3}.items():
        assert_alike(read(f"drawn/{name}.png"), stylegen.synthesize(G, ws[i : i + 1])[0])
    w = stylegen.styles(G, stylegen.latents(range(200), G.z_dim))[:, 0]
    rows = [f"{i},{w[i, 3]},{w[i, 5]}" for i in range(200)]
    (in_a_folder / "scores.csv").write_text("\n".join(["seed,a b,a/b", *rows]))
    assert call(edit, "--run g.safetensors --probe scores.csv --out edits --seeds 0") == 0
    table = directions.load("edits/directions.npz", G)
    assert [int(np.argmax(np.abs(table.get(name).vector))) for name in ("a_b", "a_b-2")] == [3, 5]
    assert names(in_a_folder / "edits") == ["a_b-2.png", "a_b.png", "directions.npz"]


def test_an_out_that_cannot_be_written_is_found_before_the_work(in_a_folder, capsys, monkeypatch):
    monkeypatch.setattr(stylegen, "load", lambda *_, **__: pytest.fail("the work began"))
    (in_a_folder / "file").write_text("no folder")
    long = "n" * 245  # as a file, but not with "projected-" before it
    (in_a_folder / f"{long}.jpg").write_bytes((in_a_folder / "photo.jpg").read_bytes())
    for arguments, words in (
        ("--target photo.jpg --out file/out", "a part of the path is a file"),
        (f"--target photo.jpg,{long}.jpg --out out", "file name too long; give a shorter name"),
    ):
        assert call(project, f"{FAST} {arguments}") == common.USER_ERROR
        error = capsys.readouterr().err
        assert words in error and "Errno" not in error and error.count("\n") == 1, error
    assert not (in_a_folder / "out").exists()


def test_the_projection_is_written_before_what_can_be_drawn_again(in_a_folder, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stylegen.io.images.save_image", fails)
    assert call(project, f"{FAST} --target photo.jpg --space w --frames 0 --out out") == common.USER_ERROR
    assert result.load("out/projection.npz").names == ("photo",)


@pytest.mark.parametrize(
    "verb, command, words",
    [
        (project, "--target nothing.jpg", "there is no such file or folder"),
        (project, "--target g.safetensors", "cannot be used as an image"),
        (project, "--target photo.jpg --steps 0", "--steps 0: must be at least 1"),
        (project, "--target photo.jpg --scale 900", "--scale 900: the table would have 43,200x14,400 pixels"),
        (project, "--target photo.jpg --learning-rate nan", "--learning-rate nan: must be a finite number"),
        (project, "--target photo.jpg --candidates 9000000", "--candidates 9000000: must be at most 1,000,000"),
        (edit, "--discover 2 --samples 19", "--samples 19: must be at least 20"),
        (edit, "--discover 2 --psi inf", "--psi inf: must be a finite number"),
        (edit, "--apply 0 --scale 900 --seeds 0-9 --out made", "--scale 900: the table would have 100,800x144,000"),
        (sample, "--from q.npz --mix-seed 1-9 --layers 0 --scale 1024", "--scale 1024: the table would have"),
        (sample, "--from q.npz,q.npz --interpolate --scale 600", "frames of 9,600x9,600 pixels are too large"),
        (project, "--target photo.jpg --frames -1", "--frames -1: must be at least 0"),
        (project, "--target photo.jpg --labels 1", "has no classes"),
        (project, "--target photo.jpg --out photo.jpg", "is a file, not a folder"),
        (project, "--target photo.jpg --vgg none.pth --perceptual vgg16", "there is no such file of weights"),
        (sample, "--from nothing.npz", "nothing.npz: cannot be read"),
        (sample, "--from photo.jpg", "is not a projection"),
        (sample, "--from p.npz", "p.npz is a projection of another generator"),
        (sample, "--from p.npz --mix-seed 7", "--mix-seed and --layers go together"),
        (sample, "--from p.npz --seeds 7", "--seeds does not go with --from"),
        (sample, "--mix-seed 7 --seeds 1", "--mix-seed goes with --from"),
        (sample, "--from q.npz --mix-seed 7 --layers 9", "layer 9 does not exist"),
        (edit, "", "give one of --discover, --probe, --rename, --apply and --drag"),
        (edit, "--discover 2 --apply 3", "give one of"),
        (edit, "--discover 99", "99 directions: there can be 1 to 16"),
        (edit, "--discover 2 --method ica", "'ica' is neither pca nor sefa"),
        (edit, "--discover 2 --ranges 0-9", "--ranges 0-9: this generator has 6 layers"),
        (
            edit,
            "--apply 3 --out nowhere",
            "nowhere/directions.npz: there are no directions there; find some first (--discover 10)",
        ),
        (edit, "--apply lamp --out made", "direction 'lamp': there is none of this name or number; there are 0 pca0"),
        (edit, "--apply 0 --strength strong --out made", "--strength strong: must be a number"),
        (edit, "--apply 0 --strength -3..x --out made", "--strength -3..x: must be a number"),
        (edit, "--apply 0 --strength 1..2..3 --out made", "--strength 1..2..3: must be a number"),
        (edit, "--apply 0 --strength -1e308..1e308 --out made", "of at most 1000 standard deviations"),
        (edit, "--apply 0 --from p.npz --out made", "p.npz is a projection of another generator"),
        (edit, "--probe photo.jpg", "neither a table of scores"),
        (edit, "--rename pca0 --out made", "'pca0' is not OLD=NEW"),
    ],
)
def test_wrong_commands_end_in_one_sentence(in_a_folder, G, capsys, verb, command, words):
    ws = np.zeros((1, 6, 16), np.float32)
    result.save(result.Projection(ws, ("room",), ("another",)), "p.npz")
    result.save(result.Projection(ws, ("room",), (result.fingerprint(G),)), "q.npz")
    vector = directions.Direction("pca0", np.ones(16, np.float32), (0,))
    directions.save(directions.Directions((vector,), result.fingerprint(G)), "made/directions.npz")
    before = sorted(path for path in in_a_folder.rglob("*"))
    assert call(verb, f"--run g.safetensors {command}") == common.USER_ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert sorted(path for path in in_a_folder.rglob("*")) == before


def test_a_strength_may_begin_with_a_minus():
    assert edit.joined_strength(["--apply", "3", "--strength", "-3..3", "--out", "x"])[2] == "--strength=-3..3"
    assert edit.parse_strengths("-3..3", 7) == [-3, -2, -1, 0, 1, 2, 3]
    assert edit.parse_strengths("2", 7) == [2] and edit.parse_strengths("-1,0.5", 7) == [-1, 0.5]


@pytest.mark.parametrize("verb, shown", [(project, "--target"), (edit, "--discover"), (sample, "--from")])
def test_help_shows_the_commands(verb, shown, capsys):
    with pytest.raises(SystemExit) as stopped:
        verb.main(["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert shown in said and "--run runs/bedroom" in said


def test_a_folder_of_targets_is_done_whole_whatever_is_broken_in_it(in_a_folder, capsys):
    (in_a_folder / "photos" / "deep").mkdir(parents=True)
    for name in ("b.png", "deep/c.png", "._b.png"):
        (in_a_folder / "photos" / name).write_bytes((in_a_folder / "other.png").read_bytes())
    (in_a_folder / "photos" / "a.png").write_text("no image")
    assert call(project, f"{FAST} --target photos --space w --frames 0 --out out") == 0
    assert result.load("out/projection.npz").names == ("b", "c")
    assert "1 image was left out:\n  photos/a.png: cannot be used as an image" in capsys.readouterr().out
    assert call(project, f"{FAST} --target photos/b.png,photos/a.png --space w --frames 0 --out named") == 2
    assert "photos/a.png: cannot be used" in capsys.readouterr().err


def test_a_target_whose_name_is_not_utf_8(in_a_folder):
    name = os.fsdecode(b"photo\xe9.png")
    try:
        (in_a_folder / name).write_bytes((in_a_folder / "other.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    code = "from stylegen.cli import project; import sys; sys.exit(project.main())"
    arguments = [*FAST.split(), "--target", name, "--space", "w", "--frames", "0", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"photo\\udce9.png: 20x20 pixels" in done.stdout
    assert result.load("out/projection.npz").names == ("photo_udce9",)
