"""A question and its answer, and the answer as JSON."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embed.scan import Scan
from index.case import Case
from search.concentration import Concentration
from search.neighbour import Neighbour
from search.outcomes import OutcomeSummary
from search.survival import TimeToEvent
from search.warnings import ReaderWarning

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
    other_sites: bool = False  # no cases of the query's own site, nor of an unknown one
    sites: tuple[str, ...] = ()  # the query's own, as the archive calls it, where the query is no case of the archive
    own_from: float | None = (
        None  # similarity from which a case is taken for the query's own patient's, who is left out
    )


@dataclass(frozen=True)
class Answer:
    """The most similar prior cases, what happened to those patients, and what the reader must doubt.

    The query is either `scans` or an archived `case`.
    """

    snapshot: str
    kind: str
    scans: tuple[Scan, ...]
    case: Case | None
    views: tuple[str | None, ...]  # of each scan, or of the case, as it was matched
    sites_left_out: tuple[str, ...]  # for the sake of `Question.other_sites`
    own_pictures: tuple[
        str, ...
    ]  # `case_id`s left out as the query's picture, a copy of it or as good as it, of patients not named
    eligible: int  # cases that could have been returned
    neighbours: tuple[Neighbour, ...]
    outcomes: Mapping[str, OutcomeSummary]
    concentrations: tuple[Concentration, ...]  # of site and of scanner, suspicious or not
    warnings: tuple[ReaderWarning, ...]

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        queries = [_query_json(scan, view) for scan, view in zip(self.scans, self.views, strict=False)]
        if self.case is not None:
            queries = [{"case_id": self.case.case_id, "modality": self.case.modality, "view": self.views[0]}]
        return {
            "snapshot": self.snapshot,
            "query": queries[0] if len(queries) == 1 else {"scans": queries},
            "eligible": self.eligible,
            "sites_left_out": list(self.sites_left_out),
            "neighbours": [_neighbour_json(neighbour) for neighbour in self.neighbours],
            "outcomes": {name: summary_json(summary) for name, summary in self.outcomes.items()},
            "concentrations": [dataclasses.asdict(one) | {"suspicious": one.suspicious} for one in self.concentrations],
            "warnings": [vars(warning) for warning in self.warnings],
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
        "percentile": None if neighbour.percentile is None else round(neighbour.percentile, 1),
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


def summary_json(summary: OutcomeSummary) -> dict[str, Any]:
    return {
        "title": summary.endpoint.title,
        "asked": summary.asked,
        "known": summary.known,
        "events": summary.events,
        "low": summary.low,
        "high": summary.high,
        "archive": {"known": summary.archive.known, "events": summary.archive.events},
        "time": _time_json(summary.time),
    }


def _time_json(time: TimeToEvent) -> dict[str, Any]:
    """The fields by their names; as null what there is no curve of."""
    return dataclasses.asdict(time) | ({"steps": None, "horizons": None} if time.reason else {})
