"""The networks in NVIDIA's pickles: their kind, settings and variables by name; nothing of StyleGAN is known here.

Two forms. TensorFlow: a tuple (G, D, Gs) of ``dnnlib.tflib.network.Network``, each a dict with its settings, its own
variables and, in turn, its components. PyTorch: a dict of modules (G, D, G_ema), each a call of
``torch_utils.persistence._reconstruct_persistent_obj`` with its class's name and its state. Both carry the source text
of their networks, which the original loaders run; here it is not even looked at.
"""

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stylegen.formats import WeightsError, pickle_arrays, pickle_tree, torch_files
from stylegen.formats.pickle_arrays import Settings, as_array, as_mapping
from stylegen.formats.pickle_tree import Kind, Names, Record, describe
from stylegen.formats.torch_files import Storages, Tensors
from stylegen.paths import expanded

TF_VERSIONS = (2, 3, 4)  # of pickled TensorFlow networks; StyleGAN has 3, StyleGAN2 has 4
MAX_VISITS, MAX_VARIABLES = 30_000, 20_000  # modules with what they list, and variables; NVIDIA's have hundreds
MAX_MODULE_DEPTH = 30
MAX_LABEL = 200  # letters of a variable's name
_TF_CLASSES = (("dnnlib.tflib.network", "Network"), ("dnnlib.tflib", "Network"), ("tfutil", "Network"))
_PERSISTENT = ("torch_utils.persistence", "_reconstruct_persistent_obj")
_LOAD_FROM_BYTES = ("torch.storage", "_load_from_bytes")  # done by ``torch_files``: torch's own runs what it finds

_EXACT: dict[tuple[str, str], Kind] = {
    **pickle_arrays.NAMES,
    **torch_files.TENSOR_NAMES,
    **dict.fromkeys(_TF_CLASSES, "class"),
    _PERSISTENT: "function",
    _LOAD_FROM_BYTES: "function",
}
# Modules that are not of NVIDIA's persistent kind, and the classes around them: inert like all the rest.
NAMES = Names(
    _EXACT, re.compile(r"(torch\.nn\.modules|training|torch_utils\.ops)(\.[a-z_0-9]+)+\.[A-Z]\w*"), "a generator"
)


@dataclass(frozen=True)
class PickledNetwork:
    """One network of a file."""

    form: Literal["tensorflow", "torch"]
    kind: str  # name of the function (TensorFlow) or class (PyTorch) that builds it
    version: int  # of the form
    settings: dict[str, Any]  # keyword arguments that it was made with
    variables: dict[str, np.ndarray]  # by name; those of a component begin with its name and a slash, or a dot
    components: dict[str, "PickledNetwork"] = field(default_factory=dict)  # with the variables' own names


@dataclass(frozen=True)
class PickledFile:
    """A file's networks by their part: G, D and G_ema (which TensorFlow's files call Gs)."""

    path: Path
    size: int  # bytes
    networks: dict[str, PickledNetwork]

    @property
    def form(self) -> str:
        """Which framework wrote it."""
        return next(iter(self.networks.values())).form


