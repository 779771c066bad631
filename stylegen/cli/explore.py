"""The verb ``explore``: look around in a trained generator with a browser."""

import errno
import functools
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import stylegen
from stylegen.cli import arguments, common
from stylegen.io import signals
from stylegen.runtime.memory import keep_freed_memory

if TYPE_CHECKING:
    from stylegen.explorer.session import Library

DESCRIPTION = """Explore a trained generator in the browser.

  # A wall of seeds, sliders, style mixing, paths, your own photo, dragging, style transfer, and the run itself
  explore --run runs/bedroom
  # Nothing trained yet? A tiny generator ships with the package
  explore --run toy_bedrooms --open
  # On another machine: forward the port, then open the printed address here
  ssh -L 7777:localhost:7777 machine stylegen explore --run runs/bedroom --port 7777
"""

PORT = 7777
MISSING = "explore needs starlette, uvicorn and websockets: pip install 'stylegen[explore]'."
INTERRUPTED = "The explorer is closed."


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to explore, and where."""

    run: str  # run directory, exported file or folder, or toy_bedrooms, which ships with the package.
    kimg: Annotated[float | None, tyro.conf.arg(metavar="KIMG")] = None
    """Checkpoint at so many thousand images to begin with; default: the newest good one."""
    directions: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Directions to offer (directions.npz of edit); default: some are discovered."""
    port: Annotated[int | None, arguments.Bounds(1, 65535), tyro.conf.arg(metavar="INT")] = None
    """Port of the address; default: 7777, or a free one if that is taken."""
    host: str = "127.0.0.1"  # address to listen at. Others than this machine's own let other machines in.
    open: bool = False  # open the page in a browser.


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit status is 0, 2 for what the user can mend, or 130 after Ctrl-C."""
    return common.run(
        lambda: explore(arguments.parse(Options, argv, prog="explore", description=DESCRIPTION)), INTERRUPTED
    )


def explore(options: Options) -> None:
    """Serve until Ctrl-C; an error of our own says why that cannot be."""
    try:
        from stylegen.explorer import server
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn", "websockets"):
            raise
        raise common.UsageError(MISSING) from error
    keep_freed_memory()
    listening = _listen(server.listen, options)
    if ":" in options.run:  # what is elsewhere is fetched here, where Ctrl-C ends it, and then loaded from the cache
        from stylegen.hub import remote

        remote.local(options.run)
    if not server.is_loopback(options.host):
        print(
            f"warning: --host {options.host} lets other machines in. The address below is the key, and its traffic is "
            "not encrypted; `ssh -L` is safer.",
            file=sys.stderr,
        )
    token = secrets.token_urlsafe(24)
    address = f"http://{_shown(options.host)}:{listening.getsockname()[1]}/?token={token}"
    print(f"Open {address}\nCtrl-C ends it.", flush=True)
    if options.open:
        webbrowser.open(address)
    with listening:
        load = functools.partial(_load, options)
        server.make_server(load, token, server.names_of(options.host)).run(sockets=[listening])
    signals.check()


def _load(options: Options) -> "Library":
    """What the page shows. The page is there before: importing JAX and finding directions take seconds."""
    from stylegen.editing import directions
    from stylegen.explorer.session import Library

    common.use_compiled_programs()
    G = stylegen.load(options.run, kimg=options.kimg)
    print(G, flush=True)
    given = None if options.directions is None else directions.load(options.directions, G).entries
    return Library(G, options.run, given)


def _listen(listen: Callable[[str, int], socket.socket], options: Options) -> socket.socket:
    """The socket, before anything slow is done."""
    try:
        return listen(options.host, PORT if options.port is None else options.port)
    except OSError as error:
        if options.port is not None or error.errno != errno.EADDRINUSE:
            raise common.UsageError(
                f"--host {options.host} --port {options.port or PORT}: cannot listen there: {error.strerror or error}."
            ) from error
        return listen(options.host, 0)


def _shown(host: str) -> str:
    """A host as addresses have it."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
