"""Small scans of every kind we read, and endless damaged copies of them, the same for the same seed."""

import functools
import gzip
import io
import random
import struct
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from embed.bundle import Member
from embed.read import read_scan_bytes
from embed.scan import Scan, ScanError
from embed.series import find_series, read_full_volume
from tests.films import dicom_dataset, phantom, png_bytes, to_bytes
from tests.test_embed_nifti import nifti_bytes
from tests.test_embed_series import ct_dataset, groups

SIDE = 32  # pixels that the films are shrunk to: of what is tested here, the encoder's size tells nothing
ITEM = b"\xfe\xff\x00\xe0"
ODD_LENGTHS = (0, 1, 2, 3, 7, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
ODD_TEXTS = (b"-1", b"0", b"nan", b"inf", b"-1e300", b"1e38", b"1e-320", b"\\", b"1\\2\\3", b"\xff\xfe", b"9" * 64, b"")
VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
TAGS = tuple(
    struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    for tag in (
        *(0x00020010, 0x00080005, 0x00080060, 0x00181164, 0x00185101, 0x00280002, 0x00280004, 0x00280006, 0x00280008),
        *(0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121),
        *(0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056, 0x00283000, 0x00283010, 0x00540220, 0x00101010),
        *(0x00200032, 0x00200037, 0x52009229, 0x52009230, 0x7FE00010, 0xFFFEE000, 0xFFFEE0DD),
    )
)


@dataclass(frozen=True)
class Original:
    """A whole file; damage is done to `inner`, and `wrap` makes a file of it again."""

    name: str
    inner: bytes
    wrap: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Mutant:
    number: int
    original: str
    damage: str
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """What became of one file: "scan", a `ScanError`'s reason, or a `fault` of ours in words."""

    reason: str
    seconds: float
    fault: str = ""


@dataclass(frozen=True)
class Element:
    """Where an element of a DICOM file lies: its tag, its length field, its value, its end."""

    start: int
    length_at: int
    length_bytes: int
    value: int
    end: int


def read_all(files: list[bytes]) -> list[Outcome]:
    """What a worker answers for a batch: each file's outcome; nothing but a lost process can stop the rest."""
    return [read_one(data) for data in files]


def read_one(data: bytes) -> Outcome:
    began = time.perf_counter()
    reason, fault = "scan", ""
    try:
        for scan in _read(data):
            fault = fault or fault_of(scan)
    except ScanError as error:
        reason = error.reason
        if not error.reason or len(str(error)) < 10:
            fault = f"a refusal without words: {error.reason!r} {error}"
    except Exception:
        reason, fault = "exception", traceback.format_exc()
    return Outcome(reason, time.perf_counter() - began, fault)


def _read(data: bytes) -> Iterator[Scan]:
    """The scan in a file; of CT too small for lungs to be looked for, every series whole."""
    try:
        yield read_scan_bytes(data, side=SIDE)
    except ScanError as refusal:
        if refusal.reason != "no-lung-series" or data.startswith(b"PK"):
            raise
    else:
        return
    for series in find_series([Member("mutant", lambda: data, lambda size: data[:size], lambda: len(data))])[0]:
        yield read_full_volume(series)


def fault_of(scan: Scan) -> str:
    """What is wrong with the pixels of a scan that was returned, "" if nothing."""
    pixels = scan.pixels
    if pixels.ndim != 3 or pixels.dtype != np.float32 or not pixels.size:
        return f"pixels are {pixels.dtype} {pixels.shape}"
    if not np.isfinite(pixels).all():
        return "pixels are not finite"
    if scan.kind != "ct" and (pixels.min() < -1e-3 or pixels.max() > 1.001):
        return f"pixels reach from {pixels.min()} to {pixels.max()}"
    return "" if pixels.any() else "pixels are all zeros"


@functools.cache
def originals() -> tuple[Original, ...]:
    """One of each kind, all below 30 kB."""
    made = [_plain(name, to_bytes(ds)) for name, ds in _films()]
    made += [_plain(f"film {syntax.name}", _written(_film(), syntax)) for syntax in UNCOMPRESSED]
    made += [_plain(f"film {syntax.name}", _compressed(_film(), syntax)) for syntax in COMPRESSED]
    made += [_plain(f"MR {syntax.name}", _compressed(_mr(), syntax)) for syntax in COMPRESSED]
    made.append(_plain("CT slice", to_bytes(_ct(0))))
    made.append(_plain("MR slice", to_bytes(_mr())))
    made.append(_plain("enhanced CT", to_bytes(_enhanced())))
    deflated = _written(_film(), DeflatedExplicitVRLittleEndian)
    start = _meta_end(deflated)
    inner = deflated[:start] + zlib.decompress(deflated[start:], -zlib.MAX_WBITS)
    made += [
        _plain("deflated film", deflated),
        Original("film, deflated after", inner, functools.partial(_deflate, start)),
    ]
    picture = (phantom(40, 32) >> 4).astype(np.uint8)
    png, sixteen = png_bytes(picture), png_bytes(phantom(40, 32))
    made += [_plain("PNG", png), Original("PNG, sums right", png, _png_sums), Original("PNG 16", sixteen, _png_sums)]
    made += [_plain("JPEG", _jpeg(picture, "L")), _plain("JPEG colour", _jpeg(np.dstack([picture] * 3), "RGB"))]
    slices = [to_bytes(_ct(number)) for number in range(20)]
    made.append(_plain("zip", _zip(slices[:4])))
    made.append(Original("zip of a damaged slice", slices[3], functools.partial(_zip_with, slices)))
    volume = np.random.default_rng(0).integers(-1000, 1500, (6, 8, 10)).astype(np.int16)
    nifti = nifti_bytes(volume)
    made += [_plain("NIfTI", nifti), Original("NIfTI, gzipped after", nifti, _gzip), _plain("NIfTI gz", _gzip(nifti))]
    return tuple(made)


def iter_mutants(whole: Sequence[Original], count: int, seed: int, *, first: int = 0) -> Iterator[Mutant]:
    """`count` mutants, numbered from `first`; number and seed alone decide what a mutant is."""
    for number in range(first, first + count):
        rng = random.Random(f"{seed}/{number}")
        original = rng.choice(whole)
        data, names = original.inner, []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            damage = rng.choice(DAMAGES)
            data = damage(data, rng)
            names.append(damage.__name__.strip("_"))
        yield Mutant(number, original.name, "+".join(names), original.wrap(data))


def batches(mutants: Iterable[Mutant], size: int) -> Iterator[list[Mutant]]:
    batch: list[Mutant] = []
    for mutant in mutants:
        batch.append(mutant)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    return _flipped(data, rng, len(data))


def _flip_header_bits(data: bytes, rng: random.Random) -> bytes:
    return _flipped(data, rng, _header_end(data))


def _flipped(data: bytes, rng: random.Random, end: int) -> bytes:
    changed = bytearray(data)
    low = min(132, end // 2) if data[128:132] == b"DICM" else 0
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        changed[rng.randrange(low, max(end, low + 1))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data)) + 1]


