"""Who was withdrawn since the index was built: left out of every answer at once."""

import threading
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from search.archive import Archive, Mask


class DenyList(Protocol):
    """What is asked of a list of withdrawn patients. Both are called often, by several threads, one at a time."""

    def covers(self, patient_id: str) -> bool: ...

    def changed(self) -> bool:
        """Whether the list may say other than when `changed` was last called."""


class DeniedRows:
    """Which rows of each kind are of denied patients, worked out again when the list changed.

    A person with several pseudonyms (the very same picture under each) is denied by any of them.
    """

    def __init__(self, archives: Mapping[str, Archive], deny_list: DenyList | None) -> None:
        self._archives = archives
        self._list = deny_list
        self._lock = threading.Lock()
        self._stale = False  # stays true where working out failed: whoever cannot be ruled out is not shown
        self._rows = {kind: np.zeros(len(archive.patients), bool) for kind, archive in archives.items()}
        if deny_list is not None:
            deny_list.changed()  # from here on; a change while the rows are worked out is not missed
            self._rows = self._work_out(deny_list)

    def rows(self, kind: str) -> Mask:
        """The rows to leave out now (n,): not to be changed."""
        if self._list is not None:
            with self._lock:
                self._stale |= self._list.changed()
                if self._stale:
                    self._rows = self._work_out(self._list)
                    self._stale = False
        return self._rows[kind]

    def _work_out(self, deny_list: DenyList) -> dict[str, Mask]:
        found = {}
        for kind, archive in self._archives.items():
            names, number = np.unique(archive.patient_ids, return_inverse=True)
            covered = np.array([deny_list.covers(str(name)) for name in names], bool)
            found[kind] = archive.of_patients(archive.patients[covered[number]])
        return found
