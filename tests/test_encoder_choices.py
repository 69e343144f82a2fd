"""The benchmark of encoder choices measures the true default, and pools archives as it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.encoder_choices import DEFAULT, VARIANTS, Pair, Several, pooled, signature
from embed.encoder import load_encoder
from embed.read import read_scan
from search.evaluation import Sampled
from tests.conftest import need_module
from tests.films import phantom, png_bytes


def test_what_is_called_the_default_signs_as_the_default_does_and_a_variant_otherwise(tmp_path: Path) -> None:
    need_module("onnx")
    path = tmp_path / "film.png"
    path.write_bytes(png_bytes((phantom(seed=3) >> 4).astype(np.uint8)))
    encoder = load_encoder("efficientnet-lite0")
    scan = read_scan(path, side=encoder.side)
    alike = [one for one in VARIANTS if one.side == DEFAULT.side and one.layer != "last layer"]
    several = Several([DEFAULT, *alike], encoder.fingerprint, None)
    np.testing.assert_allclose(several.encode([scan]), encoder.encode([scan]), atol=1e-5)
    rows = {name: kept[scan.provenance.file_hash] for name, kept in several.rows.items()}
    assert (
        len(rows["areas 1×1"]) == 192 + 12 and len(rows["opacity 0"]) == 6 * 192 and len(rows["block 3"]) == 6 * 80 + 12
    )
    assert all(np.linalg.norm(row) == pytest.approx(1, abs=1e-5) for row in rows.values())


def test_slices_are_pooled_by_their_mean_and_areas_laid_side_by_side() -> None:
    maps = np.zeros((2, 1, 2, 2), np.float32)  # two slices of one channel
    maps[0] = [[[3, 0], [0, 0]]]
    maps[1] = [[[0, 4], [0, 0]]]
    plain = replace(DEFAULT, grid=(2, 2), opacity=0.0)
    row = signature(None, maps, plain)  # type: ignore[arg-type]  # without opacity the scan is not looked at
    np.testing.assert_allclose(row, np.array([1, 1, 0, 0]) / np.sqrt(2), atol=1e-6)  # each slice at length 1 before


def test_a_pooled_difference_is_the_mean_over_archives_with_an_interval_narrower_than_each() -> None:
    rng = np.random.default_rng(0)

    def pair(default: float, variant: float) -> Pair:
        drawn = rng.normal(0, 0.1, 4000)
        return Pair(
            Sampled(default, 0.2, default + np.zeros(4000), np.full(4000, 0.2)),
            Sampled(variant, 0.3, variant + drawn, np.full(4000, 0.3)),
        )

    default, chance, variant, difference, low, high = pooled([pair(0.4, 0.5), pair(0.6, 0.5), pair(0.5, 0.8)])
    assert (default, variant, difference) == pytest.approx((0.5, 0.6, 0.1))
    assert chance == pytest.approx(0.2)
    half = 1.96 * 0.1 / np.sqrt(3)
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half), abs=0.01)


def test_draws_of_archives_are_not_lined_up() -> None:
    """Archives of as many patients are given the same draws: lined up, their differences would widen the interval together."""
    drawn = np.random.default_rng(1).normal(0, 0.1, 4000)
    same = Pair(Sampled(0.5, 0.2, np.full(4000, 0.5), drawn), Sampled(0.5, 0.2, 0.5 + drawn, drawn))
    *_, low, high = pooled([same, same])
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(2), rel=0.05)
