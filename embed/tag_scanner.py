"""The first bytes of a DICOM file -> the few elements that a slice needs, many times faster than reading all of it.

A series has hundreds of headers and a few pictures that matter, so the headers are walked here element by element up to
the pixel data; whatever is not plain little endian in ascending order is left to pydicom.
"""

import struct
from collections.abc import Mapping

import pydicom

from embed.bundle import Member
from embed.dicom import is_dicom, parse
from embed.scan import DamagedScan, UnsupportedScan

Tags = dict[str, str | int]  # keyword -> text with its backslashes, or a number for US

HEAD_BYTES = (16 * 1024, 512 * 1024)  # enough for most headers; then for those with large private elements
DEEPEST = 16  # sequences within sequences; deeper ones are left to pydicom
UNDEFINED = 0xFFFFFFFF  # a length
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
IMPLICIT = "1.2.840.10008.1.2"
ENCAPSULATED = UNDEFINED  # instead of the number of bytes of pixel data, where those tell nothing
NOT_PLAIN = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.95")  # deflated, big endian
UNCOMPRESSED = (
    IMPLICIT,
    "1.2.840.10008.1.2.1",
    *NOT_PLAIN[:2],
)  # whose pixel data has the length that the size demands
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

KEYWORDS = {
    0x00080008: "ImageType",
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00080060: "Modality",
    0x0008103E: "SeriesDescription",
    0x00100020: "PatientID",
    0x00180015: "BodyPartExamined",
    0x00180050: "SliceThickness",
    0x00180088: "SpacingBetweenSlices",
    0x00181030: "ProtocolName",
    0x00181120: "GantryDetectorTilt",
    0x00181210: "ConvolutionKernel",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00200011: "SeriesNumber",
    0x00200012: "AcquisitionNumber",
    0x00200013: "InstanceNumber",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
    0x00201041: "SliceLocation",
    0x00280002: "SamplesPerPixel",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280030: "PixelSpacing",
    0x00280100: "BitsAllocated",
    0x00280103: "PixelRepresentation",
    0x00280120: "PixelPaddingValue",
    0x00280121: "PixelPaddingRangeLimit",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    0x00281054: "RescaleType",
}
BINARY = frozenset((0x00280002, 0x00280010, 0x00280011, 0x00280100, 0x00280103, 0x00280120, 0x00280121))


class NotPlain(Exception):
    """This header is for pydicom, or for a longer head."""


def read_tags(member: Member) -> tuple[Tags, pydicom.Dataset | None]:
    """(the wanted elements, the data set if it took pydicom to get them).

    Where there is Pixel Data, "pixels" is how many bytes of it are there, or `ENCAPSULATED`.
    """
    for size in HEAD_BYTES:
        head = member.head(size)
        if not head:
            raise UnsupportedScan("empty-file", f"{member.name} is empty")
        if not is_dicom(head):
            raise UnsupportedScan("not-dicom", f"{member.name} is not a DICOM file")
        try:
            return scan_tags(head, total=member.size()), None
        except NotPlain:
            if len(head) < size:
                break
    ds = parse(member.read())
    return tags_of(ds), ds


def tags_of(ds: pydicom.Dataset) -> Tags:
    """The wanted elements of a parsed data set, as `scan_tags` gives them."""
    tags: Tags = {}
    if "PixelData" in ds:
        plain = isinstance(ds.PixelData, bytes) and str(ds.file_meta.get("TransferSyntaxUID")) in UNCOMPRESSED
        tags["pixels"] = len(ds.PixelData) if plain else ENCAPSULATED
    for tag, keyword in KEYWORDS.items():
        value = ds.get(keyword)
        if value is None or value == "":
            continue
        if tag in BINARY:
            if not isinstance(value, int):
                raise DamagedScan("damaged-header", f"{keyword} is {value!r}; expected one whole number")
            tags[keyword] = value
        else:
            several = not isinstance(value, str) and hasattr(value, "__iter__")
            tags[keyword] = "\\".join(str(one) for one in value) if several else str(value)
    return tags


