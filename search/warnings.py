"""What the reader of an answer must doubt: every warning there is, and when it is given."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.scan import Flag
from index.case import Case, State
from search.concentration import Concentration
from search.likeness import FEWEST_FOR_STRANGERS, Likeness
from search.neighbour import Neighbour
from search.outcomes import FEWEST_KNOWN, OutcomeSummary

ADULT_YEARS = 18
CONTROLS = ("negative", "negative_unconfirmed")  # NCCID's `covid_status`

# code -> what it means; docs/searching.md has the same table, and a test compares them
MEANINGS = {
    "archived-picture": "the query's very picture is archived, under a patient whom neither the file nor `--patient` names",
    "few-known": "an endpoint is recorded for fewer than 5 of the neighbours: no share is given",
    "fewer-than-asked": "fewer than `k` patients were eligible",
    "near-copy": "an archived film of an unnamed patient looks like a recompressed or cropped copy of the query",
    "nearer-than-strangers": "a neighbour is more like the query than any of 1,000 archived cases is like its nearest of another patient: perhaps the same patient",
    "negatives-without-outcomes": "some neighbours are COVID-negative controls, of whom the archive records no outcome",
    "one-scanner": "at least half of the neighbours come from one scanner, more than the eligible archive explains",
    "one-site": "at least half of the neighbours come from one site, more than the eligible archive explains",
    "other-view": "some neighbours are of another view than the query",
    "paediatric": "the query is of a patient under 18, and the eligible archive is not known to be mostly of such",
    "query-flagged": "something about the query's pixels is to be doubted",
    "several-patients": "the scans asked together name different patients",
    "unlike-archive": "the query's nearest case is less alike than those of 99 in 100 archived cases",
    "view-unknown": "the query's view is not known, so neighbours of any view are shown",
}


@dataclass(frozen=True)
class ReaderWarning:
    """One reason to doubt an answer: a code of `MEANINGS` and a sentence for people. It names no patient and no site."""

    code: str
    message: str

    def __post_init__(self) -> None:
        assert self.code in MEANINGS, self.code


def of_flags(flags: Iterable[Flag]) -> Iterator[ReaderWarning]:
    for flag in flags:
        yield ReaderWarning("query-flagged", f"This scan: {flag.message}.")


def of_identity(*, people: int, archived: bool, copies: int, include_own: bool) -> Iterator[ReaderWarning]:
    """`people`: named by the headers; `archived`: the very picture, and `copies`: films like it, of patients not named."""
    if people > 1:
        yield ReaderWarning("several-patients", f"The scans asked together are of {people} patients by their headers.")
    if archived:
        end = "" if include_own else "; its patient is left out"
        yield ReaderWarning("archived-picture", f"This very picture is in the archive{end}.")
    if copies:
        like = "1 archived film looks like a copy" if copies == 1 else f"{copies} archived films look like copies"
        left_out = "their patients are left out" if copies > 1 else "its patient is left out"
        end = "" if include_own else f"; {left_out}"
        yield ReaderWarning("near-copy", f"{like} of this scan (recompressed or cropped){end}.")


def of_views(kind: str, views: Sequence[str | None], neighbours: Sequence[Neighbour]) -> Iterator[ReaderWarning]:
    if kind != "xray":
        return
    if None in views:
        yield ReaderWarning(
            "view-unknown",
            "This scan's view is not known: neighbours of any view are shown, and AP films come from sicker patients.",
        )
    elif any(neighbour.case.view not in views for neighbour in neighbours):
        yield ReaderWarning("other-view", "Some neighbours are of another view than this scan.")


def of_age(age_years: float | None, ages: npt.NDArray[np.float64]) -> Iterator[ReaderWarning]:
    """`ages` are those of the eligible patients, NaN where not recorded: an archive of children warns of no child."""
    if age_years is None or age_years >= ADULT_YEARS:
        return
    known = ages[~np.isnan(ages)]
    children = int((known < ADULT_YEARS).sum())
    if len(known) and 2 * children >= len(known):
        return
    archive = f"of the eligible archive's patients {children:,} of {len(known):,} are under {ADULT_YEARS}"
    if not len(known):
        archive = "the ages of the eligible archive's patients are not recorded"
    yield ReaderWarning("paediatric", f"This scan is of a patient of {age_years:.0f} years; {archive}.")


def of_likeness(
    nearest: Sequence[float], neighbours: Sequence[Neighbour], likeness: Likeness | None, archived: int
) -> Iterator[ReaderWarning]:
    """`nearest`: for each scan of the query its highest similarity to any case of another patient, whatever is filtered;
    `archived`: of how many cases the likeness speaks.
    """
    if likeness is None:
        return
    if nearest and min(nearest) < likeness.unlike:
        yield ReaderWarning(
            "unlike-archive",
            f"This scan is unlike the archive: its most similar case (similarity {min(nearest):.3f}) is less alike than those of "
            "99 in 100 archived cases are; what its neighbours had may mean nothing for it.",
        )
    near = sum(neighbour.similarity > likeness.highest for neighbour in neighbours)
    if near and archived >= FEWEST_FOR_STRANGERS:
        subject = "1 neighbour is" if near == 1 else f"{near} neighbours are"
        yield ReaderWarning(
            "nearer-than-strangers",
            f"{subject} more like this scan than any archived case that was tried is like its nearest of another patient: "
            "perhaps the same patient under another name.",
        )


def of_concentration(found: Iterable[Concentration]) -> Iterator[ReaderWarning]:
    for one in found:
        if one.suspicious:
            yield ReaderWarning(
                f"one-{one.attribute}",
                f"{one.neighbours} of {one.neighbours_known} neighbours are of one {one.attribute}, which holds {one.archive:,} of the "
                f"{one.archive_known:,} eligible patients ({one.archive / one.archive_known:.0%}; by chance in {_chance(one.chance)}): "
                f"what is alike may be the {one.attribute}.",
            )


def of_outcomes(
    neighbours: Sequence[Neighbour], outcomes: Iterable[OutcomeSummary], *, wanted: int
) -> Iterator[ReaderWarning]:
    if len(neighbours) < wanted:
        yield ReaderWarning("fewer-than-asked", f"Only {len(neighbours)} of {wanted} patients: no more are eligible.")
    controls = sum(_is_control_without_outcome(neighbour.case) for neighbour in neighbours)
    if controls:
        subject = "neighbour is a COVID-negative control" if controls == 1 else "neighbours are COVID-negative controls"
        yield ReaderWarning(
            "negatives-without-outcomes",
            f"{controls} {subject} without any recorded outcome: what is said of outcomes is of the others only.",
        )
    for summary in outcomes:
        if summary.known < FEWEST_KNOWN:
            yield ReaderWarning(
                "few-known",
                f"{summary.endpoint.title}: recorded for {summary.known} of {summary.asked} neighbours, too few to say anything.",
            )


def _is_control_without_outcome(case: Case) -> bool:
    events = case.outcome.events.values()
    return case.clinical.get("covid_status") in CONTROLS and all(event.state is State.NOT_RECORDED for event in events)


def _chance(chance: float) -> str:
    return "less than 1 in 1,000" if chance < 0.001 else f"{chance:.1%}"
