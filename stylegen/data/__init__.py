"""Image sources and the one pipeline that shuffles and batches them; see ``prepare`` for how data gets on disk."""

from stylegen.data.opening import open_source, with_channel_stats, with_class_names
from stylegen.data.pipeline import choose_workers, make_pipeline
from stylegen.data.source import Batch, DataError, ImageSource

__all__ = [
    "Batch",
    "DataError",
    "ImageSource",
    "choose_workers",
    "make_pipeline",
    "open_source",
    "with_channel_stats",
    "with_class_names",
]
