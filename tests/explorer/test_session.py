"""The explorer's messages without a browser: replies, what is dropped, jobs that are stopped, and what is refused."""

import copy
import io
import json
import random
import struct
import threading

import numpy as np
import pytest
from PIL import Image

import stylegen
from stylegen.explorer import jobs, limits, replies, requests, uploads
from stylegen.explorer.session import Session
from stylegen.explorer.state import State, encode, from_json
from stylegen.io import video
from stylegen.projection import result
from tests.explorer.conftest import answers, ask, image_of

STATE = {"seed": 3, "psi": 0.5, "directions": {"pca0": 1.5}, "mix": {"1": 8}}


def test_hello_says_what_there_is(session):
    header = ask(session, "hello").tree()
    assert header["layers"] == 6 and header["resolution"] == 16 and header["run"] is False
    assert {"name": "pca0", "layers": list(range(6))} in header["directions"]
    assert ask(session, "ping").type == "pong"


def test_an_image_is_that_of_the_state(session):
    reply = ask(session, "image", state=STATE)
    state = from_json(STATE, session.engine.shape)
    np.testing.assert_array_equal(image_of(reply), session.engine.image(state))
    frame = reply.frame()
    (length,) = struct.unpack("<I", frame[:4])
    header = json.loads(frame[4 : 4 + length])
    assert header["type"] == "image" and header["id"] == 7 and frame[4 + length :] == reply.parts[0]
    assert header["sizes"] == [len(reply.parts[0])] == [16 * 16 * 3]


def test_large_images_are_jpeg_while_they_move_and_lossless_at_rest():
    image = np.random.default_rng(0).integers(256, size=(80, 80, 3)).astype(np.uint8)
    assert replies.coding(image[:64, :64], True) == "raw"
    assert replies.coding(image, True) == "jpeg" and replies.coding(image, False) == "png"
    assert replies.coding(np.zeros((80, 80, 4), np.uint8), True) == "png"  # JPEG has no alpha
    with Image.open(io.BytesIO(replies.encoded(image, "png"))) as png:
        np.testing.assert_array_equal(png, image)


def test_only_the_newest_of_a_type_is_answered(session):
    for i in range(5):
        session.receive({"type": "image", "id": i, "state": {"seed": i}})
        session.receive({"type": "images", "id": 10 + i, "states": [{"seed": i}]})
    found = []
    while session.has_work:
        found += session.work()
    assert [(reply.type, reply.id) for reply in found] == [("image", 4), ("images", 14)]


def test_children_layers_and_the_file(session, tmp_path):
    reply = ask(session, "children", a=STATE, b={"seed": 9}, count=3, seed=5)
    assert len(reply.parts) == 3
    child = from_json(reply.header["states"][0], session.engine.shape)
    difference = image_of(reply).astype(int) - session.engine.image(child)
    assert np.abs(difference).max() <= 1
    layers = ask(session, "layer", state={"seed": 4, "psi": 1}).header["styles"]
    mixed = ask(session, "image", state={"seed": 1, "psi": 1, "mix": {"2": layers[2]}})
    as_seed = ask(session, "image", state={"seed": 1, "psi": 1, "mix": {"2": 4}})
    assert np.abs(image_of(mixed).astype(int) - image_of(as_seed)).max() <= 2
    path = tmp_path / "explored.npz"
    path.write_bytes(ask(session, "npz", state=STATE).parts[0])
    drawn = result.draw(session.engine.G, result.load(path))[0]
    assert np.abs(drawn.astype(int) - image_of(ask(session, "image", state=STATE))).max() <= 1


