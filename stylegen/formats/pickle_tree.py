"""Pickles as inert values: records of the objects in a file, without making them.

Python's own unpickler calls whatever the file names. Here nothing is called, not even numpy: a name becomes a
``Name``, a call becomes a ``Record`` of what would be called with what, and bytes stay where they are in the file.
``pickle_arrays`` and ``torch_files`` make arrays of the records that they know. Every name must be in a table of what
weights are made of (``Names``); any other ends the reading with a sentence that names it. That is for the message's
sake: a name that is let in runs nothing either.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn

from stylegen.formats import WeightsError
from stylegen.formats.pickle_scan import Instruction, scan
from stylegen.untrusted import shown

Kind = Literal["mark", "class", "function"]
MAX_KEY = 2**60  # of whole-number keys of a dict: from 2^61 - 1 on they can be chosen to collide
MAX_NAME = 200  # letters of a name: a long one could be used very often
_SHOWN = 40  # characters of a value, in messages
_KINDS = {str: "a text", tuple: "a tuple", list: "a list", dict: "a dict", memoryview: "bytes", type(None): "None"}


class Name(NamedTuple):
    """A global that the file names: nothing but its two strings."""

    module: str
    name: str

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}", 3 * _SHOWN)


@dataclass(eq=False, slots=True)
class Record:
    """A call or an object that the file asks for, and the changes that it would make to the result."""

    callee: Name
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None  # of BUILD
    pairs: dict[Any, Any] = field(default_factory=dict)  # set as by obj[key] = value
    items: list[Any] = field(default_factory=list)  # appended


@dataclass(eq=False, slots=True)
class Persistent:
    """A reference to something beside the pickle; torch's storages are such."""

    pid: Any


class Pickle(NamedTuple):
    """One pickle of a file."""

    value: Any  # of None, bool, int, float, str, memoryview, tuple, list, dict, Name, Record, Persistent
    end: int  # position after it
    records: list[Record]  # all that it makes, in order
    persistents: list[Persistent]  # likewise


@dataclass(frozen=True)
class Names:
    """The names that a kind of file may use: exact names with their allowed use, and patterns of classes."""

    exact: dict[tuple[str, str], Kind]
    classes: re.Pattern[str] | None = None
    purpose: str = "weights"

    def kind(self, name: Name) -> Kind | None:
        """The allowed use of a name: to be mentioned, instantiated, or called; None: it may not appear."""
        if (kind := self.exact.get((name.module, name.name))) is not None:
            return kind
        return "class" if self.classes and self.classes.fullmatch(f"{name.module}.{name.name}") else None


def read(data: bytes | memoryview, names: Names, source: str) -> Pickle:
    """Read one pickle; the data may go on after it.

    Args:
        data: the bytes.
        names: the names that it may use.
        source: name of the file, for messages.

    Raises:
        WeightsError: it is damaged, or asks for something that weights do not need; the message names it.
    """
    instructions, end = scan(data, source)
    builder = _Builder(memoryview(data), names, source)
    return Pickle(builder.build(instructions), end, builder.records, builder.persistents)


def printable(text: str, limit: int = _SHOWN) -> str:
    """Text of the file, fit for a terminal, and shorter than elsewhere: messages name several."""
    return shown(text, limit)


def describe(value: Any, depth: int = 2) -> str:
    """A few words for a value; short, whatever it is."""
    if isinstance(value, str):
        return repr(printable(value))
    if value is None or isinstance(value, bool | int | float):
        return printable(repr(value))
    if isinstance(value, memoryview):
        return f"{len(value):,} bytes"
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, Record):
        return f"{value.callee}(…)"
    if isinstance(value, tuple | list) and depth:
        items = ", ".join(describe(item, depth - 1) for item in value[:4])
        return f"({items}{', …' if len(value) > 4 else ''})"
    return f"a {type(value).__name__.lower()}"


def _kind(value: Any) -> str:
    """The kind of a value, or, of plain values, the value itself."""
    return _KINDS.get(type(value)) or describe(value)


def _text(data: memoryview, name: str) -> str:
    if name == "STRING":  # of Python 2: a quoted literal; escapes are not used by what weights are made of
        raw = bytes(data).rstrip(b"\r")
        if len(raw) < 2 or raw[:1] not in (b"'", b'"') or raw[-1:] != raw[:1] or b"\\" in raw:
            raise ValueError("a text of protocol 0 with escapes or without quotes")
        return raw[1:-1].decode("latin-1")
    if name.endswith("BINSTRING"):  # of Python 2: text or bytes, which latin-1 keeps apart from none
        return str(data, "latin-1")
    if name == "UNICODE":
        return str(data, "raw-unicode-escape")
    return str(data, "utf-8", "surrogatepass")


