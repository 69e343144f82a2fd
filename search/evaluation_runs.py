"""What `evaluate` does: a quick figure of each target, a whole report, or two encoders compared."""

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from index.reporting.typed_rows import parquet_of
from index.reporting.writing import prepare_report_folder, write_files
from index.snapshot import open_current
from index.store import PADDING
from search.agreement import outcome_auc, precision, rank_correlation
from search.answer import DEFAULT_K, Question, QuestionError
from search.baselines import (
    BASELINES,
    ENCODER,
    MetadataSpace,
    RandomSpace,
    Space,
    VectorSpace,
    on_the_cases_of,
    other_index,
    preview_spaces,
    site_centred,
)
from search.blanking import blanked_spaces
from search.engine import SearchEngine
from search.evaluated import Evaluated, evaluated_cases, sampled
from search.evaluation import Evaluation, evaluate
from search.evaluation_report import FACTS, PAGE, Report, files_of
from search.evaluation_tables import Difference
from search.intervals import bootstrapped
from search.landscape import landscape
from search.protocols import Protocol, protocols_of
from search.study import iter_archive_neighbours
from search.targets import LISTS, LeftOut, Target, finite, label_columns, targets_of
from search.verdict import findings, twin_name


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command was asked for."""

    encoder: str | None
    k: int | None
    where: str | None
    kind: str
    targets: tuple[str, ...]
    labels: Path | None
    label_key: str
    queries: int
    replicates: int


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """An opened index, and whom to ask what under which protocols."""

    engine: SearchEngine
    cases: Evaluated
    k: int
    targets: list[Target]
    protocols: list[Protocol]
    left_out: list[LeftOut]

    @property
    def encoder(self) -> VectorSpace:
        """The index's own signatures, centred as it centres them."""
        snapshot, kind = self.engine.snapshot, self.cases.kind
        rows = snapshot.transforms[kind].apply(np.asarray(snapshot.signatures(kind)))
        return VectorSpace(ENCODER, snapshot.manifest.fingerprint, rows, self.cases.usable)

    @property
    def asked(self) -> int:
        """How many cases any protocol asks."""
        return len({int(row) for protocol in self.protocols for row in protocol.queries})


def quick(index: Path, request: Request, *, match_view: bool) -> dict[str, Any]:
    """One figure for each target, of the neighbours that a search would show. Raises `QuestionError` and what opening raises."""
    if not request.targets:
        raise QuestionError("say with --target what neighbours should share, or with --out where the whole report goes")
    engine = _opened(index, request)
    question = Question(k=request.k or DEFAULT_K, where=request.where, match_view=match_view)
    columns = _labels(engine, request)
    blocks = list(iter_archive_neighbours(engine, request.kind, question))
    return {target: _metric(engine, request.kind, target, columns, blocks) for target in request.targets}


