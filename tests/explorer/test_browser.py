"""The explorer in a real browser: what it shows is what the library draws.

Where there is no browser the tests are skipped, but not in continuous integration (``tests/support/browsers.py``).
"""

import http.server
import io
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

import stylegen
from benchmarks import browser as chromium
from stylegen.evaluation.toy_factors import read_factors
from stylegen.explorer import jobs
from stylegen.explorer.session import Library
from stylegen.io import video
from tests.support import browsers

pytest.importorskip("uvicorn", reason="the extra explore is not installed")
browsers.required()

from playwright.sync_api import Browser, BrowserContext, Page, expect

from stylegen.explorer import server

TOKEN = "a-token"
SECONDS = 120_000  # that anything may take, in ms: the machines of the tests are busy


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    library = Library(stylegen.load("toy_bedrooms"), warm=False)
    library.first.warm()
    yield library
    library.compiling.close()


@pytest.fixture(scope="module")
def address(library) -> Iterator[str]:
    listening = server.listen("127.0.0.1", 0)
    served = server.make_server(lambda: library, TOKEN, server.names_of("127.0.0.1"))
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    served.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.opened() as opened:
        yield opened


@pytest.fixture
def context(browser, address) -> Iterator[BrowserContext]:
    """A window; at its end nothing was reported on its console, and nothing was asked of anyone else."""
    made = browser.new_context(viewport={"width": 1300, "height": 900})
    made.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    complaints: list[str] = []
    asked: list[str] = []
    made.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    made.on("weberror", lambda error: complaints.append(str(error.error)))
    made.on("request", lambda request: asked.append(request.url))
    yield made
    made.close()
    assert complaints == [], complaints
    assert [url for url in asked if not url.startswith((address, "blob:"))] == [] and asked


@pytest.fixture
def page(context, address) -> Page:
    opened = context.new_page()
    opened.goto(f"{address}/?token={TOKEN}")
    ready(opened)
    return opened


def ready(page: Page) -> None:
    page.locator("#app[data-ready][data-shown]").wait_for()


