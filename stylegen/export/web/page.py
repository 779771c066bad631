"""The web page of a generator: one HTML file, or above ``MAX_FILE`` a folder with the weights as a second file.

Whatever comes from outside, such as names of runs and directions, is in the page as data: escaped, never as markup or
as a program. A content security policy allows the page's own program, by its hash, and no request to anywhere.
"""

import base64
import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from stylegen import sampling
from stylegen.errors import StylegenError
from stylegen.export import ExportError
from stylegen.io import files
from stylegen.networks.generator import Generator
from stylegen.networks.structure import ARRAYS
from stylegen.networks.trees import by_path
from stylegen.runs import load

FOLDER = Path(__file__).parent
MODULES = ("random", "safetensors", "generator", "wasm", "gpu", "studio", "video", "app")  # each after what it imports
PAGE_NAME, WEIGHTS_NAME = "index.html", "weights.js"
MAX_FILE = 20_000_000  # bytes of a single HTML file
PROGRAM_SIZE = 100_000  # bytes that the page takes besides the weights and the directions, at most
MAX_HALF = float(np.finfo(np.float16).max)
CHECKED_SEEDS = range(16)  # whose images are compared between single and half precision


@dataclasses.dataclass(frozen=True, eq=False)
class Slider:
    """A direction in the page."""

    name: str
    layers: tuple[int, ...]  # that it moves
    vector: np.ndarray  # [w_dim], what a strength of 1 adds to w


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a page says and offers besides the generator."""

    title: str = "stylegen"
    summary: str = ""  # a line on the generator
    note: str = ""  # a sentence on what is special, such as half precision
    psi: float = 0.7  # truncation at the start
    sliders: tuple[Slider, ...] = ()
    half: bool = False  # weights in half precision


def check_shown(G: Generator) -> None:
    """Raise ExportError unless the page can show the images of a generator."""
    if G.shape[0] != G.shape[1] or G.config.is_arrays:
        what = "are no colors" if G.config.is_arrays else f"have {G.config.size_text(G.resolution)} pixels"
        raise ExportError(f"the images of this generator {what}; a page shows square images in color or gray alone.")


def names(G: Generator, contents: Contents) -> list[str]:
    """Names of the files of a page in a folder: a single one, or the page and its weights.

    Raises:
        ExportError: its images are not square, or no colors.
    """
    check_shown(G)
    return [PAGE_NAME] if _size(G, contents) <= MAX_FILE else [PAGE_NAME, WEIGHTS_NAME]


def save_page(G: Generator, path: Path, contents: Contents) -> None:
    """Write the page as one HTML file; atomic.

    Raises:
        ExportError: it would be larger than ``MAX_FILE``; or as of ``weights``.
    """
    check_shown(G)
    if (size := _size(G, contents)) > MAX_FILE:
        raise ExportError(
            f"{path} would have {size / 1e6:.0f} MB; a page of one file has at most {MAX_FILE / 1e6:.0f}. Give a "
            "folder as --out, or halve the weights with --half."
        )
    files.write_text(path, page(contents, weights(G, half=contents.half)))


def save_files(G: Generator, folder: Path, contents: Contents) -> None:
    """Write the files of ``names`` into a folder.

    Raises:
        ExportError: as of ``weights``.
    """
    data = weights(G, half=contents.half)
    separate = WEIGHTS_NAME in names(G, contents)
    if separate:
        text = base64.b64encode(data).decode()
        (folder / WEIGHTS_NAME).write_text(f'globalThis.WEIGHTS = "{text}";\n', encoding="ascii")
    (folder / PAGE_NAME).write_text(page(contents, None if separate else data), encoding="utf-8")


def weights(G: Generator, *, half: bool = False) -> bytes:
    """The generator as safetensors, as ``load.save_generator`` writes it.

    Args:
        G: the generator.
        half: weights of layers in half precision; biases, noise and the mean of w stay as they are.

    Raises:
        ExportError: a weight is too large for half precision.
    """
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in by_path(_trees(G)).items()}
    if half:
        arrays = {name: _rounded(name, array) for name, array in arrays.items()}
    return save(arrays, load.metadata(G))


def half_difference(G: Generator) -> tuple[int, float]:
    """How much half-precision weights change the images of some seeds, in levels of 255: at most, and on average."""
    rounded: dict[str, Any] = {}
    for name, tree in _trees(G).items():
        rounded[name] = jax.tree_util.tree_map_with_path(
            lambda path, leaf: np.float32(_rounded(jax.tree_util.keystr(path, simple=True, separator="."), leaf)), tree
        )
    labels = np.arange(len(CHECKED_SEEDS)) % G.c_dim if G.c_dim else None
    exact, other = (
        sampling.sample(generator, CHECKED_SEEDS, labels=labels, psi=0.7).astype(int)
        for generator in (G, dataclasses.replace(G, **rounded))
    )
    return int(np.abs(exact - other).max()), float(np.abs(exact - other).mean())


def page(contents: Contents, data: bytes | None) -> str:
    """The HTML of a page.

    Args:
        contents: what it says and offers.
        data: the weights; None where they are in a file of their own.
    """
    program, style = bundle(), (FOLDER / "style.css").read_text(encoding="utf-8")
    about = {
        "summary": f"{contents.summary}. {contents.note}" if contents.note else contents.summary,
        "psi": contents.psi,
        "sliders": [
            {"name": s.name, "layers": list(map(int, s.layers)), "vector": [float(f"{x:.7g}") for x in s.vector]}
            for s in contents.sliders
        ],
    }
    kernel = base64.b64encode((FOLDER / "kernel.wasm").read_bytes()).decode()
    inline = "" if data is None else base64.b64encode(data).decode()
    scripts = [
        f'<script type="application/json" id="about-data">{_as_data(about)}</script>',
        f'<script type="text/plain" id="kernel">{kernel}</script>',
        f'<script type="text/plain" id="weights">{inline}</script>',
        *([f'<script src="{WEIGHTS_NAME}"></script>'] if data is None else []),
        f'<script type="module">{program}</script>',
    ]
    return _filled(
        (FOLDER / PAGE_NAME).read_text(encoding="utf-8"),
        policy=_policy(program, style, own_files=data is None),
        title=html.escape(contents.title),
        style=style,
        scripts="\n".join(scripts),
    )


def bundle(modules: Sequence[str] = MODULES) -> str:
    """The program of the page: modules in one, each after what it imports.

    Raises:
        StylegenError: it holds a tag of HTML, which would end the element that it stands in.
    """
    texts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in modules]
    program = "\n".join(
        re.sub(r"^import .*\n", "", re.sub(r"^export ", "", text, flags=re.M), flags=re.M) for text in texts
    )
    if re.search(r"</?script|<!--", program, re.I):
        raise StylegenError("the page's program holds a tag of HTML.")
    return program


def _filled(template: str, **parts: str) -> str:
    """The template with its {{names}} replaced; what is put in is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _as_data(tree: Any) -> str:
    """JSON in which no sign of HTML is left."""
    return re.sub(r"[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", json.dumps(tree, allow_nan=False))


