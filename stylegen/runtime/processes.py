"""Several processes that train one run: how they find each other, wait for each other, and end together.

``jax.distributed`` brings them together; collectives are in the compiled programs. All other messages go through the
key-value store of its coordinator, which works while a device waits for one that is gone. With a single process, all
of this does nothing.
"""

import atexit
import itertools
import json
import math
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax

from stylegen.config import Config, DistributedConfig
from stylegen.config_json import LOCAL, differences, from_json, to_json
from stylegen.errors import StylegenError

POLL = 1.0  # seconds between two signs of life
LINGER = 2 * POLL  # seconds that process 0, which holds the messages, stays for the others to read why it ends
SUSPICION = 3 * POLL  # seconds without a sign of life that are enough where a collective has failed
LATER = 30.0  # seconds by which JAX's own watch, which ends processes with a page of C++, is slower than ours
SHARED_TIMEOUT = 60.0  # seconds that a file may take to appear on other hosts; file systems cache for 30
ENDED_BY_OTHERS, USER_ERROR = 1, 2  # exit statuses
FOREVER = 24 * 3600 * 1000  # milliseconds: the watch notices who does not come

# Clusters that JAX recognizes, as it calls them. Kubernetes is not among them: asking it takes a package and rights.
CLUSTERS = {"slurm": "SLURM", "ompi": "Open MPI", "gcetpu": "a TPU pod", "gketpu": "a TPU pod"}

_OMPI_ALONE = ("OMPI_COMM_WORLD_LOCAL_SIZE", "1")  # of one process a node
_message_numbers = itertools.count()  # the same in all processes, because all send the same messages in turn


Value = TypeVar("Value")

_watch: "_Watch | None" = None


class ProcessError(StylegenError):
    """The processes cannot train together; the message says why."""


@dataclass(frozen=True)
class Place:
    """This process among those of a run, and the source of this information."""

    coordinator: str  # host:port
    count: int
    index: int
    local_devices: list[int] | None  # that this process is to use; None: all that it sees
    source: str


def is_main() -> bool:
    """Whether this is process 0, the one that reports and writes files; alone, it is."""
    return jax.process_index() == 0


@contextmanager
def running(config: DistributedConfig) -> Iterator[None]:
    """Be one of several processes, if the configuration or the cluster says so; to be entered before JAX is used.

    An error that leaves this block in one process ends all: the others print it and exit with status 1, wherever they
    are. So does a process that gives no sign of life for ``distributed.timeout`` seconds.

    Within such a block another one does nothing.

    Raises:
        ProcessError: JAX is in use already.
    """
    global _watch
    if _watch is not None:
        yield
        return
    if not jax.distributed.is_initialized():
        place = find_place(config)
        if place is None:
            yield
            return
        _initialize(place, config)
    _watch = watch = _Watch(config.timeout)
    try:
        yield
        barrier()
    except BaseException as error:
        watch.fail(error)
        raise
    finally:
        watch.close()
        _watch = None


@contextmanager
def computing() -> Iterator[None]:
    """A block of collectives: an error there that is none of ours may mean the end of another process.

    Then this process ends here, because the code around the block may wait for the other one for ever.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if _watch is not None and not isinstance(error, StylegenError):
            _watch.suspect()
            _watch.fail(error)
            traceback.print_exc()
            _exit(ENDED_BY_OTHERS)
        raise


def find_place(config: DistributedConfig) -> Place | None:
    """This process's place, from the configuration or the cluster; None if it trains alone."""
    if config.coordinator is not None:
        assert config.num_processes is not None and config.process_id is not None  # checked by Config
        if config.num_processes == 1:
            return None
        return Place(config.coordinator, config.num_processes, config.process_id, None, "--distributed.coordinator")
    if not config.detect:
        return None
    try:
        return _detect(config.start_timeout)
    except Exception as error:  # of a metadata server, or of a future JAX: no reason to refuse a single machine
        _say(
            f"Whether this is one of several processes cannot be found out ({error}); training alone. "
            "If it is not, give --distributed.coordinator, --distributed.num-processes and --distributed.process-id."
        )
        return None


