"""A running server takes up what is published: no answer dropped or mixed, nobody shown who was withdrawn."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.client import Client, Problem
from index.purge import purge
from index.snapshot import SnapshotError, current_folder
from tests.archives import change_cells, table_archive
from tests.conftest import run_build
from tests.test_web_contract import new_web as new_web
from tests.web_asking import AWAY_AT_LAST, MULTIPART, Web, film, multipart
from web.live import LiveIndex
from web.principal import Role

ROOT = Path(__file__).parents[1]
TAKEN_UP_SECONDS = 5.0


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return table_archive(tmp_path / "archive")


@pytest.fixture
def index(archive: Path, tmp_path: Path) -> Path:
    publish(archive, tmp_path / "index")
    return tmp_path / "index"


def publish(archive: Path, index: Path, *more: str) -> str:
    result = run_build("--cohort", f"table={archive}", "--index", index, *more)
    assert result.exit_code == 0, result.output
    return current_folder(index).name


def opened(index: Path, now: list[float]) -> LiveIndex:
    return LiveIndex(index, "secret", clock=lambda: now[0])


def test_the_snapshot_before_is_kept_for_a_minute_and_no_longer(archive: Path, index: Path) -> None:
    now = [0.0]
    live = opened(index, now)
    first = live.current()
    second = publish(archive, index, "--full")
    live.look()
    assert live.current().name == second and live.named(first.name) is first
    assert live.current().engine.encoder is first.engine.encoder  # not loaded twice
    now[0] = 59
    live.look()
    assert live.named(first.name) is first
    now[0] = 60
    live.look()
    assert live.named(first.name) is None and live.named("x") is None


@pytest.mark.parametrize("spoil", ["vectors", "manifest", "pointer", "no pointer"])
def test_what_cannot_be_opened_is_not_taken_up(archive: Path, index: Path, spoil: str) -> None:
    live = opened(index, [0.0])
    first = live.current()
    second = index / "snapshots" / publish(archive, index, "--full")
    if spoil == "vectors":
        (second / "xray" / "transform.npz").write_bytes(b"")
    elif spoil == "manifest":
        (second / "manifest.json").unlink()
    elif spoil == "pointer":
        (index / "CURRENT").write_text("../elsewhere")
    else:
        (index / "CURRENT").unlink()
    live.look()
    assert live.current() is first and live.is_stale
    third = publish(archive, index, "--full")
    live.look()
    assert live.current().name == third and not live.is_stale


def test_an_index_that_is_not_there_is_told_and_taken_up_once_it_is(
    archive: Path, tmp_path: Path, new_web: Any
) -> None:
    with pytest.raises(SnapshotError):
        LiveIndex(tmp_path / "index", "secret")
    web: Web = new_web(tmp_path / "index")
    assert web.get("ready").status_code == 503 and web.get("health").status_code == 200
    publish(archive, tmp_path / "index")
    assert web.get("ready").get_json() == {"status": "ready"}
    assert web.ask(film()).status_code == 201


def test_a_question_is_answered_anew_from_the_new_snapshot(archive: Path, index: Path, new_web: Any) -> None:
    web: Web = new_web(index)
    told = web.ask(film(), role=Role.RESEARCHER).get_json()
    first = told["answer"]["neighbours"][0]
    row = int(first["case_id"][4:])
    change_cells(archive, sex={row: "M" if first["sex"] == "F" else "F"})
    name = publish(archive, index)
    web.app.extensions["likewise.service"].live.look()
    again = web.get(f"queries/{told['id']}", Role.RESEARCHER).get_json()["answer"]
    assert again["snapshot"]["name"] == name != told["answer"]["snapshot"]["name"]
    assert again["neighbours"][0]["case_id"] == first["case_id"] and again["neighbours"][0]["sex"] != first["sex"]
    assert web.get(f"cases/{first['ref']}", Role.RESEARCHER).get_json()["sex"] == first["sex"]  # as it was shown
    assert web.audited()[-2]["action"] == "rerun" and web.audited()[-2]["snapshot"] == name


def test_after_a_purge_the_old_snapshot_is_let_go_at_once(index: Path, new_web: Any) -> None:
    web: Web = new_web(index)
    told = web.ask(film(), role=Role.RESEARCHER).get_json()
    first, second = told["answer"]["neighbours"][:2]
    purge(index, frozenset({first["patient_id"]}), reason="a test")
    assert web.get(f"cases/{first['ref']}").status_code == 410  # by the deny-list, whatever is open
    assert (
        web.get(f"cases/{second['ref']}/preview").status_code == 410
    )  # its file is gone; now the new one is looked for
    again = web.get(f"queries/{told['id']}", Role.RESEARCHER).get_json()["answer"]
    assert first["patient_id"] not in [one["patient_id"] for one in again["neighbours"]]
    assert again["snapshot"]["name"] == current_folder(index).name
    for ref in (first["ref"], second["ref"]):
        assert web.get(f"cases/{ref}").status_code == 410


# --- a real server


class Asking(threading.Thread):
    """Asks a server again and again, and keeps what came back."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.answers: list[tuple[float, int, dict[str, Any]]] = []  # when it came, status, document
        self.errors: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        body = multipart([("x", film())], {"view": "any"})
        while not self.ended.is_set():
            try:
                status, told = request(self.port, "POST", "/api/v1/queries", body, {"Content-Type": MULTIPART})
                self.answers.append((time.monotonic(), status, told))
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.errors.append(repr(error))

    def snapshots(self) -> list[str]:
        return [told["answer"]["snapshot"]["name"] for _, status, told in self.answers if status == 201]


