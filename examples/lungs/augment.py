"""What can happen to a film on its way to the lung finder, drawn at random: pose, exposure, borders, markers, tubes, wrong turns."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from embed.prepare import squash, stretch
from examples.demo.anatomy import Float
from examples.lungs.films import grey_of
from examples.lungs.network import SIDE

Bits = npt.NDArray[np.uint8]

INVERTED, MIRRORED, TURNED, ZOOMED, DRAWN = 0.15, 0.1, 0.15, 0.06, 0.06  # shares of the samples


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture as the network gets it, and what it should answer; nan: not asked."""

    picture: Float  # (SIDE, SIDE), 0 to 1
    lungs: Float  # (2, SIDE, SIDE): on the picture's left and right
    lungs_known: bool
    frontal: bool
    inverted: float
    mirrored: float
    turns: int  # −1: not asked


def draw_sample(rng: np.random.Generator, picture: Bits, mask: Bits | None, *, frontal: bool) -> Sample:
    """A variation of `picture` (rows, columns); `mask` None: its lungs are not known, or there are none to find."""
    if rng.random() < DRAWN:
        return _nothing(rng, _drawn(rng))
    if frontal and rng.random() < ZOOMED:
        return _nothing(rng, _zoomed(rng, picture))
    bits = np.zeros(picture.shape, np.uint8) if mask is None else mask
    grey, bits = _posed(rng, grey_of(picture), bits)
    grey = _exposed(rng, _bordered(rng, _with_objects(rng, grey)))
    lungs = np.stack([(bits & bit > 0).astype(np.float32) for bit in (1, 2)])
    mirrored, turns = False, 0
    if rng.random() < MIRRORED:
        grey, lungs, mirrored = grey[:, ::-1], lungs[::-1, :, ::-1], True
    if rng.random() < TURNED:
        turns = int(rng.integers(1, 4))
        grey = np.rot90(grey, turns)
    inverted = bool(rng.random() < INVERTED)
    grey = 1 - grey if inverted else grey
    return Sample(
        picture=stretch(squash(np.ascontiguousarray(grey), side=SIDE)),
        lungs=np.stack([cv2.resize(np.ascontiguousarray(one), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in lungs]),
        lungs_known=(mask is not None or not frontal) and turns == 0,
        frontal=frontal,
        inverted=float(inverted) if frontal else np.nan,
        mirrored=float(mirrored) if frontal and turns == 0 else np.nan,
        turns=turns if frontal else -1,
    )  # fmt: skip


def _nothing(rng: np.random.Generator, grey: Float) -> Sample:
    picture = stretch(squash(_exposed(rng, grey), side=SIDE))
    return Sample(picture, np.zeros((2, SIDE, SIDE), np.float32), True, False, np.nan, np.nan, -1)


def _zoomed(rng: np.random.Generator, picture: Bits) -> Float:
    """A part of a film that shows one lung at most."""
    rows, columns = picture.shape
    high, wide = (int(size * rng.uniform(0.2, 0.42)) for size in (rows, columns))
    top, left = int(rng.integers(rows - high)), int(rng.integers(columns - wide))
    return grey_of(picture[top : top + high, left : left + wide])


def _drawn(rng: np.random.Generator) -> Float:
    """Noise of some coarseness, with shapes and letters: a test picture, a report, a photograph."""
    coarse = rng.random((int(rng.integers(2, 40)), int(rng.integers(2, 40))), dtype=np.float32)
    grey = cv2.resize(coarse, (SIDE, SIDE), interpolation=int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_CUBIC])))
    grey *= np.float32(rng.uniform(0, 1))
    for _ in range(int(rng.integers(0, 12))):
        level = float(rng.random())
        points = [(int(x), int(y)) for x, y in rng.integers(0, SIDE, (2, 2))]
        shape = int(rng.integers(3))
        thick = int(rng.choice([-1, 1, 3]))
        if shape == 0:
            cv2.rectangle(grey, points[0], points[1], level, thick)
        elif shape == 1:
            axes = (int(rng.integers(4, 60)), int(rng.integers(4, 60)))
            cv2.ellipse(grey, points[0], axes, float(rng.uniform(0, 180)), 0, 360, level, thick)
        else:
            _write(
                grey, "REPORT 12"[: int(rng.integers(1, 10))], points[0], size=float(rng.uniform(0.3, 1.5)), level=level
            )
    return grey


