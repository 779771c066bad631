"""Compiling programs: precision, options by platform, the cache on disk, compiling ahead in the background."""

import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp

from stylegen.convolution import target_platform
from stylegen.paths import expanded

Function = TypeVar("Function", bound=Callable[..., Any])
Key = TypeVar("Key")
Result = TypeVar("Result")

_OPTIONS = {
    # XLA's own weight gradients of convolutions are slow on a CPU; with this it calls YNNPACK for products and sums.
    # The gradient of a 3x3 convolution of [32, 32, 32, 64] takes 26 ms instead of 574, a step of 32 pixels and 32
    # channels half as long. Elementwise fusions are slower there. (Two EPYC cores, jax 0.10.2, 2026-11-22.)
    "cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"},
    # XLA makes one call of cuDNN of a convolution and what is added to it. That gains nothing here: a leaky ReLU
    # follows in a kernel of its own anyway, and noise is first written with all channels for that call. In some
    # versions cuDNN finds no algorithm for it (jax-ml/jax issue 37922).
    "gpu": {"xla_disable_hlo_passes": "cudnn-fused-convolution-rewriter"},
}


def compiler_options() -> dict[str, str] | None:
    """XLA options for the platform that is traced for, for ``jax.jit(compiler_options=...)``; None is the defaults."""
    platform = target_platform()
    return _supported_options(platform) if platform in _OPTIONS else None


@functools.cache
def _supported_options(platform: str) -> dict[str, str] | None:
    """The options that this version of XLA knows: options come and go, and results are right without them."""
    supported: dict[str, str] = {}
    for name, value in _OPTIONS[platform].items():
        try:
            jax.jit(lambda x: x + 1, compiler_options={name: value})(jnp.zeros(()))
        except jax.errors.JaxRuntimeError:
            continue
        supported[name] = value
    return supported or None


def at_precision(precision: str) -> Callable[[Function], Function]:
    """Decorator for a function that is traced: the precision of all its float32 products and convolutions.

    It stands below ``jax.jit`` and takes effect while the function is traced, so a call costs nothing. Derivatives
    taken inside the function have the same precision, those by the rules of ``convolution`` too.

    Args:
        precision: a name that ``jax.default_matmul_precision`` knows, such as one of ``config.Config.precision``.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with jax.default_matmul_precision(precision):
                return function(*args, **kwargs)

        return traced  # type: ignore[return-value]

    return decorate


class Jitted(Generic[Result]):
    """A function under ``jax.jit`` with a precision and ``compiler_options()``, made at the first call.

    Not before, because the options are known only when the devices are, and importing must not start them.
    """

    def __init__(self, function: Callable[..., Result], precision: str | None, options: dict[str, Any]):
        functools.update_wrapper(self, function)
        self._function = function
        self._precision = precision
        self._options = options
        self._compiled: dict[str | None, Any] = {}

    @property
    def jitted(self) -> Any:
        """The result of ``jax.jit``."""
        return self.at(self._precision)

    def at(self, precision: str | None) -> Any:
        """The same function at another precision; None is that of JAX's own settings."""
        if precision not in self._compiled:
            function = self._function if precision is None else at_precision(precision)(self._function)
            self._compiled[precision] = jax.jit(function, compiler_options=compiler_options(), **self._options)
        return self._compiled[precision]

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        return self.jitted(*args, **kwargs)


def jit(*, precision: str | None = "highest", **options: Any) -> Callable[[Callable[..., Result]], Jitted[Result]]:
    """Decorator: ``jax.jit`` with these options, a precision and the compiler options of the platform.

    The precision is that of ``at_precision``; with None, JAX's own settings decide.
    """
    return lambda function: Jitted(function, precision, options)


def default_cache_dir() -> Path:
    """The default folder of compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylegen" / "xla"


def use_cache(folder: str | None) -> str | None:
    """Keep compiled programs in a folder (None: JAX_COMPILATION_CACHE_DIR or the user's cache folder; "": nowhere).

    Returns:
        Why it cannot be used, if so: compiling works without.
    """
    if folder == "":
        return None
    try:
        path = expanded(folder or os.environ.get("JAX_COMPILATION_CACHE_DIR") or default_cache_dir())
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        return f"compiled programs are not kept: {error}"
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Everything: a run starts with many programs that take a tenth of a second each.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return None


def compiles_ahead(configured: bool | None) -> bool:
    """Whether to compile in the background while a program runs on the device; None is by platform.

    Not on a GPU: XLA chooses kernels there by timing candidates on the card. Beside a training step both would be slow,
    candidates that find no memory left would not be tried, and the chosen kernels stay for the whole stage and in the
    caches on disk. The same compilation before the stage begins takes as long, once, on an idle card.
    """
    return jax.default_backend() != "gpu" if configured is None else configured


class CompileAhead(Generic[Key]):
    """Programs by key, compiled in the background before they are needed.

    ``lower`` gives the lowered program for a key; it is called in the background too.
    """

    def __init__(self, lower: Callable[[Key], Any]):
        self._lower = lower
        # One at a time: a compilation takes all cores by itself.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._programs: dict[Key, Future[Any]] = {}
        self._seconds: dict[Key, float] = {}
        self._jobs: list[Future[Any]] = []

    def start(self, key: Key) -> None:
        """Begin compiling, unless that has begun."""
        if key not in self._programs:
            self._programs[key] = self._pool.submit(self._compile, key)

    def _compile(self, key: Key) -> Any:
        started = time.perf_counter()
        program = self._lower(key).compile()
        self._seconds[key] = time.perf_counter() - started
        return program

    def get(self, key: Key) -> Any:
        """The compiled program, waiting for it if need be. Raises what compiling raised."""
        self.start(key)
        return self._programs[key].result()

    def ready(self, key: Key) -> Any | None:
        """The compiled program; None if it is not compiled yet, or no more."""
        program = self._programs.get(key)
        return program.result() if program is not None and program.done() else None

    def run(self, function: Callable[[], Any]) -> None:
        """Call a function in the background, after what has been started: one that compiles by being called.

        Should it fail, ``trouble`` says so.
        """
        self._jobs.append(self._pool.submit(function))

    def trouble(self, wait: bool = False) -> list[str]:
        """Errors of the functions given to ``run`` that have ended; each is reported once."""
        finished = [job for job in self._jobs if wait or job.done()]
        self._jobs = [job for job in self._jobs if job not in finished]
        raised = [job.exception() for job in finished if not job.cancelled()]
        return [f"{type(error).__name__}: {error}" for error in raised if error is not None]

    def wait(self) -> dict[Key, float]:
        """Wait for all that was started; the seconds that tracing and compiling each program took, by key.

        Raises:
            Exception: the first that a program or a function raised.
        """
        for job in [*self._programs.values(), *self._jobs]:
            job.result()
        return dict(self._seconds)

    def idle(self) -> bool:
        """Whether all that was started has ended."""
        return all(job.done() for job in [*self._programs.values(), *self._jobs])

    def forget_all_but(self, keys: set[Key]) -> None:
        """Free all compiled programs but these."""
        self._programs = {k: p for k, p in self._programs.items() if k in keys or not p.done()}

    def running(self) -> bool:
        """Whether something is being compiled just now; Python then ends no sooner than that has ended."""
        return any(job.running() for job in [*self._programs.values(), *self._jobs])

    def close(self) -> None:
        """Start no further compilation; one that runs is waited for when Python ends, or XLA would abort."""
        self._pool.shutdown(wait=False, cancel_futures=True)
