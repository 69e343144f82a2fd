"""One volume's slices -> its pixels in Hounsfield units, of those slices only that are asked for: a `VolumeSource`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pydicom
import xxhash

from embed.bundle import Member
from embed.dicom import Stored, decode_frame, header_of, parse, require_pixels
from embed.luts import apply_modality_lut
from embed.prepare import shrink
from embed.scan import DamagedScan, Flag, Header, Pixels
from embed.slices import Slice, damage_named
from embed.volume import Box, Facing

PIXEL_KEYWORDS = [
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ModalityLUTSequence", "SOPClassUID"),
    *("PixelPaddingValue",),
    *("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]
AIR_HU = -1024.0
TISSUE_HU = (-900, 3000)  # a padding value that means one of these is not believed


@dataclass(frozen=True, eq=False)
class Series:
    """One volume's slices, from feet to head where axial; the pixels stay in their files until `decode`.

    A `VolumeSource`. Slices of a coronal volume run from front to back, of a sagittal one from right to left.
    """

    slices: tuple[Slice, ...]
    spacing_mm: tuple[float, float, float] | None  # between slices, rows, columns, as decoded
    extent_mm: float  # from the first to the last slice; 0 where unknown
    places_mm: tuple[float, ...] | None  # of the slices along their normal; None where even, or unknown
    facing: Facing
    plane: str
    flags: tuple[Flag, ...]
    format: str = "dicom"

    @property
    def uid(self) -> str:
        return self.slices[0].series_uid

    @property
    def modality(self) -> str:
        return self.slices[0].modality

    @property
    def kind(self) -> str:
        return "ct" if self.modality == "CT" else "mri"

    @property
    def is_axial(self) -> bool:
        return self.plane == "axial"

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns = self.slices[0].rows, self.slices[0].columns
        return (len(self.slices), columns, rows) if self.facing.transpose else (len(self.slices), rows, columns)

    @property
    def label(self) -> str:
        """The series in words, without anything that an operator typed."""
        apart = f" {self.spacing_mm[0]:g} mm apart" if self.spacing_mm else ""
        kernel = f", kernel {self.slices[0].kernel}" if self.slices[0].kernel else ""
        number = f"series {self.slices[0].series_number}: " if self.slices[0].series_number else ""
        return f"{number}{self.modality} {self.plane}, {len(self.slices)} slices{apart}{kernel}"

    @property
    def steps(self) -> tuple[str, ...]:
        steps = [f"{len(self.slices)} slices sorted along their normal (PS3.3 C.7.6.2.1.1)"]
        if self.facing.words:
            steps.append(f"turned to the patient's axes: {self.facing.words}")
        if self.kind == "ct":
            scales = sorted({(one.slope, one.intercept) for one in self.slices})
            words = f"×{scales[0][0]:g} {scales[0][1]:+g}" if len(scales) == 1 else f"{len(scales)} different scales"
            steps.append(f"rescaled slice by slice to Hounsfield units: {words} (PS3.3 C.11.1.1)")
        if self.kind == "ct" and any(padding_of(one) for one in self.slices):
            steps.append(f"pixel padding set to air ({AIR_HU:g} HU; PS3.3 C.7.5.1.1.2)")
        return tuple(steps)

    @cached_property
    def header(self) -> Header:
        """The first slice's header, without its instance UID unless one file holds them all."""
        with damage_named(self.slices[0].member.name):
            header = header_of(parse(self.slices[0].member.read()))
        alone = len({one.instance_uid for one in self.slices}) == 1
        return header if alone else replace(header, instance_uid=None)

    def decode(self, indices: Sequence[int], *, box: Box | None = None, side: int | None = None) -> Pixels:
        """Those slices (n, rows, columns), in HU for CT, and none but those decoded. Raises `ScanError`.

        Cropped to `box` and area-averaged to `side` while still stored integers: a fraction of the work.
        """
        pictures = []
        opened: tuple[Member, pydicom.Dataset] | None = None
        for index in indices:
            one = self.slices[index]
            with damage_named(one.member.name):
                if opened is None or opened[0] is not one.member:
                    opened = one.member, _open(one)
                stored = decode_frame(opened[1], frame=one.frame)
            if stored.shape != (one.rows, one.columns):
                raise DamagedScan("no-size", f"a slice decodes to {stored.shape}; {one.rows}×{one.columns} is declared")
            stored = _padding_to_air(stored, one) if self.kind == "ct" else stored
            stored = self.facing.turn(stored)
            if box:
                stored = stored[box.top : box.bottom, box.left : box.right]
            stored = np.ascontiguousarray(stored)
            small = shrink(stored, side=side) if side else stored.astype(np.float32)
            pictures.append(_rescaled(small, one, opened[1]))
        return np.stack(pictures)

    def content_hash(self, indices: Sequence[int]) -> str:
        """Over the instance UIDs of every slice in order, then the hashes of the files that hold `indices`."""
        whole = xxhash.xxh3_128()
        for one in self.slices:
            whole.update(f"{one.instance_uid}/{one.frame}\n".encode())
        files = {self.slices[index].instance_uid: self.slices[index].member for index in indices}
        for member in files.values():
            whole.update(xxhash.xxh3_128_digest(member.read()))
        return whole.hexdigest()


def _open(one: Slice) -> pydicom.Dataset:
    """The data set of a slice's file; of one whose header is plain, only the elements that decoding needs."""
    data = one.member.read()
    ds = pydicom.dcmread(io.BytesIO(data), specific_tags=PIXEL_KEYWORDS) if one.plain else parse(data)
    ds.file_meta.TransferSyntaxUID.is_compressed  # noqa: B018 (pydicom raises for what is no transfer syntax)
    require_pixels(ds)
    return ds


def padding_of(one: Slice) -> tuple[int, int] | None:
    """The stored values that stand for "nothing here", unless they would mean tissue (PS3.3 C.7.5.1.1.2)."""
    if one.padding is None or one.slope is None or one.intercept is None:
        return None
    meant = [value * one.slope + one.intercept for value in one.padding]
    return None if any(TISSUE_HU[0] < hu < TISSUE_HU[1] for hu in meant) else one.padding


def _padding_to_air(stored: Stored, one: Slice) -> Stored:
    padding = padding_of(one)
    if padding is None:
        return stored
    outside = (stored >= padding[0]) & (stored <= padding[1])
    if not outside.any():
        return stored
    air = round((AIR_HU - (one.intercept or 0)) / (one.slope or 1))
    limits = np.iinfo(stored.dtype)
    if not limits.min <= air <= limits.max:
        stored = stored.astype(np.float32)
    return np.where(outside, stored.dtype.type(air), stored)


def _rescaled(small: Pixels, one: Slice, ds: pydicom.Dataset) -> Pixels:
    if ds.get("ModalityLUTSequence"):
        return apply_modality_lut(small, ds)[0]
    slope, intercept = 1.0 if one.slope is None else one.slope, one.intercept or 0.0
    if (slope, intercept) == (1.0, 0.0):
        return small
    return small * np.float32(slope) + np.float32(intercept)
