"""The page of all settings, from ``stylegen/config/``: option, default, and the comment that is its --help text."""

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "stylegen" / "config"
SOURCES = FOLDER / "experiment.py", FOLDER / "sections.py"


def description(lines: list[str], field: ast.AnnAssign) -> str:
    """The comment behind a field, or the one above it."""
    assert field.end_lineno is not None
    behind = re.search(r"#\s*(.*)$", lines[field.end_lineno - 1][field.end_col_offset or 0 :])
    if behind:
        return behind[1]
    above: list[str] = []
    number = field.lineno - 2
    while lines[number].strip().startswith("#"):
        above.insert(0, lines[number].strip().lstrip("# "))
        number -= 1
    return " ".join(above)


def default(field: ast.AnnAssign) -> str:
    """The default as it is written; empty for sections and for what has none."""
    text = "" if field.value is None else ast.unparse(field.value)
    factory = re.search(r"default_factory=(?:lambda: )?(.*?)\)?$", text)
    return (factory[1] if factory else text).replace("{}", "none")


def sections() -> dict[str, tuple[ast.ClassDef, list[str]]]:
    """The dataclass of each part of ``Config``, "" for ``Config`` itself, and the lines of its file."""
    classes: dict[str, tuple[ast.ClassDef, list[str]]] = {}
    for path in SOURCES:
        source = path.read_text()
        nodes = ast.parse(source).body
        classes |= {node.name: (node, source.splitlines()) for node in nodes if isinstance(node, ast.ClassDef)}
    found = {"": classes["Config"]}
    for field in classes["Config"][0].body:
        named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if named and (owner := classes.get(ast.unparse(field.annotation))):
            found[field.target.id] = owner
    return found


def page() -> str:
    """The page, as Markdown."""
    parts = sections()
    text = [
        "# Settings",
        "",
        "Every setting of `stylegen train`, with its default. Give one as `--data.batch 16`, or in a configuration.",
        "",
    ]
    for part, (owner, lines) in parts.items():
        text += [f"## {part or 'The run'}", "", f"{ast.get_docstring(owner) or ''}".split("\n\n")[0], ""]
        text += ["| option | default | what |", "|---|---|---|"]
        for field in owner.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if field.target.id in parts or field.target.id.startswith("_"):
                    continue
                option = f"--{part}.{field.target.id}".replace("--.", "--").replace("_", "-")
                what = description(lines, field).replace("|", "\\|")
                shown = default(field).replace("|", "\\|")
                text.append(f"| `{option}` | {f'`{shown}`' if shown else ''} | {what} |")
        text.append("")
    return "\n".join(text)
