"""An answer as readers of either role may see it: the page's and the API's one document."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from index.case import Case
from index.manifest import IndexManifest
from search.answer import Answer, summary_json
from search.neighbour import Neighbour
from web.live import Opened
from web.refs import CaseRef

SHOWN = {
    "status_at_scan": "covid_status_at_scan",
    "phase": "scan_phase",
    "severity": "cxr_severity",
    "covid_code": "covid_code",
    "days_from_index": "days_from_index",
}


@dataclasses.dataclass(frozen=True)
class Reader:
    """For whom a document is made."""

    opened: Opened
    secret: str
    sees_identifiers: bool  # a researcher


def answer_document(answer: Answer, reader: Reader) -> dict[str, Any]:
    manifest = reader.opened.engine.snapshot.manifest
    scans = answer.scans
    return {
        "snapshot": snapshot_document(manifest),
        "query": {
            "kind": answer.kind,
            "modality": scans[0].modality if scans else answer.case and answer.case.modality,
            "view": answer.views[0] if answer.views else None,
            "flags": [{"code": flag.code, "message": flag.message} for scan in scans for flag in scan.provenance.flags],
            "steps": [step for scan in scans for step in scan.provenance.steps],
            "frames": 1 if answer.kind == "xray" else None,  # of a volume the frames' own document tells
        },
        "eligible": answer.eligible,
        "withheld": len(answer.own_pictures),
        "sites_left_out": [reader.opened.sites.get(site, "another site") for site in answer.sites_left_out],
        "neighbours": [_neighbour(one, reader) for one in answer.neighbours],
        "outcomes": {name: summary_json(summary) for name, summary in answer.outcomes.items()},
        "concentrations": [
            _concentration(dataclasses.asdict(one), one.suspicious, reader) for one in answer.concentrations
        ],
        "warnings": [{"code": warning.code, "message": warning.message} for warning in answer.warnings],
    }


def snapshot_document(manifest: IndexManifest) -> dict[str, Any]:
    """Which index it is."""
    return {
        "name": manifest.name,
        "created": manifest.created,
        "scans": sum(manifest.cases.values()),
        "patients": manifest.patients,
    }


def case_document(case: Case, ref: str, reader: Reader) -> dict[str, Any]:
    """One case, as on a card."""
    clinical = case.clinical
    told: dict[str, Any] = {
        "ref": ref,
        "modality": case.modality,
        "view": case.view,
        "site": reader.opened.sites.get(case.site or ""),
        "age_band": age_band(case.age_years),
        "sex": case.sex,
        **{name: clinical.get(column) for name, column in SHOWN.items()},
        "outcome": {name: {"state": str(e.state), "days": e.days} for name, e in case.outcome.events.items()},
        "observed_days": case.outcome.observed_days,
    }
    if reader.sees_identifiers:
        told |= {
            "case_id": case.case_id,
            "patient_id": case.patient_id,
            "site_name": case.site,
            "scan_date": case.scan_date.isoformat() if case.scan_date else None,
        }
    return told


def age_band(age_years: float | None) -> str | None:
    """Ten years, so that nobody is told by their age; from 90 on one band."""
    if age_years is None or age_years < 0:
        return None
    decade = int(age_years // 10) * 10
    return "90+" if decade >= 90 else f"{decade}-{decade + 9}"


def ref_of(neighbour: Neighbour, reader: Reader) -> str:
    archive_kind, row = neighbour_place(neighbour.case, reader.opened)
    return CaseRef(reader.opened.name, archive_kind, row).token(reader.secret)


def neighbour_place(case: Case, opened: Opened) -> tuple[str, int]:
    """(kind, row) of a case of this snapshot."""
    for kind, archive in opened.engine.archives.items():
        row = archive.row_of(case.case_id)
        if row is not None:
            return kind, row
    raise KeyError(case.case_id)


def _neighbour(neighbour: Neighbour, reader: Reader) -> dict[str, Any]:
    kind, _ = neighbour_place(neighbour.case, reader.opened)
    return {
        "rank": neighbour.rank,
        "similarity": neighbour.similarity,
        "percentile": None if neighbour.percentile is None else round(neighbour.percentile, 1),
        "kind": kind,
        **case_document(neighbour.case, ref_of(neighbour, reader), reader),
    }


def _concentration(told: Mapping[str, Any], suspicious: bool, reader: Reader) -> dict[str, Any]:
    """A site is told by its code."""
    group = reader.opened.sites[told["group"]] if told["attribute"] == "site" else told["group"]
    return {**told, "group": group, "suspicious": suspicious}
