"""What deploy/ holds: units that systemd accepts, one command for the timer and for hand, and a failure that is told."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import build_index
from index.build_report import BuildOutcome, BuildReport
from index.metrics import write_metrics
from index.morning import failure_report
from tests.archives import table_archive
from tests.conftest import missing

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = ("likewise-build.service", "likewise-build.timer", "likewise-failure@.service")
OPERATIONS = ROOT / "docs" / "operations.md"


def settings(unit: str) -> list[tuple[str, str]]:
    """(key, value) in the order of a unit file's lines."""
    lines = (DEPLOY / unit).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return [(key, value) for key, _, value in pairs]


def environment() -> dict[str, str]:
    """What a shell makes of the example, as systemd's EnvironmentFile= would."""
    script = f"set -a; . {shlex.quote(str(DEPLOY / 'likewise.env.example'))}; env -0"
    done = subprocess.run(["sh", "-euc", script], env={}, capture_output=True, text=True, check=True)
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry.startswith("LIKEWISE_"))


def complaints(folder: Path, spoil: tuple[str, str] = ("", "")) -> str:
    """What systemd-analyze says of the units, with an interpreter standing where they expect one."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    program = folder / "program"
    (program / ".venv" / "bin").mkdir(parents=True)
    (program / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for unit in UNITS:
        text = (DEPLOY / unit).read_text().replace("/opt/likewise", str(program))
        (folder / unit).write_text(text.replace(*spoil) if spoil[0] else text)
    command = ["systemd-analyze", "verify", "--man=no", *(str(folder / unit) for unit in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit {done.returncode}")


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    assert complaints(tmp_path) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("PrivateTmp=", "PrivateTemp="), ("02:00:00", "26:00:00"), ("/.venv/bin/python build", "/.venv/bin/pyhton build")],
)
def test_a_spoilt_unit_is_not_accepted(tmp_path: Path, right: str, wrong: str) -> None:
    assert complaints(tmp_path, (right, wrong)) != ""


def test_the_timers_command_is_the_one_to_run_by_hand() -> None:
    commands = [value for key, value in settings("likewise-build.service") if key == "ExecStart"]
    assert len(commands) == 1
    assert commands[0] in OPERATIONS.read_text().splitlines()


def test_the_command_means_the_same_to_a_shell() -> None:
    """systemd takes ${X} as one word and $X as many; a shell splits both, so no value of the first kind may hold a space."""
    (command,) = (value for key, value in settings("likewise-build.service") if key == "ExecStart")
    done = subprocess.run(
        ["sh", "-euc", f"printf '%s\\n' {command}"], env=environment(), capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    assert words[:8] == [
        "/opt/likewise/.venv/bin/python",
        "build_index.py",
        "--cohort",
        "nccid=/data/nccid",
        "--index",
        "/srv/likewise",
        "--exclude",
        "/etc/likewise/exclude.txt",
    ]
    assert "--dry-run" not in words


def test_the_command_builds_an_index_and_tells_of_it(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    (tmp_path / "exclude.txt").touch()
    values = {
        "LIKEWISE_COHORTS": f"--cohort table={cohort}",
        "LIKEWISE_INDEX": tmp_path / "index",
        "LIKEWISE_EXCLUDE": tmp_path / "exclude.txt",
        "LIKEWISE_EVENTS": tmp_path / "events.jsonl",
        "LIKEWISE_METRICS": tmp_path / "likewise.prom",
        "LIKEWISE_MORNING": tmp_path / "morning.md",
        "LIKEWISE_OPTIONS": "--encoder histogram --workers 1",
    }
    (command,) = (value for key, value in settings("likewise-build.service") if key == "ExecStart")
    script = command.replace("/opt/likewise/.venv/bin/python", shlex.quote(sys.executable))
    environ = os.environ | {name: str(value) for name, value in values.items()}
    done = subprocess.run(["sh", "-euc", script], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "morning.md").read_text().startswith("# All is well\n")
    assert "likewise_build_success 1.0" in (tmp_path / "likewise.prom").read_text()
    told = [json.loads(line)["event"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert told[0] == "build-started" and told[-1] == "published"


def test_every_option_of_a_build_is_explained() -> None:
    options = {option for parameter in build_index.main.params for option in parameter.opts}
    rows = (line.split("`")[1] for line in OPERATIONS.read_text().splitlines() if line.startswith("| `--"))
    assert {row.split(" ")[0] for row in rows} == options


def test_the_example_sets_all_that_the_units_use() -> None:
    used = {
        word.strip("${}")
        for unit in UNITS
        for key, value in settings(unit)
        if key == "ExecStart"
        for word in value.split()
        if word.startswith("$")
    }
    assert used == environment().keys()


def test_the_build_may_write_where_the_example_tells_it_to() -> None:
    unit = dict(settings("likewise-build.service"))
    values = environment()
    assert values["LIKEWISE_INDEX"] == unit["ReadWritePaths"]
    for name in ("LIKEWISE_EVENTS", "LIKEWISE_MORNING"):
        assert Path(values[name]).parent == Path("/var/log") / unit["LogsDirectory"]
    assert Path(values["LIKEWISE_METRICS"]).parent == Path("/var/lib") / unit["StateDirectory"]
    assert unit["StateDirectoryMode"] == "0755"  # node_exporter is another user
    assert values["LIKEWISE_METRICS"].endswith(".prom")  # the collector reads no other


def test_a_failed_build_starts_the_unit_that_tells() -> None:
    assert ("OnFailure", "likewise-failure@%n.service") in settings("likewise-build.service")


def test_the_log_that_is_rotated_is_the_one_that_is_written() -> None:
    lines = (DEPLOY / "logrotate.conf").read_text().splitlines()
    assert f"{environment()['LIKEWISE_EVENTS']} {{" in lines


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Metrics and a page of a build that ended well."""
    when = datetime(2026, 11, 24, 2, tzinfo=UTC)
    report = BuildReport(
        BuildOutcome.UNCHANGED, "s", when, when + timedelta(seconds=9), {}, {"xray": 8}, 4, 8, 0, 0, 0, 8, 0, 0, []
    )
    write_metrics(tmp_path / "likewise.prom", report, index_created=when)
    (tmp_path / "morning.md").write_text("# All is well\n")
    yield tmp_path


