"""Draws ``docs/images/rooms.svg``: the rooms of the package, and which imports which, read from the sources.

    python docs/rooms.py

Each room stands above those that it imports. A line that follows from others is left out.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
WIDTH, GAP_X, GAP_Y, HEIGHT = 112, 14, 44, 28  # of a box, between boxes and rows, in pixels
LEFT_OUT = {"errors", "paths", "version", "array_types", "sphere", "stylegen"}  # a few lines each, used everywhere


def room_of(path: Path) -> str:
    """The folder of the package that a file lies in, or the file's own name."""
    parts = path.relative_to(ROOT / "stylegen").with_suffix("").parts
    return "stylegen" if parts == ("__init__",) else parts[0]


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("stylegen.")}
    return found


def imports() -> dict[str, set[str]]:
    """Room to the rooms that it imports."""
    files = sorted((ROOT / "stylegen").rglob("*.py"))
    rooms = {room_of(path) for path in files} - LEFT_OUT
    graph: dict[str, set[str]] = {room: set() for room in rooms}
    for path in files:
        if (room := room_of(path)) in rooms:
            graph[room] |= (imported_rooms(path) & rooms) - {room}
    return graph


def reachable(graph: dict[str, set[str]], room: str) -> set[str]:
    """All rooms that a room needs, directly or not."""
    found: set[str] = set()
    todo = list(graph[room])
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += graph[one]
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same order with as few lines as show it."""
    return {
        room: {one for one in needed if not any(one in reachable(graph, other) for other in needed - {one})}
        for room, needed in graph.items()
    }


def rows(graph: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by height, those that import nothing first."""
    height: dict[str, int] = {}
    while len(height) < len(graph):
        for room in sorted(graph.keys() - height.keys()):
            if graph[room] <= height.keys():
                height[room] = max((height[one] + 1 for one in graph[room]), default=0)
    return [[room for room in sorted(height) if height[room] == level] for level in range(max(height.values()) + 1)]


def draw(graph: dict[str, set[str]]) -> str:
    """The picture, as SVG."""
    levels, lines = rows(graph), reduced(graph)
    columns = max(map(len, levels))
    width, height = columns * (WIDTH + GAP_X) + GAP_X, len(levels) * (HEIGHT + GAP_Y)
    place: dict[str, tuple[float, float]] = {}
    for level, rooms in enumerate(levels):
        # Below what it is used by, so that lines are short: rooms are placed by the mean of those that they import.
        rooms = sorted(rooms, key=lambda room: sum(place[x][0] for x in lines[room]) / max(len(lines[room]), 1))
        left = (width - len(rooms) * (WIDTH + GAP_X) + GAP_X) / 2
        for column, room in enumerate(rooms):
            place[room] = left + column * (WIDTH + GAP_X), height - (level + 1) * (HEIGHT + GAP_Y) + GAP_Y / 2
    shapes = []
    for room in sorted(lines):
        for one in sorted(lines[room]):
            (x, y), (u, v) = place[room], place[one]
            ends = f'x1="{x + WIDTH / 2:g}" y1="{y + HEIGHT:g}" x2="{u + WIDTH / 2:g}" y2="{v:g}"'
            shapes.append(f'<line {ends} stroke="#8aa" stroke-width="1.2"/>')
    for room, (x, y) in sorted(place.items()):
        box = f'x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}"'
        shapes.append(f'<rect {box} rx="5" fill="#eef3f8" stroke="#567"/>')
        middle = f'x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 4:g}"'
        shapes.append(f'<text {middle} text-anchor="middle" font-family="sans-serif" font-size="12">{room}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *shapes, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(imports()))
