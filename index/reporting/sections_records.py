"""What the page says of the records: completeness, outcomes, doubts."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from index.reporting.clinical_flags import ClinicalFlag, Gravity
from index.reporting.heat_map import heat_maps
from index.reporting.layout import SHORT, cells_of, head_row, per_cohort, table
from index.reporting.markup import Markup, joined, tag
from index.reporting.material import COMPLETED, Material
from index.reporting.tables import Tables
from index.reporting.words import centre_name, percent, where

GRAVITIES = {
    Gravity.CONTRADICTION: "Contradictions: two places say different things",
    Gravity.NOT_USED: "Not used: what is written cannot be understood, or cannot be",
    Gravity.READING: "Readings: how a cell was taken",
}


def completeness(material: Material, tables: Tables) -> Markup:
    legend = tag(
        "p",
        "A cell says for how many per cent something usable is on record, below it how many they are. ",
        tag("b", "?"),
        " counts those where the record states that it is not known, ",
        tag("b", "×"),
        " those where something stands that could not be understood or cannot be; the rest are blank. Below a centre's "
        "name: how many it has. Fields bear their names in ",
        tag("code", "--where"),
        "; one that nobody has is not listed.",
        class_="note",
    )

    def of_cohort(cohort: str) -> Markup:
        rows = [row for row in tables.completeness if row.cohort == cohort]
        if not material.pixels_read:  # nobody looked: that is not 0 %
            none = {row.field for row in rows if row.all_centres and not row.recorded and row.field in COMPLETED}
            rows = [row for row in rows if row.field not in none]
        images = [row for row in rows if row.counted == "scans"]
        patients = [row for row in rows if row.counted == "patients"]
        return joined(
            tag("h3", "Images, counted by scan"),
            heat_maps(images),
            tag("h3", "Records, counted by patient"),
            tag(
                "p",
                "A field counts as recorded if it is for any scan of the patient. Of an outcome, yes and no are recorded.",
                class_="note",
            ),
            heat_maps(patients),
        )

    return joined(legend, per_cohort(material, of_cohort))


def outcomes(material: Material, tables: Tables) -> Markup:
    def of_cohort(cohort: str) -> Markup:
        rows = []
        for name in dict.fromkeys(row.endpoint for row in tables.endpoints if row.cohort == cohort):
            own = [row for row in tables.endpoints if row.cohort == cohort and row.endpoint == name]
            yes, no, unknown, dated = (
                sum(getattr(row, part) for row in own) for part in ("yes", "no", "not_recorded", "yes_dated")
            )
            known = yes + no
            rows.append(
                (
                    name,
                    f"{yes:,} ({percent(yes, known)} of the known)",
                    f"{no:,}",
                    f"{unknown:,} ({percent(unknown, known + unknown)})",
                    f"{dated:,} ({percent(dated, yes)} of yes)",
                )
            )
        if not rows:
            return tag("p", "This cohort has no endpoints.")
        head = ("endpoint", "yes", "no", "not recorded", "yes, with its day known")
        return table(head, rows, numbers=(1, 2, 3, 4))

    note = tag("p", "Patients; one who was seen in two centres counts in each.", class_="note")
    return joined(note, per_cohort(material, of_cohort))


def conflicts(material: Material, tables: Tables) -> Markup:
    def of_cohort(cohort: str) -> Markup:
        rows = [row for row in tables.clinical_flags if row.cohort == cohort]
        patients = next(size.patients for size in tables.cohorts if size.cohort == cohort)
        parts = [tag("h3", "By centre, once for each patient and field"), _doubts_by_centre(cohort, tables)]
        for gravity, heading in GRAVITIES.items():
            own = [row for row in rows if row.gravity == gravity]
            parts += [tag("h3", heading), _flag_table(own, patients) if own else tag("p", "None.")]
        return joined(*parts)

    note = tag(
        "p",
        "Every cell of a record that was read with a doubt, by field and centre. A patient who was seen in two centres counts in "
        "each. One kind of doubt in one centre alone is often a habit of that centre.",
        class_="note",
    )
    return joined(note, per_cohort(material, of_cohort))


def _doubts_by_centre(cohort: str, tables: Tables) -> Markup:
    counts: dict[str | None, Counter[str]] = defaultdict(Counter)
    for row in tables.clinical_flags:
        if row.cohort == cohort:
            counts[row.centre][row.gravity] += row.patients
    people = {
        row.centre: row.total
        for row in tables.completeness
        if row.cohort == cohort and row.field == "sex" and not row.all_centres
    }
    ordered = sorted(people.items(), key=lambda item: (item[0] is None, item[0]))
    lines = [
        (centre_name(centre), f"{total:,}", *(f"{counts[centre][gravity]:,}" for gravity in GRAVITIES))
        for centre, total in ordered
    ]
    head = ("centre", "patients", *(heading.partition(":")[0].lower() for heading in GRAVITIES.values()))
    return table(head, lines, numbers=range(1, len(head)))


def _flag_table(rows: Iterable[ClinicalFlag], patients: int) -> Markup:
    """A heading for each flag, under it the fields that have it; the most frequent first."""
    fields: dict[tuple[str, str], dict[str, Counter[str | None]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rows:
        fields[row.flag, row.meaning][row.field][row.centre] += row.patients
    groups = []
    for (flag, meaning), found in sorted(fields.items(), key=lambda item: -max(c.total() for c in item[1].values())):
        heading = tag("th", flag, ": ", tag("span", meaning), scope="rowgroup", colspan=4)
        ordered = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))
        lines = [
            tag("tr", *cells_of((field, f"{by.total():,}", percent(by.total(), patients), where(by.items())), (1, 2)))
            for field, by in ordered[:SHORT]
        ]
        if others := ", ".join(f"{field} {by.total():,}" for field, by in ordered[SHORT:]):
            lines.append(tag("tr", tag("td", f"also {others}", colspan=4)))
        groups.append(tag("tbody", tag("tr", heading, class_="group"), *lines))
    return tag("table", head_row(("field", "patients", "of all", "where most"), (1, 2)), *groups)
