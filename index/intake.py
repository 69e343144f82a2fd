"""Several cohorts -> one stream of cases, and what is refused before any scan is read."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from index.case import Case, Endpoint, Rejected
from index.catalogue import require_distinct_columns
from index.cohort import Cohort, CohortError, open_cohort
from index.exclusions import NO_EXCLUSIONS, Exclusions

LONGEST_NAME = 255  # bytes in the name of a file on every usual file system


class Intake:
    """What the cohorts, each given as `READER=PATH`, offer but what is excluded. Iterate it once; `counts`, `seen` and
    `excluded` are whole when that has ended.

    Raises `CohortError`, also while it is iterated.
    """

    def __init__(self, arguments: Sequence[str], exclusions: Exclusions = NO_EXCLUSIONS) -> None:
        self._arguments = arguments
        self._cohorts = [open_cohort(argument) for argument in arguments]
        _require_distinct_names(self._cohorts)
        by_name: dict[str, Endpoint] = {}
        for cohort in self._cohorts:
            for endpoint in cohort.endpoints:
                by_name.setdefault(endpoint.name, endpoint)
        self.endpoints = tuple(by_name.values())  # of all cohorts, the first title of each name
        self.cohorts = {cohort.name: cohort.source for cohort in self._cohorts}  # name -> where it was read from
        self.exclusions = exclusions
        self.seen = 0  # cases offered, the rejected among them
        self.excluded = 0

    @property
    def counts(self) -> dict[str, int]:
        """What else the cohorts found, in words."""
        return {
            what if len(self._cohorts) == 1 else f"{cohort.name}: {what}": count
            for cohort in self._cohorts
            for what, count in cohort.counts.items()
        }

    def taken(self) -> tuple[list[Case], list[Rejected]]:
        """(the cases, those refused), for who wants all at once."""
        offered = list(self)
        return (
            [one for one in offered if isinstance(one, Case)],
            [one for one in offered if isinstance(one, Rejected)],
        )

    def __iter__(self) -> Iterator[Case | Rejected]:
        """The cases, and those that cannot be indexed whatever their scans hold; of equal ids the first is kept."""
        owners: dict[str, str] = {}  # case_id -> cohort
        columns: set[str] = set()
        for cohort in self._cohorts:
            for case in cohort.iter_cases():
                if self.exclusions.cover(case):
                    self.excluded += 1
                    continue
                self.seen += 1
                if not columns.issuperset(case.clinical):
                    columns |= case.clinical.keys()
                    self._require_distinct_columns(columns)
                rejected = _refused(case, owners)
                owners.setdefault(case.case_id, case.cohort)
                yield rejected or case

    def _require_distinct_columns(self, clinical: Iterable[str]) -> None:
        try:
            require_distinct_columns(self.endpoints, clinical)
        except ValueError as error:
            raise CohortError(f"{', '.join(self._arguments)}: {error}") from error


def _require_distinct_names(cohorts: Iterable[Cohort]) -> None:
    for first, second in pairwise(sorted(cohorts, key=lambda cohort: cohort.name)):
        if first.name == second.name:
            if first.source == second.source:
                raise CohortError(f"{first.source}: is given twice; leave out one --cohort")
            raise CohortError(
                f"two cohorts are called {first.name!r} ({first.source} and {second.source}): their patients could not be "
                "told apart. A table's name stands in its TOML; two folders of nccid belong below one, or into two indexes"
            )


def _refused(case: Case, owners: dict[str, str]) -> Rejected | None:
    fault = _fault_of_names(case)
    if fault:
        return Rejected.of(case, "unusable-name", fault)
    if case.case_id in owners:
        return Rejected.of(
            case,
            "repeated-case-id",
            f"a case of cohort {owners[case.case_id]!r} has the same id as this one of cohort {case.cohort!r}; ids must be "
            "unique over all cohorts; the first one was kept",
        )
    return None


def _fault_of_names(case: Case) -> str | None:
    """Why the case's ids or files cannot be used; None where they can. No file system or table holds every text."""
    names = [case.case_id, case.patient_id, *case.files]
    if any("\0" in name for name in names):
        return "its id or file name holds a NUL character; mend it in the archive"
    try:
        encoded = [name.encode("utf-8") for name in names]
    except UnicodeEncodeError:  # Python shows bytes that are no UTF-8 as lone surrogates (PEP 383)
        return "its id or file name is not UTF-8; rename the file or its folder"
    if any(len(part) > LONGEST_NAME for name in encoded for part in name.split(os.fsencode(os.sep))):
        return f"its id or file name is longer than {LONGEST_NAME} bytes; is it really an id?"
    return None
