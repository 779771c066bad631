"""StyleGAN2's networks from checkpoints of rosinality's stylegan2-pytorch (``.pt``), the form of most fine-tunes.

A checkpoint is a table: state dicts ``g_ema``, ``g`` and ``d``, and where a program wrote it ``latent_avg``, the mean
of w. Encoders (pSp, e4e) keep the same generator within their own ``state_dict``, under ``decoder.``. It states no
settings: they follow from the shapes. The network is NVIDIA's, and so are the layouts of its kernels (``stylegan2``).
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.config import (
    MAX_RESOLUTION,
    Config,
    ConfigError,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    ScheduleConfig,
)
from stylegen.formats import WeightsError
from stylegen.formats.pickle_arrays import as_mapping
from stylegen.formats.pickle_tree import describe, printable
from stylegen.formats.torch_files import Tensors
from stylegen.networks.layers import width, width_at
from stylegen.nvidia.settings import BATCH
from stylegen.nvidia.stylegan2 import FILTER, torch_layout
from stylegen.nvidia.weight_table import Imported, Report, Weight, match

Arrays = dict[str, np.ndarray]
PARTS = ("g_ema", "g", "d")
DECODER = "decoder."  # of an encoder's state dict: what begins with it is the generator's
MAX_ARRAYS = 5_000  # of one network; a generator of 1024 pixels has 165
MBSTD_GROUP = 4  # which every version of the program has
_KERNEL = re.compile(r"(.*\.)?(blur|upsample)\.kernel|convs\.\d+\.(conv2|skip)\.0\.kernel")


def is_checkpoint(value: Any) -> bool:
    """Whether the value of a torch file is such a checkpoint, an encoder's, or lucidrains', which is refused."""
    table = as_mapping(value) or {}
    encoder = as_mapping(table.get("state_dict")) or {}
    return (
        any(as_mapping(table.get(part)) for part in ("g_ema", "g"))
        or any(isinstance(name, str) and name.startswith(DECODER) for name in encoder)
        or _is_lucidrains(table)
    )


def _is_lucidrains(table: Mapping[Any, Any]) -> bool:
    names = as_mapping(table.get("GAN")) or {}
    return any(isinstance(name, str) and name.startswith(("G.initial_block", "S.net.")) for name in names)


def convert(value: Any, tensors: Tensors, path: Path) -> Imported:
    """The networks of a checkpoint in our form.

    Args:
        value: of the file, inert (``torch_files.load``).
        tensors: makes its arrays.
        path: of the file, for messages.

    Raises:
        WeightsError: a network cannot be represented, or lacks an array; the message names it.
    """
    source, table = str(path), as_mapping(value) or {}
    if _is_lucidrains(table):
        raise WeightsError(
            f"{source}: a network of lucidrains' stylegan2-pytorch. It has one style a block, enlarges features "
            "bilinearly and draws noise through a linear layer, so it cannot be represented here; networks of "
            "rosinality's stylegan2-pytorch and of NVIDIA can."
        )
    networks = _networks(table, tensors, source)
    best = networks.get("g_ema", networks.get("g"))
    assert best is not None  # is_checkpoint has seen one
    config = _config(best, networks.get("d"), source)
    report = Report()
    trees = {}
    for part, arrays in networks.items():
        weights = discriminator_weights(config) if part == "d" else generator_weights(config)
        trees[part] = _match(weights, arrays, f"{source}, {part}", report)
        count = sum(array.size for array in arrays.values())
        report.networks.append(f"{part}: rosinality's, {len(arrays)} arrays, {count:,} numbers")
    g_ema = trees.get("g_ema", trees.get("g", {}))
    noise = {name: array for name, array in g_ema.items() if name.endswith("noise_const")}
    g = trees.get("g", g_ema)
    averages, g = ({name: x for name, x in tree.items() if name not in noise} for tree in (g_ema, g))
    average = _average(table.get("latent_avg"), tensors, config.generator.w_dim, source)
    _add_remarks(report, networks, noise, average)
    return Imported(
        config=config,
        g=g,
        g_ema=averages,
        d=trees.get("d"),
        noise_const=noise,
        w_avg=average if average is not None else mean_of_w(averages, config),
        resolution=config.resolution,
        alpha=1.0,
        report=report,
    )


def _networks(table: Mapping[Any, Any], tensors: Tensors, source: str) -> dict[str, Arrays]:
    """Arrays by name of each network, those of an encoder's generator included."""
    tables = {part: inner for part in PARTS if (inner := as_mapping(table.get(part))) is not None}
    if "g_ema" not in tables and "g" not in tables:
        state = as_mapping(table.get("state_dict")) or {}
        tables = {"g_ema": {n.removeprefix(DECODER): x for n, x in state.items() if str(n).startswith(DECODER)}}
    networks = {}
    for part, entries in tables.items():
        if len(entries) > MAX_ARRAYS:
            raise WeightsError(f"{source}, {part}: has {len(entries):,} arrays; such a network has some hundreds.")
        arrays = {}
        for name, value in entries.items():
            array = tensors.array(value)
            if not isinstance(name, str) or array is None:
                raise WeightsError(f"{source}, {part}: has {describe(value)} where a tensor should be.")
            arrays[name.removeprefix("module.")] = array  # of a network that was saved within DataParallel
        networks[part] = arrays
    return networks