def shown(page: Page) -> np.ndarray:
    """The large image, from its canvas: uint8 [r, r, 3]."""
    data = page.evaluate(
        """() => {
            const canvas = document.querySelector('.panel:not([hidden]) .frame canvas');
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            return [height, width, ...copy.getImageData(0, 0, width, height).data];
        }"""
    )
    rgba = np.array(data[2:], np.uint8).reshape(data[0], data[1], 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def wait_for(page: Page, state: str) -> None:
    """Until the image of a state is shown; ``state`` is a part of its JSON."""
    page.locator(f"#app[data-shown*='{state}']").wait_for()


def choose(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab).click()


def test_a_seed_is_shown_as_sample_draws_it_to_the_byte(page, library):
    page.get_by_label("Seed", exact=True).fill("42")
    wait_for(page, '"seed":42')
    np.testing.assert_array_equal(shown(page), stylegen.sample(library.first.G, [42], psi=0.7)[0])


def test_a_slider_ends_at_its_last_place(page, library):
    slider = page.get_by_label("Truncation psi")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.68 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(box["x"] + (0.68 - 0.005 * i) * box["width"], box["y"] + box["height"] / 2)
    page.mouse.up()
    psi = float(slider.input_value())
    assert -0.2 < psi < 0.1
    wait_for(page, f'"psi":{psi:g}')
    np.testing.assert_array_equal(shown(page), stylegen.sample(library.first.G, [0], psi=psi)[0])
    page.get_by_label("Layers truncated").press("Home")
    wait_for(page, '"cutoff":0')
    np.testing.assert_array_equal(shown(page), stylegen.sample(library.first.G, [0], psi=psi, cutoff=0)[0])


def test_a_thumbnail_is_dragged_onto_a_layer(page, library):
    page.get_by_label("Image of seed 5").first.drag_to(page.locator("[data-layer='2']"))
    wait_for(page, '"mix":{"2":5}')
    G = library.first.G
    ws = stylegen.styles(G, stylegen.latents([0, 5], G.z_dim), psi=0.7)
    expected = stylegen.synthesize(G, stylegen.mix(ws[:1], ws[1:], [2])[0, 0])
    assert np.abs(shown(page).astype(int) - expected).max() <= 1
    expect(page.get_by_label("Layer 2, from seed 5")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Layer 2, its own")).to_be_visible()


def test_the_keyboard_does_what_the_mouse_does(page):
    frame = page.get_by_role("application")
    frame.press("ArrowRight")
    frame.press("ArrowUp")
    wait_for(page, '"seed":11')
    frame.press("Control+z")
    wait_for(page, '"seed":1}')
    page.get_by_label("Layer 3, its own").press("Enter")
    page.get_by_label("Click").select_option("mix")
    page.get_by_label("Image of seed 7").first.press("Enter")
    wait_for(page, '"mix":{"3":7}')
    page.get_by_role("tab", name="Explore").press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Path")).to_be_visible()
    assert page.evaluate("() => document.activeElement.textContent") == "Path"


@pytest.mark.parametrize("tab", ["Drag", "Style transfer"])
def test_a_mask_is_painted_by_keys(page, tab):
    def painted() -> int:
        """Percent of the mask."""
        return page.evaluate(
            """() => {
                const canvas = document.querySelector('.panel:not([hidden]) .mask');
                const { width, height } = canvas;
                const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
                copy.drawImage(canvas, 0, 0);
                const { data } = copy.getImageData(0, 0, width, height);
                let count = 0;
                for (let i = 0; i < data.length; i += 4) count += data[i] > data[i + 2] + 100;
                return Math.round((100 * count) / (width * height));
            }"""
        )

    choose(page, tab)
    panel = page.get_by_role("tabpanel", name=tab)
    panel.get_by_role("slider", name="Brush").fill("0.2")
    paint = panel.get_by_role("button", name="Paint")
    paint.press("Enter")
    assert painted() == 0
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", " "):
        page.keyboard.press(key)
    expect(page.locator(".status")).to_contain_text("from the top: painted.")
    page.keyboard.press("Escape")  # and the brush's ring is gone
    expect(paint).to_be_focused()
    disk = painted()
    assert abs(disk - 100 * np.pi * 0.2**2) <= 2
    paint.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".status")).to_contain_text("not painted")
    page.keyboard.press("Escape")
    assert 0 < painted() < disk


def test_everything_has_a_name_and_there_is_one_live_region(page):
    for tab in ("Explore", "Path", "Own photo", "Drag", "Style transfer"):
        choose(page, tab)
        unnamed = page.evaluate(
            "() => [...document.querySelectorAll('button, input:not([hidden]), select')].filter((e) => "
            "!(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)"
        )
        assert unnamed == []
    assert page.locator("[aria-live], [role=status], [role=alert], output").count() == 1


def test_an_address_shows_the_same_image_in_a_new_tab(page, context):
    page.get_by_label("Image of seed 9").first.click()
    page.get_by_label("pca1").press("End")
    wait_for(page, '"pca1":4')
    page.locator("body").press("Escape")
    page.wait_for_url("**pca1**")
    other = context.new_page()
    other.goto(page.url)
    ready(other)
    wait_for(other, '"pca1":4')
    np.testing.assert_array_equal(shown(other), shown(page))


def test_an_address_of_another_generator_is_said_and_stops_nothing(page, address):
    page.goto(f"{address}/#explore/" + '{"directions":{"gone":1}}')
    expect(page.locator(".status")).to_contain_text("there is no direction gone")
    page.get_by_label("Image of seed 3").first.click()
    wait_for(page, '"seed":3')


