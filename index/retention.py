"""The snapshots that an index folder holds: which there are, which is current, going back, and clearing away."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from index.denied import DenyList
from index.folder import BUILDING
from index.manifest import IndexManifest, ManifestError, stated_deny_list
from index.owners import not_let_in
from index.snapshot import CURRENT, SNAPSHOTS, SnapshotError, verify
from index.snapshot_writer import make_current


@dataclass(frozen=True)
class Held:
    """One snapshot on disk; `manifest` is None where it cannot be read, and `unread` says why."""

    path: Path
    is_current: bool
    size_bytes: int
    manifest: IndexManifest | None
    unread: str = ""
    denied: str | None = None  # the deny-list's fingerprint that it was made with, also where another version wrote it


def held(index: Path) -> list[Held]:
    """The snapshots of an index folder, the newest first. Raises OSError where nobody may look."""
    current = current_name(index)
    try:
        folders = sorted((path for path in (index / SNAPSHOTS).iterdir() if path.is_dir()), reverse=True)
    except FileNotFoundError:
        return []
    return [_held(path, is_current=path.name == current) for path in folders]


def trust_of(manifest: IndexManifest, denied: DenyList) -> str:
    """Why a snapshot may hold a purged patient, in words; empty where it was made with the very deny-list that the index has."""
    if manifest.denied == denied.fingerprint():
        return ""
    if not denied.digests:
        return "was made with a deny-list, and denied.json is missing: restore it from the backup"
    if not manifest.denied:
        return "is from before the last purge and may hold a purged patient"
    return (
        "was made with another denied.json than that which is there: it is from before the last purge and may hold a purged patient, "
        "or denied.json is from an older backup"
    )


def current_name(index: Path) -> str | None:
    try:
        return (index / CURRENT).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def prune(index: Path, *, keep: int) -> list[str]:
    """Remove all but the newest `keep` snapshots and the current one; the names of those removed. Raises OSError."""
    removed = []
    for one in held(index)[keep:]:
        if not one.is_current:
            leaving = index / BUILDING / f"pruned-{one.path.name}"  # half a snapshot is never among the snapshots
            one.path.rename(leaving)
            shutil.rmtree(leaving)
            removed.append(one.path.name)
    return removed


def rollback(index: Path, *, to: str | None = None) -> str:
    """Make an earlier snapshot current, after verifying it: that before the current one, or the one named. Its name.

    Never one that holds a purged patient: those were rewritten by the purge, and what was not is refused by its deny-list's
    fingerprint. Raises `SnapshotError`, `DenyListError` or OSError.
    """
    snapshots = held(index)
    current = next((place for place, one in enumerate(snapshots) if one.is_current), None)
    if to is None:
        older = snapshots[current + 1 :] if current is not None else snapshots
    else:
        older = [one for one in snapshots if one.path.name == to]
    if not older:
        there = ", ".join(one.path.name for one in snapshots) or "none"
        raise SnapshotError(f"{index}: no {'such' if to else 'earlier'} snapshot to go back to; there are: {there}")
    target = older[0]
    if target.manifest is None:
        raise SnapshotError(f"{target.path.name}: {target.unread}; it is not made current")
    denied = DenyList.read(index)
    doubt = trust_of(target.manifest, denied)
    if doubt:
        fit = [
            one.path.name
            for one in snapshots
            if one.manifest and not one.is_current and not trust_of(one.manifest, denied)
        ]
        offer = f"; --to may name {', '.join(fit)}" if fit else ""
        raise SnapshotError(f"{target.path.name}: {doubt}. It is not made current{offer}")
    verify(target.path)
    make_current(index, target.path.name)
    return target.path.name


def _held(path: Path, *, is_current: bool) -> Held:
    file, manifest, unread, denied = path / "manifest.json", None, "", None
    try:
        content = file.read_bytes()
        denied = stated_deny_list(content)
        manifest = IndexManifest.from_json(content)
    except PermissionError:
        unread = f"cannot be read: {not_let_in(file)}"
    except OSError as error:
        unread = f"cannot be read: manifest.json: {error.strerror}"
    except ManifestError as error:
        unread = f"cannot be read: {error}"
    return Held(path, is_current, _size(path), manifest, unread, denied)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
