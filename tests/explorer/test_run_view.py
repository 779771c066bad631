"""What the explorer shows of a run."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import stylegen
from stylegen.config_json import to_json
from stylegen.explorer.run_view import MAX_POINTS, RunView, is_run
from stylegen.explorer.session import Library, Session
from stylegen.io.images import save_image
from stylegen.runs.checkpoint import Checkpointer
from stylegen.training.schedule import Stage
from stylegen.training.state import init_state
from tests.explorer.conftest import answers, ask, image_of
from tests.support.configs import tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two checkpoints with all that is shown of it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    config = tiny_config(8, generator={"channel_max": 8}, discriminator={"channel_max": 8})
    (folder / "config.json").write_text(to_json(config))
    with Checkpointer(folder, config, keep_last=5) as checkpointer:
        for seed, nimg in ((1, 4000), (2, 8000)):
            state = dataclasses.replace(init_state(config, seed=seed), nimg=jnp.int32(nimg))
            checkpointer.save(state, Stage(0, 8, 1.0, 4, 0.001))
    lines = [{"nimg": 10 * i, "Loss/G/loss": float(i), "Loss/D/loss": float("nan")} for i in range(801)]
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = ["2026-01-01 00:00:00 kimg 4", "2026-01-01 00:00:01 Doctor: overfitting: stop earlier."]
    (folder / "log.txt").write_text("\n".join(log) + "\n")
    metric = {"nimg": 4000, "kimg": 4.0, "value": 12.5, "measured_by": "pixels", "provenance": {}}
    (folder / "metric-swd.jsonl").write_text(json.dumps(metric) + "\n")
    for kimg in (0, 4):
        save_image(np.full((16, 16, 3), kimg, np.uint8), folder / f"fakes{kimg:06d}.png")
    save_image(np.zeros((16, 16, 3), np.uint8), folder / "fakes.png")
    return folder


def test_all_of_a_run_is_shown(run):
    assert is_run(run) and not is_run(run.parent)
    about = RunView(run).about()
    assert about["name"] == "tiny" and about["kimg"] == 8.0
    assert about["checkpoints"] == [4.0, 8.0] and about["grids"] == [0, 4]
    curve = about["curves"]["Loss/G/loss"]
    assert len(curve) <= MAX_POINTS and curve[-1] == [8.0, 800.0]
    assert "Loss/D/loss" not in about["curves"]  # no value of it is finite
    assert about["metrics"] == {"swd": [[4.0, 12.5]]}
    assert about["doctor"] == ["2026-01-01 00:00:01: overfitting: stop earlier."]
    json.dumps(about, allow_nan=False)


def test_what_is_new_is_seen(run):
    view = RunView(run)
    before = view.version()
    assert view.version() == before
    with (run / "log.txt").open("a") as file:
        file.write("one more line\n")
    assert view.version() != before


def test_grids_are_those_that_are_listed(run):
    view = RunView(run)
    assert view.grid(4).startswith(b"\x89PNG")
    with pytest.raises(stylegen.StylegenError, match="no grid at 3 kimg"):
        view.grid(3)


def test_a_page_follows_the_run_and_changes_the_checkpoint(run):
    session = Session(Library(stylegen.load(run), str(run), warm=False))
    reply = ask(session, "run")
    assert reply.header["about"]["checkpoints"] == [4.0, 8.0]
    assert "about" not in ask(session, "run", seen=reply.header["version"]).header
    assert ask(session, "grid", kimg=4).parts[0].startswith(b"\x89PNG")
    newest = image_of(ask(session, "image", state={}))
    about = ask(session, "checkpoint", kimg=4.0).header
    assert about["kimg"] == 4.0
    older = image_of(ask(session, "image", state={}))
    np.testing.assert_array_equal(older, stylegen.sample(stylegen.load(run, kimg=4), [0], psi=0.7)[0])
    assert np.abs(older.astype(int) - newest).max() > 2
    (error,) = answers(session, "checkpoint", kimg=7)
    assert "has no checkpoint at 7 kimg" in error.header["message"]


def test_what_was_asked_of_another_shape_is_refused(run, make_generator):
    """A checkpoint of a growing run may have fewer layers than the one that the page's state is of."""
    session = Session(Library(make_generator(), str(run), warm=False))
    session.receive({"type": "checkpoint", "id": 1, "kimg": 4})
    session.receive({"type": "image", "id": 2, "state": {"mix": {"5": 1}}})
    replies = [reply for _ in range(2) for reply in session.work()]
    assert [reply.type for reply in replies] == ["about", "error"]
    assert "the generator has changed" in replies[1].header["message"]
