"""What a new snapshot must stand before it is published: against itself, against the one before, against what it was given."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from index.health import kept_answers, shift
from index.numpy_store import exact_search
from index.record_loss import record_counts
from index.snapshot import ANSWERS, Snapshot, SnapshotError

RECALL_LEAST, RECALL_QUERIES, RECALL_K = 0.99, 50, 10
INTAKE_FEWEST = 30  # new scans, before anything is said of their mix
INTAKE_SHIFT = 0.3  # of shares
NEW_ASKED = 200  # of the new scans, how like the archive they are
FEWEST = (
    20  # scans that have to be missing before an archive is said to have shrunk, or offered before shares are judged
)
MIXES = ("view", "site", "scanner")
# what cohorts count, in their words: the first must not be at all, the second must not become more
UNREADABLE_RECORDS = "files that cannot be read"
WITHOUT_RECORD = ("but no clinical file", "images without a row")


class CheckError(SnapshotError):
    """A snapshot that was built whole but is not published; the message says why and which option would."""


@dataclass(frozen=True)
class Limits:
    """How far a build may go before somebody has to look."""

    max_rejected: float = 0.2  # share of what was offered
    max_shrink: float = 0.1  # share of the cases before, excluded and purged ones apart
    allow_shrink: bool = False
    max_drift: float = 0.2  # share of known answers that are others now
    allow_drift: bool = False
    max_lost_records: float = 0.1  # share of the scans, among those of both snapshots, with an outcome on record
    allow_lost_records: bool = False


@dataclass(frozen=True)
class Checked:
    """Figures for the manifest, and what is worth a look."""

    figures: Mapping[str, float]
    warnings: tuple[str, ...]


def check_counts(
    *, indexed: int, rejected: Mapping[str, int], seen: int, before: int, excused: int, limits: Limits
) -> None:
    """`rejected`: reason -> how many. `excused` cases of the snapshot before are gone because they were excluded.

    Raises `CheckError`.
    """
    lost_to = sum(rejected.values())
    if seen >= FEWEST and lost_to / seen > limits.max_rejected:
        raise CheckError(
            f"{lost_to:,} of {seen:,} scans were rejected, more than {limits.max_rejected:.0%} ({in_words(rejected)}); nothing was "
            "published. If the reasons are right, raise --max-rejected"
        )
    lost = before - excused - indexed
    if not limits.allow_shrink and lost >= FEWEST and lost / before > limits.max_shrink:
        raise CheckError(
            f"the archive has shrunk from {before:,} to {indexed:,} scans; nothing was published. Is a folder missing or a "
            "disk not mounted? If they were withdrawn, build with --allow-shrink"
        )


def in_words(reasons: Mapping[str, int]) -> str:
    """ "damaged-file 12, no-pixels 3": the most frequent first."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(reasons.items(), key=lambda one: -one[1]))


def check_against_previous(new: Snapshot, previous: Snapshot | None, limits: Limits) -> Checked:
    """Recall against exact search, outcomes that were on record and answers known from the snapshot before, and the mix of what
    is new. Raises `CheckError`.
    """
    figures: dict[str, float] = {}
    warnings: list[str] = list(_lost_records(new, previous, limits)) if previous else []
    for kind in new.stores:
        figures[f"{kind}_recall"] = _recall(new, kind)
        if figures[f"{kind}_recall"] < RECALL_LEAST:
            raise CheckError(
                f"{kind}: the store {new.manifest.store!r} finds {figures[f'{kind}_recall']:.1%} of the {RECALL_K} true "
                f"neighbours; expected at least {RECALL_LEAST:.0%}; nothing was published"
            )
        if previous is None or kind not in previous.manifest.cases:
            continue
        told = _compared(new, previous, kind, limits)
        figures |= told.figures
        warnings += told.warnings
    return Checked(figures, tuple(warnings))


def doubts_of_counts(counts: Mapping[str, int], before: Mapping[str, int] | None) -> tuple[str, ...]:
    """What of the cohorts' own counts is worth a look; `before`: those of the last snapshot, None where there is none."""
    doubts = []
    for what, count in counts.items():
        if what.endswith(UNREADABLE_RECORDS) and count:
            doubts.append(f"{count:,} {what}: whatever they record is missing from the index")
        was = count if before is None else before.get(what, 0)
        if any(words in what for words in WITHOUT_RECORD) and count > was:
            doubts.append(f"{count:,} {what}, {count - was:,} more than with the last snapshot")
    return tuple(doubts)


