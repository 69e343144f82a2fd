"""What is known already: the readings of the published snapshot and of finished parts, found by id and stamp or by content."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.case import Rejected
from index.parts import READINGS as PART_READINGS
from index.parts import SIGNATURES
from index.preview_file import PreviewFile
from index.readings import PASSING_REASONS, Facts, Reading, ReadingTable, Seen
from index.snapshot import READINGS, Snapshot

Place = tuple[int, int]  # which source, which row of its readings


class _Source(Protocol):
    table: ReadingTable

    def signature(self, place: int) -> npt.NDArray[np.float32]: ...

    def preview(self, place: int) -> bytes: ...

    def release(self) -> None: ...


class _Published:
    """A snapshot's readings, its previews by kind."""

    def __init__(self, snapshot: Snapshot, previews: Mapping[str, PreviewFile]) -> None:
        self.table = ReadingTable(snapshot.checked(READINGS))
        self._rows = {kind: snapshot.signatures(kind) for kind in snapshot.manifest.cases}
        self._previews = previews

    def signature(self, place: int) -> npt.NDArray[np.float32]:
        rows = self._rows[self.table.at(place, "kind")]
        return np.asarray(rows[self.table.at(place, "row")])

    def preview(self, place: int) -> bytes:
        return self._previews[self.table.at(place, "kind")].at(self.table.at(place, "row"))

    def release(self) -> None:
        self.table.release()


class _Part:
    """A finished part of an unfinished build."""

    def __init__(self, path: Path) -> None:
        self.table = ReadingTable(path / PART_READINGS)
        self._path = path
        self._rows: npt.NDArray[np.float32] | None = None
        self._previews: pa.ChunkedArray | None = None

    def signature(self, place: int) -> npt.NDArray[np.float32]:
        if self._rows is None:
            self._rows = np.load(self._path / SIGNATURES, allow_pickle=False)
        return np.asarray(self._rows[self.table.at(place, "row")])

    def preview(self, place: int) -> bytes:
        if not self._previews:
            self._previews = pq.ParquetFile(self._path / PART_READINGS).read(columns=["preview"]).column("preview")
        return bytes(self._previews[place].as_py())

    def release(self) -> None:
        self.table.release()
        self._rows = self._previews = None


class Known:
    """All readings by this encoder. What is published goes before parts, which are left over where a build was killed after it had
    published; of parts the newest goes first.
    """

    def __init__(self, sources: list[_Source]) -> None:
        self._sources = sources
        self._last = 0  # the source that was read from last: of parts only one at a time is held in memory
        self._contents: dict[str, Place] | None = None

    def __bool__(self) -> bool:
        return any(len(source.table) for source in self._sources)

    def find(self, case_id: str, stamp: str, *, passing: bool = False) -> Place | None:
        """The reading of these very files; `passing` finds also what failed for reasons that may have passed."""
        for number, source in enumerate(self._sources):
            place = source.table.place(case_id)
            if place is None or not stamp or source.table.at(place, "stamp") != stamp:
                continue
            if passing or source.table.at(place, "reason") not in PASSING_REASONS:
                return number, place
        return None

    def failed(self, case_id: str) -> Place | None:
        """The newest reading of a case without files to stamp: it says why it failed."""
        places = ((number, source.table.place(case_id)) for number, source in enumerate(self._sources))
        return next(((number, place) for number, place in places if place is not None), None)

    def failed_alike(self, seen: Seen) -> bool:
        """Whether the published reading of the same files failed for the same reason."""
        if not isinstance(seen.outcome, Rejected):
            return False
        for source in self._sources:
            place = source.table.place(seen.case_id) if isinstance(source, _Published) else None
            if place is not None:
                told = [source.table.at(place, name) for name in ("stamp", "record", "file", "reason")]
                return told == [seen.stamp, seen.record, seen.file, seen.outcome.reason]
        return False

    def is_of_part(self, place: Place) -> bool:
        """Whether it was read by a build that has not published yet."""
        return isinstance(self._sources[place[0]], _Part)

    def is_published(self, case_id: str) -> bool:
        return any(
            isinstance(source, _Published) and source.table.place(case_id) is not None for source in self._sources
        )

    def by_content(self, file_hash: str) -> Place | None:
        """The reading of a file of the same bytes under whatever name."""
        if self._contents is None:
            self._contents = {}
            for number, source in reversed(list(enumerate(self._sources))):
                self._contents |= {content: (number, place) for content, place in source.table.by_content().items()}
                source.release()
        return self._contents.get(file_hash)

    def at(self, place: Place, name: str) -> Any:
        """A column of a reading."""
        return self._sources[place[0]].table.at(place[1], name)

    def seen(self, place: Place) -> Seen:
        return self._source(place).table.seen(place[1])

    def outcome(self, place: Place) -> Reading | Rejected:
        """Raises KeyError or OSError where the source is damaged."""
        source, row = self._source(place), place[1]
        told = source.table.outcome(row)
        return Reading(told, source.signature(row), source.preview(row)) if isinstance(told, Facts) else told

    def reading(self, place: Place) -> Reading:
        """The outcome of a scan that was read. Raises KeyError or OSError where the source is damaged."""
        reading = self.outcome(place)
        assert isinstance(reading, Reading)
        return reading

    def forget(self) -> None:
        """Give back the memory; nothing is known any more."""
        self._sources, self._contents = [], None

    def _source(self, place: Place) -> _Source:
        if place[0] != self._last:
            self._sources[self._last].release()
            self._last = place[0]
        return self._sources[place[0]]


@contextmanager
def open_known(snapshot: Snapshot | None, parts: list[Path]) -> Iterator[Known]:
    """`snapshot` is None where there is none by this encoder, or it is to be forgotten. Raises `SnapshotError` or OSError."""
    sources: list[_Source] = [_Part(path) for path in reversed(parts)]
    if snapshot is None:
        known = Known(sources)
        yield known
        known.forget()
        return
    with ExitStack() as stack:
        previews = {kind: stack.enter_context(closing(snapshot.previews(kind))) for kind in snapshot.manifest.cases}
        known = Known([_Published(snapshot, previews), *sources])
        yield known
        known.forget()
