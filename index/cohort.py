"""The seam where cases come from: `Cohort`, the table of archive readers, and `open_cohort`."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from index.archive_files import is_remote
from index.case import Case, Endpoint


class CohortError(Exception):
    """An archive that cannot be read at all: missing, empty, or described wrongly."""


class Cohort(Protocol):
    """An archive of cases."""

    name: str
    source: str  # where it was read from, for the manifest
    endpoints: tuple[Endpoint, ...]
    counts: Mapping[str, int]  # what `iter_cases` found beside cases, in words, once it has ended

    def iter_cases(self) -> Iterator[Case]: ...


COHORTS = {
    "nccid": "index.cohorts.nccid:NccidCohort",
    "table": "index.cohorts.table:TableCohort",
}


def open_cohort(argument: str) -> Cohort:
    """The cohort of a command line's `READER=PATH`. Raises `CohortError`."""
    reader, separator, path = argument.partition("=")
    if not separator or reader not in COHORTS:
        raise CohortError(f"{argument!r} is not a cohort; write READER=PATH with one of: {', '.join(COHORTS)}")
    if not is_remote(path) and not Path(path).exists():
        raise CohortError(f"{path}: no such file or folder")
    module, _, name = COHORTS[reader].partition(":")
    opened: Cohort = getattr(import_module(module), name)(path if is_remote(path) else str(Path(path).resolve()))
    return opened
