"""Generators from elsewhere, of a server on this machine: what is fetched once, and what leaves nothing behind."""

import hashlib

import jax
import numpy as np
import pytest

import stylegen
from stylegen.cli import convert
from stylegen.hub import HubError, remote
from stylegen.hub.published import NVIDIA, Published
from stylegen.runs.load import LoadError, save_generator
from tests.support.disks import small_files
from tests.support.paths import REFERENCES
from tests.support.web import Answer, serving

PICKLED = REFERENCES / "networks" / "rosinality_32_legacy.pt"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and no proxy between it and its server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "stylegen" / "generators"


@pytest.fixture(scope="module")
def exported(make_generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "generator.safetensors"
    save_generator(make_generator(), path)
    return path.read_bytes()


@pytest.fixture
def server(exported):
    with serving({"/g.safetensors": Answer(exported), "/x.pt": Answer(PICKLED.read_bytes())}) as running:
        yield running


def left(cache):
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*")) if cache.exists() else []


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_address_is_fetched_once(server, make_generator, cache, capsys):
    url = f"{server.url}/g.safetensors"
    for _ in range(2):
        assert_same(stylegen.load(url), make_generator())
    assert server.paths() == ["/g.safetensors"]
    said = capsys.readouterr().err
    assert said.count("Fetching") == 1 and url in said and "license: as its publisher says" in said and "kB" in said
    assert len(left(cache)) == 3  # a folder, the file, and where it is from


def test_files_of_other_programs(server):
    G = stylegen.load(f"{server.url}/x.pt")
    assert (G.resolution, G.z_dim) == (32, 16)
    assert_same(G, stylegen.load(PICKLED))
    with pytest.raises(LoadError, match="kimg = 3: .* is a single generator"):
        stylegen.load(PICKLED, kimg=3)


def test_a_file_in_the_cache_that_was_changed_is_fetched_anew(server, make_generator, cache):
    url = f"{server.url}/g.safetensors"
    stylegen.load(url)
    (path,) = cache.glob("*/g.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert_same(stylegen.load(url), make_generator())
    assert len(server.paths()) == 2


def test_a_known_hash(server, exported, cache):
    digest = hashlib.sha256(exported).hexdigest()
    stylegen.load(f"{server.url}/g.safetensors#sha256={digest}")
    other, server.answers["/h.safetensors"] = "0" * 64, Answer(exported)
    with pytest.raises(HubError, match=f"has the SHA-256 {digest}, not {other}: it was changed, or damaged"):
        stylegen.load(f"{server.url}/h.safetensors#sha256={other}")
    with pytest.raises(HubError, match="behind # comes sha256= and 64 hexadecimal digits"):
        stylegen.load(f"{server.url}/g.safetensors#sha256=abc")


def put(server, answer):
    server.answers["/bad.pt"] = answer
    return f"{server.url}/bad.pt"


CONTENT = b"\x80\x02" + bytes(10_000)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(CONTENT, stated=20_000), "ended after 10,002 of 20,000 bytes; nothing was kept"),
        (Answer(CONTENT, stated=-1), "states no size"),
        (Answer(CONTENT, stated=9 * 10**9), "has 9.0 GB; at most 8.0 GB are fetched"),
        (Answer(b"<!doctype html><p>Too many downloads"), "it is a web page"),
        (Answer(b""), "ended after 0 of 0 bytes"),
        (Answer(b"gone", 404), "answers 404"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "file:///etc/passwd is where .* redirects to"),
        (Answer(status=302, headers={"Location": "http://example.com/x.pt"}), "http://example.com/x.pt is where"),
        (Answer(status=302, headers={"Location": "/bad.pt"}), "infinite loop"),
    ],
    ids=["truncated", "no size", "too large", "web page", "empty", "not found", "to a file", "to http", "in circles"],
)
def test_a_bad_download_leaves_nothing(server, cache, answer, message):
    with pytest.raises(HubError, match=message):
        stylegen.load(put(server, answer))
    assert left(cache) == []


def test_a_full_disk_leaves_nothing(server, cache):
    with small_files(1000), pytest.raises(OSError, match=r"File too large: '.*g\.safetensors'"):
        stylegen.load(f"{server.url}/g.safetensors")
    assert left(cache) == []


