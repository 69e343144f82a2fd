"""Is what the reader finds in a dirty archive what happened? Every derived field against the writer's truth.

python -m benchmarks.nccid_recovery [--patients 2000] [--centres 20] [--seed 7]

An archive in NCCID's layout is written to a temporary folder (`examples.nccid`), read as a build would read it, and compared scan
by scan. *Lost* is a value that was written down and not found, *wrong* one found that is another than what happened or was never
written down. A flag is a doubt in `clinical_flags` of a field that the value follows from. The targets: nothing wrong in
silence, and of no field more than 2 % lost although the cells still tell it.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.nccid.archive import Written, write_archive
from examples.nccid.options import Options
from examples.nccid.truth import COLUMNS, EVENTS, Row
from index.case import Case, State
from index.cohort import open_cohort

NEEDLESS_SHARE = 0.02  # at most so much of a field may be lost although the cells tell it

_TESTS = ("rt_pcr_1_positive", "rt_pcr_2_positive")
_RT_PCR = tuple(f"date_of_{what}_of_{which}_rt_pcr" for what in ("acquisition", "result") for which in ("1st", "2nd"))
_INDEX = (
    "index_date", "date_of_positive_covid_swab", *_TESTS, *_RT_PCR, "date_of_admission", "swab_status", "swab_date", "swab_dates",
    "swabs",
)  # fmt: skip
_DIED, _DEATH = ("died", "death"), "date_of_death"
_ITU = ("itu_admission", "date_of_itu_admission", "apache", "intubation", "date_of_intubation", "intubated")
_INTUBATED = ("intubated", "intubation", "date_of_intubation")
_FILMS = ("date_of_1st_cxr", "date_of_2nd_cxr")
# which fields of the record a column follows from, beside the field of its own name
SOURCES: Mapping[str, tuple[str, ...]] = {
    "age_years": ("age",),
    "observed_days": (*_DIED, _DEATH, "date_last_known_alive"),
    "observed_from_admission": (*_DIED, _DEATH, "date_last_known_alive", "date_of_admission"),
    "died": (*_DIED, _DEATH),
    "died_days": (*_DIED, _DEATH),
    "itu_admission": _ITU,
    "itu_admission_days": _ITU,
    "intubated": _INTUBATED,
    "intubated_days": _INTUBATED,
    "worst_outcome": (*_DIED, _DEATH, *_ITU),
    "covid_status": ("final_covid_positive", "swab_status", "swab_dates", "swabs"),
    "covid_status_at_scan": (*_INDEX, "final_covid_positive"),
    "scan_phase": _INDEX,
    "days_from_index": _INDEX,
    "days_from_admission": ("date_of_admission",),
    "died_28": (*_DIED, _DEATH, "date_last_known_alive", *_INDEX),
    "died_60": (*_DIED, _DEATH, "date_last_known_alive", *_INDEX),
    "los_to_death": (*_DIED, _DEATH, "date_of_admission"),
    "cxr_severity": (*_FILMS, "cxr_severity_1", "cxr_severity_2"),
    "covid_code": (*_FILMS, "covid_code_1", "covid_code_2"),
    "pao2_kpa": ("o2_saturation_percent", "fio2_percent"),
    "o2_saturation_percent": ("pao2_kpa",),
    "fio2_percent": ("pao2_kpa",),
}


UNKNOWN = {"covid_status": "negative_unconfirmed", "covid_status_at_scan": "unknown"}  # words for "not recorded"


class Verdict(Enum):
    EQUAL = "equal"
    NEEDLESS = "lost needlessly"  # with a flag, although the cells tell it
    LOST = "lost"  # with a flag, and nobody could tell
    LOST_SILENTLY = "lost without a flag"
    WRONG_FLAGGED = "wrong with a flag"
    WRONG = "wrong in silence"


@dataclass(frozen=True)
class Difference:
    """One field of one scan that is not as it was."""

    verdict: Verdict
    field: str
    case_id: str
    patient_id: str
    expected: Any
    found: Any
    flags: tuple[str, ...]  # field:flag, of the fields that it follows from
    recoverable: bool


@dataclass(frozen=True)
class Comparison:
    """How often each field came out how, over the scans where anything was written down or found."""

    counts: Mapping[tuple[str, Verdict], int]
    differences: tuple[Difference, ...]
    missing: tuple[str, ...]  # scans of the truth that the reader did not find
    surplus: tuple[str, ...]  # cases that the truth does not know

    def values(self, field: str) -> int:
        return sum(self.counts.get((field, verdict), 0) for verdict in Verdict)

    def count(self, verdict: Verdict, field: str | None = None) -> int:
        return sum(n for (name, kind), n in self.counts.items() if kind is verdict and field in (None, name))

    def needless_share(self, field: str) -> float:
        """Of the values that the cells tell, the share that was lost, with a flag or without."""
        lost = self.count(Verdict.NEEDLESS, field) + self.count(Verdict.LOST_SILENTLY, field)
        return lost / max(1, self.values(field))


def compare(written: Written, cases: Mapping[str, Case]) -> Comparison:
    counts: Counter[tuple[str, Verdict]] = Counter()
    differences = []
    known = {row.scan.case_id for row in written.rows}
    for row in written.rows:
        case = cases.get(row.scan.case_id)
        for difference in _compared(row, case) if case else ():
            counts[difference.field, difference.verdict] += 1
            if difference.verdict is not Verdict.EQUAL:
                differences.append(difference)
    return Comparison(counts, tuple(differences), tuple(sorted(known - set(cases))), tuple(sorted(set(cases) - known)))


def _compared(row: Row, case: Case) -> Iterator[Difference]:
    found = found_values(case)
    doubts = tuple(str(case.clinical.get("clinical_flags") or "").split())
    for field in COLUMNS:
        expected, value = (_known(field, value) for value in (row.values[field], found.get(field)))
        if expected is None and value is None:
            continue
        own = _own_flags(field, doubts)
        recoverable = row.recoverable[field]
        verdict = _verdict(expected, value, flagged=bool(own), recoverable=recoverable)
        yield Difference(verdict, field, case.case_id, row.patient_id, expected, value, own, recoverable)


def _known(field: str, value: Any) -> Any:
    """The value, None where it says that nothing is known."""
    return None if value == UNKNOWN.get(field) else value


def _verdict(expected: Any, found: Any, *, flagged: bool, recoverable: bool) -> Verdict:
    if is_same(expected, found):
        return Verdict.EQUAL
    if found is not None:
        return Verdict.WRONG_FLAGGED if flagged else Verdict.WRONG
    if not flagged:
        return Verdict.LOST_SILENTLY
    return Verdict.NEEDLESS if recoverable else Verdict.LOST


def is_same(expected: Any, found: Any) -> bool:
    """The same value; numbers to a hundred-thousandth, since units are converted with rounding."""
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return abs(expected - found) <= 1e-5 * max(1.0, abs(expected))
    return bool(expected == found)


def found_values(case: Case) -> dict[str, Any]:
    """Every compared field of a case by its name; None where it is not recorded."""
    found: dict[str, Any] = dict(case.clinical)
    found |= {
        "site": case.site,
        "age_years": case.age_years,
        "sex": case.sex,
        "scan_date": case.scan_date,
        "observed_days": case.outcome.observed_days,
    }
    for name in EVENTS:
        event = case.outcome.events[name]
        found[name] = None if event.state is State.NOT_RECORDED else str(event.state)
        found[f"{name}_days"] = event.days
    return found


def _own_flags(field: str, doubts: tuple[str, ...]) -> tuple[str, ...]:
    names = {field, *SOURCES.get(field, ())}
    return tuple(doubt for doubt in doubts if doubt.rpartition(":")[0] in names)


def read_cases(folder: Path) -> tuple[dict[str, Case], dict[str, int]]:
    """The archive's cases by id, and what the cohort counted."""
    cohort = open_cohort(f"nccid={folder}")
    cases = {case.case_id: case for case in cohort.iter_cases()}
    return cases, dict(cohort.counts)


