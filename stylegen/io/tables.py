"""Tables as text, for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, tuple[str, str]],
    *,
    header: bool = True,
    rule: bool = False,
) -> str:
    """Rows as text, in columns that line up.

    Args:
        rows: values by key; None, or no value, is a dash.
        columns: by key of a row, the title and the format. A format that begins with ``<`` puts the column to the left,
            any other to the right.
        header: begin with the titles.
        rule: a line of dashes below the titles.
    """
    cells = [[title for title, _ in columns.values()]] if header else []
    for row in rows:
        values = [(row.get(key), form) for key, (_, form) in columns.items()]
        cells.append(["-" if value is None else format(value, form) for value, form in values])
    widths = [max((len(line[i]) for line in cells), default=0) for i in range(len(columns))]
    sides = ["<" if form.startswith("<") else ">" for _, form in columns.values()]
    alignments = [f"{side}{width}" for side, width in zip(sides, widths, strict=True)]
    lines = ["  ".join(map(format, line, alignments)).rstrip() for line in cells]
    if header and rule:
        lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)
