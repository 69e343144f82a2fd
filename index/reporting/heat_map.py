"""Completeness as tables of shaded cells: a row a field, a column a centre."""

import math
from collections.abc import Sequence

from index.reporting.completeness import Completeness
from index.reporting.layout import SHORT
from index.reporting.markup import Markup, joined, tag
from index.reporting.words import centre_name, percent

ABREAST = 12  # centres beside each other at most: what a page of A4 across takes
DRAWN = 4 * ABREAST  # centres; an archive with more has them in the Parquet file

Place = tuple[bool, str | None]  # (all centres, which)


def heat_maps(rows: Sequence[Completeness]) -> Markup:
    """One table, or several where there are many centres, of rows that all count the same."""
    every: Place = (True, None)
    cells = {(row.field, (row.all_centres, row.centre)): row for row in rows}
    fields = list(dict.fromkeys(row.field for row in rows))
    places = sorted({place for _, place in cells if place != every}, key=lambda place: (place[1] is None, place[1]))
    if len(places) == 1:
        places = []  # all centres is that one
    drawn = places[:DRAWN]
    many = max(1, math.ceil(len(drawn) / ABREAST))
    width = math.ceil(len(drawn) / many)  # tables of about the same width
    blocks = [drawn[width * number : width * (number + 1)] for number in range(many)]
    tables = [_table(fields, [every, *block], cells) for block in blocks]
    left = len(places) - DRAWN
    more = tag("p", f"{left} more centres are in completeness.parquet.", class_="note") if left > 0 else ""
    return joined(*tables, more)


def _table(fields: Sequence[str], places: Sequence[Place], cells: dict[tuple[str, Place], Completeness]) -> Markup:
    totals = {place: max(cells[field, place].total for field in fields if (field, place) in cells) for place in places}
    head = tag("tr", tag("th", "", scope="col"), *(_heading(place, totals[place]) for place in places))
    body = [
        tag(
            "tr",
            tag("th", field, scope="row"),
            *(_cell(cells.get((field, place)), totals[place], first=place[0]) for place in places),
        )
        for field in fields
    ]
    return tag(
        "table", tag("thead", head), tag("tbody", *body), class_="heat short" if len(fields) <= SHORT else "heat"
    )


def _heading(place: Place, total: int) -> Markup:
    every, centre = place
    name = "all" if every else centre_name(centre)
    return tag("th", name, tag("small", f"{total:,}"), scope="col", class_="all" if every else None)


def _cell(row: Completeness | None, total: int, *, first: bool) -> Markup:
    """Percent over how many; how many of the others are stated unknown, or could not be used; of how many, if not all."""
    mark = " all" if first else ""
    if row is None or not row.total:
        return tag("td", "–", class_=f"none{mark}")
    parts = [f"{row.recorded:,}" if row.total == total else f"{row.recorded:,} of {row.total:,}"]
    parts += [f"?\u202f{row.stated_unknown:,}"] if row.stated_unknown else []
    parts += [f"×\u202f{row.not_used:,}"] if row.not_used else []
    shade = 10 * row.recorded // row.total
    said = (
        f"{row.field}, {'all centres' if row.all_centres else centre_name(row.centre)}: of {row.total:,} "
        f"{row.counted} {row.recorded:,} recorded, {row.stated_unknown:,} stated unknown, {row.not_used:,} not usable, "
        f"{row.blank:,} blank"
    )
    below = tag("small", *(joined(tag("span", part), " ") for part in parts))
    return tag("td", percent(row.recorded, row.total), below, class_=f"h{shade}{mark}", title=said)
