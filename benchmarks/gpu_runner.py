"""Commands run in turn, each with a time limit, and the records that they leave. Standard library only.

A command that fails, hangs or cannot be started becomes a record; nothing here raises because of it.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT

RESERVE = 8  # seconds at the end that are kept for the table
LEAST = 5.0  # a command is not started with fewer seconds
PATIENCE = 6  # how much longer limits are with --tiny, for a CPU that others use too


class Records:
    """Results: one JSON object a line, written as soon as it is known."""

    def __init__(self, path: Path | None, step: str, seconds: float):
        self.path, self.step = path, step
        self._end = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """Seconds until this process is stopped."""
        return self._end - time.monotonic()

    def add(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"step": self.step, "kind": kind, **rounded(fields)}, default=str)
        print(line, flush=True)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(line + "\n")

    @contextlib.contextmanager
    def guarded(self, kind: str, **fields: Any) -> Iterator[None]:
        """An error inside becomes a record, and what follows goes on."""
        try:
            yield
        except Exception as error:
            self.add(kind, error=short(error), **fields)

    def skips(self, kind: str, needed: float, **fields: Any) -> bool:
        """Whether less time is left than is needed; a record then says so."""
        if late := self.seconds_left() < needed:
            self.add(kind, skipped="no time left", **fields)
        return late


def short(error: BaseException, length: int = 1200) -> str:
    """An exception without pages of a program's text."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return text if len(text) <= length else f"{text[: length - 300]} [...] {text[-300:]}"


def rounded(value: Any) -> Any:
    """Floats with 5 digits, at any depth."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: str  # ok, failed, timeout, killed, skipped
    output: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def result(self) -> dict[str, Any]:
        """The last JSON object that was printed; {} if there is none."""
        for line in reversed(self.output.splitlines()):
            with contextlib.suppress(ValueError):
                if line.startswith("{") and isinstance(result := json.loads(line), dict):
                    return result
        return {}


@dataclass
class Runner:
    """Runs the commands of one check."""

    out: Path  # for results
    seconds: float  # for everything
    tiny: bool = False
    work: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / f"stylegen-gpu-check-{os.getuid()}")
    step: str = ""
    child: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self.work.mkdir(parents=True, exist_ok=True)
        self.results, self.log = self.out / "results.jsonl", self.out / "log.txt"
        self._begin = time.monotonic()
        self._end = self._begin + self.seconds - RESERVE
        self._step_end = self._end

    def begin(self, step: str, seconds: float) -> None:
        """Start a step that may take so long."""
        self.step = step
        self._step_end = min(time.monotonic() + seconds * self.patience, self._end)

    @property
    def patience(self) -> int:
        return PATIENCE if self.tiny else 1

    @property
    def cache(self) -> str:
        """Folder of compiled programs."""
        return os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(self.work / "programs")

    def seconds_left(self) -> float:
        """Seconds that the step has."""
        return self._step_end - time.monotonic()

    def record(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"step": self.step, "kind": kind, **rounded(fields)})
        with self.results.open("a") as file:
            file.write(line + "\n")

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begin:5.0f} s] {text}", flush=True)

    def environment(self) -> dict[str, str]:
        """Environment variables of every command."""
        variables = dict(os.environ)
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), variables.get("PYTHONPATH", "")]))
        variables |= {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "1"}
        return variables | ({"JAX_PLATFORMS": "cpu"} if self.tiny else {})

    def run(
        self,
        name: str,
        command: Sequence[str],
        limit: float,
        *,
        environment: dict[str, str] | None = None,
        stop_after: float | None = None,
        kill_when: Callable[[], bool] | None = None,
    ) -> Ended:
        """Run a command for at most ``limit`` seconds, and no longer than the step has.

        Args:
            name: for the records and the log.
            command: program and arguments.
            limit: seconds after which it is killed.
            environment: variables besides ``environment()``.
            stop_after: seconds after which it gets SIGTERM, and may end by itself.
            kill_when: asked all the time; it is killed once this is true.
        """
        limit = min(limit * self.patience, self.seconds_left())
        if limit < LEAST:
            self.record("command", name=name, skipped="no time left")
            return Ended("skipped")
        path = self.work / f"{re.sub(r'[^a-zA-Z0-9]+', '-', f'{self.step} {name}')[:80]}.txt"
        begin, status = time.monotonic(), "failed"
        try:
            self.child = self._start(command, path, environment or {})
            status = self._wait(self.child, limit, stop_after, kill_when)
        except OSError as error:
            path.write_text(f"{command[0]} cannot be started: {error}\n")
        finally:
            code = self.kill()
        ended = Ended(status, path.read_text(errors="replace"))
        self._report(name, command, ended, code, time.monotonic() - begin)
        return ended

    def _start(self, command: Sequence[str], output: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with output.open("wb") as file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environment() | environment,
                cwd=ROOT,
                start_new_session=True,
            )

    def _wait(
        self,
        child: subprocess.Popen[bytes],
        limit: float,
        stop_after: float | None,
        kill_when: Callable[[], bool] | None,
    ) -> str:
        begin, stopped = time.monotonic(), False
        while child.poll() is None:
            passed = time.monotonic() - begin
            if passed > limit:
                return "timeout"
            if kill_when is not None and kill_when():
                return "killed"
            if stop_after is not None and passed > stop_after and not stopped:
                child.terminate()
                stopped = True
            time.sleep(0.02)
        return "ok" if child.returncode == 0 else "failed"

    def kill(self) -> int | None:
        """End the command that runs, with all that it started; its status."""
        child, self.child = self.child, None
        if child is None:
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold on to it
            child.wait(10)
        return child.returncode

    def _report(self, name: str, command: Sequence[str], ended: Ended, code: int | None, seconds: float) -> None:
        heading = f"===== {self.step}: {name}: {ended.status} ({code}) after {seconds:.1f} s"
        with self.log.open("a") as file:
            file.write(f"\n{heading}\n$ {' '.join(command)}\n{tail(ended.output, 12_000)}\n")
        bad = ended.status in ("failed", "timeout")
        fields = {"code": code, "error": tail(ended.output, 1200)} if bad else {}
        self.record("command", name=name, status=ended.status, seconds=seconds, **fields)
        text = f"\n{tail(ended.output, 600)}" if bad else ""
        self.say(f"{self.step}: {name}: {ended.status}, {seconds:.0f} s{text}")

    def measure(self, verb: str, limit: float, *arguments: str) -> Ended:
        """Run a measurement of ``gpu_steps.py``, which writes its own records."""
        seconds = min(limit * self.patience, self.seconds_left()) - 2
        command = [sys.executable, str(ROOT / "benchmarks" / "gpu_steps.py"), verb, *arguments]
        command += ["--step", self.step, "--results", str(self.results), "--seconds", f"{max(seconds, 1):.0f}"]
        command += ["--cache", self.cache, *(["--tiny"] if self.tiny else [])]
        return self.run(verb, command, limit)


def tail(text: str, length: int) -> str:
    """The end of a text, its long lines cut."""
    lines = [line if len(line) < 1000 else f"{line[:700]} [...] {line[-250:]}" for line in text.splitlines()]
    return "\n".join(lines)[-length:]
