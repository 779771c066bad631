"""The explorer as a widget: its module, its messages, and its state in Python."""

import re
import shutil
import subprocess
import time

import numpy as np
import pytest

import stylegen
from stylegen.explorer.bundle import bundled
from stylegen.explorer.pages import page_files

FILES = {name: data.decode() for name, data in page_files().items()}


def test_modules_are_bundled_each_in_its_scope(tmp_path):
    files = {
        "a.js": "import { b } from './b.js';\nimport { c } from './c.js';\nconst x = 1;\n"
        "export function render() {\n  return x + b() + c;\n}\n",
        "b.js": "import { c } from './c.js';\nconst x = 10;\nexport const b = () => x + c;\n",
        "c.js": "export const c = 100;\n",
    }
    text = bundled(files, "a.js")
    assert text.index("modules['c.js'] =") < text.index("modules['b.js'] =") < text.index("modules['a.js'] =")
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not here, so the bundle is not run")
    (tmp_path / "bundle.mjs").write_text(text)
    code = "import('./bundle.mjs').then((m) => console.log(m.default.render()))"
    done = subprocess.run([node, "-e", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "211"


def test_the_page_is_bundled_whole():
    text = bundled(FILES, "widget.js")
    assert not re.search(r"^(import|export (?!default))", text, re.MULTILINE)
    for name in FILES:
        if name.endswith(".js") and name != "main.js":
            assert f"modules['{name}'] = " in text


def test_the_page_asks_nobody_else():
    for name, text in FILES.items():
        addresses = set(re.findall(r"(?:https?|wss?)://[\w.]+", text)) - {"http://www.w3.org"}
        assert addresses == set(), name


@pytest.fixture
def widget(make_generator):
    pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    made = stylegen.explore(make_generator())
    yield made
    made.close()


def test_messages_are_answered_with_buffers(widget, monkeypatch, photo):
    sent = []
    monkeypatch.setattr(type(widget), "send", lambda self, content, buffers=None: sent.append((content, buffers)))
    widget._receive(widget, {"type": "image", "id": 3, "state": {"seed": 4}}, [])
    for _ in range(600):
        if sent:
            break
        time.sleep(0.1)
    (content, buffers) = sent.pop()
    assert content["type"] == "image" and content["id"] == 3
    image = np.frombuffer(buffers[0], np.uint8).reshape(content["shape"])
    np.testing.assert_array_equal(image, stylegen.sample(widget._session.engine.G, [4], psi=0.7)[0])
    widget._receive(widget, {"type": "upload", "id": 5}, [photo()])
    assert sent.pop()[0]["width"] == 40
    widget._receive(widget, {"type": "upload", "id": 6}, [b"nothing"])
    assert "no image" in sent.pop()[0]["message"]


def test_the_state_is_python_s_too(widget):
    widget.state = {"seed": 4, "psi": 0.5}
    np.testing.assert_array_equal(widget.image, stylegen.sample(widget._session.engine.G, [4], psi=0.5)[0])
    assert widget.ws.shape == (6, 16)
    widget.state = {"seed": -1}
    with pytest.raises(stylegen.StylegenError, match="seed is -1"):
        _ = widget.image
