"""Which layer is the signature? ITU admission told from neighbours on the Hannover radiographs, each variant in one run.

    python -m benchmarks.hannover_signatures

Exports the network cut after block 5 and after its last layer, builds an index with each, and evaluates both as
`python -m search evaluate` does. Needs the extra `torch` and ../shared/data/hannover.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner
from rich.console import Console
from rich.table import Table

import build_index
from embed.export import export
from search.agreement import outcome_auc
from search.answer import Question
from search.engine import SearchEngine
from search.intervals import Metric, bootstrapped
from search.study import iter_archive_neighbours

VARIANTS = (
    ("block 5, 3×2 areas and opacity (the default)", "efficientnet-lite0", (3, 2), 0.4),
    ("block 5, 3×2 areas", "efficientnet-lite0", (3, 2), 0.0),
    ("last layer, 3×2 areas and opacity", "efficientnet-lite0-last", (3, 2), 0.4),
    ("last layer, global average", "efficientnet-lite0-last", (1, 1), 0.0),
)


def main() -> None:
    table = Table(
        "signature", "dim", "AUC, AP films", "95 % interval", "chance", title="ITU admission from 10 other patients"
    )
    with TemporaryDirectory() as folder:
        for title, network, grid, opacity in VARIANTS:
            index = build(Path(folder), network, grid, opacity)
            engine = SearchEngine.open(index)
            metric = measure(engine)
            table.add_row(
                title, str(engine.encoder.dim), f"{metric.value:.3f}", f"{metric.low:.3f} to {metric.high:.3f}", "0.5"
            )
    Console().print(table)


def build(folder: Path, network: str, grid: tuple[int, int], opacity: float) -> Path:
    model = folder / f"{network}-{grid[0]}x{grid[1]}-{opacity:g}.onnx"
    export(network, model, grid=grid, opacity=opacity)
    index = folder / model.stem
    arguments = ["--cohort", "table=examples/hannover.toml", "--index", str(index), "--encoder", f"onnx:{model}"]
    CliRunner().invoke(build_index.main, arguments, catch_exceptions=False)
    return index


def measure(engine: SearchEngine) -> Metric:
    blocks = list(iter_archive_neighbours(engine, "xray", Question(k=10, where="view = 'AP'")))
    states = engine.snapshot.catalogue.values("itu_admission", "xray")
    return bootstrapped(outcome_auc(blocks, states, engine.archives["xray"].patients))


if __name__ == "__main__":
    main()
