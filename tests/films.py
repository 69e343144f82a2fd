"""Small films made in memory, for tests: DICOM files with any attribute overridden, and pictures."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

DX_FOR_PRESENTATION = UID("1.2.840.10008.5.1.4.1.1.1.1")


def phantom(rows: int = 120, columns: int = 100, *, seed: int = 0, top: int = 4095) -> npt.NDArray[np.uint16]:
    """A chest of sorts: two dark lungs in a bright body, with noise that differs by seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    body = 0.8 - 0.3 * (2 * x - 1) ** 2
    for centre in (0.3 + 0.02 * rng.normal(), 0.7 + 0.02 * rng.normal()):
        body -= 0.5 * np.exp(-(((x - centre) / 0.13) ** 2 + ((y - 0.5) / 0.3) ** 2))
    body += 0.05 * rng.normal(size=body.shape)
    return np.rint(np.clip(body, 0, 1) * top).astype(np.uint16)


def dicom_dataset(pixels: npt.NDArray[Any], **attributes: Any) -> FileDataset:
    """A 12-bit DX film holding `pixels` (rows, columns); an attribute given as None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DX_FOR_PRESENTATION
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film", str(attributes.get("InstanceNumber", 1))])
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    stated: dict[str, Any] = {
        "SOPClassUID": DX_FOR_PRESENTATION,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "2.25.1",
        "SeriesInstanceUID": "2.25.2",
        "Modality": "DX",
        "PatientID": "Covid77",
        "PatientAge": "067Y",
        "PatientSex": "F",
        "StudyDate": "20200401",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": 12 if pixels.dtype.itemsize == 2 else pixels.dtype.itemsize * 8,
        "PixelRepresentation": 1 if pixels.dtype.kind == "i" else 0,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "PixelData": pixels.tobytes(),
    }
    stated |= attributes
    stated.setdefault("HighBit", stated["BitsStored"] - 1 if stated["BitsStored"] else None)
    for keyword, value in stated.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def dicom_bytes(pixels: npt.NDArray[Any], **attributes: Any) -> bytes:
    return to_bytes(dicom_dataset(pixels, **attributes))


def to_bytes(ds: FileDataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def png_bytes(pixels: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