def test_a_disk_that_has_less_than_is_to_come(server, cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(HubError, match="do not fit into .*, which has 1.0 kB left"):
        stylegen.load(f"{server.url}/g.safetensors")
    assert left(cache) == []


def test_an_address_without_encryption_is_not_fetched(cache):
    with pytest.raises(HubError, match="http://example.com/x.pkl is not fetched: generators come over https alone"):
        stylegen.load("http://example.com/x.pkl")
    with pytest.raises(HubError, match="must be the address of a file that ends with .safetensors, .npz, .pkl"):
        stylegen.load("https://example.com/page")
    assert left(cache) == []


def test_no_server(cache):
    with serving({}) as gone:
        url = f"{gone.url}/x.pkl"
    with pytest.raises(HubError, match="cannot be reached"):
        stylegen.load(url)
    assert left(cache) == []


def hub_answers(content, **changes):
    """What the hub answers of a large file: the hash and size it is stored with, and where it is."""
    headers = {"X-Repo-Commit": "c" * 40, "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"'}
    headers |= {"X-Linked-Size": str(len(content)), "Location": "/cdn/blob", "ETag": '"abc"', **changes}
    path = "/someone/rooms/resolve/{}/generator.safetensors"
    return {
        path.format("main"): Answer(status=302, headers=headers),
        path.format("c" * 40): Answer(status=302, headers=headers),
        "/cdn/blob": Answer(content),
    }


@pytest.fixture
def hub(exported, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving(hub_answers(exported)) as running:
        for answer in running.answers.values():  # the hub's are absolute, and lead to other hosts
            if answer.status == 302:
                answer.headers["Location"] = f"{running.url.replace('127.0.0.1', 'localhost')}/cdn/blob"
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_repository_of_the_hub(hub, make_generator, cache, capsys):
    for _ in range(2):
        assert_same(stylegen.load("hf:someone/rooms"), make_generator())
    # The hub is asked each time what the newest commit is; the file is fetched of that commit, once.
    assert hub.paths("HEAD") == ["/someone/rooms/resolve/main/generator.safetensors"] * 2
    fetched = [path for path in hub.paths() if not path.startswith("/api/")]  # which the package asks for itself
    assert fetched == [f"/someone/rooms/resolve/{'c' * 40}/generator.safetensors", "/cdn/blob"]
    assert "license: see the model card of someone/rooms" in capsys.readouterr().err


def test_the_token_goes_to_the_hub_alone(hub, exported, cache):
    with serving({"/blob": Answer(exported)}) as elsewhere:
        for answer in hub.answers.values():
            answer.headers["Location"] = f"{elsewhere.url}/blob"
        stylegen.load("hf:someone/rooms")
        (_, _, headers), (_, _, hub_headers) = elsewhere.requests[0], hub.requests[0]
    assert hub_headers["authorization"] == "Bearer hf_secret"
    assert "authorization" not in {name.lower() for name in headers}


def test_a_file_of_the_hub_with_another_hash_or_size(hub, cache):
    for answer in hub.answers.values():
        answer.headers["X-Linked-Etag"] = f'"{"0" * 64}"'
    with pytest.raises(HubError, match="has the SHA-256 .*, not 0000"):
        stylegen.load("hf:someone/rooms")
    for answer in hub.answers.values():
        answer.headers["X-Linked-Size"] = "12"
    with pytest.raises(HubError, match="bytes; 12 were announced"):
        stylegen.load("hf:someone/rooms")
    assert left(cache) == []


def test_what_the_hub_does_not_have(hub, cache):
    with pytest.raises(HubError, match="hf:someone/nothing: generator.safetensors cannot be fetched from"):
        stylegen.load("hf:someone/nothing")
    for name in ("hf:rooms", "hf:a/b/../c.pkl", "hf:a/b@", "hf:a b/c"):
        with pytest.raises(HubError, match="must be hf:owner/name"):
            stylegen.load(name)
    assert left(cache) == []


def test_names_of_published_files(monkeypatch, server, cache, capsys):
    file = Published(f"{server.url}/x.pt", "network.pt", "CC BY-NC 4.0", "StyleGAN2, faces")
    monkeypatch.setitem(NVIDIA, "faces-32", file)
    G = stylegen.load("nvidia:faces-32")
    assert G.resolution == 32
    said = capsys.readouterr().err
    assert "Fetching nvidia:faces-32 (StyleGAN2, faces; license: CC BY-NC 4.0) from http://127" in said
    assert f"{PICKLED.stat().st_size / 1000:.1f} kB" in said
    with pytest.raises(HubError, match="nvidia:dogs: no such generator; there are nvidia:bedroom-256, nvidia:cat-256"):
        stylegen.load("nvidia:dogs")


def test_published_names_are_well_formed():
    for name, file in NVIDIA.items():
        found = remote.resolve(f"nvidia:{name}")
        assert found.url.startswith("https://") and found.filename.endswith(".pkl") and file.license in found.facts


def test_convert_imports_what_it_fetches(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(NVIDIA, "faces-32", Published(f"{server.url}/x.pt", "network.pt", "CC BY-NC 4.0", "faces"))
    assert convert.main(["nvidia:faces-32", "--out", str(tmp_path / "run")]) == 0
    assert_same(stylegen.load(tmp_path / "run"), stylegen.load(PICKLED))
    assert convert.main(["hf:rooms", "--out", str(tmp_path / "other")]) == 2
    assert "hf:rooms: must be hf:owner/name" in capsys.readouterr().err