def report(
    index: Path, out: Path, request: Request, *, others: Sequence[Path], pixels: bool, progress: Progress
) -> str:
    """Write the report; what to tell of it. Raises `QuestionError`, `ReportError` and what opening raises."""
    prepare_report_folder(out)
    setting = _setting(_opened(index, request), request)
    cases, snapshot, encoder = setting.cases, setting.engine.snapshot, setting.encoder
    spaces = _baselines(setting, encoder)
    partial = list(_other_indexes(others, cases))
    left = list(setting.left_out)
    if pixels:
        blanked, reasons = _blanked(setting, progress)
        partial += blanked
        left += [LeftOut(f"{count:,} scans with lungs blanked", reason) for reason, count in sorted(reasons.items())]
    pairs = [(ENCODER, space.name) for space in spaces]
    for space in partial:
        spaces.append(space)
        if np.array_equal(space.covers, cases.usable):
            pairs.append((ENCODER, space.name))
        else:
            twin = dataclasses.replace(on_the_cases_of(encoder, space), name=twin_name(space.name))
            spaces.append(twin)
            pairs.append((twin.name, space.name))
    spaces.insert(0, encoder)
    task = progress.add_task("queries", total=setting.asked)
    found = evaluate(
        cases, spaces, setting.protocols, setting.targets, k=setting.k, pairs=pairs,
        progress=lambda count: progress.advance(task, count), replicates=request.replicates,
    )  # fmt: skip
    verdicts = findings(found, setting.targets, views=len({view for view in cases.views[cases.usable] if view}))
    preview: Callable[[int], bytes | None] = lambda row: snapshot.preview(str(cases.case_ids[row]))  # noqa: E731
    facts = _facts(request, setting.k)
    facts |= {"snapshot": snapshot.manifest.name, "encoder": snapshot.manifest.fingerprint}
    shown = landscape(encoder.rows, np.flatnonzero(cases.usable))
    made = Report(
        facts, cases, found, verdicts, setting.targets, setting.protocols, spaces, left, shown, preview
    )  # fmt: skip
    write_files(files_of(made), out)
    return "\n".join([*(finding.words for finding in verdicts), f"wrote {out / PAGE}"])


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Indexes measured on the cases that all of them hold, the same patients drawn for all."""

    names: tuple[str, ...]  # of the first and of the others, as `found` calls them
    setting: Setting
    found: Evaluation


def compared(
    first: Path, others: Sequence[Path], request: Request, progress: Progress, *,
    narrowed: Callable[[Setting], Setting] = lambda setting: setting,
) -> Comparison:  # fmt: skip
    """Each of the others less the first. `narrowed` may leave protocols and targets out.

    Raises `QuestionError` and what opening raises.
    """
    engine = _opened(first, request)
    names = tuple(distinct_names([first, *others]))
    whole = evaluated_cases(engine, request.kind, request.where)
    try:
        spaces = [other_index(name, open_current(path), whole) for name, path in zip(names[1:], others, strict=True)]
    except ValueError as error:
        raise QuestionError(f"--compare {error}") from error
    shared = np.logical_and.reduce([space.covers for space in spaces])
    setting = narrowed(_setting(engine, request, shared=shared))
    spaces = [dataclasses.replace(space, covers=setting.cases.usable) for space in spaces]
    one = dataclasses.replace(setting.encoder, name=names[0])
    task = progress.add_task("queries", total=setting.asked)
    found = evaluate(
        setting.cases, [*spaces, one], setting.protocols, setting.targets, k=setting.k,
        pairs=[(name, names[0]) for name in names[1:]], progress=lambda count: progress.advance(task, count), replicates=request.replicates,
    )  # fmt: skip
    return Comparison(names, setting, found)


def compare(
    first: Path, second: Path, request: Request, out: Path | None, progress: Progress
) -> tuple[list[Difference], int]:
    """(the second index's figures less the first's on the cases that both hold, of how many neighbours).

    Raises `QuestionError`, `ReportError` and what opening raises.
    """
    if out is not None:
        prepare_report_folder(out)
    made = compared(first, [second], request, progress)
    setting, found = made.setting, made.found
    if out is not None:
        facts = _facts(request, setting.k)
        facts |= {"compared": [str(first), str(second)], "cases": int(setting.cases.usable.sum())}
        files = {
            "differences.parquet": parquet_of(Difference, found.differences),
            FACTS: (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode(),
        }
        write_files(files, out)
    return found.differences, setting.k


def _opened(index: Path, request: Request) -> SearchEngine:
    engine = SearchEngine.open(index, encoder_name=request.encoder)
    if request.kind not in engine.archives:
        raise QuestionError(f"the index holds no {request.kind} scans, only {', '.join(engine.archives)}")
    patients = engine.archives[request.kind].patient_count
    if request.k is not None and not 1 <= request.k <= patients:
        raise QuestionError(
            f"k is {request.k}; the index holds {request.kind} scans of {patients} patients: ask for 1 to {patients}"
        )
    return engine


def _setting(engine: SearchEngine, request: Request, *, shared: Any = True) -> Setting:
    """`shared`: which cases (n,) another index holds too, where it is compared with."""
    kind = request.kind
    cases = evaluated_cases(engine, kind, request.where)
    cases = dataclasses.replace(cases, usable=cases.usable & shared)
    k = _k(request, cases)
    targets, left = targets_of(
        engine.snapshot.catalogue, engine.archives[kind], kind, cases.usable, further=request.targets,
        labels=_labels(engine, request),
    )  # fmt: skip
    protocols, missing = protocols_of(cases, sampled(cases, request.queries), k=k)
    return Setting(engine, cases, k, targets, protocols, left + missing)


def _baselines(setting: Setting, encoder: VectorSpace) -> list[Space]:
    cases = setting.cases
    spaces: list[Space] = [MetadataSpace(cases), *preview_spaces(setting.engine.snapshot, cases)]
    if len(np.unique(cases.sites[cases.usable & (cases.sites >= 0)])) > 1:
        spaces.append(site_centred(encoder.rows, cases))
    return [*spaces, RandomSpace(cases.usable)]


def distinct_names(paths: Sequence[Path], *, taken: Sequence[str] = ()) -> list[str]:
    """What to call indexes: their folders' names, or the whole path of one whose name another or a baseline has too; the same path
    again has a number. Figures are kept by these names.
    """
    counts = Counter([*(path.name for path in paths), *taken])
    found: list[str] = []
    for path in paths:
        name = path.name if path.name and counts[path.name] == 1 else str(path)
        times = found.count(name) + sum(other.startswith(f"{name} (") for other in found)
        found.append(f"{name} ({times + 1})" if times else name)
    return found


def _other_indexes(paths: Sequence[Path], cases: Evaluated) -> Iterator[VectorSpace]:
    for path, name in zip(paths, distinct_names(paths, taken=BASELINES), strict=True):
        try:
            yield other_index(name, open_current(path), cases)
        except ValueError as error:
            raise QuestionError(f"--other {error}") from error


def _blanked(setting: Setting, progress: Progress) -> tuple[list[VectorSpace], dict[str, int]]:
    cases, snapshot = setting.cases, setting.engine.snapshot
    task = progress.add_task("reading scans again", total=int(cases.usable.sum()))
    files = [list(names) for names in snapshot.catalogue.values("files", cases.kind)]
    return blanked_spaces(cases, files, setting.engine.encoder, lambda count: progress.advance(task, count))


def _k(request: Request, cases: Evaluated) -> int:
    """As asked; else 10, or half of the other patients where they are few."""
    others = len(np.unique(cases.patients[cases.usable])) - 1
    if others < 2:
        raise QuestionError("nothing to evaluate: the cases that --where allows are of fewer than 3 patients")
    if request.k is not None and request.k > others:
        raise QuestionError(
            f"k is {request.k}, but a query has only {others} other patients; ask for at most that many"
        )
    return request.k or min(DEFAULT_K, max(1, others // 2))


def _facts(request: Request, k: int) -> dict[str, Any]:
    return {
        "k": k,
        "kind": request.kind,
        "where": request.where,
        "targets": list(request.targets),
        "queries": request.queries,
        "replicates": request.replicates,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "scipy", "pyarrow")},
    }


def _labels(engine: SearchEngine, request: Request) -> dict[str, Any]:
    if request.labels is None:
        return {}
    return label_columns(request.labels, request.label_key, engine.archives[request.kind].case_ids)


def _metric(engine: SearchEngine, kind: str, target: str, labels: dict[str, Any], blocks: Sequence[Any]) -> Any:
    patients = engine.archives[kind].patients
    catalogue = engine.snapshot.catalogue
    try:
        if not blocks:
            raise QuestionError("nothing to evaluate: no case matches --where")
        if not any((block.rows != PADDING).any() for block in blocks):
            raise QuestionError(
                "nothing to evaluate: no case that --where allows has another patient to be compared with"
            )
        if target in {endpoint.name for endpoint in catalogue.endpoints}:
            return bootstrapped(outcome_auc(list(blocks), catalogue.values(target, kind), patients))
        if target in LISTS:
            raise QuestionError(f"--target {target!r} holds a list for each case; it cannot be evaluated")
        if target not in labels and target not in catalogue.columns():
            raise QuestionError(
                f"--target {target!r} is no column; there are: {', '.join([*labels, *catalogue.columns()])}"
            )
        values = labels[target] if target in labels else catalogue.values(target, kind)
        if values.dtype.kind in "fiu":
            return bootstrapped(rank_correlation(list(blocks), finite(values), patients))
        return bootstrapped(precision(list(blocks), values, patients))
    except ValueError as error:
        raise QuestionError(f"--target {target}: {error}") from error
