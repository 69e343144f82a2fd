"""Whether the nightly rebuild costs what has changed and no more: time and memory of builds of made archives.

Run `python -m benchmarks.bench_rebuild [--scans 10000] [--more 100] [--memory 5000 50000] [--keep FOLDER]`; `--scans 1000 --memory
500 1000` takes about a minute, `--scans 0` or `--memory` without numbers leaves a part out. Films are PNGs of 48×40 pixels with noise
of their own, so that reading is as cheap as it can be: the hard case for the ratio. Every build is a process of its own, from its
start to its end, with the histogram encoder and two workers. Targets, each printed with its figures:

- rebuilding an unchanged archive is at least 50 times faster than building it;
- adding films costs at most 1.5 times what they cost alone, plus the unchanged rebuild;
- peak memory at the largest size is within 20 % of that at the smallest, of the build itself and of a worker.
"""

import argparse
import contextlib
import csv
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import build_index

ROWS, COLUMNS = 48, 40
FILMS_EACH = 2  # of a patient
WORKERS = 2
RATIO_LEAST, ADDING_MOST, MEMORY_MOST = 50.0, 1.5, 1.2
TOML = """
name = "made"
csv = "cases.csv"
images = "films/{film}.png"
[columns]
case_id = "film"
patient_id = "person"
view = "view"
site = "centre"
[endpoints.died]
state = "died"
"""


@dataclass(frozen=True)
class Cost:
    """Of one build: wall seconds with the interpreter's start, and peak resident sizes."""

    seconds: float
    cpu_seconds: float  # of all its processes: what remains comparable where others use the machine
    build_mib: float
    worker_mib: float
    outcome: str
    cases: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scans", type=int, default=10_000)
    arguments.add_argument("--more", type=int, default=100)
    arguments.add_argument("--memory", type=int, nargs="*", default=[5000, 50_000])
    arguments.add_argument("--keep", type=Path, help="write archives and indexes here and leave them")
    arguments.add_argument("--build", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.build:
        build(*given.build)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        missed = [] if not given.scans else time_missed(folder / "time", given.scans, given.more)
        missed += [] if len(given.memory) < 2 else memory_missed(folder / "memory", sorted(given.memory))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


def time_missed(folder: Path, scans: int, more: int) -> list[str]:
    shutil.rmtree(folder, ignore_errors=True)
    archive = write_archive(folder / "archive", 0, scans)
    first = told(f"{scans:,} scans built", cost(archive, folder / "index"))
    again = told("built again unchanged", cost(archive, folder / "index"))
    write_archive(folder / "archive", 0, scans + more)
    added = told(f"{more:,} added", cost(archive, folder / "index"))
    alone = told(f"{more:,} alone", cost(write_archive(folder / "few", scans, scans + more), folder / "few-index"))
    assert (first.outcome, again.outcome, added.cases) == ("published", "unchanged", scans + more)
    ratio, allowed = first.seconds / again.seconds, ADDING_MOST * alone.seconds + again.seconds
    print(f"unchanged is {ratio:.0f} times faster (at least {RATIO_LEAST:.0f})")
    print(f"adding {more:,} took {added.seconds:.1f} s of {allowed:.1f} s allowed", flush=True)
    return ["unchanged rebuild"] * (ratio < RATIO_LEAST) + ["adding"] * (added.seconds > allowed)


def memory_missed(folder: Path, sizes: list[int]) -> list[str]:
    costs = []
    for scans in sizes:
        shutil.rmtree(folder, ignore_errors=True)
        costs.append(
            told(f"{scans:,} scans built", cost(write_archive(folder / "archive", 0, scans), folder / "index"))
        )
        told("built again unchanged", cost(folder / "archive/cohort.toml", folder / "index"))
    small, large = costs[0], costs[-1]
    parts = {
        "memory of the build": large.build_mib / small.build_mib,
        "memory of a worker": large.worker_mib / small.worker_mib,
    }
    for name, times in parts.items():
        print(f"{name}: {times:.2f} times that of the smaller archive (at most {MEMORY_MOST})", flush=True)
    return [name for name, times in parts.items() if times > MEMORY_MOST]


def write_archive(folder: Path, first: int, end: int) -> Path:
    """Films number `first` to `end`, those that are there left as they are; the path of the cohort's TOML."""
    (folder / "films").mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
    with (folder / "cases.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["film", "person", "view", "centre", "died"])
        for number in range(first, end):
            patient = number // FILMS_EACH
            writer.writerow(
                [f"film{number:06}", f"p{patient:06}", "PA", f"centre {patient % 7}", "yes" if patient % 5 else "no"]
            )
            path = folder / "films" / f"film{number:06}.png"
            if not path.exists():
                rng = np.random.default_rng(number)
                lungs = sum(
                    np.exp(-(((x - at) / 0.13) ** 2 + ((y - 0.5) / 0.3) ** 2)) for at in rng.normal((0.3, 0.7), 0.02)
                )
                grey = 0.8 - 0.5 * lungs + 0.1 * rng.normal(size=x.shape)
                Image.fromarray((255 * grey.clip(0, 1)).astype(np.uint8)).save(path)
    (folder / "cohort.toml").write_text(TOML)
    return folder / "cohort.toml"


def cost(toml: Path, index: Path) -> Cost:
    command = [sys.executable, "-m", "benchmarks.bench_rebuild", "--build", str(toml), str(index)]
    start, before = time.perf_counter(), cpu_of_children()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds, cpu_seconds = time.perf_counter() - start, cpu_of_children() - before
    if done.returncode:
        sys.exit(f"the build of {toml} failed: {done.stderr}")
    summary, used = map(json.loads, done.stdout.splitlines())
    return Cost(seconds, cpu_seconds, used["build"], used["worker"], summary["outcome"], sum(summary["cases"].values()))


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build(toml: Path, index: Path) -> None:
    """One build in this process, its summary and then its peak sizes in MiB on stdout."""
    arguments = [
        "--cohort",
        f"table={toml}",
        "--index",
        str(index),
        "--encoder",
        "histogram",
        "--workers",
        str(WORKERS),
    ]
    peaks = {"worker": 0.0}
    threading.Thread(target=watch_workers, args=(peaks,), daemon=True).start()
    build_index.main([*arguments, "--json"], standalone_mode=False)
    print(json.dumps({"build": peak_mib("self"), **peaks}))


def watch_workers(peaks: dict[str, float]) -> None:
    """Keep the largest peak of any child. Not getrusage: a child's there begins with what its parent had when it forked."""
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError, StopIteration):  # it has just ended
                peaks["worker"] = max([peaks["worker"], *map(peak_mib, children.read_text().split())])
        time.sleep(0.2)


def peak_mib(process: str) -> float:
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def told(what: str, cost: Cost) -> Cost:
    print(
        f"{what:32}{cost.seconds:8.1f} s{cost.cpu_seconds:8.1f} CPU s{cost.build_mib:8.0f} MiB{cost.worker_mib:8.0f} MiB a worker",
        flush=True,
    )
    return cost


if __name__ == "__main__":
    main()
