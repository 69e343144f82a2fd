"""The cases that an evaluation asks and searches among: each picture once, and nobody's copy counted as somebody else."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embed.identity import BITS, SAME_PICTURE_DISTANCE, hash_bits
from search.archive import Mask
from search.engine import SearchEngine
from search.intervals import Codes, Floats
from search.targets import days_of

SEED = 20261124
PHASE = "scan_phase"  # NCCID's column: pre, acute or post


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Properties of all cases of one kind (n,), and which of them take part."""

    kind: str
    case_ids: npt.NDArray[np.object_]
    patients: Codes  # people: two pseudonyms with one picture are one
    usable: Mask  # allowed by --where, nobody denied, and the first of its picture
    sites: Codes  # −1 where it is not recorded
    views: npt.NDArray[np.object_]
    sexes: npt.NDArray[np.object_]
    ages_years: Floats  # NaN where it is not recorded
    days: Floats  # of the scan, since 1970; NaN where it is not recorded
    phases: npt.NDArray[np.object_]  # None where it is not recorded
    hashes: npt.NDArray[np.float32] | None = None  # (n, 256) bits as ±1 of the perceptual hash, 0 where there is none
    groupings: tuple[
        tuple[str, Codes], ...
    ] = ()  # ("site", …), ("scanner", …): the group of each case, −1 where it is not recorded
    repeated: int = 0  # cases left out because their very picture is asked already
    _near: dict[int, Codes] = field(
        default_factory=dict, init=False, repr=False
    )  # query -> its near copies, once sought

    def near_copies(self, query: int) -> Codes:
        """The rows of other patients that look like copies of the query: they are no strangers' answer to it."""
        if self.hashes is None:
            return np.zeros(0, np.int64)
        if query not in self._near:
            apart = (BITS - self.hashes @ self.hashes[query]) / 2
            near = (apart <= SAME_PICTURE_DISTANCE) & (self.patients != self.patients[query])
            self._near[query] = np.flatnonzero(near)
        return self._near[query]


def evaluated_cases(engine: SearchEngine, kind: str, where: str | None) -> Evaluated:
    """The cases of the index that `where` allows. Raises `FilterError`."""
    archive, catalogue = engine.archives[kind], engine.snapshot.catalogue
    allowed = engine.rows_where(kind, where)
    usable = allowed & first_of_each_picture(archive.pixel_hashes, allowed)
    days = [np.nan if day is None else float(day.astype(np.int64)) for day in days_of(catalogue, kind)]
    blank = np.full(len(usable), None, object)
    hashes = [text or None for text in catalogue.values("perceptual_hash", kind)]
    return Evaluated(
        kind=kind,
        case_ids=archive.case_ids,
        patients=archive.patients,
        usable=usable,
        sites=archive.sites.codes,
        views=archive.views,
        sexes=catalogue.values("sex", kind),
        ages_years=archive.ages_years,
        days=np.array(days),
        phases=catalogue.values(PHASE, kind) if PHASE in catalogue.columns() else blank,
        hashes=_signs(hashes) if kind == "xray" else None,
        groupings=(("site", archive.sites.codes), ("scanner", archive.scanners.codes)),
        repeated=int(allowed.sum() - usable.sum()),
    )


def first_of_each_picture(pixel_hashes: npt.NDArray[np.object_], allowed: Mask) -> Mask:
    """Of the allowed cases with the same decoded pixels the first (n,): a copy would vote, and be asked, twice."""
    seen: set[str] = set()
    first = np.zeros(len(allowed), bool)
    for row in np.flatnonzero(allowed):
        pixels = pixel_hashes[row]
        first[row] = pixels is None or pixels not in seen
        if pixels is not None:
            seen.add(pixels)
    return first


def sampled(cases: Evaluated, most: int) -> Codes:
    """The usable rows, or all those of patients drawn at random until about `most` rows are reached; rising."""
    rows = np.flatnonzero(cases.usable)
    if len(rows) <= most:
        return rows
    order = np.random.default_rng(SEED).permutation(np.unique(cases.patients[rows]))
    counts = np.bincount(cases.patients[rows], minlength=int(cases.patients.max()) + 1)[order]
    kept = order[: max(1, int(np.searchsorted(np.cumsum(counts), most, side="right")))]
    return rows[np.isin(cases.patients[rows], kept)]


def _signs(hashes: list[str | None]) -> npt.NDArray[np.float32]:
    signs = np.zeros((len(hashes), BITS), np.float32)
    rows = [row for row, text in enumerate(hashes) if text]
    if rows:
        signs[rows] = 2 * hash_bits([text for text in hashes if text]).astype(np.float32) - 1
    return signs
