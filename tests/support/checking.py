"""Annotations with shapes and dtypes are checked at every call. In tests alone: it takes time, and beartype."""

import contextlib
from collections.abc import Iterator

import jaxtyping
from beartype import BeartypeConf, beartype

MODULES = [
    "stylegen.ops", "stylegen.networks.layers", "stylegen.training.losses", "stylegen.metrics", "stylegen.sampling",
]  # fmt: skip
checker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy


def install() -> None:
    """Check calls of what MODULES, which are not yet imported, define."""
    jaxtyping.install_import_hook(MODULES, f"{__name__}.checker")


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """As for a user, who gets the error of the function itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