def _drop_middle(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 2, 8, 64, 1000)) :] or data[:1]


def _random_header(data: bytes, rng: random.Random) -> bytes:
    at, count = rng.randrange(_header_end(data)), rng.choice((1, 2, 4, 16))
    return data[:at] + rng.randbytes(count) + data[at + count :]


def _start_of_pixels(data: bytes, rng: random.Random) -> bytes:
    """A lie in the first bytes of a codestream, where it says how large it is."""
    at = min(_header_end(data) + rng.randrange(160), len(data) - 1)
    new = rng.choice((b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff", rng.randbytes(2)))
    return data[:at] + new + data[at + len(new) :]


def _swap_tags(data: bytes, rng: random.Random) -> bytes:
    elements = _elements(data)
    if len(elements) < 2:
        return _random_header(data, rng)
    one, other = rng.sample(elements, 2)
    changed = bytearray(data)
    changed[one.start : one.start + 4] = data[other.start : other.start + 4]
    changed[other.start : other.start + 4] = data[one.start : one.start + 4]
    return bytes(changed)


def _rename_tag(data: bytes, rng: random.Random) -> bytes:
    return _overwritten(data, rng, lambda element: (element.start, rng.choice(TAGS)))


def _rename_vr(data: bytes, rng: random.Random) -> bytes:
    return _overwritten(data, rng, lambda element: (element.start + 4, rng.choice(VRS)))


def _lie_about_length(data: bytes, rng: random.Random) -> bytes:
    def lie(element: Element) -> tuple[int, bytes]:
        size = element.length_bytes
        true = element.end - element.value
        length = rng.choice((*ODD_LENGTHS, max(true - 1, 0), true + 1, true + 2, 2 * true))
        return element.length_at, (length % 256**size).to_bytes(size, "little")

    return _overwritten(data, rng, lie)


def _lie_about_items(data: bytes, rng: random.Random) -> bytes:
    places = list(_found(data, ITEM))
    if not places:
        return _lie_about_length(data, rng)
    at = rng.choice(places) + 4
    true = int.from_bytes(data[at : at + 4], "little")
    length = rng.choice((*ODD_LENGTHS, max(true - 2, 0), true + 2, 2 * true & 0xFFFFFFFF))
    return data[:at] + length.to_bytes(4, "little") + data[at + 4 :]


def _odd_value(data: bytes, rng: random.Random) -> bytes:
    """An element's value overwritten, its length kept: a number out of range, words where numbers belong, zeros."""

    def odd(element: Element) -> tuple[int, bytes]:
        room = min(element.end - element.value, 64)
        new = rng.choice((*ODD_TEXTS, b"\xff" * room, b"\0" * room, rng.randbytes(room)))
        return element.value, new[:room].ljust(room, b" " if rng.random() < 0.7 else b"\0")

    return _overwritten(data, rng, odd)


def _odd_longer_value(data: bytes, rng: random.Random) -> bytes:
    """An element's value replaced by a longer or shorter one, with a length that is true."""
    elements = _elements(data)
    if not elements:
        return _random_header(data, rng)
    one = rng.choice(elements)
    new = rng.choice((*ODD_TEXTS, rng.randbytes(4), data[one.value : one.end][:30] * 2))
    new += b" " * (len(new) % 2)
    length = len(new).to_bytes(one.length_bytes, "little")
    return data[: one.length_at] + length + data[one.length_at + one.length_bytes : one.value] + new + data[one.end :]


def _delete_element(data: bytes, rng: random.Random) -> bytes:
    elements = _elements(data)
    if not elements:
        return _truncate(data, rng)
    one = rng.choice(elements)
    return data[: one.start] + data[one.end :] or data[:1]


def _double_element(data: bytes, rng: random.Random) -> bytes:
    elements = _elements(data)
    if not elements:
        return _drop_middle(data, rng)
    one, place = rng.choice(elements), rng.choice(elements).start
    return data[:place] + data[one.start : one.end] + data[place:]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip_bits, _flip_header_bits, _truncate, _drop_middle, _random_header, _start_of_pixels, _swap_tags),
    *(_rename_tag, _rename_vr, _lie_about_length, _lie_about_items, _odd_value, _odd_value, _odd_longer_value),
    *(_delete_element, _double_element),
)


