"""The report as one HTML page that needs no network and no scripts."""

from collections.abc import Callable, Mapping

from index.reporting.document import document
from index.reporting.markup import Markup, tag
from index.reporting.material import Material
from index.reporting.sections_counts import ages, dates, images, what_was_read
from index.reporting.sections_pixels import duplicates, pictures, rejected
from index.reporting.sections_records import completeness, conflicts, outcomes
from index.reporting.tables import Tables

SECTIONS: Mapping[str, Callable[[Material, Tables], Markup]] = {
    "What was read": what_was_read,
    "Completeness": completeness,
    "Outcomes": outcomes,
    "Dates and centres": dates,
    "Ages and sexes": ages,
    "Modalities, views and scanners": images,
    "Doubts and conflicts in the records": conflicts,
    "Doubts about pictures": pictures,
    "Duplicates": duplicates,
    "Rejected scans": rejected,
}


def render(material: Material, tables: Tables) -> str:
    """The whole page."""
    title = f"Data quality: {', '.join(material.cohorts)}"
    care = tag(
        "p",
        tag("strong", "For the people who look after this archive and may see its records. "),
        "The page names no patient, but it holds small numbers, which can point at one: do not publish it.",
        class_="care",
    )
    made = f"Made on {material.created:%Y-%m-%d at %H:%M %Z} by Likewise, version {material.code_version}."
    links = [tag("a", heading, href=f"#s{number}") for number, heading in enumerate(SECTIONS)]
    parts = [
        tag("section", tag("h2", heading), section(material, tables), id=f"s{number}")
        for number, (heading, section) in enumerate(SECTIONS.items())
    ]
    return document(title, tag("p", made, class_="note"), care, tag("nav", *links), *parts)
