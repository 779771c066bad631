"""Statistics of real images, kept on disk under a hash of all that they depend on."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stylegen.evaluation.collect import Collector, Progress, collect
from stylegen.evaluation.image_sets import ImageSet
from stylegen.io.files import replacing
from stylegen.metrics.extractors import Extractor
from stylegen.runtime import processes
from stylegen.untrusted import json_text
from stylegen.untrusted.npz import Npz

FORMAT = 1  # raised when the same key would no longer mean the same numbers


def default_folder() -> Path:
    """The folder of the cache by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stylegen" / "reference"


def collect_cached(
    images: ImageSet,
    collectors: Sequence[Collector],
    extractor: Extractor | None,
    folder: Path | None,
    progress: Progress | None = None,
) -> int:
    """As ``collect``, but statistics on disk are read, and computed ones are written there.

    Args:
        images: real images.
        collectors: the collectors to fill.
        extractor: needed if one of them wants its output.
        folder: where the statistics are; None keeps none.
        progress: as in ``collect``.

    Returns:
        How many of the collectors were filled from disk.
    """
    if folder is None:
        collect(images, collectors, extractor, progress, "reals")
        return 0
    # Process 0, whose statistics count, says what is to be computed by all.
    restored = [processes.is_main() and _restore(folder, images, collector, extractor) for collector in collectors]
    restored = processes.broadcast(restored)
    missing = [collector for collector, is_there in zip(collectors, restored, strict=True) if not is_there]
    collect(images, missing, extractor, progress, "reals")
    for collector in missing if processes.is_main() else ():
        _save(folder, images, collector, extractor)
    return len(collectors) - len(missing)


def cache_key(images: ImageSet, collector: Collector, extractor: Extractor | None) -> dict[str, Any]:
    """All that the statistics depend on."""
    kind, *key_parts = collector.key
    details = [hashlib.sha256(x).hexdigest() if isinstance(x, bytes) else x for x in key_parts]
    return {
        "format": FORMAT,
        "images": {**images.provenance, "data": None},  # the same images in another place are the same
        "extractor": extractor.provenance if extractor and collector.output else None,
        "statistics": [kind, *details],
    }


def _path(folder: Path, key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / f"{key['statistics'][0]}-{digest[:32]}.npz"


def _restore(folder: Path, images: ImageSet, collector: Collector, extractor: Extractor | None) -> bool:
    key = cache_key(images, collector, extractor)
    try:
        with Npz(_path(folder, key)) as file:
            if json_text.parse(file.text("key"), file.source) != json.loads(json.dumps(key)):
                return False
            collector.restore({name: file.read(name) for name in file.names - {"key"}})
            return True
    except (OSError, ValueError, KeyError):
        return False  # not there, or damaged: to be computed


def _save(folder: Path, images: ImageSet, collector: Collector, extractor: Extractor | None) -> None:
    arrays = collector.as_arrays()
    if arrays is None:
        return
    key = cache_key(images, collector, extractor)
    try:
        with replacing(_path(folder, key)) as partial:
            np.savez(partial, key=np.array(json.dumps(key)), **arrays)  # type: ignore[arg-type]
    except OSError:
        pass  # a full or read-only disk costs the next evaluation time, and this one nothing
