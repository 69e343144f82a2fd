"""Writes a snapshot beside the published one, verifies it, and switches to it."""

import contextlib
import dataclasses
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index.case import Case, Endpoint, Rejected
from index.catalogue import ROWS_AT_ONCE, Catalogue, CatalogueBuilder, RowNumbers
from index.checks import Checked
from index.folder import BUILDING as BUILDING
from index.folder import foreign_to, is_index, may_become_index
from index.health import Health, health_of
from index.lock import LOCK
from index.manifest import IndexManifest
from index.owners import not_let_in
from index.parts import PARTS, SIGNATURES, flush_path, flush_tree
from index.preview_file import PLACES, PREVIEWS, PreviewWriter
from index.readings import SCHEMA, Reading, Seen, table_of
from index.rows_file import Rows, RowsFile
from index.snapshot import ANSWERS, CURRENT, READINGS, SNAPSHOTS, Snapshot, SnapshotError, verify
from index.store import file_name, store_class
from index.transform import Centring

MANIFEST, CASES, REJECTED, TRANSFORM = "manifest.json", "cases.parquet", "rejected.parquet", "transform.npz"
ARRIVED, ARRIVED_READINGS = "arrived.f32", "arrived.parquet"
OWNER = ("cohort", "patient_id")


@dataclass(frozen=True)
class Build:
    """How the signatures came to be; goes into the manifest."""

    encoder: str
    fingerprint: str
    cohorts: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    code_version: str
    store: str
    counts: Mapping[str, int] = field(default_factory=dict)  # what else the cohorts found
    exclusions: str = ""  # sha256 of the exclusion list
    denied: str = ""  # fingerprint of the deny-list
    seen: int = 0  # scans offered
    excluded: int = 0


def prepare_index_folder(index: Path) -> None:
    """Make the folder, or say that it cannot be written to or is another's, before any work is done. Raises `SnapshotError`."""
    try:
        if index.is_dir() and not is_index(index) and not may_become_index(index):
            there = foreign_to(index)
            raise SnapshotError(
                f"{index}: is no index and not empty ({len(there)} other things lie there, such as {there[0]!r}); "
                "give an empty folder, or one that does not exist yet, as --index"
            )
        (index / BUILDING).mkdir(parents=True, exist_ok=True)
        (index / SNAPSHOTS).mkdir(exist_ok=True)
        probe = index / BUILDING / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink(missing_ok=True)  # a build that runs meanwhile may sweep it away
    except PermissionError as error:
        where = Path(str(error.filename or index))
        raise SnapshotError(f"{where}: cannot be written to: {not_let_in(where)}") from error
    except OSError as error:
        raise SnapshotError(
            f"{index}: cannot be written to ({error.strerror}); choose another --index or its permissions"
        ) from error


def sweep(index: Path) -> None:
    """Remove what killed writers left, but finished parts. Only for who holds the index's lock."""
    for path in (index / BUILDING).iterdir():
        if path.name in (PARTS, LOCK):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def name_after(old: str) -> str:
    """The name of a snapshot that takes another's place: it sorts as the other did, though others were begun in the same second."""
    return f"{'-'.join(old.split('-')[:2])}-{secrets.token_hex(2)}"


