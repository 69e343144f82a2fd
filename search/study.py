"""Batch nearest neighbours of a query set: block by block, from Python as tables, or into a folder that survives a kill."""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.stamps import record_of, stamp_of
from index.store import PADDING, RowNumbers, Similarities
from search.answer import DEFAULT_K, Question, QuestionError
from search.archive import Mask
from search.concentration import NOT_RECORDED
from search.engine import SearchEngine
from search.methods import Told, methods_paragraph
from search.nearest import Codes
from search.study_galleries import Galleries, Group, grouped
from search.study_gallery import Asked, Copies, padded
from search.study_parts import NEIGHBOURS, QUERIES, Parts, publish, write_whole
from search.study_plan import Exclusions, QuerySource, StudyPlan
from search.study_queries import ArchiveQueries, ScanQueries, Unasked, queries_of
from search.study_scans import BATCH, ScanReader, Signed
from search.study_tables import ASKED, ArchiveTable, neighbours_schema, queries_schema

BLOCK = 1024  # queries searched at a time: bounds the memory whatever their number
EPOCH = date(1970, 1, 1)
FORMAT = 1  # raise it when the same plan would give other bytes
PACKAGES = ("numpy", "faiss-cpu", "pyarrow", "duckdb", "onnxruntime", "opencv-python-headless", "pydicom")
SITE_UNKNOWN = "site-unknown"
DATE_UNKNOWN = "date-unknown"
WHY = {
    SITE_UNKNOWN: "its site is not recorded, so its own site cannot be left out",
    DATE_UNKNOWN: "its date is not recorded, so later scans cannot be left out",
}


@dataclass(frozen=True, eq=False)
class Block:
    """The neighbours of some archived cases: rows and similarities (q, k), padded with -1 and NaN."""

    queries: RowNumbers  # (q,)
    allowed: RowNumbers  # the rows among which their neighbours were sought, before the own patient's were left out
    rows: RowNumbers
    similarities: Similarities


@dataclass(frozen=True, eq=False)
class Answered:
    """What a part of a study gave: a line for each of its queries, those that were asked first, and their neighbours."""

    queries: pa.Table
    archived: RowNumbers | None  # (q,) the rows of those asked; None where scans were read
    persons: tuple[Codes, ...]  # of each asked query, as the archive numbers people
    rows: RowNumbers  # (q, k)
    similarities: Similarities  # (q, k)


@dataclass(frozen=True, eq=False)
class _Blocked:
    """Archived queries that are searched at once."""

    group: Group
    rows: RowNumbers


