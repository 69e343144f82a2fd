"""The engine: scans in, an answer out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.encoder import Encoder, EncoderError, load_encoder
from embed.scan import Flag, Scan
from index.case import Case
from index.denied import LiveDenyList
from index.snapshot import Snapshot, SnapshotError, open_current
from index.store import PADDING, RowNumbers, Rows
from search import warnings
from search.answer import DEFAULT_K, Answer, Question, QuestionError
from search.archive import Archive, Mask
from search.concentration import NOT_RECORDED, Concentration, concentration
from search.denied import DeniedRows, DenyList
from search.likeness import likeness_of
from search.nearest import NOBODY, nearest_patients
from search.neighbour import Neighbour
from search.outcomes import summarise


@dataclass(frozen=True, eq=False)
class Query:
    """What is known of the scans, or of the archived case, that an answer is sought for."""

    kind: str
    signatures: Rows  # (q, d), centred
    views: tuple[str | None, ...]  # (q,)
    itself: Mask  # which rows hold it (n,)
    own: Mask  # which rows are of its own patient, known by name or by the very picture
    copies: Mask  # which rows of other patients look like copies of it
    unnamed: Mask  # which rows hold it or a copy of it, of a patient who was not named
    archived: bool  # the very picture is among them
    people: int  # patients that the headers name
    age_years: float | None
    flags: tuple[Flag, ...]
    scans: tuple[Scan, ...] = ()
    case: Case | None = None


class SearchEngine:
    """Answers questions over one opened snapshot. Holds nothing of a question once it is answered; safe for threads."""

    def __init__(self, snapshot: Snapshot, encoder: Encoder, *, deny_list: DenyList | None = None) -> None:
        """Patients whom `deny_list` covers, now or later, are left out of everything.

        Raises `SnapshotError` if another encoder built the index: its vectors would be compared with strangers.
        """
        if encoder.fingerprint != snapshot.manifest.fingerprint:
            raise SnapshotError(
                f"the index was built by {snapshot.manifest.fingerprint}, the encoder here is {encoder.fingerprint}; "
                "rebuild the index or use the encoder that built it"
            )
        self.snapshot = snapshot
        self.encoder = encoder
        self.archives = {kind: Archive(snapshot.catalogue, kind) for kind in snapshot.stores}
        self._denied = DeniedRows(self.archives, deny_list)

    @classmethod
    def open(cls, index: Path, *, encoder_name: str | None = None, deny_list: DenyList | None = None) -> "SearchEngine":
        """The engine of an index folder, with the encoder that built it; the folder's own deny-list holds unless another is given.

        Raises `SnapshotError`, `EncoderError` or `DenyListError`.
        """
        snapshot = open_current(index)
        try:
            encoder = load_encoder(encoder_name or snapshot.manifest.encoder)
        except EncoderError as error:
            if encoder_name:
                raise
            raise EncoderError(f"{error}; it built the index: say with --encoder where it lies now") from error
        return cls(snapshot, encoder, deny_list=deny_list or LiveDenyList(index))

    def query(self, scans: Sequence[Scan], question: Question = Question()) -> Answer:
        """The answer to scans of one patient, asked together: a case counts by its best similarity to any of them.

        Raises `QuestionError` or `FilterError`.
        """
        kind = self._kind(scans)
        archive, hidden = self.archives[kind], self._denied.rows(kind)
        self._wanted(question.k, kind)
        named = _named_rows(scans, question, archive, hidden)
        itself = np.any([archive.same_picture(s) | (archive.case_ids == s.header.instance_uid) for s in scans], axis=0)
        own = archive.of_patients(archive.patients[named | itself])
        copies = np.any([archive.copies_of(scan) for scan in scans], axis=0) & ~(own | hidden)
        unnamed = itself & ~archive.of_patients(archive.patients[named]) & ~hidden
        query = Query(
            kind,
            self.snapshot.transforms[kind].apply(self.encoder.encode(scans)),
            tuple(_view(scan, archive, hidden) for scan in scans),
            itself & ~hidden,
            own,
            copies,
            unnamed=unnamed | copies,
            archived=bool(unnamed.any()),
            people=len({scan.header.patient_id for scan in scans} - {None}),
            age_years=min((s.header.age_years for s in scans if s.header.age_years is not None), default=None),
            flags=tuple(flag for scan in scans for flag in scan.provenance.flags),
            scans=tuple(scans),
        )
        return self._answer(query, question, hidden)

    def query_case(self, case_id: str, question: Question = Question()) -> Answer:
        """The answer to an archived case: patients other than its own that look like it. With `include_own` also its own
        patient's other cases, never itself. Raises `QuestionError`, `FilterError` or `SnapshotError`.
        """
        kind, row = self._place(case_id)
        archive, hidden = self.archives[kind], self._denied.rows(kind)
        case = self.snapshot.catalogue.case(kind, row)
        itself = np.arange(len(archive.patients)) == row
        query = Query(
            kind,
            self.snapshot.centred(kind, np.array([row])),
            (case.view,),
            itself,
            archive.of_patients([archive.patients[row]]),
            np.zeros_like(itself),
            unnamed=np.zeros_like(itself),
            archived=False,
            people=1,
            age_years=case.age_years,
            flags=tuple(Flag(code, f"it was flagged {code!r} when it was read") for code in archive.flags[row]),
            case=case,
        )
        return self._answer(query, question, hidden)

    def rows_where(self, kind: str, where: str | None) -> Mask:
        """Which rows of `kind` a condition allows, denied patients left out (n,). Raises `FilterError`."""
        allowed = ~self._denied.rows(kind)
        if where is not None:
            found = np.zeros(len(allowed), bool)
            found[self.snapshot.catalogue.where(where, kind)] = True
            allowed &= found
        return allowed

    def _answer(self, query: Query, question: Question, hidden: Mask) -> Answer:
        kind, archive, catalogue = query.kind, self.archives[query.kind], self.snapshot.catalogue
        k = self._wanted(question.k, kind)
        sites = _sites_left_out(query, question, archive)
        strangers = ~(hidden | query.own | archive.of_patients(archive.patients[query.copies]))
        own_pictures = [] if question.include_own else np.flatnonzero(query.unnamed).tolist()
        if question.own_from is not None and not question.include_own:
            found_own = self._own_by_likeness(query, strangers, question.own_from)
            own_pictures += found_own
            strangers &= ~archive.of_patients(archive.patients[found_own])
        base = self.rows_where(kind, question.where)
        base &= ~query.itself | (query.case is None) if question.include_own else strangers
        if sites:
            base &= ~_of_sites(archive, sites)
        matched = [base & archive.of_view(view) if question.match_view and view else base for view in query.views]
        nearest, ranked = self._search(query, matched, k)
        eligible: Mask = np.any(matched, axis=0)
        likeness = likeness_of(self.snapshot.manifest, kind)
        if likeness and (question.include_own or min(nearest) < likeness.unlike):
            nearest = self._nearest_strangers(query, strangers)
        neighbours = tuple(
            Neighbour(
                rank, similarity, catalogue.case(kind, row), likeness.percentile(similarity) if likeness else None
            )
            for rank, (similarity, row) in enumerate(ranked, start=1)
        )
        found = [neighbour.case.outcome for neighbour in neighbours]
        outcomes = {e.name: summarise(found, e, archive.rate(e.name, eligible)) for e in catalogue.endpoints}
        shown = np.array([row for _, row in ranked], np.int64)
        patients = archive.one_row_a_patient(eligible, shown)
        concentrations = _concentrations(archive, shown, patients)
        told = [
            *warnings.of_flags(query.flags),
            *warnings.of_identity(
                people=query.people, archived=query.archived, copies=int(query.copies.sum()), include_own=question.include_own
            ),
            *warnings.of_likeness(
                nearest, [n for n, row in zip(neighbours, shown, strict=True) if strangers[row]], likeness, len(archive.patients)
            ),
            *warnings.of_views(kind, query.views, neighbours),
            *warnings.of_age(query.age_years, archive.ages_years[patients]),
            *warnings.of_concentration(concentrations),
            *warnings.of_outcomes(neighbours, outcomes.values(), wanted=k),
        ]  # fmt: skip
        return Answer(
            snapshot=self.snapshot.manifest.name,
            kind=kind,
            scans=query.scans,
            case=query.case,
            views=query.views,
            sites_left_out=sites,
            own_pictures=tuple(map(str, archive.case_ids[own_pictures])),
            eligible=int(eligible.sum()),
            neighbours=neighbours,
            outcomes=outcomes,
            concentrations=concentrations,
            warnings=tuple(told),
        )

    def _search(self, query: Query, matched: Sequence[Mask], k: int) -> tuple[list[float], list[tuple[float, int]]]:
        """(each signature's highest similarity, −inf where nothing is eligible; the `k` best patients' similarity and row)."""
        patients, store = self.archives[query.kind].patients, self.snapshot.stores[query.kind]
        nearest = []
        best: dict[int, tuple[float, int]] = {}  # patient -> (−similarity, row): smaller is better, ties by row
        for signature, allowed in zip(query.signatures, matched, strict=True):
            similarities, rows = nearest_patients(
                store, signature[None], k=k, patients=patients, own=np.array([NOBODY]), allowed=np.flatnonzero(allowed)
            )
            found = [(float(s), int(row)) for s, row in zip(similarities[0], rows[0], strict=True) if row != PADDING]
            nearest.append(found[0][0] if found else -np.inf)
            for similarity, row in found:
                patient = int(patients[row])
                best[patient] = min(best.get(patient, (np.inf, 0)), (-similarity, row))
        return nearest, [(-negative, row) for negative, row in sorted(best.values())[:k]]

    def _own_by_likeness(self, query: Query, strangers: Mask, own_from: float) -> list[int]:
        """The rows at or above a similarity, one of each patient. Whatever the question leaves out: a filter that hides the very picture must
        not bring its patient's others back.
        """
        archive, left, found = self.archives[query.kind], strangers, list[int]()
        while True:
            _, ranked = self._search(query, [left] * len(query.signatures), DEFAULT_K)
            rows = [row for similarity, row in ranked if similarity >= own_from]
            if not rows:
                return found
            found += rows
            left = left & ~archive.of_patients(archive.patients[rows])

    def _nearest_strangers(self, query: Query, strangers: Mask) -> list[float]:
        """Each signature's highest similarity to any case of another patient, as the archive's likeness was measured."""
        nearest, _ = self._search(query, [strangers] * len(query.signatures), 1)
        return [similarity for similarity in nearest if np.isfinite(similarity)]

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

    def _place(self, case_id: str) -> tuple[str, int]:
        """(kind, row) of a case. Raises `QuestionError`; of a denied patient's case too, as if it were not there."""
        for kind, archive in self.archives.items():
            row = archive.row_of(case_id)
            if row is not None and not self._denied.rows(kind)[row]:
                return kind, row
        raise QuestionError(f"no case of the index is called {case_id!r}")

    def _wanted(self, k: int | None, kind: str) -> int:
        patients = self.archives[kind].patient_count
        if k is None:
            return min(DEFAULT_K, patients)
        if k < 1:
            raise QuestionError(f"k is {k}; ask for at least 1 patient")
        if k > patients:
            raise QuestionError(
                f"k is {k}, but the index holds {kind} scans of {patients} patients; ask for at most that many"
            )
        return k