class SnapshotWriter:
    """Writes one snapshot under `building/`, case by case in any order; nothing is visible to readers before `publish`.

    All raise `SnapshotError`; then the snapshot that was current still is.
    """

    def __init__(self, index: Path, endpoints: Sequence[Endpoint], *, name: str | None = None) -> None:
        self._index = index
        self.name = name or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ-%f}"  # names sort by time, also two of one second
        self.folder = index / BUILDING / self.name
        self._catalogue = CatalogueBuilder(endpoints)
        self._seen: list[Seen] = []  # that are not written down yet
        self.indexed = 0
        self._rejected: list[Rejected] = []
        self._rejected_seen: list[Seen] = []
        self._dim = 0
        with _writing(self.folder):
            self.folder.mkdir(parents=True)
            self._previews = PreviewWriter(self.folder / PREVIEWS)
            self._arrived = (self.folder / ARRIVED).open("wb")  # signatures as they come; sorted at the end
            self._readings = pq.ParquetWriter(self.folder / ARRIVED_READINGS, SCHEMA)

    def add(self, case: Case, seen: Seen, reading: Reading) -> None:
        """A case with what reading its scan gave."""
        with _writing(self.folder):
            self._catalogue.add(reading.facts.archived(case))
            self.indexed += 1
            self._seen.append(seen)
            if len(self._seen) >= ROWS_AT_ONCE:
                self._flush_seen()
            self._dim = len(reading.signature)
            self._arrived.write(np.ascontiguousarray(reading.signature, np.float32).tobytes())
            self._previews.add(reading.preview)

    def reject(self, rejected: Rejected, seen: Seen | None = None) -> None:
        """A case that cannot be indexed; `seen` where its scan was looked at."""
        self._rejected.append(rejected)
        if seen:
            self._rejected_seen.append(seen)

    @property
    def rejected(self) -> list[Rejected]:
        return self._rejected

    def publish(self, build: Build, check: Callable[[Snapshot], Checked] | None = None) -> IndexManifest:
        """Write, read back, verify and `check`, then make it the current one."""
        manifest = self.finish(build, check)
        with _writing(self.folder):
            self.move_in()
        try:
            make_current(self._index, self.name)
        except OSError as error:
            raise self._half_switched(error) from error
        return manifest

    def _half_switched(self, error: OSError) -> SnapshotError:
        """What is true when switching failed: the last flush comes after the switch."""
        with contextlib.suppress(OSError):
            if (self._index / CURRENT).read_text(encoding="utf-8").strip() == self.name:
                return SnapshotError(
                    f"{self._index / CURRENT}: could not be flushed to the disk ({error}); {self.name} is published, but a power cut "
                    "may bring back the snapshot before; build again"
                )
        return SnapshotError(f"{self._index / CURRENT}: cannot be written ({error}); the published index is as it was")

    def finish(
        self, build: Build, check: Callable[[Snapshot], Checked] | None = None, *, created: str | None = None
    ) -> IndexManifest:
        """Write, read back, verify and `check` the snapshot where it was built. `created`: when its content was, if not now."""
        with _writing(self.folder):
            self._previews.close()
            self._arrived.close()
            self._flush_seen()
            self._readings.close()
            catalogue, order = self._catalogue.finish()
            catalogue.write(self.folder / CASES)
            (self.folder / REJECTED).write_bytes(_rejected_bytes(self._rejected))
            healths = self._write_kinds(catalogue, order, build.store)
            self._write_readings(catalogue, order)
            answers = {kind: health.answers for kind, health in healths.items()}
            (self.folder / ANSWERS).write_text(json.dumps(answers))
            manifest = self._manifest(build, catalogue, healths, created)
            (self.folder / MANIFEST).write_text(manifest.to_json())
            del catalogue  # as much memory again
            whole = verify(self.folder, whole=[PREVIEWS])
            if check:
                figures = check(whole).figures
                manifest = dataclasses.replace(manifest, health={**manifest.health, **figures})
                (self.folder / MANIFEST).write_text(manifest.to_json())
        return manifest

    def move_in(self) -> None:
        """From `building/` to the snapshots, flushed to the disk. Raises OSError."""
        flush_tree(self.folder)
        self.folder.rename(self._index / SNAPSHOTS / self.name)
        flush_path(self._index / SNAPSHOTS)

    def discard(self) -> None:
        """Remove what was written, after a failure."""
        for file in (self._previews, self._arrived, self._readings):
            with contextlib.suppress(OSError):  # on a full disk what is still held cannot be flushed
                file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_kinds(self, catalogue: Catalogue, order: RowNumbers, store: str) -> dict[str, Health]:
        found = {}
        for kind, start, count in catalogue.kinds():
            (self.folder / kind).mkdir()
            path = self.folder / kind / SIGNATURES
            self._write_signatures(path, order[start : start + count])
            np.save(self.folder / kind / PLACES, self._previews.places()[order[start : start + count]])
            rows = RowsFile(path)
            transform = Centring.fit_blocks(rows)
            (self.folder / kind / TRANSFORM).write_bytes(transform.to_bytes())
            vectors = store_class(store).build_of_blocks(map(transform.apply, rows), *rows.shape)
            with (self.folder / kind / file_name(store)).open("wb") as stream:
                vectors.write(stream)
            centred = partial(_centred, rows, transform)
            people, case_ids = catalogue.people(kind), catalogue.values("case_id", kind)
            found[kind] = health_of(vectors, centred, people, case_ids.tolist())
        (self.folder / ARRIVED).unlink()
        return found

    def _write_signatures(self, path: Path, order: RowNumbers) -> None:
        """As np.save would: the rows that arrived as number `order[0]`, `order[1]`… Not through mapped memory: where the disk is full,
        that would end the process with SIGBUS.
        """
        size = self._dim * np.dtype(np.float32).itemsize
        shape = {"descr": "<f4", "fortran_order": False, "shape": (len(order), self._dim)}
        with (self.folder / ARRIVED).open("rb") as arrived, path.open("wb") as target:
            np.lib.format.write_array_header_1_0(target, shape)
            for place in order.tolist():
                arrived.seek(place * size)
                target.write(arrived.read(size))

    def _flush_seen(self) -> None:
        if self._seen:
            self._readings.write_table(table_of((seen, None) for seen in self._seen))
            self._seen.clear()

    def _write_readings(self, catalogue: Catalogue, order: RowNumbers) -> None:
        """In the order of arrival, which will nearly be that of the next build's questions."""
        rows = np.empty(len(order), np.int64)
        for _, start, count in catalogue.kinds():
            rows[order[start : start + count]] = np.arange(count)
        arrived, place, done = self.folder / ARRIVED_READINGS, SCHEMA.get_field_index("row"), 0
        with pq.ParquetFile(arrived) as file, pq.ParquetWriter(self.folder / READINGS, SCHEMA) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                numbers = pa.array(rows[done : done + len(table)], pa.int64())
                writer.write_table(table.set_column(place, SCHEMA.field("row"), numbers))
                done += len(table)
            writer.write_table(table_of((seen, None) for seen in self._rejected_seen))
        arrived.unlink()

    def _manifest(
        self, build: Build, catalogue: Catalogue, healths: Mapping[str, Health], created: str | None
    ) -> IndexManifest:
        kinds = catalogue.kinds()
        owners = {
            owner for kind, _, _ in kinds for owner in zip(*(catalogue.values(n, kind) for n in OWNER), strict=True)
        }
        return IndexManifest(
            name=self.name,
            created=created or datetime.now(UTC).isoformat(timespec="seconds"),
            encoder=build.encoder,
            fingerprint=build.fingerprint,
            dim=self._dim,
            store=build.store,
            cases={kind: count for kind, _, count in kinds},
            patients=len(owners),
            seen=build.seen,
            rejected=_counts(entry.reason for entry in self._rejected),
            cohorts=build.cohorts,
            counts=build.counts,
            exclusions=build.exclusions,
            excluded=build.excluded,
            denied=build.denied,
            likeness={kind: list(health.likeness) for kind, health in healths.items()},
            health={f"{kind}_hubness": health.hubness for kind, health in healths.items()},
            endpoints=build.endpoints,
            files=self._hashes(),
            code_version=build.code_version,
        )

    def _hashes(self) -> dict[str, str]:
        """Of every file but the manifest."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
        return {
            str(path.relative_to(self.folder)): self._previews.sha256() if path.name == PREVIEWS else _sha256(path)
            for path in paths
        }


def _centred(rows: RowsFile, transform: Centring, numbers: RowNumbers) -> Rows:
    return transform.apply(rows.at(numbers))


def make_current(index: Path, name: str) -> None:
    """Switch to a snapshot, in one step that survives a power cut. Raises OSError."""
    pending = index / f"{CURRENT}.new"
    pending.write_text(name + "\n")
    flush_path(pending)
    pending.replace(index / CURRENT)
    flush_path(index)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what a full or failing disk raises into `SnapshotError`."""
    try:
        yield
    except OSError as error:
        raise SnapshotError(f"{folder}: cannot be written ({error}); the published index is as it was") from error


def _rejected_bytes(rejected: Sequence[Rejected]) -> bytes:
    schema = pa.schema([(name, pa.string()) for name in ("case_id", "file", "reason", "message")])
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([vars(entry) for entry in rejected], schema=schema), buffer)
    return buffer.getvalue().to_pybytes()


def _counts(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
