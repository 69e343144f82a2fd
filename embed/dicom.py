"""A DICOM file's bytes -> its header, checked, and its stored integers. What they mean is for radiograph.py and series_source.py."""

import io
import warnings
import zlib
from collections.abc import Sequence
from copy import copy
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from embed.codestream import FILLED_SILENTLY, checked_codestream, ends_before_the_picture, is_codestream
from embed.limits import MAX_FRAME_PIXELS, MAX_INFLATED_BYTES
from embed.scan import DamagedScan, Header, ScanError, UnsupportedScan
from embed.scan import Stored as Stored

FIRST_RADIOGRAPH = date(1895, 11, 8)
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
# Of several decoders pydicom asks GDCM first, which aborts the whole process over what these refuse with an exception.
PREFERRED_PLUGIN = {
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
# What decoding computes with. In a damaged file the dictionary's VR is no promise: any of them may hold words or a list.
WHOLE_NUMBERS = {
    "Rows": "(0028,0010)",
    "Columns": "(0028,0011)",
    "SamplesPerPixel": "(0028,0002)",
    "BitsAllocated": "(0028,0100)",
    "BitsStored": "(0028,0101)",
    "HighBit": "(0028,0102)",
    "PixelRepresentation": "(0028,0103)",
}


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
            codestream = checked_codestream(ds, frame, frames=frame_count(ds)) if is_codestream(syntax) else b""
            stored = _decoded(ds, frame)
            if syntax in FILLED_SILENTLY and ends_before_the_picture(
                codestream, stored, partial(_decoded_alone, ds), bits=int(ds.BitsStored)
            ):
                raise DamagedScan(
                    "too-short",
                    f"part of the {syntax.name} picture is missing, though its end is there; send the file again",
                )
            if photometric(ds) == "PALETTE COLOR":
                stored = pydicom.pixels.processing.apply_color_lut(stored, ds)[..., :3]  # without its alpha
    except ScanError:
        raise
    except BaseException as error:  # every decoder plug-in raises its own kinds; each becomes a named refusal
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # pylibjpeg-rle is Rust, whose panics are no Exception and would end the process
        raise DamagedScan(
            "undecodable-pixels",
            f"the pixel data ({syntax.name}) cannot be decoded: {short(error)}; send the file again",
        ) from error
    expected = (int(ds.Rows), int(ds.Columns), *((3,) if colour else ()))
    if stored.shape != expected:
        raise DamagedScan("no-size", f"the picture decodes to {stored.shape}; {expected} is declared")
    return stored if photometric(ds) == "PALETTE COLOR" else _only_stored_bits(stored, ds)


def _decoded(ds: pydicom.Dataset, frame: int) -> Stored:
    """A frame as its decoder gives it."""
    return pixel_array(
        ds,
        index=frame,
        raw=photometric(ds) not in COLOUR,
        decoding_plugin=PREFERRED_PLUGIN.get(ds.file_meta.TransferSyntaxUID, ""),
        correct_unused_bits=False,  # it takes High Bit for granted
    )


def _decoded_alone(ds: pydicom.Dataset, codestream: bytes) -> Stored:
    """`codestream` decoded as if it were the only frame of `ds`."""
    alone = copy(ds)
    alone.PixelData = pydicom.encaps.encapsulate([codestream])
    alone.NumberOfFrames = 1
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        alone.pop(keyword, None)
    return _decoded(alone, 0)


def photometric(ds: pydicom.Dataset) -> str:
    return str(ds.get("PhotometricInterpretation") or "").strip().upper()


def frame_count(ds: pydicom.Dataset) -> int:
    """Number of Frames, 1 where it is not stated. Raises `DamagedScan`."""
    try:
        count = int(ds.get("NumberOfFrames") or 1)
    except (TypeError, ValueError, OverflowError):
        count = 0
    if count < 1:
        raise DamagedScan(
            "no-size", f"(0028,0008) Number of Frames is {_told(ds.get('NumberOfFrames'))}; expected 1 or more"
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
    if not isinstance(ds.PixelData, bytes):
        raise DamagedScan("damaged-header", f"(7FE0,0010) Pixel Data holds {_told(ds.PixelData)}; expected bytes")
    _require_transfer_syntax(ds)
    _require_whole_numbers(ds)
    if photometric(ds) not in GREY + COLOUR:
        raise UnsupportedScan(
            "unsupported-colour",
            f"(0028,0004) Photometric Interpretation is {photometric(ds)!r}; expected {', '.join(GREY + COLOUR)}",
        )
    _complete_pixel_description(ds)


def items_of(ds: pydicom.Dataset, keyword: str) -> Sequence[pydicom.Dataset]:
    """The items of a sequence, none where it is absent or empty. Raises `DamagedScan` where it holds no items."""
    value = ds.get(keyword)
    if value is not None and not isinstance(value, pydicom.Sequence):
        raise DamagedScan("damaged-header", f"{keyword} holds {_told(value)}; expected a sequence of items")
    return value or ()


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
    """A DICOM date (PS3.5 6.2 DA); none that cannot be that of an image: before the first radiograph, or in the future."""
    try:
        found = datetime.strptime(text or "", "%Y%m%d").date()
    except ValueError:
        return None
    return found if FIRST_RADIOGRAPH <= found <= date.today() + timedelta(days=1) else None


def numbers(value: Any) -> list[float]:
    """The finite numbers of a possibly multi-valued, possibly blank element; empty where any of them is none."""
    values: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    try:
        found = [float(number) for number in values if number is not None and str(number).strip() != ""]
    except (TypeError, ValueError, OverflowError):
        return []
    return found if np.isfinite(found).all() else []


def short(error: BaseException) -> str:
    """The first line of an error's text: decoders append their whole list of plug-ins."""
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith(":"):
        lines[0] += f" {lines[1].strip()}"
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


def _require_transfer_syntax(ds: pydicom.Dataset) -> None:
    """Raises unless a decoder for the pixels' encoding is installed."""
    syntax = ds.file_meta.TransferSyntaxUID
    if not isinstance(syntax, pydicom.uid.UID):
        raise DamagedScan("damaged-header", f"(0002,0010) Transfer Syntax UID is {_told(syntax)}; expected one UID")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        what = syntax.name if syntax.is_valid else "no valid UID"
        raise UnsupportedScan(
            "transfer-syntax",
            f"(0002,0010) Transfer Syntax is {what}, for which there is no decoder; send the file uncompressed",
        ) from error
    if not decoder.is_available:
        raise UnsupportedScan(
            "transfer-syntax",
            f"decoding {syntax.name} needs a plug-in that is not installed: {'; '.join(decoder.missing_dependencies)}",
        )


def _require_whole_numbers(ds: pydicom.Dataset) -> None:
    """What decoding computes with is whole numbers or, where a default makes sense, absent. Raises `DamagedScan`."""
    for keyword, tag in WHOLE_NUMBERS.items():
        value = ds.get(keyword)
        if value is None or value == "":
            ds.pop(keyword, None)
        elif not isinstance(value, int):
            raise DamagedScan("damaged-header", f"{tag} {keyword} holds {_told(value)}; expected one whole number")
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        if ds.get(keyword, 0) < 1:
            found = ds.get(keyword, "missing")
            raise DamagedScan("no-size", f"{WHOLE_NUMBERS[keyword]} {keyword} is {found}; expected a positive number")


def _told(value: object) -> str:
    """A value as a message may tell it: where a name may have ended up, its kind only."""
    return str(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"


def _complete_pixel_description(ds: pydicom.Dataset) -> None:
    """Fill what decoders insist on and sloppy files leave out, where only one value makes sense."""
    samples = 1 if photometric(ds) in (*GREY, "PALETTE COLOR") else 3
    if "SamplesPerPixel" not in ds:
        ds.SamplesPerPixel = samples
    if "PixelRepresentation" not in ds:
        ds.PixelRepresentation = 0
    if ds.SamplesPerPixel != samples:
        raise DamagedScan(
            "no-size", f"(0028,0002) Samples per Pixel is {ds.SamplesPerPixel}; {photometric(ds)} has {samples}"
        )
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
    """The declared frame is within limits and, where it is not compressed, its bytes are there."""
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


def _only_stored_bits(stored: Stored, ds: pydicom.Dataset) -> Stored:
    """Bits above High Bit are somebody's overlay or garbage (PS3.5 8.1.1): only Bits Stored count.

    But where the padding value itself lies beyond them, pixels of that value are padding and are left as they are.
    """
    width = stored.dtype.itemsize * 8
    shift, unused = int(ds.HighBit) + 1 - int(ds.BitsStored), width - int(ds.HighBit) - 1
    if stored.dtype.kind not in "iu" or unused < 0 or (shift == 0 and unused == 0):
        return stored
    if shift == 0 and stored.dtype.kind == "u" and int(stored.max()) < 1 << int(ds.BitsStored):
        return stored
    kept = (stored << unused) >> (unused + shift)
    padding = ds.get("PixelPaddingValue")
    if stored.dtype.kind == "u" and isinstance(padding, int) and padding >= 1 << int(ds.BitsStored):
        kept = np.where(stored == padding, stored, kept)
    return kept


def _age(text: str | None) -> int | None:
    """Whole years of an Age String (PS3.5 6.2, "067Y"); bare digits are years."""
    if not text or len(text) > 4 or not text.rstrip("YMWD").isdecimal():
        return None
    number, unit = int(text.rstrip("YMWD")), text[-1]
    years = {"M": number // 12, "W": number // 52, "D": number // 365}.get(unit, number)
    return years if years <= 120 else None