def recover(options: Options, folder: Path) -> Comparison:
    """Write an archive into `folder`, read it, compare."""
    written = write_archive(folder, options)
    return compare(written, read_cases(folder)[0])


def table(comparison: Comparison) -> Table:
    shown = Table("field", *("values", *(verdict.value for verdict in Verdict), "needless %"))
    for column in shown.columns[1:]:
        column.justify = "right"
    for field in COLUMNS:
        numbers = [str(comparison.values(field)), *(str(comparison.count(v, field) or "") for v in Verdict)]
        shown.add_row(field, *numbers, f"{100 * comparison.needless_share(field):.2f}")
    total = sum(comparison.counts.values())
    shown.add_section()
    shown.add_row("all", str(total), *(str(comparison.count(verdict)) for verdict in Verdict), "")
    return shown


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--patients", type=int, default=2000)
    arguments.add_argument("--centres", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--examples", type=int, default=0, help="show so many differences of each kind and field")
    given = arguments.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as place:
        options = Options(patients=given.patients, centres=given.centres, seed=given.seed)
        comparison = recover(options, Path(place))
    console.print(table(comparison))
    shown: Counter[tuple[str, Verdict]] = Counter()
    for one in comparison.differences:
        shown[one.field, one.verdict] += 1
        if one.verdict is not Verdict.LOST and shown[one.field, one.verdict] <= given.examples:
            console.print(
                f"{one.field}: {one.verdict.value}: {one.expected} -> {one.found}  {' '.join(one.flags)}  {one.patient_id}"
            )
    console.print(f"{len(comparison.missing)} scans not found, {len(comparison.surplus)} cases that nobody wrote.")


if __name__ == "__main__":
    main()
