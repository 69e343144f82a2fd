"""The NCCID warehouse as it lies on disk -> cases, with or without the `training/` level, whichever modality trees exist."""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pydicom

from index.case import Case, Endpoint
from index.cohort import CohortError
from index.cohorts.nccid_clinical import Record, clinical_record

FILMS = "xray"
TREES = (FILMS, "ct", "mri")
DICOM_FILES = "*.[dD][cC][mM]"
ENDPOINTS = (Endpoint("died", "death"), Endpoint("itu_admission", "ITU admission"), Endpoint("intubated", "intubation"))


class NccidCohort:
    """NCCID cases: each file of `xray/PATIENT/STUDY/SERIES/`, each study of `ct/PATIENT/` and `mri/PATIENT/`, with the
    patient's newest clinical record.
    """

    name = "nccid"
    endpoints = ENDPOINTS

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self._root = path / "training" if (path / "training").is_dir() else path
        if not any((self._root / tree).is_dir() for tree in TREES):
            raise CohortError(
                f"{path}: no NCCID warehouse; expected folders xray, ct or mri, beside data, here or under training"
            )

    def iter_cases(self) -> Iterator[Case]:
        for tree in TREES:
            for patient in sorted(_folders(self._root / tree)):
                record = clinical_record(self._clinical_files(patient.name))
                if tree == FILMS:
                    for path in sorted(patient.glob(f"*/*/{DICOM_FILES}")):
                        yield self._case(tree, patient.name, path.stem, path, path, record)
                    continue
                for study in sorted(_folders(patient)):
                    first = next(iter(sorted(study.glob(f"*/{DICOM_FILES}"))), None)
                    if first is not None:
                        yield self._case(tree, patient.name, study.name, study, first, record)

    def _case(self, tree: str, patient_id: str, case_id: str, source: Path, path: Path, record: Record) -> Case:
        """The case read from `source`, a film or the folder of a CT or MR study; `path` is a file whose header dates it."""
        header = _metadata(self._root / f"{tree}-metadata" / path.relative_to(self._root / tree).with_suffix(".json"))
        scan_date = _scan_date(header)
        if scan_date is None:  # no metadata, or undated: the days of the events need the date that the build will find
            own = _dicom_header(path)
            scan_date, header = _scan_date(own), own | header
        return Case(
            case_id=case_id,
            patient_id=patient_id,
            cohort=self.name,
            files=(source,),
            outcome=record.outcome(scan_date),
            site=record.site,
            modality=_text(header.get("Modality")),
            scan_date=scan_date,
            age_years=record.age_years,
            sex=record.sex,
            manufacturer=_text(header.get("Manufacturer")),
            scanner=_text(header.get("ManufacturerModelName")),
            clinical={"covid_status": record.covid_status},
        )

    def _clinical_files(self, patient_id: str) -> list[Path]:
        return sorted((self._root / "data" / patient_id).glob("*.json"))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _metadata(path: Path) -> dict[str, Any]:
    """The DICOM-JSON that the warehouse keeps beside each file, by keyword; empty where there is none.

    The loader nulls binary values and VOI LUT sequences, so elements are taken one by one (PS3.18 F.2).
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for tag, element in content.items() if isinstance(content, dict) else ():
        values = element.get("Value") if isinstance(element, dict) else None
        keyword = pydicom.datadict.keyword_for_tag(int(tag, 16)) if re.fullmatch("[0-9A-Fa-f]{8}", tag) else ""
        if keyword and isinstance(values, list) and values and isinstance(values[0], str | int | float):
            found[keyword] = values[0]
    return found


def _dicom_header(path: Path) -> dict[str, Any]:
    """The same from the file itself; empty where it cannot be read: the build will reject that file with its reason."""
    try:
        ds = pydicom.dcmread(
            path,
            force=True,  # also without preamble, which the pixels' reader takes too
            stop_before_pixels=True,
            specific_tags=["AcquisitionDate", "StudyDate", "Modality", "Manufacturer", "ManufacturerModelName"],
        )
        return {element.keyword: element.value for element in ds}
    except Exception:  # whatever a damaged header raises; reading the pixels will report it
        return {}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).encode("utf-8", "replace").decode("utf-8").strip() or None  # JSON may hold half a character


def _scan_date(header: dict[str, Any]) -> date | None:
    return _dicom_date(header.get("AcquisitionDate")) or _dicom_date(header.get("StudyDate"))


def _dicom_date(value: Any) -> date | None:
    try:
        return datetime.strptime(str(value or ""), "%Y%m%d").date()
    except ValueError:
        return None
