"""What tests of the explorer share: a library with a tiny generator, and a session that is asked."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from stylegen.explorer.replies import Reply
from stylegen.explorer.session import Library, Session


@pytest.fixture(scope="module")
def library(make_generator) -> Iterator[Library]:
    library = Library(make_generator(), warm=False)
    yield library
    library.compiling.close()


@pytest.fixture
def session(library) -> Session:
    return Session(library)


def ask(session: Session, kind: str, **fields) -> Reply:
    """The only reply to a message."""
    (reply,) = answers(session, kind, **fields)
    return reply


def answers(session: Session, kind: str, **fields) -> list[Reply]:
    """All replies to a message."""
    session.receive({"type": kind, "id": 7, **fields})
    replies: list[Reply] = []
    while session.has_work:
        replies += session.work()
    return replies


def image_of(reply: Reply) -> np.ndarray:
    """The first image of a reply in raw numbers."""
    assert reply.header["coding"] == "raw"
    return np.frombuffer(reply.parts[0], np.uint8).reshape(reply.header["shape"])


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    """Makes the bytes of an image file of a size, with a gradient in it."""

    def make(width: int = 40, height: int = 30, form: str = "PNG") -> bytes:
        y, x = np.mgrid[0:height, 0:width]
        pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form)
        return buffer.getvalue()

    return make
