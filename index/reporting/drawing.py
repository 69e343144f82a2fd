"""Bar charts as inline SVG, which browsers print as they show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count

from index.reporting.markup import Markup, joined, tag

WIDTH, HEIGHT = 1100, 230
LEFT, BOTTOM, TOP = 56, 24, 8
LABEL_ROOM = 62  # units of width that a label on the axis needs
ROW_BAR = 220


@dataclass(frozen=True)
class Column:
    """One column of a chart: a label below, and the parts that are stacked, in the order of the chart's legend."""

    label: str
    parts: tuple[int, ...]


def column_chart(columns: Sequence[Column], *, legend: Sequence[str], title: str, width: int = WIDTH) -> Markup:
    """Stacked columns with an axis of counts; the legend where there is more than one part."""
    top = _round_up(max((sum(column.parts) for column in columns), default=0))
    pitch = (width - LEFT) / max(1, len(columns))
    drawn = [_axis(top, width)]
    every = max(1, -(-LABEL_ROOM // max(1, int(pitch))))  # rounded up
    for place, column in enumerate(columns):
        left = LEFT + place * pitch
        drawn.append(_column(column, left, pitch, top, legend))
        if place % every == 0:
            middle = left + pitch / 2
            drawn.append(tag("text", column.label, x=f"{middle:.1f}", y=HEIGHT - 6, text_anchor="middle"))
    chart = tag("svg", tag("title", title), *drawn, viewBox=f"0 0 {width} {HEIGHT}", role="img", class_="chart", style=f"max-width:{width}px")  # fmt: skip
    return tag("figure", _legend(legend) if len(legend) > 1 else "", chart)


def row_bar(value: int, largest: int) -> Markup:
    """A bar for a cell of a table, as long as `value` is of `largest`."""
    width = ROW_BAR * value / largest if largest else 0
    bar = tag("rect", x=0, y=1, width=f"{width:.1f}", height=11, class_="part0")
    return tag("svg", bar, width=ROW_BAR, height=13, viewBox=f"0 0 {ROW_BAR} 13", aria_hidden="true")


def _column(column: Column, left: float, pitch: float, top: int, legend: Sequence[str]) -> Markup:
    drawn, base = [], 0
    for number, (part, name) in enumerate(zip(column.parts, legend, strict=True)):
        if part:
            upper, lower = _y(base + part, top), _y(base, top)
            said = tag("title", f"{column.label}: {part:,} {name}")
            drawn.append(
                tag("rect", said, x=f"{left + pitch * 0.08:.1f}", y=f"{upper:.1f}", width=f"{pitch * 0.84:.1f}",
                    height=f"{max(lower - upper, 0.5):.1f}", class_=f"part{number}")
            )  # fmt: skip
            base += part
    return joined(*drawn)


def _axis(top: int, width: int) -> Markup:
    drawn = []
    for value in sorted({0, top // 2, top}):
        y = f"{_y(value, top):.1f}"
        drawn.append(tag("line", x1=LEFT, x2=width, y1=y, y2=y, class_="grid"))
        drawn.append(tag("text", f"{value:,}", x=LEFT - 6, y=f"{_y(value, top) + 4:.1f}", text_anchor="end"))
    return joined(*drawn)


def _legend(names: Sequence[str]) -> Markup:
    entries = [
        tag(
            "span", tag("svg", tag("rect", width=12, height=12, class_=f"part{number}"), width=12, height=12), " ", name
        )
        for number, name in enumerate(names)
    ]
    return tag("figcaption", *entries)


def _y(value: float, top: int) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def _round_up(value: int) -> int:
    """The next even number of the kind 2, 4, 6 … 16, 20, 30, 40, 50, 60, 80, 100, 200 … that is at least `value`."""
    tops = chain((2, 4, 6, 8, 10, 12, 16), (lead * 10**zeros for zeros in count(1) for lead in (2, 3, 4, 5, 6, 8, 10)))
    return next(top for top in tops if top >= value)