def record_failure(state: Path, *, started: float | None = None) -> None:
    """As likewise-failure@.service does, with its own line; `started`: when systemd says that the build began."""
    lines = [value for key, value in settings("likewise-failure@.service") if "record_failure" in value]
    (line,) = lines
    command = line.removeprefix("-/opt/likewise/.venv/bin/python").replace("%i", "likewise-build.service")
    values = {
        "LIKEWISE_INDEX": state / "index",
        "LIKEWISE_METRICS": state / "likewise.prom",
        "LIKEWISE_MORNING": state / "morning.md",
    }
    script = f"{shlex.quote(sys.executable)} {command}"
    environ = os.environ | {name: str(value) for name, value in values.items()}
    if started is not None:
        programs = state / "programs"
        programs.mkdir()
        (programs / "systemctl").write_text(f"#!/bin/sh\necho @{started:.0f}\n")
        (programs / "systemctl").chmod(0o755)
        environ["PATH"] = f"{programs}:{environ['PATH']}"
    done = subprocess.run(["sh", "-euc", script], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_build_that_was_killed_is_told_in_its_place(state: Path) -> None:
    record_failure(state)
    page = (state / "morning.md").read_text()
    assert page.startswith("# The build failed\n") and "journalctl --unit likewise-build.service" in page
    figures = (state / "likewise.prom").read_text()
    assert "likewise_build_success 0.0" in figures and 'likewise_cases{kind="xray"} 8.0' in figures


def test_a_builds_own_account_of_its_failure_stays(state: Path) -> None:
    (state / "morning.md").write_text(failure_report(datetime.now(UTC), "the disk is full", snapshot="s"))
    record_failure(state)
    assert "the disk is full" in (state / "morning.md").read_text()


@pytest.mark.parametrize(("before", "stays"), [(3600, True), (1200, False)])
def test_an_account_stays_where_it_is_of_this_run(state: Path, before: int, stays: bool) -> None:
    """Written half an hour ago: of a build that began an hour ago, or of one before that which began 20 minutes ago."""
    page = state / "morning.md"
    page.write_text(failure_report(datetime.now(UTC), "the disk is full", snapshot="s"))
    os.utime(page, times=(time.time() - 1800,) * 2)
    record_failure(state, started=time.time() - before)
    assert ("the disk is full" in page.read_text()) == stays


def test_a_build_that_finds_another_at_work_is_no_failure_to_systemd() -> None:
    taken_for_success = dict(settings("likewise-build.service"))["SuccessExitStatus"].split()
    assert {str(build_index.IS_LOCKED), str(build_index.Stopped(15).exit_code)} <= set(taken_for_success)


def test_yesterdays_account_gives_way(state: Path) -> None:
    page = state / "morning.md"
    page.write_text(failure_report(datetime.now(UTC) - timedelta(days=1), "the disk is full", snapshot="s"))
    os.utime(page, times=(time.time() - 86_400,) * 2)
    record_failure(state)
    assert "the disk is full" not in page.read_text()