def _detect(timeout: float) -> Place | None:
    # JAX asks clusters only when it joins them, and joining is not for the one process of an interactive shell.
    from jax._src.clusters import ClusterEnv

    for cluster in ClusterEnv._cluster_types:
        if cluster.name not in CLUSTERS or not cluster.is_env_present():
            continue
        count = cluster.get_process_count()
        # A batch script's own shell has the job's number of tasks, but is a step of one.
        if count < 2 or os.environ.get("SLURM_STEP_NUM_TASKS") == "1":
            return None
        port = os.environ.get("JAX_COORDINATOR_PORT")
        address = cluster.get_coordinator_address(timeout_secs=int(timeout), override_coordinator_port=port)
        local = cluster.get_local_process_id()
        # One process a node uses all its devices; of several, each has one. TPUs are divided by their runtime.
        one_each = str(count) == os.environ.get("SLURM_STEP_NUM_NODES") or _OMPI_ALONE in os.environ.items()
        devices = None if local is None or one_each else [local]
        return Place(address, count, cluster.get_process_id(), devices, CLUSTERS[cluster.name])
    return None


def _initialize(place: Place, config: DistributedConfig) -> None:
    """Join the others; end with a sentence if they do not come."""
    identity = f"Process {place.index} of {place.count}, by {place.source}; process 0 is at {place.coordinator}"
    _say(f"{identity}.")
    if place.index == 0:
        try:  # jaxlib would end with a segmentation fault
            socket.create_server(("", int(place.coordinator.rpartition(":")[2]))).close()
        except OSError as error:
            raise ProcessError(f"{identity}, but it cannot listen there: {error}. Give another port.") from error

    def give_up() -> None:
        # JAX itself would abort, with a page of C++.
        _say(
            f"error: not all of {place.count} processes came within {config.start_timeout:g} s. {identity}: start "
            "all of them, with the same coordinator, which all can reach at that port, and each its own process_id."
        )
        os._exit(USER_ERROR)

    deadline = threading.Timer(config.start_timeout, give_up)
    deadline.daemon = True
    deadline.start()
    # It would take SIGTERM for itself, and leaves out Ctrl-C; see sharding.StopVote.
    with suppress(AttributeError):
        jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.count,
            place.index,
            place.local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=math.ceil(config.start_timeout + 60),
            heartbeat_timeout_seconds=math.ceil(config.timeout + LATER),
        )
    except RuntimeError as error:
        raise ProcessError(f"{identity}, but they cannot be joined: {str(error).splitlines()[0]}") from error
    finally:
        deadline.cancel()


def barrier() -> None:
    """Wait until all processes are here."""
    if jax.process_count() > 1:
        _client().wait_at_barrier(f"stylegen/barrier/{next(_message_numbers)}", FOREVER)


def broadcast(value: Value) -> Value:
    """The value of process 0, anything that JSON keeps, in all processes; the others' values do not matter."""
    if jax.process_count() == 1:
        return value
    key = f"stylegen/broadcast/{next(_message_numbers)}"
    if is_main():
        _client().key_value_set(key, json.dumps(value))
        return value
    received: Value = json.loads(_client().blocking_key_value_get(key, FOREVER))
    return received


@contextmanager
def main_first() -> Iterator[None]:
    """Process 0 passes this block first, the others then, all at once."""
    if not is_main():
        barrier()
    yield
    if is_main():
        barrier()


def check_same_config(config: Config) -> None:
    """Raise ProcessError if this process has other settings than process 0, but for those of a machine."""
    changes = differences(from_json(broadcast(to_json(config))), config, LOCAL)
    if changes:
        listed = "\n  ".join(changes)
        raise ProcessError(f"Not all processes have the same settings. Process 0 -> {_name()}:\n  {listed}")


