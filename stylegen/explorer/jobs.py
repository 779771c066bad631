"""What takes many steps: projections, drags and videos, each an iterator of replies that can be stopped.

A step is taken when the next reply is asked for, so other messages are answered between two steps. What takes seconds
before there is a step, compiling above all, is done in a thread of its own; until it has ended the replies are None.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stylegen.editing import drag as dragging
from stylegen.explorer import ExploreError
from stylegen.explorer.engine import Engine
from stylegen.explorer.path import Walker
from stylegen.explorer.replies import Reply, with_images
from stylegen.explorer.requests import Request, path_of
from stylegen.explorer.state import State, encode
from stylegen.explorer.uploads import Uploads
from stylegen.io import video as videos
from stylegen.metrics.extractors import Distance
from stylegen.projection import loss as projection_loss
from stylegen.projection import result
from stylegen.projection.descent import Descent
from stylegen.projection.search import Options, descend

SHOWN_EVERY = 1 / 30  # seconds between two images of a job
LOOKED_EVERY = 0.01  # seconds that a job waits for its other thread before messages have their turn
QUEUED = 32  # frames that wait for the writer of a video
Steps = Generator[Reply | None, None, None]
Result = TypeVar("Result")


class Desk:
    """What the jobs of one page share: its engine, its uploads, and the projection to continue."""

    def __init__(self, engine: Engine, uploads: Uploads) -> None:
        self.engine = engine
        self.uploads = uploads
        self.stop = threading.Event()
        self.descent: tuple[int, Descent, np.ndarray] | None = None  # with the upload's number and the target


def project(desk: Desk, request: Request) -> Steps:
    """Search for the styles of an upload, or go on with the search that was stopped."""
    values, engine = request.values, desk.engine
    G = engine.G
    continued = desk.descent if values["continue"] else None
    if continued is None or continued[0] != values["upload"]:
        target = desk.uploads.get(values["upload"]).target(G.resolution, G.image_channels)[None]
        options = Options(space=values["space"], steps=values["steps"])
        labels = (values["label"] or 0) if G.c_dim else None
        desk.descent = None
        yield with_images("target", request.id, list(target))
        descent = yield from aside(lambda: descend(G, target, options, distance=perceptual(), labels=labels))
        steps = yield from begun(descent)
        desk.descent = values["upload"], descent, target  # not before: the other thread had it
    else:
        _, descent, target = continued
        steps = iter(descent)
    shown_at, losses = -math.inf, []
    for step in steps:
        stopped, now = desk.stop.is_set(), time.monotonic()
        losses.append(step.losses)  # fetched later: looking at it now would wait for it
        if now - shown_at < SHOWN_EVERY and not stopped:
            continue
        curve = [number(float(loss[0])) for loss in losses]
        shown_at, losses = now, []
        yield with_images("step", request.id, list(np.asarray(step.images)), True, step=descent.taken, losses=curve)
        if stopped:
            break
    state = State(ws=encode(descent.latents["ws"][0]), psi=1.0, label=values["label"] if G.c_dim else None)
    image = engine.image(state)
    yield with_images(
        "projected",
        request.id,
        [image],
        state=state.to_json(),
        step=descent.taken,
        left=descent.taken < descent.steps,
        losses=[number(float(loss[0])) for loss in losses],
        psnr=number(float(result.psnr(image[None], target)[0])),
    )


def drag(desk: Desk, request: Request) -> Steps:
    """Drag points of a state's image to their targets."""
    values, engine = request.values, desk.engine
    state: State = values["state"]
    names = ("steps", "learning_rate", "style_weight", "at", "layers")
    options = dragging.Options(**{name: values[name] for name in names})
    mask = None if values["mask"] is None else resized(values["mask"], engine.G.shape)
    ws, noise = engine.styles(state), None if engine.is_plain(state) else engine.noise(state)
    places = values["points"], values["targets"]
    moving = yield from aside(lambda: dragging.Drag(engine.G, ws, *places, options, mask=mask, noise=noise))
    shown_at = -math.inf
    step: dragging.Step | None = None
    for step in (yield from begun(moving)):
        now = time.monotonic()
        if now - shown_at < SHOWN_EVERY and not desk.stop.is_set():
            continue
        shown_at = now
        yield with_images("dragged", request.id, [step.image], True, **_seen(step))
        if desk.stop.is_set():
            break
    assert step is not None  # options have at least one step
    end = dataclasses.replace(state, ws=encode(moving.ws), psi=1.0, cutoff=None, mix={}, directions={})
    yield with_images("dragged", request.id, [engine.image(end)], done=True, state=end.to_json(), **_seen(step))


