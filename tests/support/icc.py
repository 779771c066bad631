"""Small ICC profiles, written from their published numbers: ImageCms itself makes none but sRGB."""

import struct

import numpy as np

DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))  # chromaticities of red, green and blue
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_D65, _D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_profile(primaries: tuple[tuple[float, float], ...]) -> bytes:
    """A version 2 matrix profile with white D65 and the curve of sRGB."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, _D65)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _D65)) @ _BRADFORD
    values = np.linspace(0, 1, 1024)
    curve = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    tags = {f"{name}XYZ": _xyz(column) for name, column in zip("rgb", (adapt @ matrix).T, strict=True)}
    tags |= {f"{name}TRC": _curve(curve) for name in "rgb"}
    return _profile("RGB ", tags)


def gray_profile(gamma: float) -> bytes:
    """A version 2 gray profile with a power as its curve."""
    return _profile("GRAY", {"kTRC": _curve(np.linspace(0, 1, 1024) ** gamma)})


def _profile(space: str, tags: dict[str, bytes]) -> bytes:
    text = b"test\0"
    tags = {
        "desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        "cprt": b"text" + bytes(4) + text,
        "wtpt": _xyz(_D50),
        **tags,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space.encode(), b"XYZ ")
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += b"".join(struct.pack(">i", round(v * 65536)) for v in _D50)
    return header.ljust(128, b"\0") + table + body


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _curve(values: np.ndarray) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + np.rint(values * 65535).astype(">u2").tobytes()
