"""What a study asks: whose neighbours, in which snapshot, how many, among whom; from a TOML file or from flags."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from search.answer import QuestionError


class QuerySource(StrEnum):
    """Where the queries of a study come from."""

    ARCHIVE = "archive"  # the index's own cases
    COHORT = "cohort"  # READER=PATH, as build_index.py takes it
    FOLDER = "folder"  # every file, folder or zip directly in it is a scan
    TABLE = "table"  # a CSV with a case_id or a file a row
    SCANS = "scans"  # files, folders or zips, named one by one


@dataclass(frozen=True)
class Exclusions:
    """Who may not be a neighbour, beside the query's own patient, who never may."""

    own_site: bool = False  # nor a case of an unknown site
    near_duplicates: bool = False  # patients with a film that looks like a copy of the query
    later_scans: bool = False  # only scans of an earlier day than the query's may be neighbours


@dataclass(frozen=True)
class StudyPlan:
    """One study. `where` says among whom neighbours are sought; `asked` which of the archive are queries, as `where` unless it is given."""

    source: QuerySource = QuerySource.ARCHIVE
    queries: tuple[str, ...] = ()  # the cohort's argument, the folder, the table or the scans; of the archive nothing
    asked: str | None = None
    kind: str = "xray"
    k: int | None = None
    where: str | None = None
    match_view: bool = True
    exclude: Exclusions = Exclusions()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"source": str(self.source), "queries": list(self.queries)}


@dataclass(frozen=True)
class StudyFile:
    """What a `study.toml` holds; None of what it leaves to flags. Paths are relative to the file."""

    plan: StudyPlan
    index: Path | None
    snapshot: str | None
    out: Path | None
    encoder: str | None


TOP: Mapping[str, type] = {
    "index": str, "snapshot": str, "out": str, "encoder": str, "kind": str, "k": int, "where": str, "match_view": bool,
}  # fmt: skip
QUERIES: Mapping[str, type] = {"archive": str, "cohort": str, "folder": str, "table": str}
EXCLUDE: Mapping[str, type] = {"own_site": bool, "near_duplicates": bool, "later_scans": bool}


def read_study_file(path: Path) -> StudyFile:
    """The study that a TOML file describes. Raises `QuestionError` that names the entry to mend."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuestionError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuestionError(f"{path}: is no TOML ({error})") from error
    queries, exclude = content.pop("queries", {}), content.pop("exclude", {})
    for entries, known, section in ((content, TOP, ""), (queries, QUERIES, "queries"), (exclude, EXCLUDE, "exclude")):
        _require_known(path, entries, known, section)
    if len(queries) > 1:
        raise QuestionError(f"{path}: [queries] names {' and '.join(queries)}; give one set of queries a study")
    folder = path.parent
    plan = StudyPlan(
        **_queries(queries, folder),
        **{name: content[name] for name in ("kind", "k", "where", "match_view") if name in content},
        exclude=Exclusions(**exclude),
    )
    return StudyFile(
        plan,
        *(folder / content["index"] if "index" in content else None, content.get("snapshot")),
        *(folder / content["out"] if "out" in content else None, content.get("encoder")),
    )


def _queries(queries: Mapping[str, str], folder: Path) -> dict[str, Any]:
    for name, value in queries.items():
        if name == QuerySource.ARCHIVE:
            return {"source": QuerySource.ARCHIVE, "asked": value}
        if name == QuerySource.COHORT:
            reader, equals, place = value.partition("=")
            local = place if "://" in place else str(folder / place)
            return {"source": QuerySource.COHORT, "queries": (f"{reader}{equals}{local}",)}
        return {"source": QuerySource(name), "queries": (str(folder / value),)}
    return {}


def _require_known(path: Path, entries: object, known: Mapping[str, type], section: str) -> None:
    """Every entry is known and of its type; a misspelt exclusion must not be left out in silence."""
    where = f"[{section}] " if section else ""
    if not isinstance(entries, dict):
        raise QuestionError(f"{path}: {section} is no section; write [{section}] above its entries")
    for name, value in entries.items():
        if name not in known:
            raise QuestionError(f"{path}: {where}{name} is not known; there are: {', '.join(known)}")
        if type(value) is not known[name]:
            raise QuestionError(f"{path}: {where}{name} is {value!r}; expected {known[name].__name__}")
