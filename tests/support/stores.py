"""Object stores for tests: fsspec's, in memory, with faults; and moto's S3 server, where it is installed."""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
import uuid

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem


class Faulty(MemoryFileSystem):
    """A store in memory whose writes can be made to fail, or to be slow; ``log`` holds the names written, in order."""

    protocol = "faulty"
    cachable = False
    store: dict = {}
    pseudo_dirs = [""]
    failures = 0  # writes that fail, the next ones
    delay = 0.0  # seconds of each
    fatal_after: int | None = None  # writes after which all fail
    log: list[str] = []

    @classmethod
    def reset(cls) -> str:
        """An empty store without faults; the URL of a run in it."""
        cls.store, cls.pseudo_dirs, cls.failures, cls.delay, cls.fatal_after, cls.log = {}, [""], 0, 0.0, None, []
        return f"faulty://bucket/{uuid.uuid4().hex[:8]}"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://"))

    def _write(self, path):
        cls = type(self)
        time.sleep(cls.delay)
        if cls.failures:
            cls.failures -= 1
            raise ConnectionError("503 Slow Down")
        if cls.fatal_after is not None:
            if cls.fatal_after == 0:
                raise ConnectionError("503 Slow Down")
            cls.fatal_after -= 1
        cls.log.append(path)

    def put_file(self, lpath, rpath, **options):
        self._write(rpath)
        return super().put_file(lpath, rpath, **options)

    def pipe_file(self, path, value, mode="overwrite", **options):
        self._write(path)
        return super().pipe_file(path, value, mode, **options)


fsspec.register_implementation("faulty", Faulty, clobber=True)


@contextlib.contextmanager
def s3_server(monkeypatch):
    """The URL of an empty bucket on a server of moto on this machine."""
    for module in ("moto", "s3fs", "flask"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install s3fs 'moto[s3,server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline and server.poll() is None
            time.sleep(0.1)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.terminate()
        server.wait()
