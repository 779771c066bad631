"""One page: messages in, replies out. Of waiting messages of one type the newest is answered, and the others dropped.

It knows nothing of the web: a server or a widget gives it what the page says, calls ``work`` in a thread of its own,
and sends what comes back.
"""

import functools
import itertools
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from stylegen.editing.directions import Direction
from stylegen.errors import StylegenError
from stylegen.explorer import ExploreError, jobs, requests
from stylegen.explorer.engine import Engine
from stylegen.explorer.path import Path as KeyframePath
from stylegen.explorer.path import Walker
from stylegen.explorer.replies import Reply, with_images
from stylegen.explorer.requests import Request
from stylegen.explorer.run_view import RunView, is_run
from stylegen.explorer.state import Shape, encode
from stylegen.explorer.styling import Styling
from stylegen.explorer.uploads import Uploads
from stylegen.hub import opening
from stylegen.networks.generator import Generator
from stylegen.paths import expanded
from stylegen.runtime import compilation

ENGINES_KEPT = 4  # checkpoints of a run that were looked at


class Library:
    """What all pages share: the run, its generators by kimg, the uploads, and the thread that compiles."""

    def __init__(
        self, G: Generator, run: str | None = None, directions: Sequence[Direction] | None = None, *, warm: bool = True
    ) -> None:
        """Begin with a generator.

        Args:
            G: the generator that pages show first.
            run: where it was loaded from; a run directory can be looked at.
            directions: to offer; None finds some for each generator.
            warm: compile in the background what pages will need.
        """
        self.uploads = Uploads()
        folder = None if run is None else expanded(run)
        self.view = RunView(folder) if folder is not None and is_run(folder) else None
        self._run, self._directions = run, directions
        self.first = Engine(G, directions)
        self._at = functools.lru_cache(ENGINES_KEPT)(self._load)
        self.compiling: compilation.CompileAhead[str] = compilation.CompileAhead(lambda key: None)
        if warm:
            self.compiling.run(self.first.warm)
            self.compiling.run(functools.partial(jobs.warm, self.first))

    def session(self) -> "Session":
        """One more page."""
        return Session(self)

    def at(self, kimg: float) -> Engine:
        """The engine of a checkpoint of the run.

        Raises:
            ExploreError: there is no run.
            CheckpointError: the run has no such checkpoint.
        """
        if self.view is None:
            raise ExploreError("there is no run directory to look at; start the explorer with --run runs/NAME.")
        return self.first if kimg == self.first.G.kimg else self._at(kimg)

    def _load(self, kimg: float) -> Engine:
        assert self._run is not None
        return Engine(opening.load(self._run, kimg=kimg), self._directions)


