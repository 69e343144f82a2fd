"""The capacity question asked of an index: forecasts for a list of inpatients, and how such forecasts did for held-out patients."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.case import State
from index.store import RowNumbers
from search.answer import QuestionError
from search.capacity import (
    FEWEST_HELD_OUT,
    HORIZON,
    NEIGHBOURS,
    REPLICATES,
    SEED,
    Calibration,
    Courses,
    Expected,
    Timed,
    at_risk,
    calibration_of,
    courses_of,
    expected_of,
    forecast,
    timed_shares,
)  # fmt: skip
from search.disclosure import HIDDEN, lower_end, released, released_of, released_parts, text, upper_end
from search.engine import SearchEngine
from search.nearest import Codes
from search.study import Study
from search.study_plan import QuerySource, StudyPlan
from search.study_tables import ASKED

HELD_OUT = 2000  # patients at most
HELD_OUT_REPLICATES = 400
CAPACITY, CALIBRATION, RUN, SUMMARY = "capacity.csv", "calibration.csv", "run.json", "summary.txt"
DIED = "died"


@dataclass(frozen=True)
class CapacityQuestion:
    """Whom a study's plan asks about, of which endpoint, and on which day."""

    plan: StudyPlan
    endpoint: str
    today: date | None = None  # None: every scan is taken as today's


@dataclass(frozen=True, eq=False)
class CapacityAnswer:
    """Exact figures: for whoever may see the patients. What leaves is written by `write_capacity`."""

    question: CapacityQuestion
    endpoint_title: str
    competing: str | None
    expected: Sequence[Expected]
    calibration: Sequence[Calibration]
    timed: Timed
    left_out: dict[str, int]  # reason -> patients of the list that are not forecast
    usable: int  # persons of the archive whose course is known
    k: int
    held_out: int
    snapshot: str
    encoder: str
    code: str


@dataclass(frozen=True, eq=False)
class _Listed:
    """Patients of the list: their neighbours (q, k), days since the scan (q,) and own persons in the archive."""

    rows: RowNumbers
    since_scan: npt.NDArray[np.int64]
    own: list[Codes]
    left_out: Counter[str]


def ask_capacity(
    engine: SearchEngine, question: CapacityQuestion, *, progress: Callable[[int], None] = lambda count: None, workers: int = 1
) -> CapacityAnswer:  # fmt: skip
    """The answer. Raises `QuestionError` and what `Study` raises."""
    plan, manifest = question.plan, engine.snapshot.manifest
    titles = {endpoint.name: endpoint.title for endpoint in manifest.endpoints}
    if question.endpoint not in titles:
        raise QuestionError(
            f"the index has no endpoint {question.endpoint!r}; there are: {', '.join(titles) or 'none'}"
        )
    if plan.source is QuerySource.ARCHIVE and plan.asked is None:
        raise QuestionError("say who is on the list: --table, --folder, --cohort, scans, or --asked with a condition")
    if plan.kind not in engine.archives:
        raise QuestionError(f"the index holds no {plan.kind} scans, only {', '.join(engine.archives)}")
    competing = DIED if DIED in titles and question.endpoint != DIED else None
    archive = engine.archives[plan.kind]
    courses = courses_of(engine.snapshot.catalogue, plan.kind, question.endpoint, competing)
    allowed = engine.rows_where(plan.kind, plan.where)
    recorded = archive.one_row_a_patient(allowed & (archive.votes[question.endpoint] > 0), np.empty(0, np.int64))
    timed = timed_shares(engine.snapshot.catalogue, plan.kind, question.endpoint, courses, recorded)
    if timed.fault:
        raise QuestionError(f"the archive cannot tell rates of {titles[question.endpoint]!r}: {timed.fault}")
    eligible = allowed & courses.usable
    everybody = archive.one_row_a_patient(eligible, np.empty(0, np.int64))
    plan = replace(plan, k=plan.k or min(NEIGHBOURS, archive.patient_count))
    listed = _listed(Study(engine, plan, among=eligible, workers=workers), question, competing, progress)
    if not len(listed.rows):
        told = ", ".join(sorted(listed.left_out))  # without counts, which may be small
        raise QuestionError(f"nobody on the list can be forecast: {told or 'it is empty'}")
    found = forecast(listed.rows, listed.since_scan, listed.own, courses, archive.patients, everybody)
    held, since = _held_out(everybody, courses, listed.since_scan)
    calibration: list[Calibration] = []
    if len(held) >= FEWEST_HELD_OUT:
        study = Study(
            engine, replace(plan, source=QuerySource.ARCHIVE, queries=(), asked=None), among=eligible, rows=held
        )
        calibration = _calibration(study, courses, archive.patients, everybody, dict(zip(held.tolist(), since.tolist(), strict=True)), len(listed.rows), progress)  # fmt: skip
    return CapacityAnswer(
        question, titles[question.endpoint], competing, expected_of(found), calibration, timed, dict(sorted(listed.left_out.items())), len(everybody),
        study_k(plan), len(held), manifest.name, manifest.fingerprint, manifest.code_version,
    )  # fmt: skip


