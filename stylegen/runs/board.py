"""TensorBoard's files of a run, written where they are asked for: an error is the caller's, and nothing waits.

tensorboardX's ``SummaryWriter`` writes in a thread, behind a queue of ten. Where that thread dies, of a full disk, the
eleventh event waits for ever, and closing it does too.
"""

import socket
import time
from pathlib import Path
from typing import Any

import numpy as np

_FLUSH_SECONDS = 30.0  # between two times that events are put on disk


class Board:
    """An events file in a folder. Every method may raise OSError; after that, the file is closed and takes no more."""

    def __init__(self, folder: Path, purge_step: int):
        """Begin a new events file.

        Args:
            folder: TensorBoard's directory of the run, made if need be.
            purge_step: events of earlier files from this step on are hidden: a killed run left them.
        """
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # Of files that are begun within one second, the step makes the names differ.
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{purge_step}"
        self._records = RecordWriter(str(folder / name))
        self._flushed = time.monotonic()
        self._add(Event(file_version="brain.Event:2"))
        self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, name: str, value: float, step: int) -> None:
        """A number in the series ``name``."""
        from tensorboardX import summary

        self._add_summary(summary.scalar(name, value), step)

    def text(self, name: str, text: str, step: int) -> None:
        """A sentence."""
        from tensorboardX import summary

        self._add_summary(summary.text(name, text), step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """A uint8 image [h, w, 1 or 3]."""
        from tensorboardX import summary

        self._add_summary(summary.image(name, image, dataformats="HWC"), step)

    def close(self) -> None:
        """Put the rest on disk."""
        self._records.close()

    def _add_summary(self, summary: object, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._add(Event(step=step, summary=summary))

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._records.flush()
            self._flushed = time.monotonic()
