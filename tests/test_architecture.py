"""The shape of the house: imports point one way, and answering a query needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.films import dicom_bytes, phantom

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "embed": {"embed"},
    "index": {"index"},
    "search": {"search", "embed", "index"},
    "web": {"web", "search", "embed", "index"},
    "build_index.py": {"embed", "index"},
}
# an entry point like build_index.py: a report without an index reads the scans as a build would, with its function
EXCEPTIONS = {"index/__main__.py": {"build_index"}}
OURS = {"embed", "index", "search", "web", "build_index", "examples", "benchmarks", "tests"}


def imported(path: Path) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_imports_point_one_way(place: str) -> None:
    files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
    for path in files:
        exceptions = EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), set())
        assert imported(path) & OURS <= MAY_IMPORT[place] | exceptions, path


def test_only_the_export_imports_torch() -> None:
    for place in MAY_IMPORT:
        for path in [ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"):
            if path != ROOT / "embed" / "export.py":
                assert not imported(path) & {"torch", "timm", "torchvision"}, path


def test_a_query_is_answered_without_torch(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "film.dcm").write_bytes(dicom_bytes(phantom()))
    script = (
        "import sys; sys.modules['torch'] = None\n"  # any import of it now fails
        "from embed.encoder import load_encoder; load_encoder('efficientnet-lite0')\n"
        "from search.__main__ import main; main()"
    )
    arguments = ["query", str(tmp_path / "film.dcm"), "--index", str(small_index), "--json"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"neighbours"' in done.stdout
