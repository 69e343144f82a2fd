"""What a build did, as a page of Markdown for the person who comes in at eight.

Names of rejected files stand in it, since somebody has to find them, and no other name. Let only those read it who may see the archive.
"""

import contextlib
import errno
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from index.build_report import BuildOutcome, BuildReport
from index.case import Rejected
from index.snapshot import CURRENT

NAMES_SHOWN = 10  # of each reason
FAILED = "# The build failed"
STOPPED = "# The build was stopped"
UNWRITTEN = "# Look at this: this page could not be written"

# Reasons that speak of this machine or its network, not of the file: they are worth a look on any morning.
OURS = frozenset(
    {"unreachable", "unreadable-file", "unreadable-folder", "missing-file", "too-much-memory", "no-nibabel"}
)
ADVICE = {
    "unreachable": "The bucket or the network did not answer. Run the build again.",
    "unreadable-file": "Let the build's user read them, then run the build again.",
    "unreadable-folder": "Let the build's user read them, then run the build again.",
    "missing-file": "A record names files that are not there. Is every disk of the archive mounted?",
    "too-much-memory": "A worker's memory did not suffice. Fewer `--workers`, or a larger `MemoryMax` of the unit.",
    "no-nibabel": "Install the requirements again: `pip install --constraint constraints.txt .`",
    "decoder-timeout": "Perhaps the machine was busy. Run the build again; if they stay, they are damaged.",
    "decoder-crashed": "The decoder ended on them. They cost nothing else; ask the site to send them again.",
    "repeated-case-id": "Two archives, or one archive twice, offer the same scan. Is a `--cohort` given twice?",
    "unusable-name": "Rename the files in the archive.",
}
INSPECT = "`python -m embed inspect FILE` says what was found in them."


def morning_report(report: BuildReport) -> str:
    """The page. Its first line says whether all is well: no warning, and no scan lost to this machine's own fault."""
    groups = _by_reason(report.rejected)
    lines = [_headline(report, groups), "", _summary(report)]
    for section in (_changes(report), _warnings(report), _rejections(report, groups), _next(report, groups)):
        lines += section
    return "\n".join([*lines, *_figures(report)]) + "\n"


def failure_report(
    when: datetime,
    message: str,
    *,
    snapshot: str | None,
    is_new: bool = False,
    warnings: Sequence[str] = (),
    was_stopped: bool = False,
) -> str:
    """The page of a build that failed or was stopped by somebody, in the place of the last one, which would say that all is well.

    `snapshot`: the published one's name, empty where there is none, None where that cannot be told; `is_new`: this build published
    it before it failed. Not for a build that found another one running.
    """
    mend = "Build again" if was_stopped else "Mend what it says and build again"
    return (
        f"{STOPPED if was_stopped else FAILED}\n\n{when:%Y-%m-%d %H:%M} UTC. {_searched(snapshot, is_new=is_new)}\n\n"
        f"    {_plain(message)}\n\n"
        f"{_warned(warnings)}"
        "## What to do next\n\n"
        "- Read on: `journalctl --unit likewise-build --since yesterday`.\n"
        f"- {mend}: `systemctl start likewise-build`. Finished parts are not done twice.\n"
    )


def _searched(snapshot: str | None, *, is_new: bool) -> str:
    if snapshot is None:
        return f"Which snapshot is published cannot be told: `{CURRENT}` in the index folder cannot be read."
    if not snapshot:
        return "There is no published index."
    return f"{'This build published' if is_new else 'The index is as it was:'} `{snapshot}`{', which' if is_new else ''} is searched."


def published_name(index: Path) -> str | None:
    """As `failure_report` takes it."""
    try:
        return (index / CURRENT).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError):
        return None


def write_page(path: Path, page: str) -> None:
    """Replace the page whole. Where that fails, what is there is not left to look like today's: it is made to say that it is not.

    Raises OSError that names the file.
    """
    try:
        if path.exists() and not path.is_file():  # /dev/stdout
            path.write_text(page, encoding="utf-8")
        else:
            _replace(path.resolve(), page)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not is_full and _overwritten(path, page):  # the file may be written to, if not its folder
            return
        why = error.strerror or str(error)
        raise OSError(error.errno, f"{path}: cannot be written ({why}); {_leave_a_word(path, page, why)}") from error


def _replace(path: Path, page: str) -> None:
    pending = path.with_name(f".{path.name}.new")
    try:
        with pending.open("w", encoding="utf-8") as stream:
            stream.write(page)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, pending)
        pending.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            pending.unlink()
        raise


def _overwritten(path: Path, page: str) -> bool:
    """Whether an old page, if there is one, could be overwritten where it lies."""
    try:
        with path.open("r+b") as stream:
            stream.write(page.encode())
            stream.truncate()
        return True
    except OSError:
        return False


def _leave_a_word(path: Path, page: str, why: str) -> str:
    """A few words over the old page take no room on a full disk."""
    word = (
        f"{UNWRITTEN}\n\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {why}. It would have begun: "
        f'"{page.splitlines()[0].removeprefix("# ")}". More is told by '
        "`journalctl --unit likewise-build` and `python -m index status --index DIR`.\n"
    )
    if not path.exists():
        return "there is none"
    return "the page says so itself" if _overwritten(path, word) else "what it says is of an earlier build"


