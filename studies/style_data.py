#!/usr/bin/env python3
"""The photographs and styles that the built-in networks of style transfer are trained on, from Debian packages.

    apt-get install gcompris-qt-data lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 ukui-wallpapers gnome-backgrounds \
        0ad-data && pip install scikit-image
    python studies/style_data.py --out data/style
    python studies/style_data.py --out data/style --root unpacked   # dpkg-deb -x of each package into unpacked/

The folder gets `content/` and `style/`, which training draws from, `held_out/content/` and `held_out/style/`, which it
never sees, and `sources.tsv`: every file with its package and license. Taken is what the package's own copyright file
(for scikit-image, its documentation) gives as public domain, CC0, CC BY or CC BY-SA, so not gcompris' paintings, which
it gives as GPL. The last line says how many images there are of each kind.
"""

import argparse
import fnmatch
import io
import re
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a checkout, whatever is installed
from stylegen.style_transfer import training_images

LONGER, SMALLEST = 640, 128  # pixels of the longer side that are kept, of the shorter that are needed
FREE = ("public-domain", "CC0", "CC-BY-1", "CC-BY-2", "CC-BY-3", "CC-BY-4", "CC-BY-SA")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".dds")
WALLPAPERS = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "ukui-wallpapers")
# GNOME's copyright file is no table; all of its images are CC BY-SA but one, which is CC BY.
GNOME_LICENSE = "CC-BY-SA-3.0"
# By their beginnings. Photographs become contents and styles, the rest styles alone; and what no training sees.
PHOTOGRAPHS = ("gcompris-qt-data/", "lomiri-wallpapers-", "scikit-image/")
NO_USE = (
    "_norm.",
    "_spec.",
    "_mask.",
    "gradient",
    "progressbar",
    "vnc-",
    "symbolic-",
    "firstgen",
    "focal-",
    "the-mouse",
)
HELD_OUT_CONTENTS = (
    *("astronaut", "chelsea", "coffee", "rocket", "picosdeeuropa", "life_by", "friends_by", "Wine_by", "Kleiber_by"),
    "aitzgorri_by",
)
HELD_OUT_STYLES = ("Picture_1A", "analogpattern", "string", "calla", "pixels-l", "rhythm")


@dataclass(frozen=True)
class Found:
    """An image of a package."""

    package: str
    name: str
    license: str
    data: bytes

    @property
    def is_photograph(self) -> bool:
        return f"{self.package}/{self.name}".startswith(PHOTOGRAPHS)


def licenses(copyright_file: str) -> list[tuple[list[str], str]]:
    """Patterns of files and their license, from a copyright file in Debian's format (DEP-5); a later one overrides."""
    stanzas = []
    for block in re.split(r"\n\s*\n", copyright_file):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in " \t":
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Files" in fields and fields.get("License"):
            stanzas.append((fields["Files"].split(), fields["License"].split()[0]))
    return stanzas


def license_of(path: str, stanzas: list[tuple[list[str], str]]) -> str:
    """Of a file by its name in the source package, whatever format the binary package has made of it."""
    stem = path.rsplit(".", 1)[0]
    found = ""
    for patterns, name in stanzas:
        if any(fnmatch.fnmatchcase(stem, re.sub(r"\.\w+$", "", pattern)) for pattern in patterns):
            found = name
    return found


