"""The snapshots that an index folder holds: which there are, which is current, going back, and clearing away."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from index.denied import DenyList
from index.manifest import IndexManifest, ManifestError
from index.snapshot import CURRENT, SNAPSHOTS, SnapshotError, verify
from index.snapshot_writer import BUILDING, make_current


@dataclass(frozen=True)
class Held:
    """One snapshot on disk; `manifest` is None where it cannot be read."""

    path: Path
    is_current: bool
    size_bytes: int
    manifest: IndexManifest | None


def held(index: Path) -> list[Held]:
    """The snapshots of an index folder, the newest first."""
    current = current_name(index)
    folders = sorted((path for path in (index / SNAPSHOTS).glob("*") if path.is_dir()), reverse=True)
    return [Held(path, path.name == current, _size(path), _manifest(path)) for path in folders]


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
    denied = DenyList.read(index)
    if target.manifest is None or target.manifest.denied != denied.fingerprint():
        raise SnapshotError(
            f"{target.path.name}: is from before the last purge and may hold a purged patient; it is not made current"
        )
    verify(target.path)
    make_current(index, target.path.name)
    return target.path.name


def _manifest(path: Path) -> IndexManifest | None:
    try:
        return IndexManifest.from_json((path / "manifest.json").read_bytes())
    except (OSError, ManifestError):
        return None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
