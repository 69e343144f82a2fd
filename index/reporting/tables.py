"""The report's numbers: tidy tables of typed rows, and each as a Parquet file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from index.reporting.clinical_flags import ClinicalFlag, clinical_flags
from index.reporting.completeness import Completeness, completeness
from index.reporting.distributions import (
    AgeBand,
    CentreYear,
    EndpointCount,
    Month,
    Spread,
    ages,
    endpoint_counts,
    months,
    spreads,
    years,
)
from index.reporting.material import Material
from index.reporting.pixels import (
    Duplicate,
    DuplicateCount,
    ImageFlag,
    RejectedCount,
    duplicate_counts,
    duplicates,
    image_flags,
    rejected_counts,
)
from index.reporting.typed_rows import parquet_of


@dataclass(frozen=True)
class Count:
    """What a cohort counted beside its cases: "clinical files without images"."""

    what: str
    count: int


@dataclass(frozen=True)
class CohortSize:
    cohort: str
    source: str
    scans: int
    patients: int
    centres: int
    first_scan: str | None  # ISO date
    last_scan: str | None
    pixels_read: int  # scans
    rejected: int


@dataclass(frozen=True)
class Tables:
    """Every table of a report; the fields' names are those of the Parquet files."""

    cohorts: list[CohortSize]
    counts: list[Count]
    completeness: list[Completeness]
    months: list[Month]
    ages: list[AgeBand]
    spreads: list[Spread]
    years: list[CentreYear]
    endpoints: list[EndpointCount]
    clinical_flags: list[ClinicalFlag]
    duplicates: list[Duplicate]
    duplicate_counts: list[DuplicateCount]
    image_flags: list[ImageFlag]
    rejected: list[RejectedCount]


ROWS: Mapping[str, type] = {name: get_args(field.type)[0] for name, field in Tables.__dataclass_fields__.items()}


def make_tables(material: Material) -> Tables:
    by_cohort = {name: material.scans_of(name) for name in material.cohorts}
    parts = by_cohort.items()
    found = duplicates(material.scans)
    return Tables(
        cohorts=[_size(name, material) for name in material.cohorts],
        counts=[Count(what, count) for what, count in sorted(material.counts.items())],
        completeness=[row for name, scans in parts for row in completeness(name, scans, material.endpoints)],
        months=[row for name, scans in parts for row in months(name, scans)],
        ages=[row for name, scans in parts for row in ages(name, scans)],
        spreads=[row for name, scans in parts for row in spreads(name, scans)],
        years=[row for name, scans in parts for row in years(name, scans)],
        endpoints=[row for name, scans in parts for row in endpoint_counts(name, scans, material.endpoints)],
        clinical_flags=[row for name, scans in parts for row in clinical_flags(name, scans)],
        duplicates=found,
        duplicate_counts=duplicate_counts(found),
        image_flags=image_flags(material.scans),
        rejected=rejected_counts(material.rejected),
    )


def _size(cohort: str, material: Material) -> CohortSize:
    scans = material.scans_of(cohort)
    days = [scan.case.scan_date for scan in scans if scan.case.scan_date]
    return CohortSize(
        cohort,
        material.cohorts[cohort],
        len(scans),
        len({scan.patient for scan in scans}),
        len({scan.case.site for scan in scans if scan.case.site}),
        min(days).isoformat() if days else None,
        max(days).isoformat() if days else None,
        sum(scan.seen is not None for scan in scans),
        sum(entry.cohort == cohort for entry in material.rejected),
    )


def parquet_files(tables: Tables) -> dict[str, bytes]:
    """File name -> content, an empty table too: a report written over another leaves none of the other's numbers."""
    return {f"{name}.parquet": parquet_of(row, getattr(tables, name)) for name, row in ROWS.items()}
