"""The page's modules as one, for a notebook, whose widgets are a single module. Each keeps a scope of its own."""

import re
from collections.abc import Mapping

IMPORT = re.compile(r"^import \{ (.+?) \} from '\./([\w.]+)';$", re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def bundled(files: Mapping[str, str], entry: str) -> str:
    """One module that does what ``entry`` does, with what it imports inside, and exports its ``render`` as a widget's.

    Args:
        files: text of the modules by name. They import each other by ``import { a, b } from './name.js';`` alone.
        entry: name of the first.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for match in IMPORT.finditer(files[name]):
                visit(match[2])
            order.append(name)

    visit(entry)
    parts = ["const modules = {};"]
    for name in order:
        names = EXPORT.findall(files[name])
        text = IMPORT.sub(lambda match: f"const {{ {match[1]} }} = modules['{match[2]}'];", files[name])
        parts.append(f"modules['{name}'] = (() => {{\n{EXPORT.sub('', text)}\nreturn {{ {', '.join(names)} }};\n}})();")
    parts.append(f"export default {{ render: modules['{entry}'].render }};\n")
    return "\n".join(parts)