class Study:
    """The neighbours of a query set among the cases of one snapshot.

    The query's own patient is never a neighbour, and each neighbour is another patient. The same snapshot, plan and scans
    give the same tables. Withdrawn patients are neither asked nor answered.
    """

    def __init__(
        self, engine: SearchEngine, plan: StudyPlan, *, among: Mask | None = None, rows: RowNumbers | None = None, workers: int = 1
    ) -> None:  # fmt: skip
        """`among` (n,) narrows further who may be a neighbour; `rows` are asked instead of the plan's queries.

        Raises `QuestionError`, `FilterError`, `CohortError` or `SnapshotError`.
        """
        _check(engine, plan)
        self.engine, self.plan, self._workers = engine, plan, workers
        self._archive = engine.archives[plan.kind]
        self.k = plan.k or min(DEFAULT_K, self._archive.patient_count)
        self._visible = engine.rows_where(plan.kind, None)
        base = engine.rows_where(plan.kind, plan.where)
        self._queries = queries_of(engine, plan, base) if rows is None else ArchiveQueries(rows)
        self._galleries = Galleries(engine.snapshot, self._archive, plan.kind, base if among is None else base & among)
        self._table = ArchiveTable(engine.snapshot, plan.kind)
        self._unasked = list(self._queries.unasked)
        self._blocks = self._blocked(self._queries) if isinstance(self._queries, ArchiveQueries) else []

    @property
    def queries(self) -> int:
        """How many the query set holds, those that are not asked among them."""
        asked = (
            len(self._queries.cases)
            if isinstance(self._queries, ScanQueries)
            else sum(len(block.rows) for block in self._blocks)
        )
        return asked + len(self._unasked)

    @property
    def parts(self) -> int:
        """Into how many parts it falls; the last one holds the queries that are known beforehand not to be asked."""
        return len(self._batches) + len(self._blocks) + 1

    def to_arrow(self) -> pa.Table:
        """The neighbours in long form: a line for each query and neighbour."""
        tables = [self._neighbours(answered) for _, answered in self.iter_answered()]
        return pa.concat_tables(tables).combine_chunks()

    def queries_to_arrow(self) -> pa.Table:
        """A line for each query: what is known of it, and "asked" or why not."""
        return pa.concat_tables([answered.queries for _, answered in self.iter_answered()]).combine_chunks()

    def to_pandas(self) -> Any:
        """`to_arrow` as a data frame. Raises ImportError where pandas is not installed."""
        return self.to_arrow().to_pandas()

    def iter_answered(self, wanted: Sequence[int] | None = None) -> Iterator[tuple[int, Answered]]:
        """(number, result) of the wanted parts, all of them unless others are said, rising."""
        parts = range(self.parts) if wanted is None else sorted(wanted)
        batches = [part for part in parts if part < len(self._batches)]
        if batches:
            with ScanReader(self.engine, self.plan.kind, ~self._visible, workers=self._workers) as reader:
                read = reader.iter_batches([self._batches[part] for part in batches])
                for part, signed in zip(batches, read, strict=True):
                    yield part, self._of_scans(signed)
        for part in parts:
            number = part - len(self._batches)
            if 0 <= number < len(self._blocks):
                yield part, self._of_archive(self._blocks[number])
            elif number == len(self._blocks):
                yield part, self._of_unasked()

    def iter_blocks(self) -> Iterator[Block]:
        """The neighbours of archived queries as rows of the archive; of scans that are read there are none."""
        for block in self._blocks:
            rows = self._galleries.rows(block.group)
            similarities, found = self._nearest_to_archived(block)
            yield Block(block.rows, rows, found, similarities)

    def write(self, out: Path, *, progress: Callable[[int], None] = lambda count: None) -> Path:
        """Write the study into `out`; the path of its `neighbours.parquet`.

        Beside it lie neighbours.csv, queries.parquet, queries.csv, methods.txt and run.json. A study that was killed goes on
        with its first unfinished part, if everything is as it was. `progress` is told how many more queries are done.
        Raises `QuestionError`, `LockedError` or OSError.
        """
        if not self.queries:
            raise QuestionError("the study has no queries: nothing matches --where, and no scan was given")
        out.mkdir(parents=True, exist_ok=True)
        with Parts(out, self._identity()) as parts:
            done = {part for part in range(self.parts) if parts.has(part)}
            progress(sum(parts.queries_of(part) for part in done))
            for part, answered in self.iter_answered([part for part in range(self.parts) if part not in done]):
                parts.write(part, self._neighbours(answered), answered.queries)
                progress(len(answered.queries))
            self._require_same_people()
            self._assemble(out, parts)
            parts.remove()
        return out / f"{NEIGHBOURS}.parquet"

    # ---- searching -----------------------------------------------------------------------------------------------------

    def _blocked(self, queries: ArchiveQueries) -> list[_Blocked]:
        rows, archive, exclude = queries.rows, self._archive, self.plan.exclude
        days = self._galleries.days
        lost: list[tuple[Mask, str]] = []
        if exclude.own_site:
            lost.append((archive.sites.codes[rows] == NOT_RECORDED, SITE_UNKNOWN))
        if exclude.later_scans:
            lost.append((~np.isfinite(days[rows]), DATE_UNKNOWN))
        asked = np.ones(len(rows), bool)
        for missing, reason in lost:
            self._unasked += [Unasked(str(archive.case_ids[row]), reason, WHY[reason]) for row in rows[missing & asked]]
            asked &= ~missing
        rows = rows[asked]
        groups = [
            self._group(archive.views[row], archive.sites.names[code] if exclude.own_site else None)
            for row, code in zip(rows, archive.sites.codes[rows], strict=True)
        ]
        blocks = []
        for group, places in grouped(groups, days[rows] if exclude.later_scans else None):
            for start in range(0, len(places), BLOCK):
                mine = rows[places[start : start + BLOCK]]
                before = float(days[mine].max()) if exclude.later_scans else None
                blocks.append(_Blocked(replace(group, before=before), mine))
        return blocks

    @cached_property
    def _batches(self) -> list[Sequence[Any]]:
        cases = self._queries.cases if isinstance(self._queries, ScanQueries) else ()
        return [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]

    @cached_property
    def _copies(self) -> Copies:
        return Copies(self.engine.snapshot.catalogue.values("perceptual_hash", self.plan.kind), self._archive.patients)

    def _group(self, view: str | None, site: str | None) -> Group:
        return Group(view if view and self.plan.match_view else None, site if self.plan.exclude.own_site else None)

    def _own(self, rows: RowNumbers) -> list[Codes]:
        """The persons to leave out for each archived query: its own, and where that is asked those with a near copy of it."""
        own = [self._archive.patients[[row]] for row in rows]
        if not self.plan.exclude.near_duplicates or self.plan.kind != "xray":
            return own
        return [np.union1d(mine, near) for mine, near in zip(own, self._copies.persons(rows), strict=True)]

    def _nearest_to_archived(self, block: _Blocked) -> tuple[Similarities, RowNumbers]:
        days = self._galleries.days[block.rows] if self.plan.exclude.later_scans else None
        asked = Asked(self._galleries.vectors(block.rows), padded(self._own(block.rows)), days)
        return self._galleries.gallery(block.group).nearest(asked, k=self.k)

    def _of_archive(self, block: _Blocked) -> Answered:
        similarities, rows = self._nearest_to_archived(block)
        lines = self._table.archived_queries(block.rows, (rows != PADDING).sum(axis=1))
        persons = tuple(self._archive.patients[[row]] for row in block.rows)
        return Answered(lines, block.rows, persons, rows, similarities)

    def _of_scans(self, signed: Sequence[Signed | Unasked]) -> Answered:
        unasked = [one for one in signed if isinstance(one, Unasked)]
        asked = []
        for one in (one for one in signed if isinstance(one, Signed)):
            reason = self._why_not(one)
            if reason:
                unasked.append(Unasked(one.case.case_id, reason, WHY[reason]))
            else:
                asked.append(one)
        similarities = np.full((len(asked), self.k), np.nan)
        rows = np.full((len(asked), self.k), PADDING, np.int64)
        for group, places in grouped([self._group(one.case.view, one.case.site) for one in asked], None):
            mine = [asked[place] for place in places]
            days = (
                [(one.case.scan_date - EPOCH).days for one in mine if one.case.scan_date]
                if self.plan.exclude.later_scans
                else None
            )
            together = Asked(
                np.stack([one.signature for one in mine]), padded([one.own for one in mine]), None if days is None else np.array(days, float)
            )  # fmt: skip
            before = None if days is None else float(max(days))
            gallery = self._galleries.gallery(replace(group, before=before))
            similarities[places], rows[places] = gallery.nearest(together, k=self.k)
        lines = self._table.scan_queries(
            [one.case for one in asked], [one.file_hash for one in asked], (rows != PADDING).sum(axis=1)
        )
        lines = pa.concat_tables([lines, self._table.unasked(unasked)])
        return Answered(lines, None, tuple(one.own for one in asked), rows, similarities)

    def _why_not(self, signed: Signed) -> str | None:
        if self.plan.exclude.own_site and signed.case.site is None:
            return SITE_UNKNOWN
        return DATE_UNKNOWN if self.plan.exclude.later_scans and signed.case.scan_date is None else None

    def _of_unasked(self) -> Answered:
        nothing = np.empty((0, self.k))
        return Answered(self._table.unasked(self._unasked), None, (), nothing.astype(np.int64), nothing)

    def _neighbours(self, answered: Answered) -> pa.Table:
        names = answered.queries.column("query").to_pylist()[: len(answered.rows)]
        return self._table.neighbours(names, answered.rows, answered.similarities)

    # ---- writing -------------------------------------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        """All that decides what the tables hold."""
        manifest = self.engine.snapshot.manifest
        return self._settings() | {
            "format": FORMAT,
            "manifest": hashlib.sha256(manifest.to_json().encode()).hexdigest(),
            "visible": hashlib.sha256(np.packbits(self._visible).tobytes()).hexdigest(),
            "among": hashlib.sha256(np.packbits(self._galleries.base).tobytes()).hexdigest(),
            "queries": self._digest_of_queries(),
        }

    def _settings(self) -> dict[str, Any]:
        manifest = self.engine.snapshot.manifest
        return {
            "asked": self.plan.to_json() | {"k": self.k},
            "snapshot": manifest.name,
            "snapshot_files": dict(sorted(manifest.files.items())),
            "encoder": self.engine.encoder.fingerprint,
            "code": manifest.code_version,
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        }

    def _digest_of_queries(self) -> str:
        """Of archived ones their ids; of scans names, sizes and times of their files and what a cohort says of them."""
        digest = hashlib.sha256(json.dumps([vars(one) for one in self._unasked]).encode())
        for block in self._blocks:
            digest.update(block.rows.tobytes())
        for batch in self._batches:
            for case in batch:
                digest.update(f"{record_of(case)} {_stamp(case)}\n".encode())
        return digest.hexdigest()

    def _require_same_people(self) -> None:
        if not np.array_equal(self._visible, self.engine.rows_where(self.plan.kind, None)):
            raise QuestionError(
                "patients were withdrawn while the study ran; run it again: it starts anew without them"
            )

    def _assemble(self, out: Path, parts: Parts) -> None:
        endpoints = self.engine.snapshot.manifest.endpoints
        neighbours = 0
        for table in write_whole(out, NEIGHBOURS, parts.tables(NEIGHBOURS, self.parts), neighbours_schema(endpoints)):
            neighbours += len(table)
        statuses: Counter[str] = Counter()
        fewer = 0
        named: list[dict[str, Any]] = []
        for table in write_whole(out, QUERIES, parts.tables(QUERIES, self.parts), queries_schema(endpoints)):
            asked = table.filter(pc.equal(table.column("status"), ASKED))
            statuses.update(table.column("status").to_pylist())
            fewer += int((asked.column("neighbours").to_numpy() < self.k).sum())
            if self.plan.source is QuerySource.SCANS:
                named += asked.select(["query", "file_hash"]).to_pylist()
        told = Told(
            plan=self.plan, k=self.k, manifest=self.engine.snapshot.manifest, eligible=int(self._galleries.base.sum()),
            eligible_patients=len(np.unique(self._archive.patients[self._galleries.base])), asked=statuses.pop(ASKED, 0),
            unasked=dict(sorted(statuses.items())), neighbours=neighbours, fewer=fewer, scans_read=isinstance(self._queries, ScanQueries),
        )  # fmt: skip
        run = self._settings() | {
            "queries": told.asked + sum(told.unasked.values()),
            "queries_asked": told.asked,
            "not_asked": told.unasked,
            "eligible_cases": told.eligible,
            "eligible_patients": told.eligible_patients,
            "rows": neighbours,
        }
        if self.plan.source is QuerySource.SCANS:
            run["asked"]["queries"] = named
        publish(out, run, methods_paragraph(told))


