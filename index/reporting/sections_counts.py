"""What the page says of what was read, and how it is spread over time, people and scanners."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from index.reporting.distributions import Month, Spread
from index.reporting.drawing import Column, column_chart, row_bar
from index.reporting.layout import or_unknown, per_cohort, table
from index.reporting.markup import Markup, joined, tag
from index.reporting.material import Material
from index.reporting.tables import Tables
from index.reporting.words import NOT_RECORDED, centre_name, count_of, percent

LONGEST_LIST = 30  # rows of a list that may have hundreds; the Parquet file has all
MONTHS_DRAWN = 180  # beyond, a column is a year
SEXES = (("F", "female"), ("M", "male"), (None, "sex not recorded"))


def what_was_read(material: Material, tables: Tables) -> Markup:
    head = ("cohort", "scans", "patients", "centres", "first scan", "last scan", "pixels read", "rejected", "read from")
    rows = [
        (
            size.cohort,
            *(f"{number:,}" for number in (size.scans, size.patients, size.centres)),
            size.first_scan or NOT_RECORDED,
            size.last_scan or NOT_RECORDED,
            *(f"{number:,}" for number in (size.pixels_read, size.rejected)),
            size.source,
        )
        for size in tables.cohorts
    ]
    parts = [table(head, rows, numbers=(1, 2, 3, 6, 7)), tag("p", material.pixels)]
    if tables.counts:
        parts.append(tag("h3", "Beside these"))
        parts.append(table(("", "how many"), [(row.what, f"{row.count:,}") for row in tables.counts], numbers=(1,)))
    return joined(*parts)


def dates(material: Material, tables: Tables) -> Markup:
    def of_cohort(cohort: str) -> Markup:
        months = [row for row in tables.months if row.cohort == cohort]
        undated = sum(row.scans for row in months if row.year is None)
        parts = []
        if undated < sum(row.scans for row in months):
            columns, legend, unit = _time_columns([row for row in months if row.year is not None])
            parts = [tag("h3", f"Scans by {unit}"), column_chart(columns, legend=legend, title=f"Scans by {unit}")]
        if undated:
            parts.append(tag("p", f"{count_of(undated, 'scan')} without a date."))
        return joined(*parts, tag("h3", "Scans (patients) by year and centre"), _years(cohort, tables))

    return per_cohort(material, of_cohort)


def _time_columns(months: Sequence[Month]) -> tuple[list[Column], list[str], str]:
    """(columns without gaps, what their parts are, "month" or "year")."""
    legend = [or_unknown(value) for value in _frequent((row.modality, row.scans) for row in months)]
    places: dict[int, Counter[str]] = defaultdict(Counter)
    numbers = [(row.year or 0) * 12 + (row.month or 1) - 1 for row in months]
    by_month = max(numbers) - min(numbers) < MONTHS_DRAWN
    for number, row in zip(numbers, months, strict=True):
        name = or_unknown(row.modality)
        places[number if by_month else number // 12][name if name in legend else "other"] += row.scans
    if any("other" in counts for counts in places.values()):
        legend = [*legend, "other"]
    label = (lambda place: f"{place // 12}-{place % 12 + 1:02}") if by_month else str
    columns = [
        Column(label(place), tuple(places[place][name] for name in legend))
        for place in range(min(places), max(places) + 1)
    ]
    return columns, legend, "month" if by_month else "year"


def _years(cohort: str, tables: Tables) -> Markup:
    rows = [row for row in tables.years if row.cohort == cohort]
    cells = {(row.centre, row.year): row for row in rows}
    years = sorted({row.year for row in rows if row.year is not None})
    columns: list[int | None] = [*years, None] if any(row.year is None for row in rows) else [*years]
    by_centre = Counter[str | None]()
    for row in rows:
        by_centre[row.centre] += row.scans
    lines = []
    for centre in sorted(by_centre, key=lambda centre: (centre is None, centre)):
        found = [cells.get((centre, year)) for year in columns]
        shown = (f"{cell.scans:,} ({cell.patients:,})" if cell else "" for cell in found)
        lines.append((centre_name(centre), *shown, f"{by_centre[centre]:,}"))
    sums = [sum(cell.scans for (_, year), cell in cells.items() if year == column) for column in columns]
    lines.append(("all, scans", *(f"{total:,}" for total in sums), f"{sum(sums):,}"))
    head = ("centre", *(str(year) if year is not None else "no date" for year in columns), "scans")
    return table(head, lines, numbers=range(1, len(head)))


def ages(material: Material, tables: Tables) -> Markup:
    def of_cohort(cohort: str) -> Markup:
        rows = [row for row in tables.ages if row.cohort == cohort]
        counts = Counter[tuple[str | None, int | None]]()
        for row in rows:
            counts[row.sex, row.age_from] += row.patients
        by_sex = [(words, sum(n for (sex, _), n in counts.items() if sex == key)) for key, words in SEXES]
        total = sum(counts.values())
        said = "; ".join(f"{count:,} {words} ({percent(count, total)})" for words, count in by_sex if count)
        known = sorted({low for _, low in counts if low is not None})
        unknown = sum(n for (_, low), n in counts.items() if low is None)
        parts = [tag("p", f"{count_of(total, 'patient')}: {said}.")]
        if known:
            sexes = [entry for entry in SEXES if any(sex == entry[0] for sex, _ in counts)]
            width = next(row.age_below - row.age_from for row in rows if row.age_from is not None and row.age_below)
            columns = [
                Column(str(low), tuple(counts[sex, low] for sex, _ in sexes))
                for low in range(known[0], known[-1] + 1, width)
            ]
            title = f"Patients by age, {width} years from the year below each column"
            parts += [tag("h3", title), column_chart(columns, legend=[words for _, words in sexes], title=title)]
        if unknown:
            parts.append(tag("p", f"{count_of(unknown, 'patient')} without an age."))
        return joined(*parts)

    return per_cohort(material, of_cohort)


def images(material: Material, tables: Tables) -> Markup:
    def of_cohort(cohort: str) -> Markup:
        rows = [row for row in tables.spreads if row.cohort == cohort]
        views = [row for row in rows if row.property == "view" and row.modality not in ("CT", "MR")]
        tables_shown = (
            _bars("Modality", [row for row in rows if row.property == "modality"]),
            _bars("View, of what is neither CT nor MR", views) if views else "",
        )
        return joined(
            tag("div", *tables_shown, class_="two"),
            _bars("Scanner", [row for row in rows if row.property == "scanner"]),
        )

    return per_cohort(material, of_cohort)


def _bars(title: str, rows: Iterable[Spread]) -> Markup:
    counts: Counter[str | None] = Counter()
    centres: dict[str | None, set[str | None]] = defaultdict(set)
    for row in rows:
        counts[row.value] += row.scans
        centres[row.value] |= {row.centre} - {None}
    largest, total = max(counts.values(), default=0), sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    lines = [
        (
            or_unknown(value),
            row_bar(count, largest),
            f"{count:,}",
            percent(count, total),
            f"{len(centres[value]):,}" if centres[value] else "–",
        )
        for value, count in ordered[:LONGEST_LIST]
    ]
    head = (title.lower().partition(",")[0], "", "scans", "share", "centres")
    return tag("div", tag("h3", title), table(head, lines, numbers=(2, 3, 4)), _more(ordered, "spreads"))


def _more(ordered: Sequence[object], name: str) -> Markup:
    left = len(ordered) - LONGEST_LIST
    return tag("p", f"{left:,} more in {name}.parquet.", class_="note") if left > 0 else joined()


def _frequent(counted: Iterable[tuple[str | None, int]], *, most: int = 4) -> list[str | None]:
    counts: Counter[str | None] = Counter()
    for value, count in counted:
        counts[value] += count
    return [value for value, _ in counts.most_common(most)]
