"""A study's results on disk: part by part while it runs, so that a killed one goes on where it was; whole files at the end."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.lock import IndexLock
from search.study_tables import SafeCsv

PARTS = ".parts"
PLAN = "plan.json"
NEIGHBOURS, QUERIES = "neighbours", "queries"
RUN, METHODS = "run.json", "methods.txt"


class Parts:
    """The finished parts of one study in its folder; those of another are thrown away. Use it in `with`. Raises `LockedError`, OSError."""

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        """`plan`: all that decides what the parts hold."""
        self._out, self._folder = out, out / PARTS
        self._plan = json.dumps(plan, indent=1, sort_keys=True)
        self._lock = IndexLock(self._folder, purpose="a study")

    def __enter__(self) -> "Parts":
        self._lock.__enter__()
        path = self._folder / PLAN
        if not path.exists() or path.read_text(encoding="utf-8") != self._plan:
            for one in self._folder.glob("*.parquet*"):
                one.unlink()
            path.write_text(self._plan, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__(None, None, None)

    def has(self, part: int) -> bool:
        return self._path(QUERIES, part).exists()

    def queries_of(self, part: int) -> int:
        """How many queries a finished part holds."""
        return int(pq.read_metadata(self._path(QUERIES, part)).num_rows)

    def write(self, part: int, neighbours: pa.Table, queries: pa.Table) -> None:
        """The part is finished once its queries are in place, which are written last."""
        for name, table in ((NEIGHBOURS, neighbours), (QUERIES, queries)):
            pending = self._path(name, part).with_suffix(".parquet.new")
            pq.write_table(table, pending)
            pending.replace(self._path(name, part))

    def tables(self, name: str, count: int) -> Iterator[pa.Table]:
        for part in range(count):
            with pq.ParquetFile(self._path(name, part)) as file:
                yield file.read()

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def _path(self, name: str, part: int) -> Path:
        return self._folder / f"{part:06}.{name}.parquet"


def write_whole(out: Path, name: str, tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Write NAME.parquet and NAME.csv beside what was there, as `.new`; each table is handed on once it is written."""
    with ExitStack() as stack:
        parquet = stack.enter_context(pq.ParquetWriter(out / f"{name}.parquet.new", schema))
        csv = stack.enter_context(SafeCsv(out / f"{name}.csv.new", schema))
        for table in tables:
            if len(table):
                parquet.write_table(table)
                csv.write(table)
            yield table


def publish(out: Path, run: Mapping[str, Any], methods: str) -> None:
    """Put the new files in place with a `run.json` that holds their hashes; never one beside another run's table."""
    (out / RUN).unlink(missing_ok=True)
    digests = {}
    for name in (f"{kind}.{suffix}" for kind in (NEIGHBOURS, QUERIES) for suffix in ("parquet", "csv")):
        (out / f"{name}.new").replace(out / name)
        digests[name] = _sha256(out / name)
    (out / METHODS).write_text(methods, encoding="utf-8")
    digests[METHODS] = _sha256(out / METHODS)
    pending = out / f"{RUN}.new"
    pending.write_text(json.dumps(dict(run) | {"sha256": digests}, indent=1) + "\n", encoding="utf-8")
    pending.replace(out / RUN)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
