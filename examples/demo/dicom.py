"""A film as a DICOM file: stored values, the look-up that shows them, and a header."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
)

from examples.demo.anatomy import Float
from examples.demo.film import tone
from examples.demo.radiograph import View
from examples.demo.scanners import Scanner, Voi

# Stored values reach this far beyond the useful range on either side, so that a viewer can move the window.
_HEADROOM = 0.25

_SOP_CLASSES = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}


@dataclass(frozen=True)
class Header:
    """What a film's file says besides its pixels."""

    patient_id: str
    sex: str
    age_years: int
    study_uid: str
    series_uid: str
    sop_uid: str
    day: date
    time: str  # HHMMSS
    view: View
    view_recorded: bool  # ViewPosition is filled; otherwise only the description tells
    institution: str
    rle: bool


def film_dataset(film: Float, pixel_mm: float, contrast: float, scanner: Scanner, header: Header) -> FileDataset:
    """Return a complete dataset; `film` is (rows, columns), 0..1 the useful range, bright = dense."""
    dataset = FileDataset("", {}, file_meta=_file_meta(scanner, header), preamble=b"\0" * 128)
    _describe(dataset, scanner, header)
    _store(dataset, film, contrast, scanner)
    dataset.PixelSpacing = [f"{pixel_mm:.4f}"] * 2
    dataset.ImagerPixelSpacing = [f"{pixel_mm:.4f}"] * 2
    if header.rle:
        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


def _file_meta(scanner: Scanner, header: Header) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SOP_CLASSES[scanner.modality]
    meta.MediaStorageSOPInstanceUID = UID(header.sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _describe(dataset: Dataset, scanner: Scanner, header: Header) -> None:
    day = header.day.strftime("%Y%m%d")
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = header.sop_uid
    dataset.StudyDate, dataset.AcquisitionDate = day, day
    dataset.StudyTime, dataset.AcquisitionTime = header.time, header.time
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.Modality = scanner.modality
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Manufacturer, dataset.ManufacturerModelName = scanner.manufacturer, scanner.model
    dataset.InstitutionName = header.institution
    dataset.StudyDescription = "XR Chest"
    names = {View.PA: "CHEST PA", View.AP: "CHEST AP PORTABLE", View.LATERAL: "CHEST LATERAL"}
    dataset.SeriesDescription = names[header.view]
    dataset.PatientName, dataset.PatientID = header.patient_id, header.patient_id
    dataset.PatientBirthDate = f"{header.day.year - header.age_years}0101"
    dataset.PatientSex, dataset.PatientAge = header.sex, f"{header.age_years:03d}Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = header.view.value if header.view_recorded else ""
    dataset.KVP = "85" if header.view is View.AP else "120"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = header.study_uid, header.series_uid
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", "1", "1"
    dataset.PatientOrientation = ["P", "F"] if header.view is View.LATERAL else ["L", "F"]
    dataset.ImageLaterality = "U"
    dataset.BurnedInAnnotation = "YES"


def _store(dataset: Dataset, film: Float, contrast: float, scanner: Scanner) -> None:
    """Pixels and the look-ups that turn them back into the film (PS3.3 C.7.6.3, C.11.1, C.11.2)."""
    top = 2**scanner.bits - 1
    ready = scanner.voi in (Voi.NONE, Voi.WINDOW)  # the response curve is already in the values
    shown = np.where((film > 0) & (film < 1), tone(film, contrast), film) if ready else film
    margin = 0.0 if scanner.voi is Voi.NONE else _HEADROOM
    values = np.rint((np.clip(shown, -margin, 1 + margin) + margin) / (1 + 2 * margin) * top).astype(np.uint16)
    stored = (top - values if scanner.monochrome1 else values).astype("<u2")

    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if scanner.monochrome1 else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if scanner.monochrome1 else "IDENTITY"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, scanner.bits, scanner.bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = (
        "LOG",
        1 if scanner.monochrome1 else -1,
    )
    slope, intercept = scanner.rescale or (1.0, 0.0)
    if scanner.rescale:
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = str(slope), str(intercept), "US"
    if scanner.voi is Voi.TABLE:
        dataset.VOILUTSequence = Sequence([_table(contrast, scanner)])
    elif scanner.voi in (Voi.WINDOW, Voi.SIGMOID):
        useful = top / (1 + 2 * margin)
        # A sigmoid of width w (C.11.2.1.3.1) is our curve of steepness 4/w.
        width = useful if scanner.voi is Voi.WINDOW else useful * 4 / contrast
        dataset.WindowCenter = f"{top / 2 * slope + intercept:.1f}"
        dataset.WindowWidth = f"{width * slope:.1f}"
        if scanner.voi is Voi.SIGMOID:
            dataset.VOILUTFunction = "SIGMOID"
    dataset.PixelData = np.ascontiguousarray(stored).tobytes()
    dataset["PixelData"].VR = "OW"


def _table(contrast: float, scanner: Scanner) -> Dataset:
    size = 2**scanner.bits
    values = np.arange(size, dtype=np.float32) / (size - 1) * (1 + 2 * _HEADROOM) - _HEADROOM
    curve: npt.NDArray[np.float32] = tone(values, contrast)
    if scanner.monochrome1:
        curve = 1 - curve[::-1]
    table = Dataset()
    table.LUTDescriptor = [size, 0, 16]
    table["LUTDescriptor"].VR = "US"
    table.LUTExplanation = "NORMAL"
    table.LUTData = np.rint(curve * 65535).astype("<u2").tobytes()
    table["LUTData"].VR = "OW"
    return table
