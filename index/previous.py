"""Which earlier snapshots a build may trust: the published one, or where that is damaged or lost, one that was kept beside it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from index.denied import DENIED, DenyList
from index.retention import held
from index.snapshot import ANSWERS, CURRENT, SNAPSHOTS, Snapshot, SnapshotError, current_folder, open_snapshot


@dataclass(frozen=True, eq=False)
class Earlier:
    """None throughout for the first build of an index."""

    published: Snapshot | None = None  # whole
    known: Snapshot | None = None  # whole: its readings need not be made again
    compared: Snapshot | None = None  # its catalogue, transforms and answers are whole: what the checks compare with
    warnings: tuple[str, ...] = ()


def open_earlier(index: Path) -> Earlier:
    """Damage to the published snapshot must not switch off the checks that compare with it."""
    folders = sorted((path for path in (index / SNAPSHOTS).glob("*") if path.is_dir()), reverse=True)
    if not folders:
        return Earlier()
    try:
        published = open_whole(current_folder(index))
        return Earlier(published, published, published)
    except SnapshotError as error:
        current = next((path for path in folders if path.name == _named(index)), None)
        if current:
            said = f"the published snapshot cannot be used ({error})"
        else:
            said = f"{index / CURRENT} names no snapshot, though {len(folders)} lie in {SNAPSHOTS}/"
    others = [path for path in folders if path != current]
    known = _first(open_whole, others)
    compared = (_first(_open_to_compare, [current]) if current else None) or known or _first(_open_to_compare, others)
    read = f"readings are taken from {known.path.name}" if known else "everything is read again"
    with_what = f"is compared with {compared.path.name}" if compared else "cannot be compared with an earlier one"
    return Earlier(None, known, compared, (f"{said}; {read}, and the new snapshot {with_what}",))


def open_whole(folder: Path) -> Snapshot:
    """The snapshot without its stores, every file of it checked. Raises `SnapshotError`."""
    snapshot = open_snapshot(folder, to_search=False)
    snapshot.check_all()
    return snapshot


def is_whole(folder: Path) -> bool:
    return _first(open_whole, [folder]) is not None


def require_deny_list(index: Path, denied: DenyList) -> tuple[str, ...]:
    """Warnings. Raises `SnapshotError` where snapshots tell of a purge and the deny-list is lost: the purged would come back.

    There is no option to build all the same: purging the same patients again writes the list anew.
    """
    snapshots = [one for one in held(index) if one.denied is not None]
    if not denied.digests and any(one.denied for one in snapshots):
        raise SnapshotError(
            f"{index / DENIED}: is missing or empty, but a snapshot in this index was built with a deny-list: patients were "
            f"purged, and without the list they would come back. Restore the newest {DENIED} from the backup. If there is none, "
            "purge the same patients again (`python -m index purge`); their names are in the requests that were answered"
        )
    differing = [one for one in snapshots if one.denied != denied.fingerprint()]
    if not differing:
        return ()
    return (
        f"{len(differing)} of {len(snapshots)} snapshots were built with another deny-list than {DENIED}: a purge was not "
        f"completed (run it again), or an older {DENIED} was restored (restore the newest)",
    )


def _open_to_compare(folder: Path) -> Snapshot:
    snapshot = open_snapshot(folder, to_search=False)
    snapshot.checked(ANSWERS)
    return snapshot


def _first(opened: Callable[[Path], Snapshot], folders: Iterable[Path]) -> Snapshot | None:
    for folder in folders:
        try:
            return opened(folder)
        except SnapshotError:
            continue
    return None


def _named(index: Path) -> str:
    try:
        return (index / CURRENT).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
