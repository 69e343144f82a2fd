"""A built index on disk, opened by whoever searches. Nothing is parsed before its hash agrees with the manifest."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.catalogue import Catalogue
from index.manifest import IndexManifest, ManifestError
from index.owners import not_let_in
from index.preview_file import PLACES, PREVIEWS, PreviewFile
from index.rows_file import RowsFile
from index.store import VectorStore, file_name, store_class
from index.transform import Centring

CURRENT = "CURRENT"
SNAPSHOTS = "snapshots"
READINGS = "readings.parquet"
ANSWERS = "answers.json"


class SnapshotError(Exception):
    """An index that cannot be opened, verified or written; the message says which file and what to do."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An opened index. `stores` and `transforms` have a key for each kind that holds a case."""

    path: Path
    manifest: IndexManifest
    catalogue: Catalogue
    stores: Mapping[str, VectorStore]
    transforms: Mapping[str, Centring]
    _whole: set[str] = field(default_factory=set, init=False, repr=False)  # files whose hash was found to agree

    def signatures(self, kind: str) -> npt.NDArray[np.float32]:
        """The signatures (n, d) as the encoder gave them, before centring, in the order of the rows.

        Raises `SnapshotError`.
        """
        path = self.checked(f"{kind}/signatures.npy")
        try:
            rows: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise SnapshotError(f"{path}: cannot be read ({error}); rebuild the index") from error
        return rows

    def signature_blocks(self, kind: str) -> RowsFile:
        """The same, a block at a time. Raises `SnapshotError`."""
        path = self.checked(f"{kind}/signatures.npy")
        try:
            return RowsFile(path)
        except (OSError, ValueError) as error:
            raise SnapshotError(f"{path}: cannot be read ({error}); rebuild the index") from error

    def centred(self, kind: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Some rows (n, d) as the store holds them. Raises `SnapshotError`."""
        return self.transforms[kind].apply(self.signature_blocks(kind).at(rows))

    def preview(self, case_id: str) -> bytes | None:
        """A small JPEG of the case, or None. Raises `SnapshotError`."""
        for kind in self.manifest.cases:
            row = self.catalogue.row_of(case_id, kind)
            if row is not None:
                with closing(self.previews(kind)) as previews:
                    return _read(previews, row, self.path)
        return None

    def previews(self, kind: str) -> PreviewFile:
        """Of all cases of a kind, by row; to be closed. Raises `SnapshotError`."""
        path, places = self.checked(PREVIEWS), self.checked(f"{kind}/{PLACES}")
        try:
            return PreviewFile(path, places)
        except (OSError, ValueError) as error:
            raise SnapshotError(f"{path}: cannot be read ({error}); rebuild the index") from error

    def checked(self, name: str) -> Path:
        """The path of one of the manifest's files, its hash compared before the first use only: these files are too large for every use.

        Raises `SnapshotError`.
        """
        path = self.path / name
        if name not in self._whole:
            try:
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise SnapshotError(f"{path}: {error.strerror}; rebuild the index") from error
            _require(digest, self.path, name, self.manifest)
            self._whole.add(name)
        return path

    def check_all(self) -> None:
        """Every file's hash, several at a time. Raises `SnapshotError`."""
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self.checked, self.manifest.files):
                pass


def open_current(index: Path) -> Snapshot:
    """The published snapshot of an index folder, each file checked against its hash. Raises `SnapshotError`."""
    return open_snapshot(current_folder(index))


