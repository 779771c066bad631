"""The model card of an exported generator: Markdown with the YAML front matter that the Hugging Face hub reads."""

import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegen.config import Config
from stylegen.config_json import to_dict
from stylegen.evaluation.evaluate_run import read_record
from stylegen.export.onnx.graph import OPSET
from stylegen.io.files import printable
from stylegen.io.progress import counted
from stylegen.networks.generator import Generator
from stylegen.nvidia.importing import REPORT
from stylegen.version import version

PSI = 0.7  # truncation of the grid

_DATA = {
    "toy_bedrooms": "bedrooms drawn by stylegen itself (`toy_bedrooms`)",
    "lsun": "LSUN",
    "cifar10": "CIFAR-10",
    "images": "a folder of images",
    "tfds": "a TFDS data set",
}


@dataclass(frozen=True)
class Facts:
    """Facts about a generator besides itself."""

    license: str | None  # an identifier of the hub's
    metrics: tuple[dict[str, Any], ...] = ()  # lines of metric-*.jsonl, with the metric's name as ``name``
    imported: str | None = None  # the file that it was imported from, and its hash


def facts(run: Path | None, G: Generator, license: str | None) -> Facts:
    """Facts in a run directory about one of its generators; without a directory, the license alone."""
    if run is None:
        return Facts(license)
    metrics = []
    for path in sorted(run.glob("metric-*.jsonl")):
        name = path.stem.removeprefix("metric-")
        metrics += [{"name": name, **line} for line in read_record(path) if line["nimg"] == round(G.kimg * 1000)]
    report = run / REPORT
    imported = report.read_text(encoding="utf-8").splitlines()[0] if report.is_file() else None
    return Facts(license, tuple(metrics), imported)


def text(G: Generator, facts: Facts, names: list[str]) -> str:
    """The card of a generator that is exported as files of these names."""
    names = [printable(name) for name in names]
    grid = next(name for name in names if name.endswith(".png"))
    rows, columns = G.shape
    stage = f"{columns} x {rows} pixels"
    if G.alpha < 1:
        stage += f" (in the middle of growing: the newest block has the weight {G.alpha:.3g})"
    classes = f", {counted(G.c_dim, 'class')}" if G.c_dim else ""
    selection = "in class 0, 1, ... in turn" if G.c_dim else "none left out"
    toward = " toward the mean of all classes" if G.c_dim else ""
    parts = [
        _front_matter(G, facts),
        f"# A {_kind(G.config)} of {G.config.size_text(G.resolution)} pixels",
        f"![Samples]({grid})",
        f"*Seeds 0 to 15, {selection}, truncated to psi {PSI}{toward}, constant noise.*",
        "## What it is",
        f"- Images: {stage}, {counted(G.image_channels, 'channel')}{classes}.",
        f"- Data: {data_line(G.config)}.",
        f"- Training: {_training(G, facts)}",
        f"- License: {facts.license or 'not stated by who exported it'}.",
        f"- Written by stylegen {version()}, jax {importlib.metadata.version('jax')}.",
        "## Metrics",
        _metrics(facts),
        "## How to load it",
        *_loading(G, names),
        "## Configuration",
        f"```json\n{json.dumps(_settings(G.config), indent=2)}\n```",
    ]
    return "\n".join(_spaced(parts)) + "\n"


def data_line(config: Config) -> str:
    """The training data, without its path."""
    data = config.data
    line = _DATA[data.source]
    if data.source == "lsun":
        line += f", {data.category}, {data.split}"
    if data.source == "tfds":
        line += f", {data.tfds_name}"
    if data.source == "toy_bedrooms":
        line += f", {data.num_images:,} of them"
    return line + (", mirrored" if data.mirror else "")


def _kind(config: Config) -> str:
    return "StyleGAN2" if config.generator.block == "demod" else "StyleGAN"


def _front_matter(G: Generator, facts: Facts) -> str:
    task = "unconditional-image-generation" if G.c_dim == 0 else "image-generation"
    lines = ["---", f"license: {facts.license or 'unknown'}", "library_name: stylegen"]
    if G.c_dim == 0:
        lines.append(f"pipeline_tag: {task}")
    tags = ["stylegan2" if G.config.generator.block == "demod" else "stylegan", "gan", "jax", "flax", task]
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _training(G: Generator, facts: Facts) -> str:
    shown = f"{G.kimg:g} kimg (thousands of real images shown); moving average of the weights."
    if facts.imported is not None:
        after = "before the import is not known" if G.kimg == 0 else f"since then, {shown}"
        return f"imported from {facts.imported}, whose license goes on to apply; training {after}."
    return shown


def _metrics(facts: Facts) -> str:
    if not facts.metrics:
        return "No measurement of this snapshot is on record."
    rows = ["| metric | value | kimg | by | fakes | reals |", "|---|---|---|---|---|---|"]
    for line in facts.metrics:
        provenance = line.get("provenance", {})
        counts = [provenance.get(side, {}).get("count", "") for side in ("fakes", "reals")]
        rows.append(
            f"| {line['name']} | {line['value']:.4g} | {line['kimg']:g} | {line.get('measured_by', '')} "
            f"| {counts[0]} | {counts[1]} |"
        )
    provenance_by_metric = {line["name"]: line.get("provenance", {}) for line in facts.metrics}
    rows += ["", "Where these numbers come from:", "", f"```json\n{json.dumps(provenance_by_metric, indent=2)}\n```"]
    return "\n".join(rows)


