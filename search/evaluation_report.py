"""An evaluation as one page that needs no network and no scripts, and its numbers as Parquet files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.reporting.document import document
from index.reporting.layout import table
from index.reporting.markup import Markup, joined, tag
from index.reporting.typed_rows import parquet_of
from search.baselines import ENCODER, METADATA, RANDOM, Space
from search.evaluated import Evaluated
from search.evaluation import MACRO, MICRO, Evaluation
from search.evaluation_drawing import COLOURS, CSS, Line, line_chart, point_map, reliability_chart
from search.evaluation_tables import Decile, Difference, Hubness, LeftOutRow, Point, Reliability, Score, VerdictRow
from search.landscape import Landscape
from search.metrics import cutoffs
from search.protocols import ONE_VIEW, OTHER_PATIENTS, Protocol
from search.retrieval_grid import Preview, grids
from search.targets import LeftOut, Role, Scale, Target
from search.verdict import Finding, Verdict, rows_of, twin_name

PAGE, FACTS = "report.html", "evaluation.json"
OUTCOME_METRICS = ("AUROC", "AUPRC", "Brier", "calibration slope", "calibration intercept")
SHOWN_CLASSES = {Verdict.SHORTCUT: "verdict shortcut", Verdict.CARRIED: "verdict carried"}
NONE = "–"


@dataclass(frozen=True, eq=False)
class Report:
    """What the page is made of."""

    facts: Mapping[str, Any]  # how it was made: index, encoder, versions, options
    cases: Evaluated
    evaluation: Evaluation
    findings: Sequence[Finding]
    targets: Sequence[Target]
    protocols: Sequence[Protocol]
    spaces: Sequence[Space]
    left_out: Sequence[LeftOut]
    landscape: Landscape
    preview: Preview

    @property
    def shown(self) -> list[Space]:
        """The spaces of plots and tables: not the encoder again on others' cases, which is there to be compared with them."""
        return [space for space in self.spaces if not space.name.startswith(twin_name("")[:-1])]

    @property
    def main_protocol(self) -> str:
        """As a search answers: within one view, where the archive has several."""
        names = {protocol.name for protocol in self.protocols}
        return ONE_VIEW if ONE_VIEW in names else OTHER_PATIENTS

    def of_role(self, role: Role) -> list[Target]:
        return [target for target in self.targets if target.role is role]


def files_of(report: Report) -> dict[str, bytes]:
    """File name -> content, the page last, so that it is never older than its numbers."""
    found = report.evaluation
    points = [
        Point(str(report.cases.case_ids[row]), float(x), float(y))
        for row, (x, y) in zip(report.landscape.rows, report.landscape.points, strict=True)
    ]
    left = [LeftOutRow(one.what, one.why) for one in report.left_out]
    rows: list[tuple[str, type, Sequence[Any]]] = [
        ("scores", Score, found.scores),
        ("differences", Difference, found.differences),
        ("reliability", Reliability, found.reliability),
        ("deciles", Decile, found.deciles),
        ("hubness", Hubness, found.hubness),
        ("verdicts", VerdictRow, rows_of(report.findings)),
        ("map", Point, points),
        ("left_out", LeftOutRow, left),
    ]
    files = {f"{name}.parquet": parquet_of(row, entries) for name, row, entries in rows}
    files[FACTS] = (json.dumps(report.facts, indent=1, sort_keys=True) + "\n").encode()
    files[PAGE] = render(report).encode()
    return files


def render(report: Report) -> str:
    """The whole page."""
    sections = {
        "Verdict": _verdicts(report),
        "What was asked": _asked(report),
        "The signatures under every protocol": _protocols(report),
        "Beside the baselines": _baselines(report),
        "Precision at k": _precision(report),
        "Outcomes told by neighbours": _outcomes(report),
        "Agreement by similarity": _tenths(report),
        "A map of the archive": _map(report),
        "Good and bad queries": _grids(report),
        "Hubs": _hubs(report),
        "What could not be evaluated": _left_out(report),
    }
    care = tag(
        "p", tag("strong", "Research only. "),
        "For the people who may see this archive's records. The page names no patient, but it shows scans and small numbers, which can point "
        "at one: do not publish it. Nothing in it is a risk or a diagnosis of anybody.", class_="care",
    )  # fmt: skip
    links = [tag("a", heading, href=f"#s{number}") for number, heading in enumerate(sections)]
    parts = [
        tag("section", tag("h2", heading), body, id=f"s{number}")
        for number, (heading, body) in enumerate(sections.items())
    ]
    return document("Does similarity carry outcome?", care, tag("nav", *links), *parts, css=CSS, pictures=True)


