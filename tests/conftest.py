"""What several test files share."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

import build_index
from search.__main__ import main as search_main
from tests.archives import table_archive

SHARED = Path(__file__).parents[2] / "shared" / "data"


def missing(what: str) -> NoReturn:
    """Skip the test for want of something, except where everything is installed and nothing may skip."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing where nothing may be")
    pytest.skip(f"{what} is missing")


def need_module(name: str) -> None:
    if find_spec(name) is None:
        missing(f"the module {name}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real radiographs with outcomes, laid beside the checkout."""
    if not SHARED.is_dir():
        missing("../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 24 films of 12 patients, signed by histograms. Shared: do not change it."""
    folder = tmp_path_factory.mktemp("small")
    cohort = table_archive(folder / "archive")
    result = run_build("--cohort", f"table={cohort}", "--index", folder / "index")
    assert result.exit_code == 0, result.output
    return folder / "index"


def run_build(*arguments: object) -> Result:
    """build_index.py with the histogram encoder and one worker."""
    fixed = ["--encoder", "histogram", "--workers", "1"]
    return CliRunner().invoke(build_index.main, [*fixed, *map(str, arguments)], catch_exceptions=False)


def run_search(*arguments: object) -> Result:
    return CliRunner().invoke(search_main, [*map(str, arguments)], catch_exceptions=False)
