#!/usr/bin/env python3
"""Sentence lengths of what stylegen says: README, docs, --help, log lines, errors, docstrings and comments.

    python docs/prose.py                     # a table: kind of text, sentences, median words, over 25, over 35
    python docs/prose.py --over 35           # and every sentence that is longer, with its file
    python docs/prose.py --files             # a row for each file

A word is what stands between spaces; code in backticks is one word. Code blocks, tables and headings do not count.
"""

import argparse
import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONG, TOO_LONG = 25, 35  # words
LABEL = 5  # fewer words are a label, not a sentence
# After these a period ends no sentence.
ABBREVIATION = re.compile(r"(\b(Sec|Eq|Fig|al|e\.g|i\.e|vs|etc|cf|No|St)|\.\.)\.$")


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph."""
    text = re.sub(r"``.+?``|`[^`]+`|\$[^$]+\$", "X", " ".join(text.split()))
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found, start = [], 0
    for end in re.finditer(r"[.!?][*)\"]*(?:\[\^\w+\])?(?=\s|$)", text):
        part = text[start : end.end()]
        if not ABBREVIATION.search(part):
            found.append(part.strip())
            start = end.end()
    found.append(text[start:].strip())
    return [one for one in found if len(one.split()) >= LABEL]


def paragraphs_of_markdown(text: str) -> Iterator[str]:
    """Running text: paragraphs, captions and list items."""
    text = re.sub(r"^(```|:::).*?^\1.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->|\$\$.*?\$\$|<img[^>]*>", "", text, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        block = re.sub(r"^\s*(?:[-*>]|\d+\.|\[\^\w+\]:) ", "", block)
        lines = [line for line in block.splitlines() if not re.match(r"\s*(\||#|!\[|\[!\[|    \S)", line)]
        if lines:
            yield " ".join(lines)


def paragraphs_of_docstring(text: str) -> Iterator[str]:
    """Its paragraphs, and the description of each argument and error; code is left out."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\w[\w, *]*:) )", text):
        if not re.match(r"\s{4,}(python|--|#|[a-z]+ --)", block):
            yield re.sub(r"^\s*(?:Args|Returns|Raises|Yields):\s*", "", re.sub(r"^\s*[\w, *]+: ", "", block))


def messages(tree: ast.AST) -> Iterator[str]:
    """Texts within the code that read as sentences: errors, log lines, help."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            text = "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (bare | inside):
            text = node.value
        else:
            continue
        if text.count(" ") >= 3 and re.search(r"[.;:]", text) and "\n  " not in text:
            yield text


def comments(source: str) -> Iterator[str]:
    """Comments; lines of nothing else that follow one another are one."""
    lines: list[str] = []
    last = -2
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#( noqa| type:|!)", token.string):
            alone = not token.line[: token.start[1]].strip()
            if lines and not (alone and token.start[0] == last + 1):
                yield " ".join(lines)
                lines = []
            lines.append(token.string.lstrip("# "))
            last = token.start[0] if alone else -2
    if lines:
        yield " ".join(lines)


def texts() -> Iterator[tuple[str, Path, str]]:
    """(kind, file, paragraph) of all that is measured."""
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]:
        kind = "README" if path.stem == "README" else "docs" if path.parent.name == "docs" else "other pages"
        if path.stem != "CHANGELOG":
            yield from ((kind, path, text) for text in paragraphs_of_markdown(path.read_text()))
    for path in [*sorted((ROOT / "stylegen").rglob("*.py")), *sorted((ROOT / "configs").glob("*.py"))]:
        source = path.read_text()
        tree = ast.parse(source)
        helps = path.name == "config.py" or path.parent.name in ("cli", "config")
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield from (("docstrings", path, part) for part in paragraphs_of_docstring(text))
        yield from (("errors, log lines", path, text) for text in messages(tree))
        yield from (("--help" if helps else "comments", path, text) for text in comments(source))


def row(name: str, lengths: list[int]) -> str:
    """A line of the table."""
    over = [sum(n > bound for n in lengths) for bound in (LONG, TOO_LONG)]
    return (
        f"{name:<40}{len(lengths):>10}{statistics.median(lengths):>8.0f}{statistics.mean(lengths):>8.1f}"
        f"{over[0]:>9}{over[1]:>9}"
    )


def main() -> None:
    """Print the tables."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--files", action="store_true", help="a row for each file")
    p.add_argument("--over", type=int, metavar="WORDS", help="print every sentence of more words")
    args = p.parse_args()
    by: dict[str, list[int]] = {}
    for kind, path, text in texts():
        name = str(path.relative_to(ROOT)) if args.files else kind
        for one in sentences(text):
            by.setdefault(name, []).append(len(one.split()))
            if args.over and len(one.split()) > args.over:
                print(f"{path.relative_to(ROOT)} ({kind}, {len(one.split())}): {one}")
    print(f"{'':<40}{'sentences':>10}{'median':>8}{'mean':>8}{'over 25':>9}{'over 35':>9}")
    for name, lengths in by.items():
        print(row(name, lengths))


if __name__ == "__main__":
    main()
