"""Is any other choice of the default encoder's better? One change at a time, measured as `python -m search evaluate --compare` does.

    python -m benchmarks.encoder_choices [ARCHIVE...] [--last FILE.onnx] [--only NAME]... [--hannover] [--ct 64]

ARCHIVE: a demonstration archive of a seed that chose nothing (`python -m examples.demo --out DIR --seed N`). An index is built of each with
the default and with every variant; scans are read once for each input size. Figures are of other patients' films in the query's own
view, as a search answers; a difference is the mean over the archives, its interval from drawing the patients of each again, the same
for both encoders. Who takes the best of many must confirm it on archives that nobody has looked at. `--last`: the network as
`python -m embed export efficientnet-lite0-last` writes it. `--ct`: so many virtual CTs, for how slices are pooled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from rich.console import Console
from rich.progress import Progress, track

from benchmarks.ct_pooling import POOLINGS, SLICES, virtual_ct
from build_index import Told, build_index
from embed.encoder import DEFAULT_ENCODER, load_encoder
from embed.encoders.efficientnet_lite import MODEL
from embed.encoders.onnx import BATCH, LARGER, OnnxEncoder, read_card
from embed.file_hash import file_hash
from embed.prepare import encoder_view
from embed.scan import Scan
from embed.signature import opacity_profile, pool_grid, pool_slices, unit
from index.building import Building, BuildOptions
from index.events import EventLog
from index.intake import Intake
from index.known import open_known
from index.readings import Reading
from index.snapshot import open_current
from index.snapshot_writer import Build
from index.store import DEFAULT_STORE
from index.terminal import code_version
from search.baselines import centred_space
from search.evaluated import Evaluated
from search.evaluation import Evaluation, Sampled, evaluate
from search.evaluation_runs import Request, Setting, compared
from search.intervals import SEED, interval
from search.protocols import ONE_VIEW, OTHER_PATIENTS, protocols_of
from search.targets import Role, target_of

Rows = npt.NDArray[np.float32]  # (n, d)
Maps = npt.NDArray[np.float32]  # (slices, channels, rows, columns)
Figure = tuple[str, str, str]  # target, metric, how a table heads it
LAYERS = {  # tensors of the shipped network at the end of its blocks
    "block 2": "/4/4.1/Add_output_0",  # 40 channels at stride 8
    "block 3": "/5/5.2/Add_output_0",  # 80 at stride 16
    "block 4": "/6/6.2/Add_output_0",  # 112 at stride 16
    "block 5": "features",  # 192 at stride 32
}
LAST = "last layer"
K, REPLICATES = 10, 2000
HANNOVER = "table=examples/hannover.toml"
FRONTAL = "view in ('AP', 'PA')"
FIGURES = (
    ("side", "P@5", "side, P@5"),
    ("severity", "rank correlation", "severity, rank correlation"),
    ("itu_admission", "AUROC", "ITU admission, AUROC"),
)
HANNOVER_FIGURES = (
    ("itu_admission", "AUROC", "ITU admission, AUROC"),
    ("died", "AUROC", "death, AUROC"),
    ("crp_mg_l", "rank correlation", "CRP, rank correlation"),
    ("view", "P@5", "view (a nuisance), P@5"),
)


@dataclass(frozen=True)
class Variant:
    """The default encoder, but for one thing."""

    name: str
    side: int = 320
    layer: str = "block 5"
    whole_film: bool = False
    grid: tuple[int, int] = (3, 2)
    opacity: float = 0.4

    @property
    def read_side(self) -> int:
        return round(LARGER * self.side)


DEFAULT = Variant("default")
VARIANTS = (
    Variant("input 224", side=224),
    Variant("input 448", side=448),
    Variant("block 2", layer="block 2"),
    Variant("block 3", layer="block 3"),
    Variant("block 4", layer="block 4"),
    Variant(LAST, layer=LAST),
    Variant("areas 1×1", grid=(1, 1)),
    Variant("areas 2×2", grid=(2, 2)),
    Variant("areas 3×3", grid=(3, 3)),
    Variant("areas 6×2", grid=(6, 2)),
    Variant("whole film", whole_film=True),
    Variant("opacity 0", opacity=0.0),
    Variant("opacity 0.2", opacity=0.2),
    Variant("opacity 0.8", opacity=0.8),
)


# ---- signing ---------------------------------------------------------------------------------------------------------------


class Several:
    """Signs as the first of its variants does, and keeps beside it what the others make of each scan: `rows` by variant and file."""

    def __init__(self, variants: Sequence[Variant], fingerprint: str, last: Path | None) -> None:
        """All `variants` read scans at the same size; those of the last layer need `last`."""
        providers = ["CPUExecutionProvider"]
        self._variants = variants
        self._blocks = onnxruntime.InferenceSession(_with_every_block(), providers=providers)
        self._last = onnxruntime.InferenceSession(last, providers=providers) if last else None
        self.rows: dict[str, dict[str, Rows]] = {variant.name: {} for variant in variants}
        self.fingerprint = fingerprint
        self.side = variants[0].read_side
        self.dim = 0  # is not asked before a scan was signed

    def encode(self, scans: Sequence[Scan]) -> Rows:
        for scan in scans:
            whole = replace(scan, lungs=None)
            maps = self._maps(scan)
            maps_of_whole = self._maps(whole) if any(variant.whole_film for variant in self._variants) else {}
            for variant in self._variants:
                seen, found = (whole, maps_of_whole) if variant.whole_film else (scan, maps)
                self.rows[variant.name][scan.provenance.file_hash] = signature(seen, found[variant.layer], variant)
        first = np.stack([self.rows[self._variants[0].name][scan.provenance.file_hash] for scan in scans])
        self.dim = first.shape[1]
        return first

    def _maps(self, scan: Scan) -> dict[str, Maps]:
        side = self._variants[0].side
        grey = np.stack([seen.picture for seen in encoder_view(scan, side=side)])
        pictures = np.broadcast_to((grey[:, None] - 0.5) / 0.5, (len(grey), 3, side, side)).astype(np.float32)
        wanted = {variant.layer for variant in self._variants}
        layers = [layer for layer in LAYERS if layer in wanted]
        found = dict(zip(layers, self._run(self._blocks, [LAYERS[layer] for layer in layers], pictures), strict=True))
        if LAST in wanted:
            assert self._last
            (found[LAST],) = self._run(self._last, ["features"], pictures)
        return found

    @staticmethod
    def _run(network: onnxruntime.InferenceSession, outputs: list[str], pictures: Rows) -> list[Maps]:
        parts = [network.run(outputs, {"pixels": pictures[at : at + BATCH]}) for at in range(0, len(pictures), BATCH)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def signature(scan: Scan, maps: Maps, variant: Variant) -> Rows:
    """The unit row (d,) of one scan."""
    (row,) = pool_slices(unit(pool_grid(maps, grid=variant.grid)), [len(maps)])
    if not variant.opacity:
        return row
    return unit(np.concatenate([row, np.float32(variant.opacity) * opacity_profile(scan)])[None])[0]


def _with_every_block() -> bytes:
    """The shipped network with the end of each block among its outputs."""
    model = onnx.load(MODEL)
    names = [name for name in LAYERS.values() if name != "features"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return model.SerializeToString()


# ---- indexes ---------------------------------------------------------------------------------------------------------------


def build_all(cohort: str, folder: Path, variants: Sequence[Variant], last: Path | None) -> dict[str, Path]:
    """An index of the default and of every variant, by name."""
    indexes: dict[str, Path] = {}
    told = Told(Console(quiet=True), EventLog.nowhere())
    by_side = sorted([DEFAULT, *variants], key=lambda variant: variant.side != DEFAULT.side)
    for side, group in groupby(by_side, key=lambda variant: variant.side):
        members = list(group)
        first = members[0]
        fingerprint = load_encoder(DEFAULT_ENCODER).fingerprint if first is DEFAULT else f"side-{side}"
        encoder = Several(members, fingerprint, last)
        intake = Intake([cohort])
        indexes[first.name] = base = folder / _slug(first)
        build_index(intake, encoder, base, _build(intake, fingerprint), BuildOptions(), told, workers=2)
        for variant in members[1:]:
            indexes[variant.name] = folder / _slug(variant)
            sign_otherwise(cohort, base, indexes[variant.name], _slug(variant), encoder.rows[variant.name])
    _require_true_default(indexes[DEFAULT.name], cohort)
    return indexes


def sign_otherwise(cohort: str, base: Path, index: Path, fingerprint: str, rows: dict[str, Rows]) -> None:
    """Publish an index of what `base` has read, with other signatures, by the hash of each file."""
    intake = Intake([cohort])
    with (
        open_known(open_current(base), []) as known,
        Building(index, _build(intake, fingerprint), BuildOptions()) as building,
    ):
        building.take_stock(intake, lambda path: file_hash(path.read_bytes()))
        for planned in building.unread():
            place = known.find(planned.case.case_id, planned.stamp, passing=True)
            assert place is not None  # the files are as they were a moment ago
            outcome = known.outcome(place)
            if isinstance(outcome, Reading):
                outcome = replace(outcome, signature=rows[outcome.facts.file_hash])
            building.keep(planned, outcome)
        building.publish()


def _require_true_default(index: Path, cohort: str) -> None:
    """What is called the default here must sign as the default does."""
    from embed.read import read_scan

    snapshot, encoder = open_current(index), load_encoder(DEFAULT_ENCODER)
    for row in range(0, len(snapshot.signatures("xray")), 25):
        files = snapshot.catalogue.values("files", "xray")[row]
        (expected,) = encoder.encode([read_scan(*map(Path, files), side=encoder.side)])
        np.testing.assert_allclose(snapshot.signatures("xray")[row], expected, atol=1e-5, err_msg=cohort)


def _build(intake: Intake, fingerprint: str) -> Build:
    return Build(DEFAULT_ENCODER, fingerprint, intake.cohorts, intake.endpoints, code_version(), DEFAULT_STORE)


def _slug(variant: Variant) -> str:
    return variant.name.replace(" ", "-").replace("×", "x")


# ---- comparing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pair:
    """One figure of the default and of a variant, with the same draws of patients."""

    default: Sampled
    variant: Sampled

    @property
    def difference(self) -> npt.NDArray[np.float64]:
        return self.variant.replicates - self.default.replicates


def pairs_of(found: Evaluation, figures: Sequence[Figure], names: tuple[str, str]) -> dict[str, Pair]:
    """The figures that were measured, by their headings; each within the query's view, where views differ and that leaves it to tell."""
    pairs = {}
    for target, metric, heading in figures:
        for protocol in (ONE_VIEW, OTHER_PATIENTS):
            both = [found.sampled.get(((name, protocol, target), metric)) for name in names]
            if both[0] is not None and both[1] is not None:
                pairs[heading] = Pair(both[0], both[1])
                break
    return pairs