def study_k(plan: StudyPlan) -> int:
    return plan.k or NEIGHBOURS


def write_capacity(answer: CapacityAnswer, out: Path, *, exact: bool = False) -> str:
    """Write the answer's tables, summary and run.json into `out`; the summary. Unless `exact`, no count below 8 leaves, and the
    others rounded to 5. Raises OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / RUN).unlink(missing_ok=True)
    capacity, calibration = capacity_rows(answer, exact=exact), calibration_rows(answer, exact=exact)
    said = summary(answer, capacity, calibration, exact=exact)
    for name, rows in ((CAPACITY, capacity), (CALIBRATION, calibration)):
        (out / name).write_text(_csv(rows), encoding="utf-8")
    (out / SUMMARY).write_text(said, encoding="utf-8")
    run = {
        "research_only": True,
        "endpoint": answer.question.endpoint,
        "competing": answer.competing,
        "today": answer.question.today.isoformat() if answer.question.today else None,
        "kind": answer.question.plan.kind,
        "where": answer.question.plan.where,
        "match_view": answer.question.plan.match_view,
        "exclude": vars(answer.question.plan.exclude),
        "k": answer.k,
        "replicates": REPLICATES,
        "seed": SEED,
        "disclosure": "exact" if exact else f"counts below 8 written as {HIDDEN}, the others rounded to 5",
        "archive_patients": _shown(answer.usable, exact=exact),
        "left_out": _left_out(answer, exact=exact),
        "snapshot": answer.snapshot,
        "encoder": answer.encoder,
        "code": answer.code,
    }
    (out / RUN).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return said


def capacity_rows(answer: CapacityAnswer, *, exact: bool) -> list[dict[str, str]]:
    """A line a day ahead."""
    return [
        {
            "days": str(one.days),
            "patients": _shown(one.patients, exact=exact),
            "expected": f"{one.expected:.1f}" if exact else text(released_of(one.expected, one.patients)),
            "low": f"{one.low:g}" if exact else text(lower_end(one.low)),
            "high": f"{one.high:g}" if exact else text(upper_end(one.high) if released(one.patients) else None),
        }
        for one in answer.expected
    ]


def calibration_rows(answer: CapacityAnswer, *, exact: bool) -> list[dict[str, str]]:
    """A line a day ahead. The ratio is of what is shown: of exact counts it would give a hidden one away."""
    rows = []
    for one in answer.calibration:
        expected = one.expected if exact else released_of(one.expected, one.patients)
        observed = one.observed if exact else released_of(one.observed, one.patients)
        ratio = observed / expected if observed is not None and expected else None
        rows.append(
            {
                "days": str(one.days),
                "patients": _shown(one.patients, exact=exact),
                "expected": text(expected if expected is None else round(expected, 1)),
                "observed": text(observed),
                "observed_to_expected": "" if ratio is None else f"{ratio:.2f}",
                "ward": _shown(one.ward, exact=exact),
                "coverage": f"{one.coverage:.2f}" if _may_tell_coverage(one, exact=exact) else "",
            }
        )
    return rows


def _may_tell_coverage(one: Calibration, *, exact: bool) -> bool:
    """Not where it is not known; nor of wards of a few, whose interval is mostly 0 to 0: there it is the share who did not meet it."""
    return not np.isnan(one.coverage) and (exact or released(one.ward) is not None)


def summary(
    answer: CapacityAnswer, capacity: Sequence[dict[str, str]], calibration: Sequence[dict[str, str]], *, exact: bool
) -> str:
    """In words, with the figures as they are written in the tables."""
    lines = ["RESEARCH ONLY. Not for deciding about a patient, nor for planning without local validation.", ""]
    for days in (1, 3, 7, HORIZON):
        row = capacity[days - 1]
        lines.append(
            f"Within {days} day{'s' * (days > 1)}: {row['expected']} of {row['patients']} expected to meet {answer.endpoint_title!r} "
            f"(95 % prediction interval {row['low']} to {row['high']})"
        )
    lines += ["", *_calibration_lines(answer, calibration)]
    if answer.left_out:
        told = ", ".join(f"{reason} ({count})" for reason, count in _left_out(answer, exact=exact).items())
        lines.append(f"Not forecast: {told}.")
    if answer.timed.uneven:
        met, unmet = answer.timed.percent
        lines.append(
            f"Mind: a course is timed of about {met} % of the archive's patients who met it and of {unmet} % of those who did not, and only "
            f"timed ones count: the numbers are too {'high' if answer.timed.met > answer.timed.unmet else 'low'}."
        )
    if answer.question.today is None:
        lines.append("Every scan was taken as today's: say with --today on which day the list was made.")
    if answer.competing is None and answer.question.endpoint != DIED:
        lines.append(
            "The index has no endpoint `died`: deaths before the endpoint are not accounted for, and the numbers are too high."
        )
    lines.append(
        "Exact counts: not for anybody outside."
        if exact
        else f"{HIDDEN}: suppressed. Counts are rounded to 5; do not release lists that differ by few patients."
    )
    return "\n".join(lines) + "\n"


def _calibration_lines(answer: CapacityAnswer, rows: Sequence[dict[str, str]]) -> list[str]:
    if not rows:
        return [
            f"Calibration: fewer than {FEWEST_HELD_OUT} patients of the archive could be held out; nothing is known of how far to trust this."
        ]
    row = rows[-1]
    found = [
        f"Of {row['patients']} held-out patients of the archive {row['observed']} met it within {HORIZON} days, {row['expected']} were expected"
        + (f" (ratio {row['observed_to_expected']})." if row["observed_to_expected"] else ".")
    ]
    if row["coverage"]:
        found.append(
            f"In wards of {row['ward']} drawn from them the 95 % interval held the true number in {float(row['coverage']):.0%}."
        )
    return found


def _listed(
    study: Study, question: CapacityQuestion, competing: str | None, progress: Callable[[int], None]
) -> _Listed:
    """One line a patient, by the latest scan; who has met the endpoint or died by the day of the question is not forecast."""
    best: dict[str, tuple[int, int, RowNumbers, Codes]] = {}
    left: Counter[str] = Counter()
    number = 0
    for _, answered in study.iter_answered():
        for place, row in enumerate(answered.queries.to_pylist()):
            number += 1
            reason, since = _standing(row, question, competing)
            if reason:
                left[reason] += 1
                continue
            name = (
                row["patient_id"] or f"\n{row['query']}"
            )  # nobody is called so: each unnamed scan is a patient of its own
            if name in best:
                left["older-scan"] += 1
            if name not in best or since < best[name][0]:
                best[name] = (since, number, answered.rows[place], answered.persons[place])
        progress(len(answered.queries))
    chosen = sorted(best.values(), key=lambda one: one[1])
    return _Listed(
        np.array([rows for _, _, rows, _ in chosen], np.int64).reshape(len(chosen), study.k),
        np.array([since for since, *_ in chosen], np.int64), [own for *_, own in chosen], left,
    )  # fmt: skip


def _standing(row: dict[str, Any], question: CapacityQuestion, competing: str | None) -> tuple[str | None, int]:
    """(why the patient is not forecast, days since the scan)."""
    if row["status"] != ASKED:
        return str(row["status"]), 0
    since = 0
    if question.today is not None:
        if row["scan_date"] is None:
            return "date-unknown", 0
        since = (question.today - row["scan_date"]).days
        if since < 0:
            return "scanned-later", 0
    for endpoint, reason in ((question.endpoint, "already-met"), (competing, "already-died")):
        if (
            endpoint
            and row[endpoint] == str(State.YES)
            and (row[f"{endpoint}_days"] is None or row[f"{endpoint}_days"] <= since)
        ):
            return reason, 0
    return (None, since) if row["neighbours"] else ("no-neighbours", 0)


def _held_out(
    everybody: RowNumbers, courses: Courses, landmarks: npt.NDArray[np.int64]
) -> tuple[RowNumbers, npt.NDArray[np.int64]]:
    """(patients of the archive still at risk so many days after their scan, how many): days as they are on the list."""
    rng = np.random.default_rng(SEED)
    since = rng.choice(landmarks, len(everybody))
    still = at_risk(courses.take(everybody), since)
    rows, since = everybody[still], since[still]
    kept = np.sort(rng.permutation(len(rows))[:HELD_OUT])
    return rows[kept], since[kept]


def _calibration(
    study: Study, courses: Courses, persons: Codes, everybody: RowNumbers, since: dict[int, int], ward: int, progress: Callable[[int], None]
) -> list[Calibration]:  # fmt: skip
    asked, found = [], []
    for block in study.iter_blocks():
        asked.append(block.queries)
        found.append(block.rows)
        progress(len(block.queries))
    if not asked:
        return []
    queries, rows = np.concatenate(asked), np.concatenate(found)
    landmarks = np.array([since[row] for row in queries.tolist()], np.int64)
    own = [persons[[row]] for row in queries]
    told = forecast(rows, landmarks, own, courses, persons, everybody, replicates=HELD_OUT_REPLICATES)
    return calibration_of(told, courses.take(queries), landmarks, ward=ward)


def _left_out(answer: CapacityAnswer, *, exact: bool) -> dict[str, str]:
    """The reasons add up to what is missing of a list whose length may be known."""
    counts = list(answer.left_out.values())
    shown = counts if exact else released_parts(counts)
    return {reason: text(count) for reason, count in zip(answer.left_out, shown, strict=True)}


def _shown(count: int, *, exact: bool) -> str:
    return str(count) if exact else text(released(count))


def _csv(rows: Sequence[dict[str, str]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()