def _seen(step: dragging.Step) -> dict[str, Any]:
    points, distances = step.points.tolist(), step.distances.tolist()
    return {"step": step.step, "points": points, "distances": distances, "loss": number(step.loss)}


def resized(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A mask [h, w] at another size (rows, columns), by the nearest pixels."""
    rows, columns = ((np.arange(side) + 0.5) * n / side for side, n in zip(size, mask.shape, strict=True))
    return mask[rows.astype(int)[:, None], columns.astype(int)[None]]


def aside(work: Callable[[], Result]) -> Generator[None, None, Result]:
    """What some work returns or raises; it is done in another thread, and a None is given now and then meanwhile.

    A job that is closed meanwhile does not wait for it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="aside")
    try:
        done = pool.submit(work)
        while wait([done], LOOKED_EVERY).not_done:
            yield None
        return done.result()
    finally:
        pool.shutdown(wait=False)


def begun(steps: Iterable[Result]) -> Generator[None, None, Iterator[Result]]:
    """The steps, of which the first one, which compiles, is taken aside."""
    remaining = iter(steps)
    first = yield from aside(lambda: list(itertools.islice(remaining, 1)))
    return itertools.chain(first, remaining)


def video(desk: Desk, request: Request) -> Steps:
    """Draw a path and write it as a video, which is a part of the last reply."""
    values, r = request.values, desk.engine.G.resolution
    path = path_of(values, values["frames"])
    walker = Walker(desk.engine, path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"path.{values['format']}"
        videos.check(file, values["fps"], frames=path.total, height=r, width=r)
        with writing(file, values["fps"]) as put:
            shown_at = -math.inf
            frames = yield from begun(walker.frames())
            for i, frame in enumerate(frames, start=1):
                put(frame)
                if desk.stop.is_set():
                    break
                if (now := time.monotonic()) - shown_at >= SHOWN_EVERY:
                    shown_at = now
                    yield Reply("video", request.id, {"frame": i, "frames": path.total})
        if desk.stop.is_set():
            yield Reply("video", request.id, {"stopped": True})
            return
        yield Reply(
            "video", request.id, {"done": True, "frames": path.total, "format": values["format"]}, [file.read_bytes()]
        )


@contextlib.contextmanager
def writing(file: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that takes the frames of a video, which another thread writes; complete at the end.

    Raises:
        VideoError: it cannot be written.
    """
    waiting: queue.Queue[np.ndarray | None] = queue.Queue(QUEUED)
    with ThreadPoolExecutor(1, thread_name_prefix="video") as pool:
        written: Future[int] = pool.submit(lambda: videos.save_video(_taken(waiting), file, fps))

        def put(frame: np.ndarray | None) -> None:
            while not written.done():
                with contextlib.suppress(queue.Full):
                    waiting.put(frame, timeout=0.5)
                    return
            written.result()

        try:
            yield put
        finally:
            put(None)
    written.result()


def _taken(waiting: "queue.Queue[np.ndarray | None]") -> Iterator[np.ndarray]:
    """The frames of a queue up to None."""
    while (frame := waiting.get()) is not None:
        yield frame


def number(value: float) -> float | None:
    """A number for JSON, which has none that are not finite."""
    return value if math.isfinite(value) else None


@functools.cache
def perceptual() -> Distance | None:
    """The network of the perceptual loss: VGG-16 where its weights are, else one that needs none."""
    return projection_loss.open_perceptual("auto")


def warm(engine: Engine) -> None:
    """Compile the steps of a drag and of a projection, by taking one of each."""
    G = engine.G
    dragging.Drag(G, engine.styles(State()), [[1, 1]], [[2, 2]]).step()
    shape = (1, G.resolution, G.resolution, G.image_channels)
    options = Options(space="w+", steps=1, candidates=1)
    descent = descend(G, np.zeros(shape, np.uint8), options, distance=perceptual(), labels=0 if G.c_dim else None)
    for step in descent:
        np.asarray(step.images)
    _ = descent.latents


JOBS: dict[str, Callable[[Desk, Request], Steps]] = {"project": project, "drag": drag, "video": video}


def start(desk: Desk, request: Request) -> Steps:
    """Begin the job of a message.

    Raises:
        ExploreError: it is no message of a job.
    """
    if request.type not in JOBS:
        raise ExploreError(f"{request.type} is no job.")
    return JOBS[request.type](desk, request)
