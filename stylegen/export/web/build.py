"""Build kernel.wasm from kernel.wat: ``python -m stylegen.export.web.build``. Needs the package wasmtime, of [dev]."""

from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE, BINARY = FOLDER / "kernel.wat", FOLDER / "kernel.wasm"


def built() -> bytes:
    """The WebAssembly of the source as it is; the same source gives the same bytes."""
    import wasmtime  # here, because only this needs it

    return bytes(wasmtime.wat2wasm(SOURCE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    BINARY.write_bytes(built())
