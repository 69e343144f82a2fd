"""The projection of a radiograph and how the patient was placed, from what the header states."""

import re
from dataclasses import dataclass
from enum import StrEnum

import pydicom

from embed.dicom import items_of
from embed.scan import View

# View Position (0018,5101) as the standard and the machines write it (PS3.3 C.8.11.1.1, C.8.1.1)
VIEW_POSITIONS = {
    "PA": View.PA, "AP": View.AP, "LL": View.LATERAL, "RL": View.LATERAL, "LAT": View.LATERAL, "LATERAL": View.LATERAL,
    "LLAT": View.LATERAL, "RLAT": View.LATERAL, "LEFT LATERAL": View.LATERAL, "RIGHT LATERAL": View.LATERAL,
    "POSTERO_ANTERIOR": View.PA, "ANTERO_POSTERIOR": View.AP, "PA ERECT": View.PA, "AP ERECT": View.AP,
    "AP SUPINE": View.AP, "AP PORTABLE": View.AP,
}  # fmt: skip
# View Code Sequence (0054,0220), SNOMED CT and the older SNOMED RT codes (PS3.16 CID 4010)
VIEW_CODES = {
    "R-10206": View.AP, "399348003": View.AP, "R-10214": View.PA, "272479007": View.PA,
    "R-10228": View.LATERAL, "399173006": View.LATERAL, "R-10232": View.LATERAL, "R-10236": View.LATERAL,
    "399067008": View.LATERAL, "398999004": View.LATERAL,
}  # fmt: skip
DESCRIPTIONS = (
    "SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription", "PerformedProcedureStepDescription",
    "StudyDescription",
)  # fmt: skip
VIEW_WORDS = (
    (View.LATERAL, re.compile(r"\b(LAT|LATERAL|LLAT|RLAT|LL|RL)\b")),
    (View.AP, re.compile(r"\b(AP|ANTERO ?POSTERIOR)\b")),
    (View.PA, re.compile(r"\b(PA|POSTERO ?ANTERIOR)\b")),
)
BEDSIDE = re.compile(r"\b(PORTABLE|MOBILE|BEDSIDE|SUPINE|ITU|ICU)\b")  # such films are taken AP
PLACEMENT_WORDS = (
    ("portable", re.compile(r"\b(PORTABLE|MOBILE|BEDSIDE)\b")),
    ("erect", re.compile(r"\b(ERECT|UPRIGHT|STANDING)\b")),
    ("sitting", re.compile(r"\b(SITTING|SEATED|SEMI ?ERECT)\b")),
    ("decubitus", re.compile(r"\bDECUBITUS\b")),
    ("supine", re.compile(r"\b(SUPINE|RECUMBENT)\b")),
)


# Such films are frontal; "lateral" says which side is down. LLD and RLD: PS3.3 C.8.1.1
DECUBITUS = re.compile(r"\b((L|R|LEFT|RIGHT) )?(LAT |LATERAL )?DECUB\w*|\b[LR]LD\b")


class Confidence(StrEnum):
    """How far a view may be believed."""

    HIGH = "high"  # a coded element
    MEDIUM = "medium"  # the view's name in a description
    LOW = "low"  # inferred from how such films are taken
    NONE = "none"  # nothing states it


@dataclass(frozen=True)
class Projection:
    """The view of a radiograph, where it was found, and how the patient was placed where that is stated."""

    view: View | None
    confidence: Confidence
    source: str  # "ViewPosition", "SeriesDescription", "" where nothing states it
    placement: tuple[str, ...] = ()  # "portable", "erect", "sitting", "supine"
    conflict: str | None = None  # where two elements disagree


def projection_of(ds: pydicom.Dataset) -> Projection:
    """The position, else the view code, else the one view named in the first description that names any."""
    texts = [(keyword, _words(ds, keyword)) for keyword in DESCRIPTIONS]
    stated = _words(ds, "ViewPosition")
    placement = _placement([stated, *(text for _, text in texts)])
    position = VIEW_POSITIONS.get(stated)
    codes = [str(code.get("CodeValue")) for code in items_of(ds, "ViewCodeSequence")]
    coded = next((VIEW_CODES[code] for code in codes if code in VIEW_CODES), None)
    if position and coded and position is not coded:
        conflict = f"View Position says {position}, the view code {coded}; the former was followed"
        return Projection(position, Confidence.LOW, "ViewPosition", placement, conflict)
    for view, source in ((position, "ViewPosition"), (coded, "ViewCodeSequence")):
        if view:
            told = _told_otherwise(view, texts)
            return Projection(view, Confidence.LOW if told else Confidence.HIGH, source, placement, told)
    for keyword, text in texts:
        found = {view for view, pattern in VIEW_WORDS if pattern.search(text)}
        if len(found) > 1:
            continue  # "CHEST PA AND LATERAL" says what was ordered, not which of the two this is
        if found:
            return Projection(found.pop(), Confidence.MEDIUM, keyword, placement)
    for keyword, text in texts:
        if BEDSIDE.search(text):
            return Projection(View.AP, Confidence.LOW, keyword, placement)
    return Projection(None, Confidence.NONE, "", placement)


def _told_otherwise(view: View, texts: list[tuple[str, str]]) -> str | None:
    """What a description of this very series says against a coded view, in words; a study's says only what was ordered."""
    for keyword, text in texts:
        found = {other for other, pattern in VIEW_WORDS if pattern.search(text)}
        if keyword != "StudyDescription" and len(found) == 1 and view not in found:
            return f"the view is coded as {view}, {keyword} says {found.pop()}; the former was followed"
    return None


def _placement(texts: list[str]) -> tuple[str, ...]:
    joined = " ".join(texts)
    return tuple(name for name, pattern in PLACEMENT_WORDS if pattern.search(joined))


def _words(ds: pydicom.Dataset, keyword: str) -> str:
    words = re.sub(r"[\s_/,;:().-]+", " ", str(ds.get(keyword) or "").upper()).strip()
    return DECUBITUS.sub("DECUBITUS", words)