def _lost_records(new: Snapshot, previous: Snapshot, limits: Limits) -> tuple[str, ...]:
    """What is worth a look. Raises `CheckError` where too much is lost; of single clinical columns large losses are told only."""
    refused: list[str] = []
    told: list[str] = []
    for found in record_counts(new.catalogue, previous.catalogue):
        lost = found.before - found.still
        is_large = lost >= FEWEST and lost / found.before > limits.max_lost_records
        if lost and (is_large or not found.is_column):
            (refused if is_large and not found.is_column else told).append(str(found))
    if refused and not limits.allow_lost_records:
        raise CheckError(
            f"{'; '.join(refused)}; nothing was published. Are the clinical files or the table there, whole and readable? If the "
            "records were withdrawn, build with --allow-lost-records"
        )
    return (*refused, *told)


def _compared(new: Snapshot, previous: Snapshot, kind: str, limits: Limits) -> Checked:
    figures: dict[str, float] = {}
    warnings: list[str] = []
    ids = new.catalogue.values("case_id", kind).tolist()
    store, vectors = new.stores[kind], partial(new.centred, kind)
    before = set(previous.catalogue.values("case_id", kind))
    if previous.manifest.fingerprint == new.manifest.fingerprint:
        answers = json.loads(previous.checked(ANSWERS).read_bytes()).get(kind, [])
        kept, asked = kept_answers(answers, store, vectors, new.catalogue.people(kind), ids, before)
        figures[f"{kind}_known_answers_kept"] = kept
        if kept < 1 - limits.max_drift:
            said = f"{kind}: only {kept:.0%} of {asked} known neighbours are found again"
            if not limits.allow_drift:
                raise CheckError(
                    f"{said}; nothing was published. Has the archive changed that much? Then build with --allow-drift"
                )
            warnings.append(said)
    is_new = np.array([case_id not in before for case_id in ids], bool)
    if is_new.sum() >= INTAKE_FEWEST:
        for name in MIXES:
            values = new.catalogue.values(name, kind)
            moved = shift(list(values[is_new]), list(values[~is_new]))
            figures[f"{kind}_new_{name}_shift"] = moved
            if moved > INTAKE_SHIFT:
                warnings.append(
                    f"{kind}: the {is_new.sum():,} new scans differ in their mix of {name}s ({moved:.0%} moved)"
                )
        nearest = _nearest_of(new, kind, is_new)
        figures[f"{kind}_new_similarity"] = nearest
        likeness = new.manifest.likeness.get(kind)
        if likeness and nearest < likeness[5]:
            warnings.append(
                f"{kind}: new scans are unlike the archive: their median similarity to it is {nearest:.2f}, below what 95 % of "
                "archived scans have"
            )
    return Checked(figures, tuple(warnings))


def _recall(snapshot: Snapshot, kind: str) -> float:
    """Recall at 10 of the store against the NumPy oracle, on cases spread over the archive."""
    store = snapshot.stores[kind]
    k = min(RECALL_K, store.count)
    asked = np.unique(np.linspace(0, store.count - 1, min(RECALL_QUERIES, store.count)).astype(np.int64))
    queries = snapshot.centred(kind, asked)
    _, found = store.search(queries, k=k)
    true = exact_search(map(snapshot.transforms[kind].apply, snapshot.signature_blocks(kind)), queries, k=k)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), true.tolist(), strict=True)]))


def _nearest_of(new: Snapshot, kind: str, is_new: npt.NDArray[np.bool_]) -> float:
    """The median, over new rows, of the similarity to the nearest old one. By matrix products: a store that searches among allowed
    rows takes ten times as long for so many questions.
    """
    queries = new.centred(kind, np.flatnonzero(is_new)[:NEW_ASKED]).T
    nearest, first = np.full(queries.shape[1], -np.inf), 0
    for block in new.signature_blocks(kind):
        old = ~is_new[first : first + len(block)]
        if old.any():
            nearest = np.maximum(nearest, (new.transforms[kind].apply(block[old]) @ queries).max(axis=0))
        first += len(block)
    return float(np.median(nearest)) if np.isfinite(nearest).all() else 1.0
