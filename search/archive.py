"""What every search of one kind of case needs of the catalogue, as arrays in the order of the rows."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from embed.copies import KnownPictures
from embed.scan import Scan
from index.case import State
from index.catalogue import Catalogue
from index.store import RowNumbers
from search.concentration import Groups
from search.nearest import NOBODY, Codes
from search.outcomes import Rate

Mask = npt.NDArray[np.bool_]  # (n,): which rows
NO, YES = 1, 2  # a patient's vote is the highest of their cases', and 0 is not recorded


class Archive:
    """The cases of one kind.

    `patients` numbers the people: two pseudonyms with the very same picture are one person, who has one vote and is
    left out of their own answer under either name.
    """

    def __init__(self, catalogue: Catalogue, kind: str) -> None:
        self.case_ids = catalogue.values("case_id", kind)
        self.views = catalogue.values("view", kind)
        self.patient_ids = catalogue.values("patient_id", kind).astype(str)
        self.file_hashes = catalogue.values("file_hash", kind)
        self.pixel_hashes = catalogue.values("pixel_hash", kind)
        self.flags = catalogue.values("flags", kind)
        self.ages_years = catalogue.values("age_years", kind).astype(np.float64)  # NaN where it is not recorded
        self.sites = Groups.of(catalogue.values("site", kind))
        self.scanners = Groups.of(_scanners(catalogue, kind))
        self.votes = {endpoint.name: _votes(catalogue.values(endpoint.name, kind)) for endpoint in catalogue.endpoints}
        self._pictures = KnownPictures(list(catalogue.values("perceptual_hash", kind))) if kind == "xray" else None
        self.patients: Codes = catalogue.people(kind)
        self.patient_count = int(self.patients.max()) + 1
        self._catalogue, self._kind = catalogue, kind

    def row_of(self, case_id: str) -> int | None:
        return self._catalogue.row_of(case_id, self._kind)

    def same_picture(self, scan: Scan) -> Mask:
        """Which rows hold this very file, or the same decoded pixels under another name (n,)."""
        same: Mask = self.file_hashes == scan.provenance.file_hash
        return same | (self.pixel_hashes == scan.identity.exact) if scan.identity else same

    def copies_of(self, scan: Scan) -> Mask:
        """Which rows hold a film that looks like a copy of this one, recompressed or cropped a little (n,).

        None of CT and MR: how near copies lie was measured on films only.
        """
        if self._pictures is None:
            return np.zeros(len(self.patients), bool)
        return self._pictures.copies_of(scan.pixels[0])

    def of_view(self, view: str) -> Mask:
        found: Mask = self.views == view
        return found

    def of_patients(self, patients: Iterable[int]) -> Mask:
        asked = np.zeros(self.patient_count, bool)
        asked[list(patients)] = True
        return asked[self.patients]

    def rate(self, endpoint: str, eligible: Mask) -> Rate:
        """The rate among the patients with an eligible case, one vote each: *yes* if any of those says so, else *no* if any does."""
        votes = np.zeros(self.patient_count, np.uint8)
        for vote in (NO, YES):
            votes[self.patients[eligible & (self.votes[endpoint] == vote)]] = vote
        return Rate(known=int((votes > 0).sum()), events=int((votes == YES).sum()))

    def one_row_a_patient(self, eligible: Mask, preferred: RowNumbers) -> RowNumbers:
        """For each patient with an eligible case one row: one of `preferred` where there is one, else the first."""
        rows = np.flatnonzero(eligible)[::-1]
        chosen = np.full(self.patient_count, NOBODY)
        chosen[self.patients[rows]] = rows
        chosen[self.patients[preferred]] = preferred
        return chosen[chosen != NOBODY]


def _scanners(catalogue: Catalogue, kind: str) -> npt.NDArray[np.object_]:
    """Manufacturer and model; a maker alone is no scanner, but is all that many headers say."""
    makers, models = catalogue.values("manufacturer", kind), catalogue.values("scanner", kind)
    texts = [" ".join(text for text in pair if text) or None for pair in zip(makers, models, strict=True)]
    return np.array(texts, object)


def _votes(states: npt.NDArray[np.object_]) -> npt.NDArray[np.uint8]:
    return np.where(states == str(State.YES), YES, np.where(states == str(State.NO), NO, 0)).astype(np.uint8)
