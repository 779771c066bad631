"""The explorer's server: the page, its messages over a WebSocket, and uploads. Needs the extra ``explore``.

It is for the one who started it. Every request must name this machine (no rebound name gets in), come from our own
page, and have the cookie that the printed address is exchanged for.

The page is served before the generator is there: neither JAX nor what needs it is imported here. What loads the
generator, and imports them, runs in the thread that then draws; messages wait for it.
"""

import asyncio
import contextlib
import functools
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import uvicorn
import websockets  # noqa: F401 -- uvicorn looks for it only when it starts
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from stylegen.errors import StylegenError
from stylegen.explorer import limits
from stylegen.explorer.pages import TYPES, page_files
from stylegen.io import signals

if TYPE_CHECKING:  # they import JAX
    from stylegen.explorer.session import Library, Session

Load = Callable[[], "Library"]
REFUSED = "This explorer opens with the address that `stylegen explore` printed, which has a token."
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Lets requests through that name this machine, come from our page and have our cookie. Others are refused.

    A WebSocket is refused before it is accepted. The token in the address is exchanged for the cookie, so it does not
    stay in the browser's history or in addresses that are copied.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        """Guard an application.

        Args:
            app: the application.
            token: that the printed address has.
            hosts: names that this machine is called by, without ports.
        """
        self._app, self._token, self._hosts = app, token, hosts
        self._cookie = f"stylegen_{secrets.token_hex(4)}"  # several explorers on one machine share its cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] not in ("http", "websocket"):
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if _name(host) not in self._hosts:
            return await self._refuse(scope, receive, send, "This is not a name of this machine.")
        foreign = origin is not None and origin.partition("://")[2] != host
        if foreign or (origin is None and scope["type"] == "websocket"):
            return await self._refuse(scope, receive, send, "Another page may not use this explorer.")
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
        if given and scope["type"] == "http" and scope["path"] == "/":
            if not secrets.compare_digest(given[0].encode(), self._token.encode()):
                return await self._refuse(scope, receive, send, REFUSED)
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
            return await response(scope, receive, _with_headers(send, host))
        # Starlette's parser: http.cookies stops at the first cookie of another program that it dislikes.
        cookie = HTTPConnection(scope).cookies.get(self._cookie, "")
        if not secrets.compare_digest(cookie.encode(), self._token.encode()):
            return await self._refuse(scope, receive, send, REFUSED)
        await self._app(scope, receive, _with_headers(send, host))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, why: str) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before it is accepted: status 403
        else:
            await PlainTextResponse(why, 403)(scope, receive, _with_headers(send, ""))


def _name(host: str) -> str:
    """A Host header without its port, in lower case; empty where it is none."""
    if not re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII):
        return ""  # it goes into a header of ours, too
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send, host: str) -> Send:
    """Send with the headers that keep a page to itself."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
        f"connect-src 'self'{f' ws://{host}' if host else ''}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    added = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(name.encode(), value.encode()) for name, value in added.items()]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sending


