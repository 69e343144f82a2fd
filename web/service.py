"""What the routes ask of the product: read, encode, search and look up, each step timed and audited."""

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from werkzeug.exceptions import BadRequest, Conflict, Gone, NotFound

from embed.asked import BytesRequest, FileRequest, Frames, ReadAnswer
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from index.archive_files import is_remote
from index.case import Case
from index.snapshot import SnapshotError
from search.answer import Question
from search.concentration import NOT_RECORDED
from web import problems
from web.audit import AuditLog
from web.config import Config
from web.held import Failure, HeldQueries, HeldQuery
from web.lightbox import Lightbox
from web.live import LOOK_SECONDS, LiveIndex, Opened
from web.present import Reader, answer_document
from web.principal import Principal, Role
from web.question import Given, question_of
from web.refs import CaseRef, parse
from web.stages import Stages

DECODER = "embed.frames:answer"  # by name, so that no decoder is loaded here
THREADS = 4  # queries worked on at a time that nobody waits for
OVER = "this question is over: scans are held for a few minutes only, and not too many at a time; send it again"
log = logging.getLogger("likewise.service")

Workers = IsolatedWorkers[FileRequest | BytesRequest, Frames | ReadAnswer]


@dataclass(eq=False)
class Running:
    """What lives in one process: nothing of it would survive a fork."""

    live: LiveIndex
    readers: Workers  # of uploads
    decoders: Workers  # for viewers: a large CT must not keep a film waiting
    pool: ThreadPoolExecutor
    tidying: ThreadPoolExecutor  # one thread: where all is busy it may take its time
    pid: int = field(default_factory=os.getpid)
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, eq=False)
class Shown:
    """An answer as its reader sees it, and what the audit has to know of it."""

    document: dict[str, Any]
    opened: Opened
    cases: tuple[str, ...]  # the `case_id`s of the neighbours shown
    withheld: tuple[str, ...]  # and of those that are the query's own picture, by all likelihood