class Session:
    """One page. ``receive`` may be called in another thread than ``work``."""

    def __init__(self, library: Library) -> None:
        """Begin with the library's first generator."""
        self._library = library
        self._desk = jobs.Desk(library.first, library.uploads)
        self._styling = Styling(library.uploads)
        self._walker: tuple[Any, Walker] | None = None
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Request, Shape]] = {}  # with the shape that its states were checked against
        self._errors: list[Reply] = []
        self._job: tuple[Request, jobs.Steps] | None = None
        self._job_is_next = False

    @property
    def engine(self) -> Engine:
        """That draws this page's images."""
        return self._desk.engine

    def receive(self, message: str | bytes | dict[str, Any]) -> None:
        """Take a message, as JSON or parsed; what is wrong with it is a reply of the next ``work``."""
        tree: Any = None
        try:
            tree = message if isinstance(message, dict) else requests.parse(message)
            shape = self.engine.shape
            request = requests.read(tree, shape)
        except (StylegenError, OverflowError, RecursionError) as error:
            with self._lock:
                self._errors = [*self._errors[-7:], _error(str(error), _id_of(tree))]
            return
        if request.type == "stop":
            self._desk.stop.set()
            return
        with self._lock:
            if request.type in jobs.JOBS:
                self._desk.stop.clear()  # here, so that a stop behind it counts even before the job begins
            self._waiting.pop(request.type, None)  # so that the new one is the last in line
            self._waiting[request.type] = request, shape

    @property
    def has_work(self) -> bool:
        """Whether ``work`` would do something."""
        with self._lock:
            return bool(self._waiting or self._errors or self._job)

    def work(self) -> list[Reply]:
        """Answer a message, or take a step of the job, by turns; the replies, none if there is nothing to say yet."""
        with self._lock:
            errors, self._errors = self._errors, []
            request = None
            if self._waiting and not (self._job_is_next and self._job is not None):
                request, shape = self._waiting.pop(next(iter(self._waiting)))
            job = self._job
        if errors and request is None:
            return errors
        self._job_is_next = request is not None
        if request is not None and shape != self.engine.shape:
            return [*errors, _error("the generator has changed since; ask again.", request.id, request.type)]
        if request is not None:
            return [*errors, *self._answer(request)]
        return self._step() if job is not None else []

    def _answer(self, request: Request) -> list[Reply]:
        if request.type in jobs.JOBS:
            self.close()
            self._job = request, jobs.start(self._desk, request)
            return self._step()
        return _tried(request, lambda: [_ANSWERS[request.type](self, request)])

    def close(self) -> None:
        """End the job, if there is one. In the thread that works."""
        if self._job is not None:
            self._job[1].close()
            self._job = None

    def _step(self) -> list[Reply]:
        assert self._job is not None
        request, steps = self._job
        ended = False

        def advance() -> list[Reply]:
            nonlocal ended
            for reply in itertools.islice(steps, 1):
                return [] if reply is None else [reply]
            ended = True
            return []

        replies = _tried(request, advance)
        if ended or (replies and replies[0].type == "error"):
            self._job = None
        return replies

    def _hello(self, request: Request) -> Reply:
        for sentence in self._library.compiling.trouble():
            print(f"warning: compiling ahead has failed: {sentence}", file=sys.stderr)
        return Reply("about", request.id, {**self.engine.about(), "run": self._library.view is not None})

    def _ping(self, request: Request) -> Reply:
        return Reply("pong", request.id)

    def _image(self, request: Request) -> Reply:
        image = self.engine.image(request.values["state"])
        return with_images("image", request.id, [image], request.values["moving"])

    def _images(self, request: Request) -> Reply:
        return with_images("images", request.id, list(self.engine.images(request.values["states"])), moving=True)

    def _children(self, request: Request) -> Reply:
        v = request.values
        states = self.engine.children(v["a"], v["b"], v["count"], v["seed"])
        trees = [state.to_json() for state in states]
        return with_images("children", request.id, list(self.engine.images(states)), moving=True, states=trees)

    def _layer(self, request: Request) -> Reply:
        """The styles of a state layer by layer, to mix them into others."""
        ws = self.engine.styles(request.values["state"])
        return Reply("layer", request.id, {"styles": [encode(row) for row in ws]})

    def _npz(self, request: Request) -> Reply:
        return Reply("npz", request.id, parts=[self.engine.projection_file(request.values["state"])])

    def _frame(self, request: Request) -> Reply:
        values = dict(request.values)
        at = values.pop("at")
        if self._walker is None or self._walker[0] != (self.engine, values):
            path: KeyframePath = requests.path_of(values)
            self._walker = (self.engine, values), Walker(self.engine, path)
        walker = self._walker[1]
        return with_images("frame", request.id, [walker.image(at)], True, at=at)

    def _style(self, request: Request) -> Reply:
        image = self._styling.image(self.engine, request)
        return with_images("style", request.id, [image], request.values["moving"])

    def _run(self, request: Request) -> Reply:
        view = self._view()
        version = view.version()
        if version == request.values["seen"]:
            return Reply("run", request.id, {"version": version})
        return Reply("run", request.id, {"version": version, "about": view.about()})

    def _grid(self, request: Request) -> Reply:
        kimg = request.values["kimg"]
        return Reply("grid", request.id, {"kimg": kimg}, [self._view().grid(kimg)])

    def _checkpoint(self, request: Request) -> Reply:
        engine = self._library.at(request.values["kimg"])
        if self._job is not None:
            job = self._job[0]
            self.close()
            with self._lock:
                self._errors.append(_error("the generator has changed; start again.", job.id, job.type))
        self._desk.engine, self._desk.descent = engine, None
        return self._hello(request)

    def _view(self) -> RunView:
        if self._library.view is None:
            raise ExploreError("there is no run directory to look at; start the explorer with --run runs/NAME.")
        return self._library.view


_ANSWERS: dict[str, Callable[[Session, Request], Reply]] = {
    "hello": Session._hello,
    "ping": Session._ping,
    "image": Session._image,
    "images": Session._images,
    "children": Session._children,
    "layer": Session._layer,
    "npz": Session._npz,
    "frame": Session._frame,
    "style": Session._style,
    "run": Session._run,
    "grid": Session._grid,
    "checkpoint": Session._checkpoint,
}


def _tried(request: Request, answer: Callable[[], list[Reply]]) -> list[Reply]:
    """The replies of an answer, or its error. One that is not ours is a bug: its traceback goes to the console."""
    try:
        return answer()
    except StylegenError as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"a file cannot be read: {error.strerror or type(error).__name__}."
    except Exception as error:
        traceback.print_exc()
        sentence = f"this is a bug ({type(error).__name__}); the console has more."
    return [_error(sentence, request.id, request.type)]


def _error(sentence: str, number: int, kind: str = "") -> Reply:
    return Reply("error", number, {"message": sentence, "of": kind})


def _id_of(tree: Any) -> int:
    """The id of a message that could not be read, so that its page stops waiting; 0 if it has none."""
    number = tree.get("id") if isinstance(tree, dict) else None
    return number if type(number) is int and 0 <= number <= requests.MAX_ID else 0
