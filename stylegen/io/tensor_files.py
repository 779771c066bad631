"""Writing files of safetensors: whole or not at all, with a checksum; ``untrusted.tensors`` reads them."""

import os
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save

from stylegen.io.files import replacing
from stylegen.untrusted import checksums


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name, and metadata; atomic.

    The bytes are made in memory: safetensors' own ``save_file`` writes to a temporary file of its own, which a killed
    process would leave behind, and gives the file to its owner alone.
    """
    arrays = {name: np.asarray(x, order="C") for name, x in tensors.items()}
    data = save(arrays, checksums.sealed_metadata(arrays, metadata or {}))
    with replacing(path) as partial:
        partial.write_bytes(data)
