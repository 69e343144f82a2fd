"""What can be told of a JPEG, JPEG-LS or JPEG 2000 codestream before a decoder sees it: its size, its end, whether parts are missing."""

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from embed.scan import DamagedScan

END_OF_CODESTREAM = b"\xff\xd9"  # closes JPEG, JPEG-LS and JPEG 2000 alike
START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ
# What libjpeg remarks on when the coded data end or break before the picture does; decoders fill the rest with grey and say nothing.
# Bytes left over before a restart marker (FFD0 to FFD7) belong to intervals that are gone; before the end marker they are harmless.
LOST_DATA = re.compile(r"premature end|Huffman|RST|bogus|extraneous bytes before marker 0xd[0-7]")
FILLED_SILENTLY = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)  # by GDCM, and beyond what simplejpeg reads
MORE_DATA = bytes(range(1, 255)) * 16  # coded data that no film ends with, for a decoder that still wants some


def is_codestream(syntax: pydicom.uid.UID) -> bool:
    """Whether frames are JPEG, JPEG-LS, JPEG 2000 or HTJ2K."""
    return syntax.name.startswith(("JPEG", "High-Throughput JPEG"))


def checked_codestream(ds: pydicom.Dataset, frame: int, *, frames: int) -> bytes:
    """The frame's codestream. Raises `DamagedScan` unless it states the declared size, ends, and has no data missing.

    Decoders believe the stated size and allocate for it; GDCM aborts the process.
    """
    extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths) if "ExtendedOffsetTable" in ds else None
    data = pydicom.encaps.get_frame(ds.PixelData, frame, number_of_frames=frames, extended_offsets=extended)
    name = ds.file_meta.TransferSyntaxUID.name
    found = stated_size(data)
    if found != (ds.Rows, ds.Columns):
        what = f"{found[0]}×{found[1]}" if found else "no size"
        raise DamagedScan("no-size", f"the codestream states {what}; {ds.Rows}×{ds.Columns} is declared")
    if END_OF_CODESTREAM not in data.rstrip(b"\0")[-16:]:
        raise DamagedScan("too-short", f"the {name} picture does not end with its end marker; the file is cut short")
    if ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
        check_jpeg_is_whole(data)
    return data


def check_jpeg_is_whole(data: bytes) -> None:
    """Raises `DamagedScan` where a baseline JPEG has lost coded data, though its end marker may be there.

    It is decoded at an eighth of its size, so that libjpeg reads every coded bit and says what it stumbles over.
    """
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if LOST_DATA.search(str(error)):
            raise DamagedScan(
                "too-short", f"part of the JPEG picture is missing ({error}); send the file again"
            ) from error


def ends_before_the_picture(
    data: bytes, stored: npt.NDArray[Any], decode: Callable[[bytes], npt.NDArray[Any]], *, bits: int
) -> bool:
    """Whether the coded data of a JPEG, which `decode` made into `stored` (rows, columns, ...), end before its picture does.

    What is missing is filled with the middle of the range (T.81 A.3.1, H.1.2.1), of which decoding keeps the low `bits`. So only a
    picture whose last pixel is that is decoded again, with more data before its end marker: a whole one stays the same.
    """
    filled = 2 ** (stated_precision(data) - 1) % 2**bits
    if (stored[-1, -1].astype(np.int64) % 2**bits != filled).any():
        return False
    end = data.rindex(END_OF_CODESTREAM)
    try:
        return not np.array_equal(decode(data[:end] + MORE_DATA + data[end:]), stored)
    except Exception:  # a decoder that reads the additional data has run out of its own
        return True


def stated_precision(data: bytes) -> int:
    """Bits of a sample by a JPEG frame header (T.81 B.2.2), 8 where there is none."""
    at = _frame_header(data)
    return data[at + 4] if at is not None else 8


def stated_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG or JPEG-LS frame header (T.81 B.2.2, T.87 C.2.2) or a JPEG 2000 SIZ (T.800 A.5.1)."""
    at = data.find(START_OF_JPEG_2000, 0, 4096)  # at 0, or after the boxes of a JP2 file
    if at >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
        return bottom - top, right - left
    header = _frame_header(data)
    if header is None:
        return None
    rows, columns = struct.unpack_from(">HH", data, header + 5)
    return rows, columns


def _frame_header(data: bytes) -> int | None:
    """Where the marker of the frame header stands, None if there is none."""
    at = data.find(b"\xff\xd8", 0, 16) + 2
    while at >= 2 and at + 9 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            return at
        at += 1 if marker == 0xFFFF else 2 + length  # a marker may have any number of fill bytes before it
    return None
