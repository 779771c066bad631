"""Small changes of the bytes of a file, for fuzzers."""

import random
import struct
from collections.abc import Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)  # at the limits of integers


def mutate(data: bytes, rng: random.Random, codes: Sequence[int], others: Sequence[bytes] = ()) -> bytes:
    """One to four small changes.

    Args:
        data: the file.
        rng: decides.
        codes: bytes that mean something in files of this kind.
        others: files of this kind, of which stretches are put in.
    """
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(9 if others else 8)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1 and changed:
            changed[at % len(changed)] = rng.choice(codes)
        elif kind == 2:
            changed[at:at] = bytes([rng.choice(codes)])
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 9)]
        elif kind == 4:
            changed = changed[:at]
        elif kind == 5:
            changed[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
        elif kind == 6:
            changed[at:at] = changed[at : at + rng.randrange(1, 40)] * rng.randrange(1, 5)
        elif kind == 7:
            changed[at : at + 1] = rng.randbytes(rng.randrange(5))
        elif others:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at:at] = other[start : start + rng.randrange(1, 60)]
    return bytes(changed)