def _named_rows(scans: Sequence[Scan], question: Question, archive: Archive, hidden: Mask) -> Mask:
    """Which rows are of the patients that the question or the scans' headers name (n,). Raises `QuestionError`."""
    if question.patient_id is not None and question.patient_id not in archive.patient_ids[~hidden]:
        raise QuestionError(f"no case of the index is of the patient {question.patient_id!r}; mind capitals and spaces")
    names = {question.patient_id, *(scan.header.patient_id for scan in scans)} - {None}
    return np.isin(archive.patient_ids, [str(name) for name in names])


def _view(scan: Scan, archive: Archive, hidden: Mask) -> str | None:
    """The scan's view; where the file is silent but is archived, the archive's."""
    if scan.view:
        return str(scan.view)
    same = archive.views[archive.same_picture(scan) & ~hidden]
    return str(same[0]) if len(same) and same[0] else None


def _sites_left_out(query: Query, question: Question, archive: Archive) -> tuple[str, ...]:
    """The query's own sites, by name, where the question leaves them out. Raises `QuestionError`."""
    if not question.other_sites:
        return ()
    for site in question.sites:
        if site not in archive.sites.names:
            raise QuestionError(f"no case of the index is of the site {site!r}; mind capitals and spaces")
    own = {archive.sites.names[code] for code in archive.sites.codes[query.itself] if code != NOT_RECORDED}
    if not own and not question.sites:
        raise QuestionError(
            "which site is the query's own is not known, so it cannot be left out; name it with --site, as the archive calls it"
        )
    return tuple(sorted(own.union(question.sites)))


def _of_sites(archive: Archive, sites: Sequence[str]) -> Mask:
    """Which rows are of the named sites, or of an unknown one (n,)."""
    return np.isin(archive.sites.codes, [NOT_RECORDED, *(archive.sites.names.index(site) for site in sites)])


def _concentrations(archive: Archive, shown: RowNumbers, patients: RowNumbers) -> tuple[Concentration, ...]:
    """Of site and of scanner, where any neighbour's is recorded; `patients`: one row for each eligible patient."""
    found = [
        concentration(attribute, groups, shown, patients)
        for attribute, groups in (("site", archive.sites), ("scanner", archive.scanners))
    ]
    return tuple(one for one in found if one is not None)
