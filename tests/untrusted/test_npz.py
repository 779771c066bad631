"""Archives of arrays: what numpy writes comes back; anything else is refused before it costs memory."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from stylegen.untrusted import FileError, limits
from stylegen.untrusted.archives import Archive, member_names, why_unreadable
from stylegen.untrusted.npz import Npz, read_npy_header

ARRAYS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(5, dtype=">i4"),
    "scalar": np.array(2.5),
    "none": np.zeros((0, 3)),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_comes_back_as_numpy_reads_it(tmp_path, save):
    save(tmp_path / "x.npz", text=np.array('{"a": "ü𝄞"}'), **ARRAYS)
    with Npz(tmp_path / "x.npz") as file:
        assert file.names == {"text", *ARRAYS} and file.text("text") == '{"a": "ü𝄞"}'
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(file.read(name), array)
            assert file.header(name).shape == array.shape and file.read(name).dtype.isnative
        with pytest.raises(FileError, match="has no array other"):
            file.read("other")
        with pytest.raises(FileError, match="matrix is no text"):
            file.text("matrix")


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def described(descr="'<f4'", shape="(2,)", order="False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


MEMBERS = {
    "empty": (b"", "cannot be read as an array"),
    "cut header": (npy(described())[:20], "cannot be read as an array"),
    "version": (npy(described(), version=b"\x09\x00"), "cannot be read as an array"),
    "object": (npy(described("'|O'"), bytes(8)), "none of numbers"),
    "record": (npy(described("[('a', '<f4')]"), bytes(8)), "none of numbers"),
    "code": (npy("__import__('os').system('true')"), "none of numbers"),
    "token": (npy("{'descr': '<f4', 'shape': (((((("), "none of numbers"),
    "negative": (npy(described(shape="(-2,)"), bytes(8)), "none of numbers"),
    "dtype": (npy(described("'<f3'"), bytes(8)), "unknown kind, <f3"),
    "large": (npy(described(shape="(99999999999,)"), bytes(8)), "its size is not that of"),
    "larger": (npy(described(shape="(99999999999, 99999999999)"), bytes(8)), "cannot be an array of shape"),
    "dimensions": (npy(described(shape="(" + "1, " * 30 + ")"), bytes(4)), "cannot be an array of shape"),
    "short": (npy(described(), bytes(7)), "its size is not that of"),
    "long": (npy(described(), bytes(9)), "its size is not that of"),
    "long text": (npy(described("'<U99999999'", "()"), bytes(9)), "its size is not that of"),
}


@pytest.mark.parametrize(("data", "words"), MEMBERS.values(), ids=MEMBERS)
def test_a_damaged_array_is_refused_with_a_sentence(tmp_path, data, words):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", data)
    tracemalloc.start()
    try:
        with Npz(tmp_path / "x.npz") as file, pytest.raises(FileError, match=words):
            file.read("a")
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_text_that_is_none(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", npy(described("'<U2'", "()"), b"\xff" * 8))
    with Npz(tmp_path / "x.npz") as file, pytest.raises(FileError, match="a is damaged: it is no text"):
        file.text("a")


def archive(tmp_path, method=zipfile.ZIP_DEFLATED, size=8, change=None):
    """An .npz file with one array, and bytes of its entry in the central directory changed."""
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.npy", npy(described(shape=f"({size // 4},)"), bytes(size)))
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    for at, value in (change or {}).items():
        data[entry + at] = value
        data[at - 2] = value  # in the local header, two bytes earlier
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"change": {8: 1}}, "a.npy in it is protected by a password: unpack the archive with it"),
        ({"change": {10: 9}}, r"a.npy in it is compressed with Deflate64 \(as Windows does with large files\)"),
        ({"change": {10: 77}}, "a.npy in it is compressed with method 77"),
        ({"method": zipfile.ZIP_BZIP2}, "compressed with bzip2"),
        ({"method": zipfile.ZIP_LZMA}, "compressed with LZMA"),
        ({"change": {6: 255}}, "cannot be read as npz"),
        ({"size": limits.FREE_UNPACKED}, "would unpack from .* to 134,217,8.. bytes"),
    ],
)
def test_an_archive_is_refused_before_it_is_unpacked(tmp_path, options, words):
    with pytest.raises(FileError, match=rf"x\.npz: .*{words}"):
        Npz(archive(tmp_path, **options))


def test_cut_archives_and_others(tmp_path):
    data = archive(tmp_path).read_bytes()
    for size in range(1, len(data)):
        (tmp_path / "cut.npz").write_bytes(data[:size])
        with pytest.raises(FileError, match="cut.npz: cannot be read as npz"):
            Npz(tmp_path / "cut.npz")
    (tmp_path / "two.npz").write_bytes(data.replace(b"a.npy", b"a\0npy"))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "two.npz", "w") as file:
        file.writestr("a.npy", b"")
        file.writestr("a.npy", b"")
    with pytest.raises(FileError, match="it has two files of one name"):
        Npz(tmp_path / "two.npz")
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as file:
        for number in range(limits.MAX_MEMBERS + 1):
            file.writestr(str(number), b"")
    with pytest.raises(FileError, match="has 10,001 files in it"):
        Archive(tmp_path / "many.npz")


def test_backslashes_of_windows():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("cats\\1.png", "dogs\\1.png", "dogs\\"):
            file.writestr(name, b"x")
    with zipfile.ZipFile(buffer) as file:
        assert list(member_names(file)) == ["cats/1.png", "dogs/1.png"]
        assert not why_unreadable(file.infolist()[0])
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("a/b\\c.png", "a/d.png"):
            file.writestr(name, b"x")
    with zipfile.ZipFile(buffer) as file:  # a letter like any other on Linux
        assert list(member_names(file)) == ["a/b\\c.png", "a/d.png"]


def test_headers_of_arrays_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 4, 4, 3), np.uint8))
    assert read_npy_header(tmp_path / "x.npy").shape == (5, 4, 4, 3)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(FileError, match=r"x.npy: is cut off: it has not all of uint8 \(5, 4, 4, 3\)"):
        read_npy_header(tmp_path / "x.npy")
