"""A build is seen: metrics for a monitor, a page for a person, events for a log; none of them names a patient."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from index.build_report import BuildOutcome, BuildReport
from index.case import Rejected
from index.events import EventLog
from index.metrics import write_failure, write_metrics
from index.morning import failure_report, morning_report

STARTED = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)  # Unix time 1795485600
CREATED = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)  # Unix time 1795141800
PSEUDONYM = "Covid4711"


def rejected(reason: str, name: str) -> Rejected:
    return Rejected(PSEUDONYM, f"/data/{PSEUDONYM}/xray/{name}", reason, f"{PSEUDONYM}: two patients")


REPORT = BuildReport(
    outcome=BuildOutcome.PUBLISHED,
    snapshot="20261124T020000Z-3f9a",
    started=STARTED,
    finished=STARTED + timedelta(seconds=90),
    seconds={"reading": 60.5, "checking": 2.25},
    cases={"xray": 1200, "ct": 30},
    patients=700,
    seen=1234,
    new=11,
    changed=7,
    records_changed=5,
    unchanged=1207,
    withdrawn=3,
    excluded=2,
    rejected=[rejected("no-pixels", "a.dcm"), rejected("no-pixels", "b.dcm"), rejected("blank", "c.dcm")],
    health={"xray_hubness": 1.5},
)


def samples(path: Path) -> dict[str, float]:
    """name{label value} -> value, as a Prometheus server would read the file."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}" if sample.labels else sample.name: sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_metrics_are_what_the_report_says(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_metrics(path, REPORT, index_created=CREATED)
    assert samples(path) == {
        "likewise_build_success": 1,
        "likewise_build_last_success_timestamp_seconds": 1795485690,
        "likewise_snapshot_created_timestamp_seconds": 1795141800,
        "likewise_build_duration_seconds": 90,
        "likewise_build_stage_seconds{reading}": 60.5,
        "likewise_build_stage_seconds{checking}": 2.25,
        "likewise_cases{xray}": 1200,
        "likewise_cases{ct}": 30,
        "likewise_patients": 700,
        "likewise_build_seen_scans": 1234,
        "likewise_build_new_scans": 11,
        "likewise_build_changed_scans": 7,
        "likewise_build_records_changed_scans": 5,
        "likewise_build_unchanged_scans": 1207,
        "likewise_build_withdrawn_scans": 3,
        "likewise_build_excluded_scans": 2,
        "likewise_build_rejected_scans": 3,
        "likewise_build_rejected_scans_by_reason{no-pixels}": 2,
        "likewise_build_rejected_scans_by_reason{blank}": 1,
        "likewise_build_warnings": 0,
        "likewise_health{xray_hubness}": 1.5,
    }


def test_every_metric_has_its_help_and_type(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_metrics(path, REPORT, index_created=CREATED)
    lines = path.read_text().splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert {line.split(" ")[2] for line in lines if line.startswith("# HELP")} == names
    assert {line.split(" ")[2] for line in lines if line.startswith("# TYPE") and line.endswith(" gauge")} == names


def test_labels_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    strange = 'a "b"\\\nlikewise_build_success 7'
    write_metrics(path, replace(REPORT, rejected=[rejected(strange, "x")]), index_created=CREATED)
    assert '{reason="a \\"b\\"\\\\\\nlikewise_build_success 7"} 1.0' in path.read_text()
    assert samples(path)[f"likewise_build_rejected_scans_by_reason{{{strange}}}"] == 1
    assert samples(path)["likewise_build_success"] == 1


def test_a_failure_keeps_the_earlier_figures(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_metrics(path, REPORT, index_created=CREATED)
    before = samples(path)
    write_failure(path, STARTED + timedelta(days=1))
    failed = {"likewise_build_success": 0.0, "likewise_build_last_failure_timestamp_seconds": 1795572000.0}
    assert samples(path) == before | failed


def test_a_good_build_keeps_when_one_last_failed(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_failure(path, STARTED)
    assert samples(path) == {
        "likewise_build_success": 0,
        "likewise_build_last_failure_timestamp_seconds": 1795485600,
    }
    write_metrics(path, REPORT, index_created=CREATED)
    assert samples(path)["likewise_build_success"] == 1
    assert samples(path)["likewise_build_last_failure_timestamp_seconds"] == 1795485600


def test_a_reason_that_is_gone_leaves_the_metrics(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_metrics(path, REPORT, index_created=CREATED)
    write_metrics(path, replace(REPORT, rejected=[]), index_created=CREATED)
    assert "reason=" not in path.read_text()
    assert samples(path)["likewise_build_rejected_scans"] == 0


def test_damaged_metrics_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    path.write_bytes(b"likewise_build_success {{{ \xff")
    write_failure(path, STARTED)
    assert samples(path)["likewise_build_success"] == 0


def test_a_dry_run_leaves_the_metrics_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_metrics(path, replace(REPORT, outcome=BuildOutcome.DRY_RUN), index_created=CREATED)
    assert list(tmp_path.iterdir()) == []


def test_metrics_are_replaced_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    write_failure(path, STARTED)
    with path.open() as reader:  # node_exporter, in the middle of reading
        half = reader.read(10)
        write_metrics(path, REPORT, index_created=CREATED)
        rest = reader.read()
    assert "likewise_patients" not in half + rest and rest.endswith("\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["likewise.prom"]


def test_metrics_that_cannot_be_written_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "likewise.prom"
    path.mkdir()
    with pytest.raises(OSError):
        write_failure(path, STARTED)
    assert [entry.name for entry in tmp_path.iterdir()] == ["likewise.prom"]


def test_the_first_line_says_that_all_is_well() -> None:
    lines = morning_report(REPORT).splitlines()
    assert lines[0] == "# All is well"
    assert "1,230 scans (30 ct, 1,200 xray) of 700 patients" in lines[2]
    assert "| new | 11 |" in lines and "| withdrawn | 3 |" in lines
    assert "| reading | 1 min 0 s |" in lines and "| checking | 2.2 s |" in lines


def test_the_first_line_says_what_to_look_at() -> None:
    doubtful = replace(REPORT, warnings=["the archive shrank by 8 %"], rejected=[rejected("unreachable", "a.dcm")])
    page = morning_report(doubtful)
    assert page.startswith("# Look at this: 1 warning and 1 scan that this machine could not read\n")
    assert "\n- the archive shrank by 8 %\n" in page
    assert "rollback" in page and "Run the build again" in page


def test_a_damaged_file_is_no_reason_to_look_but_is_listed() -> None:
    lines = morning_report(REPORT).splitlines()
    assert lines[0] == "# All is well"
    rows = [line for line in lines if line.startswith(("| no-pixels", "| blank"))]
    assert rows == ["| no-pixels | 2 | `a.dcm`, `b.dcm` |", "| blank | 1 | `c.dcm` |"]
    assert any("python -m embed inspect FILE" in line for line in lines)


def test_ten_files_of_a_reason_are_named() -> None:
    many = [rejected("blank", f"{number:02}.dcm") for number in range(12)]
    page = morning_report(replace(REPORT, rejected=many))
    assert "`09.dcm` and 2 more |" in page and "10.dcm" not in page


def test_a_file_name_cannot_break_the_page() -> None:
    page = morning_report(replace(REPORT, rejected=[rejected("blank", "a|b`c\n# All is lost.png")]))
    assert "| blank | 1 | `` a\\|b`c # All is lost.png `` |" in page.splitlines()


def test_no_pseudonym_stands_in_what_a_build_tells(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = EventLog.to_stream(stream)
    log.finished(REPORT)
    log.failed(ValueError(f"{PSEUDONYM} is wrong"), exit_code=1)
    write_metrics(tmp_path / "m.prom", REPORT, index_created=CREATED)
    told = morning_report(REPORT) + stream.getvalue() + (tmp_path / "m.prom").read_text()
    assert PSEUDONYM not in told and "a.dcm" in told  # the names of rejected files, and no more of their paths


def test_the_page_of_a_dry_run_says_that_nothing_was_published() -> None:
    page = morning_report(replace(REPORT, outcome=BuildOutcome.DRY_RUN, snapshot=""))
    assert page.startswith("# Dry run, nothing was published. All is well\n")
    assert "There is no published index yet" in page and "rejected.parquet" not in page


def test_the_page_of_an_unchanged_build_says_what_stays() -> None:
    page = morning_report(replace(REPORT, outcome=BuildOutcome.UNCHANGED))
    assert "Nothing differs from the published snapshot. `20261124T020000Z-3f9a` stays" in page


def test_the_page_of_a_failure_says_what_is_searched_meanwhile() -> None:
    page = failure_report(STARTED, "the disk is full\n# All is well", snapshot="20261123T020000Z-aaaa")
    assert page.splitlines()[0] == "# The build failed"
    assert "`20261123T020000Z-aaaa` is searched" in page and "\n# All" not in page
    assert "There is no published index." in failure_report(STARTED, "x", snapshot="")
    assert "cannot be told" in failure_report(STARTED, "x", snapshot=None)


def test_the_page_of_a_failure_says_what_the_build_had_found_and_published() -> None:
    page = failure_report(STARTED, "x", snapshot="s", is_new=True, warnings=["CURRENT was\nlost"])
    assert (
        "This build published `s`, which is searched." in page and "\n- CURRENT was lost\n\n## What to do next" in page
    )


def test_a_stopped_build_is_not_called_a_failure() -> None:
    page = failure_report(STARTED, "stopped by SIGTERM", snapshot="s", was_stopped=True)
    assert page.startswith("# The build was stopped\n") and "\n- Build again:" in page


def test_what_was_offered_counts_the_excluded_and_idle_lines_are_told() -> None:
    page = morning_report(replace(REPORT, exclusion_lines=30, idle_lines=[2, 7]))
    assert "| offered by the cohorts | 1,236 |" in page.splitlines()
    assert "2 of 30 lines of the exclusion list match nobody who is offered (line 2, 7)." in page.splitlines()
    assert "exclusion list" not in morning_report(REPORT)


def test_a_build_that_found_another_one_ends_with_an_event() -> None:
    stream = io.StringIO()
    EventLog.to_stream(stream).locked(exit_code=75)
    assert (events(stream.getvalue())[0]["event"], events(stream.getvalue())[0]["exit_code"]) == ("locked", 75)


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_event_is_one_line_with_its_time_in_utc() -> None:
    stream = io.StringIO()
    log = EventLog.to_stream(stream, now=lambda: 1795485600.25)
    log.build_started(cohorts=1, encoder="histogram:1")
    log.records_read(seen=12, excluded=1, rejected=2, seconds=0.04)
    log.part_written(part=1, scans=9)
    log.checked(warnings=0, seconds=1.26)
    log.finished(REPORT)
    told = events(stream.getvalue())
    assert [event["event"] for event in told] == [
        "build-started",
        "records-read",
        "part-written",
        "checked",
        "published",
    ]
    assert {event["time"] for event in told} == {"2026-11-24T02:00:00.250Z"}
    assert told[1] == told[1] | {"seen": 12, "excluded": 1, "rejected": 2, "seconds": 0.0}
    assert told[4] == told[4] | {"seconds": 90.0, "cases": 1230, "new": 11, "withdrawn": 3, "rejected": 3}


@pytest.mark.parametrize(
    ("outcome", "event"),
    [(BuildOutcome.UNCHANGED, "unchanged"), (BuildOutcome.DRY_RUN, "dry-run")],
)
def test_a_build_ends_with_an_event_of_its_outcome(outcome: BuildOutcome, event: str) -> None:
    stream = io.StringIO()
    EventLog.to_stream(stream).finished(replace(REPORT, outcome=outcome))
    assert events(stream.getvalue())[0]["event"] == event


def test_progress_comes_at_most_every_ten_seconds_with_its_rate() -> None:
    stream, watch = io.StringIO(), Watch()
    log = EventLog.to_stream(stream, monotonic=watch)
    for second in range(25):
        watch.seconds = second
        log.progress(done=3 * second, total=120)
    told = [
        tuple(event[key] for key in ("done", "total", "per_second", "seconds_left"))
        for event in events(stream.getvalue())
    ]
    assert told == [(0, 120, None, None), (30, 120, 3.0, 30.0), (60, 120, 3.0, 20.0)]


def test_the_rate_is_that_of_the_last_minute() -> None:
    stream, watch = io.StringIO(), Watch()
    log = EventLog.to_stream(stream, monotonic=watch)
    done = 0
    for second in range(0, 101, 10):
        watch.seconds = second
        log.progress(done, 20_000)
        done += 10_000 if second == 0 else 10  # 10,000 known ones at once, then one a second
    assert events(stream.getvalue())[-1]["per_second"] == 1.0


def test_a_build_that_stands_still_promises_no_time() -> None:
    stream, watch = io.StringIO(), Watch()
    log = EventLog.to_stream(stream, monotonic=watch)
    for watch.seconds in (0.0, 10.0):
        log.progress(5, 20)
    last = events(stream.getvalue())[-1]
    assert last["per_second"] == 0 and last["seconds_left"] is None


def rename(path: Path) -> None:
    path.rename(path.with_name("events.jsonl.1"))


def copy_and_truncate(path: Path) -> None:
    path.with_name("events.jsonl.1").write_bytes(path.read_bytes())
    path.write_bytes(b"")


@pytest.mark.parametrize("rotate", [rename, copy_and_truncate])
def test_the_log_goes_on_after_logrotate(tmp_path: Path, rotate: Callable[[Path], None]) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog.to_file(path)
    log.part_written(part=1, scans=5)
    rotate(path)
    log.part_written(part=2, scans=5)
    assert [event["part"] for event in events(path.with_name("events.jsonl.1").read_text())] == [1]
    assert [event["part"] for event in events(path.read_text())] == [2]


def test_a_log_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        EventLog.to_file(tmp_path / "missing" / "events.jsonl")


def test_events_that_cannot_be_written_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    log = EventLog.to_file(folder / "events.jsonl")
    (folder / "events.jsonl").unlink()
    folder.rmdir()
    log.checked(warnings=0, seconds=1)
    assert log.lost == 1
    folder.mkdir()
    log.checked(warnings=0, seconds=1)
    assert log.lost == 1 and len(events((folder / "events.jsonl").read_text())) == 1


def test_a_line_cut_short_by_a_full_disk_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog.to_file(path)
    whole_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: whole_write(handle, content[:20]))
    log.checked(warnings=0, seconds=1)
    monkeypatch.undo()
    log.checked(warnings=0, seconds=2)
    lines = path.read_text().splitlines()
    assert log.lost == 1 and len(lines) == 2 and json.loads(lines[1])["seconds"] == 2