def current_folder(index: Path) -> Path:
    """Where the published snapshot lies. Raises `SnapshotError`."""
    if not index.is_dir():
        raise SnapshotError(f"{index}: no such index folder; build one with build_index.py")
    try:
        name = (index / CURRENT).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise SnapshotError(f"{index}: holds no published index; build one with build_index.py") from error
    except PermissionError as error:
        raise SnapshotError(f"{index / CURRENT}: cannot be read: {not_let_in(index / CURRENT)}") from error
    except OSError as error:
        raise SnapshotError(f"{index / CURRENT}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SnapshotError(f"{index / CURRENT}: holds no snapshot's name; rebuild the index") from error
    folder = index / SNAPSHOTS / name
    if not name or Path(name).name != name or not folder.is_dir():
        raise SnapshotError(f"{index / CURRENT}: names the snapshot {name!r}, which is not there; rebuild the index")
    return folder


def open_snapshot(folder: Path, *, to_search: bool = True) -> Snapshot:
    """The snapshot in `folder`, each file checked against its hash before it is parsed: what every search needs now,
    signatures and previews at their first use. Without `to_search` it has no stores. Raises `SnapshotError`.
    """
    try:
        manifest = IndexManifest.from_json((folder / "manifest.json").read_bytes())
    except OSError as error:
        raise SnapshotError(f"{folder / 'manifest.json'}: {error.strerror}; rebuild the index") from error
    except ManifestError as error:
        raise SnapshotError(f"{folder}: {error}") from error
    try:
        cls = store_class(manifest.store)
        with _checked(folder, "cases.parquet", manifest) as stream:
            catalogue = Catalogue.read(stream, manifest.endpoints)
        stores, transforms = {}, {}
        for kind in manifest.cases:
            with _checked(folder, f"{kind}/transform.npz", manifest) as stream:
                transforms[kind] = Centring.from_bytes(stream.read())
            if to_search:
                with _checked(folder, f"{kind}/{file_name(manifest.store)}", manifest) as stream:
                    stores[kind] = cls.read(stream)
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise SnapshotError(f"{folder}: cannot be read ({error}); rebuild the index") from error
    for kind, store in stores.items():
        if store.count != catalogue.count(kind) or store.dim != manifest.dim:
            raise SnapshotError(
                f"{folder}: {kind} holds {store.count} vectors of {store.dim} for {catalogue.count(kind)} cases; rebuild the index"
            )
    return Snapshot(folder, manifest, catalogue, stores, transforms)


def verify(folder: Path, *, sample: int = 50, whole: Iterable[str] = ()) -> Snapshot:
    """The snapshot, opened; every file has its hash, signatures are unit and finite, and sampled cases find themselves. `whole`: files
    that were hashed a moment ago. Raises `SnapshotError`.
    """
    snapshot = open_snapshot(folder)
    snapshot._whole.update(whole)
    snapshot.check_all()
    for kind, store in snapshot.stores.items():
        rows = snapshot.signature_blocks(kind)
        if rows.shape != (store.count, store.dim) or not all(_are_unit(block) for block in rows):
            raise SnapshotError(
                f"{folder / kind}: signatures are not {store.count} finite unit rows; rebuild the index"
            )
        picked = np.unique(np.linspace(0, store.count - 1, min(sample, store.count)).astype(np.int64))
        centred = snapshot.centred(kind, picked)
        similarities, _ = store.search(centred, k=1)
        own = np.einsum("ij,ij->i", centred, centred)
        if not np.allclose(similarities[:, 0], own, atol=1e-4):
            raise SnapshotError(
                f"{folder / kind}: a case does not find itself; vectors and transform do not belong together; rebuild the index"
            )
    return snapshot


def _read(previews: PreviewFile, row: int, folder: Path) -> bytes:
    try:
        return previews.at(row)
    except OSError as error:
        raise SnapshotError(f"{folder / PREVIEWS}: cannot be read ({error}); rebuild the index") from error


def _are_unit(rows: npt.NDArray[np.float32]) -> bool:
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3))


@contextmanager
def _checked(folder: Path, name: str, manifest: IndexManifest) -> Iterator[BinaryIO]:
    """The file, opened after its hash agreed with the manifest; opened once, so that what was hashed is what is parsed."""
    try:
        with (folder / name).open("rb") as stream:
            _require(hashlib.file_digest(stream, "sha256").hexdigest(), folder, name, manifest)
            stream.seek(0)
            yield stream
    except OSError as error:
        raise SnapshotError(f"{folder / name}: {error.strerror}; rebuild the index") from error


def _require(digest: str, folder: Path, name: str, manifest: IndexManifest) -> None:
    if digest != manifest.files.get(name):
        raise SnapshotError(
            f"{folder / name}: was changed since it was built (its sha256 is not the manifest's); rebuild the index"
        )