@pytest.mark.parametrize("form", ["mp4", "gif", "webp"])
def test_a_video_has_its_frames(session, tmp_path, form):
    keyframes = [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    *progress, last = answers(
        session, "video", keyframes=keyframes, frames=4, fps=20, format=form, loop=True, easing="linear"
    )
    assert last.header == {"done": True, "frames": 12, "format": form}
    assert all(0 < reply.header["frame"] <= 12 for reply in progress)
    path = tmp_path / f"path.{form}"
    path.write_bytes(last.parts[0])
    if form == "mp4":
        frames = list(video.read_frames(video.open_video(path)))
        assert len(frames) == 12 and frames[0].shape == (256, 256, 3)
        shown = image_of(ask(session, "image", state={"seed": 2})).repeat(16, 0).repeat(16, 1).astype(int)
        assert np.abs(frames[4].astype(int) - shown).mean() < 3 < np.abs(frames[2].astype(int) - shown).mean()
    else:
        with Image.open(path) as animation:
            assert animation.n_frames == 12


def test_a_new_job_ends_the_one_before(session, monkeypatch):
    """And a page that is closed ends its job: no thread is left that writes a video."""
    monkeypatch.setattr(jobs, "SHOWN_EVERY", 0.0)
    fields = {"keyframes": [{"seed": 1}, {"seed": 2}], "frames": 4000}
    for _ in range(2):
        session.receive({"type": "video", "id": 1, **fields})
        for _ in range(3):
            session.work()
    session.close()
    assert not session.has_work
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("video")]


def test_a_frame_is_a_place_of_the_path(session):
    fields = {"keyframes": [{"seed": 1}, {"seed": 2}], "easing": "linear"}
    for at, seed in ((0, 1), (1, 2), (32, 2)):
        frame, single = ask(session, "frame", at=at, **fields), ask(session, "image", state={"seed": seed})
        assert np.abs(image_of(frame).astype(int) - image_of(single)).max() <= 1


def test_a_photo_is_projected_stopped_and_continued(library, session, photo, monkeypatch):
    monkeypatch.setattr(jobs, "perceptual", lambda: None)
    monkeypatch.setattr(jobs, "SHOWN_EVERY", 0.0)
    upload = library.uploads.add(photo())
    session.receive({"type": "project", "id": 1, "upload": upload.number, "steps": 30, "space": "w"})
    found = []
    while session.has_work:
        found += session.work()
        if len(found) == 6:
            session.receive({"type": "image", "id": 2, "state": {}})  # is answered between two steps
        if len(found) == 9:
            session.receive({"type": "stop"})
    kinds = [reply.type for reply in found]
    assert kinds[0] == "target" and kinds[-1] == "projected" and "image" in kinds[6:8]
    np.testing.assert_array_equal(image_of(found[0]), upload.target(16, 3))
    last = found[-1].header
    assert last["left"] and last["step"] < 12
    *_, done = answers(session, "project", upload=upload.number, steps=30, space="w", **{"continue": True})
    assert done.header["step"] == 30 and not done.header["left"]
    assert done.header["psnr"] > last["psnr"] - 1 and done.header["psnr"] > 8
    state = from_json(done.header["state"], session.engine.shape)
    np.testing.assert_array_equal(image_of(done), session.engine.image(state))
    (again,) = answers(session, "project", upload=upload.number, steps=30, space="w", **{"continue": True})
    assert again.header["step"] == 30 and not again.header["left"]


@pytest.mark.parametrize("kind", ["project", "drag", "video"])
def test_messages_are_answered_while_a_job_is_prepared(library, session, photo, monkeypatch, kind):
    """Compiling and the search for a start take seconds, and so does the first step."""
    begin, go = threading.Event(), threading.Event()

    def held(function):
        def wait_first(*args, **kwargs):
            assert begin.wait(60)
            return function(*args, **kwargs)

        return wait_first

    def held_back(iterate):
        def wait_first(self):
            assert go.wait(60)
            yield from iterate(self)

        return wait_first

    monkeypatch.setattr(jobs, "perceptual", lambda: None)
    for one, name in ((jobs.Descent, "__iter__"), (jobs.dragging.Drag, "__iter__"), (jobs.Walker, "frames")):
        monkeypatch.setattr(one, name, held_back(getattr(one, name)))
    monkeypatch.setattr(jobs, "descend", held(jobs.descend))
    monkeypatch.setattr(jobs.dragging, "Drag", held(jobs.dragging.Drag))
    fields = {
        "project": {"upload": library.uploads.add(photo()).number, "steps": 2, "space": "w"},
        "drag": {"state": STATE, "points": [[4, 4]], "targets": [[4, 12]], "steps": 2},
        "video": {"keyframes": [{}, {"seed": 1}], "frames": 2},
    }
    session.receive({"type": kind, "id": 1, **fields[kind]})
    for event in (begin, go):
        session.receive({"type": "ping", "id": 2})
        said = [reply.type for _ in range(20) for reply in session.work()]
        assert said[-1] == "pong" and session.has_work
        event.set()
    *_, last = answers(session, "ping")
    assert last.id == 1 and last.type in ("projected", "dragged", "video")


