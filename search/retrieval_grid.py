"""Good and bad queries beside their neighbours: pictures tell what no figure does."""

import base64
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from index.reporting.markup import Markup, tag
from search.evaluation import Evaluation, Measured
from search.intervals import Codes
from search.metrics import names
from search.targets import Scale, Target

QUERIES, HITS = 4, 6
SIDE, QUALITY = 118, 72  # of the pictures in the page

Preview = Callable[[int], bytes | None]  # a case's row -> its JPEG


def grids(
    evaluation: Evaluation, measured: Measured, preview: Preview, *, views: Sequence[str | None], patients: Codes
) -> Markup:
    """The queries whose neighbours agree most above chance, and least; one of a patient."""
    nearest = evaluation.nearest[measured.space.name, measured.protocol.name]
    place = {query: number for number, query in enumerate(nearest.queries.tolist())}
    metric = names(evaluation.k, graded=measured.target.scale is Scale.GRADED).index(evaluation.main_metric)
    excess = measured.values[:, metric] - measured.chances[:, metric]
    order = np.argsort(-excess, kind="stable")
    parts = []
    for heading, chosen in (("Good queries", order), ("Bad queries", order[::-1])):
        parts.append(tag("h4", heading))
        for number in _one_a_patient(chosen, patients[measured.queries])[:QUERIES]:
            query = int(measured.queries[number])
            if query in place:
                rows = nearest.rows[place[query]][:HITS]
                likeness = nearest.similarities[place[query]][:HITS]
                parts.append(_line(query, rows, likeness, measured.target, preview, views))
    return tag("div", *parts, class_="grid")


def _one_a_patient(order: Codes, patients: Codes) -> Codes:
    """The places of which no earlier one is of the same patient."""
    _, first = np.unique(patients[order], return_index=True)
    return order[np.sort(first)]


def _line(query: int, rows: Sequence[int], likeness: Sequence[float], target: Target, preview: Preview, views: Sequence[str | None]) -> Markup:  # fmt: skip
    cells = [_hit(query, "query", f"query: {_told(query, target, views)}", preview)]
    for row, similarity in zip(rows, likeness, strict=True):
        known = target.known[row]
        kind = "" if not known else "same" if target.codes[row] == target.codes[query] else "other"
        cells.append(_hit(int(row), kind, f"{similarity:.3f}: {_told(int(row), target, views)}", preview))
    return tag("div", *cells, class_="hits")


def _told(row: int, target: Target, views: Sequence[str | None]) -> str:
    return f"{target.of_class(row)}{f', {views[row]}' if views[row] else ''}"


def _hit(row: int, kind: str, said: str, preview: Preview) -> Markup:
    jpeg = preview(row)
    picture = (
        tag("span", "no preview")
        if jpeg is None
        else Markup(f'<img alt="" src="data:image/jpeg;base64,{_small(jpeg)}">')
    )
    return tag("div", tag("div", picture), said, class_=f"hit {kind}")


def _small(jpeg: bytes) -> str:
    """The picture at the size in which the page shows it, as base64."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    scale = 1.6 * SIDE / max(grey.shape)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return base64.b64encode(encoded.tobytes()).decode("ascii")