def _overwritten(data: bytes, rng: random.Random, change: Callable[[Element], tuple[int, bytes]]) -> bytes:
    elements = _elements(data)
    if not elements:
        return _random_header(data, rng)
    at, new = change(rng.choice(elements))
    return data[:at] + new + data[at + len(new) :]


@functools.lru_cache(maxsize=256)
def _elements(data: bytes) -> tuple[Element, ...]:
    """The elements of a DICOM file that pydicom finds before it stumbles; none of another file."""
    if data[128:132] != b"DICM":
        return ()
    found = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # or a mutant would be another where warnings are errors
            ds = pydicom.dcmread(io.BytesIO(data))
    except Exception:  # already damaged: whatever is done next is done elsewhere
        return ()
    for held in (ds.file_meta, ds):
        for raw in held._dict.values():
            if not isinstance(raw, pydicom.dataelem.RawDataElement) or raw.value_tell > len(data):
                continue
            long = not raw.is_implicit_VR and raw.VR in pydicom.valuerep.EXPLICIT_VR_LENGTH_32
            start = raw.value_tell - (12 if long else 8)
            size = 4 if long or raw.is_implicit_VR else 2
            end = min(raw.value_tell + len(raw.value or b""), len(data))
            found.append(Element(start, raw.value_tell - size, size, raw.value_tell, end))
    return tuple(one for one in found if one.start >= 0)


def _header_end(data: bytes) -> int:
    """Where the pixels begin, roughly."""
    elements = _elements(data)
    return max(1, max(element.value for element in elements) if elements else min(len(data), 600))


def _found(data: bytes, what: bytes) -> Iterator[int]:
    at = data.find(what)
    while at >= 0 and at + 8 <= len(data):
        yield at
        at = data.find(what, at + 1)


UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def _film(**attributes: Any) -> FileDataset:
    return dicom_dataset(phantom(40, 32), **{"SeriesDescription": "CHEST PA", **attributes})


