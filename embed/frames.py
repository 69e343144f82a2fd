"""A scan as pictures for a viewer: decoded, at a size for screens, without any header."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from embed.asked import BytesRequest, FileRequest, Frames, ReadAnswer, Window
from embed.bundle import Bundle, Dropped, Member, bundle_from_zip_bytes, is_zip, open_bundle
from embed.limits import MAX_BUNDLE_FILES
from embed.nifti import is_nifti, open_nifti
from embed.preview import preview_jpeg
from embed.read import members_of, read_bundle
from embed.scan import DamagedScan, Pixels, Scan, ScanError, UnsupportedScan
from embed.series import choose_series, find_series
from embed.shared import Piece
from embed.volume import VolumeSource

NAMELESS = "an uploaded file"
FILM_SIDE = 2048  # pixels, the longer side
VOLUME_SIDE = 512  # pixels, the longer side
MOST_SLICES = 1200  # 630 MB at full size; of a longer series so many, spread evenly
AT_ONCE = 16  # slices decoded together: an enhanced object is parsed once for so many
WHITE = 65535
HOUNSFIELD = (-32768, 32767)


CT_WINDOWS = (Window("lung", -600, 1500), Window("mediastinum", 40, 400), Window("bone", 400, 1800))
FILM_WINDOWS = (Window("whole range", 0.5, 1.0), Window("dense", 0.7, 0.6), Window("airy", 0.3, 0.6))


def answer(request: FileRequest | BytesRequest) -> Frames | ReadAnswer:
    """What a worker process answers; see `embed.sandbox`. Raises `ScanError`."""
    if isinstance(request, FileRequest):
        return frames_of(open_bundle(request.files))
    bundle = bundle_in_memory(request.files)
    if request.side is None:
        return frames_of(bundle)
    scan = read_bundle(bundle, side=request.side)
    return ReadAnswer(scan, preview_jpeg(scan))


def frames_of(bundle: Bundle) -> Frames:
    """The pictures of the one scan among the files. Raises `ScanError`."""
    (first, *others) = bundle.members
    if not others and is_nifti(first.head(4096)):
        return _volume(open_nifti(first.read()))
    series, _ = find_series(bundle.members)
    if series:
        return _volume(choose_series(series)[0])
    return _film(read_bundle(bundle, side=FILM_SIDE))


def bundle_in_memory(files: Sequence[bytes | Piece]) -> Bundle:
    """Uploaded files, each known by its place only; a zip counts as what is in it. No name of a member reaches a message,
    for it may be a person's. Raises `ScanError`.
    """
    found = Bundle([], [])
    for file in files:
        try:
            opened = _opened(file)
        except ScanError as error:
            raise type(error)(error.reason, _nameless(error.reason)) from error
        start = len(found.members)
        found.members.extend(_numbered(member, start + place) for place, member in enumerate(opened.members, start=1))
        found.dropped.extend(Dropped(NAMELESS, one.reason, _nameless(one.reason)) for one in opened.dropped)
        if len(found.members) + len(found.dropped) > MAX_BUNDLE_FILES:
            raise UnsupportedScan("too-many-files", f"more than {MAX_BUNDLE_FILES:,} files; send one study at a time")
    if not found.members:
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(d.reason for d in found.dropped).items())
        raise UnsupportedScan("empty-folder", f"no file to read{f' ({reasons})' if reasons else ''}")
    return found


def _opened(file: bytes | Piece) -> Bundle:
    """The members of a zip, or a file as the only one. What lies in shared memory is copied only when it is read."""
    if is_zip(file[:4] if isinstance(file, bytes) else file.head(4)):
        return bundle_from_zip_bytes(bytes(file))
    if isinstance(file, bytes):
        return Bundle(members_of(file), [])
    return Bundle([Member("file", partial(bytes, file), file.head, partial(len, file))], [])


def _numbered(member: Member, number: int) -> Member:
    """The same file, called by its place."""
    name = f"file {number}"

    def whole() -> bytes:
        try:
            return member.read()
        except ScanError as error:
            raise type(error)(error.reason, f"{name}: {_nameless(error.reason)}") from error

    def head(count: int) -> bytes:
        try:
            return member.head(count)
        except ScanError as error:
            raise type(error)(error.reason, f"{name}: {_nameless(error.reason)}") from error

    return replace(member, name=name, read=whole, head=head)


def _nameless(reason: str) -> str:
    """What is said of a zip or its members instead of the bundle's own words, which quote names."""
    told = {
        "damaged-zip": "the zip cannot be unpacked; send it again",
        "encrypted": "encrypted; send it without a password",
        "empty-folder": "the zip holds no file that can be read; those that are encrypted, too large or zips themselves are not",
        "too-many-files": f"the zip holds more than {MAX_BUNDLE_FILES:,} files; send one study at a time",
        "too-large": "the zip unpacks to more than is read; send one study at a time",
    }
    return told.get(reason, f"left out ({reason})")


def _film(scan: Scan) -> Frames:
    picture = scan.pixels[0]
    rows, columns = picture.shape
    shrink = min(1.0, FILM_SIDE / max(rows, columns))
    if shrink < 1:
        size = (max(1, round(columns * shrink)), max(1, round(rows * shrink)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    levels = np.rint(np.clip(picture, 0, 1) * WHITE).astype(np.uint16)[None]
    spacing = scan.spacing_mm
    flat = (spacing[1] * rows / levels.shape[1], spacing[2] * columns / levels.shape[2]) if spacing else None
    return Frames(levels, 1 / WHITE, flat, None, FILM_WINDOWS, 1, scan.provenance.file_hash)


def _volume(source: VolumeSource) -> Frames:
    """Every slice that decodes."""
    count, rows, columns = source.shape
    picked = np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(int)).tolist()
    longest = max(rows, columns)
    side = max(1, round(VOLUME_SIDE * min(rows, columns) / longest)) if longest > VOLUME_SIDE else None
    parts = []
    for start in range(0, len(picked), AT_ONCE):
        decoded = _decoded(source, picked[start : start + AT_ONCE], side)
        parts.append(np.rint(np.clip(decoded, *HOUNSFIELD)).astype(np.int16) if source.kind == "ct" else decoded)
    pixels: npt.NDArray[Any] = np.concatenate(parts)
    if not len(pixels):
        raise DamagedScan("undecodable-pixels", f"none of the {count} slices can be decoded; send the study again")
    spacing = source.spacing_mm
    flat = (spacing[1] * rows / pixels.shape[1], spacing[2] * columns / pixels.shape[2]) if spacing else None
    apart = spacing[0] * count / len(pixels) if spacing and spacing[0] else None
    if source.kind == "ct":
        return Frames(pixels, 1.0, flat, apart, CT_WINDOWS, count)
    low, high = np.percentile(pixels, (0.5, 99.5))
    levels = np.rint(np.clip((pixels - low) / max(1e-6, high - low), 0, 1) * WHITE).astype(np.uint16)
    return Frames(levels, 1 / WHITE, flat, apart, FILM_WINDOWS, count)


def _decoded(source: VolumeSource, indices: Sequence[int], side: int | None) -> Pixels:
    """Those of the slices that decode; the damaged ones are left out, as they were when the scan was read."""
    try:
        return source.decode(indices, side=side)
    except DamagedScan:
        if len(indices) == 1:
            return np.empty((0, 1, 1), np.float32)
    planes = [plane for index in indices if len(plane := _decoded(source, [index], side))]
    return np.concatenate(planes) if planes else np.empty((0, 1, 1), np.float32)
