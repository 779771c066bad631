"""What lies in folders of prepared images."""

import numpy as np

from stylegen.data.prepared.source import PreparedSource


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def everything(folder, resolution):
    source = PreparedSource(folder)
    return source.read(np.arange(source.num_images), resolution)