def check_shared(folder: Path, prefix: str) -> None:
    """Raise ProcessError if this process does not see a file, of a name with this prefix, that process 0 writes."""
    if jax.process_count() == 1:
        return
    token = folder / (prefix + broadcast(secrets.token_hex(8)))
    if is_main():
        for old in folder.glob(f"{prefix}*"):  # of a run that ended while it looked
            old.unlink()
        token.touch()
    barrier()
    deadline = time.monotonic() + SHARED_TIMEOUT
    while not (folder.is_dir() and token.name in os.listdir(folder)):
        # A folder that is not there will not come; a file may be known to the server and not here yet.
        if not folder.is_dir() or time.monotonic() > deadline:
            raise ProcessError(
                f"run.dir = {str(folder)!r}: {_name()} does not see what process 0 writes there. "
                "Give a folder on a file system that all hosts share."
            )
        time.sleep(POLL)
    barrier()
    if is_main():
        token.unlink()


class _Watch:
    """Ends this process, with a sentence, when another one has failed or gives no sign of life.

    It runs in a thread of its own and does not use a collective, because a collective is exactly what the main thread
    may be stuck in.
    """

    def __init__(self, timeout: float):
        self._timeout = timeout
        self._topic = f"stylegen/watch/{next(_message_numbers)}"
        # Process 0 watches the others: the last sign of life of each, and when it came.
        self._last = {index: ("", time.monotonic()) for index in range(1, jax.process_count())}
        self._polled = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def suspect(self) -> None:
        """Wait until it must be known whether another process is dead."""
        if is_main():
            self._timeout = min(self._timeout, SUSPICION)
        time.sleep(self._timeout + 2 * POLL)

    def fail(self, error: BaseException) -> None:
        """Let all others end with an error's message, and this process without waiting for them."""
        self.close()
        message = str(error).strip() or type(error).__name__
        with suppress(RuntimeError):
            _client().key_value_set(f"{self._topic}/failed/{jax.process_index()}", f"{_name()} failed: {message}")
        if is_main():
            time.sleep(LINGER)
        # Else JAX would wait, as Python ends, for those that are gone. Python ends with 2 after an error's sentence, of
        # which it knows nothing, and with 1 after a traceback.
        atexit.register(lambda: _exit(1 if hasattr(sys, "last_type") else USER_ERROR))

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        polls = 0
        while not self._closed.wait(POLL):
            polls += 1
            try:
                if not is_main():
                    _client().key_value_set(f"{self._topic}/alive/{jax.process_index()}", str(polls), True)
                failures = _client().key_value_dir_get(f"{self._topic}/failed/")
                why = sorted(text for _, text in failures) or (self._dead() if is_main() else [])
            except RuntimeError as error:
                why = [f"Process 0 is gone ({str(error).splitlines()[0]}); see what it wrote last."]
            if why and not self._closed.is_set():
                self._end(why[0])

    def _dead(self) -> list[str]:
        """The message about processes that give no sign of life, if any."""
        alive = {
            int(key.rpartition("/")[2]): sign for key, sign in _client().key_value_dir_get(f"{self._topic}/alive/")
        }
        now = time.monotonic()
        # Where this process stood still, or its host, nobody's time counts.
        stalled, self._polled = now - self._polled > SUSPICION, now
        for index, (sign, _) in self._last.items():
            if stalled or alive.get(index, "") != sign:
                self._last[index] = alive.get(index, ""), now
        dead = {index: now - since for index, (_, since) in self._last.items() if now - since > self._timeout}
        if not dead:
            return []
        why = (
            f"Process {', '.join(map(str, dead))} of {jax.process_count()} has given no sign of life for "
            f"{max(dead.values()):.0f} s: it was killed, or its host or network is down."
        )
        _client().key_value_set(f"{self._topic}/failed/0", why)
        return [why]

    def _end(self, why: str) -> None:
        _say(f"error: {why}\n{_name().capitalize()} ends too. Start all again to go on from the last checkpoint.")
        if is_main():
            time.sleep(LINGER)
        _exit(ENDED_BY_OTHERS)


def _name() -> str:
    return f"process {jax.process_index()} ({socket.gethostname()}, pid {os.getpid()})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _exit(status: int) -> None:
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _client() -> Any:
    # JAX offers the store of its coordinator to its own extensions only; orbax takes it from here too.
    from jax._src import distributed

    return distributed.global_state.client