def _config(g: Arrays, d: Arrays | None, source: str) -> Config:
    """The settings that the shapes of the generator mean, and the discriminator's widths."""
    layers = sorted(int(found[1]) for name in g if (found := re.fullmatch(r"style\.(\d{1,3})\.weight", name)))
    blocks = sum(bool(re.fullmatch(r"to_rgbs\.\d{1,3}\.bias", name)) for name in g)
    resolution = 4 * 2**blocks
    if "input.input" not in g or not layers or not 8 <= resolution <= MAX_RESOLUTION:
        raise WeightsError(
            f"{source}: its generator is none of rosinality's StyleGAN2; it has {describe(list(g), 2)} and others."
        )
    widths = {4: _side(g, "input.input", 1, source)}
    for i in range(blocks):
        widths[8 * 2**i] = _side(g, f"convs.{2 * i}.conv.weight", 1, source)
    d_widths = dict(widths)
    if d is not None:
        d_widths[resolution] = _side(d, "convs.0.0.weight", 0, source)
        for i in range(1, blocks + 1):
            d_widths[resolution >> i] = _side(d, f"convs.{i}.conv2.1.weight", 0, source)
    w_dim, z_dim = (_side(g, f"style.{layers[0]}.weight", axis, source) for axis in (0, 1))
    try:
        return Config(
            resolution=resolution,
            image_channels=_side(g, "to_rgb1.bias", 1, source),
            data=DataConfig(source="images", batch=BATCH),
            generator=GeneratorConfig(
                block="demod",
                z_dim=z_dim,
                w_dim=w_dim,
                mapping_layers=len(layers),
                **_channels(widths, f"{source}, generator"),
            ),
            discriminator=DiscriminatorConfig(
                mbstd_group_size=MBSTD_GROUP, **_channels(d_widths, f"{source}, discriminator")
            ),
            schedule=ScheduleConfig(start_resolution=resolution),
        )
    except ConfigError as error:
        raise WeightsError(f"{source}: its networks cannot be represented: {error}") from error


def _side(arrays: Arrays, name: str, axis: int, source: str) -> int:
    """The length of an axis of an array that must be there."""
    if name not in arrays or arrays[name].ndim <= axis:
        raise WeightsError(f"{source}: {printable(name)} is missing, or has another form.")
    return int(arrays[name].shape[axis])


def _channels(widths: dict[int, int], source: str) -> dict[str, Any]:
    """``channel_base`` and ``channel_max`` of widths by resolution.

    Raises:
        WeightsError: no such settings give these widths; they are listed.
    """
    most = max(widths.values())
    # A resolution that is narrower than the widest tells the base; if none is, it is anything large enough.
    base = min((r * n for r, n in widths.items() if n < most), default=max(widths) * most)
    if any(width(r, base, most) != n for r, n in widths.items()):
        listed = ", ".join(f"{n} at {r}" for r, n in widths.items())
        raise WeightsError(
            f"{source}: its channels ({listed} pixels) cannot be represented: from a widest block on they must halve "
            "as the resolution doubles."
        )
    return {"channel_base": base, "channel_max": most}