def _write(grey: Float, words: str, where: tuple[int, int], *, size: float, level: float) -> None:
    letters = np.zeros(grey.shape, np.uint8)
    cv2.putText(letters, words, where, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
    ink = letters.astype(np.float32) / 255
    grey += ink * (np.float32(level) - grey)


def _posed(rng: np.random.Generator, grey: Float, bits: Bits) -> tuple[Float, Bits]:
    """Turned a little, moved, enlarged in either direction; what comes in from outside is black, grey or the edge repeated."""
    rows, columns = grey.shape
    angle = np.deg2rad(rng.normal(0, 5))
    sideways, upright = rng.uniform(0.85, 1.15, 2) * rng.uniform(0.75, 1.35)
    shear = rng.normal(0, 0.04)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[sideways, shear], [0, upright]])
    middle = np.array([columns / 2, rows / 2])
    move = middle + rng.uniform(-0.1, 0.1, 2) * (columns, rows) - matrix @ middle
    affine = np.column_stack([matrix, move])
    border = int(rng.choice([cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT]))
    size, value = (columns, rows), float(rng.choice([0.0, 0.0, 1.0, rng.random()]))
    moved = cv2.warpAffine(grey, affine, size, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=value)
    kept = cv2.warpAffine(bits, affine, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return moved, kept


def _with_objects(rng: np.random.Generator, grey: Float) -> Float:
    """Tubes, wires, markers, a pacemaker, a patch that hides what lies under it."""
    rows, columns = grey.shape
    drawn = grey.copy()
    for _ in range(int(rng.poisson(1.2))):
        start, end, bend = rng.uniform(-0.1, 1.1, (3, 2)) * (columns, rows)
        along = np.linspace(0, 1, 30)[:, None]
        curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * end
        level = float(rng.uniform(0.6, 1.1))
        cv2.polylines(drawn, [curve.round().astype(np.int32)], False, level, int(rng.integers(1, 3)), cv2.LINE_AA)
    if rng.random() < 0.5:
        where = (int(rng.uniform(0, 0.9) * columns), int(rng.uniform(0.05, 1) * rows))
        words = str(rng.choice(["L", "R", "AP", "PORTABLE", "SUPINE 08:15"]))
        _write(drawn, words, where, size=float(rng.uniform(0.3, 0.8)), level=float(rng.choice([1.0, 0.0])))
    if rng.random() < 0.25:
        centre = (int(rng.uniform(0.1, 0.9) * columns), int(rng.uniform(0.1, 0.9) * rows))
        axes = (int(rng.integers(5, 22)), int(rng.integers(5, 26)))
        cv2.ellipse(
            drawn, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.3, 1.1)), -1, cv2.LINE_AA
        )
        drawn = drawn * 0.8 + grey * 0.2 if rng.random() < 0.5 else drawn
    return drawn


def _bordered(rng: np.random.Generator, grey: Float) -> Float:
    """A collimator's strips along some edges, askew."""
    if rng.random() < 0.6:
        return grey
    rows, columns = grey.shape
    top, right, bottom, left = rng.uniform(0, 0.12, 4) * (rng.random(4) < 0.5)
    box = ((columns * (1 + left - right) / 2, rows * (1 + top - bottom) / 2),
           (columns * (1 - left - right), rows * (1 - top - bottom)), float(rng.normal(0, 2)))  # fmt: skip
    inside = np.zeros(grey.shape, np.float32)
    cv2.fillPoly(inside, [cv2.boxPoints(box).round().astype(np.int32)], 1.0)
    return grey * inside + np.float32(rng.choice([0.0, 0.0, 1.0])) * (1 - inside)


def _exposed(rng: np.random.Generator, grey: Float) -> Float:
    """Another exposure, machine and detector: response curve, shading, local contrast, blur, noise."""
    rows, columns = grey.shape
    grey = np.clip(grey, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.35)))
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    grey = grey + np.float32(rng.normal(0, 0.1)) * x + np.float32(rng.normal(0, 0.1)) * y
    if rng.random() < 0.3:
        levels = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
        cells = int(rng.integers(2, 7))
        equal = cv2.createCLAHE(float(rng.uniform(1, 4)), (cells, cells)).apply(levels)
        grey = equal.astype(np.float32) / 255
    if rng.random() < 0.3:
        wide = float(rng.uniform(6, 30))
        grey = grey - np.float32(rng.uniform(0.2, 0.8)) * (
            cv2.GaussianBlur(grey, (0, 0), wide) - np.float32(grey.mean())
        )
    if rng.random() < 0.4:
        grey = cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.4, 2.0)))
    noise = rng.standard_normal(grey.shape, dtype=np.float32) * np.float32(rng.exponential(0.025))
    exposed: Float = np.clip(grey + noise, -0.5, 1.5).astype(np.float32)
    return exposed
