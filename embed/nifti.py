"""NIfTI volumes -> `Scan`."""

import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.dicom import short
from embed.file_hash import file_hash
from embed.limits import MAX_INFLATED_BYTES, MAX_VOLUME_PIXELS
from embed.nifti_axes import axes_of
from embed.nifti_kind import guess_kind, sample_of
from embed.prepare import shrink
from embed.scan import DamagedScan, Flag, Header, Pixels, Scan, ScanError, UnsupportedScan
from embed.volume import Box, full_volume_scan, volume_scan

GZIP_MAGIC = b"\x1f\x8b"
MAGIC = {b"n+1\0": 344, b"n+2\0": 4}  # NIfTI-1 and NIfTI-2 in one file, and where they say so
PAIR_MAGIC = {b"ni1\0": 344, b"ni2\0": 4}  # the header of a .hdr and .img pair
PIECE_BYTES = 2**20  # a gzip is unpacked bit by bit: one large read would reserve its whole limit


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """A `VolumeSource` over a file's bytes: only the slices asked for are scaled."""

    stored: npt.NDArray[Any]  # (slices, rows, columns) from feet to head, front to back, right to left; a view
    kind: str
    slope: float
    intercept: float
    spacing_mm: tuple[float, float, float]
    steps: tuple[str, ...]
    flags: tuple[Flag, ...]
    digest: str
    format: str = "nifti"
    modality: str | None = None
    header: Header = Header()
    is_axial: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        slices, rows, columns = self.stored.shape
        return slices, rows, columns

    def decode(self, indices: Sequence[int], *, box: Box | None = None, side: int | None = None) -> Pixels:
        box = box or Box(0, self.shape[1], 0, self.shape[2])
        pictures = []
        for index in indices:
            stored = self.stored[index, box.top : box.bottom, box.left : box.right]
            stored = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
            small = shrink(stored, side=side) if side else stored.astype(np.float32)
            pictures.append(small * np.float32(self.slope) + np.float32(self.intercept))
        pixels = np.stack(pictures)
        if not np.isfinite(pixels).all():
            raise DamagedScan("not-finite", "some values are not numbers; export the volume again")
        return pixels

    def content_hash(self, indices: Sequence[int]) -> str:
        return self.digest


def is_nifti(data: bytes) -> bool:
    """Whether the bytes are NIfTI, gzipped or not, whatever the file is called."""
    if data.startswith(GZIP_MAGIC):
        try:
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data[:4096], 352)
        except zlib.error:
            return False
    return any(data[at : at + 4] == magic for magic, at in (MAGIC | PAIR_MAGIC).items())


def read_nifti(data: bytes, *, side: int, slices: int = 12) -> Scan:
    """`slices` slices across the lungs of a CT, or the whole of an MR, shorter side at most `side`. Raises `ScanError`."""
    return volume_scan(open_nifti(data), side=side, slices=slices)


def read_nifti_full(data: bytes) -> Scan:
    """Every slice at full resolution. Raises `ScanError`."""
    return full_volume_scan(open_nifti(data))


def open_nifti(data: bytes) -> NiftiVolume:
    """The volume in a NIfTI file's bytes. Raises `ScanError`."""
    try:
        import nibabel  # noqa: F401
    except ImportError as error:
        raise UnsupportedScan("no-nibabel", "reading NIfTI needs nibabel; run `pip install nibabel`") from error
    digest = file_hash(data)
    whole = _inflated(data) if data.startswith(GZIP_MAGIC) else data
    if any(whole[at : at + 4] == magic for magic, at in PAIR_MAGIC.items()):
        raise UnsupportedScan("nifti-pair", "this is the header of a .hdr and .img pair; convert it to one .nii file")
    try:
        return _volume_of(whole, digest)
    except ScanError:
        raise
    except Exception as error:  # nibabel raises whatever it stumbled over in a damaged header
        raise DamagedScan(
            "damaged-header", f"the NIfTI header cannot be read ({short(error)}); send the file again"
        ) from error


def _volume_of(data: bytes, digest: str) -> NiftiVolume:
    import nibabel

    kind = nibabel.Nifti2Header if data[4:8] == b"n+2\0" else nibabel.Nifti1Header
    header = kind.from_fileobj(io.BytesIO(data), check=False)
    stored = _view(data, header)
    axes = axes_of(header)
    volume = stored.transpose(axes.order)[:: axes.ways[0], :: axes.ways[1], :: axes.ways[2]]
    slope, intercept = header.get_slope_inter()
    slope, intercept = (1.0, 0.0) if slope is None else (float(slope), float(intercept))
    guess = guess_kind(sample_of(volume, slope, intercept))
    steps = (axes.step, f"rescaled ×{slope:g} {intercept:+g}", guess.step)
    flags = (*axes.flags, *guess.flags)
    return NiftiVolume(volume, guess.kind, slope, intercept, axes.spacing_mm, steps, flags, digest)


def _view(data: bytes, header: Any) -> npt.NDArray[Any]:
    """The stored values as they lie in the file, three axes, after checking that they are there."""
    shape = tuple(int(size) for size in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        raise UnsupportedScan("not-a-volume", f"the NIfTI file has the shape {shape}; expected three axes of 2 or more")
    count = int(np.prod([int(size) for size in shape], dtype=object))
    if count > MAX_VOLUME_PIXELS:
        raise UnsupportedScan("too-large", f"{count:,} values; at most {MAX_VOLUME_PIXELS:,} are read")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise UnsupportedScan("unsupported-colour", f"the NIfTI values are {dtype}; expected whole or floating numbers")
    start = int(header.get_data_offset())
    if start < 0 or len(data) < start + count * dtype.itemsize:
        needed = start + count * dtype.itemsize
        raise DamagedScan(
            "too-short", f"the NIfTI file has {len(data):,} bytes, {needed:,} are declared; it is cut short"
        )
    return np.frombuffer(data, dtype, count=count, offset=start).reshape(shape, order="F")


def _inflated(data: bytes) -> bytes:
    inflated = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while len(inflated) <= MAX_INFLATED_BYTES and (piece := file.read(PIECE_BYTES)):
                inflated += piece
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedScan("damaged-zip", f"the gzipped NIfTI cannot be unpacked ({error}); send it again") from error
    if len(inflated) > MAX_INFLATED_BYTES:
        raise UnsupportedScan("too-large", f"the gzipped NIfTI unpacks to more than {MAX_INFLATED_BYTES:,} bytes")
    return bytes(inflated)
