"""Writes a snapshot beside the published one, verifies it, and switches to it."""

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.building import BuildFolder, sweep
from index.case import Endpoint, Rejected
from index.catalogue import Archived, Catalogue
from index.manifest import IndexManifest
from index.snapshot import CURRENT, SNAPSHOTS, SnapshotError, verify
from index.store import file_name, store_class
from index.transform import Centring

BUILDING = "building"


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


def prepare_index_folder(index: Path) -> None:
    """Make the folder, or say that it cannot be written to, before any work is done; sweep what killed builds left.

    Raises `SnapshotError`.
    """
    try:
        (index / BUILDING).mkdir(parents=True, exist_ok=True)
        (index / SNAPSHOTS).mkdir(exist_ok=True)
        probe = index / BUILDING / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SnapshotError(
            f"{index}: cannot be written to ({error.strerror}); choose another --index or its permissions"
        ) from error
    sweep(index / BUILDING)


class SnapshotWriter:
    """Writes one snapshot under `building/`; nothing is visible to readers before `publish`. Raises `SnapshotError`."""

    def __init__(self, index: Path) -> None:
        self._index = index
        self.name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        self._folder = index / BUILDING / self.name
        with _writing(self._folder):
            self._held = BuildFolder(self._folder)
            self._previews = sqlite3.connect(self._folder / "previews.sqlite")
            self._previews.execute("CREATE TABLE previews (case_id TEXT PRIMARY KEY, jpeg BLOB NOT NULL) WITHOUT ROWID")

    def add_previews(self, previews: Iterable[tuple[str, bytes]]) -> None:
        with _writing(self._folder):
            self._previews.executemany("INSERT INTO previews VALUES (?, ?)", previews)

    def publish(
        self,
        build: Build,
        archived: Sequence[Archived],
        signatures: npt.NDArray[np.float32],
        rejected: Sequence[Rejected],
        *,
        seen: int,
        excluded: int = 0,
    ) -> IndexManifest:
        """Write, read back and verify, then make it the current one. `signatures` (n, d) go with `archived` in any order.

        Raises `SnapshotError`; then the snapshot that was current still is.
        """
        order = sorted(range(len(archived)), key=lambda place: (archived[place].kind, archived[place].case.case_id))
        cases = [archived[place] for place in order]
        rows = signatures[order]
        with _writing(self._folder):
            self._previews.commit()
            self._previews.close()
            self._write("cases.parquet", Catalogue.build(cases, build.endpoints).to_bytes())
            self._write("rejected.parquet", _rejected_bytes(rejected))
            for kind in sorted({case.kind for case in cases}):
                self._write_kind(kind, rows[[case.kind == kind for case in cases]], build.store)
            manifest = IndexManifest(
                name=self.name,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                encoder=build.encoder,
                fingerprint=build.fingerprint,
                dim=signatures.shape[1],
                store=build.store,
                cases=_counts(case.kind for case in cases),
                patients=len({(case.case.cohort, case.case.patient_id) for case in cases}),
                seen=seen,
                rejected=_counts(entry.reason for entry in rejected),
                cohorts=build.cohorts,
                counts=build.counts,
                exclusions=build.exclusions,
                excluded=excluded,
                endpoints=build.endpoints,
                files={
                    str(path.relative_to(self._folder)): _sha256(path)
                    for path in sorted(self._folder.rglob("*"))
                    if path.is_file()
                },
                code_version=build.code_version,
            )
            self._write("manifest.json", manifest.to_json().encode())
            verify(self._folder)
            self._switch()
            self._held.release()
        return manifest

    def discard(self) -> None:
        """Remove what was written, after a failure."""
        self._previews.close()
        self._held.release()

    def _write_kind(self, kind: str, rows: npt.NDArray[np.float32], store: str) -> None:
        (self._folder / kind).mkdir()
        np.save(self._folder / kind / "signatures.npy", rows)
        transform = Centring.fit(rows)
        self._write(f"{kind}/transform.npz", transform.to_bytes())
        self._write(f"{kind}/{file_name(store)}", store_class(store).build(transform.apply(rows)).to_bytes())

    def _write(self, name: str, content: bytes) -> None:
        (self._folder / name).write_bytes(content)

    def _switch(self) -> None:
        for path in [*self._folder.rglob("*"), self._folder]:
            _flush(path)
        self._folder.rename(self._index / SNAPSHOTS / self.name)
        _flush(self._index / SNAPSHOTS)
        pending = self._index / f"{CURRENT}.new"
        pending.write_text(self.name + "\n")
        _flush(pending)
        pending.replace(self._index / CURRENT)
        _flush(self._index)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what a full or failing disk raises into `SnapshotError`."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
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


def _flush(path: Path) -> None:
    """fsync a file or folder, so that a power cut after the switch finds it whole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
