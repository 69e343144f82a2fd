"""What a new snapshot must stand before it is published: against itself, against the one before, against what it was given."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from index.health import kept_answers, shift
from index.numpy_store import NumpyStore
from index.snapshot import ANSWERS, Snapshot, SnapshotError
from index.store import Rows

RECALL_LEAST, RECALL_QUERIES, RECALL_K = 0.99, 50, 10
INTAKE_FEWEST = 30  # new scans, before anything is said of their mix
INTAKE_SHIFT = 0.3  # of shares
FEWEST = (
    20  # scans that have to be missing before an archive is said to have shrunk, or offered before shares are judged
)
MIXES = ("view", "site", "scanner")


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


@dataclass(frozen=True)
class Checked:
    """Figures for the manifest, and what is worth a look."""

    figures: Mapping[str, float]
    warnings: tuple[str, ...]


def check_counts(*, indexed: int, rejected: int, seen: int, before: int, excused: int, limits: Limits) -> None:
    """`excused` cases of the snapshot before are gone because they were excluded. Raises `CheckError`."""
    if seen >= FEWEST and rejected / seen > limits.max_rejected:
        raise CheckError(
            f"{rejected:,} of {seen:,} scans were rejected, more than {limits.max_rejected:.0%}; nothing was published. Look "
            "at the reasons (--json, or the morning report); if they are right, raise --max-rejected"
        )
    lost = before - excused - indexed
    if not limits.allow_shrink and lost >= FEWEST and lost / before > limits.max_shrink:
        raise CheckError(
            f"the archive has shrunk from {before:,} to {indexed:,} scans; nothing was published. Is a folder missing or a "
            "disk not mounted? If they were withdrawn, build with --allow-shrink"
        )


def check_against_previous(new: Snapshot, previous: Snapshot | None, limits: Limits) -> Checked:
    """Recall against exact search, answers known from the snapshot before, and the mix of what is new. Raises `CheckError`."""
    figures: dict[str, float] = {}
    warnings: list[str] = []
    for kind, store in new.stores.items():
        rows = new.transforms[kind].apply(np.asarray(new.signatures(kind)))
        figures[f"{kind}_recall"] = _recall(new, kind, rows)
        if figures[f"{kind}_recall"] < RECALL_LEAST:
            raise CheckError(
                f"{kind}: the store {new.manifest.store!r} finds {figures[f'{kind}_recall']:.1%} of the {RECALL_K} true "
                f"neighbours; expected at least {RECALL_LEAST:.0%}; nothing was published"
            )
        if previous is None or kind not in previous.manifest.cases:
            continue
        told = _compared(new, previous, kind, rows, limits)
        figures |= told.figures
        warnings += told.warnings
        del rows, store
    return Checked(figures, tuple(warnings))


def _compared(new: Snapshot, previous: Snapshot, kind: str, rows: Rows, limits: Limits) -> Checked:
    figures: dict[str, float] = {}
    warnings: list[str] = []
    ids = list(new.catalogue.values("case_id", kind))
    before = set(previous.catalogue.values("case_id", kind))
    if previous.manifest.fingerprint == new.manifest.fingerprint:
        answers = json.loads(previous.checked(ANSWERS).read_bytes()).get(kind, [])
        kept, asked = kept_answers(answers, rows, new.catalogue.people(kind), ids, before)
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
        nearest = _nearest_of(rows, is_new)
        figures[f"{kind}_new_similarity"] = nearest
        likeness = new.manifest.likeness.get(kind)
        if likeness and nearest < likeness[5]:
            warnings.append(
                f"{kind}: new scans are unlike the archive: their median similarity to it is {nearest:.2f}, below what 95 % of "
                "archived scans have"
            )
    return Checked(figures, tuple(warnings))


def _recall(snapshot: Snapshot, kind: str, rows: Rows) -> float:
    """Recall at 10 of the store against the NumPy oracle, on cases spread over the archive."""
    k = min(RECALL_K, len(rows))
    asked = np.unique(np.linspace(0, len(rows) - 1, min(RECALL_QUERIES, len(rows))).astype(np.int64))
    _, found = snapshot.stores[kind].search(rows[asked], k=k)
    _, true = NumpyStore.build(rows).search(rows[asked], k=k)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), true.tolist(), strict=True)]))


def _nearest_of(rows: Rows, is_new: np.ndarray) -> float:
    """The median, over new rows, of the similarity to the nearest old one."""
    old, asked = rows[~is_new], rows[is_new][:200]
    if not len(old):
        return 1.0
    return float(np.median([float((old @ query).max()) for query in asked]))
