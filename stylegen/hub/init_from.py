"""Transfer learning: starting a run from the weights of another one (``run.init_from``, ``run.freeze``).

It takes what ``stylegen.load`` takes. A run directory gives the generator, its moving average, the mean of w and the
discriminator. So does a file of others, NVIDIA's ``.pkl`` or a ``.pt`` of rosinality's form, if it has one. A
generator's file gives all but the discriminator. Weights are matched by name and shape. The clock, Adam's moments and
the random key start anew, and so does the schedule: with ``schedule.start_resolution`` at the full resolution nothing
grows again.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import jax
import numpy as np

from stylegen.config import Config, ConfigError, option
from stylegen.errors import StylegenError
from stylegen.formats import WeightsError
from stylegen.hub import HubError, remote
from stylegen.hub.opening import is_others
from stylegen.io.progress import counted
from stylegen.io.tables import table
from stylegen.networks.trees import by_path
from stylegen.nvidia import importing
from stylegen.runs import load
from stylegen.runs.checkpoint import CheckpointError, available, load_state
from stylegen.runs.load import LoadError
from stylegen.training import freeze
from stylegen.training.state import GENERATOR_FIELDS, TrainState, abstract_state

FIELDS = ("g", *GENERATOR_FIELDS.values(), "d")  # of the state that may be taken
# Settings that make another function of the same weights, which therefore must be the same.
SAME = ("block", "mapping_lr_multiplier", "normalize_z")
OF_TRAINING = ("w_avg_beta", "style_mixing_prob", "mbstd_group_size")  # settings of networks that no weight depends on
MOST = 24  # rows of a table of differences


class TransferError(StylegenError):
    """A run cannot be started from that; the message says why."""


@dataclass(frozen=True)
class Transfer:
    """Weights that a run takes from another one."""

    weights: dict[str, np.ndarray]  # by path in the state, such as g_ema.synthesis.blocks.b8.conv0.weight
    text: str  # what is taken and what is not, for the log


@dataclass(frozen=True)
class _Source:
    name: str
    config: Config
    trained: int  # resolution up to which it was trained
    fields: dict[str, Any]  # trees of the state's fields


def read(config: Config) -> Transfer:
    """The weights that ``run.init_from`` names, as far as a run of this configuration has a place for them.

    Blocks of a resolution that the source does not reach start fresh; all else must fit.

    Raises:
        TransferError: there is no such run or file, it cannot be fetched or read, or its layers are others.
        OSError: the folder that keeps what is fetched cannot be written to.
    """
    source = _open(str(config.run.init_from))
    _check_settings(config, source)
    state = abstract_state(config)
    expected = by_path({name: getattr(state, name) for name in FIELDS if name in source.fields})
    source_leaves = by_path(source.fields)
    fresh = {path for path in expected if path not in source_leaves and _block(path) > source.config.resolution}
    rows = [
        (path, _shape(expected.get(path)), _shape(source_leaves.get(path)))
        for path in [*expected, *(path for path in source_leaves if path not in expected)]
        if path not in fresh and _shape(expected.get(path)) != _shape(source_leaves.get(path))
    ]
    if rows:
        raise TransferError(_misfit(config, source, [row for row in rows if not row[0].startswith("g_ema.")]))
    weights = {path: np.asarray(source_leaves[path]) for path in expected if path not in fresh}
    return Transfer(weights, _text(config, source, fresh))


def apply(state: TrainState, transfer: Transfer | None) -> TrainState:
    """An initial state with the weights of a transfer in their places; its arrays are then the host's."""
    if transfer is None:
        return state

    def choose(path: Any, leaf: Any) -> Any:
        return transfer.weights.get(jax.tree_util.keystr(path, simple=True, separator="."), leaf)

    fields = {name: getattr(state, name) for name in FIELDS}
    return dataclasses.replace(state, **jax.tree_util.tree_map_with_path(choose, fields))


def describe(config: Config) -> str:
    """A sentence on what the first start of a run takes over, for ``--dry-run``; raises as ``read`` does."""
    if config.run.dir and not config.run.overwrite and available(config.run.dir):
        return f"{config.run.dir} holds a run, which goes on: nothing is taken from {config.run.init_from} again."
    return read(config).text


