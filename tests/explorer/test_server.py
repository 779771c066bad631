"""The explorer's server without a browser: who is let in, and what a page may send."""

import json
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from stylegen.explorer import ExploreError
from stylegen.explorer.state import State
from tests.support.paths import ROOT

pytest.importorskip("starlette", reason="the extra explore is not installed")
pytest.importorskip("uvicorn", reason="the extra explore is not installed")
pytest.importorskip("httpx2", reason="httpx2, which Starlette's test client needs, is not installed")

from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from stylegen.explorer import limits, server

TOKEN = "a-token"
HOST = "localhost:7777"
OURS = {"origin": f"http://{HOST}"}


@pytest.fixture(scope="module")
def app(library):
    return server.application(server.App(lambda: library), TOKEN)


@pytest.fixture
def stranger(app):
    """A browser without the cookie."""
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)


@pytest.fixture
def client(stranger):
    """A browser with the cookie."""
    assert stranger.get(f"/?token={TOKEN}").status_code == 303
    return stranger


def connect(client: TestClient, **headers: str | None):
    """A WebSocket of the page, with these headers instead of its own; None leaves one out."""
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    given = {"host": HOST, "cookie": cookie, **OURS, **headers}
    return client.websocket_connect(f"ws://{HOST}/messages", headers={k: v for k, v in given.items() if v is not None})


def frame(data: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack("<I", data[:4])
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def test_the_token_is_exchanged_for_a_strict_cookie(stranger):
    assert stranger.get("/").status_code == 403
    assert stranger.get("/?token=another").status_code == 403
    assert stranger.get("/page/app.js?token=a-token").status_code == 403  # it opens the page alone
    response = stranger.get(f"/?token={TOKEN}")
    assert response.status_code == 303 and response.headers["location"] == "/"
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("others", ['prefs={"a":1}', "theme=a b", "x[y]=1", "=1; a"])
def test_cookies_of_other_programs_do_not_hide_ours(client, others):
    cookie = "; ".join([others, *(f"{name}={value}" for name, value in client.cookies.items())])
    assert client.get("/", headers={"cookie": cookie}).status_code == 200


def test_an_origin_that_is_no_address_is_refused(client):
    assert client.get("/", headers={"origin": "http://["}).status_code == 403


def test_the_page_is_kept_to_itself(client):
    response = client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "http://" not in response.text and "https://" not in response.text
    for name in server.page_files():
        content = client.get(f"/page/{name}")
        assert content.status_code == 200 and content.headers["content-type"].startswith(
            server.TYPES[f".{name.split('.')[-1]}"]
        )


@pytest.mark.parametrize(
    "name", ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "server.py", "/etc/passwd", "app.js%00"]
)
def test_no_other_file_is_given_out(client, name):
    assert client.get(f"/page/{name}").status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7777", "localhost.evil.example", "", "[", "localhost:7 x", "127.0.0.1.evil.example"],
)
def test_a_rebound_name_is_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 403
    assert client.post("/upload", headers={"host": host}, content=b"x").status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9", "LOCALHOST:7777", "[::1]:7777", "localhost"])
