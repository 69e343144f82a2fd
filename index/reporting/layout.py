"""What the sections of the page are laid out with: tables, and a part for each cohort."""

from collections.abc import Callable, Iterable, Sequence

from index.reporting.markup import Markup, joined, tag
from index.reporting.material import Material
from index.reporting.words import NOT_RECORDED

SHORT = 8  # lines of a table that is printed on one page


def per_cohort(material: Material, of_cohort: Callable[[str], Markup]) -> Markup:
    """Each cohort's part, under its name where there are several."""
    if len(material.cohorts) == 1:
        return of_cohort(next(iter(material.cohorts)))
    return joined(*(joined(tag("h3", f"Cohort {name}"), of_cohort(name)) for name in material.cohorts))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int]) -> Markup:
    """`numbers`: the places of the columns that are set flush right."""
    right = tuple(numbers)
    lines = [tag("tr", *cells_of(row, right)) for row in rows]
    return tag("table", head_row(head, right), tag("tbody", *lines), class_="short" if len(lines) <= SHORT else None)


def head_row(head: Sequence[str], right: Sequence[int]) -> Markup:
    cells = (tag("th", name, scope="col", class_="n" if place in right else None) for place, name in enumerate(head))
    return tag("thead", tag("tr", *cells))


def cells_of(cells: Iterable[object], right: Sequence[int]) -> list[Markup]:
    return [
        tag("td", cell, class_="n" if place in right else "bar" if isinstance(cell, Markup) else None)
        for place, cell in enumerate(cells)
    ]


def or_unknown(value: str | None) -> str:
    return value or NOT_RECORDED
