"""The NCCID warehouse as it lies on disk -> cases, with or without the `training/` level, whichever modality trees exist."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Scan:
    """A film or the folder of a CT or MR study, and the header that dates it, by keyword."""

    case_id: str
    source: Path
    taken: date | None
    header: dict[str, Any]


class NccidCohort:
    """NCCID cases: each file of `xray/PATIENT/STUDY/SERIES/`, each study of `ct/PATIENT/` and `mri/PATIENT/`, with the
    patient's newest clinical record.
    """

    name = "nccid"
    endpoints = ENDPOINTS

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self._latest = date.today()
        self._root = path / "training" if (path / "training").is_dir() else path
        if not any((self._root / tree).is_dir() for tree in TREES):
            raise CohortError(
                f"{path}: no NCCID warehouse; expected folders xray, ct or mri, beside data, here or under training"
            )

    def iter_cases(self) -> Iterator[Case]:
        """Patient by patient, since all scans of a patient help to read the record's dates."""
        for patient_id in sorted({patient.name for tree in TREES for patient in _folders(self._root / tree)}):
            scans = [scan for tree in TREES for scan in self._scans(tree, patient_id)]
            record = clinical_record(
                self._clinical_files(patient_id),
                latest=self._latest,
                scan_dates={scan.taken for scan in scans if scan.taken},
            )
            for scan in scans:
                yield self._case(scan, patient_id, record.beside(scan.header.get("PatientSex")))

    def _scans(self, tree: str, patient_id: str) -> Iterator["_Scan"]:
        """Each film, or each CT or MR study, of a patient."""
        patient = self._root / tree / patient_id
        if tree == FILMS:
            for path in sorted(patient.glob(f"*/*/{DICOM_FILES}")):
                yield self._scan(tree, path.stem, path, path)
            return
        for study in sorted(_folders(patient)):
            first = next(iter(sorted(study.glob(f"*/{DICOM_FILES}"))), None)
            if first is not None:
                yield self._scan(tree, study.name, study, first)

    def _scan(self, tree: str, case_id: str, source: Path, path: Path) -> "_Scan":
        header = _metadata(self._root / f"{tree}-metadata" / path.relative_to(self._root / tree).with_suffix(".json"))
        if (
            _scan_date(header) is None
        ):  # no metadata, or undated: the days of the events need the date that the build will find
            own = _dicom_header(path)
            return _Scan(case_id, source, _scan_date(own), own | header)
        return _Scan(case_id, source, _scan_date(header), header)

    def _case(self, scan: "_Scan", patient_id: str, record: Record) -> Case:
        return Case(
            case_id=scan.case_id,
            patient_id=patient_id,
            cohort=self.name,
            files=(scan.source,),
            outcome=record.outcome(scan.taken),
            site=record.site,
            modality=_text(scan.header.get("Modality")),
            scan_date=scan.taken,
            age_years=record.value("age"),
            sex=record.value("sex"),
            manufacturer=_text(scan.header.get("Manufacturer")),
            scanner=_text(scan.header.get("ManufacturerModelName")),
            clinical=record.clinical(),
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
            specific_tags=[
                "AcquisitionDate",
                "StudyDate",
                "Modality",
                "Manufacturer",
                "ManufacturerModelName",
                "PatientSex",
            ],
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