# ---- words -----------------------------------------------------------------------------------------------------------------


def _verdicts(report: Report) -> Markup:
    if not report.findings:
        return tag(
            "p", "There is no disease target to judge: name columns with --target, or give the cohort endpoints."
        )
    intro = (
        "A target is carried by the pictures only if neighbours share it more often than chance, more often than neighbours by age, sex, view "
        "and site do, if at least 80 % of that lift is left across sites and within one view, and if the neighbours' own sites and scanners "
        "explain less than half of it, with intervals that exclude chance."
    )
    boxes = []
    for finding in report.findings:
        checks = (tag("li", tag("strong", f"{check.name}: {check.result}. "), check.words) for check in finding.checks)
        shown = SHOWN_CLASSES.get(finding.verdict, "verdict")
        boxes.append(tag("div", tag("p", tag("strong", finding.words)), tag("ul", *checks), class_=shown))
    return joined(tag("p", intro), *boxes, _nuisance_words(report))


def _nuisance_words(report: Report) -> Markup:
    """Which nuisance neighbours share most."""
    scores = [
        score for score in report.evaluation.scores
        if (score.space, score.protocol, score.role, score.metric, score.average)
        == (ENCODER, OTHER_PATIENTS, str(Role.NUISANCE), report.evaluation.main_metric, MICRO) and score.lift_low > 1
    ]  # fmt: skip
    if not scores:
        return tag("p", "Among all other patients, neighbours share no nuisance more often than chance.")
    most = sorted(scores, key=lambda score: -score.lift)
    said = "; ".join(
        f"{s.title} {s.lift:.2f} times as often as chance ({s.lift_low:.2f} to {s.lift_high:.2f})" for s in most
    )
    return tag("p", f"Among all other patients, neighbours share beside the disease: {said}.")


def _asked(report: Report) -> Markup:
    cases, facts = report.cases, report.facts
    usable = int(cases.usable.sum())
    people = len(np.unique(cases.patients[cases.usable]))
    said = [
        f"Index snapshot {facts['snapshot']}, encoder {facts['encoder']}. {usable:,} {cases.kind} scans of {people:,} patients"
        + (f" ({facts['where']})" if facts.get("where") else "")
        + f", the {report.evaluation.k} nearest patients of each query.",
        "Every ranking is of other patients, each by their nearest scan whose target is recorded. "
        f"{cases.repeated:,} scans were left out because their very picture is there already; films that look like a copy of the query never "
        f"answer it. Intervals are 95 %, from drawing the patients again {facts['replicates']:,} times; the same draws serve every figure.",
    ]
    protocols = table(
        ("protocol", "who may answer", "queries"),
        [(p.name, p.told, f"{len(p.queries):,}") for p in report.protocols],
        numbers=(2,),
    )
    spaces = table(
        ("order of the archive", "what it knows", "cases"),
        [(s.name, s.told, f"{int(s.covers.sum()):,}") for s in report.spaces],
        numbers=(2,),
    )
    return joined(*(tag("p", line) for line in said), protocols, spaces)


# ---- tables ----------------------------------------------------------------------------------------------------------------


