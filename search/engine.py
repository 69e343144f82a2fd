"""The engine: scans in, an answer out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embed.copies import KnownPictures
from embed.encoder import Encoder, EncoderError, load_encoder
from embed.scan import Scan
from index.case import Endpoint, State
from index.catalogue import Catalogue
from index.snapshot import Snapshot, SnapshotError, open_current
from index.store import PADDING, RowNumbers
from search.answer import DEFAULT_K, Answer, Question, QuestionError
from search.nearest import NOBODY, Codes, nearest_patients
from search.neighbour import Neighbour
from search.outcomes import FEWEST_KNOWN, Rate, patient_state, rate_of, summarise


class Archive:
    """The columns of one kind of case that every search needs, as arrays in the order of the rows.

    `patients` numbers the people: two pseudonyms with the very same picture are one person, who has one vote and is
    left out of their own answer under either name.
    """

    def __init__(self, catalogue: Catalogue, kind: str) -> None:
        self.case_ids = catalogue.values("case_id", kind)
        self.views = catalogue.values("view", kind)
        self.patient_ids = catalogue.values("patient_id", kind)
        self.file_hashes = catalogue.values("file_hash", kind)
        self.pixel_hashes = catalogue.values("pixel_hash", kind)
        self._pictures = KnownPictures(list(catalogue.values("perceptual_hash", kind))) if kind == "xray" else None
        names = np.char.add(
            np.char.add(catalogue.values("cohort", kind).astype(str), "\n"), self.patient_ids.astype(str)
        )
        pseudonyms = np.unique(names, return_inverse=True)[1].astype(np.int64)
        self.patients: Codes = _same_person(pseudonyms, self.pixel_hashes)

    @property
    def patient_count(self) -> int:
        return int(self.patients.max()) + 1

    def same_picture(self, scan: Scan) -> npt.NDArray[np.bool_]:
        """Which rows hold this very file, or the same decoded pixels under another name (n,)."""
        same: npt.NDArray[np.bool_] = self.file_hashes == scan.provenance.file_hash
        return same | (self.pixel_hashes == scan.identity.exact) if scan.identity else same

    def copies_of(self, scan: Scan) -> npt.NDArray[np.bool_]:
        """Which rows hold a film that looks like a copy of this one, recompressed or cropped a little (n,).

        None of CT and MR: how near copies lie was measured on films only.
        """
        if self._pictures is None:
            return np.zeros(len(self.patients), bool)
        return self._pictures.copies_of(scan.pixels[0])

    def rows_of_view(self, view: str) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.views == view
        return found


class SearchEngine:
    """Answers questions over one opened snapshot. Holds nothing of a question once it is answered; safe for threads."""

    def __init__(self, snapshot: Snapshot, encoder: Encoder) -> None:
        """Raises `SnapshotError` if another encoder built the index: its vectors would be compared with strangers."""
        if encoder.fingerprint != snapshot.manifest.fingerprint:
            raise SnapshotError(
                f"the index was built by {snapshot.manifest.fingerprint}, the encoder here is {encoder.fingerprint}; "
                "rebuild the index or use the encoder that built it"
            )
        self.snapshot = snapshot
        self.encoder = encoder
        self.archives = {kind: Archive(snapshot.catalogue, kind) for kind in snapshot.stores}

    @classmethod
    def open(cls, index: Path, *, encoder_name: str | None = None) -> "SearchEngine":
        """The engine of an index folder, with the encoder that built it. Raises `SnapshotError` or `EncoderError`."""
        snapshot = open_current(index)
        try:
            encoder = load_encoder(encoder_name or snapshot.manifest.encoder)
        except EncoderError as error:
            if encoder_name:
                raise
            raise EncoderError(f"{error}; it built the index: say with --encoder where it lies now") from error
        return cls(snapshot, encoder)

    def query(self, scans: Sequence[Scan], question: Question = Question()) -> Answer:
        """The answer to scans of one patient, asked together: a case counts by its best similarity to any of them.

        Raises `QuestionError` or `FilterError`.
        """
        kind = self._kind(scans)
        archive, store = self.archives[kind], self.snapshot.stores[kind]
        k = self._wanted(question.k, archive, kind)
        own = self._own_patients(scans, question, archive)
        copies = _copies(scans, archive) & ~np.isin(archive.patients, own)
        base = self.rows_where(kind, question.where)
        if not question.include_own:
            base &= ~np.isin(archive.patients, [*own, *archive.patients[copies]])
        views = [self._view(scan, archive) for scan in scans]
        signatures = self.snapshot.transforms[kind].apply(self.encoder.encode(scans))
        eligible = np.zeros(len(base), bool)
        best: dict[int, tuple[float, int]] = {}  # patient -> (−similarity, row): smaller is better, ties by row
        for signature, view in zip(signatures, views, strict=True):
            allowed = base & archive.rows_of_view(view) if question.match_view and view else base
            eligible |= allowed
            similarities, rows = nearest_patients(
                store,
                signature[None],
                k=k,
                patients=archive.patients,
                own=np.array([NOBODY]),
                allowed=np.flatnonzero(allowed),
            )
            for similarity, row in zip(similarities[0], rows[0], strict=True):
                if row != PADDING:
                    patient = int(archive.patients[row])
                    best[patient] = min(best.get(patient, (np.inf, 0)), (-float(similarity), int(row)))
        ranked = sorted(best.values())[:k]
        neighbours = tuple(
            Neighbour(rank, -negative, self.snapshot.catalogue.case(kind, row))
            for rank, (negative, row) in enumerate(ranked, start=1)
        )
        outcomes = {
            endpoint.name: summarise(
                [n.case.outcome for n in neighbours], endpoint, self.archive_rate(kind, endpoint, eligible)
            )
            for endpoint in self.snapshot.manifest.endpoints
        }
        answer = Answer(
            self.snapshot.manifest.name, tuple(scans), tuple(views), int(eligible.sum()), neighbours, outcomes, ()
        )
        return Answer(**(vars(answer) | {"warnings": tuple(_warnings(answer, question, k, copies=int(copies.sum())))}))

    def rows_where(self, kind: str, where: str | None) -> npt.NDArray[np.bool_]:
        """Which rows of `kind` a condition allows (n,). Raises `FilterError`."""
        count = self.snapshot.stores[kind].count
        if where is None:
            return np.ones(count, bool)
        allowed = np.zeros(count, bool)
        allowed[self.snapshot.catalogue.where(where, kind)] = True
        return allowed

    def archive_rate(self, kind: str, endpoint: Endpoint, eligible: npt.NDArray[np.bool_]) -> Rate:
        """The rate among the eligible archive's patients, one vote each."""
        states = self.snapshot.catalogue.values(endpoint.name, kind)
        by_patient: dict[int, set[State]] = {}
        for row in np.flatnonzero(eligible):
            by_patient.setdefault(int(self.archives[kind].patients[row]), set()).add(State(states[row]))
        return rate_of(patient_state(found) for found in by_patient.values())

    def _kind(self, scans: Sequence[Scan]) -> str:
        if not scans:
            raise QuestionError("no scan was given; give at least one")
        kinds = {scan.kind for scan in scans}
        if len(kinds) > 1:
            raise QuestionError(
                f"scans of several kinds were given together ({', '.join(sorted(kinds))}); ask them one kind at a time"
            )
        kind = kinds.pop()
        if kind not in self.snapshot.stores:
            raise QuestionError(f"the index holds no {kind} scans, only {', '.join(self.snapshot.stores)}")
        return kind

    def _wanted(self, k: int | None, archive: Archive, kind: str) -> int:
        if k is None:
            return min(DEFAULT_K, archive.patient_count)
        if k < 1:
            raise QuestionError(f"k is {k}; ask for at least 1 patient")
        if k > archive.patient_count:
            raise QuestionError(
                f"k is {k}, but the index holds {kind} scans of {archive.patient_count} patients; ask for at most that many"
            )
        return k

    def _own_patients(self, scans: Sequence[Scan], question: Question, archive: Archive) -> RowNumbers:
        """Whose scans these are, as numbers: by the id given or in the header, or because the very picture is archived."""
        known = archive.patient_ids.astype(str)
        if question.patient_id is not None and question.patient_id not in known:
            raise QuestionError(
                f"no case of the index is of the patient {question.patient_id!r}; mind capitals and spaces"
            )
        names = {question.patient_id, *(scan.header.patient_id for scan in scans)} - {None}
        rows = np.isin(known, [str(name) for name in names])
        for scan in scans:
            rows |= archive.same_picture(scan)
            rows |= archive.case_ids == scan.header.instance_uid
        return np.unique(archive.patients[rows])

    def _view(self, scan: Scan, archive: Archive) -> str | None:
        """The scan's view; where the file is silent but is archived, the archive's."""
        if scan.view:
            return str(scan.view)
        same = archive.views[archive.same_picture(scan)]
        return str(same[0]) if len(same) and same[0] else None


