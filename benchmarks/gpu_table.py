"""The results of a check of a GPU, read from its records: a line each, and a verdict."""

import contextlib
import json
from pathlib import Path
from typing import Any

DETAILS = (
    "command",
    "convolution",
    "options",
    "versions",
    "tick",
    "card",
)  # kinds that the table shows only with an error


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file; a line that was cut off is left out."""
    records = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def table(records: list[dict[str, Any]], length: int = 11_000) -> str:
    """A short line for each record; at most so many characters, the last ones."""
    lines = []
    for record in records:
        kind = record.get("kind", "?")
        if kind in DETAILS and not (record.get("error") or record.get("skipped")):
            continue
        left_out = ("step", "kind", "code", "places", "slowest", "by_kind")
        fields = {key: value for key, value in record.items() if key not in left_out and value is not None}
        text = ", ".join(f"{key} {_brief(value)}" for key, value in fields.items())
        lines.append(f"{record.get('step', '')}: {kind}: {text}"[:420])
        lines += [f"    {' | '.join(map(str, place))}" for place in record.get("places", [])[:14]]
    return "\n".join(lines)[-length:] + "\n" + verdict(records)


def verdict(records: list[dict[str, Any]]) -> str:
    """All faults, by step: wrong numbers, errors, commands that failed or took too long."""
    wrong = [
        f"{record.get('step', '')}: {record.get('kind', '?')} {record.get('name', record.get('what', ''))}".strip()
        for record in records
        if record.get("ok") is False or record.get("equal") is False or record.get("error")
    ]
    return (
        f"== {len(wrong)} not as it should be: {'; '.join(dict.fromkeys(wrong))[:2000]}"
        if wrong
        else "== nothing wrong was found"
    )


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return value.strip().splitlines()[-1][:160] if value.strip() else "-"
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
