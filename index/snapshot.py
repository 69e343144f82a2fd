"""A built index on disk: written beside the published one, verified, then switched to; opened by whoever searches."""

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.case import Endpoint
from index.catalogue import Archived, Catalogue
from index.manifest import IndexManifest, ManifestError
from index.store import VectorStore, file_name, store_class
from index.transform import Centring

CURRENT = "CURRENT"
SNAPSHOTS = "snapshots"
BUILDING = "building"


class SnapshotError(Exception):
    """An index that cannot be opened, verified or written; the message says which file and what to do."""


@dataclass(frozen=True)
class Rejected:
    """A scan that did not become a case, and why."""

    case_id: str
    file: str
    reason: str  # short and countable
    message: str


@dataclass(frozen=True)
class Build:
    """How the signatures came to be; goes into the manifest."""

    encoder: str
    fingerprint: str
    cohorts: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    code_version: str
    store: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An opened index. `stores` and `transforms` have a key for each kind that holds a case."""

    path: Path
    manifest: IndexManifest
    catalogue: Catalogue
    stores: Mapping[str, VectorStore]
    transforms: Mapping[str, Centring]

    def signatures(self, kind: str) -> npt.NDArray[np.float32]:
        """The signatures (n, d) as the encoder gave them, before centring, in the order of the rows."""
        rows: npt.NDArray[np.float32] = np.load(self.path / kind / "signatures.npy", mmap_mode="r", allow_pickle=False)
        return rows

    def preview(self, case_id: str) -> bytes | None:
        """A small JPEG of the case, or None."""
        with sqlite3.connect(f"file:{self.path / 'previews.sqlite'}?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT jpeg FROM previews WHERE case_id = ?", (case_id,)).fetchone()
        return None if found is None else bytes(found[0])


def prepare_index_folder(index: Path) -> None:
    """Make the folder, or say that it cannot be written to, before any work is done. Raises `SnapshotError`."""
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


class SnapshotWriter:
    """Writes one snapshot under `building/`; nothing is visible to readers before `publish`."""

    def __init__(self, index: Path) -> None:
        self._index = index
        self.name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        self._folder = index / BUILDING / self.name
        self._folder.mkdir(parents=True)
        self._previews = sqlite3.connect(self._folder / "previews.sqlite")
        self._previews.execute("CREATE TABLE previews (case_id TEXT PRIMARY KEY, jpeg BLOB NOT NULL) WITHOUT ROWID")

    def add_previews(self, previews: Iterable[tuple[str, bytes]]) -> None:
        self._previews.executemany("INSERT INTO previews VALUES (?, ?)", previews)

    def publish(
        self,
        build: Build,
        archived: Sequence[Archived],
        signatures: npt.NDArray[np.float32],
        rejected: Sequence[Rejected],
        *,
        seen: int,
    ) -> IndexManifest:
        """Write, read back and verify, then make it the current one. `signatures` (n, d) go with `archived` in any order.

        Raises `SnapshotError`; then the snapshot that was current still is.
        """
        order = sorted(range(len(archived)), key=lambda place: (archived[place].kind, archived[place].case.case_id))
        cases = [archived[place] for place in order]
        rows = signatures[order]
        try:
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
        except OSError as error:
            raise SnapshotError(
                f"{self._folder}: cannot be written ({error.strerror}); the published index is as it was"
            ) from error
        return manifest

    def discard(self) -> None:
        """Remove what was written, after a failure."""
        self._previews.close()
        shutil.rmtree(self._folder, ignore_errors=True)

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


def open_current(index: Path) -> Snapshot:
    """The published snapshot of an index folder, each file checked against its hash. Raises `SnapshotError`."""
    return open_snapshot(current_folder(index))


def current_folder(index: Path) -> Path:
    """Where the published snapshot lies. Raises `SnapshotError`."""
    if not index.is_dir():
        raise SnapshotError(f"{index}: no such index folder; build one with build_index.py")
    try:
        name = (index / CURRENT).read_text().strip()
    except OSError as error:
        raise SnapshotError(f"{index}: holds no published index; build one with build_index.py") from error
    folder = index / SNAPSHOTS / name
    if not name or Path(name).name != name or not folder.is_dir():
        raise SnapshotError(f"{index / CURRENT}: names the snapshot {name!r}, which is not there; rebuild the index")
    return folder


def open_snapshot(folder: Path) -> Snapshot:
    """The snapshot in `folder`, each file that is opened checked against its hash first. Raises `SnapshotError`."""
    try:
        manifest = IndexManifest.from_json((folder / "manifest.json").read_bytes())
    except OSError as error:
        raise SnapshotError(f"{folder / 'manifest.json'}: {error.strerror}; rebuild the index") from error
    except ManifestError as error:
        raise SnapshotError(f"{folder}: {error}") from error
    content = {name: _checked(folder, name, manifest) for name in ["cases.parquet", *_searched_files(manifest)]}
    try:
        catalogue = Catalogue.from_bytes(content["cases.parquet"], manifest.endpoints)
        cls = store_class(manifest.store)
        stores = {kind: cls.from_bytes(content[f"{kind}/{file_name(manifest.store)}"]) for kind in manifest.cases}
        transforms = {kind: Centring.from_bytes(content[f"{kind}/transform.npz"]) for kind in manifest.cases}
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise SnapshotError(f"{folder}: cannot be read ({error}); rebuild the index") from error
    for kind, store in stores.items():
        if store.count != catalogue.count(kind) or store.dim != manifest.dim:
            raise SnapshotError(
                f"{folder}: {kind} holds {store.count} vectors of {store.dim} for {catalogue.count(kind)} cases; rebuild the index"
            )
    return Snapshot(folder, manifest, catalogue, stores, transforms)


def verify(folder: Path, *, sample: int = 50) -> None:
    """Every file has its hash, signatures are unit and finite, and sampled cases find themselves. Raises `SnapshotError`."""
    snapshot = open_snapshot(folder)
    for name in snapshot.manifest.files:
        _checked(folder, name, snapshot.manifest)
    for kind, store in snapshot.stores.items():
        rows = snapshot.signatures(kind)
        if rows.shape != (store.count, store.dim) or not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):
            raise SnapshotError(
                f"{folder / kind}: signatures are not {store.count} finite unit rows; rebuild the index"
            )
        picked = np.unique(np.linspace(0, store.count - 1, min(sample, store.count)).astype(np.int64))
        centred = snapshot.transforms[kind].apply(rows[picked])
        similarities, _ = store.search(centred, k=1)
        own = np.einsum("ij,ij->i", centred, centred)
        if not np.allclose(similarities[:, 0], own, atol=1e-4):
            raise SnapshotError(
                f"{folder / kind}: a case does not find itself; vectors and transform do not belong together; rebuild the index"
            )


def _searched_files(manifest: IndexManifest) -> list[str]:
    return [f"{kind}/{name}" for kind in manifest.cases for name in ("transform.npz", file_name(manifest.store))]


def _checked(folder: Path, name: str, manifest: IndexManifest) -> bytes:
    """The file's bytes, after its hash agreed with the manifest: nothing is parsed before that."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise SnapshotError(f"{folder / name}: {error.strerror}; rebuild the index") from error
    if hashlib.sha256(content).hexdigest() != manifest.files.get(name):
        raise SnapshotError(
            f"{folder / name}: was changed since it was built (its sha256 is not the manifest's); rebuild the index"
        )
    return content


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
