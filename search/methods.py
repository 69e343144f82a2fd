"""A study's methods paragraph: what was done, in the words of a paper, with nothing that was not done."""

from collections.abc import Mapping
from dataclasses import dataclass

from index.manifest import IndexManifest
from search.study_plan import QuerySource, StudyPlan

KINDS = {"xray": "chest radiograph", "ct": "chest CT scan", "mri": "chest MR scan"}
UNKNOWN = "unknown"  # the code's version in a manifest, where the build could not tell


@dataclass(frozen=True)
class Told:
    """What the paragraph tells of a finished study."""

    plan: StudyPlan
    k: int
    manifest: IndexManifest
    eligible: int  # archived scans that could be neighbours
    eligible_patients: int
    asked: int
    unasked: Mapping[str, int]  # reason -> how many queries
    neighbours: int
    fewer: int  # queries with fewer than k neighbours
    scans_read: bool  # the queries are scans, of which also those are left out who have a near copy


def methods_paragraph(told: Told) -> str:
    """One paragraph and a line on its limits, ending with a line break; the same study gives the same text."""
    sentences = [*_archive(told), *_queries(told), *_search(told), *_exclusions(told)]
    return (
        " ".join(sentences)
        + "\n\nResearch use only: similarity of appearance is not a diagnosis, and neighbours' outcomes are not a prognosis.\n"
    )


def _archive(told: Told) -> list[str]:
    manifest = told.manifest
    cohorts = " and ".join(sorted(manifest.cohorts))
    code = "" if manifest.code_version == UNKNOWN else f" {manifest.code_version}"
    found = [
        f"Neighbours were sought among {_scans(told.eligible, told)} of {_count(told.eligible_patients, 'patient')} of {cohorts} "
        f"(Likewise{code}, index snapshot {manifest.name})."
    ]
    if told.plan.where:
        found.append(f"The archive was restricted to cases for which the condition [{told.plan.where}] holds.")
    return found


def _queries(told: Told) -> list[str]:
    plan = told.plan
    origin = {
        QuerySource.ARCHIVE: "of the same archive" + (f" for which [{plan.asked}] holds" if plan.asked else ""),
        QuerySource.COHORT: f"of the cohort {plan.queries[0].partition('=')[0] if plan.queries else ''}",
        QuerySource.FOLDER: "of a folder",
        QuerySource.TABLE: "listed in a table",
        QuerySource.SCANS: "named one by one",
    }[plan.source]
    verb = "query was" if told.asked == 1 else "queries were"
    found = [f"The {verb} {_scans(told.asked, told)} {origin}."]
    if told.unasked:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in told.unasked.items())
        found.append(f"A further {sum(told.unasked.values()):,} could not be asked: {reasons}.")
    return found


def _search(told: Told) -> list[str]:
    manifest = told.manifest
    others = "patient was" if told.k == 1 else "patients were"
    return [
        f"Each scan was represented by a unit vector of {manifest.dim} dimensions (encoder {manifest.fingerprint}), centred on the "
        "archive's mean; similarity is the cosine of two such vectors.",
        f"For each query the {told.k:,} most similar other {others} found by exact search, each patient counted once by their most "
        f"similar scan, ties broken by case identifier; this gave {_count(told.neighbours, 'pair')}"
        + (
            f", with fewer than {told.k:,} neighbours for {_count(told.fewer, 'query', 'queries')}."
            if told.fewer
            else "."
        ),
    ]


def _exclusions(told: Told) -> list[str]:
    plan = told.plan
    left = ["all scans of the query's own patient (also under another pseudonym with an identical image)"]
    if plan.kind == "xray" and (
        plan.exclude.near_duplicates or plan.source not in (QuerySource.ARCHIVE, QuerySource.TABLE)
    ):
        left.append("patients with a near-duplicate of the query by perceptual hash")
    if plan.exclude.own_site:
        left.append("scans of the query's own or an unknown site")
    if plan.exclude.later_scans:
        left.append("scans not known to be of an earlier day than the query")
    found = [f"Left out were {_listed(left)}."]
    if plan.kind == "xray":
        found.append(
            "Only scans of the query's projection, where it was known, could be neighbours."
            if plan.match_view
            else "Scans of any projection could be neighbours."
        )
    return found


def _scans(number: int, told: Told) -> str:
    return _count(number, KINDS.get(told.plan.kind, f"{told.plan.kind} scan"))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{'; '.join(parts[:-1])}; and {parts[-1]}"
