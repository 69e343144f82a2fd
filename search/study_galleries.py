"""Queries put into groups that search the same rows of the archive, and the store of each group's rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from index.catalogue import Catalogue
from index.snapshot import Snapshot
from index.store import RowNumbers, Rows, store_class
from search.archive import Archive, Mask
from search.concentration import NOT_RECORDED
from search.study_gallery import UNKNOWN_DAY, Gallery


@dataclass(frozen=True)
class Group:
    """What its queries have in common. None: any will do."""

    view: str | None
    site: str | None  # whose cases, and those of unknown sites, are left out
    before: float | None = None  # days since 1970: later scans, and those of an unknown day, cannot answer any of them

    @property
    def order(self) -> tuple[str, str]:
        return self.view or "", self.site or ""


class Galleries:
    """The galleries of one study, the last one kept: queries come group by group."""

    def __init__(self, snapshot: Snapshot, archive: Archive, kind: str, base: Mask) -> None:
        self._snapshot, self._archive, self._kind = snapshot, archive, kind
        self.base = base
        self.days = scan_days(snapshot.catalogue, kind)
        self._signatures = snapshot.signatures(kind)
        self._last: tuple[Group, Gallery] | None = None

    def rows(self, group: Group) -> RowNumbers:
        """The rows among which the group's queries find their neighbours, rising."""
        allowed = self.base.copy()
        if group.view is not None:
            allowed &= self._archive.of_view(group.view)
        if group.site is not None:
            sites = self._archive.sites
            own = sites.names.index(group.site) if group.site in sites.names else NOT_RECORDED
            allowed &= (sites.codes != NOT_RECORDED) & (sites.codes != own)
        if group.before is not None:
            allowed &= self.days < group.before
        return np.flatnonzero(allowed)

    def gallery(self, group: Group) -> Gallery:
        if self._last is None or self._last[0] != group:
            self._last = None  # the old one is given back first
            self._last = (group, self._made(self.rows(group)))
        return self._last[1]

    def vectors(self, rows: RowNumbers) -> Rows:
        """The centred signatures of some rows, as the store holds them."""
        return self._snapshot.transforms[self._kind].apply(self._signatures[rows])

    def _made(self, rows: RowNumbers) -> Gallery:
        whole = self._snapshot.stores[self._kind]
        read = partial(self.vectors, rows)
        all_of_them = len(rows) == whole.count
        store = whole if all_of_them else store_class(self._snapshot.manifest.store).build(read())
        return Gallery(rows, store, read, self._archive.patients[rows], self.days[rows])


def scan_days(catalogue: Catalogue, kind: str) -> npt.NDArray[np.float64]:
    """The day of each case's scan since 1970; infinite, later than any other, where it is not recorded."""
    days = np.asarray(catalogue.values("scan_date", kind), "datetime64[D]")
    return np.where(np.isnat(days), UNKNOWN_DAY, days.astype(np.int64))


def grouped(groups: Sequence[Group], days: npt.NDArray[np.float64] | None) -> list[tuple[Group, npt.NDArray[np.int64]]]:
    """(a group, the places of its queries): in the order of view and site, within a group by day where days count."""
    places: dict[Group, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        places[group].append(place)
    found = []
    for group in sorted(places, key=lambda one: one.order):
        mine = np.array(places[group], np.int64)
        found.append((group, mine if days is None else mine[np.argsort(days[mine], kind="stable")]))
    return found
