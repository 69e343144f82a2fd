"""What can be told of a JPEG, JPEG-LS or JPEG 2000 codestream before a decoder sees it: its size, its end, whether parts are missing."""

import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import simplejpeg
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from embed.scan import DamagedScan

END_OF_CODESTREAM = b"\xff\xd9"  # closes JPEG, JPEG-LS and JPEG 2000 alike
START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ
JPEG, JPEG_LS, JPEG_2000 = "JPEG", "JPEG-LS", "JPEG 2000"
JPEG_LS_FRAME, TILE_PART, END_MARKER = 0xFFF7, 0xFF90, 0xFFD9
# What libjpeg remarks on when the coded data end or break before the picture does; decoders fill the rest with grey and say nothing.
# Bytes left over before a restart marker (FFD0 to FFD7) belong to intervals that are gone; before the end marker they are harmless.
LOST_DATA = re.compile(r"premature end|Huffman|RST|bogus|extraneous bytes before marker 0xd[0-7]")
FILLED_SILENTLY = (JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)  # by GDCM, and beyond what simplejpeg reads
MORE_DATA = bytes(range(1, 255)) * 16  # coded data that no film ends with, for a decoder that still wants some


@dataclass(frozen=True)
class Description:
    """What a codestream says of itself."""

    kind: str
    rows: int
    columns: int
    components: int
    bits: int  # a sample, of the first component
    signed: bool = False
    tiles: int = 0  # 0: of a kind that has none


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
    stated = description_of(data)
    if stated is None or stated.kind != _kind_of(ds.file_meta.TransferSyntaxUID):
        what = stated.kind if stated else "nothing that can be read"
        raise DamagedScan("no-size", f"the codestream is {what}; {name} is declared")
    _check_description(stated, ds)
    if stated.tiles:
        _check_tiles(data, stated.tiles)
    if END_OF_CODESTREAM not in data.rstrip(b"\0")[-16:]:
        raise DamagedScan("too-short", f"the {name} picture does not end with its end marker; the file is cut short")
    if ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
        check_jpeg_is_whole(data)
    return data


def _kind_of(syntax: pydicom.uid.UID) -> str:
    if "JPEG 2000" in syntax.name or syntax.name.startswith("High-Throughput"):
        return JPEG_2000
    return JPEG_LS if "JPEG-LS" in syntax.name else JPEG


def _check_description(stated: Description, ds: pydicom.Dataset) -> None:
    """The codestream and the header must mean the same picture: decoders believe the one, what follows the other."""
    if (stated.rows, stated.columns) != (ds.Rows, ds.Columns):
        found = f"{stated.rows}×{stated.columns}"
        raise DamagedScan("no-size", f"the codestream states {found}; {ds.Rows}×{ds.Columns} is declared")
    if stated.components != ds.SamplesPerPixel:
        declared = f"(0028,0002) Samples per Pixel is {ds.SamplesPerPixel}"
        raise DamagedScan("no-size", f"the codestream holds {stated.components} components; {declared}")
    if stated.bits > ds.BitsStored and stated.bits != ds.BitsAllocated:
        declared = f"(0028,0101) Bits Stored is {ds.BitsStored}"
        raise DamagedScan("no-size", f"the codestream holds {stated.bits} bits a sample; {declared}")
    if stated.signed and ds.PixelRepresentation == 0:
        raise DamagedScan(
            "no-size", "the codestream's samples are signed; (0028,0103) Pixel Representation is unsigned"
        )


def _check_tiles(data: bytes, tiles: int) -> None:
    """Every tile of a JPEG 2000 picture has all the parts that it states (T.800 A.4.2): a missing one decodes to black."""
    at = data.find(START_OF_JPEG_2000, 0, 4096) + 2
    parts: Counter[int] = Counter()
    wanted: dict[int, int] = {}
    while at + 12 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == END_MARKER:
            break
        if marker != TILE_PART:
            if parts:  # between tile-parts nothing else may stand
                break
            at += 2 + length
            continue
        tile, long, _, count = struct.unpack_from(">HIBB", data, at + 4)
        parts[tile] += 1
        wanted[tile] = max(wanted.get(tile, 0), count)
        if long == 0:  # up to the end
            break
        at += max(long, 12)
    missing = sum(parts[tile] < max(1, wanted.get(tile, 1)) for tile in range(tiles))
    if missing:
        raise DamagedScan(
            "too-short", f"{missing} of {tiles} tiles of the JPEG 2000 picture are missing; send the file again"
        )


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
    stated = description_of(data)
    filled = 2 ** ((stated.bits if stated else 8) - 1) % 2**bits
    if (stored[-1, -1].astype(np.int64) % 2**bits != filled).any():
        return False
    end = data.rindex(END_OF_CODESTREAM)
    try:
        return not np.array_equal(decode(data[:end] + MORE_DATA + data[end:]), stored)
    except Exception:  # a decoder that reads the additional data has run out of its own
        return True


def description_of(data: bytes) -> Description | None:
    """What a JPEG or JPEG-LS frame header (T.81 B.2.2, T.87 C.2.2) or a JPEG 2000 SIZ (T.800 A.5.1) says."""
    at = data.find(START_OF_JPEG_2000, 0, 4096)  # at 0, or after the boxes of a JP2 file
    try:
        if at >= 0:
            right, bottom, left, top, wide, high, tile_left, tile_top, components, depth = struct.unpack_from(
                ">8IHB", data, at + 8
            )
            tiles = -(-(right - tile_left) // wide) * -(-(bottom - tile_top) // high)
            bits, signed = (depth & 0x7F) + 1, bool(depth & 0x80)
            return Description(JPEG_2000, bottom - top, right - left, components, bits, signed, tiles)
        header = _frame_header(data)
        if header is None:
            return None
        marker, _, bits, rows, columns, components = struct.unpack_from(">HHBHHB", data, header)
    except (struct.error, ZeroDivisionError):
        return None
    return Description(JPEG_LS if marker == JPEG_LS_FRAME else JPEG, rows, columns, components, bits)


def _frame_header(data: bytes) -> int | None:
    """Where the marker of the frame header stands, None if there is none."""
    at = data.find(b"\xff\xd8", 0, 16) + 2
    while at >= 2 and at + 9 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == JPEG_LS_FRAME or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            return at
        at += 1 if marker == 0xFFFF else 2 + length  # a marker may have any number of fill bytes before it
    return None
