"""The plots of an evaluation as inline SVG: lines with intervals, reliability, and maps of points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index.reporting.markup import Markup, joined, tag
from search.intervals import Floats

WIDTH, HEIGHT = 540, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38
MAP = 340  # a side
COLOURS = 8  # that css tells apart

CSS = """
.c0 { stroke: #1b5e94; fill: #1b5e94; } .c1 { stroke: #d2691e; fill: #d2691e; } .c2 { stroke: #7a8691; fill: #7a8691; }
.c3 { stroke: #3f8f4f; fill: #3f8f4f; } .c4 { stroke: #7d4fa0; fill: #7d4fa0; } .c5 { stroke: #b03050; fill: #b03050; }
.c6 { stroke: #0f9aa8; fill: #0f9aa8; } .c7 { stroke: #a08300; fill: #a08300; } .cx { stroke: #c4cad0; fill: #c4cad0; }
.line { fill: none; stroke-width: 2; } .whisker { stroke-width: 1.3; } .chance { stroke: #14181d; stroke-dasharray: 5 4; fill: none; }
.frame { fill: #fff; stroke: #c9cfd5; } .dot { stroke: #fff; stroke-width: .4; } .plots { display: flex; flex-wrap: wrap; gap: 4px 26px; }
.plots > figure { flex: 0 1 auto; } .plots h4, .grid h4 { margin: 6px 0 2px; font-size: 14px; }
.verdict { border-left: 6px solid #7a8691; padding: 4px 12px; margin: 8px 0; background: #f4f6f8; }
.verdict.shortcut { border-color: #b03050; background: #fdf1f3; } .verdict.carried { border-color: #3f8f4f; background: #f0f8f1; }
.verdict p { margin: 2px 0; } .verdict ul { margin: 4px 0; padding-left: 20px; font-size: 14px; }
.hits { display: flex; gap: 8px; margin: 6px 0 10px; align-items: flex-start; }
.hit { width: 118px; font-size: 12px; line-height: 1.25; } .hit div { width: 118px; height: 118px; border: 4px solid #9aa4ae;
  background: #000; display: flex; align-items: center; justify-content: center; } .hit img { max-width: 100%; max-height: 100%; }
.hit.same div { border-color: #3f8f4f; } .hit.other div { border-color: #b03050; border-style: dashed; }
.hit.query { margin-right: 14px; } .scores td, .scores th { padding: 2px 7px; font-size: 13.5px; }
.lifted small { display: block; color: #3a434d; font-weight: 400; white-space: nowrap; }
.legend { font-size: 13px; } details { margin: 6px 0 12px; } summary { cursor: pointer; color: #0b4a82; }
"""


@dataclass(frozen=True, eq=False)
class Line:
    """Values at the places of a chart's axis, with the ends of their intervals; NaN where there is none."""

    name: str
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: int
    drawn_through: bool = True


def line_chart(
    lines: Sequence[Line], labels: Sequence[str], *, title: str, below: str, chance: Sequence[float] | None = None, top: float | None = None,
) -> Markup:  # fmt: skip
    """Lines over places that are labelled, each with whiskers, set a little apart; the dashed line is chance."""
    numbers = [v for line in lines for v in (*line.values, *line.high) if not np.isnan(v)] + list(chance or [])
    upper = top if top is not None else _round_up(max(numbers, default=1.0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))

    def x(place: int, number: int) -> float:
        return LEFT + step * (place + 0.5) + (number - (len(lines) - 1) / 2) * min(7.0, 0.6 * step / max(1, len(lines)))

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(value, 0.0), upper) / upper)

    drawn = [_grid(upper, y)]
    for place, label in enumerate(labels):
        drawn.append(
            tag("text", label, x=f"{LEFT + step * (place + 0.5):.1f}", y=HEIGHT - BOTTOM + 16, text_anchor="middle")
        )
    drawn.append(tag("text", below, x=(LEFT + WIDTH) // 2, y=HEIGHT - 4, text_anchor="middle"))
    if chance is not None:
        path = _path([(LEFT + step * (p + 0.5), y(c)) for p, c in enumerate(chance) if not np.isnan(c)])
        drawn.append(tag("path", tag("title", "chance"), d=path, class_="chance"))
    for number, line in enumerate(lines):
        known = [place for place, value in enumerate(line.values) if not np.isnan(value)]
        if line.drawn_through:
            d = _path([(x(p, number), y(line.values[p])) for p in known])
            drawn.append(tag("path", d=d, class_=f"line c{line.colour}", style="fill:none"))
        for p in known:
            said = f"{line.name}, {labels[p]}: {line.values[p]:.3f} ({line.low[p]:.3f} to {line.high[p]:.3f})"
            where = f"{x(p, number):.1f}"
            if not np.isnan(line.low[p]):
                drawn.append(tag("line", x1=where, x2=where, y1=f"{y(line.low[p]):.1f}", y2=f"{y(line.high[p]):.1f}", class_=f"whisker c{line.colour}"))  # fmt: skip
            drawn.append(tag("circle", tag("title", said), cx=where, cy=f"{y(line.values[p]):.1f}", r=3.4, class_=f"c{line.colour}"))  # fmt: skip
    shown = [(line.name, line.colour) for line in lines]
    return _figure(title, drawn, WIDTH, HEIGHT, shown, dashed="chance" if chance is not None else None)


def reliability_chart(lines: Sequence[tuple[str, Sequence[tuple[float, float, float, float]], int]], *, title: str) -> Markup:  # fmt: skip
    """What was forecast against what came, (forecast, observed, low, high) a point; on the dashed line they agree."""
    side = HEIGHT
    span = side - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + span * value

    def y(value: float) -> float:
        return TOP + span * (1 - value)

    drawn = [_grid(1.0, y, width=LEFT + span)]
    for value in (0, 0.5, 1):
        drawn.append(tag("text", f"{value:g}", x=f"{x(value):.0f}", y=side - BOTTOM + 16, text_anchor="middle"))
    drawn.append(tag("text", "forecast of the neighbours", x=f"{x(0.5):.0f}", y=side - 4, text_anchor="middle"))
    drawn.append(tag("path", d=_path([(x(0), y(0)), (x(1), y(1))]), class_="chance"))
    for name, points, colour in lines:
        drawn.append(tag("path", d=_path([(x(f), y(o)) for f, o, _, _ in points]), class_=f"line c{colour}", style="fill:none"))  # fmt: skip
        for forecast, observed, low, high in points:
            where, said = f"{x(forecast):.1f}", f"{name}: forecast {forecast:.2f}, observed {observed:.2f} ({low:.2f} to {high:.2f})"  # fmt: skip
            drawn.append(tag("line", x1=where, x2=where, y1=f"{y(low):.1f}", y2=f"{y(high):.1f}", class_=f"whisker c{colour}"))  # fmt: skip
            drawn.append(
                tag("circle", tag("title", said), cx=where, cy=f"{y(observed):.1f}", r=3.4, class_=f"c{colour}")
            )
    shown = [(name, colour) for name, _, colour in lines]
    return _figure(title, drawn, LEFT + span + RIGHT, side, shown, dashed="forecast = observed")


def point_map(points: Floats, labels: Sequence[str | None], *, title: str) -> Markup:
    """Points (n, 2) coloured by their label: the most frequent ones, then “other”; grey where nothing is recorded."""
    counts = sorted({(-list(labels).count(label), label) for label in set(labels) if label is not None})
    named = [label for _, label in counts[:COLOURS]]
    if len(counts) > COLOURS:
        named = named[: COLOURS - 1]
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
    places = 10 + (points - low) / span * (MAP - 20)
    drawn = [tag("rect", x=0, y=0, width=MAP, height=MAP, class_="frame")]
    colours = [_colour(label, named) for label in labels]
    for wanted in (True, False):  # what is not recorded lies below
        for (a, b), colour in zip(places, colours, strict=True):
            if (colour == "cx") == wanted:
                drawn.append(tag("circle", cx=f"{a:.1f}", cy=f"{MAP - b:.1f}", r=3, class_=f"dot {colour}"))
    shown: list[tuple[str, int | str]] = [
        (f"{label} ({list(labels).count(label):,})", n) for n, label in enumerate(named)
    ]
    if len(counts) > COLOURS:
        shown.append((f"{len(counts) - len(named)} others", COLOURS - 1))
    if None in labels:
        shown.append((f"not recorded ({list(labels).count(None):,})", "x"))
    return _figure(title, drawn, MAP, MAP, shown)


def _colour(label: str | None, named: Sequence[str]) -> str:
    if label is None:
        return "cx"
    return f"c{named.index(label)}" if label in named else f"c{COLOURS - 1}"


def _figure(
    title: str, drawn: Sequence[Markup], width: int, height: int, shown: Sequence[tuple[str, int | str]], *, dashed: str | None = None
) -> Markup:  # fmt: skip
    chart = tag(
        "svg", tag("title", title), *drawn, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img"
    )
    entries = [
        joined(tag("span", tag("svg", tag("circle", cx=6, cy=6, r=5, class_=f"c{colour}"), width=12, height=12), " ", name), " ")
        for name, colour in shown
    ]  # fmt: skip
    if dashed:
        line = tag("svg", tag("path", d="M0 6H22", class_="chance"), width=22, height=12)
        entries.append(tag("span", line, " ", dashed))
    legend = tag("figcaption", *entries, class_="legend", style=f"max-width:{width}px")
    return tag("figure", tag("h4", title), chart, legend)


def _grid(upper: float, y: object, *, width: int = WIDTH - RIGHT) -> Markup:
    assert callable(y)
    drawn = []
    for part in range(5):
        value = upper * part / 4
        at = f"{y(value):.1f}"
        drawn.append(tag("line", x1=LEFT, x2=width, y1=at, y2=at, class_="grid"))
        drawn.append(tag("text", f"{value:.2g}", x=LEFT - 6, y=f"{y(value) + 4:.1f}", text_anchor="end"))
    return joined(*drawn)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'M' if not number else 'L'}{a:.1f} {b:.1f}" for number, (a, b) in enumerate(points))


def _round_up(value: float) -> float:
    """The next of 0.2, 0.4, 0.6, 0.8, 1 that is at least `value`."""
    return next((step for step in (0.2, 0.4, 0.6, 0.8) if value <= step), 1.0)
