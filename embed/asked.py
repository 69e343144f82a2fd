"""What a decoding process is asked, and what it answers. Apart from how it does so: whoever only asks loads no decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embed.scan import Scan
from embed.shared import Piece


@dataclass(frozen=True)
class FileRequest:
    """The files of an archived scan, for its frames."""

    files: tuple[Path, ...]


@dataclass(frozen=True)
class BytesRequest:
    """The files of an uploaded scan, or a zip of them, in memory; `side` as `embed.read.ReadRequest`, None for frames."""

    files: Sequence[bytes | Piece]
    side: int | None


@dataclass(frozen=True, eq=False)
class ReadAnswer:
    """The scan, and a small picture of it."""

    scan: Scan
    preview: bytes


@dataclass(frozen=True)
class Window:
    """What a viewer shows at first, or on request: in the values after slope and intercept."""

    name: str
    center: float
    width: float


@dataclass(frozen=True, eq=False)
class Frames:
    """`pixels` (frames, rows, columns) int16 of a CT in Hounsfield units, else uint16; bright = dense."""

    pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint16]
    slope: float
    spacing_mm: tuple[float, float] | None  # of rows and of columns
    slice_spacing_mm: float | None
    windows: tuple[Window, ...]  # the first is shown first
    count: int  # slices that the scan has, the damaged ones and those beyond the limit among them
    file_hash: str | None = None  # of a film, as in its provenance
