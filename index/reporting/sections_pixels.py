"""What the page says of the pixels: doubts, duplicates, rejections."""

from collections import Counter, defaultdict

from index.reporting.drawing import row_bar
from index.reporting.layout import or_unknown, table
from index.reporting.markup import Markup, joined, tag
from index.reporting.material import Material
from index.reporting.tables import Tables
from index.reporting.words import count_of, percent, where


def pictures(material: Material, tables: Tables) -> Markup:
    if not material.pixels_read:
        return tag("p", "The pixels were not read.")
    counts: dict[str, Counter[str | None]] = defaultdict(Counter)
    modalities: dict[str, Counter[str]] = defaultdict(Counter)
    for row in tables.image_flags:
        counts[row.flag][row.centre] += row.scans
        modalities[row.flag][or_unknown(row.modality)] += row.scans
    total = sum(size.pixels_read for size in tables.cohorts)
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    lines = [
        (
            flag,
            f"{found.total():,}",
            percent(found.total(), total),
            ", ".join(f"{name} {count:,}" for name, count in modalities[flag].most_common()),
            where(found.items()),
        )
        for flag, found in ordered
    ]
    note = tag("p", "What reading the pixels flagged. docs/decoding.md says what each flag means.", class_="note")
    if not lines:
        return joined(note, tag("p", f"None, of {count_of(total, 'scan')}."))
    return joined(note, table(("flag", "scans", "of all read", "modality", "where most"), lines, numbers=(1, 2)))


def duplicates(material: Material, tables: Tables) -> Markup:
    if not material.pixels_read:
        return tag("p", "The pixels were not read.")
    read = sum(size.pixels_read for size in tables.cohorts)
    lines = [
        (
            "under several pseudonyms" if row.across_patients else "within one patient",
            *(f"{number:,}" for number in (row.pictures, row.scans, row.patients, row.centres)),
        )
        for row in tables.duplicate_counts
    ]
    note = tag(
        "p",
        f"Scans whose decoded pixels are exactly equal, whatever their UIDs, among the {read:,} read. A picture under several pseudonyms is one person sent "
        "twice, or a mix-up. Which they are: duplicates.parquet, which holds pseudonyms.",
        class_="note",
    )
    head = ("the same picture", "pictures", "scans", "patients", "centres")
    return joined(note, table(head, lines, numbers=(1, 2, 3, 4)))


def rejected(material: Material, tables: Tables) -> Markup:
    counts: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in tables.rejected:
        counts[row.reason][row.centre] += row.scans
    if not counts:
        looked = (
            "No scan was rejected." if material.pixels_read else "None by its name or id; the pixels were not read."
        )
        return tag("p", looked)
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    largest = ordered[0][1].total()
    lines = [
        (reason, row_bar(found.total(), largest), f"{found.total():,}", where(found.items()))
        for reason, found in ordered
    ]
    note = tag(
        "p",
        "docs/decoding.md says what each reason means; ",
        tag("code", "python -m embed inspect FILE"),
        " explains one file.",
        class_="note",
    )
    return joined(note, table(("reason", "", "scans", "where most"), lines, numbers=(2,)))
