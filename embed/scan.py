"""A scan: one image or volume as the encoders see it, and how its pixels came to be."""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from embed.view import Projection

Pixels = npt.NDArray[np.float32]  # (slices, rows, columns)
Stored = npt.NDArray[Any]  # (rows, columns), integers as they are stored, or (rows, columns, 3) for colour


class View(StrEnum):
    """The projection of a radiograph (PS3.3 C.8.11.1.1, View Position)."""

    PA = "PA"
    AP = "AP"
    LATERAL = "LATERAL"


class ScanError(Exception):
    """A file that did not become a `Scan`. `reason` is short and countable; the message names the remedy."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ScanError"], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class UnsupportedScan(ScanError):
    """The file is whole, but it is not a kind of scan that we read."""


class DamagedScan(ScanError):
    """The file is not whole, or does not hold what it declares."""


@dataclass(frozen=True)
class Flag:
    """Something that a careful reader should doubt: a code to count by and a sentence for people."""

    code: str  # "no-window"
    message: str


@dataclass(frozen=True)
class Provenance:
    """What was read and every step applied to the pixels, in order."""

    format: str  # "dicom", "png", "jpeg", "nifti"
    file_hash: str  # XXH3 (128 bits) of the file's bytes; of a series, of the slices that were decoded
    steps: tuple[str, ...] = ()  # "VOI LUT: window 2048/4096 LINEAR (PS3.3 C.11.2.1.2)"
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class PixelIdentity:
    """By what the same picture is known again under other names."""

    exact: str  # XXH3 (128 bits) of the decoded stored values and their shape: the same under any UIDs and header
    perceptual: str  # 256 bits as hex, of the grey picture: near for a recompressed or slightly cropped copy


@dataclass(frozen=True)
class Header:
    """What the file itself says of patient and acquisition; None where it is silent.

    Identifiers are kept out of `repr`, so that they cannot reach a log by accident.
    """

    patient_id: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)
    series_uid: str | None = field(default=None, repr=False)
    instance_uid: str | None = field(default=None, repr=False)
    scan_date: date | None = None
    manufacturer: str | None = None
    scanner: str | None = None
    age_years: int | None = None
    sex: str | None = None  # "F" or "M"


@dataclass(frozen=True, eq=False)
class Lungs:
    """Where both lungs lie on a picture, on a square grid stretched over all of it."""

    right: npt.NDArray[np.bool_]  # (grid, grid), the patient's right: on the picture's left
    left: npt.NDArray[np.bool_]
    quality: float  # 0 to 1: how far they may be believed

    @property
    def both(self) -> npt.NDArray[np.bool_]:
        return self.right | self.left


@dataclass(frozen=True, eq=False)
class Scan:
    """One image or volume. A radiograph is a volume of one slice.

    X-ray pixels are presentation values from 0 to 1, after modality and VOI LUT, bright = dense, so that a DICOM file
    and a picture exported from it agree. CT pixels are Hounsfield units. MR pixels are 0 to 1 between percentiles.
    Axial volumes run from feet to head, rows from front to back, columns from the patient's right to left.
    """

    pixels: Pixels
    kind: str  # which store it belongs to: "xray", "ct", "mri"
    modality: str | None  # (0008,0060) as recorded: "CR", "DX", "CT", "MR"
    view: View | None
    spacing_mm: tuple[float, float, float] | None  # between slices, rows, columns, of these pixels
    provenance: Provenance
    header: Header = Header()
    identity: PixelIdentity | None = None
    lungs: Lungs | None = None  # of a frontal film, where they were found beyond doubt; None: the whole film counts
    projection: "Projection | None" = None  # of a DICOM radiograph: how its view is known, how the patient was placed