def pooled(pairs: Sequence[Pair]) -> tuple[float, float, float, float, float, float]:
    """(the default, its chance, the variant, the difference and its interval): means over archives, whose draws are independent."""
    rng = np.random.default_rng(SEED)
    draws = np.mean([rng.permutation(pair.difference) for pair in pairs], axis=0)
    default, chance, variant = (
        float(np.mean(values))
        for values in zip(*((p.default.value, p.default.chance, p.variant.value) for p in pairs), strict=True)
    )
    return default, chance, variant, variant - default, *interval(draws)


def show(title: str, found: dict[str, list[dict[str, Pair]]], figures: Sequence[Figure]) -> None:
    """`found`: of each variant the pairs of each archive. Printed as rows of Markdown, to be kept."""
    print(f"\n{title}\n")
    told = [[name, *cells(archives, figures)] for name, archives in found.items()]
    headings = ["changed", *(column for _, _, heading in figures for column in (heading, "less the default"))]
    for row in (headings, ["---"] * len(headings), *told):
        print(f"| {' | '.join(row)} |")
    for _, _, heading in figures:
        first = [pairs[heading] for pairs in next(iter(found.values())) if heading in pairs]
        if first:
            default, chance, *_ = pooled(first)
            print(f"{heading}: the default {default:.3f}, chance {chance:.3f}, {len(first)} archives")