def _number(data: memoryview, name: str) -> int | float | bool:
    if name == "FLOAT":
        return float(bytes(data))
    if name == "INT" and bytes(data) in (b"00", b"01"):
        return bytes(data) == b"01"
    if name in ("INT", "LONG"):
        return int(bytes(data).rstrip(b"L"))
    if name == "BINFLOAT":
        number: float = struct.unpack(">d", data)[0]
        return number
    return int.from_bytes(data, "little", signed=name not in ("BININT1", "BININT2"))


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TUPLES = {"EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"}
_LISTS, _DICTS, _SETS = {"EMPTY_LIST", "LIST"}, {"EMPTY_DICT", "DICT"}, {"EMPTY_SET", "FROZENSET"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST", "OBJ"}
_ADDS = {"APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS", "BUILD"}


class _Builder:
    """Executes checked instructions with inert values."""

    def __init__(self, data: memoryview, names: Names, source: str):
        self.data, self.names, self.source, self.at = data, names, source, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.records: list[Record] = []
        self.persistents: list[Persistent] = []

    def refuse(self, asks: str) -> NoReturn:
        raise WeightsError(f"{self.source}: at byte {self.at:,} it {asks}; nothing in it was run.")

    def build(self, instructions: list[Instruction]) -> Any:
        for step in instructions:
            self.at = step.at
            argument = self.data[step.start : step.stop]
            if (act := _STACK_ACTIONS.get(step.name)) is not None:
                act(self, step)
            elif step.name in _ADDS:
                values = self.take(step.number)
                if step.name in ("APPENDS", "SETITEMS", "ADDITEMS"):
                    self.marks.pop()
                self.add(step.name, self.stack[-1], values)
            else:
                values = self.take(step.number)
                if step.name in ("LIST", "TUPLE", "DICT", "FROZENSET", "INST", "OBJ"):
                    self.marks.pop()
                self.stack.append(self.make(step.name, values, argument))
        (value,) = self.stack
        return value

    def take(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def make(self, name: str, values: list[Any], argument: memoryview) -> Any:
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name in _TEXTS or name in _NUMBERS:
            try:
                return _text(argument, name) if name in _TEXTS else _number(argument, name)
            except ValueError:
                self.refuse(f"has a damaged text or number ({name})")
        if name in _BYTES:
            return argument.toreadonly()
        if name in _TUPLES:
            return tuple(values)
        if name in _LISTS:
            return values
        if name in _DICTS:
            return self.fill({}, values)
        if name in _SETS:
            return self.fill({}, [x for item in values for x in (item, True)])
        if name in ("GLOBAL", "STACK_GLOBAL"):
            return self.name(values or self.pair(argument))
        if name in _CALLS:
            return self.call(name, values, argument)
        self.persistents.append(Persistent(values[0] if values else str(argument, "latin-1")))
        return self.persistents[-1]

    def pair(self, argument: memoryview) -> list[str]:
        return bytes(argument).decode("utf-8", "backslashreplace").split("\n")

    def name(self, pair: list[Any]) -> Name:
        if not all(isinstance(part, str) for part in pair):
            self.refuse(f"asks for the name {describe(pair)}, which is no text")
        name = Name(*pair)
        if max(map(len, pair)) > MAX_NAME or self.names.kind(name) is None:
            self.refuse(f"asks for {name}, which is no part of {self.names.purpose} and might run code")
        return name

    def call(self, name: str, values: list[Any], argument: memoryview) -> Record:
        """The record of REDUCE (any callable), or of one of the others (objects of a class)."""
        kwargs: Any = {}
        if name == "INST":
            callee, args = self.name(self.pair(argument)), tuple(values)
        elif name == "OBJ":
            callee, args = values[0], tuple(values[1:])
        elif name == "NEWOBJ_EX":
            callee, args, kwargs = values
        else:
            callee, args = values
        if not isinstance(callee, Name):
            self.refuse(f"asks to call {describe(callee)}, which is no name ({name})")
        if not isinstance(args, tuple) or not isinstance(kwargs, dict):
            self.refuse(f"asks to call {callee} with {describe(args)} instead of a tuple of arguments")
        kind = self.names.kind(callee)
        if kind == "mark" or (kind == "function" and name != "REDUCE"):
            self.refuse(f"asks for {callee}{describe(args)}, a call that no file of {self.names.purpose} makes")
        record = Record(callee, args, kwargs)
        self.records.append(record)
        return record

    def add(self, name: str, target: Any, values: list[Any]) -> None:
        if name == "BUILD" and isinstance(target, Record):
            if target.state is not None:
                self.refuse(f"sets the state of {target.callee} twice (BUILD)")
            target.state = values[0]
        elif name in ("SETITEM", "SETITEMS") and isinstance(target, Record | dict):
            self.fill(target.pairs if isinstance(target, Record) else target, values)
        elif name in ("APPEND", "APPENDS") and isinstance(target, Record | list):
            (target.items if isinstance(target, Record) else target).extend(values)
        elif name == "ADDITEMS" and isinstance(target, dict):
            self.fill(target, [x for item in values for x in (item, True)])
        else:
            self.refuse(f"asks to change {_kind(target)} ({name})")

    def fill(self, mapping: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
        """Keys and values in turn; a set is a dict of its members."""
        for key, value in zip(values[::2], values[1::2], strict=True):
            plain = type(key) is str or key is None or (type(key) in (int, bool) and abs(key) < MAX_KEY)
            if not plain:
                self.refuse(f"has a dict or a set with {_kind(key)} for a key")
            mapping[key] = value
        return mapping


def _mark(builder: _Builder, step: Instruction) -> None:
    builder.marks.append(len(builder.stack))


def _pop_mark(builder: _Builder, step: Instruction) -> None:
    del builder.stack[builder.marks.pop() :]


def _put(builder: _Builder, step: Instruction) -> None:
    builder.memo[step.number] = builder.stack[-1]


def _get(builder: _Builder, step: Instruction) -> None:
    builder.stack.append(builder.memo[step.number])


_STACK_ACTIONS: dict[str, Callable[[_Builder, Instruction], None]] = {
    "MARK": _mark,
    "POP": lambda builder, step: builder.stack.pop(),
    "POP_MARK": _pop_mark,
    "DUP": lambda builder, step: builder.stack.append(builder.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "PROTO": lambda builder, step: None,
    "FRAME": lambda builder, step: None,
}
