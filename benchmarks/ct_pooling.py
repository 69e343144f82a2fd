"""How should the slices of a CT become one signature? Virtual CT patients with known lesions, every pooling in one run.

    python -m benchmarks.ct_pooling [--patients 96]

Each patient's chest is deformed, diseased, and read as a CT is (lungs found, 12 slices across them, cropped). The first half of
the patients chooses, the second half reports: P@5 for the lesions' side (chance about 0.25), rank correlation for severity.
"""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from embed.encoders.efficientnet_lite import MODEL
from embed.encoders.onnx import OnnxEncoder, read_card
from embed.prepare import shrink
from embed.scan import Flag, Header, Pixels, Scan
from embed.signature import opacity_profile, unit
from embed.volume import Box, volume_scan
from examples.demo.anatomy import load_anatomy
from examples.demo.lesions import Side, add_lesions, draw_disease
from examples.demo.patient import draw_patient
from examples.demo.volume import deform
from index.numpy_store import NumpyStore
from index.transform import Centring
from search.agreement import precision, rank_correlation
from search.intervals import Metric, bootstrapped
from search.nearest import nearest_patients
from search.study import Block

Rows = npt.NDArray[np.float32]
SLICES = 12
GRIDS = ((2, 2), (3, 2))
OPACITIES = (0.0, 0.4, 1.0)  # weights of the opacity profile
POOLINGS: dict[str, Callable[[Rows], Rows]] = {
    "mean": lambda rows: rows.mean(axis=0),
    "maximum": lambda rows: rows.max(axis=0),
    "generalised mean, p = 3": lambda rows: np.cbrt((np.maximum(rows, 0) ** 3).mean(axis=0)),
    "mean + maximum": lambda rows: np.concatenate([_unit(rows.mean(axis=0)), _unit(rows.max(axis=0))]),
    "mean of 3 heights": lambda rows: np.concatenate([part.mean(axis=0) for part in np.array_split(rows, 3)]),
    "maximum of 3 heights": lambda rows: np.concatenate([part.max(axis=0) for part in np.array_split(rows, 3)]),
}


@dataclass(frozen=True)
class ArrayVolume:
    """A volume in memory, as `embed.volume.VolumeSource`."""

    hu: Pixels
    spacing_mm: tuple[float, float, float]
    kind: str = "ct"
    modality: str | None = "CT"
    format: str = "array"
    is_axial: bool = True
    header: Header = Header()
    steps: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        slices, rows, columns = self.hu.shape
        return slices, rows, columns

    def decode(self, indices: Sequence[int], *, box: Box | None = None, side: int | None = None) -> Pixels:
        box = box or Box(0, self.hu.shape[1], 0, self.hu.shape[2])
        cut = [self.hu[index, box.top : box.bottom, box.left : box.right] for index in indices]
        return np.stack([shrink(plane, side=side) if side else plane for plane in cut]).astype(np.float32)

    def content_hash(self, indices: Sequence[int]) -> str:
        return ""


def main(patients: int) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        truth, scans = zip(*pool.map(virtual_ct, range(patients)), strict=True)
    card = read_card(MODEL.with_suffix(".json"))
    profiles = np.stack([opacity_profile(scan) for scan in scans])
    table = Table(
        "cells",
        "slices pooled by",
        "opacity",
        "numbers",
        "half",
        "same side, P@5",
        "chance",
        "severity, rank correlation",
    )
    for grid in GRIDS:
        encoder = OnnxEncoder(MODEL, replace(card, grid=grid))
        rows = encoder.slice_rows(scans).reshape(patients, SLICES, -1)
        for pooling, pool_rows in POOLINGS.items():
            features = np.stack([_unit(pool_rows(one)) for one in rows])
            for opacity in OPACITIES:
                signed = unit(np.concatenate([features, opacity * profiles], axis=1).astype(np.float32))
                for half, chosen in (("choose", slice(0, patients // 2)), ("report", slice(patients // 2, patients))):
                    side, severity = measure(signed[chosen], truth[chosen])
                    told = (f"{grid[0]}×{grid[1]}", pooling, f"{opacity:g}", str(signed.shape[1]), half)
                    table.add_row(*told, _words(side), f"{side.chance:.2f}", _words(severity))
    Console(width=140).print(table)


def virtual_ct(number: int) -> tuple[tuple[str, int], Scan]:
    """((side, severity), the scan); sides and severities take turns."""
    rng = np.random.default_rng([20261124, number])
    side = list(Side)[number % 4]
    severity = 0 if side is Side.NONE else 1 + number // 4 % 3
    volume = deform(load_anatomy(coarseness=1.5), draw_patient(rng), inflation=float(rng.uniform(0.85, 1.0)))
    if side is not Side.NONE:
        volume, _ = add_lesions(volume, draw_disease(rng, side, severity))
    noisy = volume.hu + rng.normal(0, 25, volume.hu.shape).astype(np.float32)
    return (side.value, severity), volume_scan(ArrayVolume(noisy, volume.spacing_mm), side=448, slices=SLICES)


def measure(rows: Rows, truth: Sequence[tuple[str, int]]) -> tuple[Metric, Metric]:
    everyone = np.arange(len(rows))
    centred = Centring.fit(rows).apply(rows)
    similarities, found = nearest_patients(NumpyStore.build(centred), centred, k=5, patients=everyone, own=everyone)
    block = Block(everyone, everyone, found, similarities)
    sides = np.array([side for side, _ in truth], dtype=object)
    severities = np.array([float(severity) for _, severity in truth])
    figures = precision([block], sides, everyone), rank_correlation([block], severities, everyone)
    return bootstrapped(figures[0]), bootstrapped(figures[1])


def _words(metric: Metric) -> str:
    return f"{metric.value:.2f} ({metric.low:.2f} to {metric.high:.2f})"


def _unit(row: Rows) -> Rows:
    return row / np.linalg.norm(row)


def _numbers() -> Iterator[int]:
    yield from (int(text) for text in sys.argv[1:] if text.isdigit())


if __name__ == "__main__":
    main(next(_numbers(), 96))
