"""The documents that people read, and the code in them."""

import re
from pathlib import Path

from tests.support.paths import ROOT

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
USERS_PAGES = {
    *("tutorial", "adain", "training", "lsun", "sampling", "evaluation", "stylize", "projection"),
    *("importing", "troubleshooting"),
}
OTHER_PAGES = {"install", "performance", "quality", "scaling"}
# Pages for users, whose Python needs nothing but public names.
GUIDES = [README, *(page for page in PAGES if page.stem in USERS_PAGES)]
# Pages whose commands tests/test_readme.py tries, and whose Python tests/test_docs.py runs. Others have tests of their
# own, or examples that need files and networks; of those it is only checked that they can be read.
RUN = [*GUIDES, *(page for page in PAGES if page.stem in OTHER_PAGES)]
NOT_RUN = "<!-- not run: "  # before a block of code, with the reason


def blocks(document: Path, language: str) -> list[str]:
    """The code blocks of a document in a language, but for those that say why they are not run."""
    pattern = rf"(?:^({re.escape(NOT_RUN)}.*-->)\n)?^```{language}\n(.*?)^```"
    return [m[2] for m in re.finditer(pattern, document.read_text(), re.MULTILINE | re.DOTALL) if not m[1]]


def python_blocks(document: Path) -> list[str]:
    """The blocks of Python, which are run one after the other in one namespace."""
    return blocks(document, "python")


def commands(document: Path) -> list[str]:
    """The lines of its blocks of shell; lines that go on are one."""
    return [
        line for block in blocks(document, "sh") for line in block.replace("\\\n", " ").splitlines() if line.strip()
    ]