def _protocols(report: Report) -> Markup:
    metric = report.evaluation.main_metric
    by_place = {
        (s.protocol, s.target): s
        for s in report.evaluation.scores
        if (s.space, s.metric, s.average) == (ENCODER, metric, MICRO)
    }
    rows: list[list[object]] = []
    for role in Role:
        for target in report.of_role(role):
            cells = [by_place.get((protocol.name, target.name)) for protocol in report.protocols]
            if any(cells):
                rows.append([f"{target.title} ({role})", *(_lifted(cell) for cell in cells)])
    told = f"{metric} (95 % interval), chance, and lift, micro-averaged. A nuisance that is shared more than the disease is a warning."
    head = ("target", *(protocol.name for protocol in report.protocols))
    return joined(tag("p", told), table(head, rows, numbers=range(1, len(head))))


def _lifted(score: Score | None) -> Markup:
    if score is None:
        return tag("span", NONE)
    lift = f"lift {score.lift:.2f} ({score.lift_low:.2f} to {score.lift_high:.2f})"
    return tag("span", _of(score), tag("small", f"chance {score.chance:.3f}"), tag("small", lift), class_="lifted")


def _baselines(report: Report) -> Markup:
    """A table a disease target; every metric, and the nuisances, are folded away."""
    k = report.evaluation.k
    chosen = (f"P@{k}", "R-precision", "mAP@100", f"nDCG@{k}", "AUROC", "Brier", "rank correlation")
    told = f"Protocol “{report.main_protocol}”; every metric of every protocol is in scores.parquet. Brier: less is better."
    parts = [tag("p", told), *(_metrics_table(report, target, chosen) for target in report.of_role(Role.DISEASE))]
    every = [_metrics_table(report, target, None) for target in report.targets]
    folded = tag("details", tag("summary", "Every metric, nuisances too"), *every)
    return joined(*parts, _difference_table(report), folded)


def _metrics_table(report: Report, target: Target, chosen: Sequence[str] | None) -> Markup:
    """A line a metric, a column an order of the archive."""
    protocol = report.main_protocol if target.name != "view" else OTHER_PATIENTS
    scores = [s for s in report.evaluation.scores if (s.protocol, s.target) == (protocol, target.name)]
    scores = [s for s in scores if not np.isnan(s.value) and (chosen is None or s.metric in chosen)]
    if not scores:
        return joined()
    names = list(dict.fromkeys((s.metric, s.average) for s in scores))
    spaces = [space.name for space in report.shown if any(s.space == space.name for s in scores)]
    cells = {(s.metric, s.average, s.space): s for s in scores}
    rows = []
    for metric, average in names:
        chance = next((s.chance for s in scores if (s.metric, s.average) == (metric, average)), np.nan)
        told = metric if average not in (MICRO, MACRO) else f"{metric}, {average}"
        found = [cells.get((metric, average, space)) for space in spaces]
        rows.append((told, NONE if np.isnan(chance) else f"{chance:.3f}", *(_stacked(s) for s in found)))
    queries = max(s.queries for s in scores)
    title = f"{target.title}: {queries:,} queries of {max(s.patients for s in scores):,} patients, {protocol}"
    shown = table(("metric", "chance", *spaces), rows, numbers=range(1, len(spaces) + 2))
    return joined(tag("h3", title), tag("div", shown, class_="scores"))


def _difference_table(report: Report) -> Markup:
    """A line a target and metric, a column what the encoder is compared with."""
    k = report.evaluation.k
    metrics = (report.evaluation.main_metric, f"nDCG@{k}", "AUROC", "rank correlation")
    titles = {target.name: target.title for target in report.of_role(Role.DISEASE)}
    cells = {
        (d.target, d.metric, d.other): d
        for d in report.evaluation.differences
        if d.protocol == report.main_protocol and d.metric in metrics and d.target in titles and d.other != RANDOM
    }
    if not cells:
        return joined()
    others = list(dict.fromkeys(other for _, _, other in cells))
    lines = sorted({(name, metric) for name, metric, _ in cells}, key=lambda one: (list(titles).index(one[0]), one[1]))
    rows = [
        (titles[name], metric, *(_difference(cells.get((name, metric, other))) for other in others))
        for name, metric in lines
    ]
    head = ("target", "metric", *(f"less {other}" for other in others))
    told = tag(
        "p",
        "The encoder's figure less the baseline's, the same patients drawn for both. Bold: the interval excludes zero.",
    )
    return joined(tag("h3", "How much better than the baselines"), told, tag("div", table(head, rows, numbers=range(2, len(head))), class_="scores"))  # fmt: skip


