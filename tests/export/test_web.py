"""The page of a generator in a real Chromium: against JAX, from disk, with keyboard and hostile names."""

import base64
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import stylegen
from benchmarks import browser as chromium
from stylegen import sampling
from stylegen.cli import convert
from stylegen.editing import directions, discovery
from stylegen.export import ExportError
from stylegen.export.web import page
from stylegen.io import video
from stylegen.runs import load
from tests.export.test_onnx import GENERATORS, without_noise
from tests.support import browsers

SEEDS = (0, 1, 2**32 - 1)
TOLERANCE = 1e-4  # of the greatest value; what is measured is 1e-6
HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{policy}}")


@pytest.fixture(scope="module")
def browser():
    browsers.required()
    with chromium.opened(*chromium.WEBGPU) as opened:
        yield opened


@pytest.fixture
def tab(browser):
    """A tab without a network, and what it says; the test fails if it said or asked for anything."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    watched = browsers.watch(context.new_page())
    yield watched
    context.close()
    assert watched.messages == []
    assert [url for url in watched.requests if not url.startswith(("file:", "blob:", "data:", "about:"))] == []


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The page of the shipped generator, as the verb writes it."""
    path = tmp_path_factory.mktemp("web") / "toy.html"
    assert convert.main(["toy_bedrooms", "--to", "web", "--out", str(path)]) == 0
    return path


def opened(tab, path, state=None):
    """Open a page from disk, at a state, and wait until it is drawn."""
    tab.page.goto("about:blank")  # another hash of the same address would be no new page
    tab.page.goto(path.as_uri() + ("" if state is None else f"#{json.dumps(state)}"))
    tab.page.wait_for_selector("html[data-ready=true]")
    return tab.page


def settled(view):
    """Wait until the newest state is drawn."""
    view.wait_for_function("() => document.getElementById('view').ariaBusy === 'false'")


def pixels(view):
    """The image on the canvas: uint8 [r, r, 4]."""
    settled(view)
    flat, side = view.evaluate(
        "() => { const c = document.getElementById('view');"
        " return [[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data], c.width]; }"
    )
    return np.array(flat, np.uint8).reshape(side, side, 4)


def within_a_level(actual, expected):
    difference = np.abs(actual[..., : expected.shape[-1]].astype(int) - expected)
    assert difference.max() <= 1 and np.mean(difference > 0) < 0.01
    assert np.std(expected) > 10


DRAW = """async ({weights, kernel, seeds, labels, psi, noise, kind}) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const generator = new Generator(bytes(weights));
  const network = await (kind === 'gpu' ? GpuNetwork.create(generator) : WasmNetwork.create(generator, bytes(kernel)));
  const studio = new Studio(generator, network, []);
  const results = [];
  for (const [i, seed] of seeds.entries()) {
    const ws = studio.styles({ ...START, seed, label: labels?.[i] ?? null, psi });
    const image = await network.draw(generator.styleNumbers(ws), noise);
    const latents = [...latent(seed, generator.zSize)];
    results.push({ z: latents, w: [...ws[0]], image: [...image] });
  }
  return results;
}"""


@pytest.fixture
def modules(tab, tmp_path):
    """A tab with the program's modules, without the page."""
    names = "Generator, GpuNetwork, WasmNetwork, Studio, START, latent, parseState"
    program = page.bundle(page.MODULES[:-1])
    (tmp_path / "modules.html").write_text(
        '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
        f'<script type="module">{program}\nObject.assign(globalThis, {{ {names} }});</script>'
    )
    tab.page.goto((tmp_path / "modules.html").as_uri())
    return tab.page


