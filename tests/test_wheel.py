"""The wheel holds what it should, and works in an environment that has nothing but its declared dependencies."""

import email
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import stylegen.runs.load
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
FOR_TRAINING_ONLY = ("tensorflow_datasets", "grain", "orbax", "tensorboardX")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by the build backend that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new virtual environment with the wheel and its dependencies, and no others; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (metadata,) = importlib.metadata.distributions(name="stylegen", path=[str(packages)])
    for name in closure(metadata.requires or []):
        link(importlib.metadata.distribution(name), packages)
    return folder


def closure(requirements: list[str]) -> set[str]:
    """Names of the distributions that these requirements need, as far as they are installed here."""
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in requirements]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            key = canonicalize_name(requirement.name), wanted
            if key not in seen:
                seen.add(key)
                needed = importlib.metadata.distribution(requirement.name).requires or []
                todo += [(Requirement(text), wanted) for text in needed]
    return {name for name, _ in seen}


def link(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    """Show an installed distribution in another environment, by links to its top folders and files."""
    for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        target = packages / top
        if not target.exists() and not top.endswith(".pth"):
            target.symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture
def run(environment, tmp_path):
    """Run a program of the environment, outside of the checkout; its standard output and error together."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run_program(program: str, *arguments: str, status: int = 0) -> str:
        command = [str(environment / "bin" / program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=900)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run_program


@pytest.fixture(scope="module")
def generators(make_generator, tmp_path_factory) -> list[str]:
    """A tiny generator as a file, and those that come with the package."""
    path = tmp_path_factory.mktemp("generator") / "tiny.safetensors"
    stylegen.runs.load.save_generator(make_generator(), path)
    return [str(path), *stylegen.runs.load.shipped()]


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"stylegen"}
    assert "stylegen/py.typed" in names
    assert [n for n in names if n.startswith("stylegen/configs/")] == [f"stylegen/configs/{e}.py" for e in EXPERIMENTS]
    assert "toy_bedrooms" in stylegen.runs.load.shipped()
    for generator in stylegen.runs.load.shipped():
        assert f"stylegen/assets/generators/{generator}.safetensors" in names
    assert "stylegen/assets/style_transfer.safetensors" in names
    for page in (ROOT / "stylegen" / "explorer" / "page").iterdir():
        assert f"stylegen/explorer/page/{page.name}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or "test" in name]


def test_the_long_description_needs_no_checkout(wheel):
    """PyPI shows it: every image and link has a whole address, of this version's tag, and its file is there."""
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    message = email.message_from_bytes(archive.read(name))
    assert message["Description-Content-Type"] == "text/markdown"
    text = str(message.get_payload())
    addresses = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    assert not [address for address in addresses if not address.startswith("https://")]
    tag = f"v{message['Version']}"
    images = re.findall(rf"https://raw\.githubusercontent\.com/[\w-]+/stylegen/{re.escape(tag)}/([^)\"\s]+)", text)
    links = re.findall(rf"https://github\.com/[\w-]+/stylegen/blob/{re.escape(tag)}/([^)#\s]+)", text)
    assert "docs/images/mixing64.png" in images and "LICENSE" in links and "docs/install.md" in links
    assert not [path for path in images + links if not (ROOT / path).exists()]


def test_imports_the_installed_package(run, environment):
    assert str(environment) in run("python", "-c", "import stylegen; print(stylegen.__file__)")


def test_help(run):
    output = run("stylegen", "--help")
    for verb in ("train", "sample", "evaluate", "prepare", "stylize", "train_style"):
        assert verb in output
        assert f"usage: stylegen {verb}" in run("stylegen", verb, "--help")


def test_experiments_are_found_by_name(run):
    assert ", ".join(EXPERIMENTS) in run("stylegen", "train", "--config", "no_such", "--dry-run", status=2)
    output = run("stylegen", "train", "--config", "lsun_bedroom_256", "--dry-run")
    assert '"category": "bedroom"' in output
    assert "26,086,229" in output


def test_sampling_imports_nothing_for_training(run, generators, tmp_path):
    """Nor can it: the environment has those packages, so only ``sys.modules`` tells."""
    program = "import sys\nfrom stylegen.cli import main\nassert main(sys.argv[1:]) == 0\nprint('loaded', *sys.modules)"
    for i, generator in enumerate(generators):
        arguments = ["sample", "--run", generator, "--seeds", "1,2", "--out", f"out{i}"]
        modules = run("python", "-c", program, *arguments).split("loaded")[1].split()
        assert "jax" in modules
        assert not set(FOR_TRAINING_ONLY) & set(modules)
        assert (tmp_path / f"out{i}" / "seed0002.png").is_file()


def test_every_declared_dependency_is_used(run):
    """The loop and the data import with what is declared, and without what only the tests have."""
    modules = "stylegen.train, stylegen.data.prepared.source, stylegen.data.raw.opening, stylegen.data.tfds_source"
    run("python", "-c", f"import {modules}, stylegen.io.video, imageio_ffmpeg, stylegen.runs.directory, tensorboardX")
    for absent in ("pytest", "cv2", "matplotlib", "IPython"):
        run("python", "-c", f"import {absent}", status=1)
