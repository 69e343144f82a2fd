"""What a signature must beat: orders of the archive that know nothing of disease, or nothing but grey levels."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from embed.encoders.histogram import HistogramEncoder
from embed.scan import Provenance, Scan
from embed.signature import unit
from index.snapshot import Snapshot
from index.store import DECIMALS, exact_similarities
from index.transform import Centring
from search.archive import Mask
from search.evaluated import Evaluated
from search.intervals import Floats

Rows = npt.NDArray[np.float32]  # (n, d)
SEED = 20261124
PIXELS = 32  # a side of the picture whose principal components are taken
COMPONENTS = 64

ENCODER = "encoder"
RANDOM = "random"
METADATA = "metadata only"
PIXEL_PCA = "pixel PCA"
HISTOGRAM = "histogram"
SITE_CENTRED = "encoder, centred by site"
LUNGS_BLANKED, LUNGS_ALONE = "lungs blanked", "all but the lungs blanked"
BASELINES = (ENCODER, RANDOM, METADATA, PIXEL_PCA, HISTOGRAM, SITE_CENTRED, LUNGS_BLANKED, LUNGS_ALONE)


class Space(Protocol):
    """An order of the archive's cases by likeness to each of them."""

    @property
    def name(self) -> str: ...

    @property
    def told(self) -> str:
        """What it knows, for people."""

    @property
    def covers(self) -> Mask:
        """The cases that it has something to say of (n,)."""

    def similarities(self, query: int) -> Floats:
        """Of every case to the query (n,)."""


@dataclass(frozen=True, eq=False)
class VectorSpace:
    """Likeness is the cosine of unit rows."""

    name: str
    told: str
    rows: Rows
    covers: Mask

    def similarities(self, query: int) -> Floats:
        return exact_similarities(self.rows, self.rows[query])


@dataclass(frozen=True, eq=False)
class RandomSpace:
    """A new random order for each query, the same in every run."""

    covers: Mask
    name: str = RANDOM
    told: str = "a random order for each query"

    def similarities(self, query: int) -> Floats:
        return np.random.default_rng((SEED, query)).random(len(self.covers))


@dataclass(frozen=True, eq=False)
class MetadataSpace:
    """Likeness of age, sex, view and site (J. C. Gower, 1971: the mean over the four; what is not recorded is like nothing).

    Ties, of which there are many, are in random order.
    """

    cases: Evaluated
    name: str = METADATA
    told: str = "age, sex, view and site, no picture"

    @property
    def covers(self) -> Mask:
        return self.cases.usable

    def similarities(self, query: int) -> Floats:
        cases = self.cases
        ages = cases.ages_years
        span = float(np.nanmax(ages) - np.nanmin(ages)) if not np.isnan(ages).all() else 0.0
        total = np.zeros(len(ages))
        if not np.isnan(ages[query]):
            total += np.nan_to_num(1 - np.abs(ages - ages[query]) / (span or 1.0))
        for texts in (cases.sexes, cases.views):
            if texts[query]:
                total += texts == texts[query]
        if cases.sites[query] >= 0:
            total += cases.sites == cases.sites[query]
        ties: Floats = np.random.default_rng((SEED, 1, query)).random(len(ages))
        return np.round(total / 4, DECIMALS) + ties * 10.0 ** -(DECIMALS + 1)


def centred_space(name: str, told: str, rows: Rows, covers: Mask) -> VectorSpace:
    """Rows (n, d) at length 1 after the mean of those covered is taken from them, as an index is built."""
    return VectorSpace(name, told, Centring.fit(rows[covers]).apply(rows), covers)


def site_centred(rows: Rows, cases: Evaluated) -> VectorSpace:
    """The encoder's rows with each site's own mean taken away: what a site's films have in common no longer counts."""
    moved = rows.astype(np.float32).copy()
    for site in np.unique(cases.sites[cases.usable]):
        members = cases.usable & (cases.sites == site)
        moved[members] -= moved[members].mean(axis=0)
    return VectorSpace(SITE_CENTRED, "the same signatures less the mean of their site", unit(moved), cases.usable)


def preview_spaces(snapshot: Snapshot, cases: Evaluated) -> list[VectorSpace]:
    """Pixel PCA and grey-level histograms, of the index's previews. Raises `SnapshotError`."""
    pictures = [
        _preview(snapshot, str(name)) if use else None for name, use in zip(cases.case_ids, cases.usable, strict=True)
    ]
    covers = np.array([picture is not None for picture in pictures], bool)
    if not covers.any():
        return []
    there = [picture for picture in pictures if picture is not None]
    small = np.stack([cv2.resize(p, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA).ravel() for p in there])
    scans = [Scan(p[None], "xray", None, None, None, Provenance("preview", "")) for p in there]
    histograms = HistogramEncoder().encode(scans)
    return [
        VectorSpace(PIXEL_PCA, f"{COMPONENTS} principal components of the preview at {PIXELS}×{PIXELS} pixels",
                    _spread(principal_components(small), covers), covers),
        centred_space(HISTOGRAM, "grey levels of 4×4 areas of the whole preview", _spread(histograms, covers), covers),
    ]  # fmt: skip


def principal_components(pictures: Rows) -> Rows:
    """Each picture (n, pixels), standardised, as unit row of its first components (n, ≤ 64)."""
    level = pictures - pictures.mean(axis=1, keepdims=True)
    level /= np.maximum(level.std(axis=1, keepdims=True), 1e-6)
    level -= level.mean(axis=0)
    _, axes = np.linalg.eigh(level.T @ level)
    return unit((level @ axes[:, ::-1][:, :COMPONENTS]).astype(np.float32))


def other_index(name: str, snapshot: Snapshot, cases: Evaluated) -> VectorSpace:
    """The signatures of another index for the same cases, by case_id. Raises `SnapshotError`; ValueError where it has none of them."""
    kind = cases.kind
    if kind not in snapshot.stores:
        raise ValueError(f"{name}: holds no {kind} scans")
    place = {case_id: row for row, case_id in enumerate(snapshot.catalogue.values("case_id", kind))}
    covers = np.array([case_id in place for case_id in cases.case_ids], bool) & cases.usable
    if not covers.any():
        raise ValueError(f"{name}: holds none of the cases that are evaluated")
    rows = snapshot.signatures(kind)[[place[case_id] for case_id in cases.case_ids[covers]]]
    centred = snapshot.transforms[kind].apply(np.asarray(rows))
    return VectorSpace(name, f"the index of {snapshot.manifest.fingerprint}", _spread(centred, covers), covers)


def on_the_cases_of(space: VectorSpace, other: Space) -> VectorSpace:
    """The same signatures among the cases that another space covers, to compare the two on the same queries and galleries."""
    told = f"{space.name} on the cases of “{other.name}”"
    return VectorSpace(told, told, space.rows, space.covers & other.covers)


def _spread(rows: Rows, covers: Mask) -> Rows:
    every = np.zeros((len(covers), rows.shape[1]), np.float32)
    every[covers] = rows
    return every


def _preview(snapshot: Snapshot, case_id: str) -> Rows | None:
    jpeg = snapshot.preview(case_id)
    if jpeg is None:
        return None
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if grey is None else grey.astype(np.float32) / 255