def drawn(view, G, *, kind="wasm", noise=1, data=None):
    """Latents, w and float images [n, r, r, C] that the page's modules compute for ``SEEDS``."""
    arguments = {
        "weights": base64.b64encode(data or page.weights(G)).decode(),
        "kernel": base64.b64encode((page.FOLDER / "kernel.wasm").read_bytes()).decode(),
        "labels": labels_of(G),
        "seeds": SEEDS,
        "psi": 0.7,
        "noise": noise,
        "kind": kind,
    }
    results = view.evaluate(DRAW, arguments)
    images = np.array([r["image"] for r in results], np.float32).reshape(-1, G.resolution, G.resolution, 8)
    z, w = (np.array([r[name] for r in results], np.float32) for name in ("z", "w"))
    return z, w, images[..., : G.image_channels]


def labels_of(G):
    return [i % G.c_dim for i in range(len(SEEDS))] if G.c_dim else None


def relative(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("changes", [*GENERATORS.values(), "no noise"], ids=[*GENERATORS, "without noise"])
def test_webassembly_and_webgpu_are_jax(changes, modules, make_generator):
    G = without_noise(make_generator(block="demod")) if changes == "no noise" else make_generator(**changes)
    z = stylegen.latents(SEEDS, G.z_dim)
    ws = stylegen.styles(G, z, labels=labels_of(G), psi=0.7)
    for kind in ("wasm", "gpu"):
        for noise, mode in ((1, "const"), (0, "none")):
            latents, w, images = drawn(modules, G, kind=kind, noise=noise)
            np.testing.assert_array_equal(latents, z)
            assert relative(w, ws[:, 0]) < TOLERANCE
            assert relative(images, stylegen.synthesize(G, ws, noise=mode, as_float=True)) < TOLERANCE


def test_half_precision(modules, make_generator):
    G = make_generator()
    exact, rounded = (drawn(modules, G, data=page.weights(G, half=half))[2] for half in (False, True))
    assert 1e-5 < relative(rounded, exact) < 0.02
    assert len(page.weights(G, half=True)) < 0.7 * len(page.weights(G))
    most, mean = page.half_difference(G)
    assert 0 < mean < 1 and most < 10
    large = {**G.params, "mapping": {**G.params["mapping"], "weight": np.full(1, 1e5, np.float32)}}
    with pytest.raises(ExportError, match=r"params.mapping.weight has numbers above 65504"):
        page.weights(dataclasses.replace(G, params=large), half=True)


def test_the_page_shows_what_sample_gives(shipped, tab):
    G = stylegen.load("toy_bedrooms")
    assert shipped.stat().st_size < 1_500_000
    for state in ({"seed": 3, "psi": 0.7}, {"seed": 2**32 - 1, "psi": 1.0}, {"seed": 5, "psi": 0.5, "cutoff": 4}):
        view = opened(tab, shipped, state)
        cutoff = state.get("cutoff")
        within_a_level(pixels(view), stylegen.sample(G, [state["seed"]], psi=state["psi"], cutoff=cutoff)[0])
    before = pixels(view)
    view.select_option("#engine", "gpu")
    view.wait_for_function("() => document.getElementById('engine').value === 'gpu'")
    within_a_level(pixels(view), before)


def test_keyboard_mixing_and_undo(shipped, tab):
    G = stylegen.load("toy_bedrooms")
    view = opened(tab, shipped, {"seed": 0, "psi": 0.7})
    view.focus("#view")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowLeft"):
        view.keyboard.press(key)
    assert view.input_value("#seed") == "20"
    assert view.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    within_a_level(pixels(view), stylegen.sample(G, [20], psi=0.7)[0])
    for layer in (0, 1):
        view.get_by_role("button", name=f"Layer {layer}", exact=True).press("Space")
    view.get_by_label("From seed").fill("7")
    view.get_by_role("button", name="Mix in").press("Enter")
    ws = stylegen.styles(G, stylegen.latents([20, 7], G.z_dim), psi=0.7)
    mixed = stylegen.mix(ws[:1], ws[1:], [0, 1])[0]
    within_a_level(pixels(view), stylegen.synthesize(G, mixed)[0])
    assert view.get_by_role("button", name="Layer 1, from seed 7").is_visible()
    view.get_by_role("button", name="Undo").click()
    within_a_level(pixels(view), stylegen.sample(G, [20], psi=0.7)[0])


def test_every_control_has_a_name(shipped, tab):
    view = opened(tab, shipped)
    unnamed = view.evaluate(
        "() => [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).map((e) => e.id)"
    )
    assert unnamed == []
    assert view.evaluate("() => [...document.querySelectorAll('[role=status]')].length") == 1
    buttons = view.evaluate(
        "() => [...document.querySelectorAll('button')].map((b) => b.ariaLabel || b.textContent.trim())"
    )
    assert all(buttons)


def test_narrow_and_dark_and_light(shipped, tab):
    colors = []
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        view = opened(tab, shipped)
        colors.append(view.evaluate("getComputedStyle(document.body).backgroundColor"))
        for width in (320, 600, 900, 1280):
            view.set_viewport_size({"width": width, "height": 700})
            assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert colors[0] != colors[1]


def test_walks_and_videos(shipped, tab, tmp_path):
    G = stylegen.load("toy_bedrooms")
    view = opened(tab, shipped, {"seed": 1, "psi": 0.7})
    view.click("#keyframe")
    view.fill("#seed", "2")
    settled(view)
    view.click("#keyframe")
    view.uncheck("#loop")
    view.evaluate("() => { const s = document.getElementById('seconds'); s.value = 0.5; }")
    with view.expect_download() as download:
        view.click("#record")
    download.value.save_as(tmp_path / "walk.webm")
    frames = list(video.read_frames(video.open_video(tmp_path / "walk.webm")))
    assert len(frames) == 16 and frames[0].shape == (256, 256, 3)
    # The encoder loses some; the frames are still nearer to their own images than the two images are to each other.
    first, last = (np.kron(stylegen.sample(G, [s], psi=0.7)[0], np.ones((8, 8, 1))) for s in (1, 2))
    apart = np.abs(first - last).mean()
    assert np.abs(frames[0] - first).mean() < apart / 3 and np.abs(frames[-1] - last).mean() < apart / 3


def test_less_motion(shipped, tab):
    """A walk then shows its images one at a time, and nothing moves unasked."""
    tab.page.emulate_media(reduced_motion="reduce")
    view = opened(tab, shipped, {"seed": 1, "psi": 0.7})
    view.click("#keyframe")
    view.fill("#seed", "2")
    settled(view)
    view.click("#keyframe")
    stills = [stylegen.sample(stylegen.load("toy_bedrooms"), [seed], psi=0.7)[0] for seed in (1, 2)]
    view.click("#play")
    for _ in range(4):
        view.wait_for_timeout(300)
        image = pixels(view)[..., :3].astype(int)
        assert min(np.abs(image - still).max() for still in stills) <= 1
    view.click("#play")
    assert view.get_attribute("#play", "aria-pressed") == "false"


def test_classes_and_directions(make_generator, tmp_path, tab):
    G = make_generator(classes=3, channels=1)
    load.save_generator(G, tmp_path / "g.safetensors")
    found = discovery.principal_components(sampling.sample_w(G, 100, labels=[0, 1] * 50), 2, range(3))
    entry = directions.Directions(tuple(found), directions.fingerprint(stylegen.load(tmp_path / "g.safetensors")))
    directions.save(entry, tmp_path / "d.npz")
    out = tmp_path / "g.html"
    command = [
        str(tmp_path / "g.safetensors"),
        "--to",
        "web",
        "--out",
        str(out),
        "--directions",
        str(tmp_path / "d.npz"),
    ]
    assert convert.main(command) == 0
    view = opened(tab, Path(out), {"seed": 4, "psi": 1.0, "label": 2, "moves": {"1": 2}})
    ws = stylegen.styles(G, stylegen.latents([4], G.z_dim), labels=2)
    expected = stylegen.synthesize(G, directions.move(ws, found[1], 2))[0]
    within_a_level(pixels(view), expected)
    assert view.get_by_label("pca1").input_value() == "2"


def test_names_from_outside_are_text(make_generator, tmp_path, tab):
    G = make_generator()
    sliders = tuple(page.Slider(name, (0,), np.ones(G.w_dim, np.float32)) for name in HOSTILE)
    contents = page.Contents(HOSTILE[0], HOSTILE[1], sliders=sliders)
    page.save_page(G, tmp_path / "p.html", contents)
    assert len(re.findall("<script", (tmp_path / "p.html").read_text())) == 4
    dialogs = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.dismiss()))
    view = opened(tab, tmp_path / "p.html")
    assert [label.inner_text() for label in view.locator("#directions label").all()] == list(HOSTILE)
    assert view.inner_text("h1") == view.title() == HOSTILE[0] and view.inner_text("#about") == HOSTILE[1]
    assert view.locator("img").count() == 0 and dialogs == []