class App:
    """The routes: the page, its files, uploads and the WebSocket."""

    def __init__(self, load: Load) -> None:
        """Serve the pages of a library that ``load`` returns."""
        self._load = load
        self._files = page_files()
        # One thread for all pages: a second one would only share the same cores.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explorer")
        self._loading: Future[Library] | None = None
        self._pages = 0
        self.routes = [
            Route("/", functools.partial(self._file, name="index.html")),
            Route("/page/{name}", self._file),
            Route("/upload", self._upload, methods=["POST"]),
            WebSocketRoute("/messages", self._messages),
        ]

    def loading(self) -> "Future[Library]":
        """The library. It begins to load when it is first asked for, which is after uvicorn has imported its parts."""
        if self._loading is None:
            self._loading = self._pool.submit(self._load)
        return self._loading

    def close(self) -> None:
        """Compile no more; a library that is still being loaded does not begin to."""
        if self._loading is not None:
            self._loading.add_done_callback(_close)

    async def _loaded(self) -> "Library | None":
        """The library, once it is there; None if it cannot be loaded, which ends the server."""
        loaded = asyncio.wrap_future(self.loading())
        await asyncio.wait([loaded])  # which a page that is gone does not cancel
        return None if loaded.exception() else loaded.result()

    async def _file(self, request: Request, name: str | None = None) -> Response:
        chosen = name or request.path_params["name"]
        if chosen not in self._files:  # a table: nothing on the disk is looked for
            return PlainTextResponse("There is no such file.", 404)
        return Response(self._files[chosen], media_type=TYPES[chosen[chosen.rfind(".") :]])

    async def _upload(self, request: Request) -> Response:
        data = bytearray()
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > limits.MAX_UPLOAD:
                    return JSONResponse({"message": f"at most {limits.MAX_UPLOAD:,} bytes are taken."}, 413)
            if (library := await self._loaded()) is None:
                return Response(status_code=503)
            add = functools.partial(library.uploads.add, bytes(data))
            upload = await asyncio.get_running_loop().run_in_executor(self._pool, add)
        except StylegenError as error:
            return JSONResponse({"message": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        width, height = upload.image.size
        note = upload.note(library.first.G.resolution)
        return JSONResponse({"upload": upload.number, "width": width, "height": height, "note": note})

    async def _messages(self, socket: WebSocket) -> None:
        if self._pages >= limits.MAX_PAGES:
            await socket.close(1013)
            return
        self._pages += 1
        try:
            await socket.accept()
            if (library := await self._loaded()) is None:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page is gone already
                    await socket.close(1011)
                return
            await self._serve(socket, library.session())
        finally:
            self._pages -= 1

    async def _serve(self, socket: WebSocket, session: "Session") -> None:
        changed = asyncio.Event()
        listening = asyncio.create_task(_listen(socket, session, changed))
        loop = asyncio.get_running_loop()
        try:
            while not listening.done():
                await changed.wait()
                changed.clear()
                while session.has_work and not listening.done():
                    for frame in await loop.run_in_executor(self._pool, _frames, session):
                        await socket.send_bytes(frame)
        except (WebSocketDisconnect, RuntimeError):  # Starlette's word for a page that is gone while we send
            pass
        finally:
            await loop.run_in_executor(self._pool, session.close)
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


def _close(loading: "Future[Library]") -> None:
    if loading.exception() is None:
        loading.result().compiling.close()


async def _listen(socket: WebSocket, session: "Session", changed: asyncio.Event) -> None:
    """Give the session what the page says, until it is gone."""
    try:
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            session.receive(message.get("text") or message.get("bytes") or b"")
            changed.set()
    finally:
        changed.set()


def _frames(session: "Session") -> list[bytes]:
    return [reply.frame() for reply in session.work()]


def application(app: App, token: str, hosts: frozenset[str] = frozenset(LOOPBACK)) -> ASGIApp:
    """The ASGI application of some routes.

    Args:
        app: the routes.
        token: of the printed address.
        hosts: names of this machine, without ports.
    """
    return Guard(Starlette(routes=app.routes), token, hosts)


class Stopping(uvicorn.Server):
    """A server that stops as our other verbs do, by ``signals``, and when there is nothing to serve."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self._failure: BaseException | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is stopped; raises what loading the library has raised."""
        try:
            super().run(sockets)
        finally:
            self._app.close()
        if self._failure is not None:
            raise self._failure

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Look at the signals that ``signals`` records, instead of handlers of uvicorn's own."""
        with signals.stop_requested() as self._requested:
            yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; true ends the server."""
        loading = self._app.loading()
        self._failure = loading.exception() if loading.done() else None
        self.should_exit = self.should_exit or self._requested.is_set() or self._failure is not None
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address; port 0 is any that is free.

    Raises:
        OSError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # who comes before the server has started waits, and is not refused
    except OSError:
        listening.close()
        raise
    return listening


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> frozenset[str]:
    """What this machine may be called in a request when it listens at an address."""
    names = {*LOOPBACK, host.lower()}
    if not is_loopback(host):
        own = socket.gethostname().lower()
        names |= {own, socket.getfqdn().lower()}
        with contextlib.suppress(OSError):
            names |= {str(info[4][0]) for info in socket.getaddrinfo(own, None)}
    return frozenset(names - {"", "0.0.0.0", "::"})


def make_server(load: Load, token: str, hosts: frozenset[str]) -> Stopping:
    """The server of a library; ``run(sockets=[...])`` serves until SIGTERM or Ctrl-C.

    Args:
        load: gives what its pages show; called in another thread, once the page is served.
        token: of the printed address.
        hosts: names of this machine, without ports.
    """
    app = App(load)
    config = uvicorn.Config(
        application(app, token, hosts),
        log_config=None,  # uvicorn's own would close the handlers that this program has
        log_level="warning",
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=limits.MAX_MESSAGE,
        ws_per_message_deflate=False,  # images are compressed already, or so small that it only takes time
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    return Stopping(config, app)