class Service:
    """One an app. It starts at the first need and so after any fork, or by `start`. Safe for threads."""

    def __init__(self, config: Config, audit: AuditLog) -> None:
        self.config = config
        self.stages = Stages()
        self.lightbox = Lightbox()
        self.held = HeldQueries(minutes=config.query_minutes, count=config.queries_held)
        self._audit = audit
        self._lock = threading.Lock()
        self._running: Running | None = None

    def start(self) -> Running:
        """Open the index and start the decoders, once a process. Raises `SnapshotError`, `EncoderError` or `DenyListError`."""
        running = self._running
        if running is not None and running.pid == os.getpid():
            return running
        with self._lock:
            if self._running is None or self._running.pid != os.getpid():
                live = LiveIndex(self.config.index, self.config.secret_key)
                readers: Workers = IsolatedWorkers(DECODER, workers=max(2, os.cpu_count() or 1))
                decoders: Workers = IsolatedWorkers(DECODER, workers=1)
                self._running = Running(live, readers, decoders, ThreadPoolExecutor(THREADS), ThreadPoolExecutor(1))
                threading.Thread(target=self._tend, args=[self._running], daemon=True).start()
            return self._running

    @property
    def live(self) -> LiveIndex:
        return self.start().live

    def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.ended.set()
            for pool in (running.pool, running.tidying):
                pool.shutdown(wait=False, cancel_futures=True)
            running.readers.close()
            running.decoders.close()

    def figures(self) -> dict[str, float]:
        """As `stages.FIGURES` names them."""
        queries, upload_bytes = self.held.count_and_bytes()
        return {
            "index_scans": sum(self.live.current().engine.snapshot.manifest.cases.values()),
            "index_stale": self.live.is_stale,
            "queries_held": queries,
            "upload_bytes_held": upload_bytes,
            "frame_bytes_held": self.lightbox.bytes_kept(),
        }

    # --- queries

    def ask(self, query: HeldQuery, principal: Principal) -> dict[str, Any]:
        """The first answer to a query, which is held from now on unless it fails. Raises whatever is wrong with it."""
        self.held.add(query)
        try:
            return self._work(query, principal, None)
        except BaseException:
            self.held.drop(query)
            raise

    def begin(self, query: HeldQuery, principal: Principal, request_id: str) -> None:
        """Hold a query and work on it meanwhile; how it goes stands in its `state`, and in its `failure`."""
        self.held.add(query)
        self.start().pool.submit(self._work_alone, query, principal, request_id)

    def again(self, query: HeldQuery, given: Given, principal: Principal) -> dict[str, Any]:
        """The answer now, to the question as it was asked but for what is `given`. Raises whatever is wrong with it."""
        shown = self._answered(query, {**query.asked, **given}, principal)
        if given or shown.opened.name != query.snapshot_seen:
            self._recorded("rerun", query, shown, {**query.asked, **given})
        return shown.document

    def reader(self, opened: Opened, principal: Principal) -> Reader:
        return Reader(opened, self.config.secret_key, Role.RESEARCHER in principal.roles)

    def query_preview(self, query: HeldQuery) -> bytes:
        """Raises `NotFound` while there is none, and `Gone` for a case that was withdrawn."""
        if query.case is not None:
            self._require_visible(query.case.case_id)
        _require_not_failed(query)
        if not query.preview:
            raise NotFound("there is no picture of it yet")
        return query.preview

    def query_frames(self, query: HeldQuery) -> Frames:
        """Raises `Gone`, `NotFound`, `Conflict` or `ScanError`."""
        if query.case is not None:
            return self.case_frames(*self._require_visible(query.case.case_id))
        _require_not_failed(query)
        if query.state == "reading":
            raise NotFound("there are no pictures of it yet")
        return self._frames_kept(query)

    # --- cases

    def case(self, token: str) -> tuple[Opened, CaseRef, Case]:
        """Raises `NotFound`, or `Gone` for a case of a snapshot that is served no more, or of somebody withdrawn."""
        ref = parse(token, self.config.secret_key)
        if ref is None:
            raise NotFound("no such case")
        opened = self.live.named(ref.snapshot)
        if opened is None:
            raise Gone("the index has been renewed since; ask again")
        catalogue = opened.engine.snapshot.catalogue
        if ref.kind not in opened.engine.archives or not 0 <= ref.row < catalogue.count(ref.kind):
            raise NotFound("no such case")
        if not opened.engine.rows_where(ref.kind, None)[ref.row]:
            raise Gone("this case has been withdrawn")
        return opened, ref, catalogue.case(ref.kind, ref.row)

    def case_preview(self, opened: Opened, case: Case) -> bytes:
        """Raises `NotFound`, or `Gone` where the snapshot was removed meanwhile."""
        try:
            picture = opened.engine.snapshot.preview(case.case_id)
        except SnapshotError as error:
            self.live.look()  # a purge may have rewritten it, or what is old was pruned
            if self.live.current().name == opened.name:
                raise
            raise Gone("the index has been renewed since; ask again") from error
        if picture is None:
            raise NotFound("there is no picture of this case")
        return picture

    def case_frames(self, opened: Opened, ref: CaseRef, case: Case) -> Frames:
        """Raises `NotFound` where the archive's files cannot be had from here, `Conflict` where they are others by now."""
        files = tuple(Path(file) for file in case.files)
        if any(is_remote(file) for file in case.files) or not all(file.exists() for file in files):
            raise NotFound("the archive's own files cannot be reached from here; only the small picture can be shown")
        try:
            frames = self.lightbox.frames(ref, lambda: self._decoded(FileRequest(files)))
        except ScanError as error:  # its words name files
            raise Conflict(f"the archive's own files cannot be read any more ({error.reason})") from error
        known = opened.engine.archives[ref.kind].file_hashes[ref.row]
        if frames.file_hash is not None and frames.file_hash != known:
            self.lightbox.drop(ref)
            raise Conflict(
                "the archive's own file was changed since the index was built; only the small picture is shown"
            )
        return frames

    # --- how

    def _work_alone(self, query: HeldQuery, principal: Principal, request_id: str) -> None:
        try:
            self._work(query, principal, request_id)
        except Exception as error:
            failure = problems.failure_of(error)
            if failure is None or failure.status >= 500:
                log.error("request %s failed", request_id, exc_info=error)
            unknown = Failure(500, "Internal Server Error", "something went wrong here", "internal-server-error")
            query.failure = replace(failure or unknown, request_id=request_id)
            query.let_go()
            query.scans, query.preview = (), b""
            query.state = "failed"

    def _work(self, query: HeldQuery, principal: Principal, request_id: str | None) -> dict[str, Any]:
        """Each step of a first answer. `request_id`: of the request that began it, where none is served now."""
        running = self.start()
        encoder = running.live.current().engine.encoder
        if query.case is None:
            with self.stages.timed("reading"):
                read = running.readers.run(BytesRequest(query.files, encoder.side))
            assert isinstance(read, ReadAnswer)
            query.scans, query.preview = (read.scan,), read.preview
            query.state = "encoding"
            with self.stages.timed("encoding"):
                encoder.encode(query.scans)  # which the search, and every rerun, will find done
        query.state = "searching"
        if query.is_over:  # nobody will see an answer, and so the audit must not tell of one
            raise Gone(OVER)
        shown = self._answered(query, query.asked, principal)
        self._recorded("query", query, shown, query.asked, principal=principal, request_id=request_id)
        query.state = "done"
        running.tidying.submit(self._tidy, query)
        return shown.document

    def _tidy(self, query: HeldQuery) -> None:
        """As soon as there is an answer, only pictures of an upload are kept: no header outlives this."""
        if query.files and self.held.get(query.id, query.owner) is query:
            with contextlib.suppress(ScanError, Gone):  # who looks at it is told
                self._frames_kept(query)
        query.files = ()

    def _frames_kept(self, query: HeldQuery) -> Frames:
        """The pictures of an upload, which take the place of its files. Raises `Gone` or `ScanError`."""
        with query.looking:
            frames, files = query.frames, query.files
            if query.unviewable is not None:
                raise query.unviewable
            if frames is not None:
                return frames
            if not files:
                raise Gone("too many scans were uploaded since; send this one again to look at it")
            try:
                frames = self._decoded(BytesRequest(files, None))
                query.frames = None if query.is_over else frames
            except ScanError as error:
                query.unviewable = error
                raise
            finally:
                query.files = ()
        self.held.make_room(query)
        return frames

    def _answered(self, query: HeldQuery, given: Given, principal: Principal) -> Shown:
        """An answer from one snapshot, whole."""
        opened = self.live.current()
        engine = opened.engine
        kind = self._kind(query, opened)
        reader = self.reader(opened, principal)
        question = question_of(given, opened, kind, is_researcher=reader.sees_identifiers)
        if query.case is None:
            question = self._of_this_site(question, opened, kind)
        with self.stages.timed("searching"):
            if query.case is not None:
                found = engine.query_case(query.case.case_id, question)
            else:
                _require_own_site(query.scans, question, opened)
                found = engine.query(query.scans, question)
        shown = tuple(one.case.case_id for one in found.neighbours)
        return Shown(answer_document(found, reader), opened, shown, found.own_pictures)

    def _of_this_site(self, question: Question, opened: Opened, kind: str) -> Question:
        """An upload is of the server's own hospital, unless the question says of which it is."""
        own, archive = self.config.own_site, opened.engine.archives.get(kind)
        if own is None or archive is None or not question.other_sites or question.sites:
            return question
        if own in archive.sites.names:
            return replace(question, sites=(own,))
        # No case is of a hospital that the archive does not have, unless its site is unknown.
        conditions = [question.where, "site is not null"]
        return replace(question, other_sites=False, where=" and ".join(f"({one})" for one in conditions if one))

    def _kind(self, query: HeldQuery, opened: Opened) -> str:
        if query.case is None:
            return query.scans[0].kind
        return self._require_visible(query.case.case_id, opened)[1].kind

    def _recorded(
        self,
        action: str,
        query: HeldQuery,
        shown: Shown,
        given: Given,
        *,
        principal: Principal | None = None,
        request_id: str | None = None,
    ) -> None:
        """Raises `AuditError`."""
        common: dict[str, Any] = {
            "query": self._fingerprint(query),
            "snapshot": shown.opened.name,
            "purpose": query.purpose,
            "principal": principal,
            "request_id": request_id,
        }
        filters = {name: values[0] if len(values) == 1 else list(values) for name, values in given.items()}
        self._audit.record(action, filters=filters, cases=shown.cases, **common)
        if shown.withheld:
            self._audit.record("near-identical-withheld", cases=shown.withheld, **common)
        query.snapshot_seen = shown.opened.name

    def _fingerprint(self, query: HeldQuery) -> str:
        """A hash of the query's pixels, or of the archived case as the audit knows it."""
        if query.case is not None:
            return f"case:{self._audit.case_hash(query.case.case_id)}"
        exact = [scan.identity.exact if scan.identity else scan.provenance.file_hash for scan in query.scans]
        return hashlib.sha256("".join(exact).encode()).hexdigest()

    def _require_visible(self, case_id: str, opened: Opened | None = None) -> tuple[Opened, CaseRef, Case]:
        """Where a case lies now. Raises `Gone` where it was withdrawn."""
        opened = opened or self.live.current()
        for kind, archive in opened.engine.archives.items():
            row = archive.row_of(case_id)
            if row is not None and opened.engine.rows_where(kind, None)[row]:
                return opened, CaseRef(opened.name, kind, row), opened.engine.snapshot.catalogue.case(kind, row)
        raise Gone("this case is no longer in the index")

    def _decoded(self, request: FileRequest | BytesRequest) -> Frames:
        with self.stages.timed("frames"):
            frames = self.start().decoders.run(request)
        assert isinstance(frames, Frames)
        return frames

    def _tend(self, running: Running) -> None:
        """Looks for a new snapshot and lets go of what is over, until the process ends."""
        while not running.ended.wait(LOOK_SECONDS):
            for task in (running.live.look, self.held.sweep):
                _tried(task)


def _tried(task: Callable[[], None]) -> None:
    """A timer that died would leave scans in memory, and an old snapshot served, for good."""
    try:
        task()
    except Exception as error:
        log.error("a task of the timer failed", exc_info=error)


def _require_not_failed(query: HeldQuery) -> None:
    """Raises `NotFound`."""
    if query.failure is not None:
        raise NotFound(f"this question could not be answered, and nothing of it is kept: {query.failure.detail}")


def _require_own_site(scans: Sequence[Scan], question: Question, opened: Opened) -> None:
    """Raises `BadRequest` where a query's own site is to be left out and nobody knows it."""
    if not question.other_sites or question.sites:
        return
    archive = opened.engine.archives.get(scans[0].kind)
    if archive is None:
        return
    itself = np.any([archive.same_picture(s) | (archive.case_ids == s.header.instance_uid) for s in scans], axis=0)
    if not (archive.sites.codes[itself] != NOT_RECORDED).any():
        raise BadRequest("which site is the query's own is not known; say it by its code with own_site")
