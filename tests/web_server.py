"""A real server process: gunicorn with the settings that are shipped, on a free port of this computer, and what it costs."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.web_app import SECRET

ROOT = Path(__file__).parents[1]
STARTS_WITHIN = 60.0  # seconds, on a machine that is busy with other tests


@dataclass
class Server:
    """A server in its own folder: its log, its temporary files, its audit and its home all lie below it."""

    folder: Path
    index: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        self.port = _free_port()
        for name in ("tmp", "home"):
            (self.folder / name).mkdir(exist_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith("LIKEWISE_")}
        env |= {"TMPDIR": str(self.folder / "tmp"), "HOME": str(self.folder / "home"), "LIKEWISE_ACCESS": "demo"}
        env |= {"LIKEWISE_BIND": f"127.0.0.1:{self.port}", "LIKEWISE_INDEX": str(self.index)}
        env |= {"LIKEWISE_AUDIT": str(self.folder / "audit.jsonl"), "LIKEWISE_SECRET_KEY": SECRET} | self.settings
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "web:create_app()"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        end = time.monotonic() + STARTS_WITHIN
        while self.health(timeout=1.0) is None:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """As a service manager does; by force after a while."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            for one in self.processes():
                one.kill()
            self.process.wait()

    def health(self, *, timeout: float) -> float | None:
        """Seconds until /api/v1/health has answered; None where it has not."""
        begun = time.perf_counter()
        try:
            status, _ = self.ask("GET", "/api/v1/health", timeout=timeout)
        except OSError:
            return None
        return time.perf_counter() - begun if status == 200 else None

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float = 60.0, **headers: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def processes(self) -> list[psutil.Process]:
        """The server's and those of its decoders."""
        assert self.process is not None
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def resident_mb(self) -> float:
        """What its processes hold of the machine's memory, together; what they share is counted once for each."""
        total = 0
        for one in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
        return total / 2**20


@dataclass
class Watch:
    """What was seen while it lasted."""

    slowest_s: float = 0.0  # answer of /api/v1/health
    unanswered: int = 0
    asked: int = 0
    peak_mb: float = 0.0


@contextlib.contextmanager
def watched(server: Server, *, patience_s: float = 20.0) -> Iterator[Watch]:
    """Asks after the server's health, and measures its memory, several times a second."""
    seen, over = Watch(), threading.Event()

    def look() -> None:
        while not (over.wait(0.1) and seen.asked):  # once at least
            seconds = server.health(timeout=patience_s)
            seen.asked += 1
            seen.unanswered += seconds is None
            seen.slowest_s = max(seen.slowest_s, patience_s if seconds is None else seconds)

    def weigh() -> None:
        while not (over.wait(0.05) and seen.peak_mb):
            seen.peak_mb = max(seen.peak_mb, server.resident_mb())

    threads = [threading.Thread(target=look), threading.Thread(target=weigh)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def running(folder: Path, index: Path, **settings: str) -> Iterator[Server]:
    server = Server(folder, index, settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
