"""Importing the package changes nothing in the program that imports it."""

import json
import subprocess
import sys

from tests.support.paths import ROOT
from tests.test_imports import MODULES, imports

PRELUDE = """
import importlib, json, logging, multiprocessing, os, signal, sys, threading, warnings

def bring_in(names):
    for name in names:
        while name:  # of ``jax.sharding.Mesh``, which is no module, the longest part that is one and is here
            try:
                importlib.import_module(name)
                break
            except ImportError:
                name = name.rpartition(".")[0]

def effects():
    import jax, numpy, PIL.Image
    loggers = {name: logging.getLogger(name) for name in ("", "absl", "jax", "orbax")}
    return {
        "os.environ": dict(os.environ),
        "sys.path": list(sys.path),
        "jax.config": {name: repr(value) for name, value in jax.config.values.items()},
        "warnings.filters": [repr(one) for one in warnings.filters],
        "logging": {
            name: [logger.level, logger.propagate, logger.disabled, repr(logger.filters), repr(logger.handlers)]
            for name, logger in loggers.items()
        },
        "hooks": [repr(hook) for hook in (sys.unraisablehook, sys.excepthook, threading.excepthook, sys.displayhook)],
        "signals": {name: repr(signal.getsignal(getattr(signal, name))) for name in ("SIGTERM", "SIGINT", "SIGALRM")},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "numpy": [numpy.geterr(), repr(numpy.get_printoptions())],
        "PIL": PIL.Image.MAX_IMAGE_PIXELS,
        "others": [sys.getrecursionlimit(), multiprocessing.get_start_method(allow_none=True), os.getcwd()],
    }

def changed(before):
    after = effects()
    return {name: [before[name], after[name]] for name in before if before[name] != after[name]}
"""


def run(code: str) -> dict[str, list]:
    done = subprocess.run([sys.executable, "-c", PRELUDE + code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_importing_every_module_changes_nothing():
    """What other packages change as they are imported is theirs: they are imported first."""
    others = sorted({target for path in MODULES.values() for target, _ in imports(path) if "stylegen" not in target})
    code = f"""
bring_in({others!r})
before = effects()
for name in {sorted(MODULES)!r}:
    importlib.import_module(name)
print(json.dumps(changed(before)))
"""
    assert run(code) == {}


def test_a_checkpointer_puts_back_what_it_changes(tmp_path):
    code = f"""
from stylegen.config import Config
from stylegen.runs.checkpoint import Checkpointer
first = Checkpointer({str(tmp_path / "a")!r}, Config(), keep_last=1)
first.close()  # orbax has set itself up
before = effects()
first, second = (Checkpointer({str(tmp_path)!r} + name, Config(), keep_last=1) for name in "ab")
inside = changed(before)
first.close()
still = changed(before)
second.close()
print(json.dumps([sorted(inside), sorted(still), sorted(changed(before))]))
"""
    inside, still, after = run(code)
    assert {"hooks", "logging"} <= set(inside)
    assert {"hooks", "logging"} <= set(still), "until the last one is closed, in whatever order"
    assert set(after) <= {"threads"}, "orbax keeps those of its pools"