def test_this_machine_has_several_names(client, host):
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    assert client.get("/", headers={"host": host, "cookie": cookie}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:8888", "null", "http://evil.example:7777"])
def test_a_foreign_page_is_refused_before_anything_is_accepted(client, origin):
    with connect(client):
        pass
    with pytest.raises(WebSocketDisconnect) as caught, connect(client, origin=origin):
        pass
    assert caught.value.code == 1008
    assert client.post("/upload", headers={"origin": origin}, content=b"x").status_code == 403


@pytest.mark.parametrize("headers", [{"origin": None}, {"cookie": "stylegen=x"}, {"host": "evil.example"}])
def test_a_connection_without_one_of_three_is_refused(client, headers):
    with pytest.raises(WebSocketDisconnect) as caught, connect(client, **headers):
        pass
    assert caught.value.code == 1008


def test_another_token_is_refused(client):
    (name,) = client.cookies
    with pytest.raises(WebSocketDisconnect), connect(client, cookie=f"{name}=another"):
        pass


def test_messages_are_answered_in_frames(client, library):
    with connect(client) as socket:
        socket.send_text(json.dumps({"type": "hello", "id": 1}))
        header, _ = frame(socket.receive_bytes())
        assert header["type"] == "about" and header["id"] == 1
        socket.send_text(json.dumps({"type": "image", "id": 2, "state": {"seed": 4}}))
        header, pixels = frame(socket.receive_bytes())
        image = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
        np.testing.assert_array_equal(image, library.first.image(State(seed=4)))
        for nonsense in ("{", "[]", '{"type": "image"}'):
            socket.send_text(nonsense)
            assert frame(socket.receive_bytes())[0]["type"] == "error"
        socket.send_bytes(b"\x00\xff")
        assert frame(socket.receive_bytes())[0]["type"] == "error"
        socket.send_text('{"type": "ping", "id": 9}')
        assert frame(socket.receive_bytes())[0] == {"type": "pong", "id": 9, "sizes": []}


def test_uploads(client, photo, monkeypatch):
    answer = client.post("/upload", content=photo(50, 40), headers=OURS)
    assert answer.status_code == 200 and answer.json()["width"] == 50 and "10 cut off" in answer.json()["note"]
    refused = client.post("/upload", content=b"no image", headers=OURS)
    assert refused.status_code == 400 and "no image of PNG" in refused.json()["message"]
    monkeypatch.setattr(limits, "MAX_UPLOAD", 100)
    large = client.post("/upload", content=photo(), headers=OURS)
    assert large.status_code == 413 and "at most 100 bytes" in large.json()["message"]


def test_so_many_pages_at_once(client, monkeypatch):
    monkeypatch.setattr(limits, "MAX_PAGES", 1)
    with connect(client) as socket:
        with pytest.raises(WebSocketDisconnect) as caught, connect(client):
            pass
        assert caught.value.code == 1013
        socket.send_text('{"type": "ping"}')
        socket.receive_bytes()


def test_the_page_is_there_before_the_generator(library):
    go = threading.Event()
    app = server.App(lambda: library if go.wait(60) else None)
    client = TestClient(server.application(app, TOKEN), base_url=f"http://{HOST}")
    assert client.get(f"/?token={TOKEN}").status_code == client.get("/page/app.js").status_code == 200
    with connect(client) as socket:
        socket.send_text(json.dumps({"type": "hello", "id": 1}))
        assert not app.loading().done()
        go.set()
        header, _ = frame(socket.receive_bytes())
        assert header["type"] == "about" and header["id"] == 1


def test_a_generator_that_cannot_be_loaded_ends_the_server():
    go = threading.Event()

    def load():
        assert go.wait(60)
        raise ExploreError("there is none")

    app = server.App(load)
    client = TestClient(server.application(app, TOKEN), base_url=f"http://{HOST}", follow_redirects=False)
    client.get(f"/?token={TOKEN}")
    with connect(client) as socket:
        go.set()
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_bytes()
    assert caught.value.code == 1011
    with server.listen("127.0.0.1", 0) as listening, pytest.raises(ExploreError, match="there is none"):
        server.make_server(load, TOKEN, server.names_of("127.0.0.1")).run(sockets=[listening])


def test_the_server_needs_no_jax_to_answer():
    code = "import sys, stylegen.cli.explore, stylegen.explorer.server\nprint('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]


def test_names_of_this_machine():
    assert server.is_loopback("127.0.0.1") and server.is_loopback("::1") and server.is_loopback("localhost")
    assert (
        not server.is_loopback("0.0.0.0") and not server.is_loopback("192.168.0.2") and not server.is_loopback("x.org")
    )
    assert server.names_of("127.0.0.1") == {"127.0.0.1", "localhost", "::1"}
    assert {"localhost", "192.168.0.2"} <= server.names_of("192.168.0.2")
    assert "0.0.0.0" not in server.names_of("0.0.0.0")
