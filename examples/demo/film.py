"""A film from a projection: exposure, scatter, noise, the machine's processing, and what is stuck on or burned in."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from examples.demo.anatomy import Float, Labels
from examples.demo.radiograph import View
from examples.demo.scanners import Border, Scanner

_SCATTER_MM = 45.0
_EQUALISE_MM = 28.0
_SHARPEN_MM = 1.6


@dataclass(frozen=True)
class Technique:
    """How one exposure was made; drawn afresh for every film."""

    view: View
    scatter: float  # scattered over direct radiation behind the mediastinum: more without a grid
    dose: float  # 1.0 is the machine's usual
    brightness: float  # shift of the whole film, in fractions of its useful range
    contrast: float  # factor on the machine's own
    collimator: tuple[float, float, float, float]  # margins at top, right, bottom, left, as fractions of the film
    collimator_degrees: float
    leads: bool  # ECG electrodes and wires
    caption: str  # burned in, or ""
    marker_right: bool  # an R on the patient's right, otherwise an L on the left
    seed: int


def draw_technique(rng: np.random.Generator, view: View) -> Technique:
    portable = view is View.AP
    captions = ["", "", "AP ERECT", "PORTABLE", "SUPINE", "AP SITTING"] if portable else [""]
    margins = rng.uniform(0.0, 0.05 if portable else 0.035, 4)
    return Technique(
        view=view,
        scatter=float(rng.uniform(0.5, 1.1) if portable else rng.uniform(0.2, 0.5)),
        dose=float(rng.lognormal(-0.2 if portable else 0.0, 0.35)),
        brightness=float(rng.normal(0, 0.055)),
        contrast=float(np.clip(rng.normal(1.0, 0.10), 0.75, 1.3)),
        collimator=(float(margins[0]), float(margins[1]), float(margins[2]), float(margins[3])),
        collimator_degrees=float(rng.normal(0, 1.2)),
        leads=bool(portable and rng.random() < 0.6),
        caption=str(rng.choice(captions)),
        marker_right=bool(rng.random() < 0.5),
        seed=int(rng.integers(2**31)),
    )


def expose(path: Float, scanner: Scanner, technique: Technique, *, path_mm: float, pixel_mm: float) -> Float:
    """Return the film as (rows, columns) float32: 0..1 is the useful range, bright = dense, values may lie outside.

    `path` is the line integral of attenuation at `path_mm`; the film has pixels of `pixel_mm`.
    """
    rng = np.random.default_rng(technique.seed)
    direct = np.exp(-path)
    spread = _blurred(direct, _SCATTER_MM / path_mm)
    signal = -np.log(direct + technique.scatter * (0.35 * spread + 0.012))
    signal -= scanner.equalise * 0.8 * (_blurred(signal, _EQUALISE_MM / path_mm) - float(signal.mean()))
    low, high = _useful_range(signal, path)
    shape = (round(path.shape[1] * path_mm / pixel_mm), round(path.shape[0] * path_mm / pixel_mm))
    quiet = cv2.resize(((signal - low) / (high - low)).astype(np.float32), shape, interpolation=cv2.INTER_CUBIC)
    film = 0.06 + 0.86 * quiet + technique.brightness
    if technique.leads:
        film += _leads(rng, film.shape, pixel_mm)
    film += _noise(rng, film, scanner.noise / np.sqrt(technique.dose))
    film += scanner.sharpen * (film - cv2.GaussianBlur(film, (0, 0), _SHARPEN_MM / pixel_mm))
    _burn_in(film, technique, pixel_mm)
    return _collimated(film, scanner.border, technique)


def tone(film: Float, contrast: float) -> Float:
    """The response curve: 0..1 to 0..1, an S of the given steepness about the middle."""
    ends = np.tanh(contrast / 4)
    curve: Float = (0.5 + 0.5 * np.tanh(contrast / 2 * (np.clip(film, 0, 1) - 0.5)) / ends).astype(np.float32)
    return curve


def _useful_range(signal: Float, path: Float) -> tuple[float, float]:
    """What the machine finds to be lung and mediastinum: percentiles of the body, away from the film's edges."""
    rows, columns = signal.shape
    centre = (slice(rows // 10, rows * 9 // 10), slice(columns // 8, columns * 7 // 8))
    body = signal[centre][path[centre] > 0.5]
    low, high = np.percentile(body if body.size else signal, [1.5, 98.0])
    return float(low), float(max(high, low + 0.5))


def _noise(rng: np.random.Generator, film: Float, relative: float) -> Float:
    """Quantum noise in the logarithm of exposure: more where fewer photons arrive, a little blurred by the detector."""
    white = cv2.GaussianBlur(rng.standard_normal(film.shape, dtype=np.float32), (0, 0), 0.7)
    noise: Float = white * np.float32(1.8 * relative) * (0.6 + np.clip(film, 0, 1.2))
    return noise


def _leads(rng: np.random.Generator, shape: tuple[int, ...], pixel_mm: float) -> Float:
    """Three or so electrodes with their wires."""
    rows, columns = shape
    drawn = np.zeros((rows, columns), np.uint8)  # 250 is opaque
    scale = 1 / pixel_mm
    for x, y in [(0.2, 0.2), (0.8, 0.2), (0.78, 0.72), (0.25, 0.75)][: int(rng.integers(2, 5))]:
        start = np.array([columns * (x + rng.normal(0, 0.05)), rows * (y + rng.normal(0, 0.06))])
        end = np.array([columns * rng.uniform(0.1, 0.9), rows * rng.choice([-0.02, 1.02])])
        bend = (start + end) / 2 + rng.normal(0, 0.12, 2) * columns
        along = np.linspace(0, 1, 60)[:, None]
        curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * bend + along**2 * end
        cv2.polylines(drawn, [curve.round().astype(np.int32)], False, 70, max(1, round(0.9 * scale)), cv2.LINE_AA)
        centre = (int(start[0]), int(start[1]))
        cv2.circle(drawn, centre, round(4.5 * scale), 35, -1, cv2.LINE_AA)
        cv2.circle(drawn, centre, round(1.8 * scale), 125, -1, cv2.LINE_AA)
    soft: Float = cv2.GaussianBlur(drawn.astype(np.float32) / 250, (0, 0), max(0.5, 0.3 * scale))
    return soft


def _burn_in(film: Float, technique: Technique, pixel_mm: float) -> None:
    """Side marker and caption, in place."""
    rows, columns = film.shape
    rng = np.random.default_rng(technique.seed + 1)
    size = 1.0 / pixel_mm / 3.0
    letter = "R" if technique.marker_right and technique.view is not View.LATERAL else "L"
    x = 0.07 if letter == "R" else 0.88
    where = (int(columns * (x + rng.uniform(-0.02, 0.03))), int(rows * rng.uniform(0.10, 0.22)))
    drawn = np.zeros((rows, columns), np.uint8)
    _write(drawn, letter, where, size=1.9 * size, thickness=4 * size)
    if technique.caption:
        below = (int(columns * rng.choice([0.06, 0.62])), int(rows * rng.choice([0.07, 0.95])))
        _write(drawn, technique.caption, below, size=0.95 * size, thickness=2 * size)
    lead = drawn.astype(np.float32) / 255
    film += lead * (1.12 - film)


def _write(drawn: Labels, text: str, where: tuple[int, int], *, size: float, thickness: float) -> None:
    cv2.putText(drawn, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, 255, max(1, round(thickness)), cv2.LINE_AA)


def _collimated(film: Float, border: Border, technique: Technique) -> Float:
    top, right, bottom, left = technique.collimator
    rows, columns = film.shape
    first_row, last_row = int(top * rows), rows - int(bottom * rows)
    first_column, last_column = int(left * columns), columns - int(right * columns)
    if border is Border.CROPPED:
        return np.ascontiguousarray(film[first_row:last_row, first_column:last_column])
    middle = ((first_column + last_column) / 2, (first_row + last_row) / 2)
    field = (
        middle,
        (float(last_column - first_column), float(last_row - first_row)),
        technique.collimator_degrees,
    )
    drawn = np.zeros(film.shape, np.uint8)
    cv2.fillPoly(drawn, [cv2.boxPoints(field).round().astype(np.int32)], 255, cv2.LINE_AA)
    inside = cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), 1.5)
    outside = -0.2 if border is Border.BLACK else 1.08
    shuttered: Float = (film * inside + outside * (1 - inside)).astype(np.float32)
    return shuttered


def _blurred(image: Float, sigma: float) -> Float:
    """A wide blur, made on a quarter of the grid; beyond the edges the picture goes on as it was there."""
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), sigma / 4, borderType=cv2.BORDER_REPLICATE)
    blurred: Float = cv2.resize(wide, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return blurred
