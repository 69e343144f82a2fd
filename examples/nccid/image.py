"""A scan's file and the metadata that NCCID's loader keeps beside it, both from one list of elements.

Written by hand, not by pydicom: an archive of 20,000 patients has some 70,000 files. A test has pydicom read them back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
SOP_CLASSES = {
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
}
LONG = ("OB", "OW", "SQ", "UN")  # a length of four bytes after two reserved ones (PS3.5 7.1.2)
NUMBERS = {"DS": float, "IS": int, "US": int}
VOI_LUT_SEQUENCE = 0x00283010

Pixels = npt.NDArray[np.uint8]  # (rows, columns)
Value = str | int | bytes | list["Element"] | None


@dataclass(frozen=True)
class Element:
    tag: int
    vr: str
    value: Value = None  # text with backslashes between values, an integer, bytes, or the one item of a sequence


@dataclass(frozen=True)
class Header:
    """What a file says of a scan."""

    patient_id: str
    sex: str
    age: str
    study_uid: str
    series_uid: str
    sop_uid: str
    modality: str
    manufacturer: str
    model: str
    acquired: date | None
    studied: date | None
    instance: int = 1
    view: str = ""
    has_table: bool = False  # a VOI LUT Sequence
    filter_mm: str = ""  # several values, which some parsers stumble on


def elements(header: Header, pixels: Pixels | None) -> list[Element]:
    """The dataset, by tag; Dates but those of study and acquisition are shifted."""
    when = header.acquired or header.studied
    shifted = f"{when - timedelta(days=137):%Y%m%d}" if when else None
    found = [
        Element(0x00080005, "CS", "ISO_IR 100"),
        Element(0x00080008, "CS", "ORIGINAL\\PRIMARY"),
        Element(0x00080016, "UI", SOP_CLASSES[header.modality]),
        Element(0x00080018, "UI", header.sop_uid),
        Element(0x00080021, "DA", shifted),
        Element(0x00080023, "DA", shifted),
        Element(0x00080060, "CS", header.modality),
        Element(0x00080070, "LO", header.manufacturer),
        Element(0x00081090, "LO", header.model),
        Element(0x00091010, "OB", b"\x01\x02"),  # what a de-identifier left of a private element
        Element(0x00100010, "PN", header.patient_id),
        Element(0x00100020, "LO", header.patient_id),
        Element(0x00100040, "CS", header.sex or None),
        Element(0x00101010, "AS", header.age or None),
        Element(0x00180015, "CS", "CHEST"),
        Element(0x0020000D, "UI", header.study_uid),
        Element(0x0020000E, "UI", header.series_uid),
        Element(0x00200013, "IS", str(header.instance)),
    ]
    if header.acquired:
        found.append(Element(0x00080022, "DA", f"{header.acquired:%Y%m%d}"))
    if header.studied:
        found.append(Element(0x00080020, "DA", f"{header.studied:%Y%m%d}"))
    if header.view:
        found.append(Element(0x00185101, "CS", header.view))
    if header.filter_mm:
        found.append(Element(0x00187052, "DS", header.filter_mm))
    if header.has_table:
        table = [Element(0x00283002, "US", "256\\0\\8"), Element(0x00283006, "OW", bytes(range(256)))]
        found.append(Element(VOI_LUT_SEQUENCE, "SQ", table))
    if header.modality in ("CT", "MR"):
        found.append(Element(0x00200032, "DS", f"0\\0\\{5 * header.instance}"))
        found.append(Element(0x00200037, "DS", "1\\0\\0\\0\\1\\0"))
    if pixels is not None:
        found += [
            Element(0x00280002, "US", 1), Element(0x00280004, "CS", "MONOCHROME2"), Element(0x00280010, "US", pixels.shape[0]),
            Element(0x00280011, "US", pixels.shape[1]), Element(0x00280030, "DS", "1\\1"), Element(0x00280100, "US", 8),
            Element(0x00280101, "US", 8), Element(0x00280102, "US", 7), Element(0x00280103, "US", 0),
            Element(0x7FE00010, "OW", pixels.tobytes()),
        ]  # fmt: skip
    return sorted(found, key=lambda element: element.tag)


def dicom_bytes(dataset: list[Element]) -> bytes:
    """A DICOM file in Explicit VR Little Endian (PS3.10 7.1)."""
    uids = {element.tag: element.value for element in dataset}
    meta = [
        Element(0x00020001, "OB", b"\0\1"),
        Element(0x00020002, "UI", uids[0x00080016]),
        Element(0x00020003, "UI", uids[0x00080018]),
        Element(0x00020010, "UI", EXPLICIT_LITTLE_ENDIAN),
        Element(0x00020012, "UI", "2.25.1"),
    ]
    group = b"".join(map(_encoded, meta))
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(group))
    return b"\0" * 128 + b"DICM" + length + group + b"".join(map(_encoded, dataset))


def metadata(dataset: list[Element]) -> dict[str, object]:
    """DICOM JSON (PS3.18 F.2) as the loader leaves it: no pixels, binary values and VOI LUT sequences null."""
    shown = {f"{e.tag:08X}": _shown(e) for e in dataset if e.tag != 0x7FE00010}
    return {tag: None if tag == f"{VOI_LUT_SEQUENCE:08X}" else element for tag, element in shown.items()}


def _shown(element: Element) -> dict[str, object]:
    value = element.value
    if value is None:
        return {"vr": element.vr}
    if isinstance(value, bytes):
        return {"vr": element.vr, "InlineBinary": None}
    if element.vr == "PN":
        return {"vr": "PN", "Value": [{"Alphabetic": value}]}
    if isinstance(value, int):
        return {"vr": element.vr, "Value": [value]}
    if isinstance(value, list):
        return {"vr": "SQ", "Value": [{f"{inner.tag:08X}": _shown(inner) for inner in value}]}
    return {"vr": element.vr, "Value": [NUMBERS.get(element.vr, str)(part) for part in value.split("\\")]}


def _encoded(element: Element) -> bytes:
    value = _value(element)
    head = struct.pack("<HH2s", element.tag >> 16, element.tag & 0xFFFF, element.vr.encode())
    return head + (struct.pack("<HI", 0, len(value)) if element.vr in LONG else struct.pack("<H", len(value))) + value


def _value(element: Element) -> bytes:
    value = element.value
    if value is None:
        return b""
    if isinstance(value, list):
        item = b"".join(map(_encoded, value))
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    if isinstance(value, int):
        return struct.pack("<H", value)
    if element.vr == "US" and isinstance(value, str):
        return b"".join(struct.pack("<H", int(part)) for part in value.split("\\"))
    stored = value if isinstance(value, bytes) else value.encode("latin-1")
    return stored + (b"\0" if element.vr in ("UI", *LONG) else b" ") * (len(stored) % 2)