def test_a_job_that_is_prepared_can_be_ended(session, monkeypatch):
    """Without waiting for what compiles."""
    go = threading.Event()
    monkeypatch.setattr(jobs.dragging, "Drag", lambda *_, **__: go.wait(60))
    session.receive({"type": "drag", "id": 1, "state": STATE, "points": [[4, 4]], "targets": [[4, 12]]})
    assert session.work() == [] and session.has_work
    session.close()
    assert not session.has_work
    go.set()


def test_a_mask_is_stretched_by_the_nearest_pixels():
    mask = np.array([[True, False, True], [False, True, True]])
    np.testing.assert_array_equal(jobs.resized(mask, (4, 9)), mask.repeat(2, axis=0).repeat(3, axis=1))
    np.testing.assert_array_equal(jobs.resized(mask, (1, 1)), [[True]])


def test_points_are_dragged_and_the_drag_is_stopped(session, monkeypatch):
    monkeypatch.setattr(jobs, "SHOWN_EVERY", 0.0)
    fields = {"state": STATE, "points": [[4, 4]], "targets": [[4, 12]], "steps": 50}
    session.receive({"type": "drag", "id": 1, **fields})
    found = []
    while session.has_work:
        found += session.work()
        if len(found) == 4:
            session.receive({"type": "stop"})
    assert [reply.header["step"] for reply in found[:4]] == [1, 2, 3, 4]
    last = found[-1].header
    assert last["done"] and last["step"] <= 6 and len(last["points"]) == 1
    state = from_json(last["state"], session.engine.shape)
    np.testing.assert_array_equal(image_of(found[-1]), session.engine.image(state))
    mask = {"width": 8, "height": 8, "bits": "//8AAAAAAAA="}
    *_, masked = answers(session, "drag", **{**fields, "steps": 2}, mask=mask)
    assert masked.header["done"]
    (error,) = answers(session, "drag", **{**fields, "points": [[4, 99]]})
    assert error.type == "error" and "must lie in the image" in error.header["message"]


def test_a_stop_counts_before_the_job_has_begun(session):
    session.receive({"type": "drag", "id": 1, "state": STATE, "points": [[4, 4]], "targets": [[4, 12]], "steps": 50})
    session.receive({"type": "stop"})
    found = []
    while session.has_work:
        found += session.work()
    assert found[-1].header["done"] and found[-1].header["step"] <= 1


def test_styles_are_transferred(library, session, photo):
    content = {"upload": library.uploads.add(photo(60, 50)).number}
    style = {"upload": library.uploads.add(photo(40, 44, "JPEG")).number}
    plain = ask(session, "style", content=content, styles=[style], alpha=0)
    assert plain.header["shape"] == [50, 60, 3]
    styled = ask(session, "style", content=content, styles=[style, {"state": STATE}], weights=[0.5, 0.5])
    assert np.abs(image_of(styled).astype(int) - image_of(plain)).mean() > 5
    mask = {"width": 8, "height": 8, "bits": "//////8AAAA="}
    masked = image_of(ask(session, "style", content=content, styles=[style], mask=mask))
    np.testing.assert_array_equal(masked[40:], image_of(plain)[40:])
    for color in ("coral", "luminance"):
        assert ask(session, "style", content=content, styles=[style], color=color).type == "style"
    small = ask(session, "style", content={"state": STATE}, styles=[style])
    assert small.header["shape"] == [256, 256, 3] and small.header["coding"] == "png"
    (error,) = answers(session, "style", content={"upload": 999}, styles=[style])
    assert "upload it again" in error.header["message"]


