"""The projection of a radiograph, from what the header states."""

import re

import pydicom

from embed.scan import View

# View Position (0018,5101) as the standard and the machines write it (PS3.3 C.8.11.1.1, C.8.1.1)
VIEW_POSITIONS = {
    "PA": View.PA, "AP": View.AP, "LL": View.LATERAL, "RL": View.LATERAL, "LAT": View.LATERAL, "LATERAL": View.LATERAL,
    "LLAT": View.LATERAL, "RLAT": View.LATERAL,
}  # fmt: skip
# View Code Sequence (0054,0220), SNOMED CT and the older SNOMED RT codes (PS3.16 CID 4010)
VIEW_CODES = {
    "R-10206": View.AP, "399348003": View.AP, "R-10214": View.PA, "272479007": View.PA,
    "R-10228": View.LATERAL, "399173006": View.LATERAL, "R-10232": View.LATERAL, "R-10236": View.LATERAL,
    "399067008": View.LATERAL, "398999004": View.LATERAL,
}  # fmt: skip
DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription", "StudyDescription")
WORDS = (
    (View.LATERAL, re.compile(r"\b(LAT|LATERAL|LL|RL)\b")),
    (View.AP, re.compile(r"\b(AP|ANTEROPOSTERIOR|A\.P\.|PORTABLE|MOBILE|SUPINE)\b")),
    (View.PA, re.compile(r"\b(PA|POSTEROANTERIOR|P\.A\.)\b")),
)


def view_of(ds: pydicom.Dataset) -> tuple[View | None, list[str]]:
    """(the view, flags): the position, else the view code, else words in the descriptions; None where all are silent."""
    stated = str(ds.get("ViewPosition") or "").strip().upper()
    if stated in VIEW_POSITIONS:
        return VIEW_POSITIONS[stated], []
    for code in ds.get("ViewCodeSequence") or []:
        if code.get("CodeValue") in VIEW_CODES:
            return VIEW_CODES[code.CodeValue], []
    for keyword in DESCRIPTIONS:
        text = re.sub(r"[_/,;-]", " ", str(ds.get(keyword) or "").upper())
        found = {view for view, pattern in WORDS if pattern.search(text)}
        if len(found) == 1:
            return found.pop(), [f"the view was read from {keyword}"]
    return None, ["no view stated"]
