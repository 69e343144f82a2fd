"""NCCID's warehouse tree on disk: where each file lies, and the metadata JSON beside each image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

_VOI_LUT_SEQUENCE = "00283010"


@dataclass(frozen=True)
class Warehouse:
    """The folder that holds `training/`."""

    root: Path

    def write_image(self, dataset: FileDataset) -> Path:
        """Write one X-ray and its metadata JSON; return the image's path below the root."""
        place = Path(dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
        image = Path("training", "xray", place, f"{dataset.SOPInstanceUID}.dcm")
        write_dicom(dataset, self.root / image)
        metadata = self.root / "training" / "xray-metadata" / place / f"{dataset.SOPInstanceUID}.json"
        write_json(scrubbed(dataset), metadata)
        return image

    def write_data(self, pseudonym: str, record: dict[str, object], uploaded: date) -> None:
        """Write a positive patient's record; the date in its name is that of the upload."""
        self._write_record("data", pseudonym, record, uploaded)

    def write_status(self, pseudonym: str, record: dict[str, object], uploaded: date) -> None:
        """Write a negative control's record."""
        self._write_record("status", pseudonym, record, uploaded)

    def _write_record(self, kind: str, pseudonym: str, record: dict[str, object], uploaded: date) -> None:
        write_json(record, self.root / "training" / "data" / pseudonym / f"{kind}_{uploaded.isoformat()}.json")


def scrubbed(dataset: Dataset) -> dict[str, object]:
    """The header as the warehouse's loader exports it: DICOM JSON without pixels, binary values or VOI tables."""
    header = {tag: value for tag, value in dataset.to_json_dict().items() if tag != "7FE00010"}
    if _VOI_LUT_SEQUENCE in header:
        header[_VOI_LUT_SEQUENCE] = None
    return {tag: _without_binary(value) for tag, value in header.items()}


def _without_binary(value: object) -> object:
    if isinstance(value, dict):
        return {key: None if key == "InlineBinary" else _without_binary(inner) for key, inner in value.items()}
    return [_without_binary(inner) for inner in value] if isinstance(value, list) else value


def write_dicom(dataset: FileDataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_json(document: dict[str, object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