@pytest.mark.parametrize(
    "message, words",
    [
        ("", "not valid JSON"),
        ("[]", "wanted a JSON object"),
        ("{", "not valid JSON"),
        ("{}", "there is no message None"),
        ('{"type": "delete"}', "there is no message delete"),
        ('{"type": ["image"]}', "there is no message"),
        ('{"type": "image"}', "needs state"),
        ('{"type": "image", "id": -1, "state": {}}', "id is -1"),
        ('{"type": "image", "state": {}, "path": "/etc/passwd"}', "has no path"),
        ('{"type": "image", "state": {"psi": NaN}}', "not finite"),
        ('{"type": "image", "state": {"psi": 1e999}}', "not finite"),
        ('{"type": "image", "state": {"seed": ' + "9" * 100 + "}}", "digits"),
        ('{"type": "images", "states": []}', "wanted a list of 1 to 64"),
        ('{"type": "video", "keyframes": [{}, {}], "frames": 6000}', "frames is 6000"),
        ('{"type": "video", "keyframes": [{}, {}, {}], "frames": 4000}', "at most 5000 in all"),
        ('{"type": "video", "keyframes": [{}, {}], "format": "../x"}', "format is ../x"),
        ('{"type": "drag", "state": {}, "points": [[1, 2]], "targets": [[1]]}', "wanted places"),
        ('{"type": "drag", "state": {}, "points": [[1, 2]], "targets": [[1, 2], [3, 4]]}', "give a target for each"),
        ('{"type": "drag", "state": {}, "points": [[1, 2]], "targets": [[1, 2]], "at": 64}', "at = 64: the blocks"),
        ('{"type": "drag", "state": {}, "points": [[1, 2]], "targets": [[1, 2]], "steps": 9999}', "steps is 9999"),
        ('{"type": "drag", "state": {}, "points": [[1, 2]], "targets": [[3, 4]], "mask": {}}', "mask is"),
        ('{"type": "project", "upload": 99}', "image 99 is not here any more"),
        ('{"type": "style", "content": {"file": "x"}, "styles": [{}]}', "wanted upload or state"),
        ('{"type": "run"}', "there is no run directory"),
        ('{"type": "grid", "kimg": 3}', "there is no run directory"),
        ('{"type": "checkpoint", "kimg": 3}', "there is no run directory"),
        ("[" * 100_000, "nested deeper"),
        ("x" * (2**20 + 1), "at most 1,048,576 are read"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_what_cannot_be_is_a_sentence(session, message, words, capsys):
    session.receive(message)
    (reply,) = session.work()
    assert reply.type == "error" and words in reply.header["message"] and len(reply.header["message"]) < 400
    assert not session.has_work and capsys.readouterr().err == ""


SEEDS = [
    {"type": "image", "id": 1, "state": {**STATE, "noise": "random", "noise_strength": 0.5}, "moving": True},
    {"type": "images", "id": 1, "states": [STATE, {"seed": 4}]},
    {"type": "children", "id": 1, "a": STATE, "b": {}, "count": 2, "seed": 1},
    {"type": "frame", "id": 1, "keyframes": [STATE, {}], "at": 0.5, "easing": "curve", "loop": True},
    {"type": "drag", "id": 1, "state": {}, "points": [[1, 2]], "targets": [[3, 4]], "steps": 1},
    {"type": "style", "id": 1, "content": {"upload": 1}, "styles": [{"state": {}}], "alpha": 0.5, "weights": [1]},
    {"type": "project", "id": 1, "upload": 1, "steps": 1, "space": "w", "continue": True},
    {"type": "npz", "id": 1, "state": {"ws": encode(np.ones((6, 16)))}},
    {"type": "run", "id": 1, "seen": 4},
    {"type": "grid", "id": 1, "kimg": 4},
    {"type": "stop"},
]
VALUES = [
    None,
    True,
    -1,
    0,
    2**53,
    1e308,
    -1e-300,
    0.5,
    "",
    "x" * 50,
    "random",
    [],
    [[]],
    {},
    {"a": 1},
    "../../etc",
    "0",
]


def mutated(tree, rng: random.Random):
    """A message with some of its values, names or bytes changed."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, 3)):
        node = tree
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = rng.choice(list(keys))
            if not isinstance(node[key], dict | list) or rng.random() < 0.3:
                if isinstance(node, dict) and rng.random() < 0.2:
                    node[str(rng.choice(VALUES))] = node.pop(key)
                else:
                    node[key] = copy.deepcopy(rng.choice(VALUES))
                break
            node = node[key]
    text = json.dumps(tree)
    if rng.random() < 0.2:
        at = rng.randrange(len(text))
        text = text[:at] + chr(rng.randrange(1, 0x2000)) + text[at + rng.randint(0, 2) :]
    return text


def test_ten_thousand_mutated_messages_are_answered(session, monkeypatch, capsys):
    """None ends in a traceback. Drawing is left out: what was read without an error is what drawing may get."""
    rng = random.Random(0)
    read = 0
    for _ in range(10_000):
        text = mutated(rng.choice(SEEDS), rng)
        try:
            request = requests.read(requests.parse(text), session.engine.shape)
        except stylegen.StylegenError as error:
            assert len(str(error)) < 500
        else:
            read += 1
            assert request.type in requests.READERS
    assert 100 < read < 9000
    for _ in range(150):  # and some of them all the way
        session.receive(mutated(rng.choice(SEEDS), rng))
        for _ in range(200):
            if not session.has_work:
                break
            for reply in session.work():
                reply.frame()
        assert not session.has_work
    assert capsys.readouterr().err == ""


def test_an_error_names_the_message_that_waits_for_it(session):
    session.receive('{"type": "image", "id": 12, "state": {"directions": {"gone": 1}}}')
    (reply,) = session.work()
    assert reply.type == "error" and reply.id == 12


def test_a_bug_is_said_and_ends_nothing(session, monkeypatch, capsys):
    monkeypatch.setattr(type(session.engine), "image", lambda self, state: 1 / 0)
    assert "this is a bug (ZeroDivisionError)" in ask(session, "image", state={}).header["message"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.undo()
    assert ask(session, "image", state={}).type == "image"


def test_uploads_are_bounded_before_they_are_decoded(photo, monkeypatch):
    kept = uploads.Uploads()
    assert kept.add(photo(4000, 20)).image.size == (2048, 10)
    for data, words in (
        (b"", "no image of PNG"),
        (b"GIF89a" + bytes(40), "no image of PNG"),
        (photo(30, 30, "GIF"), "no image of PNG"),
        (photo()[:60], "cannot be read"),
    ):
        with pytest.raises(stylegen.StylegenError, match=words):
            kept.add(data)
    monkeypatch.setattr(uploads, "MAX_PIXELS", 1000)
    monkeypatch.setattr(uploads.imaging, "decode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(stylegen.StylegenError, match="40x30 pixels are too many"):
        kept.add(photo())
    monkeypatch.setattr(limits, "MAX_UPLOAD", 10)
    with pytest.raises(stylegen.StylegenError, match="bytes are too many"):
        kept.add(photo())


def test_old_uploads_go(photo):
    kept = uploads.Uploads()
    numbers = [kept.add(photo(17, 16)).number for _ in range(uploads.MAX_KEPT + 2)]
    assert len(set(numbers)) == len(numbers)
    kept.get(numbers[2])
    with pytest.raises(stylegen.StylegenError, match="image 2 is not here any more"):
        kept.get(numbers[1])


def test_sessions_do_not_share_what_they_wait_for(library):
    a, b = Session(library), Session(library)
    a.receive({"type": "ping", "id": 1})
    assert a.has_work and not b.has_work
    assert State() == from_json({}, a.engine.shape)