def test_children_are_shown(page):
    page.get_by_label("Image of seed 3").first.click(modifiers=["Shift"])
    expect(page.locator(".children .thumbnail")).to_have_count(8)
    page.locator(".children .thumbnail").first.click()
    wait_for(page, '"ws":"')


def test_another_checkpoint_says_whose_styles_are_shown(page):
    page.evaluate(
        """() => {
            const { app } = document.getElementById('app');
            const ask = app.transport.ask.bind(app.transport);
            const about = { name: 'x', kimg: 2, checkpoints: [1, 2], grids: [], curves: {}, metrics: {}, doctor: [] };
            app.transport.ask = async (type, fields) => {
                if (type === 'run') return { version: 1, about };
                return type === 'checkpoint' ? { ...app.about, kimg: fields.kimg } : ask(type, fields);
            };
            app.begin({ ...app.about, run: true, kimg: 2 });
        }"""
    )
    choose(page, "Run")
    page.get_by_label("Checkpoint").press("Home")
    expect(page.locator(".status")).to_have_text("Everything shows the generator at 1 kimg now.")
    choose(page, "Explore")
    page.get_by_label("Image of seed 3").first.click(modifiers=["Shift"])
    page.locator(".children .thumbnail").first.click()
    wait_for(page, '"ws":"')
    choose(page, "Run")
    page.get_by_label("Checkpoint").press("End")
    expect(page.locator(".status")).to_contain_text("fit the checkpoint that they were found with")


def test_a_photo_is_projected(page, library, monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "perceptual", lambda: None)
    truth = stylegen.sample(library.first.G, [123], psi=0.7)[0]
    Image.fromarray(truth).resize((96, 96), Image.Resampling.NEAREST).save(tmp_path / "photo.png")
    choose(page, "Own photo")
    page.get_by_label("Steps").fill("100")
    page.locator(".panel-photo input[type=file]").set_input_files(tmp_path / "photo.png")
    expect(page.locator(".panel-photo .result")).to_contain_text("PSNR")
    text = page.locator(".panel-photo .result").inner_text()
    assert text.startswith("100 steps") and float(text.split("PSNR ")[1].split()[0]) > 20
    np.testing.assert_allclose(shown(page).astype(int), truth, atol=40)  # the photo as it was read
    page.get_by_role("button", name="Explore it").click()
    wait_for(page, '"ws":"')
    difference = np.abs(shown(page).astype(int) - truth)
    assert difference.mean() < 15 < np.abs(stylegen.sample(library.first.G, [0], psi=0.7)[0].astype(int) - truth).mean()


def test_the_bed_is_dragged_and_keeps_its_color(page):
    """As an independent reader of the image finds, not the tracker."""
    page.get_by_label("Seed", exact=True).fill(str(SEED))
    wait_for(page, f'"seed":{SEED}')
    before = shown(page)
    choose(page, "Drag")
    box = page.locator(".panel-drag .frame").bounding_box()

    def place(y: float, x: float) -> tuple[float, float]:
        return box["x"] + (x + 0.5) / 32 * box["width"], box["y"] + (y + 0.5) / 32 * box["height"]

    page.mouse.move(*place(*POINT))
    page.mouse.down()
    page.mouse.move(*place(*np.add(POINT, TARGET) / 2))
    page.mouse.move(*place(*TARGET))
    page.mouse.up()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".status")).to_contain_text("The drag has ended")
    choose(page, "Explore")
    wait_for(page, '"ws":"')
    after = shown(page)
    was, now = (read_factors(image[None]) for image in (before, after))
    assert now["has_bed"][0] and was["flip"][0] == now["flip"][0]
    assert place_of_bed(now) > place_of_bed(was) + 0.03
    assert np.abs(now["bed"] - was["bed"]).max() < 0.15
    choose(page, "Drag")
    page.get_by_role("button", name="Undo the drag").click()
    choose(page, "Explore")
    np.testing.assert_array_equal(shown(page), before)