def iter_archive_neighbours(engine: SearchEngine, kind: str, question: Question) -> Iterator[Block]:
    """Every case of the archive that `question.where` allows, against all the others that it allows, block by block."""
    return Study(engine, _plan(kind, question)).iter_blocks()


def study_archive(
    engine: SearchEngine, kind: str, question: Question, out: Path, progress: Callable[[int], None]
) -> Path:
    """`Study.write` of the archive against itself, asked as a question. Raises `QuestionError`, OSError."""
    return Study(engine, _plan(kind, question)).write(out, progress=progress)


def _plan(kind: str, question: Question) -> StudyPlan:
    if question.include_own:
        raise QuestionError("a study always leaves the query's own patient out")
    return StudyPlan(
        kind=kind, k=question.k, where=question.where, match_view=question.match_view, exclude=Exclusions(own_site=question.other_sites)
    )  # fmt: skip


def _check(engine: SearchEngine, plan: StudyPlan) -> None:
    if plan.kind not in engine.archives:
        raise QuestionError(f"the index holds no {plan.kind} scans, only {', '.join(engine.archives)}")
    patients = engine.archives[plan.kind].patient_count
    if plan.k is not None and not 1 <= plan.k <= patients:
        raise QuestionError(
            f"k is {plan.k}; the index holds {plan.kind} scans of {patients} patients: ask for 1 to {patients}"
        )
    if plan.asked is not None and plan.source is not QuerySource.ARCHIVE:
        raise QuestionError(
            f"a condition on who is asked is for the archive's own cases; the queries are a {plan.source}"
        )


def _stamp(case: Any) -> str:
    try:
        return stamp_of(case)
    except OSError:
        return "not there"
