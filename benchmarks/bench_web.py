"""How long a warm X-ray query takes over HTTP against its steps in-process, and how many a busy server answers.

Run `python -m benchmarks.bench_web --index build/demo/index FILM`. A server is started as in production (gunicorn, one process, 32
threads) in demo mode on a free port. *In-process* is the sum of reading, encoding and searching the same film here, without any
server; both take turns, one query at a time, and medians are compared: at most 1.3. Then clients ask at once for a minute. The CPU
seconds of a query, of the server, its decoders and the client, are those of the turns before; what the machine could do with them is
cores / CPU seconds. At least 80 % of that, and no error.
"""

import argparse
import http.client
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from embed.read import read_scan_bytes
from search.engine import SearchEngine
from web.encoding import OnceEncoder

ROOT = Path(__file__).parents[1]
BOUNDARY = "boundary-of-the-benchmark"
START_SECONDS = 60.0
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("film", type=Path)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    data = arguments.film.read_bytes()
    here = InProcess(arguments.index)
    with server(arguments.index) as there:
        for _ in range(3):  # both warm
            here.seconds(data)
            there.ask(data)
        steps, asked, cpu = [], [], 0.0
        for _ in range(arguments.runs):
            steps.append(here.seconds(data))
            before = there.cpu_seconds() + own_cpu_seconds()
            begun = time.perf_counter()
            there.ask(data)
            asked.append(time.perf_counter() - begun)
            cpu += there.cpu_seconds() + own_cpu_seconds() - before
        names = ("reading", "encoding", "searching")
        medians = [statistics.median(step[i] for step in steps) for i in range(3)]
        total, http_ = statistics.median(map(sum, steps)), statistics.median(asked)
        print(f"{len(data) / 1e6:.1f} MB; medians of {arguments.runs}, ms: " + ", ".join(f"{n} {1000 * s:.0f}" for n, s in zip(names, medians, strict=True)))  # fmt: skip
        print(f"in-process {1000 * total:.0f}, over HTTP {1000 * http_:.0f}: ratio {http_ / total:.2f} (at most 1.30)")
        each = cpu / arguments.runs
        able = (os.cpu_count() or 1) / each
        answered, errors = there.under_load(data, clients=arguments.clients, seconds=arguments.seconds)
        rate = answered / arguments.seconds
        print(
            f"{arguments.clients} clients, {arguments.seconds:g} s: {answered} answers, {errors} errors, {rate:.1f} a second"
        )
        print(f"{1000 * each:.0f} ms of CPU a query on {os.cpu_count()} cores: {able:.1f} a second possible; {rate / able:.0%} (at least 80 %)")  # fmt: skip
        print(f"largest resident memory of the server and its decoders: {there.peak_mb():.0f} MB")


class InProcess:
    """The steps of a query without a server."""

    def __init__(self, index: Path) -> None:
        engine = SearchEngine.open(index)
        self._encoder = OnceEncoder(engine.encoder)
        self._engine = SearchEngine(engine.snapshot, self._encoder)

    def seconds(self, data: bytes) -> tuple[float, float, float]:
        """Of reading, encoding and searching."""
        times = [time.perf_counter()]
        scan = read_scan_bytes(data, side=self._encoder.side)
        times.append(time.perf_counter())
        self._encoder.encode([scan])
        times.append(time.perf_counter())
        self._engine.query([scan])
        times.append(time.perf_counter())
        read, encoded, searched = (later - earlier for earlier, later in pairwise(times))
        return read, encoded, searched


@dataclass
class Server:
    """A server in processes of its own."""

    pid: int
    port: int

    def ask(self, data: bytes, connection: http.client.HTTPConnection | None = None) -> None:
        """Raises RuntimeError for any answer but 201."""
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", "/api/v1/queries", *body_of(data))
        response = connection.getresponse()
        told = response.read()
        if response.status != 201:
            raise RuntimeError(f"{response.status}: {told[:300]!r}")

    def under_load(self, data: bytes, *, clients: int, seconds: float) -> tuple[int, int]:
        """(answers, errors) of clients that ask again as soon as they are answered."""
        end, lock = time.monotonic() + seconds, threading.Lock()
        counts = {"answers": 0, "errors": 0}

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            while time.monotonic() < end:
                try:
                    self.ask(data, connection)
                    what = "answers"
                except (OSError, RuntimeError, http.client.HTTPException) as error:
                    print(error, file=sys.stderr)
                    connection.close()
                    what = "errors"
                with lock:
                    counts[what] += 1

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return counts["answers"], counts["errors"]

    def cpu_seconds(self) -> float:
        """User and system time so far of the server, its decoders and those that have ended."""
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.tree())
        return sum(sum(map(int, found[11:15])) for found in fields) / TICK

    def peak_mb(self) -> float:
        lines = (line for pid in self.tree() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def tree(self) -> Iterator[int]:
        """The process ids of the server and all its descendants."""
        found = [self.pid]
        while found:
            pid = found.pop()
            yield pid
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())


@contextmanager
def server(index: Path) -> Iterator[Server]:
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        settings = {"INDEX": index.resolve(), "ACCESS": "demo", "AUDIT": Path(folder) / "audit.jsonl", "BIND": f"127.0.0.1:{port}"}  # fmt: skip
        environment = os.environ | {f"LIKEWISE_{name}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "web:create_app()"]
        probe.close()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield Server(process.pid, port)
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    """Until the server says that it is ready. Raises RuntimeError."""
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/api/v1/ready")
            if connection.getresponse().status == 200:
                print(f"ready after {time.monotonic() - begun:.2f} s")
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the server was not ready within {START_SECONDS:g} s")


def body_of(data: bytes) -> tuple[bytes, dict[str, str]]:
    """A multipart body with one file, and its headers."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'.encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    return head + data + tail, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
