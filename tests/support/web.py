"""A web server on this machine that answers as a test says, and remembers what it was asked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stated: int | None = None  # bytes that the header promises; those of the body if None, no header if -1


@dataclass
class Server:
    url: str
    answers: dict[str, Answer | Callable[[dict[str, str]], Answer]]
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # method, path, headers

    def paths(self, method: str = "GET") -> list[str]:
        return [path for asked, path, _ in self.requests if asked == method]


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[Server]:
    """A server with these answers by path; all else is not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.command, self.path, dict(self.headers)))
            answer = server.answers.get(self.path, Answer(b"not here", 404))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.stated != -1:
                self.send_header("Content-Length", str(len(answer.body) if answer.stated is None else answer.stated))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(f"http://127.0.0.1:{http.server_address[1]}", answers)
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
