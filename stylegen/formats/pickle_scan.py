"""The first reading of a pickle: every instruction, length, memo index and nesting is checked; nothing is built.

A pickle is a program for a stack machine. ``scan`` decodes it and follows what it would do to the stack, with a number
in place of each value: how deep the value would be nested. The result is a list of instructions. They cannot underflow
the stack, read beyond the file, use a missing memo entry, nest deeper than ``MAX_NESTING`` or build a structure that
holds itself. ``pickle_tree`` then makes inert values of them.

The meaning of the instructions: the comments of Python's own ``pickletools``, whose table gives the arguments' lengths.
"""

import pickletools
import struct
from typing import NamedTuple, NoReturn

from stylegen.formats import WeightsError

# NVIDIA's files have 7,000 to 30,000 instructions, whatever the size of their networks. An instruction costs at most
# some 300 bytes of memory besides its own argument, so that this is also a limit on memory.
MAX_INSTRUCTIONS = 1_000_000
MAX_NESTING = 200  # containers within each other; NVIDIA's files have 30 to 60
MAX_MARKS = 200  # lists and tuples begun at once
MAX_NUMBER = 64  # bytes of a whole number
MAX_PROTOCOL = 5

_UP_TO_NEWLINE = pickletools.UP_TO_NEWLINE
_LENGTHS = {  # by pickletools' code for "a length, then so many bytes"
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_OPCODES = {ord(info.code): info for info in pickletools.opcodes}
_NUMBERS = {"INT", "LONG", "LONG1", "LONG4", "FLOAT"}  # numbers whose length the file chooses

# Values taken from the stack and not a mark's, by instruction; each of these puts one value in their place.
_MAKES = {
    **dict.fromkeys(("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"), 0),
    **dict.fromkeys(("LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"), 0),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), 0),
    **dict.fromkeys(("BYTEARRAY8", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_SET", "GLOBAL", "PERSID"), 0),
    **dict.fromkeys(("TUPLE1", "BINPERSID"), 1),
    **dict.fromkeys(("TUPLE2", "STACK_GLOBAL", "REDUCE", "NEWOBJ"), 2),
    **dict.fromkeys(("TUPLE3", "NEWOBJ_EX"), 3),
}
_MAKES_OF_MARKED = {"LIST", "TUPLE", "DICT", "FROZENSET", "INST", "OBJ"}  # they take all down to the last mark
_ADDS = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}  # they change the value below those that they take
_ADDS_MARKED = {"APPENDS", "SETITEMS", "ADDITEMS"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}
# Values without depth: scalars, and names, which are leaves whatever they are made of.
_LEAVES = {name for name, count in _MAKES.items() if count == 0 and not name.startswith("EMPTY_")} | {"STACK_GLOBAL"}


class Instruction(NamedTuple):
    """One instruction, checked."""

    name: str  # as in pickletools
    at: int  # where it is in the file
    start: int  # its argument: from here
    stop: int  # to here
    number: int  # of values that it takes from the stack; index in the memo for those that put and get


class _Cell:
    """Stands for a value that is not built: its depth, and whether another value holds it."""

    __slots__ = ("depth", "held")

    def __init__(self, depth: int):
        self.depth = depth  # containers within each other
        self.held = False  # whether another value holds it: then it must not change any more


_LEAF = _Cell(0)


def scan(data: bytes | memoryview, source: str) -> tuple[list[Instruction], int]:
    """Decode and check one pickle.

    Args:
        data: the bytes; they may go on after the pickle's end.
        source: name of the file, for messages.

    Returns:
        The instructions up to and without STOP, and the position after it.

    Raises:
        WeightsError: it is no pickle, is damaged, or asks for something forbidden; the message names it.
    """
    scanner = _Scanner(memoryview(data), source)
    return scanner.scan(), scanner.position


