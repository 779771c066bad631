"""The order of the house: which module may import which, and what must never be imported at all.

Read from the sources, so that imports inside functions count too.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom up: a module may import those of the lines above its own, and none of its own line or below.
# "stylegen" is the package's own __init__; "data", "pretrained", "metrics", "evaluation",
# "style_transfer" and "cli" are whole folders.
TIERS = [
    {"convolution", "hlo", "chips"},
    {"config", "ops", "paths", "images", "compiling", "locks", "memory", "meters", "progress", "version"},
    {"layers", "config_json", "losses"},
    {"resampling"},
    {"demodulation", "residual"},
    {"generator", "discriminator"},
    {"augment", "schedule", "distributed", "processes", "data", "state"},
    {"freezing", "warming"},
    {
        "_checkpoint_files",
        "_checkpoint_format",
        "checkpoint",
        "describe",
        "doctor",
        "lazy",
        "pretrained",
        "recovery",
        "run_dir",
        "train_step",
    },
    {"plan", "sampling", "loading", "importing", "video", "metrics", "targets"},
    {"evaluation", "pictures", "transfer", "style_transfer", "projected", "projection_loss"},
    {"projection", "directions", "model_card"},
    {"pivotal_tuning", "editing", "export"},
    {"stylegen"},
    {"train"},
    {"cli"},
]
# Imports within a line, each for a reason.
ALLOWED = {
    ("state", "augment"),  # what adaptive strength remembers is a part of the state
    ("state", "schedule"),  # a generator to sample from needs the stage that it is taken at
    ("discriminator", "generator"),  # the rule for the width of a block, one for both networks; the mapping network
    ("lazy", "train_step"),  # the lazy step of R1, and what the steps have in common
    ("checkpoint", "_checkpoint_format"),  # the latter is a part of the former, apart for its size
    ("checkpoint", "_checkpoint_files"),  # likewise
    ("_checkpoint_files", "_checkpoint_format"),  # whose errors it raises
}
TIER = {module: number for number, tier in enumerate(TIERS) for module in tier}


def sources(folder: str = "stylegen") -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> str:
    """``stylegen/data/__init__.py`` to ``stylegen.data``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit(name: str) -> str:
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


def test_every_module_has_its_place():
    present = {unit(name) for name in MODULES}
    for module in sorted(present - set(TIER)):
        pytest.fail(f"stylegen/{module} is new: give it its place in TIERS of {Path(__file__).name}")
    assert set(TIER) <= present, f"TIERS lists modules that are gone: {sorted(set(TIER) - present)}"
    assert sum(map(len, TIERS)) == len(TIER), "TIERS lists a module twice"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name):
    module = unit(name)
    for target, line in ours(MODULES[name]):
        imported = unit(target)
        if imported == module or (module, imported) in ALLOWED or module not in TIER:
            continue  # within data or cli; test_every_module_has_its_place names what has no place
        assert TIER.get(imported, len(TIERS)) < TIER[module], (
            f"{MODULES[name].relative_to(ROOT)}:{line} imports {target}, which is not below it: "
            f"see TIERS in {Path(__file__).name}"
        )


def test_no_exception_is_stale():
    used = {(unit(name), unit(target)) for name, path in MODULES.items() for target, _ in ours(path)}
    assert used >= ALLOWED


@pytest.mark.parametrize("package", ["data", "cli", "metrics", "pretrained", "evaluation", "style_transfer"])
def test_packages_have_no_circles_within(package):
    inside = {name: path for name, path in MODULES.items() if name.startswith(f"stylegen.{package}.")}
    graph = {name: {target for target, _ in ours(path) if target in inside} for name, path in inside.items()}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(inside)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_imports_another_framework(name):
    for target, line in imports(MODULES[name]):
        top = target.split(".")[0]
        assert top not in ("tensorflow", "torch", "keras"), f"{name}:{line} imports {target}"
        assert top != "orbax" or name == "stylegen.runs.checkpoint", f"{name}:{line}: only checkpoint.py knows orbax"


def test_data_is_host_code():
    """Reader processes start without JAX, and a batch is numpy until it is put on the devices."""
    for name, path in MODULES.items():
        if unit(name) in ("data", "config"):
            assert not {target for target, _ in imports(path) if target.split(".")[0] in ("jax", "flax", "optax")}, name


def test_commands_and_experiments_only_call():
    for path in ROOT.glob("*.py"):
        assert {unit(target) for target, _ in ours(path)} <= {"cli"}, path.name
    for path in (ROOT / "configs").glob("*.py"):
        wanted = "style_transfer" if path.stem == "style_transfer" else "config"
        assert {unit(target) for target, _ in ours(path)} == {wanted}, path.name


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, stylegen, stylegen.config\n"
        "print(*{name.partition('.')[0] for name in sys.modules}"
        " & {'jax', 'flax', 'orbax', 'grain', 'tensorflow_datasets', 'tensorflow', 'numpy', 'PIL', 'tensorboardX'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_training_imports_grain_before_it_has_threads():
    """What replaces ``builtins.__import__`` while it is imported must not be imported while another thread traces."""
    code = "import sys, stylegen.train\nprint('grain' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True"]
