"""A DICOM file's bytes -> its header, checked, and its stored integers. What they mean is for radiograph.py and series.py."""

import io
import warnings
import zlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from embed.limits import MAX_FRAME_PIXELS, MAX_INFLATED_BYTES
from embed.scan import DamagedScan, Header, ScanError, UnsupportedScan

Stored = npt.NDArray[Any]  # (rows, columns), integers as they are stored, or (rows, columns, 3) for colour
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
END_OF_CODESTREAM = b"\xff\xd9"  # closes JPEG, JPEG-LS and JPEG 2000 alike


def is_dicom(data: bytes) -> bool:
    """Whether the bytes look like DICOM: the "DICM" prefix, or a first element of group 0002 or 0008 without it."""
    return data[128:132] == b"DICM" or data[:2] in (b"\x08\x00", b"\x02\x00") or data[:4] == b"\x00\x08\x00\x05"


def parse(data: bytes) -> pydicom.Dataset:
    """The data set of a DICOM file, with a transfer syntax whatever its header lacks. Raises `DamagedScan`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on sloppy headers; what matters to us is checked below
            _refuse_deflated_bomb(data)
            ds = pydicom.dcmread(io.BytesIO(data), force=data[128:132] != b"DICM")
            ds.decode()
            _ensure_transfer_syntax(ds)
            if len(ds) == 0:
                raise ValueError("no elements")
    except ScanError:
        raise
    except Exception as error:  # a damaged header raises whatever the parser stumbled over
        raise DamagedScan(
            "damaged-header", f"the DICOM header cannot be read ({short(error)}); send the file again"
        ) from error
    return ds


def decode_frame(ds: pydicom.Dataset, *, frame: int = 0) -> Stored:
    """The stored integers of one frame, bits beyond Bits Stored removed, signed where the header says so.

    Colour comes as RGB (rows, columns, 3). The declared size is held against the limits and against what is there
    before anything is decoded. Raises `DamagedScan` or `UnsupportedScan`.
    """
    _check_declared_size(ds)
    syntax = ds.file_meta.TransferSyntaxUID
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            colour = photometric(ds) in COLOUR
            stored = pixel_array(
                ds, index=frame, raw=not colour, correct_unused_bits=False
            )  # it takes High Bit for granted
            if photometric(ds) == "PALETTE COLOR":
                stored = pydicom.pixels.processing.apply_color_lut(stored, ds)
    except ScanError:
        raise
    except Exception as error:  # every decoder plug-in raises its own kinds; each becomes a named refusal
        raise DamagedScan(
            "undecodable-pixels",
            f"the pixel data ({syntax.name}) cannot be decoded: {short(error)}; send the file again",
        ) from error
    if colour:
        return stored
    return _only_stored_bits(stored, ds)


def photometric(ds: pydicom.Dataset) -> str:
    return str(ds.get("PhotometricInterpretation") or "").strip().upper()


def frame_count(ds: pydicom.Dataset) -> int:
    """Number of Frames, 1 where it is not stated. Raises `DamagedScan`."""
    try:
        count = int(ds.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise DamagedScan(
            "no-size", f"(0028,0008) Number of Frames is {ds.get('NumberOfFrames')!r}; expected 1 or more"
        )
    return count


def require_pixels(ds: pydicom.Dataset) -> None:
    """Raises unless the file holds a picture of a kind that we decode."""
    if "PixelData" not in ds:
        other = next((name for name in ("FloatPixelData", "DoubleFloatPixelData") if name in ds), None)
        what = f"only {other}" if other else "no (7FE0,0010) Pixel Data"
        raise UnsupportedScan(
            "no-pixels", f"the DICOM file has {what}; ask for the image itself, not a report or reference"
        )
    for tag, keyword in (("(0028,0010)", "Rows"), ("(0028,0011)", "Columns"), ("(0028,0100)", "BitsAllocated")):
        if not isinstance(ds.get(keyword), int) or ds[keyword].value < 1:
            raise DamagedScan("no-size", f"{tag} {keyword} is {ds.get(keyword)!r}; expected a positive number")
    if photometric(ds) not in GREY + COLOUR:
        raise UnsupportedScan(
            "unsupported-colour",
            f"(0028,0004) Photometric Interpretation is {photometric(ds)!r}; expected {', '.join(GREY + COLOUR)}",
        )
    _complete_pixel_description(ds)


def header_of(ds: pydicom.Dataset) -> Header:
    """What the header says of patient and acquisition."""
    sex = text_of(ds, "PatientSex")
    return Header(
        patient_id=text_of(ds, "PatientID"),
        study_uid=text_of(ds, "StudyInstanceUID"),
        series_uid=text_of(ds, "SeriesInstanceUID"),
        instance_uid=text_of(ds, "SOPInstanceUID"),
        scan_date=date_of(text_of(ds, "AcquisitionDate")) or date_of(text_of(ds, "StudyDate")),
        manufacturer=text_of(ds, "Manufacturer"),
        scanner=text_of(ds, "ManufacturerModelName"),
        age_years=_age(text_of(ds, "PatientAge")),
        sex=sex if sex in ("F", "M") else None,
    )


def text_of(ds: pydicom.Dataset, keyword: str) -> str | None:
    value = ds.get(keyword)
    return str(value).replace("\0", "").strip() or None if value is not None else None


def date_of(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()
    except ValueError:
        return None


def numbers(value: Any) -> list[float]:
    """The finite numbers of a possibly multi-valued, possibly blank element; empty where any of them is none."""
    values: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        found = [float(number) for number in values if number is not None and str(number).strip() != ""]
    except (TypeError, ValueError):
        return []
    return found if np.isfinite(found).all() else []


def short(error: BaseException) -> str:
    """The first line of an error's text: decoders append their whole list of plug-ins."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _ensure_transfer_syntax(ds: pydicom.Dataset) -> None:
    ds.ensure_file_meta()
    if not ds.file_meta.get("TransferSyntaxUID"):
        ds.file_meta.TransferSyntaxUID = (
            ExplicitVRLittleEndian if ds.original_encoding == (False, True) else ImplicitVRLittleEndian
        )


