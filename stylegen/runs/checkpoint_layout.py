"""The contents of a checkpoint: which leaf goes into which item, and the ``meta`` item that describes each leaf.

Leaves are stored by path (``g_ema.synthesis.blocks.b8.conv0.weight``): the files do not depend on container classes.
Their CRC-32 is recorded because orbax restores a flipped bit without complaint, their dtype because it casts silently.
This knows nothing of files and of orbax; ``checkpoint/`` uses it.
"""

import dataclasses
import importlib.metadata
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegen.config import MAX_RESOLUTION
from stylegen.errors import StylegenError
from stylegen.networks.trees import by_path
from stylegen.training.state import GENERATOR_FIELDS, TrainState
from stylegen.untrusted import FileError, numbers, shown
from stylegen.version import version

FORMAT = 1
EMA_FIELDS = tuple(GENERATOR_FIELDS.values())  # fields of the state in the ``ema`` item; the others are in ``train``


class CheckpointError(StylegenError):
    """A checkpoint cannot be saved, found or used; the message says which one and why."""


class Damaged(StylegenError):
    """A checkpoint is damaged; another one may be good."""


@dataclass(frozen=True)
class Meta:
    """A checkpoint's description of itself."""

    nimg: int  # real images shown
    kimg: float  # the same in thousands
    resolution: int  # of the stage
    alpha: float  # weight of the stage's newest block
    phase: int  # index of the stage's phase
    config: dict[str, Any]  # of the run, as config_json.to_dict gives it
    extra: dict[str, Any]  # what the caller gave to save, as JSON keeps it: keys are strings, tuples are lists
    leaves: dict[str, dict[str, Any]]  # by path: shape, dtype and crc32
    versions: dict[str, str]  # of the packages that wrote it
    format: int = FORMAT


def seal(meta: Meta) -> dict[str, Any]:
    """The ``meta`` item as JSON, with a CRC of its own: a flipped bit in alpha must not pass either."""
    body = json.loads(json.dumps(vars(meta)))
    return {"crc32": _crc32_of_json(body), "meta": body}


def unseal(sealed: Any) -> Meta:
    """The reverse of ``seal``.

    Raises:
        Damaged: it is not what was written.
        CheckpointError: it is of a format that this version does not know.
    """
    body = sealed.get("meta") if isinstance(sealed, dict) else None
    if not isinstance(body, dict) or sealed.get("crc32") != _crc32_of_json(body):
        raise Damaged("meta: wrong CRC")
    if body.get("format") != FORMAT:
        versions = body.get("versions")
        wrote = shown(versions.get("stylegen") if isinstance(versions, dict) else None)
        stated = shown(body.get("format"))
        raise CheckpointError(f"format {stated}, of stylegen {wrote}; this version reads format {FORMAT}")
    try:
        return _checked(body)
    except (FileError, TypeError) as error:
        raise Damaged(f"meta: {error}") from error


def _checked(body: dict[str, Any]) -> Meta:
    """The description in a JSON object whose CRC is right, which anyone can compute.

    Raises:
        FileError, TypeError: it is none.
    """
    for name, most in (("nimg", 2**31), ("resolution", MAX_RESOLUTION), ("phase", 1000)):
        numbers.whole(body.get(name), name, 0, most)
    numbers.finite(body.get("kimg"), "kimg", 0, 2**31 / 1000)
    numbers.finite(body.get("alpha"), "alpha", 0, 1)
    for name in ("config", "extra", "leaves", "versions"):
        if not isinstance(body.get(name), dict):
            raise FileError(f"{name} is {shown(body.get(name))}; wanted an object")
    for path, leaf in body["leaves"].items():
        kinds = {"shape": list, "dtype": str, "crc32": int}
        if not isinstance(leaf, dict) or not all(type(leaf.get(name)) is kind for name, kind in kinds.items()):
            raise FileError(f"{shown(path)} is {shown(leaf)}; wanted shape, dtype and crc32")
    return Meta(**body)


def _crc32_of_json(tree: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(tree, sort_keys=True).encode())


def versions() -> dict[str, str]:
    """Versions of the packages that a checkpoint's contents depend on."""
    return {"stylegen": version()} | {name: importlib.metadata.version(name) for name in ("jax", "orbax-checkpoint")}


def split(state: TrainState) -> dict[str, dict[str, Any]]:
    """The fields of a state by the item that they are stored in."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    ema = {name: fields.pop(name) for name in EMA_FIELDS}
    return {"ema": ema, "train": fields}


def is_key(leaf: Any) -> bool:
    """Whether a leaf (or its shape and dtype) is a random key."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def stored(leaves: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Leaves as they are written: random keys as the numbers that they are made of."""
    return {path: jax.random.key_data(leaf) if is_key(leaf) else leaf for path, leaf in leaves.items()}


def stored_shapes(leaves: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of what ``stored`` makes of leaves with these shapes and dtypes."""
    return jax.eval_shape(stored, dict(leaves))


def rebuild(tree: Any, leaves: Mapping[str, Any]) -> Any:
    """The reverse of ``by_path`` and ``stored``: leaves in the structure of ``tree``, a tree of shapes and dtypes."""
    ordered = [
        jax.random.wrap_key_data(leaves[path]) if is_key(leaf) else leaves[path] for path, leaf in by_path(tree).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), ordered)


def describe(leaves: Mapping[str, jax.Array]) -> dict[str, dict[str, Any]]:
    """Shape, dtype and CRC-32 of every leaf by path, as ``Meta.leaves`` has them. Copies the leaves to the host."""
    host = jax.device_get(stored(leaves))  # all transfers at once; on a CPU these are views
    return {
        path: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "crc32": crc32(host[path])}
        for path, leaf in leaves.items()
    }


def crc32(array: np.ndarray) -> int:
    """CRC-32 of an array's bytes."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def misfits(meta: Meta, item: str, expected: Mapping[str, Any]) -> list[str]:
    """How an item's leaves, as recorded, differ from those expected (shapes and dtypes by path); empty if they fit."""
    recorded = {
        path: leaf for path, leaf in meta.leaves.items() if (path.partition(".")[0] in EMA_FIELDS) == (item == "ema")
    }
    problems = [f"it has no {path}" for path in expected if path not in recorded]
    problems += [f"it has {path}, which this configuration has not" for path in recorded if path not in expected]
    for path in (path for path in expected if path in recorded):
        shape, dtype = list(expected[path].shape), str(expected[path].dtype)
        if recorded[path]["shape"] != shape:
            problems.append(f"{path} has shape {recorded[path]['shape']} where {shape} is expected")
        elif recorded[path]["dtype"] != dtype:
            problems.append(f"{path} is {recorded[path]['dtype']} where {dtype} is expected")
    return problems


def corrupted(meta: Meta, leaves: Mapping[str, np.ndarray]) -> list[str]:
    """Paths of the leaves whose CRC-32 is not the recorded one."""
    return [path for path, array in leaves.items() if crc32(array) != meta.leaves[path]["crc32"]]


def summary(problems: Sequence[str]) -> str:
    """The first of several problems and the number of the others."""
    return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
