"""Where things are, for tests: the repository, the references that were computed elsewhere, real input beside them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = ROOT / "tests" / "references"  # numbers of other implementations: networks, metrics, style
SHARED = ROOT.parent / "shared"  # photographs and files that are not ours to keep here; tests skip without it
