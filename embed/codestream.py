"""What can be told of a JPEG, JPEG-LS or JPEG 2000 codestream before a decoder sees it: its size, its end, whether parts are missing."""

import struct

import pydicom
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit

from embed.scan import DamagedScan

END_OF_CODESTREAM = b"\xff\xd9"  # closes JPEG, JPEG-LS and JPEG 2000 alike
START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ
# What libjpeg remarks on when the coded data end or break before the picture does; decoders fill the rest with grey and say nothing.
LOST_DATA = ("premature end", "Huffman", "RST", "bogus")


def is_codestream(syntax: pydicom.uid.UID) -> bool:
    """Whether frames are JPEG, JPEG-LS, JPEG 2000 or HTJ2K."""
    return syntax.name.startswith(("JPEG", "High-Throughput JPEG"))


def check_codestream(ds: pydicom.Dataset, frame: int, *, frames: int) -> None:
    """Raises `DamagedScan` unless the frame's codestream states the declared size, ends, and has no data missing.

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


def check_jpeg_is_whole(data: bytes) -> None:
    """Raises `DamagedScan` where a baseline JPEG has lost coded data, though its end marker may be there.

    It is decoded at an eighth of its size, so that libjpeg reads every coded bit and says what it stumbles over.
    """
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if any(remark in str(error) for remark in LOST_DATA):
            raise DamagedScan(
                "too-short", f"part of the JPEG picture is missing ({error}); send the file again"
            ) from error


def stated_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG or JPEG-LS frame header (T.81 B.2.2, T.87 C.2.2) or a JPEG 2000 SIZ (T.800 A.5.1)."""
    at = data.find(START_OF_JPEG_2000, 0, 4096)  # at 0, or after the boxes of a JP2 file
    if at >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
        return bottom - top, right - left
    at = data.find(b"\xff\xd8", 0, 16) + 2
    while at >= 2 and at + 9 <= len(data):
        marker, length, rows, columns = struct.unpack_from(">HHxHH", data, at)
        if marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            return rows, columns
        at += 1 if marker == 0xFFFF else 2 + length  # a marker may have any number of fill bytes before it
    return None
