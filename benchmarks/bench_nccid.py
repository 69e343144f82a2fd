"""Time and memory of reading the clinical records and headers of an NCCID-shaped archive, at three sizes.

Run `python -m benchmarks.bench_nccid [--sizes 5000 10000 20000] [--keep FOLDER]`. Each archive is written to a temporary folder
(`examples.nccid`; with --keep into FOLDER, where the next run finds it), then `iter_cases` is exhausted in a process of its own,
which reports its seconds and its largest resident size. Files are in the page cache as far as it holds them. Targets: 20,000
patients in 90 s and 2 GiB, and the same time a patient at every size.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from examples.nccid.archive import TRUTH, write_archive
from examples.nccid.options import Options
from index.cohort import open_cohort

CENTRES = 25


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[5000, 10_000, 20_000])
    arguments.add_argument("--keep", type=Path)
    arguments.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.read:
        print(json.dumps(measured(given.read)))
        return
    print(
        f"{'patients':>9}{'cases':>9}{'seconds':>9}{'CPU s':>9}{'ms each':>9}{'peak MiB':>9}   writing took", flush=True
    )
    for patients in given.sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = (given.keep or Path(place)) / f"{patients}"
            start = time.perf_counter()
            if not (folder / TRUTH).exists():
                shutil.rmtree(folder, ignore_errors=True)  # an interrupted run's
                write_archive(folder, Options(patients=patients, centres=CENTRES))
            took = time.perf_counter() - start
            command = [sys.executable, "-m", "benchmarks.bench_nccid", "--read", str(folder)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            each = 1000 * found["seconds"] / patients
            print(
                f"{patients:9}{found['cases']:9.0f}{found['seconds']:9.1f}{found['cpu']:9.1f}{each:9.2f}{found['mib']:9.0f}   {took:.0f} s",
                flush=True,
            )


def measured(folder: Path) -> dict[str, float]:
    """What exhausting `iter_cases` takes in this process, everything before it included in the memory."""
    start, cpu = time.perf_counter(), time.process_time()
    cases = sum(1 for _ in open_cohort(f"nccid={folder}").iter_cases())
    return {
        "cases": cases,
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
