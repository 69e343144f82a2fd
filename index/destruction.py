"""Destroying an index when the data-access agreement ends: the certificate first, then the removal, then the certificate completed."""

import errno
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.folder import BUILDING, FILES, foreign_to, is_index
from index.lock import LOCK, IndexLock
from index.owners import me, not_let_in
from index.parts import flush_path
from index.proof import ProofError, read_proof, sha256_of, signed, write_proof
from index.retention import held
from index.snapshot import CURRENT, SNAPSHOTS, SnapshotError

BEGUN, DONE = "to be destroyed", "destroyed"
STATEMENT = (
    "All files of this index that are listed here were deleted. They were not overwritten: copies in backups, and blocks of a disk that is "
    "not encrypted, are outside of what this program can reach."
)
ANNOUNCEMENT = (
    "The files of this index that are listed here are to be deleted; whether all of them are, was not written down yet."
)


@dataclass(frozen=True)
class Destroyed:
    """What there is to tell after a destruction."""

    folder: Path  # the very folder, where a link was named
    is_folder_left: bool  # empty but for `foreign`: a mount point, or in a folder that belongs to somebody else
    foreign: tuple[str, ...]  # files and folders that are no index's, and were left


def destroy(index: Path, certificate: Path) -> Destroyed:
    """Remove an index altogether. The certificate says from before the first removal what is removed, and afterwards that it is done; where
    it was not completed, the same call goes on. Raises `SnapshotError`, `ProofError` or OSError.
    """
    folder = index.resolve()
    begun = _begun(certificate, folder)
    if folder.is_dir() and (is_index(folder) or (begun and _own(folder))):
        with IndexLock(folder / BUILDING, purpose="destruction"):
            _require_no_links(folder)
            content = _announced(folder, begun)
            _write(certificate, content, "Nothing was removed")
            _remove(folder, certificate)
    elif begun:  # all is removed; only the certificate's last word is missing
        content = begun
    else:
        raise SnapshotError(f"{index}: no index folder; nothing was removed")
    foreign = tuple(foreign_to(folder)) if folder.is_dir() else ()
    if not foreign:
        _remove_empty(folder)
    if index.is_symlink() and not folder.exists():
        index.unlink()
    told = Destroyed(folder, folder.exists(), foreign)
    content = content | {
        "statement": STATEMENT,
        "state": DONE,
        "completed": _now(),
        "empty_folder_left": told.is_folder_left and not foreign,
        "foreign_left": list(foreign),
    }
    _write(
        certificate,
        content,
        f"The index is gone; what lies there says {BEGUN!r} and lists all its files. Mend it and run the same again",
    )
    return told


def _write(certificate: Path, content: Mapping[str, Any], otherwise: str) -> None:
    try:
        write_proof(certificate, signed(content))
    except ProofError as error:
        raise SnapshotError(f"{error}. {otherwise}") from error


def _begun(certificate: Path, folder: Path) -> dict[str, Any] | None:
    """The certificate of a destruction of this very index that was not completed. Raises `ProofError` where another file is in the way."""
    if not certificate.exists():
        return None
    said = read_proof(certificate)
    if said and said.get("state") == BEGUN and said.get("index") == str(folder):
        return said
    raise ProofError(f"{certificate}: is there already, and is kept; give another name")


def _announced(folder: Path, begun: Mapping[str, Any] | None) -> dict[str, Any]:
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for own in _own(folder)
        for path in sorted([own] if own.is_file() else own.rglob("*"))
        if path.is_file() and path != folder / BUILDING / LOCK
    }
    snapshots = held(folder)
    manifests = [one.manifest for one in snapshots if one.manifest]
    said: dict[str, Any] = {
        "statement": ANNOUNCEMENT,
        "state": BEGUN,
        "begun": _now(),
        "by": f"{me()}@{socket.gethostname()}",
        "index": str(folder),
        "archives": sorted({f"{name}={source}" for manifest in manifests for name, source in manifest.cohorts.items()}),
        "patients": max((manifest.patients for manifest in manifests), default=0),
        "snapshots_unread": len(snapshots) - len(manifests),  # whose patients and archives nobody could count
        "files": files,
    }
    return said | dict(begun) | {"files": {**files, **begun["files"]}} if begun else said


def _own(folder: Path) -> list[Path]:
    """What an index holds, in the order in which it is removed: first nothing is published any more, last the lock goes."""
    return [folder / name for name in (CURRENT, SNAPSHOTS, *FILES[1:], BUILDING) if (folder / name).exists()]


def _require_no_links(folder: Path) -> None:
    links = [path for own in _own(folder) for path in (own, *own.rglob("*")) if path.is_symlink()]
    if links:
        raise SnapshotError(
            f"{links[0]}: is a link to {links[0].readlink()}, which would be left; put in its place what it points to, or remove both. "
            "Nothing was removed"
        )


def _remove(folder: Path, certificate: Path) -> None:
    try:
        for own in _own(folder):
            shutil.rmtree(own) if own.is_dir() else own.unlink()
    except OSError as error:
        where = Path(str(error.filename)) if error.filename else folder
        why = not_let_in(where) if isinstance(error, PermissionError) else error.strerror
        raise SnapshotError(
            f"{where}: cannot be removed ({why}). The index is removed in part; {certificate} says {BEGUN!r} and lists all its files. "
            "Mend it and run the same again"
        ) from error
    flush_path(folder)


def _remove_empty(folder: Path) -> None:
    """The folder too, unless it is a mount point or lies in somebody else's: its contents were what mattered."""
    try:
        folder.rmdir()
        flush_path(folder.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTEMPTY):
            raise


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
