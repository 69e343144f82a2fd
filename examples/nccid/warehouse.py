"""NCCID's warehouse tree on disk: where each file lies, and the metadata JSON beside each image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

MODALITY_TREES = {"DX": "xray", "CR": "xray", "MR": "mri", "CT": "ct"}  # anything else: unknown

_VOI_LUT_SEQUENCE = "00283010"


@dataclass(frozen=True)
class Place:
    """Where an image lies below its modality's tree."""

    tree: str
    patient: str
    study: str
    series: str
    name: str  # without its ending


@dataclass(frozen=True)
class Warehouse:
    """The folder that holds the trees, or `training/` with them."""

    root: Path
    training_level: bool = True

    @property
    def top(self) -> Path:
        """Where the trees lie, below the root."""
        return Path("training") if self.training_level else Path()

    def write_image(self, dataset: FileDataset) -> Path:
        """Write one image and its metadata JSON; return the image's path below the root."""
        tree = MODALITY_TREES.get(dataset.Modality, "unknown")
        uids = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
        place = Place(tree, dataset.PatientID, *uids)
        image = self.image_path(place)
        write_dicom(dataset, self.root / image)
        write_json(scrubbed(dataset), self.root / self.metadata_path(place))
        return image

    def image_path(self, place: Place, *, ending: str = ".dcm") -> Path:
        return self.top / place.tree / place.patient / place.study / place.series / f"{place.name}{ending}"

    def metadata_path(self, place: Place) -> Path:
        tree = f"{place.tree}-metadata"
        return self.top / tree / place.patient / place.study / place.series / f"{place.name}.json"

    def record_path(self, kind: str, folder: str, uploaded: date) -> Path:
        return self.top / "data" / folder / f"{kind}_{uploaded.isoformat()}.json"

    def write_data(self, pseudonym: str, record: Mapping[str, object], uploaded: date) -> None:
        """Write a positive patient's record; the date in its name is that of the upload."""
        write_json(record, self.root / self.record_path("data", pseudonym, uploaded))

    def write_status(self, pseudonym: str, record: Mapping[str, object], uploaded: date) -> None:
        """Write a negative control's record."""
        write_json(record, self.root / self.record_path("status", pseudonym, uploaded))


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


def write_json(document: Mapping[str, object], path: Path) -> None:
    write_bytes(json_bytes(document), path)


def json_bytes(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def write_bytes(content: bytes, path: Path) -> None:
    try:
        path.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