def _difference(found: Difference | None) -> Markup:
    if found is None or np.isnan(found.difference):
        return tag("span", NONE)
    ends = tag("small", f"{found.low:+.3f} to {found.high:+.3f}")
    return tag(
        "strong" if found.low > 0 or found.high < 0 else "span", f"{found.difference:+.3f}", ends, class_="lifted"
    )


def _stacked(score: Score | None) -> Markup:
    if score is None or np.isnan(score.value):
        return tag("span", NONE)
    ends = joined() if np.isnan(score.low) else tag("small", f"{score.low:.3f} to {score.high:.3f}")
    return tag("span", f"{score.value:.3f}", ends, class_="lifted")


def _of(score: Score) -> str:
    if np.isnan(score.value):
        return NONE
    if np.isnan(score.low):
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _hubs(report: Report) -> Markup:
    told = (
        "How often a case is among the neighbours of others. Skewness far above 0: a few hubs answer many queries, whatever was asked "
        "(M. Radovanović et al., 2010)."
    )
    rows = [
        (h.space, h.protocol, f"{h.skewness:.2f}", f"{h.never_found:.0%}", f"{h.most_found:,} of {h.queries:,}")
        for h in report.evaluation.hubness
        if h.protocol == report.main_protocol
    ]
    head = ("order of the archive", "protocol", "skewness", "never found", "most found case answers")
    return joined(tag("p", told), table(head, rows, numbers=(2, 3, 4)))


def _left_out(report: Report) -> Markup:
    if not report.left_out:
        return tag("p", "Nothing.")
    return table(("what", "why"), [(one.what, one.why) for one in report.left_out], numbers=())


# ---- plots -----------------------------------------------------------------------------------------------------------------


def _colours(report: Report) -> dict[str, int]:
    return {space.name: number % COLOURS for number, space in enumerate(report.spaces)}


def _precision(report: Report) -> Markup:
    colours, at = _colours(report), cutoffs(report.evaluation.k)
    charts = []
    for target in [t for t in report.targets if t.scale is not Scale.NUMBER]:
        protocol = report.main_protocol if target.name != "view" else OTHER_PATIENTS
        scores = {
            (s.space, s.metric): s
            for s in report.evaluation.scores
            if (s.protocol, s.target, s.average) == (protocol, target.name, MICRO)
        }
        lines, chance = [], None
        for space in report.shown:
            found = [scores.get((space.name, f"P@{k}")) for k in at]
            if any(found) and space.name != RANDOM:
                value, low, high = ([getattr(s, f) if s else np.nan for s in found] for f in ("value", "low", "high"))
                lines.append(Line(space.name, value, low, high, colours[space.name]))
                chance = chance or [s.chance if s else np.nan for s in found]
        if lines:
            title = f"{target.title} ({protocol})"
            charts.append(line_chart(lines, [str(k) for k in at], title=title, below="k", chance=chance))
    told = "The share of the k nearest patients that have the query's own value. Whiskers are 95 % intervals."
    return joined(tag("p", told), tag("div", *charts, class_="plots"))


def _outcomes(report: Report) -> Markup:
    """Figures of the forecasts, and whether they may be believed."""
    binary = [target for target in report.targets if target.scale is Scale.BINARY]
    scores = [s for s in report.evaluation.scores if s.protocol == report.main_protocol and s.metric in OUTCOME_METRICS]
    rows = []
    for target in binary:
        for space in report.shown:
            cells = {s.metric: s for s in scores if (s.space, s.target) == (space.name, target.name)}
            if cells:
                rows.append(
                    (target.title, space.name, *(_of(cells[m]) if m in cells else NONE for m in OUTCOME_METRICS))
                )
    if not rows:
        return tag("p", "No yes-or-no target was recorded with both outcomes.")
    told = (
        f"The forecast of a query is the archive's rate among scans, moved by how far the share of its {report.evaluation.k} nearest patients with the outcome "
        "differs from that of all who could have been neighbours. Chance: AUROC 0.5. Well calibrated: slope 1 (below, forecasts are too extreme) and intercept 0 (above, too low)."
    )
    charts = [_reliability(report, target) for target in binary]
    return joined(
        tag("p", told),
        tag("div", table(("outcome", "order of the archive", *OUTCOME_METRICS), rows, numbers=range(2, 7)), class_="scores"),
        tag("div", *charts, class_="plots"),
    )  # fmt: skip