def cells(archives: Sequence[dict[str, Pair]], figures: Sequence[Figure]) -> Iterator[str]:
    for _, _, heading in figures:
        pairs = [pairs[heading] for pairs in archives if heading in pairs]
        if pairs:
            _, _, value, difference, low, high = pooled(pairs)
            told = f"{difference:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")
            yield f"{value:.3f}"
            yield f"**{told}**" if low > 0 or high < 0 else told
        else:
            yield from ("", "")


def compare_all(indexes: dict[str, Path], request: Request, figures: Sequence[Figure]) -> dict[str, dict[str, Pair]]:
    """Of each variant its figures beside the default's."""
    default = indexes[DEFAULT.name]
    others = {name: path for name, path in indexes.items() if name != DEFAULT.name}
    targets = {target for target, _, _ in figures}

    def narrowed(setting: Setting) -> Setting:
        kept = [protocol for protocol in setting.protocols if protocol.name in (ONE_VIEW, OTHER_PATIENTS)]
        return replace(setting, protocols=kept, targets=[one for one in setting.targets if one.name in targets])

    made = compared(default, list(others.values()), request, Progress(disable=True), narrowed=narrowed)
    return {
        name: pairs_of(made.found, figures, (made.names[0], called))
        for name, called in zip(others, made.names[1:], strict=True)
    }


