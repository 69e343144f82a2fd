"""Scans of a study -> what is known of each query, or why it cannot be asked; read by worker processes and signed in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Self

import numpy as np

from embed.read import ReadAnswer, ReadRequest, read_request
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from index.case import Case
from index.local_copies import LocalCopies, LocalCopy
from index.store import Rows
from search.archive import Archive, Mask
from search.concentration import NOT_RECORDED
from search.engine import SearchEngine
from search.nearest import Codes
from search.study_queries import Unasked

BATCH = 32  # scans read and signed at a time: what a kill can cost


@dataclass(frozen=True, eq=False)
class Signed:
    """A scan that can be asked: `case` completed by what the file says, its own persons, and its signature (d,), centred."""

    case: Case
    own: Codes  # persons of the archive that are its patient, or hold its picture or a near copy
    signature: Rows
    file_hash: str


class ScanReader:
    """Reads and signs the scans of one kind. Use it in `with`."""

    def __init__(self, engine: SearchEngine, kind: str, hidden: Mask, *, workers: int) -> None:
        """`hidden` (n,): rows of withdrawn patients, of whom nothing is taken over."""
        self._engine, self._kind, self._hidden = engine, kind, hidden
        self._copies = LocalCopies()
        self._workers: IsolatedWorkers[ReadRequest, ReadAnswer] = IsolatedWorkers(read_request, workers=workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()
        self._copies.close()

    def iter_batches(self, batches: Sequence[Sequence[Case]]) -> Iterator[list[Signed | Unasked]]:
        """What each batch of cases gives, in their order; scans of the next are read meanwhile."""
        read = self._iter_reads([case for batch in batches for case in batch])
        for batch in batches:
            yield self._signed([next(read) for _ in batch])

    def _iter_reads(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Scan] | Unasked]:
        copies, returned = tee(self._copies.of(cases))
        side = self._engine.encoder.side
        answers = self._workers.map(ReadRequest(copy.paths, side) for copy in copies if not copy.error)
        for copy in returned:
            if copy.error:
                yield Unasked(
                    copy.case.case_id, "unreachable", f"could not be fetched ({copy.error}); run the study again"
                )
            else:
                yield self._read(copy, next(answers))

    def _read(self, copy: LocalCopy, answer: ReadAnswer | ScanError) -> tuple[Case, Scan] | Unasked:
        copy.remove()
        name = copy.case.case_id
        if isinstance(answer, ScanError):
            return Unasked(name, answer.reason, str(answer))
        if answer.scan.kind != self._kind:
            return Unasked(
                name, "other-kind", f"it is a scan of the kind {answer.scan.kind}; the study asks {self._kind}"
            )
        return copy.case, answer.scan

    def _signed(self, read: Sequence[tuple[Case, Scan] | Unasked]) -> list[Signed | Unasked]:
        scans = [one[1] for one in read if not isinstance(one, Unasked)]
        transform = self._engine.snapshot.transforms[self._kind]
        signatures = iter(transform.apply(self._engine.encoder.encode(scans)) if scans else ())
        archive = self._engine.archives[self._kind]
        return [
            one if isinstance(one, Unasked) else _signed(*one, archive, self._hidden, next(signatures)) for one in read
        ]


def _signed(case: Case, scan: Scan, archive: Archive, hidden: Mask, signature: Rows) -> Signed:
    """Whose it is as `SearchEngine.query` finds it: by name, by the very picture, and by a film that looks like a copy."""
    header = scan.header
    names = [name for name in (case.patient_id, header.patient_id) if name]
    itself = archive.same_picture(scan) | (archive.case_ids == header.instance_uid)
    own = np.isin(archive.patient_ids, names) | itself | archive.copies_of(scan)
    seen = np.flatnonzero(itself & ~hidden)
    view, site = case.view or (str(scan.view) if scan.view else None), case.site
    for row in seen[:1]:
        view = view or archive.views[row]
        code = archive.sites.codes[row]
        site = site or (archive.sites.names[code] if code != NOT_RECORDED else None)
    completed = replace(
        case,
        patient_id=case.patient_id or header.patient_id or "",
        view=view,
        site=site,
        scan_date=case.scan_date or header.scan_date,
        age_years=case.age_years if case.age_years is not None else header.age_years,
        sex=case.sex or header.sex,
    )
    return Signed(completed, np.unique(archive.patients[own]), signature, scan.provenance.file_hash)
