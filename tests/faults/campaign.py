"""A fault at the n-th change of a file: what is there afterwards, and after the same work is done again.

Every attempt is a fork of one process that has imported everything and started no thread.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stylegen.cli import common
from stylegen.errors import StylegenError
from tests.faults import shim
from tests.faults.scenarios import Scenario

SECONDS = 120.0  # after which an attempt hangs
RETRIES = 4  # of a point that lies beyond the last change: how many there are depends on the timing of threads


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one point."""

    kind: str  # recovered, said, lost; or missed, where the work had fewer changes this time
    text: str  # the change at which it happened, and why it is lost


def forked(work: Callable[[], Any], output: Path, seconds: float = SECONDS) -> tuple[int | None, Any]:
    """The result of ``work`` in a child process, and how it ended: its status, minus a signal, None if it hung."""
    answer = output.with_suffix(".json")
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if (child := os.fork()) == 0:
        status = 99
        try:
            number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(number, 1), os.dup2(number, 2)
            status = 0
            answer.write_text(json.dumps(work()))
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            status = 99
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, None
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    return code, json.loads(answer.read_text()) if answer.exists() else None


class Checker:
    """A process that stays: it looks at what a disturbed one left, does the work again, and looks once more."""

    def __init__(self, scenario: Scenario, place: Path, output: Path):
        """``place`` is the folder that it looks at, ``output`` the file that gets what it says."""
        self.output = output
        self._connection, other = multiprocessing.Pipe()
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            self._connection.close()
            self._serve(scenario, place, other)
            os._exit(0)
        other.close()
        self._child = child

    def _serve(self, scenario: Scenario, place: Path, requests: Connection) -> None:
        number = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(number, 1), os.dup2(number, 2)
        with contextlib.suppress(EOFError):
            while requests.recv():
                os.truncate(self.output, 0)
                try:
                    first = look(scenario, place)
                    status = common.run(lambda: scenario.act(place))
                    requests.send([first, status, look(scenario, place)])
                except BaseException:
                    requests.send(traceback.format_exc())

    def check(self, seconds: float = SECONDS) -> Any:
        """What was found, the status of the work when done again, and what is found then; a text if that failed."""
        try:
            self._connection.send(True)
            return self._connection.recv() if self._connection.poll(seconds) else "it hangs"
        except (EOFError, OSError):
            return "it was ended"

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def look(scenario: Scenario, place: Path) -> list[str]:
    """What a reader finds in a folder."""
    try:
        return ["found", scenario.look(place)]
    except StylegenError as error:
        return ["refused", str(error)]