# ---- CT --------------------------------------------------------------------------------------------------------------------


def ct_pairs(first: int, count: int) -> dict[str, list[dict[str, Pair]]]:
    """Each way of pooling against the mean, on virtual CTs by number; `benchmarks.ct_pooling` drew the first 96."""
    numbers = range(first, first + count)
    truth, scans = zip(*(virtual_ct(number) for number in track(numbers, "virtual CTs")), strict=True)
    card = read_card(MODEL.with_suffix(".json"))
    slices = OnnxEncoder(MODEL, card).slice_rows(scans).reshape(count, SLICES, -1)
    profiles = np.stack([opacity_profile(scan) for scan in scans])
    everyone, blank = np.ones(count, bool), np.full(count, None, object)
    cases = Evaluated(
        "ct", np.array([str(number) for number in numbers], object), np.arange(count), everyone, np.full(count, -1), blank, blank,
        np.full(count, np.nan), np.full(count, np.nan), blank,
    )  # fmt: skip
    spaces = []
    for opacity in (0.0, 0.4, 1.0):
        for pooling, pool in POOLINGS.items():
            if opacity == 0.4 or pooling == "mean":
                features = unit(np.stack([pool(rows) for rows in slices]))
                rows = unit(np.concatenate([features, np.float32(opacity) * profiles], axis=1))
                spaces.append(centred_space(f"{pooling}, opacity {opacity:g}", "", rows, everyone))
    targets = [
        target_of("side", Role.DISEASE, np.array([side for side, _ in truth], object)),
        target_of("severity", Role.DISEASE, np.array([float(severity) for _, severity in truth])),
    ]
    protocols, _ = protocols_of(cases, np.arange(count), k=K)
    found = evaluate(cases, spaces, protocols, targets, k=K, replicates=REPLICATES)
    now = "mean, opacity 0.4"
    return {space.name: [pairs_of(found, FIGURES[:2], (now, space.name))] for space in spaces if space.name != now}


@click.command(help=__doc__)
@click.argument("archives", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--last", type=click.Path(path_type=Path, exists=True), help="The network with its last layer.")
@click.option("--only", multiple=True, help="Only this variant; may be repeated.")
@click.option("--hannover", is_flag=True, help="Also the films of Hannover.")
@click.option("--ct", type=int, default=0, help="Also so many virtual CTs.")
@click.option("--ct-first", type=int, default=96, show_default=True, help="The first one's number.")
def main(
    archives: Sequence[Path], last: Path | None, only: Sequence[str], hannover: bool, ct: int, ct_first: int
) -> None:
    variants = [v for v in VARIANTS if (not only or v.name in only) and (last or v.layer != LAST)]
    request = Request(None, K, FRONTAL, "xray", ("side", "severity"), None, "sop_uid", 10**6, REPLICATES)
    found: dict[str, list[dict[str, Pair]]] = {}
    for archive in archives:
        with TemporaryDirectory() as folder:
            indexes = build_all(f"nccid={archive}", Path(folder), variants, last)
            asked = replace(request, labels=archive / "truth.csv")
            for name, pairs in compare_all(indexes, asked, FIGURES).items():
                found.setdefault(name, []).append(pairs)
        show(f"{archive.name} and those before it", found, FIGURES)
    if hannover:
        with TemporaryDirectory() as folder:
            indexes = build_all(HANNOVER, Path(folder), variants, last)
            asked = replace(request, targets=("crp_mg_l",), where=None)
            real = {name: [pairs] for name, pairs in compare_all(indexes, asked, HANNOVER_FIGURES).items()}
        show("Hannover", real, HANNOVER_FIGURES)
    if ct:
        show("virtual CTs", ct_pairs(ct_first, ct), FIGURES[:2])


if __name__ == "__main__":
    main()