def _reliability(report: Report, target: Target) -> Markup:
    colours = _colours(report)
    lines = []
    for space in (ENCODER, METADATA):
        points = [
            (r.forecast, r.observed, r.low, r.high) for r in report.evaluation.reliability
            if (r.space, r.protocol, r.target) == (space, report.main_protocol, target.name)
        ]  # fmt: skip
        if points:
            lines.append((space, points, colours[space]))
    return reliability_chart(lines, title=f"Reliability: {target.title}") if lines else joined()


def _tenths(report: Report) -> Markup:
    charts = []
    for target in [t for t in report.of_role(Role.DISEASE) if t.scale is not Scale.NUMBER]:
        rows = [
            r for r in report.evaluation.deciles
            if (r.space, r.protocol, r.target) == (ENCODER, report.main_protocol, target.name)
        ]  # fmt: skip
        labels = list(dict.fromkeys(r.queries_of for r in rows if r.queries_of != "any"))[: COLOURS - 1]
        lines = [_tenth_line([r for r in rows if r.queries_of == c], target, c, n) for n, c in enumerate(labels)]
        if lines:
            wanted = "with the outcome" if target.scale is Scale.BINARY else "with the query's own value"
            title = f"{target.title}: share of patients {wanted}"
            charts.append(line_chart(lines, [str(n) for n in range(1, 11)], title=title, below="tenth of the gallery, the most similar first", top=1.0))  # fmt: skip
    told = (
        "Each query's gallery, ordered by similarity and cut into tenths. Where similarity carries the target, the lines of queries with and "
        "without it lie apart on the left and come together on the right."
    )
    return joined(tag("p", told), tag("div", *charts, class_="plots"))


def _tenth_line(rows: Sequence[Decile], target: Target, label: str, colour: int) -> Line:
    flip = target.scale is Scale.BINARY and label == "no"
    value, low, high = [r.agreement for r in rows], [r.low for r in rows], [r.high for r in rows]
    if flip:
        value, low, high = [1 - v for v in value], [1 - v for v in high], [1 - v for v in low]
    return Line(f"queries of {label} ({rows[0].queries:,})", value, low, high, colour)


def _map(report: Report) -> Markup:
    found = report.landscape
    wanted = [t for t in report.of_role(Role.DISEASE) if t.scale is not Scale.NUMBER][:2]
    wanted += [t for t in report.targets if t.name in ("site", "view")]
    charts = [point_map(found.points, _labels(target, found.rows), title=target.title) for target in wanted]
    return joined(
        tag("p", f"{found.method}; {len(found.rows):,} scans. Groups of one site or view by themselves show what else than disease is alike."),
        tag("div", *charts, class_="plots"),
    )  # fmt: skip


def _labels(target: Target, rows: npt.NDArray[np.int64]) -> list[str | None]:
    return [target.of_class(int(row)) if target.known[row] else None for row in rows]


def _grids(report: Report) -> Markup:
    """Of the first disease target that has any."""
    for target in report.of_role(Role.DISEASE):
        measured = report.evaluation.measured.get((ENCODER, report.main_protocol, target.name))
        if measured is not None and target.scale is not Scale.NUMBER:
            told = (
                f"By {target.title}: the queries whose neighbours agree most above chance, and least, each with its six nearest patients and "
                "their similarity. Green frames agree with the query, broken red ones do not, grey ones are not recorded."
            )
            views = report.cases.views.tolist()
            shown = grids(report.evaluation, measured, report.preview, views=views, patients=report.cases.patients)
            return joined(tag("p", told), shown)
    return tag("p", "No disease target.")