def _loading(G: Generator, names: list[str]) -> list[str]:
    parts = []
    if weights := [name for name in names if name.endswith((".safetensors", ".npz"))]:
        where = "." if len(names) > 3 else weights[0]
        labels = ", labels=0" if G.c_dim else ""
        what = "this folder" if where == "." else "this file"
        parts.append(
            "With stylegen:\n\n```python\nimport stylegen\n\n"
            f'G = stylegen.load("{where}")  # {what}\n'
            f"images = stylegen.sample(G, seeds=[1, 2, 3]{labels}, psi={PSI})"
            f"  # uint8 [3, {G.shape[0]}, {G.shape[1]}, {G.image_channels}]\n```"
        )
    if program := [name for name in names if name.endswith(".stablehlo")]:
        parts += _with_jax(G, program[0], weights)
    if models := [name for name in names if name.endswith(".onnx")]:
        parts += _with_onnx(G, models)
    if pages := [name for name in names if name.endswith(".html")]:
        parts.append(
            f"In a browser: open `{pages[0]}`. It needs no server and no network. The browser computes the images, by "
            "WebAssembly or WebGPU, and its seeds are those of stylegen."
        )
    return parts


def _with_jax(G: Generator, program: str, weights: list[str]) -> list[str]:
    labels = f"\nc = np.eye({G.c_dim}, dtype=np.float32)[[0, 0, 0]]" if G.c_dim else ""
    inputs = "z, c" if G.c_dim else "z"
    lasting = f"The weights in `{weights[0]}` last" if weights else "Weights as safetensors last"
    return [
        "With JAX alone (`pip install jax flatbuffers`), on CPU, CUDA or TPU:\n\n```python\n"
        "from pathlib import Path\n\nimport numpy as np\nfrom jax import export\n\n"
        f'sample = export.deserialize(bytearray(Path("{program}").read_bytes())).call\n'
        f"z = np.random.default_rng(0).standard_normal((3, {G.z_dim})).astype(np.float32){labels}\n"
        f"images = sample({inputs}, np.float32({PSI}))"
        f"  # uint8 [3, {G.shape[0]}, {G.shape[1]}, {G.image_channels}]\n```",
        f"`{program}` was exported by jax {importlib.metadata.version('jax')} and expires: JAX reads programs "
        f"that are up to six months older than itself. {lasting}: export again from them.",
    ]


def _with_onnx(G: Generator, models: list[str]) -> list[str]:
    sampler, synthesis = models
    labels = f"\nc = np.eye({G.c_dim}, dtype=np.float32)[[0, 0, 0]]" if G.c_dim else ""
    given = '"z": z, "c": c' if G.c_dim else '"z": z'
    outputs, noise = ("images, ws, noise", ', "noise": noise') if G.config.generator.use_noise else ("images, ws", "")
    shape = f"[3, {G.shape[0]}, {G.shape[1]}, {G.image_channels}]"
    return [
        "With ONNX Runtime alone (`pip install onnxruntime`):\n\n```python\n"
        "import numpy as np\nimport onnxruntime\n\n"
        f'sampler = onnxruntime.InferenceSession("{sampler}")\n'
        f"z = np.random.default_rng(0).standard_normal((3, {G.z_dim})).astype(np.float32){labels}\n"
        f"psi = np.array({PSI}, np.float32)  # an array without axes, not a Python number\n"
        f'{outputs} = sampler.run(None, {{{given}, "psi": psi}})  # images: uint8 {shape}\n'
        f'synthesis = onnxruntime.InferenceSession("{synthesis}")\n'
        f'(floats,) = synthesis.run(None, {{"ws": ws{noise}}})  # float32 {shape}, around [-1, 1]\n```',
        f"`{sampler}` draws the images of latents, `{synthesis}` those of styles. The batch has any size. Both compute "
        f"in float32. ONNX files do not expire: a runtime goes on reading operator set {OPSET}, which they state. "
        "(Programs of JAX in StableHLO expire after six months.)",
    ]


def _settings(config: Config) -> dict[str, Any]:
    """The settings of networks and training in short; the whole configuration is in the weights' file."""
    tree = to_dict(config)
    parts = ("generator", "discriminator", "loss", "optimizer", "schedule", "augment")
    own = {name: value for name, value in tree.items() if not isinstance(value, dict)}
    return own | {name: tree[name] for name in parts if name in tree}


def _spaced(parts: list[str]) -> list[str]:
    """A blank line between paragraphs, none between items of a list."""
    lines: list[str] = []
    for i, part in enumerate(parts):
        if i and not (part.startswith("- ") and parts[i - 1].startswith("- ")):
            lines.append("")
        lines.append(part)
    return lines
