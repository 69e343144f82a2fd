"""The slices of a study -> one `Series` per volume, sorted and checked, decoded when asked; the best of them for lung."""

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pydicom
import xxhash

from embed.bundle import Dropped, Member
from embed.dicom import Stored, decode_frame, header_of, parse, require_pixels
from embed.limits import MAX_FRAME_PIXELS
from embed.luts import apply_modality_lut
from embed.prepare import shrink
from embed.scan import DamagedScan, Flag, Header, Pixels, Scan, ScanError, UnsupportedScan
from embed.slices import Slice, damage_named, read_slices
from embed.volume import Box, Facing, full_volume_scan, volume_scan

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds below it
REFORMATS = re.compile(r"\b(MPR|CPR|MIP|MINIP|MAX_IP|MIN_IP|REFORMATTED|PROJECTION|VRT|3D|RENDERING|SCREEN|COLLAGE)\b")
FEW_SLICES = 5  # of another orientation within a series: its localizer

LEAST_SLICES = 20
LARGEST_SPACING_MM = 5.0
THIN_MM = (1.5, 2.5)
WHOLE_CHEST_MM = 200.0
CHEST = re.compile(r"CHEST|THORA|LUNG|LUNGE|HRCT|PULMO|POUMON")
ELSEWHERE = re.compile(r"HEAD|BRAIN|SKULL|SINUS|ABDO|PELVI|LIVER|KIDNEY|SPINE|KNEE|EXTREMITY")
LUNG_WORDS = re.compile(r"LUNG|LUNGE|PULMO|HRCT|PARENCHYM")
SHARP_KERNELS = re.compile(r"^(LUNG|BONE|EDGE|L$|Y[BCD]$|FC(5\d|8\d)|[BI][A-Z]?[5-9]\d)")

