"""Who and what must not be in the index: withdrawn patients, studies and instances, one a line."""

import hashlib
from collections.abc import Iterable, Mapping
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
    lines: Mapping[str, int] = field(
        default_factory=dict, repr=False
    )  # name -> the first line of the list that holds it
    _met: set[str] = field(default_factory=set, init=False, repr=False, compare=False)  # names that covered somebody

    @classmethod
    def read(cls, path: Path) -> Self:
        """The list in a text file: one name a line, quotes round it dropped; what follows a # is a comment. Raises `ExclusionError`."""
        try:
            content = path.read_bytes()
            lines = content.decode("utf-8-sig").splitlines()
        except OSError as error:
            raise ExclusionError(f"{path}: the exclusion list cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ExclusionError(f"{path}: the exclusion list is not UTF-8 text; one name a line") from error
        numbered: dict[str, int] = {}
        for number, line in enumerate(lines, 1):
            if name := _listed(line):
                numbered.setdefault(name, number)
        _require_names(path, numbered)
        return cls(frozenset(numbered), hashlib.sha256(content).hexdigest(), lines=numbered)

    def cover(self, case: Case) -> bool:
        return self.cover_any((case.patient_id, case.case_id, *case.uids))

    def cover_any(self, names: Iterable[str | None]) -> bool:
        if not self.cover_somebody:
            return False
        given = [name for name in names if name]
        met = self.names.intersection(map(_folded, given))  # all of them: another line may name the same person
        self._met.update(met)
        return bool(met) or any(map(self.denied.covers, given))

    @property
    def cover_somebody(self) -> bool:
        return bool(self.names or self.denied.digests)

    def with_denied(self, denied: DenyList) -> "Exclusions":
        return replace(self, denied=denied)

    def idle_lines(self) -> list[int]:
        """The numbers of the lines that have covered nobody, of those that this list was asked about until now."""
        return sorted(number for name, number in self.lines.items() if name not in self._met)


def _listed(line: str) -> str:
    """The name on a line, as a spreadsheet or an editor of another system may have written it; empty where it holds none."""
    name = line.partition("#")[0].strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    return _folded(name)


def _require_names(path: Path, numbered: Mapping[str, int]) -> None:
    """Raises `ExclusionError` for what is no name, and would match nobody in silence."""
    for marks, fault in ((" \t,;", "more than one word"), ("\"'“”‘’", "quotes")):
        found = [number for name, number in numbered.items() if any(mark in name for mark in marks)]
        if found:
            raise ExclusionError(
                f"{path}: {len(found)} lines hold {fault} (line {', '.join(map(str, found[:20]))}); expected one name a line"
            )
    unseen = [number for name, number in numbered.items() if not name.isprintable()]
    if unseen:
        raise ExclusionError(
            f"{path}: {len(unseen)} lines hold invisible characters (line {', '.join(map(str, unseen[:20]))}); type these names again"
        )


def _folded(name: str) -> str:
    return name.strip().casefold()


NO_EXCLUSIONS = Exclusions()
