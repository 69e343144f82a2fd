"""The audit: what it records, that nothing in it can change unseen, and that nothing happens without it."""

import csv
import io
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.web_guarded import config, from_proxy, guarded_app
from web import audit
from web.audit import AuditError, AuditLog, append, head_path, iter_lines, verify
from web.audit_command import audit as command
from web.audit_command import safe_cell
from web.principal import Means, Principal, Role

KEY = "the server's secret"
ANNA = Principal("anna", frozenset({Role.CLINICIAN}), "oidc:1", Means.SESSION)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def five(path: Path) -> list[bytes]:
    """The lines of an audit of five."""
    for number in range(5):
        append(path, {"action": "query", "query": f"{number}" * 64})
    return path.read_bytes().splitlines(keepends=True)


def run(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)], env=env)


def test_a_line_says_who_what_when_and_why(path: Path) -> None:
    log = AuditLog(path, KEY)
    log.record(
        "query",
        query="ab" * 32,
        filters={"age_min": 60, "sex": "F"},
        snapshot="20261124T020000Z-3f9a",
        cases=["1.2.840.1", "1.2.840.2"],
        purpose="teaching",
        principal=ANNA,
        request_id="0123456789abcdef",
    )
    ((head, line),) = iter_lines(path)
    assert (line["n"], line["prev"]) == (1, "0" * 64)
    assert (line["action"], line["who"], line["id"], line["roles"]) == ("query", "anna", "oidc:1", ["clinician"])
    assert (line["query"], line["filters"]) == ("ab" * 32, {"age_min": 60, "sex": "F"})
    assert (line["snapshot"], line["purpose"]) == ("20261124T020000Z-3f9a", "teaching")
    assert (line["request"], line["means"]) == ("0123456789abcdef", "session")
    assert line["time"].endswith("Z") and head.lines == 1
    assert line["cases"] == [log.case_hash("1.2.840.1"), log.case_hash("1.2.840.2")]


def test_cases_and_conditions_are_keyed_hashes(path: Path) -> None:
    log = AuditLog(path, KEY)
    log.record("query", cases=["Covid123"], filters={"where": "patient_id = 'Covid123'", "sex": None}, principal=ANNA)
    assert "Covid123" not in path.read_text()
    assert log.case_hash("Covid123") != AuditLog(path, "another").case_hash("Covid123")


def test_who_and_which_request_come_from_the_request_that_is_served(tmp_path: Path) -> None:
    app = guarded_app(config(tmp_path))

    @app.before_request
    def record() -> None:
        app.extensions["likewise.audit"].record("case-opened", cases=["x"])

    answer = app.test_client().get("/", **from_proxy("anna", "clinician, auditor"))
    ((_, line),) = iter_lines(tmp_path / "audit.jsonl")
    assert (line["who"], line["roles"], line["means"]) == ("anna", ["auditor", "clinician"], "proxy")
    assert line["request"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("  a\n b\x00\tc ", "a b c"), ("", None), ("\n", None), (None, None), ("x" * 300, "x" * 200), ("é", "é")],
)
def test_a_purpose_is_one_short_line(typed: str | None, kept: str | None) -> None:
    assert audit.cleaned_purpose(typed) == kept


def test_a_whole_audit_is_whole(path: Path) -> None:
    lines = five(path)
    head = verify(path)
    assert head.lines == 5 and head.size == sum(map(len, lines))
    assert head.hash == json.loads(lines[-1])["hash"]


def test_an_audit_that_was_not_begun_is_whole(path: Path) -> None:
    AuditLog(path, KEY)
    assert verify(path).lines == 0


Spoil = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: [*lines[:2], lines[2].replace(b"query", b"quern", 1), *lines[3:]], "line 3 was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 does not follow"),
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 does not follow"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3 does not follow"),
        (lambda lines: lines[:4], "the end is cut off"),
        (lambda lines: [], "the end is cut off"),
        (lambda lines: [*lines[:4], lines[4][:-9]], "line 5 cannot be read"),
        (lambda lines: [*lines[:4], lines[4][:-1]], "line 5 was changed"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], "line 3 cannot be read"),
        (lambda lines: [lines[0].replace(b'"n":1', b'"n": 1'), *lines[1:]], "line 1 was changed"),
        (lambda lines: [lines[0].replace(b'{"action"', b'{"action":"no","action"'), *lines[1:]], "line 1 was changed"),
        (lambda lines: [b"[]\n", *lines[1:]], "line 1 cannot be read"),
    ],
)
def test_what_was_done_to_an_audit_is_found(path: Path, spoil: Spoil, said: str) -> None:
    path.write_bytes(b"".join(spoil(five(path))))
    with pytest.raises(AuditError, match=said):
        verify(path)


def test_a_last_line_made_anew_is_found(path: Path) -> None:
    """Its own hash and its place in the chain are right; the head beside it knows another."""
    lines = five(path)
    entry = json.loads(lines[4])
    del entry["hash"]
    entry["action"] = "nothing"
    path.write_bytes(b"".join(lines[:4]) + audit._line(entry | {"hash": audit._hash(entry)}))
    with pytest.raises(AuditError, match="line 5 is not the one that was noted"):
        verify(path)


def test_without_its_head_the_end_cannot_be_told(path: Path) -> None:
    five(path)
    head_path(path).unlink()
    with pytest.raises(AuditError, match="is missing"):
        verify(path)
    with pytest.raises(AuditError, match="is missing"):
        append(path, {"action": "query"})


