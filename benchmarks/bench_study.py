"""How much longer a study takes than the bare FAISS search of the same blocks, and how much memory its queries cost.

    python -m benchmarks.bench_study                       50,000 × 50,000, 768 dimensions, k = 20: several minutes
    python -m benchmarks.bench_study --cases 10000         smaller
    python -m benchmarks.bench_study --queries 10000       fewer queries against as many cases

Block by block the two take turns in one process, so that a busy machine slows both. The bare search asks FAISS for the k best and
nothing else; the study leaves patients out, ranks in double precision, and writes Parquet and CSV. Peak memory of two runs with
other --queries shows what queries cost.
"""

import resource
import tempfile
import time
from pathlib import Path

import click
import faiss
import numpy as np

from search.engine import SearchEngine
from search.study import Study
from search.study_plan import Exclusions, StudyPlan
from tests.studies import case, engine_of, unit

SCANS_EACH = 2


def made_engine(folder: Path, *, cases: int, dim: int) -> SearchEngine:
    """Patients with two scans each, of ten sites and two views; vectors at random."""
    rng = np.random.default_rng(20261124)
    vectors = unit(rng.standard_normal((cases, dim), dtype=np.float32))
    records = [
        case(number, f"p{number // SCANS_EACH:06}", site=f"site {number % 10}", view="PA" if number % 4 < 2 else "AP")
        for number in range(cases)
    ]
    return engine_of(folder, vectors, records)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--cases", default=50_000, show_default=True)
@click.option("--queries", default=None, type=int, help="How many of the cases are asked.  [default: all]")
@click.option("--dim", default=768, show_default=True)
@click.option("-k", "k", default=20, show_default=True)
@click.option("--match-view", is_flag=True, help="Only the query's own view.")
@click.option("--other-sites", is_flag=True, help="Not the query's own site.")
def main(cases: int, queries: int | None, dim: int, k: int, match_view: bool, other_sites: bool) -> None:
    queries = queries or cases
    with tempfile.TemporaryDirectory() as name:
        engine = made_engine(Path(name) / "index", cases=cases, dim=dim)
        asked = None if queries == cases else f"case_id < 'c{queries:05}'"
        plan = StudyPlan(k=k, asked=asked, match_view=match_view, exclude=Exclusions(own_site=other_sites))
        vectors = np.asarray(engine.snapshot.signatures("xray"))
        bare = faiss.IndexFlatIP(dim)
        bare.add(np.ascontiguousarray(vectors))
        before = peak_mib()
        bare_seconds, done = 0.0, 0

        def told(count: int) -> None:
            """After each of the study's blocks the same number of queries is searched bare, which is not the study's time."""
            nonlocal bare_seconds, done
            began = time.perf_counter()
            if count:
                bare.search(vectors[done : done + count], k)
            bare_seconds += time.perf_counter() - began
            done += count

        began = time.perf_counter()
        written = Study(engine, plan).write(Path(name) / "out", progress=told)
        seconds = time.perf_counter() - began - bare_seconds
        size = sum(path.stat().st_size for path in written.parent.iterdir())
    click.echo(f"{done:,} queries x {cases:,} cases, {dim} dimensions, k = {k}")
    click.echo(f"bare FAISS search of the same blocks: {bare_seconds:.1f} s")
    click.echo(
        f"study, {size / 2**20:.0f} MiB of Parquet and CSV written: {seconds:.1f} s, {seconds / bare_seconds:.2f} times the bare search"
    )
    click.echo(f"peak memory: {before:.0f} MiB before, {peak_mib():.0f} after")


if __name__ == "__main__":
    main()
