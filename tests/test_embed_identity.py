"""The same picture is known again under other names, and strangers are not: by hand, and on real films."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from embed.copies import KnownPictures
from embed.identity import SAME_PICTURE_DISTANCE, exact_hash, perceptual_hash, picture_distances, window_bits
from embed.read import read_scan_bytes
from embed.scan import PixelIdentity, Pixels
from tests.conftest import missing
from tests.films import dicom_bytes, dicom_dataset, phantom, png_bytes, to_bytes

Film = npt.NDArray[np.uint8]  # (rows, columns)


def identity(data: bytes) -> PixelIdentity:
    found = read_scan_bytes(data, side=448).identity
    assert found is not None
    return found


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_the_exact_hash_survives_lossless_compression(syntax: UID) -> None:
    ds = dicom_dataset(phantom())
    ds.compress(syntax)
    assert identity(to_bytes(ds)) == identity(dicom_bytes(phantom()))


def test_the_exact_hash_survives_new_uids_and_another_header() -> None:
    renamed = dicom_bytes(
        phantom(), SOPInstanceUID="2.25.9", StudyInstanceUID="2.25.8", PatientID="Covid78", Manufacturer="Acme"
    )
    rewindowed = dicom_bytes(phantom(), WindowCenter=1800, WindowWidth=3000)
    assert identity(renamed) == identity(dicom_bytes(phantom()))
    assert identity(rewindowed).exact == identity(dicom_bytes(phantom())).exact


def test_the_exact_hash_ignores_byte_order_and_depends_on_every_pixel_and_the_shape() -> None:
    film = phantom()
    assert exact_hash(film.astype(">u2")) == exact_hash(film)
    changed = film.copy()
    changed[60, 50] ^= 1
    assert len({exact_hash(film), exact_hash(changed), exact_hash(film.reshape(100, 120))}) == 3


def test_the_perceptual_hash_is_the_same_for_a_stretched_copy() -> None:
    grey = phantom(600, 500).astype(np.float32) / np.float32(4095)
    assert picture_distances(np.float32(0.2) + np.float32(0.5) * grey, [perceptual_hash(grey)])[0] <= 2


def test_copies_among_many_are_those_within_the_distance_in_any_window() -> None:
    rng = np.random.default_rng(0)
    grey = phantom(300, 250, seed=1).astype(np.float32) / np.float32(4095)
    windows = window_bits(grey)
    hashes: list[str | None] = [None]
    for distance in range(SAME_PICTURE_DISTANCE - 5, SAME_PICTURE_DISTANCE + 6):
        for window in (0, 312, 624):  # the first, the middle and the last
            near = windows[window].copy()
            near[rng.choice(256, distance, replace=False)] ^= True
            hashes.append(np.packbits(near).tobytes().hex())
    strangers = rng.integers(0, 256, (500, 32), np.uint8)
    hashes += [None, *(row.tobytes().hex() for row in strangers)]
    hashed = np.array([one is not None for one in hashes])
    expected = np.zeros(len(hashes), bool)
    distances = picture_distances(grey, [one for one in hashes if one is not None])
    expected[hashed] = distances <= SAME_PICTURE_DISTANCE
    np.testing.assert_array_equal(KnownPictures(hashes).copies_of(grey), expected)
    assert expected[1:19].all() and not expected[34:].any()  # six distances up to 30 and three windows each
    assert not KnownPictures([None, None]).copies_of(grey).any() and KnownPictures([]).copies_of(grey).shape == (0,)


def jpeg(film: Film) -> Film:
    return cv2.imdecode(cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


def resized(film: Film, scale: float) -> Film:
    return cv2.resize(film, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def windowed(film: Film, low: float, high: float) -> Film:
    return np.rint(np.clip((film.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def gamma(film: Film) -> Film:
    return np.rint(255 * (film / 255.0) ** 0.7).astype(np.uint8)


def cropped(film: Film, above: float, below: float, left: float, right: float) -> Film:
    rows, columns = film.shape
    return film[round(above * rows) : round((1 - below) * rows), round(left * columns) : round((1 - right) * columns)]


def framed(film: Film) -> Film:
    edge = film.shape[0] // 16
    return cv2.copyMakeBorder(film, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=[0])


COPIES: dict[str, Callable[[Film], Film]] = {
    "JPEG quality 60": jpeg,
    "half the size": lambda film: resized(film, 0.5),
    "1.7 times the size": lambda film: resized(film, 1.7),
    "narrower window": lambda film: windowed(film, 30, 215),
    "wider window": lambda film: windowed(film, -40, 300),
    "gamma 0.7": gamma,
    "cropped by 2 %": lambda film: cropped(film, 0.02, 0.02, 0.02, 0.02),
    "cropped by 4 %": lambda film: cropped(film, 0.04, 0.04, 0.04, 0.04),
    "cropped by 4 % above and left": lambda film: cropped(film, 0.04, 0, 0.04, 0),
    "framed in black": framed,
    "all at once": lambda film: jpeg(resized(windowed(cropped(film, 0.03, 0.02, 0.02, 0.04), 20, 230), 0.6)),
}


def shown(film: Film) -> Pixels:
    return read_scan_bytes(png_bytes(film), side=448).pixels[0]


@pytest.fixture(scope="module")
def films(shared_data: Path) -> dict[str, tuple[str, Film]]:
    """Patient and film by the film's name."""
    folder = shared_data / "hannover"
    if not folder.is_dir():
        missing("../shared/data/hannover")
    with (folder / "data.csv").open(newline="") as table:
        patients = {row["image_id"]: row["patient_id"] for row in csv.DictReader(table)}
    read = {name: cv2.imread(str(folder / "png" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in patients}
    return {name: (patients[name], film) for name, film in read.items()}


@pytest.fixture(scope="module")
def stored(films: dict[str, tuple[str, Film]]) -> list[str]:
    return [perceptual_hash(shown(film)) for _, film in films.values()]


@pytest.mark.slow
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_a_film_is_known_again(films: dict[str, tuple[str, Film]], stored: list[str], copy: str) -> None:
    every = list(films.values())
    distances = [picture_distances(shown(COPIES[copy](every[i][1])), [stored[i]])[0] for i in range(0, len(every), 6)]
    assert max(distances) <= SAME_PICTURE_DISTANCE, f"{copy}: farthest {max(distances)}"


@pytest.mark.slow
def test_a_full_picture_finds_its_cropped_copy(films: dict[str, tuple[str, Film]]) -> None:
    for _, film in list(films.values())[::8]:
        kept = perceptual_hash(shown(cropped(film, 0.04, 0.02, 0.03, 0.04)))
        assert picture_distances(shown(film), [kept])[0] <= SAME_PICTURE_DISTANCE


@pytest.mark.slow
def test_different_films_are_told_apart(films: dict[str, tuple[str, Film]], stored: list[str]) -> None:
    distances: Any = np.array([picture_distances(shown(film), stored) for _, film in films.values()])
    patients = np.array([patient for patient, _ in films.values()])
    same_patient = patients[:, None] == patients[None]
    other_film = ~np.eye(len(films), dtype=bool)
    assert int((distances[~same_patient] <= SAME_PICTURE_DISTANCE).sum()) == 0
    assert distances[~same_patient].min() > 1.5 * SAME_PICTURE_DISTANCE
    assert int((distances[same_patient & other_film] <= SAME_PICTURE_DISTANCE).sum()) == 0