SEED, POINT, TARGET = 13, (22.0, 17.0), (22.0, 21.0)  # the side of a bed, and where it is to go


def place_of_bed(factors: dict[str, np.ndarray]) -> float:
    """The middle of the bed, from 0 at the left of the image to 1; the reader has it as if nothing were mirrored."""
    middle = float(factors["bed_left"][0] + factors["bed_width"][0] / 2)
    return 1 - middle if factors["flip"][0] else middle


def test_a_path_is_played_and_saved(page, tmp_path):
    choose(page, "Path")
    for seed in (1, 2):
        choose(page, "Explore")
        page.get_by_label(f"Image of seed {seed}").first.click()
        wait_for(page, f'"seed":{seed}')
        choose(page, "Path")
        page.get_by_role("button", name="Add the image").click()
    expect(page.locator(".strip li")).to_have_count(2)
    page.get_by_label("Frames", exact=True).fill("10")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # it has ended
    with page.expect_download() as download:
        page.get_by_role("button", name="Save video").click()
    download.value.save_as(tmp_path / "path.mp4")
    frames = list(video.read_frames(video.open_video(tmp_path / "path.mp4")))
    assert len(frames) == 11
    small = frames[-1].reshape(32, 8, 32, 8, 3).mean(axis=(1, 3))
    assert np.abs(small - shown(page)).mean() < 4


def test_what_is_saved_is_the_image(page, library, tmp_path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    download.value.save_as(tmp_path / "image.png")
    saved = np.asarray(Image.open(tmp_path / "image.png").convert("RGB"))
    np.testing.assert_array_equal(saved, stylegen.sample(library.first.G, [0], psi=0.7)[0])
    with page.expect_download() as download:
        page.get_by_role("button", name="Save .npz").click()
    assert download.value.suggested_filename == "explored.npz"


def test_a_style_is_transferred(page, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "style.png")
    choose(page, "Style transfer")
    panel = page.get_by_role("tabpanel", name="Style transfer")
    panel.get_by_role("button", name="The image of Explore").first.click()
    panel.locator("input[type=file]").nth(1).set_input_files(tmp_path / "style.png")
    canvas = panel.locator(".frame canvas").first
    expect(canvas).to_have_attribute("width", "256")
    page.wait_for_timeout(500)
    styled = shown(page)
    panel.get_by_label("Alpha").press("Home")
    for _ in range(100):
        if not np.array_equal(shown(page), styled):
            break
        page.wait_for_timeout(100)
    assert np.abs(shown(page).astype(int) - styled).mean() > 5


def test_a_foreign_page_gets_nothing(browser, address):
    """It knows the address, and its user has the cookie."""

    class Foreign(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>foreign</title>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as foreign:
        threading.Thread(target=foreign.serve_forever).start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/?token={TOKEN}")
        ready(page)
        page.goto(f"http://127.0.0.1:{foreign.server_port}/")
        tried = page.evaluate(
            """async (address) => {
                const opened = await new Promise((done) => {
                    const socket = new WebSocket(address.replace('http', 'ws') + '/messages');
                    socket.onopen = () => done('opened');
                    socket.onerror = () => done('refused');
                });
                const read = await fetch(address + '/', { credentials: 'include' }).then(() => 'read', () => 'refused');
                return [opened, read];
            }""",
            address,
        )
        assert tried == ["refused", "refused"]
        context.close()
        foreign.shutdown()


def test_screens_of_all_sizes_have_no_sideways_scrolling(page):
    for width in (360, 800, 1300):
        page.set_viewport_size({"width": width, "height": 800})
        for tab in ("Explore", "Path", "Own photo", "Drag", "Style transfer"):
            choose(page, tab)
            overflow = page.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow <= 0, (width, tab)
    picture = Image.open(io.BytesIO(page.screenshot()))
    assert len(picture.convert("RGB").getcolors(2**24) or []) > 50
