"""Who and what must not be in the index: withdrawn patients, studies and instances, one a line."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from index.case import Case
from index.denied import DenyList


class ExclusionError(Exception):
    """An exclusion list that cannot be read."""


@dataclass(frozen=True)
class Exclusions:
    """Pseudonyms and study, series or instance UIDs, compared without regard to case."""

    names: frozenset[str] = frozenset()
    sha256: str | None = None  # of the list's bytes, for the manifest; None where there is no list
    denied: DenyList = field(default_factory=DenyList)  # who was purged from the index

    @classmethod
    def read(cls, path: Path) -> Self:
        """The list in a text file: one name a line; what follows a # is a comment. Raises `ExclusionError`."""
        try:
            content = path.read_bytes()
            lines = content.decode("utf-8-sig").splitlines()
        except OSError as error:
            raise ExclusionError(f"{path}: the exclusion list cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ExclusionError(f"{path}: the exclusion list is not UTF-8 text; one name a line") from error
        names = frozenset(name for line in lines if (name := _folded(line.partition("#")[0])))
        split = sorted(name for name in names if any(mark in name for mark in (" ", "\t", ",", ";")))
        if split:
            raise ExclusionError(f"{path}: {len(split)} lines hold more than one word; expected one name a line")
        return cls(names, hashlib.sha256(content).hexdigest())

    def cover(self, case: Case) -> bool:
        return self.cover_any((case.patient_id, case.case_id, *case.uids))

    def cover_any(self, names: Iterable[str | None]) -> bool:
        return self.cover_somebody and any(
            _folded(name) in self.names or self.denied.covers(name) for name in names if name
        )

    @property
    def cover_somebody(self) -> bool:
        return bool(self.names or self.denied.digests)

    def with_denied(self, denied: DenyList) -> "Exclusions":
        return replace(self, denied=denied)


def _folded(name: str) -> str:
    return name.strip().casefold()


NO_EXCLUSIONS = Exclusions()
