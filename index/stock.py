"""Taking stock before a build: what is new, changed, as it was, or gone."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from index.archive_files import is_remote
from index.case import Case, Rejected
from index.intake import Intake
from index.known import Known, Place
from index.readings import Facts
from index.spool import Planned, Spool
from index.stamps import is_readable, names_of, record_of, stamp_of

STAMPERS = 16  # requests at a time for what lies in a bucket


@dataclass
class Stock:
    """Counts of scans, and who was refused before reading."""

    unread: int = 0  # scans that have to be read
    new: int = 0
    changed: int = 0
    records_changed: int = 0
    unchanged: int = 0
    restamped: int = 0  # whose file has another name, place or time than when the same content was read
    resumed: int = 0  # of the new and changed, those that a build read which did not come to publish
    unreadable: int = 0  # of those that need not be read: they could not be, for want of rights
    withdrawn: int = 0
    refused: list[Rejected] = field(default_factory=list)


def take_stock(
    intake: Intake,
    known: Known,
    published: Iterable[str],
    spool: Spool,
    content_of: Callable[[Path], str],
) -> Stock:
    """What the cohorts offer, spooled, beside what is `known` and the case ids `published`.

    `content_of` is the hash by which a moved file is recognised. Raises `CohortError` or OSError.
    """
    stock, ids = Stock(), set[str]()
    for case, stamp in _stamped(intake, stock):
        place = known.find(case.case_id, stamp)
        is_moved = place is None and bool(known)
        if is_moved:
            place = _moved(case, known, content_of)
        if place and _is_excluded(case, place, known, intake):
            intake.excluded += 1
            intake.seen -= 1
            continue
        record = record_of(case)
        ids.add(case.case_id)
        stock.unread += place is None
        is_known = known.is_published(case.case_id)
        is_resumed = place is not None and known.is_of_part(place)
        if place is None or is_resumed or not is_known or known.at(place, "case_id") != case.case_id:
            stock.changed += is_known
            stock.new += not is_known
            stock.resumed += is_resumed
        elif known.at(place, "record") == record:
            stock.unchanged += 1
        else:
            stock.records_changed += 1
        stock.unreadable += place is not None and not is_readable(case)
        stock.restamped += place is not None and (is_moved or known.at(place, "file") != case.files[0])
        spool.add(Planned(case, stamp, record, place))
    stock.withdrawn = sum(case_id not in ids for case_id in published)
    return stock


def _is_excluded(case: Case, place: Place, known: Known, intake: Intake) -> bool:
    """By a name that only the file's own header tells, or one of a folder's files: as where it had to be read."""
    if not intake.exclusions.cover_somebody:
        return False
    outcome = known.seen(place).outcome
    said = outcome.identifiers if isinstance(outcome, Facts) else ()
    return intake.exclusions.cover_any(said) or intake.exclusions.cover_any(names_of(case))


def _moved(case: Case, known: Known, content_of: Callable[[Path], str]) -> Place | None:
    """The reading of the same bytes under another name or time."""
    if len(case.files) != 1 or is_remote(case.files[0]) or not Path(case.files[0]).is_file():
        return None
    try:
        return known.by_content(content_of(Path(case.files[0])))
    except OSError:
        return None


def _stamped(intake: Intake, stock: Stock) -> Iterator[tuple[Case, str]]:
    """Each case with its files' stamp, empty where they are not there; what lies in a bucket is asked a few ahead."""
    cases = _sifted(intake, stock)
    with ThreadPoolExecutor(STAMPERS) as pool:

        def begun(case: Case) -> tuple[Case, str | Future[str]]:
            is_far = any(is_remote(location) for location in case.files)
            return case, pool.submit(_stamp, case) if is_far else _stamp(case)

        ahead: deque[tuple[Case, str | Future[str]]] = deque(begun(case) for case in islice(cases, 2 * STAMPERS))
        while ahead:
            case, stamp = ahead.popleft()
            yield case, stamp if isinstance(stamp, str) else stamp.result()
            ahead.extend(begun(case) for case in islice(cases, 1))


def _sifted(intake: Intake, stock: Stock) -> Iterator[Case]:
    for one in intake:
        if isinstance(one, Rejected):
            stock.refused.append(one)
        else:
            yield one


def _stamp(case: Case) -> str:
    try:
        return stamp_of(case)
    except OSError:  # reading it will say what is wrong
        return ""