def _open(name: str) -> _Source:
    try:
        path = remote.local(name)
        if is_others(Path(path)):
            return _imported(name, path)
        if (Path(path) / "config.json").is_file() and not load.is_exported(path):
            config, meta, state = load_state(path)
            fields = {field: getattr(state, field) for field in FIELDS}
            return _Source(f"{name} at {meta.kimg:g} kimg", config, meta.resolution, fields)
        G = load.load(path)
    except (HubError, WeightsError, CheckpointError, LoadError, ConfigError) as error:
        raise TransferError(f"run.init_from = {name!r}: {error}") from error
    fields = {"g": G.params} | {field: getattr(G, name) for name, field in GENERATOR_FIELDS.items()}
    return _Source(name, G.config, G.resolution, fields)


def _imported(name: str, path: str) -> _Source:
    """The networks of a file of others; what else such a file may hold, Adam's moments above all, is left."""
    imported = importing.read(path)
    config, state, stage = importing.state_of(imported)
    fields = {field: getattr(state, field) for field in FIELDS if field != "d" or imported.d is not None}
    return _Source(name, config, stage.resolution, fields)


def _check_settings(config: Config, source: _Source) -> None:
    for name in SAME:
        theirs, ours = getattr(source.config.generator, name), getattr(config.generator, name)
        if theirs != ours:
            raise TransferError(
                f"run.init_from = {config.run.init_from!r}: generator.{name} is {theirs!r} there and {ours!r} here, "
                f"which makes another function of the same weights; give {option(f'generator.{name}', theirs)}."
            )


def _text(config: Config, source: _Source, fresh: set[str]) -> str:
    parts = "generator, moving average and mean of w" + (", discriminator" if "d" in source.fields else "")
    text, size = [f"Taken from {source.name}: {parts}."], source.config.size_text
    if "d" not in source.fields:
        text.append("It has no discriminator: that starts fresh.")
    if fresh:
        blocks = sorted({_block(path) for path in fresh})
        listed = ", ".join(f"b{block}" for block in blocks)
        text.append(f"It ends at {size(source.config.resolution)} pixels: blocks {listed} start fresh.")
    if source.trained < min(source.config.resolution, config.resolution):
        text.append(f"It was trained up to {size(source.trained)} pixels: its blocks beyond are as they began.")
    start = config.schedule.start_resolution
    if start < min(source.trained, config.resolution):
        text.append(
            f"The schedule starts at {start} pixels; with schedule.start_resolution {source.trained} it would not."
        )
    if config.optimizer.ema_rampup is not None:
        text.append("optimizer.ema_rampup is off: it would forget the moving average that was taken.")
    if config.run.freeze:
        text.append(f"Frozen ({config.run.freeze}): {len(freeze.frozen(config))} arrays of weights and biases.")
    return " ".join(text)


def _misfit(config: Config, source: _Source, rows: list[tuple[str, str, str]]) -> str:
    more = [f"  ... and {len(rows) - MOST} more"] if len(rows) > MOST else []
    columns = {"layer": ("", "<"), "expected": ("expected", "<"), "found": ("found", "<")}
    lines = indent(table([dict(zip(columns, row, strict=True)) for row in rows[:MOST]], columns), "  ")
    larger = source.config.resolution > config.resolution
    size = source.config.size_text(source.config.resolution)
    hint = f" It is of {size} pixels: give --resolution {size}." if larger else ""
    misfits = counted(len(rows), "layer", ("does", "do"))
    title = f"run.init_from = {config.run.init_from!r}: {misfits} not fit this configuration.{hint}"
    options = " ".join(_options(config, source))
    return "\n".join([title, lines, *more, *([f"Make the networks alike: {options}"] if options else [])])


def _options(config: Config, source: _Source) -> list[str]:
    """The options that give a configuration the networks of a source, as far as they differ."""
    theirs, found = source.config, []
    if theirs.const_shape != config.const_shape and theirs.resolution <= config.resolution:
        found.append(f"--resolution {theirs.size_text(config.resolution)}")
    found += [
        option(name, getattr(theirs, name))
        for name in ("image_channels", "num_classes")
        if getattr(theirs, name) != getattr(config, name)
    ]
    for network in ("generator", "discriminator") if "d" in source.fields else ("generator",):
        there, here = (dataclasses.asdict(getattr(one, network)) for one in (theirs, config))
        changed = [name for name in there if there[name] != here[name] and name not in OF_TRAINING]
        found += [option(f"{network}.{name}", there[name]) for name in changed]
    return found


def _shape(leaf: Any) -> str:
    return "-" if leaf is None else "x".join(map(str, leaf.shape)) or "number"


def _block(path: str) -> int:
    """The resolution of the block that a parameter is of; 0 outside blocks."""
    parts = path.split(".")
    return int(parts[parts.index("blocks") + 1][1:]) if "blocks" in parts else 0
