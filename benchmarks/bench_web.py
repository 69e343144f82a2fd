"""How long a warm X-ray query takes over HTTP against its steps in-process, and how many a busy server answers.

Run `python -m benchmarks.bench_web --index build/demo/index FILM`. A server is started as in production (gunicorn, one process, 32
threads) in demo mode on a free port. *In-process* is the sum of reading, encoding and searching the same film here, without any
server; both take turns, one query at a time, and medians are compared: at most 1.3. The request's body is made beforehand, and the
server's pictures for the viewer, which it makes after its answer, are waited for before the next turn. The same for a film of 15 MB,
made here: noise on a chest, 2800×2700, uncompressed.

Then clients ask at once for a minute. What the machine could do is cores / CPU seconds of a query: of the server, its decoders and
the client, once as they were in the turns and once as they were under load, where encoder threads wait for each other less. At least
80 % of the larger, and no error. What other programs used meanwhile is told: with it, neither can be met.
"""

import argparse
import http.client
import io
import json
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

# before NumPy, which then has the threads that the product gives it: more of them would spin on beside the server's answer
import web  # noqa: F401

# isort: split
import numpy as np
import pydicom

from embed.read import read_scan_bytes
from search.engine import SearchEngine
from web.encoding import OnceEncoder

ROOT = Path(__file__).parents[1]
BOUNDARY = "boundary-of-the-benchmark"
START_SECONDS = 60.0
TICK = os.sysconf("SC_CLK_TCK")

Body = tuple[bytes, dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("films", type=Path, nargs="*")
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    here = InProcess(arguments.index)
    for film in (*(path.read_bytes() for path in arguments.films), large_film()):
        with server(arguments.index) as there:
            each = turns(here, there, film, runs=arguments.runs)
            load(there, film, arguments, each)


def turns(here: "InProcess", there: "Server", film: bytes, *, runs: int) -> float:
    """CPU seconds of a query, of the server with its decoders and of the client."""
    body = body_of(film)
    for _ in range(3):  # both warm
        here.seconds(film)
        there.look_at(there.ask(body))
    steps, asked, cpu = [], [], 0.0
    others = OtherPrograms(there)
    for _ in range(runs):
        steps.append(here.seconds(film))
        before = there.cpu_seconds() + own_cpu_seconds()
        begun = time.perf_counter()
        query = there.ask(body)
        asked.append(time.perf_counter() - begun)
        there.look_at(query)
        cpu += there.cpu_seconds() + own_cpu_seconds() - before
    names = ("reading", "encoding", "searching")
    medians = [statistics.median(step[i] for step in steps) for i in range(3)]
    told = ", ".join(f"{name} {1000 * median:.0f}" for name, median in zip(names, medians, strict=True))
    total, http_ = statistics.median(map(sum, steps)), statistics.median(asked)
    print(f"{len(film) / 1e6:.1f} MB; medians of {runs}, ms: {told}; {others}")
    print(f"in-process {1000 * total:.0f}, over HTTP {1000 * http_:.0f}: ratio {http_ / total:.2f} (at most 1.30)")
    return cpu / runs


def load(there: "Server", film: bytes, arguments: argparse.Namespace, each: float) -> None:
    others, cpu, begun = OtherPrograms(there), there.cpu_seconds() + own_cpu_seconds(), time.perf_counter()
    answered, errors = there.under_load(film, clients=arguments.clients, seconds=arguments.seconds)
    took = time.perf_counter() - begun
    busy = (there.cpu_seconds() + own_cpu_seconds() - cpu) / max(1, answered)
    cores, rate = os.cpu_count() or 1, answered / took
    able = cores / min(each, busy)
    print(
        f"{arguments.clients} clients, {took:.0f} s: {answered} answers, {errors} errors, {rate:.1f} a second; {others}"
    )
    print(
        f"CPU a query: {1000 * each:.0f} ms one at a time, {1000 * busy:.0f} ms under load; on {cores} cores "
        f"{able:.1f} a second possible; {rate / able:.0%} (at least 80 %)"
    )
    print(f"largest resident memory of the server and its decoders: {there.peak_mb():.0f} MB")


def large_film() -> bytes:
    """An uncompressed DICOM film of 15 MB."""
    rng = np.random.default_rng(9)
    y, x = np.mgrid[-1:1:2800j, -1:1:2700j]
    grey = 3000 - 1200 * x**2 - 1500 * (np.exp(-(((abs(x) - 0.4) / 0.25) ** 2) - (y / 0.6) ** 2))
    pixels = np.clip(grey + rng.normal(0, 60, grey.shape), 0, 4095).astype(np.uint16)
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = pydicom.uid.DigitalXRayImageStorageForPresentation, "2.25.1", "DX"
    ds.PatientID, ds.ViewPosition, ds.PatientOrientation = "nobody", "PA", ["L", "F"]
    (ds.Rows, ds.Columns), ds.SamplesPerPixel, ds.PhotometricInterpretation = pixels.shape, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.tobytes()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


class OtherPrograms:
    """How many cores programs other than the server and this one have kept busy since."""

    def __init__(self, server: "Server") -> None:
        self._server, self._begun = server, time.perf_counter()
        self._before = self._seconds()

    def __str__(self) -> str:
        cores = (self._seconds() - self._before) / (time.perf_counter() - self._begun)
        return f"others kept {max(0.0, cores):.1f} cores busy"

    def _seconds(self) -> float:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / TICK - self._server.cpu_seconds() - own_cpu_seconds()


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

    def ask(self, body: Body, connection: http.client.HTTPConnection | None = None) -> str:
        """The query's id. Raises RuntimeError for any answer but 201."""
        return str(self._told("POST", "/api/v1/queries", 201, connection, *body)["id"])

    def look_at(self, query: str) -> None:
        """Wait until the server has its pictures, which take the place of the file."""
        self._told("GET", f"/api/v1/queries/{query}/frames", 200, None)

    def _told(self, method: str, path: str, wanted: int, connection: http.client.HTTPConnection | None, data: bytes = b"", headers: dict[str, str] | None = None) -> Any:  # fmt: skip
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        told = response.read()
        if response.status != wanted:
            raise RuntimeError(f"{response.status}: {told[:300]!r}")
        return json.loads(told)

    def under_load(self, data: bytes, *, clients: int, seconds: float) -> tuple[int, int]:
        """(answers, errors) of clients that ask again as soon as they are answered."""
        end, lock = time.monotonic() + seconds, threading.Lock()
        counts, body = {"answers": 0, "errors": 0}, body_of(data)

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            while time.monotonic() < end:
                try:
                    self.ask(body, connection)
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
                with suppress(OSError):  # a thread that has ended meanwhile
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


def body_of(data: bytes) -> Body:
    """A multipart body with one file, and its headers."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'.encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    return head + data + tail, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
