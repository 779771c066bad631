"""The order of the house: which module may import which, and what must never be imported at all.

Read from the sources, so that imports inside functions count too.
"""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up: a room, or a file beside the rooms, may import those of the lines above its own, and within a room
# there are no circles. "stylegen" is the package's own __init__.
ROOMS = [
    {"errors", "paths", "shapes", "values"},
    {"config", "version", "array_types", "untrusted"},
    {"config_json", "convolution", "io", "formats", "sphere"},
    {"ops", "runtime", "data", "pretrained"},
    {"networks"},
    {"sampling", "training", "metrics"},
    {"runs"},
    {"evaluation", "projection", "style_transfer", "nvidia"},
    {"editing", "export", "hub"},
    {"train", "explorer"},
    {"stylegen"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}


def sources(folder: str = "stylegen") -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> str:
    """``stylegen/data/__init__.py`` to ``stylegen.data``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The module that TIERS lists, of a dotted name: ``stylegen.data.raw.lsun`` is of ``data``."""
    return name.split(".")[1] if "." in name else name


MODULES = {dotted(path): path for path in sources()}


def imports(path: Path) -> list[tuple[str, int]]:
    """(dotted name, line) of all that a file imports, wherever in it."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; name the module in full"
            for alias in node.names:
                # ``from stylegen import ops`` is of the module ops, ``from stylegen.ops import lerp`` as well.
                whole = f"{node.module}.{alias.name}"
                found.append((whole if whole in MODULES else str(node.module), node.lineno))
    return found


def ours(path: Path) -> list[tuple[str, int]]:
    return [(name, line) for name, line in imports(path) if name.split(".")[0] == "stylegen"]


def test_every_module_is_in_a_room():
    present = {room(name) for name in MODULES}
    for new in sorted(present - set(FLOOR)):
        pytest.fail(
            f"stylegen/{new} is new: put it into a room, or give it its place in ROOMS of {Path(__file__).name}"
        )
    assert set(FLOOR) <= present, f"ROOMS lists what is gone: {sorted(set(FLOOR) - present)}"
    assert sum(map(len, ROOMS)) == len(FLOOR), "ROOMS lists a room twice"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name):
    for target, line in ours(MODULES[name]):
        here, there = room(name), room(target)
        assert here == there or FLOOR[there] < FLOOR[here], (
            f"{MODULES[name].relative_to(ROOT)}:{line} imports {target}, which is not below it: "
            f"see ROOMS in {Path(__file__).name}"
        )


def test_rooms_have_no_circles():
    """Of all modules, so within each room too; a room's __init__ may show what its files hold."""
    graph = {name: {target for target, _ in ours(path) if target != name} for name, path in MODULES.items()}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_imports_another_framework(name):
    for target, line in imports(MODULES[name]):
        top = target.split(".")[0]
        assert top not in ("tensorflow", "torch", "keras"), f"{name}:{line} imports {target}"
        assert top != "orbax" or f"{name}.".startswith("stylegen.runs.checkpoint."), (
            f"{name}:{line}: only the folder runs/checkpoint/ knows orbax"
        )


def test_only_the_networks_put_a_generator_together():
    """All others call it: ``G.mapping``, ``G.synthesis``."""
    for path in [*sources(), *sources("benchmarks"), *sources("studies")]:
        if room(dotted(path)) != "networks":
            assert not re.search(r"nnx\.merge|\.graphdef\b", path.read_text()), path.name


def test_data_is_host_code():
    """Reader processes start without JAX, and a batch is numpy until it is put on the devices."""
    for name, path in MODULES.items():
        if room(name) in ("data", "config"):
            assert not {target for target, _ in imports(path) if target.split(".")[0] in ("jax", "flax", "optax")}, name


def test_commands_and_experiments_only_call():
    for path in ROOT.glob("*.py"):
        assert {room(target) for target, _ in ours(path)} <= {"cli"}, path.name
    for path in (ROOT / "configs").glob("*.py"):
        wanted = "style_transfer" if path.stem == "style_transfer" else "config"
        assert {room(target) for target, _ in ours(path)} == {wanted}, path.name


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, stylegen, stylegen.config\n"
        "print(*{name.partition('.')[0] for name in sys.modules}"
        " & {'jax', 'flax', 'orbax', 'grain', 'tensorflow_datasets', 'tensorflow', 'numpy', 'PIL', 'tensorboardX'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_reading_a_command_line_imports_nothing_heavy():
    """So that --help, and an error in an option, come at once."""
    heavy = {"jax", "flax", "orbax", "grain", "tensorflow_datasets", "starlette", "onnx"}
    code = (
        "import importlib, sys\n"
        "from stylegen.cli import VERBS\n"
        "for verb in VERBS:\n"
        "    importlib.import_module(f'stylegen.cli.{verb}')\n"
        f"    found = sorted({{name.partition('.')[0] for name in sys.modules}} & {heavy!r})\n"
        "    assert not found, f'{verb} imports {found}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]


def test_training_imports_grain_before_it_has_threads():
    """What replaces ``builtins.__import__`` while it is imported must not be imported while another thread traces."""
    code = "import sys, stylegen.train\nprint('grain' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True"]
