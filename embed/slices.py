"""A DICOM file's header -> the slices it holds: where each lies and how its values become Hounsfield units."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import isfinite
from typing import NamedTuple

import pydicom

from embed.bundle import Member
from embed.dicom import frame_count, parse, short
from embed.limits import MAX_BUNDLE_FILES
from embed.scan import DamagedScan, ScanError, UnsupportedScan
from embed.tag_scanner import ENCAPSULATED, KEYWORDS, Tags, read_tags, tags_of

Vector = tuple[float, ...]


class Slice(NamedTuple):  # made by the hundred: a frozen dataclass takes five times as long
    """One slice, or one frame, by its header."""

    member: Member
    frame: int
    plain: bool  # read without pydicom, so that its pixels can be reached without reading the rest
    instance_uid: str
    series_uid: str
    study_uid: str
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
    lacking_bytes: int  # of uncompressed pixel data that is shorter than declared, as far as the header's reader saw


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
        return [_slice(member, 0, tags, plain=True, lacking=_lacking_bytes(tags, 1))]
    ds = ds or parse(member.read())
    frames = frame_count(ds)
    lacking = _lacking_bytes(tags, frames)
    if frames > MAX_BUNDLE_FILES:
        raise UnsupportedScan(
            "too-large", f"{member.name} declares {frames:,} frames; at most {MAX_BUNDLE_FILES:,} are read"
        )
    per_frame = ds.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        numbered = [{**tags, "InstanceNumber": n} for n in range(frames)] if frames > 1 else [tags]
        return [_slice(member, n, own, lacking=lacking) for n, own in enumerate(numbered)]
    if len(per_frame) < frames:
        raise DamagedScan(
            "damaged-frames",
            f"(5200,9230) has {len(per_frame)} items for {frames} frames in {member.name}; expected one each",
        )
    shared = (ds.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    return [
        _slice(member, n, {**tags, **_frame_tags(shared, per_frame[n]), "InstanceNumber": n}, lacking=lacking)
        for n in range(frames)
    ]


def _lacking_bytes(tags: Tags, frames: int) -> int:
    """By how much the pixel data is shorter than its size declares (PS3.5 8.1.1); 0 where compressed or in colour."""
    if tags["pixels"] == ENCAPSULATED or tags.get("SamplesPerPixel", 1) != 1:
        return 0
    bits = int(tags["Rows"]) * int(tags.get("Columns", 0)) * frames * int(tags.get("BitsAllocated", 0))
    return max(0, -(-bits // 8) - int(tags["pixels"]))


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


def _slice(member: Member, frame: int, tags: Tags, *, plain: bool = False, lacking: int = 0) -> Slice:
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
        study_uid=str(tags.get("StudyInstanceUID", "")),
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
        lacking_bytes=lacking,
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
    found = _finite_numbers(text)
    if found is None:
        raise DamagedScan("damaged-header", f"{keyword} is {text[:80]!r}; expected finite numbers")
    return found


@lru_cache(maxsize=256)  # most elements say the same in all the slices of a series
def _finite_numbers(text: str) -> Vector | None:
    try:
        found = tuple([float(one) for one in text.split("\\")])
    except ValueError:
        return None if text.strip("\\ \0") else ()
    return found if all(map(isfinite, found)) else None
