"""Endless mutants: `python -m tests.fuzz --files 1000000 --seed 1` tells of each fault and keeps its file.

The same mutants as the test's with the same seed, which go on where those end. Exits with 1 if there was a fault; a decoder
that crashed, hung or ran out of memory counts as one, for it costs a process, although its reader is told.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

from tests.mutants import iter_mutants, originals
from tests.test_embed_mutants import SEED, is_fault, outcomes_of

ROUND = 2000  # files at a time, to tell how far it is


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=SEED)
    arguments.add_argument("--first", type=int, default=0, help="number of the first mutant")
    arguments.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for the files at fault")
    given = arguments.parse_args()
    counts: Counter[str] = Counter()
    faults, began, slowest = 0, time.perf_counter(), 0.0
    for first in range(given.first, given.first + given.files, ROUND):
        count = min(ROUND, given.first + given.files - first)
        for mutant, outcome in outcomes_of(iter_mutants(originals(), count, given.seed, first=first)):
            counts[outcome.reason] += 1
            slowest = max(slowest, outcome.seconds)
            if is_fault(outcome):
                faults += 1
                given.keep.mkdir(parents=True, exist_ok=True)
                kept = given.keep / f"{given.seed}-{mutant.number}.bin"
                kept.write_bytes(mutant.data)
                kept.with_suffix(".txt").write_text(f"{mutant.original}, {mutant.damage}\n{outcome.fault}\n")
                print(
                    f"{kept}: {mutant.original}, {mutant.damage}: {outcome.fault.strip().splitlines()[-1]}", flush=True
                )
        rate = sum(counts.values()) / (time.perf_counter() - began)
        print(
            f"{sum(counts.values()):,} files, {faults} faults, {rate:.0f} a second, slowest {slowest:.2f} s", flush=True
        )
    print(", ".join(f"{number} {reason}" for reason, number in counts.most_common()))
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
