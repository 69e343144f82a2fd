"""The files of a study -> its CT and MR series, and of these the one to look for lung disease in."""

import re
from collections.abc import Sequence

from embed.bundle import Dropped, Member
from embed.scan import DamagedScan, Scan, ScanError, UnsupportedScan
from embed.series_groups import file_names, group_slices
from embed.series_merits import described_elsewhere, merits_of, why_unfit
from embed.series_source import Series
from embed.slices import Slice, read_slices
from embed.stacking import stack
from embed.volume import full_volume_scan, volume_scan, volume_shows_lungs

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds below it
REFORMATS = re.compile(r"\b(MPR|CPR|MIP|MINIP|MAX_IP|MIN_IP|REFORMATTED|PROJECTION|VRT|3D|RENDERING|SCREEN|COLLAGE)\b")
MOST_LOOKED_AT = 4  # series described as another part of the body, each of which costs the decoding of 14 slices


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
    for group in group_slices(kept, dropped):
        try:
            found.append(stack(group))
        except ScanError as error:
            dropped.extend(Dropped(name, error.reason, str(error)) for name in file_names(group))
    return sorted(found, key=lambda series: (-len(series.slices), series.uid)), dropped


def choose_series(found: Sequence[Series]) -> tuple[Series, str]:
    """The series to look for lung disease in, and why, in words. Raises `UnsupportedScan` when none will do.

    Axial CT of at least 20 slices at most 5 mm apart; among those, a lung kernel, thin slices and the whole chest count.
    A CT described as another part of the body comes last, and only if lungs are found in it, for which a few slices are
    decoded. MR is taken, its largest series, where there is no CT.
    """
    if not found:
        raise UnsupportedScan("no-series", "no CT or MR slices were found; send the folder or zip of one study")
    computed = [series for series in found if series.modality == "CT"]
    if not computed:
        best = max(found, key=lambda series: (len(series.slices), series.uid))
        return best, f"the largest of {len(found)} MR series: {best.label}"
    unfit = [f"{series.label}: {why}" for series in computed if (why := why_unfit(series))]
    lungless: list[str] = []
    others = f" of {len(computed)} CT series" if len(computed) > 1 else ", the only CT series"
    for series in sorted((one for one in computed if not why_unfit(one)), key=_rank, reverse=True):
        merits = ", ".join(words for _, words in merits_of(series)) or "nothing better"
        part = described_elsewhere(series)
        if part is None:
            return series, f"{series.label}{others}: {merits}"
        if len(lungless) == MOST_LOOKED_AT:
            break
        why = _why_no_lungs(series)
        if why is None:
            return series, f"{series.label}{others}: {merits}, yet lungs were found in it"
        lungless.append(f"{series.label}: described as {part}, and {why}")
    listed = "; ".join([*lungless, *unfit][:6])
    raise UnsupportedScan(
        "no-lung-series", f"no CT series fits the lungs ({listed}); expected axial slices of the whole chest"
    )


def read_volume_scan(series: Series, *, side: int, slices: int = 12, chosen: str | None = None) -> Scan:
    """`slices` slices across the lungs of a CT, or the whole of an MR, shorter side at most `side`. Raises `ScanError`."""
    return volume_scan(series, side=side, slices=slices, chosen=chosen, places_mm=series.places_mm)


def read_full_volume(series: Series) -> Scan:
    """Every slice at full resolution. Raises `ScanError`."""
    return full_volume_scan(series)


def _rank(series: Series) -> tuple[int, int, str]:
    return sum(points for points, _ in merits_of(series)), len(series.slices), series.uid


def _why_no_lungs(series: Series) -> str | None:
    try:
        return None if volume_shows_lungs(series, places_mm=series.places_mm) else "no lungs were found in it"
    except DamagedScan as error:
        return f"too much of it is damaged to look for lungs ({error.reason})"


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
    if one.lacking_bytes:
        return (
            "too-short",
            f"the pixel data is {one.lacking_bytes:,} bytes shorter than declared; the file is cut short",
        )
    return None