PIXEL_KEYWORDS = [
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ModalityLUTSequence", "SOPClassUID"),
    *("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]
AIR_HU = -1024.0
TISSUE_HU = (-900, 3000)  # a padding value that means one of these is not believed
SAME_PLACE_MM = 0.01
UNEVEN, UNEVEN_MM = 0.1, 0.1001  # of the usual spacing, and never less than the last digit of positions given to 0.1 mm
LEAST_TILT_DEGREES = 0.5
PLANES = ("sagittal", "coronal", "axial")  # by the axis (left, back, head) that the normal lies nearest to
# In each plane, along which axis and which way rows and columns run once turned.
ROWS_ALONG, COLUMNS_ALONG = ((2, -1), (2, -1), (1, 1)), ((1, 1), (0, 1), (0, 1))


@dataclass(frozen=True, eq=False)
class Series:
    """One volume's slices, from feet to head where axial; the pixels stay in their files until `decode`.

    A `VolumeSource`. Slices of a coronal volume run from front to back, of a sagittal one from right to left.
    """

    slices: tuple[Slice, ...]
    spacing_mm: tuple[float, float, float] | None  # between slices, rows, columns, as decoded
    extent_mm: float  # from the first to the last slice; 0 where unknown
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
        if self.kind == "ct" and any(_padding_of(one) for one in self.slices):
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


def read_volume_scan(series: Series, *, side: int, slices: int = 12, chosen: str | None = None) -> Scan:
    """`slices` slices across the lungs of a CT, or the whole of an MR, shorter side at most `side`. Raises `ScanError`."""
    return volume_scan(series, side=side, slices=slices, chosen=chosen)


def read_full_volume(series: Series) -> Scan:
    """Every slice at full resolution. Raises `ScanError`."""
    return full_volume_scan(series)


def find_series(members: Sequence[Member]) -> tuple[list[Series], list[Dropped]]:
    """Every CT and MR volume among the files, largest first, and what was left out and why. Only headers are read."""
    dropped: list[Dropped] = []
    kept: list[Slice] = []
    for member in members:
        try:
            for one in read_slices(member):
                refused = _why_not(one)
                if refused:
                    dropped.append(Dropped(member.name, *refused))
                    break
                kept.append(one)
        except ScanError as error:
            dropped.append(Dropped(member.name, error.reason, str(error)))
    found = []
    for group in _groups(kept, dropped):
        try:
            found.append(_stack(group))
        except ScanError as error:
            dropped.extend(Dropped(name, error.reason, str(error)) for name in _names(group))
    return sorted(found, key=lambda series: (-len(series.slices), series.uid)), dropped


def choose_series(found: Sequence[Series]) -> tuple[Series, str]:
    """The series to look for lung disease in, and why, in words. Raises `UnsupportedScan` when none will do.

    Axial CT of at least 20 slices at most 5 mm apart; among those, a lung kernel, thin slices and the whole chest count.
    MR is taken, its largest series, where there is no CT.
    """
    if not found:
        raise UnsupportedScan("no-series", "no CT or MR slices were found; send the folder or zip of one study")
    if not any(series.modality == "CT" for series in found):
        best = max(found, key=lambda series: (len(series.slices), series.uid))
        return best, f"the largest of {len(found)} MR series: {best.label}"
    computed = [series for series in found if series.modality == "CT"]
    refusals = [(series, _unfit(series)) for series in computed]
    fit = [series for series, why in refusals if why is None]
    if not fit:
        listed = "; ".join(f"{series.label}: {why}" for series, why in refusals[:6])
        raise UnsupportedScan(
            "no-lung-series", f"no CT series fits the lungs ({listed}); expected axial slices of the whole chest"
        )
    best = max(fit, key=lambda series: (sum(points for points, _ in _merits(series)), len(series.slices), series.uid))
    merits = ", ".join(words for _, words in _merits(best)) or "nothing better"
    others = f" of {len(computed)} CT series" if len(computed) > 1 else ", the only CT series"
    return best, f"{best.label}{others}: {merits}"


def _why_not(one: Slice) -> tuple[str, str] | None:
    """(reason, message) for a slice that belongs to no volume."""
    kind = "\\".join(one.image_type)
    if one.sop_class.startswith(SECONDARY_CAPTURE) or one.colours != 1:
        return "secondary-capture", "a screenshot or a colour picture, not an acquired slice"
    if one.modality not in ("CT", "MR"):
        return "not-a-volume", f"(0008,0060) Modality is {one.modality!r}; expected CT or MR"
    if "LOCALIZER" in kind or "SCOUT" in kind:
        return "localizer", f"(0008,0008) Image Type is {kind}: a localizer"
    derived, secondary = one.image_type[0] == "DERIVED", "SECONDARY" in one.image_type[1:2]
    if (derived or secondary) and REFORMATS.search(kind.replace("\\", " ")):
        return "reformat", f"(0008,0008) Image Type is {kind}: reformatted, not reconstructed"
    if secondary and "AXIAL" not in one.image_type:
        return "secondary-capture", f"(0008,0008) Image Type is {kind}; expected PRIMARY, or a SECONDARY that is AXIAL"
    if one.modality == "CT" and (not one.slope or one.intercept is None):
        found = f"{one.intercept} and {one.slope}"
        return "no-rescale", f"(0028,1052) and (0028,1053) Rescale Intercept and Slope are {found}; expected both in CT"
    return None


def _groups(slices: Iterable[Slice], dropped: list[Dropped]) -> list[list[Slice]]:
    """Slices of one series, size and orientation together; a few that stand askew to the rest are its localizer."""
    by_uid: dict[str, dict[tuple[object, ...], list[Slice]]] = defaultdict(lambda: defaultdict(list))
    for one in slices:
        facing = one.orientation and tuple(round(number, 2) + 0.0 for number in one.orientation)
        spacing = one.pixel_mm and tuple(round(number, 3) for number in one.pixel_mm)
        by_uid[one.series_uid][(facing, one.rows, one.columns, spacing)].append(one)
    kept = []
    for groups in by_uid.values():
        largest = max(len(group) for group in groups.values())
        several = len({facing for facing, *_ in groups}) > 1
        for group in groups.values():
            if several and len(group) <= FEW_SLICES and (len(group) * 5 < largest or largest <= FEW_SLICES):
                message = f"{len(group)} slices in another orientation than the rest of their series: a localizer"
                dropped.extend(Dropped(name, "localizer", message) for name in _names(group))
            else:
                kept.append(group)
    return kept


def _names(group: Iterable[Slice]) -> list[str]:
    return sorted({one.member.name for one in group})


def _unfit(series: Series) -> str | None:
    """Why a CT series is not one of the lungs, if so."""
    if not series.is_axial:
        return "not axial"
    if len(series.slices) < LEAST_SLICES:
        return f"fewer than {LEAST_SLICES} slices"
    if series.spacing_mm and series.spacing_mm[0] > LARGEST_SPACING_MM + 0.01:
        return f"slices further apart than {LARGEST_SPACING_MM:g} mm"
    words = series.slices[0].words
    if ELSEWHERE.search(words) and not CHEST.search(words):
        return "described as another part of the body"
    return None


def _merits(series: Series) -> list[tuple[int, str]]:
    """(points, words) for what speaks for or against a series."""
    first, merits = series.slices[0], []
    if LUNG_WORDS.search(first.words) or SHARP_KERNELS.match(first.kernel):
        merits.append((3, "lung kernel" if first.kernel else "described as lung"))
    thickness = first.thickness_mm or (series.spacing_mm[0] if series.spacing_mm else None)
    if thickness is not None:
        points = sum(thickness <= limit + 0.01 for limit in THIN_MM)
        merits.append((points, f"slices {thickness:g} mm thick"))
    if series.extent_mm >= WHOLE_CHEST_MM:
        merits.append((2, f"covers {series.extent_mm:.0f} mm"))
    codes = {flag.code for flag in series.flags}
    if "derived-image" in codes:
        merits.append((-2, "derived"))
    if codes - {"derived-image"}:
        merits.append((-1, "flagged " + ", ".join(sorted(codes - {"derived-image"}))))
    return merits


def _stack(group: Sequence[Slice]) -> Series:
    """The slices of one volume, sorted along their normal, each place once, with flags for what is odd about them."""
    flags = _flags_of_headers(group)
    ordered = sorted(group, key=lambda one: (one.acquisition, one.number or 0, one.instance_uid, one.frame))
    normal, facing, plane = _orientation(ordered[0], flags)
    places = _places(ordered, normal, flags)
    order = sorted(range(len(ordered)), key=lambda index: places[index])  # stable: the first acquired comes first
    kept = order[:1]
    for index in order[1:]:
        if places[index] - places[kept[-1]] > SAME_PLACE_MM:
            kept.append(index)
    if len(kept) < len(order):
        message = f"{len(order) - len(kept)} slices lie where another one does; the first acquired was kept"
        flags.append(Flag("duplicate-slices", message))
    slices = tuple(ordered[index] for index in kept)
    between = _between(slices, np.array([places[index] for index in kept]), flags)
    _check_tilt(slices, normal, flags)
    spacing = None
    first = slices[0]
    if between and first.pixel_mm and min(first.pixel_mm) > 0:
        row_mm, column_mm = first.pixel_mm[::-1] if facing.transpose else first.pixel_mm
        spacing = between, row_mm, column_mm
    else:
        flags.append(Flag("no-spacing", "(0028,0030) Pixel Spacing or the distance between slices is not stated"))
    extent = float(places[kept[-1]] - places[kept[0]]) if "no-positions" not in {flag.code for flag in flags} else 0.0
    return Series(slices, spacing, extent, facing, plane, tuple(flags))


def _flags_of_headers(group: Sequence[Slice]) -> list[Flag]:
    flags, first = [], group[0]
    if first.rows * first.columns > MAX_FRAME_PIXELS or min(first.rows, first.columns) < 1:
        raise UnsupportedScan(
            "too-large", f"slices of {first.rows}×{first.columns} pixels; at most {MAX_FRAME_PIXELS:,} are read"
        )
    if any("DERIVED" in one.image_type or "SECONDARY" in one.image_type[1:2] for one in group):
        flags.append(
            Flag("derived-image", "(0008,0008) Image Type is DERIVED or SECONDARY: not as first reconstructed")
        )
    if first.modality == "CT" and {one.rescale_type for one in group} - {"", "HU"}:
        flags.append(Flag("not-hounsfield", f"(0028,1054) Rescale Type is {first.rescale_type!r}; expected HU"))
    if first.modality == "CT" and any(one.padding and not _padding_of(one) for one in group):
        flags.append(
            Flag("padding-in-tissue", "(0028,0120) Pixel Padding Value is a value of tissue; it was not applied")
        )
    return flags


def _orientation(one: Slice, flags: list[Flag]) -> tuple[npt.NDArray[np.float64], Facing, str]:
    """(the normal, towards head, back or left; how rows and columns must be turned; the plane)."""
    if one.orientation is None:
        flags.append(Flag("no-orientation", "(0020,0037) Image Orientation is not stated; taken as axial, face up"))
    across, down = np.array(one.orientation or (1, 0, 0, 0, 1, 0), float).reshape(2, 3)
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 0.02 or abs(np.linalg.norm(across) - 1) > 0.02:
        raise DamagedScan(
            "damaged-orientation", f"(0020,0037) is {one.orientation}; expected two directions at right angles"
        )
    axis = int(np.abs(normal).argmax())
    if normal[axis] < 0:
        normal = -normal
    (row_axis, row_way), (column_axis, column_way) = ROWS_ALONG[axis], COLUMNS_ALONG[axis]
    transpose = abs(across[column_axis]) < abs(down[column_axis])
    if transpose:
        across, down = down, across
    facing = Facing(bool(transpose), bool(down[row_axis] * row_way < 0), bool(across[column_axis] * column_way < 0))
    return normal, facing, PLANES[axis]


def _places(ordered: Sequence[Slice], normal: npt.NDArray[np.float64], flags: list[Flag]) -> list[float]:
    """Where each slice lies along the normal, in mm; by the next best element where positions are missing."""
    if all(one.position is not None for one in ordered):
        return [float(place) for place in np.array([one.position for one in ordered]) @ normal]
    if all(one.location is not None for one in ordered):
        flags.append(
            Flag("no-positions", "(0020,0032) Image Position is missing; sorted by (0020,1041) Slice Location")
        )
        return [one.location or 0.0 for one in ordered]
    if len({one.number for one in ordered} - {None}) == len(ordered):
        flags.append(
            Flag("no-positions", "(0020,0032) Image Position is missing; sorted by (0020,0013) Instance Number")
        )
        return [float(one.number or 0) for one in ordered]
    raise DamagedScan(
        "no-positions", "the slices state neither positions, nor locations, nor distinct instance numbers"
    )


def _between(slices: Sequence[Slice], places: npt.NDArray[np.float64], flags: list[Flag]) -> float | None:
    """The usual distance between slices, in mm; gaps and unevenness are flagged."""
    gaps = np.diff(places)
    by_number = all(one.position is None and one.location is None for one in slices)
    usual = float(np.median(gaps)) if len(gaps) else None
    if usual:
        steps = np.rint(gaps / usual)
        tolerance = max(UNEVEN * usual, UNEVEN_MM) if not by_number else 0.5
        whole = np.abs(gaps - steps * usual) <= tolerance
        missing = int((steps[whole & (steps > 1)] - 1).sum())
        if missing:
            flags.append(
                Flag("missing-slices", f"{missing} slices are missing in {int((whole & (steps > 1)).sum())} gaps")
            )
        uneven = gaps[~(whole & (steps >= 1))]
        if len(uneven):
            message = (
                f"{len(uneven)} of {len(gaps)} distances differ from {usual:g} mm: {uneven.min():g} to {uneven.max():g}"
            )
            flags.append(Flag("uneven-spacing", message))
    if by_number or usual is None:
        return slices[0].between_mm or slices[0].thickness_mm
    return usual


def _check_tilt(slices: Sequence[Slice], normal: npt.NDArray[np.float64], flags: list[Flag]) -> None:
    """Flag a gantry that leaned: the line through the slices' corners is not their normal."""
    first, last = slices[0].position, slices[-1].position
    degrees = 0.0
    if first is not None and last is not None and first != last:
        line = np.subtract(last, first)
        degrees = float(np.degrees(np.arccos(np.clip(abs(line @ normal) / np.linalg.norm(line), 0, 1))))
    stated = max((one.tilt_degrees for one in slices), key=abs)
    if degrees > LEAST_TILT_DEGREES:
        flags.append(
            Flag("gantry-tilt", f"the slices lean {degrees:.1f}° from the line through them; not straightened")
        )
    elif abs(stated) > LEAST_TILT_DEGREES:
        flags.append(Flag("gantry-tilt", f"(0018,1120) Gantry Tilt is {stated:g}°, yet the slices lie square"))


def _open(one: Slice) -> pydicom.Dataset:
    """The data set of a slice's file; of one whose header is plain, only the elements that decoding needs."""
    data = one.member.read()
    ds = pydicom.dcmread(io.BytesIO(data), specific_tags=PIXEL_KEYWORDS) if one.plain else parse(data)
    ds.file_meta.TransferSyntaxUID.is_compressed  # noqa: B018 (pydicom raises for what is no transfer syntax)
    require_pixels(ds)
    return ds


def _padding_of(one: Slice) -> tuple[int, int] | None:
    """The stored values that stand for "nothing here", unless they would mean tissue (PS3.3 C.7.5.1.1.2)."""
    if one.padding is None or one.slope is None or one.intercept is None:
        return None
    meant = [value * one.slope + one.intercept for value in one.padding]
    return None if any(TISSUE_HU[0] < hu < TISSUE_HU[1] for hu in meant) else one.padding


def _padding_to_air(stored: Stored, one: Slice) -> Stored:
    padding = _padding_of(one)
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