def generator_weights(config: Config) -> list[Weight]:
    """All parameters of the generator, and its constant noise, which some files lack."""
    g, table = config.generator, list[Weight]()
    sizes = [g.z_dim, *[g.w_dim] * g.mapping_layers]
    for i in range(g.mapping_layers):
        table += _linear(f"style.{i + 1}", f"mapping.dense.dense{i}", sizes[i], sizes[i + 1])
    for index, r in enumerate(config.resolutions):
        channels, before = (width_at(g, x) for x in (r, r // 2))
        ours = f"synthesis.blocks.b{r}"
        if r == 4:
            table.append(Weight("input.input", (1, channels, 4, 4), f"{ours}.const", lambda x: x.transpose(0, 2, 3, 1)))
            table += _styled("conv1", ours, 1, "conv", channels, channels, r, 0, g.w_dim)
        else:
            i = 2 * (index - 1)
            table += _styled(f"convs.{i}", ours, 0, "up", before, channels, r, i + 1, g.w_dim)
            table += _styled(f"convs.{i + 1}", ours, 1, "conv", channels, channels, r, i + 2, g.w_dim)
        rgb = "to_rgb1" if r == 4 else f"to_rgbs.{index - 1}"
        table += _modulated(f"{rgb}.conv", f"{ours}.torgb", "conv", channels, config.image_channels, 1, g.w_dim)
        table.append(Weight(f"{rgb}.bias", (1, config.image_channels, 1, 1), f"{ours}.torgb.bias", np.ravel))
    return table


def _styled(
    theirs: str, ours: str, number: int, kind: str, inputs: int, outputs: int, r: int, noise: int, w_dim: int
) -> list[Weight]:
    """A modulated convolution with its noise, bias and constant noise."""
    act = f"{ours}.act{number}"
    return [
        *_modulated(f"{theirs}.conv", f"{ours}.conv{number}", kind, inputs, outputs, 3, w_dim),
        Weight(f"{theirs}.activate.bias", (outputs,), f"{act}.bias"),
        Weight(f"{theirs}.noise.weight", (1,), f"{act}.noise.noise_strength", lambda x: x.reshape(())),
        Weight(
            f"noises.noise_{noise}",
            (1, 1, r, r),
            f"{act}.noise.noise_const",
            lambda x: x.transpose(0, 2, 3, 1),
            optional=True,
        ),
    ]


def _modulated(theirs: str, ours: str, kind: str, inputs: int, outputs: int, kernel: int, w_dim: int) -> list[Weight]:
    """The weight of a convolution, which has one more axis here than elsewhere, and its style's affine."""
    shape, layout = torch_layout(kind, (inputs, outputs, kernel))
    return [
        Weight(f"{theirs}.weight", (1, *shape), f"{ours}.weight", lambda x: layout(x[0])),
        _array(f"{theirs}.modulation.weight", f"{ours}.affine.weight", "dense", w_dim, inputs),
        _array(f"{theirs}.modulation.bias", f"{ours}.affine.bias", "shift", inputs),
    ]


def _linear(theirs: str, ours: str, inputs: int, outputs: int, kind: str = "dense") -> list[Weight]:
    return [
        _array(f"{theirs}.weight", f"{ours}.weight", kind, inputs, outputs),
        _array(f"{theirs}.bias", f"{ours}.bias", "bias", outputs),
    ]


def _array(theirs: str, ours: str, kind: str, *size: int) -> Weight:
    shape, layout = torch_layout(kind, size)
    return Weight(theirs, shape, ours, layout)


def discriminator_weights(config: Config) -> list[Weight]:
    """All parameters of the discriminator."""
    d, table = config.discriminator, list[Weight]()
    widths = {r: width_at(d, r) for r in config.resolutions}

    def conv(theirs: str, bias: str | None, ours: str, inputs: int, outputs: int, kernel: int) -> None:
        table.append(_array(f"{theirs}.weight", f"{ours}.weight", "conv", inputs, outputs, kernel))
        if bias is not None:
            table.append(_array(f"{bias}.bias", f"{ours}.bias", "bias", outputs))

    full = config.resolution
    conv("convs.0.0", "convs.0.1", f"blocks.b{full}.fromrgb", config.image_channels, widths[full], 1)
    for i, r in enumerate(reversed(config.resolutions[1:]), start=1):
        theirs, ours = f"convs.{i}", f"blocks.b{r}"
        conv(f"{theirs}.conv1.0", f"{theirs}.conv1.1", f"{ours}.conv0", widths[r], widths[r], 3)
        conv(f"{theirs}.conv2.1", f"{theirs}.conv2.2", f"{ours}.conv1", widths[r], widths[r // 2], 3)
        conv(f"{theirs}.skip.1", None, f"{ours}.skip", widths[r], widths[r // 2], 1)
    last = widths[4]
    conv("final_conv.0", "final_conv.1", "blocks.b4.conv", last + 1, last, 3)
    table += _linear("final_linear.0", "blocks.b4.dense0", 16 * last, last, "flat")
    table += _linear("final_linear.1", "blocks.b4.dense1", last, 1)
    return table


def _match(weights: list[Weight], arrays: Arrays, source: str, report: Report) -> Arrays:
    """Our parameters by path; the filters that enlarge and reduce must be the one that is fixed here."""
    variables = dict(arrays)
    for name in [name for name in variables if _KERNEL.fullmatch(name)]:
        taps = variables.pop(name)
        if taps.shape != FILTER.shape or not np.allclose(taps / max(float(taps.sum()), 1e-8), FILTER, atol=1e-6):
            raise WeightsError(f"{source}: {name} is another filter than that of [1, 3, 3, 1], which is the one here.")
    tree = match(weights, variables, source)
    part = source.rpartition(", ")[2]
    report.mapped += [f"{part} {w.theirs} {list(w.shape)} -> {w.ours}" for w in weights if w.ours in tree]
    return tree


def _average(value: Any, tensors: Tensors, w_dim: int, source: str) -> np.ndarray | None:
    """The mean of w; encoders repeat it for every layer."""
    array = None if value is None else tensors.array(value)
    if value is None:
        return None
    if array is None or array.dtype.kind != "f" or array.ndim == 0 or array.shape[-1] != w_dim or array.size == 0:
        what = describe(value) if array is None else f"{array.dtype} {list(array.shape)}"
        raise WeightsError(f"{source}: latent_avg is {what}; wanted the mean of w, [{w_dim}].")
    rows = np.asarray(array, np.float32).reshape(-1, w_dim)
    if not np.isfinite(rows).all() or not np.array_equal(rows, np.broadcast_to(rows[0], rows.shape)):
        raise WeightsError(f"{source}: latent_avg differs between layers, or is not finite; here all share one mean.")
    return rows[0]


NUM_MEAN = 10_000  # latents whose mean stands for that of all


def mean_of_w(g: Arrays, config: Config) -> np.ndarray:
    """The mean of w over the latents of a fixed seed, as the program itself takes one before it samples: [w_dim]."""
    generator = config.generator
    w: np.ndarray = np.random.RandomState(0).randn(NUM_MEAN, generator.z_dim).astype(np.float32)
    w /= np.sqrt(np.mean(np.square(w), axis=1, keepdims=True) + 1e-8)
    for i in range(generator.mapping_layers):
        weight, bias = (g[f"mapping.dense.dense{i}.{name}"] for name in ("weight", "bias"))
        w = generator.mapping_lr_multiplier * (w @ weight / np.float32(math.sqrt(len(weight))) + bias)
        w = math.sqrt(2) * np.where(w < 0, 0.2 * w, w)
    return np.asarray(w.mean(axis=0), np.float32)


def _add_remarks(report: Report, found: dict[str, Arrays], noise: Arrays, average: np.ndarray | None) -> None:
    if average is None:
        report.remarks.append(f"the mean of w is not in the file; it was computed from {NUM_MEAN:,} latents")
    if not noise:
        report.remarks.append("the constant noise is not in the file; it is zero here")
    if "g_ema" not in found:
        report.remarks.append("the file has no averaged generator; g stands for it")
    if "d" not in found:
        report.remarks.append("the file has no discriminator; the run gets a new one")