def _policy(program: str, style: str, *, own_files: bool) -> str:
    """The content security policy."""
    script, sheet = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (program, style))
    own = " 'self'" if own_files else ""
    return (
        f"default-src 'none'; script-src 'sha256-{script}' 'wasm-unsafe-eval'{own}; style-src 'sha256-{sheet}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _trees(G: Generator) -> dict[str, Any]:
    return {name: getattr(G, name) for name in ARRAYS}


def _rounded(name: str, array: Any) -> np.ndarray:
    """A weight of a layer in half precision; other arrays as they are."""
    array = np.asarray(array, order="C")
    if not name.endswith("weight"):
        return array
    if np.abs(array).max() > MAX_HALF:
        raise ExportError(
            f"{name} has numbers above {MAX_HALF:.0f}, which half precision cannot hold: leave out --half."
        )
    return array.astype(np.float16)


def _size(G: Generator, contents: Contents) -> int:
    """Bytes of the page with all in it, or a little more."""
    numbers = 0
    for name, leaf in by_path(_trees(G)).items():
        numbers += leaf.size * (2 if contents.half and name.endswith("weight") else 4)
    directions: Sequence[Slider] = contents.sliders
    return PROGRAM_SIZE + numbers * 4 // 3 + sum(14 * len(slider.vector) for slider in directions)
