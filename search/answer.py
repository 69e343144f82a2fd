"""A question and its answer, and the answer as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embed.scan import Scan
from index.case import Case
from search.neighbour import Neighbour
from search.outcomes import OutcomeSummary

DEFAULT_K = 10


class QuestionError(Exception):
    """A question that cannot be asked of this index; the message says what would do."""


@dataclass(frozen=True)
class Question:
    """What is asked besides the scans themselves."""

    k: int | None = None  # patients to return; None: ten, or fewer where the archive holds fewer
    where: str | None = None  # an SQL condition over the catalogue's columns
    match_view: bool = True  # only cases of the query's own view, where that is known
    include_own: bool = False  # also the query's own patient
    patient_id: str | None = None  # whose scan it is, where the file does not say


@dataclass(frozen=True)
class Answer:
    """The most similar prior cases, what happened to those patients, and what the reader must doubt."""

    snapshot: str
    scans: tuple[Scan, ...]
    views: tuple[str | None, ...]  # of each scan, as it was matched
    eligible: int  # cases that could have been returned
    neighbours: tuple[Neighbour, ...]
    outcomes: Mapping[str, OutcomeSummary]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        queries = [_query_json(scan, view) for scan, view in zip(self.scans, self.views, strict=True)]
        return {
            "snapshot": self.snapshot,
            "query": queries[0] if len(queries) == 1 else {"scans": queries},
            "eligible": self.eligible,
            "neighbours": [_neighbour_json(neighbour) for neighbour in self.neighbours],
            "outcomes": {name: _outcome_json(summary) for name, summary in self.outcomes.items()},
            "warnings": list(self.warnings),
        }


def _query_json(scan: Scan, view: str | None) -> dict[str, Any]:
    provenance = scan.provenance
    return {
        "modality": scan.modality,
        "view": view,
        "provenance": {
            "format": provenance.format,
            "steps": list(provenance.steps),
            "flags": [vars(flag) for flag in provenance.flags],
        },
    }


def _neighbour_json(neighbour: Neighbour) -> dict[str, Any]:
    case = neighbour.case
    return {
        "rank": neighbour.rank,
        "similarity": neighbour.similarity,
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        "cohort": case.cohort,
        "modality": case.modality,
        "view": case.view,
        "site": case.site,
        "scan_date": case.scan_date.isoformat() if case.scan_date else None,
        "age_years": case.age_years,
        "sex": case.sex,
        "clinical": {name: _finite(value) for name, value in case.clinical.items()},
        "outcome": outcome_json(case),
    }


def _finite(value: float | str | None) -> float | str | None:
    """JSON has no infinity: a value beyond a laboratory's limit is written as the text "inf" or "-inf"."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def outcome_json(case: Case) -> dict[str, dict[str, Any]]:
    return {name: {"state": str(event.state), "days": event.days} for name, event in case.outcome.events.items()}


def _outcome_json(summary: OutcomeSummary) -> dict[str, Any]:
    return {
        "title": summary.endpoint.title,
        "known": summary.known,
        "events": summary.events,
        "low": summary.low,
        "high": summary.high,
        "archive": {"known": summary.archive.known, "events": summary.archive.events},
    }
