"""A DICOM file's header, quickly -> the slices it holds: where each lies and how its values become Hounsfield units.

A series has hundreds of headers and a few pictures that matter, so the headers are walked here element by element up to
the pixel data; whatever is not plain little endian in ascending order is left to pydicom.
"""

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import NamedTuple

import pydicom

from embed.bundle import Member
from embed.dicom import frame_count, is_dicom, parse, short
from embed.limits import MAX_BUNDLE_FILES
from embed.scan import DamagedScan, ScanError, UnsupportedScan

Vector = tuple[float, ...]
Tags = dict[str, str | int]  # keyword -> text with its backslashes, or a number for US

HEAD_BYTES = (16 * 1024, 512 * 1024)  # enough for most headers; then for those with large private elements
DEEPEST = 16  # sequences within sequences; deeper ones are left to pydicom
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
IMPLICIT = "1.2.840.10008.1.2"
NOT_PLAIN = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.95")  # deflated, big endian
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
    0x00280103: "PixelRepresentation",
    0x00280120: "PixelPaddingValue",
    0x00280121: "PixelPaddingRangeLimit",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    0x00281054: "RescaleType",
}
BINARY = frozenset((0x00280002, 0x00280010, 0x00280011, 0x00280103, 0x00280120, 0x00280121))


class NotPlain(Exception):
    """This header is for pydicom, or for a longer head."""


class Slice(NamedTuple):  # made by the hundred: a frozen dataclass takes five times as long
    """One slice, or one frame, by its header."""

    member: Member
    frame: int
    plain: bool  # read without pydicom, so that its pixels can be reached without reading the rest
    instance_uid: str
    series_uid: str
    patient_id: str
    sop_class: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    colours: int
    position: Vector | None  # mm, patient's left, back and head positive (PS3.3 C.7.6.2.1.1)
    orientation: Vector | None  # directions of growing column, then row number
    location: float | None
    acquisition: int
    number: int | None
    pixel_mm: Vector | None  # between rows, between columns
    thickness_mm: float | None
    between_mm: float | None
    tilt_degrees: float
    slope: float | None
    intercept: float | None
    rescale_type: str
    padding: tuple[int, int] | None  # stored values from, to
    kernel: str
    words: str  # of description, protocol and body part, in capitals; for recognition, not for messages
    series_number: str


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Around pydicom, which converts values when they are first asked for: what it stumbles over becomes `DamagedScan`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, MemoryError):
        raise
    except ScanError as error:
        told = str(error) if name in str(error) else f"{name}: {error}"
        raise type(error)(error.reason, told) from error
    except Exception as error:
        raise DamagedScan("damaged-header", f"{name} cannot be read ({short(error)}); send it again") from error


def read_slices(member: Member) -> list[Slice]:
    """What a file's header says of each slice in it. Raises `ScanError`; pixels are not touched."""
    with damage_named(member.name):
        return _read_slices(member)


