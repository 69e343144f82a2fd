"""Who may answer whom: the ways in which an evaluation leaves out what would make it too easy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search.archive import Mask
from search.evaluated import Evaluated
from search.intervals import Codes
from search.targets import LeftOut

FEWEST_QUERIES = 5
ACUTE = "acute"

OTHER_PATIENTS = "other patients"
ONE_VIEW = "same view"
OTHER_SITES = "other sites"
OTHER_SITES_ONE_VIEW = "other sites, same view"
ACUTE_ONLY = "acute only"
EARLIER = "earlier scans"


@dataclass(frozen=True, eq=False)
class Protocol:
    """Who is asked, and among whom each finds its neighbours. The query's own patient and near copies are always left out."""

    name: str
    told: str
    queries: Codes
    eligible: Callable[[int], Mask]  # a query's row -> which rows may answer it (n,)
    fixed: frozenset[str] = frozenset()  # targets that it decides itself, which are not evaluated under it


def protocols_of(cases: Evaluated, queries: Codes, *, k: int) -> tuple[list[Protocol], list[LeftOut]]:
    """Those that this archive allows, and why not the others. `queries` are the rows that are to be asked."""
    n = len(cases.patients)
    anyone = np.ones(n, bool)

    def view(row: int) -> Mask:
        same: Mask = cases.views == cases.views[row]
        return same

    def other_site(row: int) -> Mask:
        return (cases.sites >= 0) & (cases.sites != cases.sites[row])

    def earlier(row: int) -> Mask:
        return cases.days < cases.days[row]  # False where it is NaN

    acute = np.array([phase == ACUTE for phase in cases.phases], bool)
    has_view = np.array([bool(text) for text in cases.views], bool)
    has_site, has_day = cases.sites >= 0, ~np.isnan(cases.days)
    views = len(set(cases.views[cases.usable & has_view]))
    sites = len(np.unique(cases.sites[cases.usable & has_site]))
    one_view = "all scans whose view is recorded have the same one" if views < 2 else ""
    one_site = "fewer than two sites are recorded" if sites < 2 else ""
    wanted: list[tuple[str, str, Mask, Callable[[int], Mask], set[str], str]] = [
        (OTHER_PATIENTS, "other patients of any view and site", anyone, lambda row: anyone, set(), ""),
        (ONE_VIEW, "other patients' scans of the query's own view, as a search answers", has_view, view, {"view"}, one_view),
        (OTHER_SITES, "other patients of other sites", has_site, other_site, {"site"}, one_site),
        (OTHER_SITES_ONE_VIEW, "other patients' scans of other sites and of the query's own view", has_site & has_view,
         lambda row: other_site(row) & view(row), {"site", "view"}, one_site or one_view),
        (ACUTE_ONLY, "scans from 14 days before to 28 days after the first positive test, among themselves", acute,
         lambda row: acute, {"scan_phase", "covid_status_at_scan"}, "" if (acute & cases.usable).any() else "no scan is known to be of the acute phase"),
        (EARLIER, "other patients' scans taken before the query", has_day, earlier, set(),
         "" if has_day.any() else "no scan has a date"),
    ]  # fmt: skip
    found, left = [], []
    for name, told, asked, rule, fixed, why in wanted:
        protocol = Protocol(name, told, queries[asked[queries]], _strangers(cases, rule), frozenset(fixed))
        if not why:
            answered = [row for row in protocol.queries if _patients(cases, protocol.eligible(row)) >= k]
            protocol = Protocol(name, told, np.array(answered, np.int64), protocol.eligible, protocol.fixed)
            if len(answered) < FEWEST_QUERIES:
                why = f"only {len(answered)} scans have {k} other patients to be compared with"
        if why:
            left.append(LeftOut(name, why))
        else:
            found.append(protocol)
    return found, left


def _strangers(cases: Evaluated, rule: Callable[[int], Mask]) -> Callable[[int], Mask]:
    """What the rule allows, less the query's own patient and near copies of the query."""

    def eligible(row: int) -> Mask:
        others: Mask = cases.usable & (cases.patients != cases.patients[row]) & rule(row)
        others[cases.near_copies(row)] = False
        return others

    return eligible


def _patients(cases: Evaluated, rows: Mask) -> int:
    return len(np.unique(cases.patients[rows]))
