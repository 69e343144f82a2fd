"""Whether the nightly rebuild costs what has changed and no more: time and memory of builds of made archives.

Run `python -m benchmarks.bench_rebuild [--scans 10000] [--more 100] [--memory 5000 50000] [--keep FOLDER]`; `--scans 1000 --memory
500 1000` takes about a minute, `--scans 0` or `--memory` without numbers leaves a part out. Films are PNGs with noise of their own. For
the times they are of `--rows` × `--columns` pixels, by default 240 × 200, a hundredth of a radiograph, and `--encoder` is the product's
own; `--rows 48 --columns 40 --encoder histogram` makes a build as cheap as it can be, the hard case for the ratio. For the memory they are
of 48 × 40, with the histogram encoder. Every build is a process of its own, from its start to its end, with two workers; the short ones
are run three times and their medians compared. Targets, each printed with its figures:

- rebuilding an unchanged archive is at least 50 times faster than building it;
- adding films costs at most 1.5 times what they cost alone, plus the unchanged rebuild;
- peak memory at the largest size is within 20 % of that at the smallest: of the build with its workers, pages that they share counted
  once. The peak of the build's own process, which publishes when the workers are gone, is printed beside it.

`--studies 24 --scans 0 --memory` tells what CT costs, for which there is no target: studies of 300 uncompressed slices of the demonstration's
CT, all of the same files, which the system has at hand, so that no disk is measured.
"""

import argparse
import contextlib
import csv
import json
import os
import resource
import shutil
import statistics
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
from embed.encoder import DEFAULT_ENCODER

SMALLEST, CHEAPEST = (48, 40), "histogram"  # rows and columns of the films of the memory's archives, and their encoder
SLICES = 300  # of a CT study
FILMS_EACH = 2  # of a patient
TURNS = 3
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
    build_mib: float  # of its own process
    worker_mib: float  # of its largest worker
    together_mib: float  # of all of them at one time
    outcome: str
    cases: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scans", type=int, default=10_000)
    arguments.add_argument("--rows", type=int, default=240)
    arguments.add_argument("--columns", type=int, default=200)
    arguments.add_argument("--encoder", default=DEFAULT_ENCODER)
    arguments.add_argument("--more", type=int, default=100)
    arguments.add_argument("--studies", type=int, default=0, help="of CT")
    arguments.add_argument("--memory", type=int, nargs="*", default=[5000, 50_000])
    arguments.add_argument("--keep", type=Path, help="write archives and indexes here and leave them")
    arguments.add_argument("--build", nargs=4, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.build:
        build(*given.build)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place)
        missed = (
            []
            if not given.scans
            else time_missed(folder / "time", given.scans, given.more, (given.rows, given.columns), given.encoder)
        )
        if given.studies:
            tell_of_studies(folder / "studies", given.studies, given.encoder)
        missed += [] if len(given.memory) < 2 else memory_missed(folder / "memory", sorted(given.memory))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


def time_missed(folder: Path, scans: int, more: int, shape: tuple[int, int], encoder: str) -> list[str]:
    """The long build once, the short ones in turns: of those the medians are compared."""
    shutil.rmtree(folder, ignore_errors=True)
    archive = write_archive(folder / "archive", 0, scans, shape)
    first = told(f"{scans:,} scans built", cost(archive, folder / "index", encoder))
    again, added, alone = [], [], []
    for turn in range(TURNS):
        again.append(told("built again unchanged", cost(archive, folder / "index", encoder)))
        few = write_archive(folder / f"few-{turn}", scans + turn * more, scans + (turn + 1) * more, shape)
        alone.append(told(f"{more:,} alone", cost(few, folder / f"few-index-{turn}", encoder)))
        write_archive(folder / "archive", 0, scans + (turn + 1) * more, shape)
        added.append(told(f"{more:,} added", cost(archive, folder / "index", encoder)))
        assert (again[-1].outcome, added[-1].cases) == ("unchanged", scans + (turn + 1) * more)
    assert first.outcome == "published"
    unchanged, taken, asked = (statistics.median(one.seconds for one in costs) for costs in (again, added, alone))
    ratio, allowed = first.seconds / unchanged, ADDING_MOST * asked + unchanged
    print(f"unchanged is {ratio:.0f} times faster (at least {RATIO_LEAST:.0f})")
    print(f"adding {more:,} took {taken:.1f} s of {allowed:.1f} s allowed", flush=True)
    return ["unchanged rebuild"] * (ratio < RATIO_LEAST) + ["adding"] * (taken > allowed)


