"""What the reader finds in a dirty archive of 2,000 patients is what happened, or is not recorded and flagged."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.nccid_recovery import (
    NEEDLESS_SHARE,
    Comparison,
    Verdict,
    compare,
    is_same,
    read_cases,
    table,
)
from examples.nccid.archive import Written, write_archive
from examples.nccid.options import Options
from examples.nccid.truth import COLUMNS
from index.case import Case, Event, Outcome, State
from index.cohorts.nccid import MISPLACED, NO_IMAGES, NO_RECORD, UNREADABLE

pytestmark = pytest.mark.slow

PATIENTS, CENTRES = 2000, 20
OFTEN = 100  # so often at least does each field hold a value, so that a share of 2 % means something


@dataclasses.dataclass(frozen=True)
class Recovered:
    written: Written
    cases: dict[str, Case]
    counts: dict[str, int]
    comparison: Comparison


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> Recovered:
    out = tmp_path_factory.mktemp("recovery")
    written = write_archive(out, Options(patients=PATIENTS, centres=CENTRES))
    cases, counts = read_cases(out)
    return Recovered(written, cases, counts, compare(written, cases))


def listed(comparison: Comparison, *verdicts: Verdict) -> list[str]:
    found = [one for one in comparison.differences if one.verdict in verdicts]
    return [f"{one.field}: {one.expected!r} -> {one.found!r} {one.flags} {one.patient_id}" for one in found]


def test_every_scan_is_found_and_no_other(recovered: Recovered) -> None:
    assert recovered.comparison.missing == recovered.comparison.surplus == ()
    assert len(recovered.cases) == len(recovered.written.rows) > 2 * PATIENTS


def test_nothing_is_wrong_in_silence(recovered: Recovered) -> None:
    assert listed(recovered.comparison, Verdict.WRONG) == []


def test_nothing_is_lost_without_a_flag(recovered: Recovered) -> None:
    assert listed(recovered.comparison, Verdict.LOST_SILENTLY) == []


@pytest.mark.parametrize("field", COLUMNS)
def test_what_the_cells_tell_is_rarely_lost(recovered: Recovered, field: str) -> None:
    assert recovered.comparison.values(field) >= OFTEN
    assert recovered.comparison.needless_share(field) <= NEEDLESS_SHARE


def test_patients_without_records_or_images_and_damaged_files_are_counted(recovered: Recovered) -> None:
    written = recovered.written
    assert recovered.counts == {
        NO_RECORD: written.unpaired_images,
        NO_IMAGES: written.unpaired_records,
        UNREADABLE: written.damaged_records,
        MISPLACED: 0,
    }
    assert sorted(recovered.counts.values())[1] > 0


def test_the_comparison_sees_every_kind_of_error(recovered: Recovered) -> None:
    row = next(
        row
        for row in recovered.written.rows
        if row.values["crp_mg_per_l"] and row.recoverable["crp_mg_per_l"] and row.values["died"] == "no"
    )
    case = recovered.cases[row.scan.case_id]

    def verdict(found: float | None, flags: str) -> Verdict:
        clinical = {**case.clinical, "crp_mg_per_l": found, "clinical_flags": flags}
        changed = dataclasses.replace(case, clinical=clinical)
        comparison = compare(
            dataclasses.replace(recovered.written, rows=(row,)), {**recovered.cases, case.case_id: changed}
        )
        return next((one.verdict for one in comparison.differences if one.field == "crp_mg_per_l"), Verdict.EQUAL)

    right = float(row.values["crp_mg_per_l"])
    own, other = "crp_mg_per_l:unreadable", "age:unreadable crp_mg_per_l_2:unreadable"
    assert verdict(right, "") is Verdict.EQUAL
    assert verdict(right + 0.1, other) is Verdict.WRONG
    assert verdict(right + 0.1, own) is Verdict.WRONG_FLAGGED
    assert verdict(None, own) is Verdict.NEEDLESS
    assert verdict(None, other) is Verdict.LOST_SILENTLY


def test_an_outcome_that_is_not_recorded_is_no_no(recovered: Recovered) -> None:
    row = next(row for row in recovered.written.rows if row.values["died"] is None)
    case = recovered.cases[row.scan.case_id]
    outcome = Outcome({**case.outcome.events, "died": Event(State.NO)}, case.outcome.observed_days)
    changed = dataclasses.replace(case, outcome=outcome, clinical={})
    comparison = compare(dataclasses.replace(recovered.written, rows=(row,)), {case.case_id: changed})
    assert ("died", Verdict.WRONG) in {(one.field, one.verdict) for one in comparison.differences}


def test_a_scan_that_is_not_read_is_missing(recovered: Recovered) -> None:
    row = recovered.written.rows[0]
    alone = dataclasses.replace(recovered.written, rows=(row,))
    assert compare(alone, {}).missing == (row.scan.case_id,)


def test_numbers_are_the_same_to_a_hundred_thousandth() -> None:
    assert is_same(5.2, 5.20004) and not is_same(5.2, 5.201)
    assert not is_same(0.0, None) and not is_same("yes", "no")


def test_the_table_shows_every_field(recovered: Recovered) -> None:
    text = io.StringIO()
    Console(file=text, width=150).print(table(recovered.comparison))
    assert all(f" {name} " in text.getvalue() for name in (*COLUMNS, *(verdict.value for verdict in Verdict)))


@pytest.mark.parametrize(
    "options",
    [
        Options(patients=150, centres=3, seed=11, trees=("ct", "mri"), positive_share=0.9),
        Options(patients=150, centres=1, seed=12, training_level=False, metadata=False),
        Options(patients=150, centres=5, seed=13, dirt=0.8, broken_share=0.1, side=0),
    ],
    ids=["no films", "one centre, no metadata", "very dirty"],
)
def test_other_archives_are_recovered_too(options: Options, tmp_path: Path) -> None:
    written = write_archive(tmp_path, options)
    comparison = compare(written, read_cases(tmp_path)[0])
    assert comparison.missing == comparison.surplus == ()
    assert listed(comparison, Verdict.WRONG, Verdict.LOST_SILENTLY) == []