def _same_person(patients: Codes, pixel_hashes: npt.NDArray[np.object_]) -> Codes:
    """`patients` (n,) renumbered so that patients who share a picture have the same number, from 0 without gaps."""
    first_owner: dict[str, int] = {}
    merged = np.arange(patients.max() + 1)
    for patient, pixels in zip(patients, pixel_hashes, strict=True):
        if pixels is None:
            continue
        one, other = merged[first_owner.setdefault(pixels, int(patient))], merged[patient]
        if one != other:
            merged[merged == other] = one
    return np.unique(merged[patients], return_inverse=True)[1].astype(np.int64)


def _copies(scans: Sequence[Scan], archive: Archive) -> npt.NDArray[np.bool_]:
    """Which rows look like a copy of any of the scans (n,)."""
    copies: npt.NDArray[np.bool_] = np.any([archive.copies_of(scan) for scan in scans], axis=0)
    return copies


def _warnings(answer: Answer, question: Question, k: int, *, copies: int) -> list[str]:
    """What the reader must doubt; `copies` counts archived films like the query, of patients not known to be its own."""
    warnings = [f"The query: {flag.message}." for scan in answer.scans for flag in scan.provenance.flags]
    people = {scan.header.patient_id for scan in answer.scans} - {None}
    if len(people) > 1:
        warnings.append(f"The scans asked together are of {len(people)} patients by their headers.")
    if copies:
        like = "1 archived film looks like a copy" if copies == 1 else f"{copies} archived films look like copies"
        left_out = "their patients are left out" if copies > 1 else "its patient is left out"
        end = "" if question.include_own else f"; {left_out}"
        warnings.append(f"{like} of the query (recompressed or cropped){end}.")
    if None in answer.views and answer.scans[0].kind == "xray":
        warnings.append(
            "The query's view is not known: neighbours of any view are shown, and AP films come from sicker patients."
        )
    if (
        not question.match_view
        and None not in answer.views
        and any(n.case.view not in answer.views for n in answer.neighbours)
    ):
        warnings.append("Some neighbours are of another view than the query.")
    if len(answer.neighbours) < k:
        warnings.append(f"Only {len(answer.neighbours)} of {k} patients: no more are eligible.")
    for summary in answer.outcomes.values():
        if summary.known < FEWEST_KNOWN:
            warnings.append(
                f"{summary.endpoint.title}: recorded for {summary.known} of {summary.asked} neighbours, too few to say anything."
            )
    return warnings