def scan_tags(head: bytes, *, total: int) -> Tags:
    """The wanted elements from the first bytes of a file of `total` bytes. Raises `NotPlain`."""
    whole = len(head) >= total
    if head[128:132] != b"DICM":
        raise NotPlain
    meta, at = _walk(head, 132, explicit=True, stop=0x00030000, wanted={0x00020010: ""}, whole=whole)
    syntax = meta.get(0x00020010, b"").rstrip(b"\0 ").decode("latin-1")
    if not syntax.startswith(IMPLICIT) or syntax in NOT_PLAIN:
        raise NotPlain
    explicit = syntax != IMPLICIT
    found, at = _walk(head, at, explicit=explicit, stop=0x7FE00000, wanted=KEYWORDS, whole=whole)
    tags: Tags = {}
    for tag, value in found.items():
        if tag not in BINARY:
            text = value.rstrip(b"\0 ").decode("latin-1")
            if text:
                tags[KEYWORDS[tag]] = text
        elif len(value) == 2:
            signed = tag >= 0x00280120 and found.get(0x00280103, b"")[:1] == b"\1"
            tags[KEYWORDS[tag]] = int.from_bytes(value, "little", signed=signed)
        elif value:
            raise NotPlain
    if head[at : at + 4] == b"\xe0\x7f\x10\x00":
        there = _pixel_bytes(head, at, explicit=explicit, total=total)
        tags["pixels"] = there if syntax in UNCOMPRESSED else ENCAPSULATED
    elif at < len(head):
        raise NotPlain  # float pixel data, or padding before the pixels
    return tags


def _pixel_bytes(head: bytes, at: int, *, explicit: bool, total: int) -> int:
    """How long the value of the Pixel Data element at `at` is; of a file that ends sooner, how much of it is there."""
    start = at + (12 if explicit else 8)
    if start > len(head) or (explicit and head[at + 4 : at + 6] not in LONG_VRS):
        raise NotPlain
    length = int.from_bytes(head[start - 4 : start], "little")
    return min(length, max(0, total - start)) if length != UNDEFINED else length


def _walk(
    data: bytes, at: int, *, explicit: bool, stop: int, wanted: Mapping[int, str], whole: bool
) -> tuple[dict[int, bytes], int]:
    """The wanted elements before the tag `stop`, and where that lies (PS3.5 7.1)."""
    found: dict[int, bytes] = {}
    last, end = 0, len(data)
    header, long_length = struct.Struct("<HH2sH").unpack_from, struct.Struct("<I").unpack_from
    while at + 8 <= end:
        group, element, vr, length = header(data, at)
        tag = group << 16 | element
        if tag >= stop:
            return found, at
        if tag <= last:
            raise NotPlain  # a lying length, or a file that needs a more patient reader
        last = tag
        start = at + 8
        if not explicit:
            (length,) = long_length(data, at + 4)
        elif vr in LONG_VRS:
            if at + 12 > end:
                break
            (length,) = long_length(data, start)
            start += 4
        elif vr not in SHORT_VRS:
            raise NotPlain
        if length == UNDEFINED:
            if explicit and vr != b"SQ":
                raise NotPlain
            at = _end_of_sequence(data, start, explicit=explicit, depth=0)
            continue
        at = start + length
        if tag in wanted:
            found[tag] = data[start:at]
    if at == end and whole:
        return found, at
    raise NotPlain


def _end_of_sequence(data: bytes, at: int, *, explicit: bool, depth: int) -> int:
    """Where a sequence of undefined length ends (PS3.5 7.5.2)."""
    if depth > DEEPEST:
        raise NotPlain
    while at + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, at)
        tag, at = group << 16 | element, at + 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise NotPlain
        at = at + length if length != UNDEFINED else _end_of_item(data, at, explicit=explicit, depth=depth)
    raise NotPlain


def _end_of_item(data: bytes, at: int, *, explicit: bool, depth: int) -> int:
    while at + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, at)
        vr, at = data[at + 4 : at + 6], at + 8
        if group << 16 | element == ITEM_END:
            return at
        if explicit and vr in LONG_VRS:
            length = int.from_bytes(data[at : at + 4], "little")
            at += 4
        elif explicit and vr in SHORT_VRS:
            length >>= 16
        elif explicit:
            raise NotPlain
        if length != UNDEFINED:
            at += length
        elif explicit and vr != b"SQ":
            raise NotPlain
        else:
            at = _end_of_sequence(data, at, explicit=explicit, depth=depth + 1)
    raise NotPlain
