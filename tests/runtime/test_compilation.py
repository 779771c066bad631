"""Compiler options that exist, and programs that are ready when they are needed."""

import os
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from stylegen.convolution import tracing_for
from stylegen.runtime import compilation
from stylegen.runtime.compilation import CompileAhead
from tests.support.paths import ROOT


@pytest.mark.parametrize("platform, ahead", [("cpu", True), ("tpu", True), ("gpu", False)])
def test_a_gpu_that_trains_is_not_compiled_for_unless_asked(monkeypatch, platform, ahead):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert compilation.compiles_ahead(None) is ahead
    assert compilation.compiles_ahead(True) is True and compilation.compiles_ahead(False) is False


def test_the_compiler_takes_the_options():
    options = compilation.compiler_options()
    double = jax.jit(lambda x: 2 * x, compiler_options=options)
    assert double(jnp.float32(3)) == 6


@pytest.fixture
def options(monkeypatch):
    """Other options by platform, tried out anew."""

    uncached = compilation._supported_options.__wrapped__

    def use(**by_platform):
        monkeypatch.setattr(compilation, "_OPTIONS", by_platform)
        monkeypatch.setattr(compilation, "_supported_options", uncached)

    return use


def test_options_that_the_compiler_does_not_know_are_left_out(options):
    options(cpu={"xla_no_such_option": "1", "xla_cpu_enable_fast_math": "False"})
    assert compilation.compiler_options() == {"xla_cpu_enable_fast_math": "False"}
    options(cpu={"xla_no_such_option": "1"})
    assert compilation.compiler_options() is None


def test_options_are_those_of_the_platform(options):
    options(cpu={"xla_cpu_enable_fast_math": "False"}, gpu={"xla_gpu_autotune_level": "0"})
    with tracing_for("gpu"):
        assert compilation.compiler_options() == {"xla_gpu_autotune_level": "0"}
    with tracing_for("tpu"):
        assert compilation.compiler_options() is None


def test_the_compiler_takes_the_options_of_a_gpu_too():
    with tracing_for("gpu"):
        options = compilation.compiler_options()
    assert options == compilation._OPTIONS["gpu"]


def test_programs_are_kept_in_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation.default_cache_dir() == tmp_path / "stylegen" / "xla"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert compilation.default_cache_dir() == tmp_path / "home" / ".cache" / "stylegen" / "xla"


def test_a_cache_folder_that_jax_was_given_is_kept(monkeypatch, tmp_path):
    changed = {}
    monkeypatch.setattr(jax.config, "update", lambda name, value: changed.update({name: value}))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    for folder, expected in ((None, tmp_path / "jax"), (str(tmp_path / "own"), tmp_path / "own")):
        assert compilation.use_cache(folder) is None
        assert changed["jax_compilation_cache_dir"] == str(expected)


def test_no_folder_is_no_cache(monkeypatch):
    changed = []
    monkeypatch.setattr(jax.config, "update", lambda *setting: changed.append(setting))
    compilation.use_cache("")
    assert changed == []


def test_a_second_process_finds_the_programs_of_the_first(tmp_path):
    folder = tmp_path / "cache"
    code = f"""
import jax
from stylegen.runtime.compilation import use_cache
use_cache({str(folder)!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if "cache_hit" in event else None)
jax.jit(lambda x: x * 2 + 1)(1.0)
print(len(hits))
"""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command, root = [sys.executable, "-c", code], ROOT

    def run():
        process = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True)
        return int(process.stdout)

    assert run() == 0 and any(folder.iterdir())
    assert run() > 0


class Lowered:
    """What jit(...).lower(...) gives, as far as compiling needs it; waits until it may compile."""

    def __init__(self, key, compiled, may_compile):
        self.key, self.compiled, self.may_compile = key, compiled, may_compile

    def compile(self):
        assert self.may_compile.wait(10)
        if self.key < 0:
            raise RuntimeError(f"cannot compile {self.key}")
        self.compiled.append(self.key)
        return f"program {self.key}"


@pytest.fixture
def ahead():
    """A CompileAhead, the keys that it has compiled, and the event that lets it compile."""
    compiled, may_compile = [], threading.Event()
    programs = CompileAhead(lambda key: Lowered(key, compiled, may_compile))
    yield programs, compiled, may_compile
    may_compile.set()
    programs.close()


def test_programs_are_compiled_in_the_background_and_once(ahead):
    programs, compiled, may_compile = ahead
    programs.start(1)
    programs.start(1)
    assert compiled == []
    may_compile.set()
    assert programs.get(1) == programs.get(1) == "program 1"
    assert compiled == [1]


def test_a_program_that_was_not_started_is_compiled_when_needed(ahead):
    programs, compiled, may_compile = ahead
    may_compile.set()
    assert programs.get(2) == "program 2" and compiled == [2]


def test_errors_of_compiling_are_raised_where_the_program_is_needed(ahead):
    programs, compiled, may_compile = ahead
    may_compile.set()
    programs.start(-1)
    assert programs.get(2) == "program 2"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot compile -1"):
            programs.get(-1)


def test_errors_of_lowering_are_raised_too():
    def lower(key):
        raise ValueError(f"no program {key}")

    programs = CompileAhead(lower)
    programs.start(1)
    with pytest.raises(ValueError, match="no program 1"):
        programs.get(1)
    programs.close()


def test_programs_of_stages_that_are_over_are_freed(ahead):
    programs, compiled, may_compile = ahead
    may_compile.set()
    programs.get(1), programs.get(2)
    programs.forget_all_but({2})
    programs.get(2), programs.get(1)
    assert compiled == [1, 2, 1]


def test_what_still_compiles_is_not_forgotten(ahead):
    programs, compiled, may_compile = ahead
    programs.start(1)
    programs.forget_all_but({2})
    may_compile.set()
    programs.get(1)
    assert compiled == [1]


def test_closing_waits_for_nothing_and_starts_nothing(ahead):
    programs, compiled, may_compile = ahead
    programs.start(1)
    while not programs.running():
        time.sleep(0.001)
    programs.start(2)
    programs.close()  # would hang here if it waited: nothing may compile yet
    assert programs.running()
    may_compile.set()
    with pytest.raises(RuntimeError):
        programs.start(3)
    assert programs.get(1) == "program 1"
    assert compiled == [1] and not programs.running()


def test_other_work_is_done_after_what_was_started():
    finished = []
    ahead = CompileAhead[str](lambda key: jax.jit(lambda x: x + 1).lower(jnp.zeros(3)))
    ahead.start("a")
    ahead.run(lambda: finished.append(ahead.ready("a") is not None))
    assert ahead.trouble(wait=True) == [] and finished == [True]
    ahead.close()


def test_a_program_is_ready_once_it_is_compiled(ahead):
    programs, _, may_compile = ahead
    assert programs.ready(1) is None
    programs.start(1)
    assert programs.ready(1) is None
    may_compile.set()
    assert programs.get(1) == programs.ready(1) == "program 1"
    programs.forget_all_but({2})
    assert programs.ready(1) is None
    programs.close()


def test_what_other_work_raised_is_said_once():
    ahead = CompileAhead[str](lambda key: None)
    ahead.run(lambda: None)
    ahead.run(lambda: [].pop())
    assert ahead.trouble(wait=True) == ["IndexError: pop from empty list"]
    assert ahead.trouble(wait=True) == []
    ahead.close()