class _Scanner:
    """Follows a pickle with depths in place of values."""

    def __init__(self, data: memoryview, source: str):
        self.data, self.source, self.position, self.at = data, source, 0, 0
        self.stack: list[_Cell] = []
        self.marks: list[int] = []  # where in the stack
        self.memo: dict[int, _Cell] = {}
        self.instructions: list[Instruction] = []

    def refuse(self, asks: str) -> NoReturn:
        raise WeightsError(f"{self.source}: cannot be read as a pickle: at byte {self.at:,} it {asks}.")

    def scan(self) -> list[Instruction]:
        while True:
            self.at = self.position
            if self.position >= len(self.data):
                self.refuse("ends in the middle of a pickle")
            info = _OPCODES.get(self.data[self.position])
            if info is None:
                self.refuse(f"has {self.data[self.position]:#04x}, which is no instruction of a pickle")
            self.position += 1
            start, stop = self.argument(info)
            if info.name == "STOP":
                if len(self.stack) != 1 or self.marks:
                    self.refuse(f"stops with {len(self.stack)} values instead of one")
                return self.instructions
            if len(self.instructions) >= MAX_INSTRUCTIONS:
                self.refuse(f"has more than {MAX_INSTRUCTIONS:,} instructions")
            count = self.follow(info.name, start, stop)
            self.instructions.append(Instruction(info.name, self.at, start, stop, count))

    def argument(self, info: pickletools.OpcodeInfo) -> tuple[int, int]:
        """Where the instruction's argument begins and ends, without its length; it lies within the file."""
        kind = info.arg.n if info.arg else 0
        start = self.position
        if kind == _UP_TO_NEWLINE:
            lines = 2 if info.name in ("GLOBAL", "INST") else 1
            for _ in range(lines):
                self.position = self.newline(info.name) + 1
            stop = self.position - 1
        else:
            if kind in _LENGTHS:
                kind, start = self.length(info.name, _LENGTHS[kind])
            self.need(info.name, start, kind)
            stop = self.position = start + kind
        if info.name in _NUMBERS and stop - start > MAX_NUMBER:
            self.refuse(f"asks for a number of {stop - start:,} bytes")
        return start, stop

    def newline(self, name: str) -> int:
        start, step = self.position, 4096
        while start < len(self.data):
            at = bytes(self.data[start : start + step]).find(b"\n")
            if at >= 0:
                return start + at
            start, step = start + step, min(2 * step, 2**20)
        self.refuse(f"ends in the middle of {name}")

    def length(self, name: str, form: str) -> tuple[int, int]:
        """The stated length of the argument, and its start."""
        start = self.position + struct.calcsize(form)
        self.need(name, self.position, struct.calcsize(form))
        (count,) = struct.unpack_from(form, self.data, self.position)
        if count < 0:
            self.refuse(f"asks for {count:,} bytes ({name})")
        return count, start

    def need(self, name: str, start: int, count: int) -> None:
        available = len(self.data) - start
        if count > available:
            self.refuse(f"asks for {count:,} bytes ({name}) where {max(available, 0):,} are left")

    def follow(self, name: str, start: int, stop: int) -> int:
        """Apply the instruction to the cells as it would to values; returns ``Instruction.number``."""
        if name in _MAKES:
            return self.make(name, self.take(_MAKES[name]))
        if name in _MAKES_OF_MARKED:
            cells = self.take_marked()
            if name == "OBJ" and not cells:
                self.refuse("makes an object of nothing (OBJ)")
            if name == "DICT" and len(cells) % 2:
                self.refuse("makes a dict of keys without values (DICT)")
            return self.make(name, cells)
        if name in _ADDS or name in _ADDS_MARKED:
            cells = self.take(_ADDS[name]) if name in _ADDS else self.take_marked()
            if name == "SETITEMS" and len(cells) % 2:
                self.refuse("sets keys without values (SETITEMS)")
            return self.add(name, cells)
        if name in _PUTS or name in _GETS:
            return self.remember(name, start, stop) if name in _PUTS else self.recall(name, start, stop)
        self.other(name, start, stop)
        return 0

    def other(self, name: str, start: int, stop: int) -> None:
        argument = int.from_bytes(self.data[start:stop], "little") if stop - start <= 8 else 0
        if name == "MARK":
            if len(self.marks) >= MAX_MARKS:
                self.refuse(f"begins more than {MAX_MARKS} lists within each other (MARK)")
            self.marks.append(len(self.stack))
        elif name == "POP":
            # On top of the stack may also be a mark.
            if self.marks and self.marks[-1] == len(self.stack):
                self.refuse("takes away a mark (POP)")
            self.take(1)
        elif name == "POP_MARK":
            self.take_marked()
        elif name == "DUP":
            (cell,) = self.take(1)
            self.stack += [cell, cell]
        elif name == "PROTO":
            if argument > MAX_PROTOCOL:
                self.refuse(f"is of protocol {argument}, which is none")
        elif name == "FRAME":
            self.need("FRAME", stop, argument)
        elif name in _EXTENSIONS:
            self.refuse(f"asks for number {argument} of Python's extension registry ({name}), which may be any object")
        else:
            self.refuse(f"asks for data outside the file ({name})")

    def take(self, count: int) -> list[_Cell]:
        floor = self.marks[-1] if self.marks else 0
        if len(self.stack) - count < floor:
            self.refuse("takes a value from an empty stack")
        cells = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return cells

    def take_marked(self) -> list[_Cell]:
        if not self.marks:
            self.refuse("ends a list that was not begun")
        start = self.marks.pop()
        cells = self.stack[start:]
        del self.stack[start:]
        return cells

    def make(self, name: str, cells: list[_Cell]) -> int:
        if name in _LEAVES:
            self.stack.append(_LEAF)
        else:
            self.stack.append(_Cell(self.hold(cells)))
        return len(cells)

    def add(self, name: str, cells: list[_Cell]) -> int:
        (target,) = self.take(1)
        if target is _LEAF:
            self.refuse(f"changes a value that cannot change ({name})")
        if target.held or target in cells:
            self.refuse(f"changes a value after another one holds it ({name}): so structures without end are made")
        target.depth = max(target.depth, self.hold(cells))
        self.stack.append(target)
        return len(cells)

    def hold(self, cells: list[_Cell]) -> int:
        """Mark the cells as held; returns the depth of the container."""
        depth = 1
        for cell in cells:
            cell.held = cell is not _LEAF
            depth = max(depth, cell.depth + 1)
        if depth > MAX_NESTING:
            self.refuse(f"nests values more than {MAX_NESTING} deep")
        return depth

    def remember(self, name: str, start: int, stop: int) -> int:
        index = len(self.memo) if name == "MEMOIZE" else self.index(name, start, stop)
        # Picklers count from 0 or 1; Python's own would make room for as many entries as the index says.
        if index > len(self.instructions):
            self.refuse(f"asks for memo entry {index:,} as instruction {len(self.instructions):,} ({name})")
        (cell,) = self.take(1)
        self.stack.append(cell)
        self.memo[index] = cell
        return index

    def recall(self, name: str, start: int, stop: int) -> int:
        index = self.index(name, start, stop)
        if index not in self.memo:
            self.refuse(f"asks for memo entry {index:,}, which is not there ({name})")
        self.stack.append(self.memo[index])
        return index

    def index(self, name: str, start: int, stop: int) -> int:
        """The argument of an instruction that puts or gets: decimal digits, or a little-endian number."""
        text = bytes(self.data[start:stop])
        if name not in ("PUT", "GET"):
            return int.from_bytes(text, "little")
        if not text.isdigit() or len(text) > 9:
            self.refuse(f"asks for a memo entry that is no number ({name})")
        return int(text)
