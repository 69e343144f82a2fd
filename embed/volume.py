"""A CT or MR volume, wherever its slices come from -> `Scan`: a few slices across the lungs, cropped to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embed.ct_lungs import Extent
from embed.limits import MAX_VOLUME_PIXELS
from embed.lung_extent import COARSE_SIDE, coarse_sample, cut_off_flags, lung_extent, shows_lungs
from embed.luts import percentile_window
from embed.scan import DamagedScan, Flag, Header, Pixels, Provenance, Scan, UnsupportedScan
from embed.slice_places import Places, evenly, places_of
from embed.undamaged import Damage, Decode, damage_flags, decode_undamaged

LEAST_AIR, LEAST_TISSUE = 0.03, 0.1  # shares of a chest CT, whose field of view may be cropped to the body
LEAST_PAIRS = 0.3  # share of the slices with two lungs, below which one is missing
MARGIN = 0.06  # of the lungs' bounding box, on every side


@dataclass(frozen=True)
class Box:
    """A rectangle of a slice, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Facing:
    """How stored rows and columns are turned to run as `Scan` says."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def turn(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        picture = picture.T if self.transpose else picture
        return picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    @property
    def words(self) -> str:
        turns = {"transposed": self.transpose, "rows flipped": self.flip_rows, "columns flipped": self.flip_columns}
        return ", ".join(name for name, done in turns.items() if done)


class VolumeSource(Protocol):
    """Slices that are decoded only when asked for, already turned as `Scan` says."""

    @property
    def kind(self) -> str: ...  # "ct", whose values are Hounsfield units, or "mri"
    @property
    def modality(self) -> str | None: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def spacing_mm(self) -> tuple[float, float, float] | None: ...
    @property
    def header(self) -> Header: ...
    @property
    def format(self) -> str: ...
    @property
    def is_axial(self) -> bool: ...
    @property
    def steps(self) -> tuple[str, ...]: ...
    @property
    def flags(self) -> tuple[Flag, ...]: ...

    def decode(self, indices: Sequence[int], *, box: Box | None = None, side: int | None = None) -> Pixels:
        """Those slices, cropped to `box`, then area-averaged until the shorter side is at most `side`."""
        ...

    def content_hash(self, indices: Sequence[int]) -> str:
        """The same for the same files in any order; reads no slice beyond `indices`."""
        ...


def volume_scan(
    source: VolumeSource,
    *,
    side: int,
    slices: int,
    chosen: str | None = None,
    places_mm: Sequence[float] | None = None,
) -> Scan:
    """`slices` slices evenly across the lungs of a CT, cropped to them, or across the whole of an MR.

    `places_mm` tells where the source's slices lie if not evenly. A slice that is damaged gives way to its neighbour.
    CT stays in Hounsfield units; MR comes as 0 to 1 between percentiles. Raises `ScanError`.
    """
    count, rows, columns = source.shape
    places, damage = places_of(count, places_mm), Damage()
    extent, flags = _lungs_of(source, places, damage)
    wanted = evenly(places, slices, extent.first, extent.last) if extent else evenly(places, slices)
    box = _box_of(extent, rows, columns) if extent else Box(0, rows, 0, columns)
    _refuse_too_large(len(wanted), source)
    indices, pixels = decode_undamaged(
        lambda some: source.decode(some, box=box, side=side), wanted, places=places, damage=damage
    )
    _refuse_blank(pixels)
    where = "the lungs" if extent else "the whole extent"
    steps = [f"series chosen: {chosen}"] if chosen else []
    steps += [
        *source.steps,
        f"{len(indices)} of {count} slices decoded across {where}: {indices[0] + 1} to {indices[-1] + 1}",
    ]
    if places_mm is not None:
        steps.append("slices chosen by their places in mm, since they do not lie evenly")
    if extent:
        steps.append(
            f"cropped to the lungs: rows {box.top}–{box.bottom}, columns {box.left}–{box.right} of {rows}×{columns}, "
            f"right and left of the body's midline at {round(extent.middle)}"
        )
    high, wide = box.bottom - box.top, box.right - box.left
    if pixels.shape[1:] != (high, wide):
        steps.append(f"area-averaged from {high}×{wide} to {pixels.shape[1]}×{pixels.shape[2]}")
    scan = _as_scan(source, pixels, indices, tuple(steps), (*source.flags, *flags, *damage_flags(damage)))
    spacing = _spacing(source, places[indices], high / pixels.shape[1], wide / pixels.shape[2])
    return replace(scan, spacing_mm=spacing)


def volume_shows_lungs(source: VolumeSource, *, places_mm: Sequence[float] | None = None) -> bool:
    """Whether lungs are found in an axial CT, by the coarse sample alone. Raises `ScanError`."""
    return shows_lungs(_coarsely(source), places_of(source.shape[0], places_mm))


def full_volume_scan(source: VolumeSource) -> Scan:
    """Every slice at full resolution; for viewers and for comparison with other readers. Raises `ScanError`."""
    indices = range(source.shape[0])
    _refuse_too_large(len(indices), source)
    pixels = source.decode(indices)
    steps = (*source.steps, f"all {len(indices)} slices decoded")
    return replace(_as_scan(source, pixels, indices, steps, source.flags), spacing_mm=source.spacing_mm)


def _as_scan(
    source: VolumeSource, pixels: Pixels, indices: Sequence[int], steps: tuple[str, ...], flags: tuple[Flag, ...]
) -> Scan:
    if source.kind == "mri":
        pixels, step, _ = percentile_window(pixels, Flag("no-window", "MR has no absolute scale"))
        steps = (*steps, step)
    return Scan(
        pixels=np.ascontiguousarray(pixels),
        kind=source.kind,
        modality=source.modality,
        view=None,
        spacing_mm=None,
        provenance=Provenance(source.format, source.content_hash(indices), steps, flags),
        header=source.header,
    )


def _lungs_of(source: VolumeSource, places: Places, damage: Damage) -> tuple[Extent | None, list[Flag]]:
    if source.kind != "ct":
        return None, []
    if not source.is_axial:
        return None, [Flag("no-lungs", "not an axial series: lungs not looked for, the whole extent is used")]
    sample, coarse = coarse_sample(_coarsely(source), places, damage)
    extent = lung_extent(sample, coarse, source.shape, places)
    if extent is None:
        return None, [Flag("no-lungs", "no lungs were found; the whole extent is used"), *_hounsfield_doubts(coarse)]
    if extent.pairs < LEAST_PAIRS:
        said = "only one lung is seen: the other is filled or out of the picture; the whole extent is used"
        return None, [Flag("no-lungs", said), *_hounsfield_doubts(coarse)]
    return extent, _hounsfield_doubts(coarse) + cut_off_flags(_coarsely(source), coarse, extent, places, damage)


def _coarsely(source: VolumeSource) -> Decode:
    return lambda indices: source.decode(indices, side=COARSE_SIDE)


def _hounsfield_doubts(coarse: Pixels) -> list[Flag]:
    """A chest in Hounsfield units has air, near −1000, and soft tissue, near 0; else its rescale is probably wrong."""
    air = float(((coarse > -1100) & (coarse < -700)).mean())
    tissue = float(((coarse > -150) & (coarse < 200)).mean())
    if air >= LEAST_AIR and tissue >= LEAST_TISSUE:
        return []
    share = f"{air:.0%} of it near air, {tissue:.0%} near soft tissue"
    return [
        Flag(
            "hounsfield-doubtful",
            f"the values are not those of a chest in Hounsfield units ({share}); is the rescale right?",
        )
    ]


def _box_of(extent: Extent, rows: int, columns: int) -> Box:
    """The lungs with a margin, the body's midline in the middle: each half of the box holds one lung, however much of it is airy."""
    down, across = MARGIN * (extent.bottom - extent.top), MARGIN * (extent.right - extent.left)
    half = max(extent.middle - extent.left, extent.right - extent.middle) + across
    half = min(half, extent.middle, columns - extent.middle)  # as far as the slice goes on either side
    return Box(
        max(0, round(extent.top - down)),
        min(rows, round(extent.bottom + down)),
        max(0, round(extent.middle - half)),
        min(columns, round(extent.middle + half)),
    )


def _spacing(source: VolumeSource, places: Places, down: float, across: float) -> tuple[float, float, float] | None:
    """Millimetres between the slices, which lie at `places`, the rows and the columns that were kept."""
    if source.spacing_mm is None:
        return None
    between, row_mm, column_mm = source.spacing_mm
    stride = float(places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else 1.0
    return between * stride, row_mm * down, column_mm * across


def _refuse_too_large(count: int, source: VolumeSource) -> None:
    _, rows, columns = source.shape
    if count * rows * columns > MAX_VOLUME_PIXELS:
        raise UnsupportedScan(
            "too-large",
            f"{count} slices of {rows}×{columns} are more than {MAX_VOLUME_PIXELS:,} pixels; send fewer slices",
        )


def _refuse_blank(pixels: Pixels) -> None:
    low, high = pixels.min(), pixels.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise DamagedScan("not-finite", "some values are not numbers; export the volume again")
    if low == high:
        raise DamagedScan("blank", f"every pixel has the same value ({low:g}); there is nothing to see")