def read(path: str | os.PathLike[str]) -> PickledFile:
    """Read the networks of a pickle without running anything that is in it.

    Memory stays within a small multiple of the file's size: arrays are views of its bytes.

    Raises:
        WeightsError: the file is damaged, is none of NVIDIA's, or asks for something that networks do not need; the
            message names it.
    """
    path = expanded(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file.")
    return parse(path.read_bytes(), path)


def parse(data: bytes, path: Path) -> PickledFile:
    """As ``read``, of a file's content; the path is for messages."""
    source = str(path)
    if torch_files.is_torch(data):
        value, storages = torch_files.load(data, NAMES, source)
        return networks_of(value, Tensors(storages, source), path, len(data))
    torch_files.refuse_other_kinds(data, source)
    pickle = pickle_tree.read(data, NAMES, source)
    if pickle.persistents:
        raise WeightsError(f"{source}: asks for data beside the pickle: {describe(pickle.persistents[0].pid)}.")
    pickle_arrays.check_records(pickle.records, len(data), source)
    tensors = Tensors(Storages(len(data), source), source)
    tensors.check(pickle.records)
    return networks_of(pickle.value, tensors, path, len(data))


def networks_of(value: Any, tensors: Tensors, path: Path, size: int) -> PickledFile:
    """The networks in the inert value of a file of ``size`` bytes; raises as ``read``."""
    return PickledFile(path, size, _Networks(str(path), size, tensors).find(value))


class _Networks:
    """Finds the networks in a pickle's value, within limits that no valid file comes near."""

    def __init__(self, source: str, size: int, tensors: Tensors):
        self.source, self.tensors, self.settings = source, tensors, Settings(source)
        self.visits, self.variables, self.bytes = MAX_VISITS, MAX_VARIABLES, pickle_arrays.MAX_OVERLAP * size

    def find(self, value: Any) -> dict[str, PickledNetwork]:
        if _is_tf(value):
            return {"G_ema": self.tensorflow(value)}
        if isinstance(value, tuple | list) and len(value) == 3 and all(map(_is_tf, value)):
            return dict(zip(("G", "D", "G_ema"), map(self.tensorflow, value), strict=True))
        if isinstance(value, Record) and self.is_module(value):
            return {"G_ema": self.torch(value)}
        modules = as_mapping(value) or {}
        networks = {
            name: self.torch(modules[name]) for name in ("G", "D", "G_ema") if self.is_module(modules.get(name))
        }
        if "G_ema" in networks or "G" in networks:
            return networks
        has = f"a dict of {describe(list(modules), 2)}" if modules else describe(value)
        raise WeightsError(
            f"{self.source}: holds {has}; NVIDIA's files hold a tuple (G, D, Gs) of networks, or a dict of G, D, "
            "G_ema; rosinality's hold a dict of state dicts, g_ema among them."
        )

    def visit(self, depth: int, entries: int = 1) -> None:
        self.visits -= entries
        if self.visits < 0 or depth > MAX_MODULE_DEPTH:
            raise WeightsError(f"{self.source}: its networks have components within components without end.")

    def label(self, name: Any) -> str:
        """A name of a variable, a component or a setting; not so long that the sum of many would be large."""
        text = str(name)
        if len(text) > MAX_LABEL:
            raise WeightsError(f"{self.source}: has a name of {len(text):,} letters, {pickle_tree.printable(text)}.")
        return text

    def add_variable(self, variables: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
        self.variables -= 1
        self.bytes -= array.nbytes
        if self.variables < 0 or self.bytes < 0:
            raise WeightsError(f"{self.source}: its networks have more variables than such a file can hold.")
        if name in variables:
            raise WeightsError(f"{self.source}: has the variable {pickle_tree.printable(name)} twice.")
        variables[name] = array

    def tensorflow(self, record: Record, depth: int = 0) -> PickledNetwork:
        self.visit(depth)
        state = as_mapping(record.state)
        if state is None:
            raise WeightsError(f"{self.source}: has a network without a state: {describe(record)}.")
        version = state.get("version")
        if version not in TF_VERSIONS:
            raise WeightsError(
                f"{self.source}: has a network of format version {describe(version)}; versions 2 to 4 are read, and "
                "StyleGAN's is 3."
            )
        components = as_mapping(state.get("components", {}))
        own_variables = state.get("variables")
        if components is None or not isinstance(own_variables, list):
            raise WeightsError(f"{self.source}: has a network whose variables are {describe(own_variables)}.")
        networks = {self.label(name): self.tensorflow(x, depth + 1) for name, x in components.items() if _is_tf(x)}
        if len(networks) != len(components):
            raise WeightsError(
                f"{self.source}: has a component that is no network: {describe(list(components.values()))}."
            )
        variables: dict[str, np.ndarray] = {}
        for pair in own_variables:
            self.variable(variables, pair)
        for part, network in networks.items():
            for name, array in network.variables.items():
                self.add_variable(variables, f"{part}/{name}", array)
        kind = state.get("build_func_name")
        settings = self.plain(state.get("static_kwargs", {}))
        return PickledNetwork("tensorflow", _short(kind), version, settings, variables, networks)

    def variable(self, variables: dict[str, np.ndarray], pair: Any) -> None:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise WeightsError(f"{self.source}: has {describe(pair)} where a variable's name and value should be.")
        name, value = self.label(pair[0]), pair[1]
        array = np.asarray(value) if type(value) in (int, float) else as_array(value, self.source)
        if array is None:
            shown = pickle_tree.printable(name)
            raise WeightsError(f"{self.source}: has {describe(value)} for the variable {shown}; an array is wanted.")
        self.add_variable(variables, name, array)

    def plain(self, settings: Any) -> dict[str, Any]:
        mapping = as_mapping(settings)
        if mapping is None:
            raise WeightsError(
                f"{self.source}: has a network whose settings are {describe(settings)} instead of a dict."
            )
        return {self.label(name): self.settings.plain(value) for name, value in mapping.items()}

    def is_module(self, value: Any) -> bool:
        return isinstance(value, Record) and (value.callee == _PERSISTENT or isinstance(self.state(value), dict))

    def meta(self, record: Record) -> dict[Any, Any]:
        """The data that a persistent object is reconstructed from."""
        meta = as_mapping(record.args[0]) if len(record.args) == 1 else None
        if meta is None or meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
            raise WeightsError(
                f"{self.source}: has a persistent object of {describe(record.args)}, which is no module."
            )
        return meta

    def state(self, record: Record) -> Any:
        """The attributes of a module; None if it has none."""
        state = self.meta(record).get("state") if record.callee == _PERSISTENT else record.state
        state = as_mapping(state)
        return state if state is not None and as_mapping(state.get("_modules")) is not None else None

    def torch(self, record: Record) -> PickledNetwork:
        state = self.state(record)
        if state is None:
            raise WeightsError(f"{self.source}: has {describe(record)} where a module with its state should be.")
        variables: dict[str, np.ndarray] = {}
        version: Any
        components = self.module(record, "", variables, 0)
        version = self.meta(record).get("version") if record.callee == _PERSISTENT else 0
        settings = self.plain(state.get("_init_kwargs", {}))
        version = version if type(version) is int else 0
        return PickledNetwork("torch", self.kind(record), version, settings, variables, components)

    def module(
        self, record: Any, prefix: str, variables: dict[str, np.ndarray], depth: int
    ) -> dict[str, PickledNetwork]:
        """Gather a module's parameters and buffers under its prefix, and those of the modules in it."""
        self.visit(depth)
        state = self.state(record) if isinstance(record, Record) else None
        if state is None:
            raise WeightsError(f"{self.source}: the module {prefix or 'itself'} is {describe(record)}.")
        for table in ("_parameters", "_buffers"):
            entries = as_mapping(state.get(table)) or {}
            self.visit(depth, len(entries))
            for name, value in entries.items():
                name = self.label(name)
                array = self.tensors.array(value)
                if array is None and value is not None:
                    raise WeightsError(f"{self.source}: {prefix}{name} is {describe(value)}; a tensor is wanted.")
                if array is not None:
                    self.add_variable(variables, f"{prefix}{name}", array)
        components: dict[str, PickledNetwork] = {}
        modules = as_mapping(state["_modules"]) or {}
        self.visit(depth, len(modules))
        for name, inner in modules.items():
            name = self.label(name)
            if inner is None:
                continue
            self.module(inner, f"{prefix}{name}.", variables, depth + 1)
            if depth == 0:
                settings = self.plain((self.state(inner) or {}).get("_init_kwargs", {}))
                components[name] = PickledNetwork("torch", self.kind(inner), 0, settings, {})
        return components

    def kind(self, record: Record) -> str:
        return _short(self.meta(record).get("class_name")) if record.callee == _PERSISTENT else record.callee.name


def _short(kind: Any) -> str:
    """The name of a function or class, if it is one."""
    return kind[:MAX_LABEL] if isinstance(kind, str) else ""


def _is_tf(value: Any) -> bool:
    """Whether it is a pickled TensorFlow network, made as an object of its class in whatever protocol."""
    if not isinstance(value, Record):
        return False
    if value.callee.name == "_reconstructor" and value.args:
        return value.args[0] in _TF_CLASSES
    return value.callee in _TF_CLASSES


def shapes(variables: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {name: array.shape for name, array in variables.items()}


def count(variables: dict[str, np.ndarray]) -> int:
    """Numbers in all variables."""
    return sum(math.prod(array.shape) for array in variables.values())