def _refuse_deflated_bomb(data: bytes) -> None:
    """The deflated transfer syntax inflates the whole file (PS3.5 A.5): see first that it stays within the limit."""
    if DeflatedExplicitVRLittleEndian.encode() not in data[:2048]:
        return
    meta = pydicom.filereader._read_file_meta_info(stream := io.BytesIO(data[132:]))
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    start = 132 + stream.tell()
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(data[start:], MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise UnsupportedScan("too-large", f"the deflated file unpacks to more than {MAX_INFLATED_BYTES:,} bytes")


def _complete_pixel_description(ds: pydicom.Dataset) -> None:
    """Fill what decoders insist on and sloppy files leave out, where only one value makes sense."""
    if "SamplesPerPixel" not in ds:
        ds.SamplesPerPixel = 1 if photometric(ds) in (*GREY, "PALETTE COLOR") else 3
    if "PixelRepresentation" not in ds:
        ds.PixelRepresentation = 0
    if not ds.get("BitsStored"):
        ds.BitsStored = ds.BitsAllocated
    if ds.get("HighBit") is None:
        ds.HighBit = ds.BitsStored - 1
    if not 0 < ds.BitsStored <= ds.BitsAllocated or not ds.BitsStored - 1 <= ds.HighBit < ds.BitsAllocated:
        raise DamagedScan(
            "no-size",
            f"Bits Stored {ds.BitsStored} and High Bit {ds.HighBit} do not fit Bits Allocated {ds.BitsAllocated}",
        )


def _check_declared_size(ds: pydicom.Dataset) -> None:
    """The declared frame is within limits, and its bytes are there; compressed frames end as their format demands."""
    pixels = int(ds.Rows) * int(ds.Columns)
    if pixels > MAX_FRAME_PIXELS:
        raise UnsupportedScan(
            "too-large", f"the file declares {ds.Rows}×{ds.Columns} pixels; at most {MAX_FRAME_PIXELS:,} are read"
        )
    frames = frame_count(ds)
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
        needed = -(-pixels * int(ds.SamplesPerPixel) * frames * int(ds.BitsAllocated) // 8)
        if photometric(ds) == "YBR_FULL_422":
            needed = needed * 2 // 3
        if len(ds.PixelData) < needed:
            raise DamagedScan(
                "too-short",
                f"the pixel data is {len(ds.PixelData):,} bytes, {needed:,} are declared; the file is cut short",
            )
        return
    if syntax.name.startswith(("JPEG", "High-Throughput JPEG")):
        content = ds.PixelData[-64 * 1024 :].rstrip(b"\0")
        tail = content.removesuffix(b"\xfe\xff\xdd\xe0").rstrip(b"\0")
        if END_OF_CODESTREAM not in tail[-16:]:
            raise DamagedScan(
                "too-short", f"the {syntax.name} picture does not end with its end marker; the file is cut short"
            )


def _only_stored_bits(stored: Stored, ds: pydicom.Dataset) -> Stored:
    """Bits above High Bit are somebody's overlay or garbage (PS3.5 8.1.1): only Bits Stored count."""
    width = stored.dtype.itemsize * 8
    shift, unused = int(ds.HighBit) + 1 - int(ds.BitsStored), width - int(ds.HighBit) - 1
    if stored.dtype.kind not in "iu" or unused < 0 or (shift == 0 and unused == 0):
        return stored
    if shift == 0 and stored.dtype.kind == "u" and int(stored.max()) < 1 << int(ds.BitsStored):
        return stored
    return (stored << unused) >> (unused + shift)


def _age(text: str | None) -> int | None:
    """Whole years of an Age String (PS3.5 6.2, "067Y"); bare digits are years."""
    if not text or not text.rstrip("YMWD").isdecimal():
        return None
    number, unit = int(text.rstrip("YMWD")), text[-1]
    years = {"M": number // 12, "W": number // 52, "D": number // 365}.get(unit, number)
    return years if years <= 120 else None
