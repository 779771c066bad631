"""The verb explore: where it listens, what it says, and how it ends."""

import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys

import pytest

from stylegen.cli import explore
from tests.support.paths import ROOT


@pytest.mark.parametrize("loaded", [False, True], ids=["while it loads", "once it has loaded"])
def test_it_serves_until_it_is_interrupted(loaded):
    pytest.importorskip("uvicorn", reason="the extra explore is not installed")
    command = [sys.executable, "explore.py", "--run", "toy_bedrooms"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            errors = visit_and_interrupt(process, loaded)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "The explorer is closed." in errors and "Traceback" not in errors


def visit_and_interrupt(process: subprocess.Popen[str], loaded: bool) -> str:
    """Its standard error, once it has ended. The address comes first, the generator when it has loaded."""
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    found = re.search(r"http://(\S+)/\?token=(\S+)", next(lines))
    assert found is not None, "the first line has the address"
    host, token = found.groups()
    assert host.startswith("127.0.0.1:") and len(token) > 20
    with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        for path, status in (("/", 403), (f"/?token={token}", 303)):
            connection.request("GET", path)
            with connection.getresponse() as response:
                response.read()
                assert response.status == status
    if loaded:
        assert any(line.startswith("Generator") for line in lines)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    return errors


def test_a_port_that_is_taken(capsys):
    pytest.importorskip("uvicorn", reason="the extra explore is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert explore.main(["--run", "toy_bedrooms", "--port", str(port)]) == 2
        assert f"--port {port}: cannot listen there" in capsys.readouterr().err
    assert explore.main(["--run", "toy_bedrooms", "--host", "203.0.113.7"]) == 2
    assert "--host 203.0.113.7" in capsys.readouterr().err


def test_the_usual_port_has_a_substitute(monkeypatch):
    pytest.importorskip("uvicorn", reason="the extra explore is not installed")
    from stylegen.explorer import server

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(explore, "PORT", taken.getsockname()[1])
        with explore._listen(server.listen, explore.Options(run="x")) as listening:
            assert listening.getsockname()[1] not in (0, taken.getsockname()[1])


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "websockets"])
def test_without_the_extra_a_sentence_says_how_to_get_it(monkeypatch, capsys, missing):
    for name in [name for name in sys.modules if name.split(".")[0] == missing or name == "stylegen.explorer.server"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("stylegen.explorer.server", raising=False)  # what was imported already
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(explore, "_listen", lambda *_: pytest.fail("it was not noticed"))
    assert explore.main(["--run", "toy_bedrooms"]) == 2
    assert "pip install 'stylegen[explore]'" in capsys.readouterr().err


def test_a_run_that_is_not_there(tmp_path, capsys):
    pytest.importorskip("uvicorn", reason="the extra explore is not installed")
    assert explore.main(["--run", str(tmp_path / "none")]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("Open http://") and "none" in printed.err