def _read_slices(member: Member) -> list[Slice]:
    tags, ds = read_tags(member)
    if "Rows" not in tags or "pixels" not in tags:
        raise UnsupportedScan(
            "no-pixels", f"{member.name} holds no picture; reports, states and directories are left out"
        )
    if int(_number(tags, "NumberOfFrames") or 1) == 1 and ds is None:
        return [_slice(member, 0, tags, plain=True)]
    ds = ds or parse(member.read())
    frames = frame_count(ds)
    if frames > MAX_BUNDLE_FILES:
        raise UnsupportedScan(
            "too-large", f"{member.name} declares {frames:,} frames; at most {MAX_BUNDLE_FILES:,} are read"
        )
    per_frame = ds.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        by_hand = [_slice(member, frame, tags) for frame in range(frames)]
        return by_hand if frames == 1 else [_slice(member, n, {**tags, "InstanceNumber": n}) for n in range(frames)]
    if len(per_frame) < frames:
        raise DamagedScan(
            "damaged-frames",
            f"(5200,9230) has {len(per_frame)} items for {frames} frames in {member.name}; expected one each",
        )
    shared = (ds.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    return [
        _slice(member, n, {**tags, **_frame_tags(shared, per_frame[n]), "InstanceNumber": n}) for n in range(frames)
    ]


def read_tags(member: Member) -> tuple[Tags, pydicom.Dataset | None]:
    """(the wanted elements, the data set if it took pydicom to get them). "pixels" is there if Pixel Data is."""
    for size in HEAD_BYTES:
        head = member.head(size)
        if not head:
            raise UnsupportedScan("empty-file", f"{member.name} is empty")
        if not is_dicom(head):
            raise UnsupportedScan("not-dicom", f"{member.name} is not a DICOM file")
        try:
            return scan_tags(head, whole=len(head) < size), None
        except NotPlain:
            if len(head) < size:
                break
    ds = parse(member.read())
    return tags_of(ds), ds


def tags_of(ds: pydicom.Dataset) -> Tags:
    """The wanted elements of a parsed data set, as `scan_tags` gives them."""
    tags: Tags = {"pixels": 1} if "PixelData" in ds else {}
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


def scan_tags(head: bytes, *, whole: bool) -> Tags:
    """The wanted elements from the first bytes of a file (all of it if `whole`). Raises `NotPlain`."""
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
        tags["pixels"] = 1
    elif at < len(head):
        raise NotPlain  # float pixel data, or padding before the pixels
    return tags


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


def _frame_tags(shared: pydicom.Dataset, own: pydicom.Dataset) -> Tags:
    """The functional groups of one frame (PS3.3 C.7.6.16.2), as a classic slice would state them."""
    flat = pydicom.Dataset()
    for groups in (shared, own):
        for element in groups:
            if element.VR == "SQ" and element.value:
                for inner in element.value[0]:
                    if inner.tag in KEYWORDS or inner.keyword == "FrameType":
                        flat[inner.tag] = inner
    tags = tags_of(flat)
    if flat.get("FrameType"):
        tags["ImageType"] = "\\".join(flat.FrameType)
    return tags


def _slice(member: Member, frame: int, tags: Tags, *, plain: bool = False) -> Slice:
    padding, limit = tags.get("PixelPaddingValue"), tags.get("PixelPaddingRangeLimit")
    ends = sorted((int(padding), int(padding if limit is None else limit))) if padding is not None else None
    words = " ".join(str(tags.get(name, "")) for name in ("SeriesDescription", "ProtocolName", "BodyPartExamined"))
    number = _number(tags, "InstanceNumber")
    return Slice(
        member=member,
        frame=frame,
        plain=plain,
        instance_uid=str(tags.get("SOPInstanceUID", "")),
        series_uid=str(tags.get("SeriesInstanceUID", "")),
        patient_id=str(tags.get("PatientID", "")).strip(),
        sop_class=str(tags.get("SOPClassUID", "")),
        modality=str(tags.get("Modality", "")).strip(),
        image_type=tuple(str(tags.get("ImageType", "")).upper().split("\\")),
        rows=int(tags.get("Rows", 0)),
        columns=int(tags.get("Columns", 0)),
        colours=int(tags.get("SamplesPerPixel", 1)),
        position=_vector(tags, "ImagePositionPatient", 3),
        orientation=_vector(tags, "ImageOrientationPatient", 6),
        location=_number(tags, "SliceLocation"),
        acquisition=int(_number(tags, "AcquisitionNumber") or 0),
        number=None if number is None else int(number),
        pixel_mm=_vector(tags, "PixelSpacing", 2),
        thickness_mm=_number(tags, "SliceThickness"),
        between_mm=_number(tags, "SpacingBetweenSlices"),
        tilt_degrees=_number(tags, "GantryDetectorTilt") or 0.0,
        slope=_number(tags, "RescaleSlope"),
        intercept=_number(tags, "RescaleIntercept"),
        rescale_type=str(tags.get("RescaleType", "")).strip().upper(),
        padding=(ends[0], ends[1]) if ends else None,
        kernel=str(tags.get("ConvolutionKernel", "")).strip().upper(),
        words=words.upper(),
        series_number=str(tags.get("SeriesNumber", "")).strip(),
    )


def _vector(tags: Tags, keyword: str, length: int) -> Vector | None:
    if keyword not in tags:
        return None
    found = _numbers(tags, keyword)
    if found and len(found) != length:
        raise DamagedScan("damaged-header", f"{keyword} is {tags[keyword]!r}; expected {length} numbers")
    return found or None


def _number(tags: Tags, keyword: str) -> float | None:
    if keyword not in tags:
        return None
    found = _numbers(tags, keyword)
    return found[0] if found else None


def _numbers(tags: Tags, keyword: str) -> Vector:
    """The numbers of an element, none if it is blank. Raises `DamagedScan`."""
    text = str(tags[keyword])
    try:
        found = tuple([float(one) for one in text.split("\\")])
    except ValueError:
        if not text.strip("\\ \0"):
            return ()
        found = (float("nan"),)
    if not all(map(isfinite, found)):
        raise DamagedScan("damaged-header", f"{keyword} is {text[:80]!r}; expected finite numbers")
    return found