class Campaign:
    """All points of one scenario and one fault."""

    def __init__(self, scenario: Scenario, folder: Path):
        """``folder`` is for everything that is written."""
        self.scenario, self.folder = scenario, folder
        self.start, self.place, self.output = folder / "before", folder / "work", folder / "output.txt"
        self.record = folder / "record.txt"
        self._checker: Checker | None = None
        self._undisturbed()

    def _act(self, fault: shim.Fault | None, at: int) -> Callable[[], int]:
        def work() -> int:
            def armed() -> None:
                shim.arm(fault, at, self.place, self.record)
                try:
                    self.scenario.act(self.place)
                finally:
                    self.num_changes = shim.disarm()

            status = common.run(armed)
            if fault is not None and status:
                sys.exit(status)
            return self.num_changes

        return work

    def _names(self) -> set[str]:
        """All files and folders; names that are drawn by chance, those of OCDBT and TensorBoard, come without it."""
        names = (str(path.relative_to(self.place)) for path in self.place.rglob("*"))
        return {re.sub(r"[0-9a-f]{32}|(?<=tfevents\.)[^/]*", "*", name) for name in names}

    def _fresh(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.start, self.place, symlinks=True)
        self.record.unlink(missing_ok=True)

    def _undisturbed(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.start, ignore_errors=True)
        self.start.mkdir()
        status, _ = forked(lambda: self.scenario.before(self.start), self.output, 600)
        assert status == 0, self.output.read_text()
        self._fresh()
        self.old = forked(lambda: look(self.scenario, self.place), self.output)[1]
        self.num_changes = 0
        for _ in range(2):  # the first one compiles
            self._fresh()
            status, self.changes = forked(self._act(None, 0), self.output, 600)
            assert status == 0, self.output.read_text()
        self.new = forked(lambda: look(self.scenario, self.place), self.output)[1]
        assert self.new[0] == "found" and self.new != self.old, (self.old, self.new)
        self.names = self._names()

    def points(self, most: int, seed: int = 0) -> list[int]:
        """Changes to disturb: all, or so many, evenly spread, with a shift that depends on the seed."""
        if self.changes <= most:
            return list(range(1, self.changes + 1))
        step = self.changes / most
        shift = random.Random(seed).random()
        return sorted({min(int((i + shift) * step) + 1, self.changes) for i in range(most)})

    def attempt(self, fault: shim.Fault, at: int) -> Outcome:
        """One point; if the work had fewer changes this time, it is done again and disturbed as far along its way."""
        outcome = Outcome("missed", "")
        for _ in range(RETRIES):
            outcome = self._attempt(fault, at)
            if outcome.kind != "missed":
                break
            at = max(1, at * self.num_changes // max(self.changes, at))
        return outcome

    def _attempt(self, fault: shim.Fault, at: int) -> Outcome:
        self._fresh()
        status, counted = forked(self._act(fault, at), self.output)
        said = self.output.read_text(errors="replace")
        if fault.cuts:
            shim.cut_power(self.place, self.record)
        changes = self.record.read_text().splitlines() if self.record.exists() else []
        if not changes and status == 0:
            self.num_changes = counted
            return Outcome("missed", f"{at}: beyond the last change")
        where = changes[0].removeprefix("change ").replace(str(self.place), "") if changes else str(at)
        if problem := self._judge_end(fault, status, said):
            return Outcome("lost", f"{where}: {problem}")
        if self._checker is None:
            self._checker = Checker(self.scenario, self.place, self.folder / "again.txt")
        answer = self._checker.check()
        again = self._checker.output.read_text(errors="replace")
        if isinstance(answer, str):
            self.close()
            return Outcome("lost", f"{where}: afterwards, the same work: {answer} {again[-1500:]}")
        has_said = status == common.USER_ERROR or "could not be written" in said
        if status == 0 and not has_said and answer[0] != self.new:
            return Outcome("lost", f"{where}: ends well, but has not done its work: {answer[0]}")
        return self._judge_files(where, answer, has_said, again)

    def _judge_files(self, where: str, answer: list[Any], has_said: bool, again: str) -> Outcome:
        """The outcome, by what a reader found, the status of the repeated work, and what a reader found then."""
        first, repeated, last = answer
        if first[0] == "found" and first not in (self.old, self.new) and not self.scenario.steps:
            return Outcome("lost", f"{where}: a reader finds neither the old nor the new")
        if first[0] == "refused" and self.old[0] == "found":
            return Outcome("lost", f"{where}: what was there before is gone: {first[1]}")
        if repeated != 0:
            kind = "said" if first[0] == "found" else "lost"
            return Outcome(kind, f"{where}: the same work is refused: {again[-1000:]}")
        if last != self.new:
            return Outcome("lost", f"{where}: the repeated work ends with something else: {last}")
        if strange := self._strange():
            return Outcome("lost", f"{where}: left behind: {', '.join(strange[:5])}")
        return Outcome("said" if has_said else "recovered", where)

    def _judge_end(self, fault: shim.Fault, status: int | None, said: str) -> str:
        """What was wrong with how the disturbed work ended; empty if nothing was."""
        if status is None:
            return f"hangs: {said[-1000:]}"
        if fault.ends:
            return "" if status == -signal.SIGKILL else f"ends with {status}: {said[-1500:]}"
        if status not in (0, common.USER_ERROR) or "Traceback" in said:
            return f"ends with {status}: {said[max(0, said.find('Traceback')) :][:3000]} [...] {said[-500:]}"
        if status == common.USER_ERROR and ("error: " not in said or not any(w in said for w in ("/", "kimg"))):
            return f"a sentence that names nothing: {said[-500:]}"
        return ""

    def _strange(self) -> list[str]:
        allowed = self.scenario.leaves
        return sorted(name for name in self._names() - self.names if not _is_or_in(Path(name), allowed))

    def close(self) -> None:
        """End the process that checks."""
        if self._checker is not None:
            self._checker.close()
            self._checker = None

    def run(self, fault: shim.Fault, points: list[int]) -> Iterator[tuple[int, Outcome]]:
        """All points, one after the other."""
        try:
            for at in points:
                yield at, self.attempt(fault, at)
        finally:
            self.close()


def _is_or_in(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(part.match(pattern) for part in (path, *path.parents) for pattern in patterns)
