"""Several cohorts -> one list of cases, and what is refused before any scan is read."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from index.case import Case, Endpoint, Rejected
from index.catalogue import require_distinct_columns
from index.cohort import Cohort, CohortError, open_cohort
from index.exclusions import NO_EXCLUSIONS, Exclusions

LONGEST_NAME = 255  # bytes in the name of a file on every usual file system


@dataclass(frozen=True)
class Intake:
    """What the cohorts offer."""

    cohorts: dict[str, str]  # name -> where it was read from
    endpoints: tuple[Endpoint, ...]  # of all cohorts, the first title of each name
    cases: list[Case]
    rejected: list[Rejected]  # cases that cannot be indexed whatever their scans hold
    counts: dict[str, int] = field(default_factory=dict)  # what else the cohorts found, in words
    exclusions: Exclusions = NO_EXCLUSIONS
    excluded: int = 0  # cases left out for the exclusions' sake

    @property
    def seen(self) -> int:
        return len(self.cases) + len(self.rejected)


def take_in(arguments: Sequence[str], exclusions: Exclusions = NO_EXCLUSIONS) -> Intake:
    """The cases of all cohorts, each given as `READER=PATH`, but those excluded. Raises `CohortError`."""
    cohorts = [open_cohort(argument) for argument in arguments]
    _require_distinct_names(cohorts)
    by_name: dict[str, Endpoint] = {}
    for cohort in cohorts:
        for endpoint in cohort.endpoints:
            by_name.setdefault(endpoint.name, endpoint)
    endpoints = tuple(by_name.values())
    found = [case for cohort in cohorts for case in cohort.iter_cases()]
    offered = [case for case in found if not exclusions.cover(case)]
    try:
        require_distinct_columns(endpoints, {name for case in offered for name in case.clinical})
    except ValueError as error:
        raise CohortError(f"{', '.join(arguments)}: {error}") from error
    cases, rejected = _sifted(offered)
    sources = {cohort.name: cohort.source for cohort in cohorts}
    return Intake(sources, endpoints, cases, rejected, _counts(cohorts), exclusions, excluded=len(found) - len(offered))


def _counts(cohorts: Sequence[Cohort]) -> dict[str, int]:
    return {
        what if len(cohorts) == 1 else f"{cohort.name}: {what}": count
        for cohort in cohorts
        for what, count in cohort.counts.items()
    }


def _require_distinct_names(cohorts: Iterable[Cohort]) -> None:
    for first, second in pairwise(sorted(cohorts, key=lambda cohort: cohort.name)):
        if first.name == second.name:
            raise CohortError(
                f"two cohorts are called {first.name!r} ({first.source} and {second.source}): their patients could not be "
                "told apart; give one another name, or lay both into one archive"
            )


def _sifted(offered: Iterable[Case]) -> tuple[list[Case], list[Rejected]]:
    """(the cases that can be indexed, the others with the reason); of equal ids the first is kept."""
    kept: dict[str, Case] = {}
    rejected = []
    for case in offered:
        fault = _fault_of_names(case)
        if fault:
            rejected.append(Rejected.of(case, "unusable-name", fault))
        elif case.case_id in kept:
            owner = kept[case.case_id].cohort
            rejected.append(
                Rejected.of(
                    case,
                    "repeated-case-id",
                    f"a case of cohort {owner!r} has the same id as this one of cohort {case.cohort!r}; ids must be "
                    "unique over all cohorts; the first one was kept",
                )
            )
        else:
            kept[case.case_id] = case
    return list(kept.values()), rejected


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
