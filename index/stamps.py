"""What tells cheaply whether a case's files are those of last time: their names, sizes and times of change."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from index.archive_files import is_remote
from index.case import Case


def stamp_of(case: Case) -> str:
    """A digest of names below the case's own folder or file, sizes and times; it is the same where an archive was moved whole.

    Raises OSError where a file is not there.
    """
    seen: list[tuple[str, int, str]] = []
    for location in case.files:
        if is_remote(location):
            from index.remote_files import remote_stamps

            seen += remote_stamps(location)
        else:
            seen += _local_stamps(location)
    return _digest(sorted(seen))


def is_readable(case: Case) -> bool:
    """Whether we have the right to read its files, of a folder the folder itself; of a bucket that is not asked."""
    return all(is_remote(location) or os.access(location, os.R_OK) for location in case.files)


def names_of(case: Case) -> Iterator[str]:
    """The names of all its files, without their suffixes; of what is not there any more, none."""
    for location in case.files:
        if not is_remote(location):
            paths = Path(location).rglob("*") if Path(location).is_dir() else iter([Path(location)])
            yield from (path.stem for path in paths)
            continue
        from index.remote_files import remote_stamps

        with contextlib.suppress(OSError):
            yield from (Path(name).stem for name, _, _ in remote_stamps(location))


def record_of(case: Case) -> str:
    """A digest of all that the cohort says of a case but where its files lie."""
    outcome = [(name, event.state, event.days) for name, event in sorted(case.outcome.events.items())]
    said: list[object] = [
        case.case_id,
        case.patient_id,
        case.cohort,
        outcome,
        case.outcome.observed_days,
        case.site,
        case.modality,
    ]
    said += [case.view, case.scan_date, case.age_years, case.sex, case.manufacturer, case.scanner]
    return _digest([*said, sorted(case.clinical.items())])


def _local_stamps(path: str) -> Iterator[tuple[str, int, str]]:
    found = os.stat(path)  # noqa: PTH116 a Path for each film costs a tenth of a rebuild
    if stat.S_ISDIR(found.st_mode):
        for folder, _, names in os.walk(path):
            for name in names:
                inner = (Path(folder) / name).stat()
                yield os.path.relpath(os.path.join(folder, name), path), inner.st_size, str(inner.st_mtime_ns)  # noqa: PTH118
    else:
        yield os.path.basename(path), found.st_size, str(found.st_mtime_ns)  # noqa: PTH119


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, default=_plain).encode()).hexdigest()[:32]


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