def test_states_from_outside_are_checked(modules, make_generator):
    G = make_generator(classes=2)
    given = {"seed": -1, "label": 9, "psi": "x", "cutoff": 99, "mix": {"0": 5, "99": 1, "a": 1}, "moves": {"0": 1e9}}
    check = """([weights, texts]) => {
      const generator = new Generator(Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)));
      return texts.map((text) => parseState(text, generator, [1]));
    }"""
    texts = [json.dumps(given), "null", "{", "%", "[]"]
    states = modules.evaluate(check, [base64.b64encode(page.weights(G)).decode(), texts])
    start = {"seed": 0, "label": 0, "psi": 0.7, "cutoff": None, "noise": 1, "mix": {}, "moves": {}}
    assert states == [{**start, "mix": {"0": 5}}, None, None, None, start]


def test_a_large_generator_is_a_folder(make_generator, tmp_path, tab, monkeypatch, capsys):
    G = make_generator()
    load.save_generator(G, tmp_path / "g.safetensors")
    monkeypatch.setattr(page, "MAX_FILE", 100_000)
    source, folder = str(tmp_path / "g.safetensors"), tmp_path / "folder"
    assert convert.main([source, "--to", "web", "--out", str(tmp_path / "g.html")]) == 2
    assert "Give a folder as --out" in capsys.readouterr().err
    assert convert.main([source, "--to", "web", "--out", str(folder), "--half"]) == 0
    assert re.search(
        r"Half precision changes the images of seeds 0 to 15 by at most \d+ level", capsys.readouterr().out
    )
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "generator.safetensors", "grid.png", "README.md", "index.html", "weights.js"),
    }
    assert "open `index.html`" in (folder / "README.md").read_text()
    view = opened(tab, folder / "index.html", {"seed": 2, "psi": 0.7})
    difference = np.abs(pixels(view)[..., :3].astype(int) - stylegen.sample(G, [2], psi=0.7)[0])
    assert difference.max() < 10 and difference.mean() < 1


def test_the_saved_image(shipped, tab, tmp_path):
    view = opened(tab, shipped, {"seed": 9, "psi": 0.7})
    with view.expect_download() as download:
        view.get_by_role("button", name="Save PNG").click()
    assert download.value.suggested_filename == "seed0009.png"
    download.value.save_as(tmp_path / "image.png")
    with Image.open(tmp_path / "image.png") as image:
        within_a_level(np.asarray(image), stylegen.sample(stylegen.load("toy_bedrooms"), [9], psi=0.7)[0])


def test_the_program_has_no_tag_that_ends_it(monkeypatch, tmp_path):
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    Path(tmp_path / "app.js").write_text("const text = '</script>';\n")
    with pytest.raises(stylegen.StylegenError, match="a tag of HTML"):
        page.bundle(["app"])
