"""Which programs JAX makes while a test looks."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """The names of the functions under ``jax.jit`` that are compiled, or read from the cache on disk, one a program."""
    names: list[str] = []
    looking = True

    def note(event: str, duration: float, **about: Any) -> None:
        if looking and event == "/jax/core/compile/backend_compile_duration":
            names.append(str(about["fun_name"]).removeprefix("jit_").removeprefix("jit(").removesuffix(")"))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        looking = False  # a listener stays: JAX 0.8 cannot unregister a single one