def test_a_chain_made_anew_as_a_whole_shows_by_a_hash_noted_elsewhere(path: Path, tmp_path: Path) -> None:
    five(path)
    noted = run("verify", "--audit", path).stdout.splitlines()[-1]
    append(path, {"action": "query"})
    assert run("verify", "--audit", path, "--noted", noted).exit_code == 0
    other = tmp_path / "other.jsonl"
    for _ in range(6):
        append(other, {"action": "query"})
    assert run("verify", "--audit", other).exit_code == 0
    done = run("verify", "--audit", other, "--noted", noted)
    assert done.exit_code == 1 and "written anew" in done.stderr


def test_nothing_is_added_to_an_audit_that_was_cut(path: Path) -> None:
    lines = five(path)
    path.write_bytes(b"".join(lines[:3]))
    with pytest.raises(AuditError, match="shorter"):
        append(path, {"action": "query"})
    assert path.read_bytes() == b"".join(lines[:3])


def test_a_line_whose_head_a_crash_left_behind_counts(path: Path) -> None:
    append(path, {"action": "one"})
    before = head_path(path).read_bytes()
    append(path, {"action": "two"})
    head_path(path).write_bytes(before)
    append(path, {"action": "three"})
    assert [line["action"] for _, line in iter_lines(path)] == ["one", "two", "three"]


def test_a_line_that_a_crash_tore_is_cut_off_and_told(path: Path) -> None:
    five(path)
    with path.open("ab") as stream:
        stream.write(b'{"action":"que')
    append(path, {"action": "next"})
    *_, repaired, last = [line for _, line in iter_lines(path)]
    assert (repaired["action"], repaired["bytes"], last["action"]) == ("audit-repaired", 14, "next")


def test_a_full_disk_leaves_the_audit_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    five(path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr("web.audit.os.write", lambda handle, content: write(handle, content[:20]))
        with pytest.raises(AuditError, match="full"):
            append(path, {"action": "lost"})
    assert verify(path).lines == 5
    append(path, {"action": "next"})
    assert verify(path).lines == 6


def add_many(path: Path, count: int) -> None:
    for _ in range(count):
        append(path, {"action": "query", "filters": {"x": "y" * 300}})


def test_processes_and_threads_write_one_chain(path: Path) -> None:
    started = multiprocessing.get_context("spawn")
    processes = [started.Process(target=add_many, args=(path, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: add_many(path, 10), range(4)))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert verify(path).lines == 3 * 20 + 4 * 10


def test_nothing_is_shown_that_cannot_be_recorded(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path)).test_client()
    head_path(tmp_path / "audit.jsonl").write_text("not a head")
    answer = client.get("/api/v1/metrics", **from_proxy("anna"))  # a refusal, which would be recorded
    assert answer.status_code == 503


def test_a_server_does_not_start_without_its_audit(tmp_path: Path) -> None:
    with pytest.raises(AuditError):
        guarded_app(config(tmp_path, audit=tmp_path / "nowhere" / "audit.jsonl"))


def test_others_cannot_read_it(path: Path) -> None:
    five(path)
    assert path.stat().st_mode & 0o007 == 0 and head_path(path).stat().st_mode & 0o007 == 0


def test_the_export_is_a_table(path: Path, tmp_path: Path) -> None:
    log = AuditLog(path, KEY)
    log.record("query", cases=["a", "b"], filters={"sex": "F"}, purpose="=1+1", principal=ANNA)
    log.record("case-opened", cases=["b"], principal=ANNA)
    assert run("export", "--audit", path, "--out", tmp_path / "audit.csv").exit_code == 0
    with (tmp_path / "audit.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["n"], first["who"], first["roles"], first["purpose"]) == ("1", "anna", "clinician", "'=1+1")
    assert first["filters"] == '{"sex": "F"}' and first["cases"].split() == [log.case_hash("a"), log.case_hash("b")]
    assert second["action"] == "case-opened" and second["purpose"] == ""


def test_the_export_of_one_case(path: Path) -> None:
    log = AuditLog(path, KEY)
    log.record("query", cases=["a", "b"], principal=ANNA)
    log.record("case-opened", cases=["b"], principal=ANNA)
    done = run("export", "--audit", path, "--case", "a", env={"LIKEWISE_SECRET_KEY": KEY})
    assert [row["action"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["query"]
    assert run("export", "--audit", path, "--case", "a").exit_code == 2


def test_an_audit_that_is_not_whole_is_no_good_export(path: Path) -> None:
    lines = five(path)
    path.write_bytes(b"".join(lines[1:]))
    done = run("export", "--audit", path)
    assert done.exit_code == 1 and "does not follow" in done.stderr


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_computed(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"
    assert safe_cell("plain = text") == "plain = text"


def test_verify_by_command(path: Path) -> None:
    five(path)
    done = run("verify", env={"LIKEWISE_AUDIT": str(path)})
    assert done.exit_code == 0 and done.stdout.startswith("whole: 5 lines\n5:")
    path.write_bytes(path.read_bytes()[:-1])
    done = run("verify", "--audit", path)
    assert done.exit_code == 1 and "line 5 was changed" in done.stderr
    assert run("verify", "--audit", path.with_name("other")).exit_code == 1
