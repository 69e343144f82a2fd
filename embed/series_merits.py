"""What speaks for and against looking for lung disease in a CT series, by its headers, in points and in words."""

import re

from embed.series_source import Series

LEAST_SLICES = 20
LARGEST_SPACING_MM = 5.0
THIN_MM = (1.5, 2.5)
WHOLE_CHEST_MM = 200.0
# CAP and TAP are chest or thorax, abdomen and pelvis; CTPA is CT pulmonary angiography.
CHEST = re.compile(r"CHEST|THORA|LUNG|HRCT|PULMO|POUMON|CTPA|(?<![A-Z])[CT]AP(?![A-Z])")
ELSEWHERE = {
    "HEAD": "head",
    "BRAIN": "brain",
    "SKULL": "skull",
    "SINUS": "sinuses",
    "ABDO": "abdomen",
    "PELVI": "pelvis",
    "LIVER": "liver",
    "KIDNEY": "kidneys",
    "SPINE": "spine",
    "KNEE": "knee",
    "EXTREMITY": "extremity",
}
ELSEWHERE_POINTS = -10  # more than all merits together: such a series is taken only where there is no other
LUNG_WORDS = re.compile(r"LUNG|HRCT|PARENCHYM|PULMO(?!NARY (ANG|EMB|ART))")  # angiography is no lung kernel
SHARP_KERNELS = re.compile(r"^(LUNG|BONE|EDGE|L$|Y[BCD]$|FC(5\d|8\d)|[BI][A-Z]?[5-9]\d)")


def why_unfit(series: Series) -> str | None:
    """Why a CT series cannot be one of the lungs, if so."""
    if not series.is_axial:
        return "not axial"
    if len(series.slices) < LEAST_SLICES:
        return f"fewer than {LEAST_SLICES} slices"
    if series.spacing_mm and series.spacing_mm[0] > LARGEST_SPACING_MM + 0.01:
        return f"slices further apart than {LARGEST_SPACING_MM:g} mm"
    return None


def described_elsewhere(series: Series) -> str | None:
    """The part of the body other than the chest that the headers name, in our own words, if so."""
    words = series.slices[0].words
    if CHEST.search(words):
        return None
    return next((part for word, part in ELSEWHERE.items() if word in words), None)


def merits_of(series: Series) -> list[tuple[int, str]]:
    """(points, words) for what speaks for or against a series."""
    first, merits = series.slices[0], []
    if SHARP_KERNELS.match(first.kernel):
        merits.append((3, "lung kernel"))
    elif LUNG_WORDS.search(first.words):
        merits.append((3, "described as lung"))
    thickness = first.thickness_mm or (series.spacing_mm[0] if series.spacing_mm else None)
    if thickness is not None:
        points = sum(thickness <= limit + 0.01 for limit in THIN_MM)
        merits.append((points, f"slices {thickness:g} mm thick"))
    if series.extent_mm >= WHOLE_CHEST_MM:
        merits.append((2, f"covers {series.extent_mm:.0f} mm"))
    part = described_elsewhere(series)
    if part:
        merits.append((ELSEWHERE_POINTS, f"described as {part}"))
    codes = {flag.code for flag in series.flags}
    if "derived-image" in codes:
        merits.append((-2, "derived"))
    if codes - {"derived-image"}:
        merits.append((-1, "flagged " + ", ".join(sorted(codes - {"derived-image"}))))
    return merits