def request(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=AWAY_AT_LAST)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        told: dict[str, Any] = json.loads(response.read())
        return response.status, told
    finally:
        connection.close()


@contextmanager
def server(index: Path, folder: Path, *command: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server process of its own in demo mode, as production starts it unless another command is given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"INDEX": index, "ACCESS": "demo", "AUDIT": folder / "audit.jsonl", "BIND": f"127.0.0.1:{port}"}
    environment = os.environ | {f"LIKEWISE_{name}": str(value) for name, value in settings.items()}
    gunicorn = ("-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "web:create_app()")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(command or gunicorn), *(["--port", str(port)] if command else [])],
            cwd=ROOT,
            env=environment,
            stderr=log,
        )
    try:
        end = time.monotonic() + AWAY_AT_LAST
        while True:
            try:
                status, _ = request(port, "GET", "/api/v1/ready")
                assert status == 200
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None, (folder / "log").read_text()
                time.sleep(0.02)
        yield port, process
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_new_snapshot_and_a_purge_under_load_drop_and_mix_no_answer(
    archive: Path, index: Path, tmp_path: Path
) -> None:
    first = current_folder(index).name
    with server(index, tmp_path) as (port, _):
        asking = [Asking(port) for _ in range(3)]
        for thread in asking:
            thread.start()
        wait_until(lambda: all(len(thread.answers) > 3 for thread in asking))
        second = publish(archive, index, "--full")
        published = time.monotonic()
        wait_until(lambda: all(second in thread.snapshots() for thread in asking))
        within = max(
            next(at for at, _, told in t.answers if told["answer"]["snapshot"]["name"] == second) for t in asking
        )
        purge(index, frozenset({"p03"}), reason="a test")
        purged = time.monotonic()
        third = current_folder(index).name
        wait_until(lambda: all(third in thread.snapshots() for thread in asking))
        for thread in asking:
            thread.ended.set()
        for thread in asking:
            thread.join()
    assert within - published < TAKEN_UP_SECONDS
    for thread in asking:
        assert thread.errors == [] and {status for _, status, _ in thread.answers} == {201}
        seen = thread.snapshots()
        assert list(dict.fromkeys(seen)) == [first, second, third]  # never back, never another
        for at, _, told in thread.answers:
            answer = told["answer"]
            patients = 11 if answer["snapshot"]["name"] == third else 12
            assert answer["snapshot"]["patients"] == patients
            if at > purged + 1:
                assert answer["eligible"] <= 22  # two films fewer, by the deny-list or the new snapshot
            assert len({one["ref"] for one in answer["neighbours"]}) == len(answer["neighbours"]) == 10


def wait_until(is_so: Any) -> None:
    end = time.monotonic() + AWAY_AT_LAST
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_clients_example_asks_and_is_told_why_not(index: Path, tmp_path: Path) -> None:
    scan = tmp_path / "JANE.dcm"
    scan.write_bytes(film())
    with server(index, tmp_path) as (port, _):
        client = Client(f"http://127.0.0.1:{port}")
        told = client.ask([scan], k="3")
        assert len(told["answer"]["neighbours"]) == 3
        assert client.again(told["id"], sex="F", view="any")["answer"]["eligible"] == 12
        client.forget(told["id"])
        with pytest.raises(Problem, match="request "):
            client.again(told["id"])
        with pytest.raises(Problem, match="not-an-image"):
            client.ask([index / "CURRENT"])


def test_a_server_ends_with_its_decoders(index: Path, tmp_path: Path) -> None:
    with server(index, tmp_path) as (port, process):
        body = multipart([("x", film())], {})
        assert request(port, "POST", "/api/v1/queries", body, {"Content-Type": MULTIPART})[0] == 201
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3  # the worker and its decoders
    wait_until(lambda: not any(is_alive(one) for one in family))


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_one_person_is_served_by_one_command(index: Path, tmp_path: Path) -> None:
    command = ("-m", "web", "--index", str(index), "--audit", str(tmp_path / "audit.jsonl"))
    with server(index, tmp_path, *command) as (port, _):
        body = multipart([("x", film())], {})
        status, told = request(port, "POST", "/api/v1/queries", body, {"Content-Type": MULTIPART})
        assert status == 201 and told["answer"]["neighbours"]
        assert request(port, "GET", "/api/v1/ready", headers={"Host": "evil.example"})[0] == 403


@pytest.mark.parametrize(("arguments", "said"), [([], "--index"), (["--index", "/nowhere"], "no such index folder")])
def test_a_command_that_cannot_serve_says_why(arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "web", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_serving_needs_no_torch_and_no_network(index: Path, tmp_path: Path) -> None:
    script = (
        "import socket, sys; sys.modules['torch'] = None\n"
        "def refuse(*_): raise AssertionError('asked the network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from pathlib import Path\n"
        "from embed.encoder import load_encoder; load_encoder('efficientnet-lite0')\n"
        "from tests.web_asking import Web, film\n"
        "web = Web(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(web.ask(film()).status_code); web.close()"
    )
    shutil.copytree(index, tmp_path / "copy")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(tmp_path / "copy")], cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    assert done.stdout == "201\n", done.stderr
