"""``stylegen.load``: a generator by its name, from a run, a file of any kind that is read, or from elsewhere."""

import os
from pathlib import Path

from stylegen.hub import remote
from stylegen.networks.generator import Generator
from stylegen.paths import expanded
from stylegen.runs import load as runs
from stylegen.runs.load import LoadError


def load(source: str | os.PathLike[str], kimg: float | None = None) -> Generator:
    """Load a generator: moving-average weights, configuration and mean style.

    Args:
        source: a run directory; a ``.safetensors`` or ``.npz`` file; a folder that holds ``generator.safetensors`` (the
            layout of the Hugging Face hub); NVIDIA's ``.pkl`` or a ``.pt`` of rosinality's form, in which nothing is
            run; the name of a generator that ships with the package (``toy_bedrooms``). Or a generator elsewhere,
            which is fetched once: ``hf:owner/name``, ``https://…/file.pkl``, ``nvidia:bedroom-256``.
        kimg: of a run directory, the checkpoint at so many thousand images; the newest good one if None.

    Raises:
        LoadError: nothing is there, or it is no generator.
        CheckpointError: the run has no such checkpoint.
        WeightsError: a pickle cannot be read, or its network cannot be represented.
        HubError: it cannot be fetched.
        OSError: the folder that keeps what is fetched cannot be written to.
    """
    path = expanded(remote.local(source))
    if is_others(path):
        from stylegen.nvidia import importing  # here, because it imports what only training needs, optax above all

        if kimg is not None:
            raise LoadError(f"kimg = {kimg:g}: {source} is a single generator; only a run directory has several.")
        return importing.generator(importing.read(path), remote.as_text(source))
    return runs.load(path if remote.is_remote(source) else source, kimg)


def is_others(path: Path) -> bool:
    """Whether this is a file of another program, which is imported."""
    return path.suffix.lower() in remote.OTHERS and path.is_file()
