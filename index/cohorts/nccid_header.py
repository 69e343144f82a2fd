"""The header of a warehouse image: from the DICOM JSON that the loader keeps beside it, else from the file itself."""

import json
import re
from datetime import date, datetime
from typing import Any, BinaryIO

import pydicom

from index.cohorts.clean_dates import EARLIEST
from index.cohorts.cleaned import Cleaned

HEADER = (
    "AcquisitionDate",
    "StudyDate",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "PatientSex",
    "PatientAge",
    "PatientID",
)


def json_header(content: bytes | OSError | None) -> dict[str, Any]:
    """The first values of a DICOM-JSON document by keyword; empty where there is none.

    The loader nulls binary values and VOI LUT sequences, so elements are taken one by one (PS3.18 F.2).
    """
    if content is None or isinstance(content, OSError):
        return {}
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for tag, element in document.items() if isinstance(document, dict) else ():
        keyword = _KEYWORDS.get(tag.upper()) if re.fullmatch("[0-9A-Fa-f]{8}", tag) else None
        values = element.get("Value") if keyword and isinstance(element, dict) else None
        if keyword and isinstance(values, list) and values and isinstance(values[0], str | int | float):
            found[keyword] = values[0]
    return found


def file_header(stream: BinaryIO) -> dict[str, Any]:
    """The same from a DICOM file; empty where it cannot be read: the build will reject that file with its reason."""
    try:
        ds = pydicom.dcmread(
            stream,
            force=True,  # also without preamble, which the pixels' reader takes too
            stop_before_pixels=True,
            specific_tags=list(HEADER),
        )
        return {element.keyword: element.value for element in ds}
    except Exception:  # whatever a damaged header raises; reading the pixels will report it
        return {}


def header_text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).encode("utf-8", "replace").decode("utf-8").strip() or None  # JSON may hold half a character


def scan_date(header: dict[str, Any], latest: date) -> Cleaned[date]:
    """The two dates that de-identification left as they were; all others are offset. None that cannot be, flagged."""
    stated = [day for name in ("AcquisitionDate", "StudyDate") if (day := _dicom_date(header.get(name)))]
    possible = [day for day in stated if EARLIEST <= day <= latest]
    flags = ("out-of-range",) if len(possible) < len(stated) else ()
    return Cleaned(possible[0] if possible else None, "", flags)


def _dicom_date(value: Any) -> date | None:
    try:
        return datetime.strptime(str(value or ""), "%Y%m%d").date()
    except ValueError:
        return None


_KEYWORDS = {f"{pydicom.datadict.tag_for_keyword(keyword):08X}": keyword for keyword in HEADER}