def qt_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a Qt resource file (.rcc) of version 1 to 3, as rcc writes them."""
    version, tree, contents, names = struct.unpack_from(">4I", data, 4)
    entry = 14 if version < 2 else 22

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        return data[names + offset + 6 :][: 2 * length].decode("utf-16-be")

    def walk(node: int, folder: PurePosixPath) -> Iterator[tuple[str, bytes]]:
        at = tree + node * entry
        offset, flags = struct.unpack_from(">IH", data, at)
        path = folder / name(offset) if node else folder
        if flags & 2:  # a folder
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        (start,) = struct.unpack_from(">I", data, at + 10)
        (size,) = struct.unpack_from(">I", data, contents + start)
        content = data[contents + start + 4 :][:size]
        yield str(path), zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, PurePosixPath())


def gcompris(root: Path) -> Iterator[Found]:
    stanzas = licenses((root / "usr/share/doc/gcompris-qt-data/copyright").read_text())
    for file in sorted((root / "usr/share/gcompris-qt/rcc").glob("*.rcc")):
        for path, data in sorted(qt_resources(file.read_bytes())):
            name = path.removeprefix("gcompris/")
            if name.endswith(SUFFIXES) and any(part in name for part in ("/categorization/", "/explore_", "/lang/")):
                short = name.removeprefix("src/activities/").replace("/", "_")
                yield Found("gcompris-qt-data", short, license_of(name, stanzas), data)


def wallpapers(root: Path, package: str) -> Iterator[Found]:
    doc, images = root / "usr/share/doc" / package / "copyright", root / "usr/share/backgrounds"
    stanzas = licenses(doc.read_text())
    listed = [pattern for patterns, _ in stanzas for pattern in patterns]
    for file in sorted(path for path in images.iterdir() if path.suffix in SUFFIXES):
        name = next((pattern for pattern in listed if pattern.endswith(f"/{file.name}")), file.name)
        yield Found(package, file.name, license_of(name, stanzas), file.read_bytes())


def gnome(root: Path) -> Iterator[Found]:
    for file in sorted((root / "usr/share/backgrounds/gnome").glob("*.webp")):
        yield Found("gnome-backgrounds", file.name, GNOME_LICENSE, file.read_bytes())


_ZERO_AD = tuple(f"art/textures/{folder}/" for folder in ("terrain/types", "ui/loading", "ui/pregame/backgrounds"))


def zero_ad(root: Path) -> Iterator[Found]:
    stanzas = licenses((root / "usr/share/doc/0ad-data/copyright").read_text())
    with zipfile.ZipFile(root / "usr/share/games/0ad/mods/public/public.zip") as archive:
        for path in sorted(archive.namelist()):
            if path.startswith(_ZERO_AD) and path.endswith(".dds"):
                yield Found("0ad-data", path.replace("/", "_"), license_of(path, stanzas), archive.read(path))


def scikit_image() -> Iterator[Found]:
    for file in training_images.photograph_files("auto"):
        terms = training_images.PUBLIC_DOMAIN[file.name]
        yield Found("scikit-image", file.name, "CC0-1.0" if "CC0" in terms else "public-domain", file.read_bytes())


def everything(root: Path, is_installed: bool) -> Iterator[Found]:
    """All images of the packages, in an order that is always the same."""
    folder = {name: root if is_installed else root / name for name in (*WALLPAPERS, *_OTHERS)}
    yield from gcompris(folder["gcompris-qt-data"])
    seen: set[str] = set()
    for package in WALLPAPERS:
        for found in wallpapers(folder[package], package):
            if found.name not in seen:  # both of lomiri's lie in one folder once they are installed
                yield found
            seen.add(found.name)
    yield from gnome(folder["gnome-backgrounds"])
    yield from zero_ad(folder["0ad-data"])
    yield from scikit_image()


_OTHERS = ("gcompris-qt-data", "gnome-backgrounds", "0ad-data")


def prepared(data: bytes) -> Image.Image | None:
    """The image in RGB, transparency on white, of at most LONGER pixels; None if too small, flat or hardly opaque."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    if min(image.size) < SMALLEST or np.asarray(image)[..., 3].mean() < 200:
        return None
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    if max(image.size) > LONGER:
        factor = LONGER / max(image.size)
        width, height = (max(SMALLEST, round(side * factor)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image if np.asarray(image, np.float32).std(axis=(0, 1)).mean() > 6 else None


def kinds(found: Found) -> list[str]:
    """The folders that an image goes to."""
    if any(part in found.name for part in HELD_OUT_CONTENTS) and found.is_photograph:
        return ["held_out/content"]
    if any(part in found.name for part in HELD_OUT_STYLES):
        return ["held_out/style"]
    if found.package == "scikit-image":
        return ["content"]
    return ["content", "style"] if found.is_photograph else ["style"]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, help="folder of the prepared images; must not exist")
    p.add_argument("--root", type=Path, help="folder with a folder of each unpacked package; default: installed ones")
    a = p.parse_args()
    a.out.mkdir(parents=True)
    count: Counter[str] = Counter()
    with (a.out / "sources.tsv").open("w") as table:
        for found in everything(a.root or Path("/"), a.root is None):
            if not found.license.startswith(FREE) or any(part in found.name for part in NO_USE):
                continue
            image = prepared(found.data)
            if image is None:
                continue
            name = f"{found.package}_{re.sub(r'[^A-Za-z0-9_.-]', '_', found.name.split('.')[0])}.jpg"
            for kind in kinds(found):
                (a.out / kind).mkdir(parents=True, exist_ok=True)
                image.save(a.out / kind / name, quality=92)
                print(kind, name, found.package, found.license, sep="\t", file=table)
                count[kind] += 1
    print(", ".join(f"{kind}: {n}" for kind, n in sorted(count.items())))


if __name__ == "__main__":
    main()