def _films() -> Iterator[tuple[str, FileDataset]]:
    """Films with everything in the header that changes pixels."""
    table, shown, view = Dataset(), Dataset(), Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 12], np.arange(0, 4096, 16, dtype="<u2").tobytes()
    shown.LUTDescriptor, shown.LUTData = [256, 1000, 12], np.arange(4096, 0, -16, dtype="<u2").tobytes()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399348003", "SCT", "antero-posterior"
    coded: dict[str, Any] = {"ViewPosition": None, "ViewCodeSequence": [view]}
    luts: dict[str, Any] = {"ModalityLUTSequence": [table], "VOILUTSequence": [shown]}
    yield "film LUTs", dicom_dataset(phantom(40, 32, top=255), **luts, **coded)
    yield "film VOI LUT", _film(VOILUTSequence=[table], ViewPosition=None, PresentationLUTShape="IDENTITY")
    yield (
        "film padding",
        _film(PixelPaddingValue=0, PixelPaddingRangeLimit=700, PhotometricInterpretation="MONOCHROME1"),
    )
    yield "film rescale", _film(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=[2000, 100], WindowWidth=[3000, 9])
    signed = phantom(40, 32).astype(np.int16) - 2048
    yield "film signed", dicom_dataset(signed, WindowCenter=0, VOILUTFunction="SIGMOID", ImagerPixelSpacing=[0.1, 0.2])
    yield "film frames", dicom_dataset(np.stack([phantom(24, 20)] * 3), NumberOfFrames=3)
    grey = (phantom(40, 32) >> 4).astype(np.uint8)
    for photometric in ("RGB", "YBR_FULL"):
        ds = dicom_dataset(grey, PhotometricInterpretation=photometric, SamplesPerPixel=3, PlanarConfiguration=0)
        ds.PixelData = np.dstack([grey] * 3).tobytes()
        yield f"film {photometric}", ds
    palette = dicom_dataset(grey, PhotometricInterpretation="PALETTE COLOR", WindowCenter=None, WindowWidth=None)
    for colour in ("Red", "Green", "Blue"):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(palette, f"{colour}PaletteColorLookupTableData", np.arange(0, 65536, 256, dtype="<u2").tobytes())
    yield "film palette", palette


def _ct(number: int) -> FileDataset:
    stored = (np.random.default_rng(number).integers(0, 2500, (12, 14))).astype(np.int16)
    return ct_dataset(stored, number, PixelPaddingValue=-2000)


def _mr() -> FileDataset:
    return ct_dataset(phantom(40, 32), 0, Modality="MR", SOPClassUID=MRImageStorage)


def _enhanced() -> FileDataset:
    frames = np.random.default_rng(0).integers(0, 2500, (20, 12, 14)).astype(np.int16)
    ds = ct_dataset(frames, 0, SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(frames))
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    ds.SharedFunctionalGroupsSequence = [
        groups(
            PlaneOrientation={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            PixelValueTransformation={"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"},
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        groups(PlanePosition={"ImagePositionPatient": [0, 0, 2.5 * n]}, PixelMeasures={"PixelSpacing": [1.5, 1.5]})
        for n in range(len(frames))
    ]
    return ds


def _written(ds: FileDataset, syntax: UID) -> bytes:
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    held = io.BytesIO()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(held, ds, enforce_file_format=True, little_endian=little, implicit_vr=implicit)
    return held.getvalue()


def _compressed(ds: FileDataset, syntax: UID) -> bytes:
    ds.compress(syntax, generate_instance_uid=False)
    return to_bytes(ds)


def _meta_end(data: bytes) -> int:
    """Where the file meta information ends, by its group length (PS3.10 7.1)."""
    return 144 + int.from_bytes(data[140:144], "little")


def _plain(name: str, data: bytes) -> Original:
    return Original(name, data, bytes)


def _deflate(start: int, data: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return data[:start] + packer.compress(data[start:]) + packer.flush()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _jpeg(picture: Any, mode: str) -> bytes:
    held = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(held, format="JPEG")
    return held.getvalue()


def _png_sums(data: bytes) -> bytes:
    """The checksum of every chunk put right, so that the damage gets past it."""
    done, at = data[:8], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        chunk = data[at + 4 : at + 8 + length]
        done += data[at : at + 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        at += 12 + length
    return done + data[at:]


def _zip(files: Sequence[bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, data in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{number:03}.dcm"), data)
    return held.getvalue()


def _zip_with(slices: Sequence[bytes], damaged: bytes) -> bytes:
    """The series with one slice damaged before it was zipped, so that the sums of the zip are right."""
    return _zip([*slices[:3], damaged, *slices[4:]])
