"""The explorer in a notebook: the same page as a widget (extra ``notebook``)."""

import os
import threading
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from stylegen.editing.directions import Direction
from stylegen.errors import StylegenError
from stylegen.explorer import limits
from stylegen.explorer.bundle import bundled
from stylegen.explorer.pages import page_files
from stylegen.explorer.session import Library
from stylegen.explorer.state import State, from_json
from stylegen.hub import opening
from stylegen.networks.generator import Generator

_FILES = {name: data.decode() for name, data in page_files().items()}


class Explorer(anywidget.AnyWidget):
    """The explorer as a widget. ``state`` is that of its image, and may be set; ``image`` and ``ws`` follow it."""

    _esm = bundled(_FILES, "widget.js")
    _css = _FILES["style.css"]
    state = traitlets.Dict().tag(sync=True)

    def __init__(
        self, G: Generator, run: str | None = None, directions: Sequence[Direction] | None = None, **options: Any
    ) -> None:
        """Explore a generator; ``explore`` says what the arguments are. ``options`` are those of every widget."""
        self._library = Library(G, run, directions)
        self._session = self._library.session()
        self._changed = threading.Event()
        self._closed = False
        super().__init__(**options)
        self.on_msg(self._receive)
        # A thread of its own, so that cells run while a search goes on.
        threading.Thread(target=self._work, name="explorer", daemon=True).start()

    @property
    def image(self) -> np.ndarray:
        """The image that is shown, uint8 [r, r, C]."""
        return self._session.engine.image(self._state())

    @property
    def ws(self) -> np.ndarray:
        """The styles of the image that is shown, float32 [num_ws, w_dim]: mixed, truncated, moved."""
        return self._session.engine.styles(self._state())

    def close(self) -> None:
        """End the widget and its thread."""
        self._closed = True
        self._changed.set()
        self._library.compiling.close()
        super().close()

    def _state(self) -> State:
        return from_json(dict(self.state), self._session.engine.shape)

    def _receive(self, widget: Any, content: Any, buffers: Sequence[Any]) -> None:
        if isinstance(content, dict) and content.get("type") == "upload":
            self._upload(content.get("id"), buffers)
            return
        self._session.receive(content if isinstance(content, dict) else str(content))
        self._changed.set()

    def _upload(self, number: Any, buffers: Sequence[Any]) -> None:
        answer = {"type": "uploaded", "id": number}
        try:
            data = bytes(buffers[0]) if buffers and memoryview(buffers[0]).nbytes <= limits.MAX_UPLOAD + 1 else b""
            upload = self._library.uploads.add(data)
        except StylegenError as error:
            self.send({**answer, "message": str(error)})
            return
        width, height = upload.image.size
        note = upload.note(self._session.engine.G.resolution)
        self.send({**answer, "upload": upload.number, "width": width, "height": height, "note": note})

    def _work(self) -> None:
        try:
            while not self._closed:
                self._changed.wait()
                self._changed.clear()
                while self._session.has_work and not self._closed:
                    for reply in self._session.work():
                        self.send(reply.tree(), buffers=list(reply.parts))
        finally:
            self._session.close()  # a job has threads and files


def explore(
    source: Generator | str | os.PathLike[str],
    *,
    kimg: float | None = None,
    directions: Sequence[Direction] | None = None,
) -> Explorer:
    """Explore a generator in a notebook: ``stylegen.explore(G)`` as the last line of a cell.

    Args:
        source: a generator, or what ``stylegen.load`` takes; a run directory can be looked at too.
        kimg: of a run directory, the checkpoint to begin with.
        directions: to offer; None finds some.

    Raises:
        LoadError, CheckpointError: there is no such generator.
    """
    if isinstance(source, Generator):
        return Explorer(source, directions=directions)
    return Explorer(opening.load(source, kimg=kimg), os.fspath(source), directions)