def memory_missed(folder: Path, sizes: list[int]) -> list[str]:
    costs = []
    for scans in sizes:
        shutil.rmtree(folder, ignore_errors=True)
        costs.append(
            told(
                f"{scans:,} scans built",
                cost(write_archive(folder / "archive", 0, scans, SMALLEST), folder / "index", CHEAPEST, watched=True),
            )
        )
        told("built again unchanged", cost(folder / "archive/cohort.toml", folder / "index", CHEAPEST, watched=True))
    small, large = costs[0], costs[-1]
    times = large.together_mib / small.together_mib
    print(f"memory: {times:.2f} times that of the smaller archive (at most {MEMORY_MOST})")
    each = (large.build_mib - small.build_mib) / (sizes[-1] - sizes[0]) * 1024
    print(f"the build's own process: {large.build_mib / small.build_mib:.2f} times, {each:.1f} KiB a scan", flush=True)
    return ["memory"] * (times > MEMORY_MOST)


def tell_of_studies(folder: Path, studies: int, encoder: str) -> None:
    from pydicom.uid import ExplicitVRLittleEndian  # not in the builds that are measured

    from benchmarks.bench_read_ct import write_series

    shutil.rmtree(folder, ignore_errors=True)
    series = folder / "archive" / "series"
    series.mkdir(parents=True)
    write_series(series, slices=SLICES, syntax=ExplicitVRLittleEndian)
    for number in range(studies):
        shutil.copytree(series, folder / "archive" / "films" / f"study{number:04}", copy_function=os.link)
    with (folder / "archive" / "cases.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["film", "person", "view", "centre", "died"])
        writer.writerows([f"study{number:04}", f"p{number}", "", "centre", "no"] for number in range(studies))
    toml = folder / "archive" / "cohort.toml"
    toml.write_text(TOML.replace("{film}.png", "{film}"))
    first = told(f"{studies:,} CT studies built", cost(toml, folder / "index", encoder, watched=True))
    told("built again unchanged", cost(toml, folder / "index", encoder))
    print(f"{first.seconds / studies:.2f} s a study", flush=True)


def write_archive(folder: Path, first: int, end: int, shape: tuple[int, int]) -> Path:
    """Films number `first` to `end`, those that are there left as they are; the path of the cohort's TOML."""
    (folder / "films").mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
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


def cost(toml: Path, index: Path, encoder: str, *, watched: bool = False) -> Cost:
    options = [str(toml), str(index), encoder, "watched" if watched else ""]
    command = [sys.executable, "-m", "benchmarks.bench_rebuild", "--build", *options]
    start, before = time.perf_counter(), cpu_of_children()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds, cpu_seconds = time.perf_counter() - start, cpu_of_children() - before
    if done.returncode:
        sys.exit(f"the build of {toml} failed: {done.stderr}")
    summary, used = map(json.loads, done.stdout.splitlines())
    cases = sum(summary["cases"].values())
    return Cost(seconds, cpu_seconds, used["build"], used["worker"], used["together"], summary["outcome"], cases)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def build(toml: str, index: str, encoder: str, watched: str) -> None:
    """One build in this process, its summary and then its peak sizes in MiB on stdout."""
    arguments = [
        "--cohort",
        f"table={toml}",
        "--index",
        index,
        "--encoder",
        encoder,
        "--workers",
        str(WORKERS),
    ]
    peaks = {"worker": 0.0, "together": 0.0}
    if watched:  # looking takes time from a large process: the times are taken without
        threading.Thread(target=watch, args=(peaks,), daemon=True).start()
    build_index.main([*arguments, "--json"], standalone_mode=False)
    own = mib("self", "status", "VmHWM")
    print(json.dumps({"build": own, **peaks, "together": max(own, peaks["together"])}))


def watch(peaks: dict[str, float]) -> None:
    """Keep the largest peak of any child, and of all processes at one time. Not getrusage: a child's there begins with what its
    parent had when it forked.
    """
    while True:
        with contextlib.suppress(OSError, StopIteration):  # one has just ended
            workers = [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
            peaks["worker"] = max([peaks["worker"], *(mib(pid, "status", "VmHWM") for pid in workers)])
            together = sum(mib(pid, "smaps_rollup", "Pss:") for pid in ["self", *workers])
            peaks["together"] = max(peaks["together"], together)
        time.sleep(0.2)


def mib(process: str, file: str, name: str) -> float:
    lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def told(what: str, cost: Cost) -> Cost:
    others = f", {cost.worker_mib:.0f} a worker, {cost.together_mib:.0f} together" if cost.worker_mib else ""
    print(
        f"{what:32}{cost.seconds:8.1f} s{cost.cpu_seconds:8.1f} CPU s{cost.build_mib:8.0f} MiB its own{others}",
        flush=True,
    )
    return cost


if __name__ == "__main__":
    main()