def _headline(report: BuildReport, groups: dict[str, list[Rejected]]) -> str:
    ours = sum(len(entries) for reason, entries in groups.items() if reason in OURS)
    doubts = [_count(len(report.warnings), "warning")] if report.warnings else []
    doubts += [f"{_count(ours, 'scan')} that this machine could not read"] if ours else []
    verdict = f"Look at this: {' and '.join(doubts)}" if doubts else "All is well"
    return f"# Dry run, nothing was published. {verdict}" if report.outcome is BuildOutcome.DRY_RUN else f"# {verdict}"


def _summary(report: BuildReport) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.cases.items()))
    content = (
        f"{_count(sum(report.cases.values()), 'scan')} ({kinds or 'none'}) of {_count(report.patients, 'patient')}"
    )
    ended = (
        f"{report.finished:%Y-%m-%d %H:%M} UTC, after {_duration((report.finished - report.started).total_seconds())}"
    )
    if report.outcome is BuildOutcome.PUBLISHED:
        return f"`{report.snapshot}` was published: {content}. {ended}."
    stays = f"`{report.snapshot}` stays" if report.snapshot else "There is no published index yet"
    if report.outcome is BuildOutcome.DRY_RUN:
        return f"A build would hold {content}. {stays}. {ended}."
    return f"Nothing differs from the published snapshot. {stays}: {content}. {ended}."


def _changes(report: BuildReport) -> list[str]:
    rows = (
        ("offered by the cohorts", report.seen + report.excluded),
        ("new", report.new),
        ("changed", report.changed),
        ("record alone changed", report.records_changed),
        ("unchanged", report.unchanged),
        ("withdrawn", report.withdrawn),
        ("excluded", report.excluded),
        ("rejected", len(report.rejected)),
    )
    table = [
        "",
        "## What changed",
        "",
        "| scans | |",
        "|---|--:|",
        *(f"| {what} | {count:,} |" for what, count in rows),
    ]
    return [*table, "", f"{report.of_exclusions()}."] if report.idle_lines else table


def _warnings(report: BuildReport) -> list[str]:
    return ["", *_warned(report.warnings).rstrip().splitlines()] if report.warnings else []


def _warned(warnings: Sequence[str]) -> str:
    lines = "".join(f"- {_plain(text)}\n" for text in warnings)
    return f"## Warnings\n\n{lines}\n" if lines else ""


def _rejections(report: BuildReport, groups: dict[str, list[Rejected]]) -> list[str]:
    if not groups:
        return []
    lines = ["", "## Rejected", "", "| reason | scans | files |", "|---|--:|---|"]
    for reason, entries in groups.items():
        names = sorted(PurePosixPath(entry.file).name or entry.file for entry in entries)
        shown = ", ".join(_code(name) for name in names[:NAMES_SHOWN])
        more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
        lines.append(f"| {reason} | {len(entries):,} | {shown}{more} |")
    published = report.outcome is BuildOutcome.PUBLISHED
    return [*lines, "", f"All of them: `snapshots/{report.snapshot}/rejected.parquet`."] if published else lines


def _next(report: BuildReport, groups: dict[str, list[Rejected]]) -> list[str]:
    steps = list(_steps(report, groups))
    return ["", "## What to do next", "", *(f"- {step}" for step in steps)] if steps else []


def _steps(report: BuildReport, groups: dict[str, list[Rejected]]) -> Iterator[str]:
    if report.warnings and report.outcome is BuildOutcome.PUBLISHED:
        yield "Are the warnings expected? If not, `python -m index rollback --index DIR` brings back the one before, if this version reads it."
    elif report.warnings:
        yield "Are the warnings expected? If not, mend their cause before the next build."
    others = [reason for reason in groups if reason not in ADVICE]
    for reason in groups:
        if reason in ADVICE:
            yield f"{reason}: {ADVICE[reason]}"
    if others:
        yield f"{', '.join(others)}: {INSPECT}"


def _figures(report: BuildReport) -> list[str]:
    lines = ["", "## Durations", "", "| stage | |", "|---|--:|"]
    lines += [f"| {stage} | {_duration(seconds)} |" for stage, seconds in report.seconds.items()]
    if report.counts:
        lines += ["", "## What else the cohorts found", ""]
        lines += [f"- {count:,} {_plain(what)}" for what, count in report.counts.items()]
    if report.health:
        lines += ["", "## Health", "", "| figure | |", "|---|--:|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in sorted(report.health.items())]
    return lines


def _by_reason(rejected: Sequence[Rejected]) -> dict[str, list[Rejected]]:
    """The most frequent reason first."""
    groups: dict[str, list[Rejected]] = defaultdict(list)
    for entry in rejected:
        groups[entry.reason].append(entry)
    return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plain(text: str) -> str:
    """One line, whatever is in it."""
    return "".join(mark if mark.isprintable() else " " for mark in text)


def _code(name: str) -> str:
    """A code span in a table's cell: a file's name may hold a backtick, a bar or a line's end."""
    text = _plain(name).replace("|", "\\|")
    fence = "`"
    while fence in text:
        fence += "`"
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"
