"""Batch nearest neighbours to a table: one row for each query and neighbour."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index.catalogue import days_column
from index.store import PADDING, RowNumbers, Similarities
from search.answer import DEFAULT_K, Answer, Question, QuestionError
from search.engine import SearchEngine
from search.nearest import NOBODY, nearest_patients

BLOCK = 1024  # queries searched at a time: bounds the memory whatever their number
NEIGHBOURS = "neighbours.parquet"
RUN = "run.json"


@dataclass(frozen=True, eq=False)
class Block:
    """The neighbours of some archived cases: rows and similarities (q, k), padded with -1 and NaN."""

    queries: RowNumbers  # (q,)
    allowed: RowNumbers  # the rows among which their neighbours were sought, before the own patient's were left out
    rows: RowNumbers
    similarities: Similarities


def iter_archive_neighbours(engine: SearchEngine, kind: str, question: Question) -> Iterator[Block]:
    """Every case of the archive that `question.where` allows, against all the others that it allows, block by block."""
    archive, store = engine.archives[kind], engine.snapshot.stores[kind]
    k = question.k or min(DEFAULT_K, archive.patient_count)
    base = engine.rows_where(kind, question.where)
    signatures, transform = engine.snapshot.signatures(kind), engine.snapshot.transforms[kind]
    for queries, allowed in _groups_of_view(archive.views, base, match=question.match_view):
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            own = np.full(len(block), NOBODY) if question.include_own else archive.patients[block]
            similarities, rows = nearest_patients(
                store, transform.apply(signatures[block]), k=k, patients=archive.patients, own=own, allowed=allowed
            )
            yield Block(block, allowed, rows, similarities)


def study_archive(
    engine: SearchEngine, kind: str, question: Question, out: Path, progress: Callable[[int], None]
) -> Path:
    """Write `neighbours.parquet` and `run.json` of the archive against itself into `out`. Raises `QuestionError`, OSError."""
    ids = engine.archives[kind].case_ids
    tables = (
        _counted(
            _table(engine, kind, [str(ids[row]) for row in block.queries], block.rows, block.similarities),
            len(block.queries),
            progress,
        )
        for block in iter_archive_neighbours(engine, kind, question)
    )
    return _write(engine, tables, out, {"queries": "archive", "kind": kind} | _question_json(question))


def study_scans(engine: SearchEngine, answers: Iterator[tuple[str, Answer]], question: Question, out: Path) -> Path:
    """The same for answers to scans, each under the name by which the table calls the query."""
    asked: list[dict[str, str]] = []

    def tables() -> Iterator[pa.Table]:
        for name, answer in answers:
            asked.append({"query": name, "file_hash": answer.scans[0].provenance.file_hash})
            yield _answer_table(engine, name, answer)

    return _write(engine, tables(), out, {"queries": asked} | _question_json(question))


def _groups_of_view(views: Any, base: Any, *, match: bool) -> list[tuple[RowNumbers, RowNumbers]]:
    """(queries, rows allowed for them): with matching, one group a view; cases without a view are asked of all."""
    everything = np.flatnonzero(base)
    if not match:
        return [(everything, everything)]
    names = sorted({view for view in views[everything] if view})
    groups = [(rows, rows) for rows in (np.flatnonzero(base & (views == name)) for name in names)]
    unknown = np.array([row for row in everything if not views[row]], np.int64)
    return groups + ([(unknown, everything)] if len(unknown) else [])


def _schema(engine: SearchEngine) -> pa.Schema:
    """Long form: query, rank, case, similarity, the case's view, site and outcome columns."""
    fields: list[tuple[str, pa.DataType]] = [
        ("query", pa.string()),
        ("rank", pa.int32()),
        ("case_id", pa.string()),
        ("patient_id", pa.string()),
        ("similarity", pa.float64()),
        ("view", pa.string()),
        ("site", pa.string()),
    ]
    for endpoint in engine.snapshot.manifest.endpoints:
        fields += [(endpoint.name, pa.string()), (days_column(endpoint), pa.int64())]
    return pa.schema(fields)


def _table(
    engine: SearchEngine, kind: str, names: Sequence[str], rows: RowNumbers, similarities: Similarities
) -> pa.Table:
    query, rank = np.nonzero(rows != PADDING)
    picked = rows[query, rank]
    known: dict[str, Any] = {
        "query": [names[int(place)] for place in query],
        "rank": rank + 1,
        "similarity": similarities[query, rank],
    }
    schema = _schema(engine)
    values = {name: known.get(name) for name in schema.names}
    for name in schema.names:
        if name not in known:
            values[name] = engine.snapshot.catalogue.values(name, kind)[picked]
    return pa.table([pa.array(values[f.name], f.type, from_pandas=True) for f in schema], schema=schema)


def _answer_table(engine: SearchEngine, name: str, answer: Answer) -> pa.Table:
    kind = answer.scans[0].kind
    place = {case_id: row for row, case_id in enumerate(engine.archives[kind].case_ids)}
    rows = [place[neighbour.case.case_id] for neighbour in answer.neighbours]
    similarities = [neighbour.similarity for neighbour in answer.neighbours]
    return _table(engine, kind, [name], np.array([rows], np.int64), np.array([similarities], np.float64))


def _counted(table: pa.Table, queries: int, progress: Callable[[int], None]) -> pa.Table:
    progress(queries)
    return table


def _write(engine: SearchEngine, tables: Iterator[pa.Table], out: Path, asked: Mapping[str, Any]) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    pending = out / f".{NEIGHBOURS}.new"
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(pending, table.schema)
            writer.write_table(table)
            rows += len(table)
        if writer is None:
            raise QuestionError("the study has no queries: nothing matches --where, and no scan was given")
        writer.close()
    except BaseException:
        pending.unlink(missing_ok=True)
        raise
    (out / RUN).unlink(missing_ok=True)  # never a run.json beside another run's table
    pending.replace(out / NEIGHBOURS)
    manifest = engine.snapshot.manifest
    run = {
        "asked": asked,
        "snapshot": manifest.name,
        "encoder": engine.encoder.fingerprint,
        "rows": rows,
        "sha256": {NEIGHBOURS: hashlib.sha256((out / NEIGHBOURS).read_bytes()).hexdigest()},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "faiss-cpu", "pyarrow", "onnxruntime")},
    }
    (out / RUN).write_text(json.dumps(run, indent=1) + "\n")
    return out / NEIGHBOURS


def _question_json(question: Question) -> dict[str, Any]:
    return {
        "k": question.k or DEFAULT_K,
        "where": question.where,
        "match_view": question.match_view,
        "include_own": question.include_own,
    }
