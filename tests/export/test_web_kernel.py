"""The page's WebAssembly: it is that of its source, and a convolution."""

import numpy as np
import pytest

from stylegen.export.web import build

wasmtime = pytest.importorskip("wasmtime", reason="the kernel is built and run with the package wasmtime")


def test_the_binary_is_that_of_the_source():
    assert build.BINARY.read_bytes() == build.built(), "run python -m stylegen.export.web.build and commit kernel.wasm"


@pytest.mark.parametrize(
    ("rows", "columns", "inputs", "channels", "kh", "kw"),
    [(4, 4, 3, 8, 3, 3), (5, 5, 8, 16, 2, 1), (3, 11, 4, 8, 1, 2), (1, 6, 1, 24, 1, 1)],
)
def test_the_kernel_is_a_convolution(rows, columns, inputs, channels, kh, kw):
    """Also where the last four pixels of a row overlap with those before, and where results lie apart."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((rows + kh - 1, columns + kw - 1, inputs), np.float32)
    weight = rng.standard_normal((kh, kw, inputs, channels), np.float32)
    expected = sum(
        image[i : i + rows, j : j + columns] @ weight[i, j] for i in range(kh) for j in range(kw)
    )  # [rows, columns, channels]
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, build.BINARY.read_bytes()), []).exports(store)
    memory, stride = exports["memory"], 2
    at = 64, 64 + image.nbytes, 64 + image.nbytes + weight.nbytes  # image, weight, result
    for address, array in zip(at, (image, weight), strict=False):
        memory.write(store, array.tobytes(), address)
    wide = stride * columns * channels * 4  # bytes of a row of the result, of which every second pixel is written
    before = np.full((rows, stride * columns, channels), 7, np.float32)
    memory.write(store, before.tobytes(), at[2])
    exports["convolve"](
        store, *at, rows, columns, inputs, channels, kh, kw, image.shape[1] * inputs * 4, stride * channels * 4, wide
    )
    result = np.frombuffer(memory.read(store, at[2], at[2] + before.nbytes), np.float32).reshape(before.shape)
    np.testing.assert_allclose(result[:, ::stride], expected, rtol=1e-5, atol=1e-5)
    assert np.all(result[:, 1::stride] == 7)
