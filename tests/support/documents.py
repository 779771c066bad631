"""The documents that people read, and the code in them."""

import re
from pathlib import Path

from tests.support.paths import ROOT

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
# Pages for users: their Python needs nothing but public names.
USERS_PAGES = {
    *("tutorial", "adain", "training", "lsun", "your_images", "sampling", "evaluation", "stylize", "projection"),
    *("importing", "troubleshooting"),
}
GUIDES = [README, *(page for page in PAGES if page.stem in USERS_PAGES)]
NOT_RUN = "<!-- not run: "  # before a block of code, with the reason


def blocks(document: Path, language: str) -> list[str]:
    """The code blocks of a document in a language, but for those that say why they are not run."""
    pattern = rf"(?:^({re.escape(NOT_RUN)}.*-->)\n)?^```{language}\n(.*?)^```"
    return [m[2] for m in re.finditer(pattern, document.read_text(), re.MULTILINE | re.DOTALL) if not m[1]]


def python_blocks(document: Path) -> list[str]:
    """The blocks of Python, which are run one after the other in one namespace."""
    return blocks(document, "python")
