"""The invented hospitals, and the X-ray machines that each of them owns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Voi(Enum):
    """How a file says which of its values are to be seen (PS3.3 C.11.2)."""

    NONE = "none"  # the values are ready to be shown
    WINDOW = "window"  # Window Center and Width
    SIGMOID = "sigmoid"  # the same with VOI LUT Function SIGMOID
    TABLE = "table"  # VOI LUT Sequence


class Border(Enum):
    """What is left of the film outside the collimator."""

    CROPPED = "cropped"
    BLACK = "black"
    WHITE = "white"


@dataclass(frozen=True)
class Scanner:
    manufacturer: str
    model: str
    modality: str  # DX or CR
    bits: int  # stored
    monochrome1: bool
    voi: Voi
    border: Border
    pixel_mm: float
    plate_mm: tuple[float, float]  # height and width of the largest film
    contrast: float  # steepness of the response curve
    equalise: float  # 0..1: how much of the broad shading is taken away
    sharpen: float
    noise: float  # relative noise in the lungs
    rescale: tuple[float, float] | None = None  # slope and intercept, if the files carry them


@dataclass(frozen=True)
class Site:
    trust: str  # as in SubmittingCentre
    hospital: str
    fixed: Scanner  # in the department: PA and lateral films
    portable: Scanner  # on the wards: AP films
    uk_dates: bool = False  # writes DD/MM/YYYY where the data dictionary asks for MM/DD/YYYY


_AUREOLE = Scanner(
    "Aureole Medical",
    "DR 4400",
    "DX",
    14,
    False,
    Voi.SIGMOID,
    Border.CROPPED,
    0.30,
    (420, 420),
    4.2,
    0.35,
    0.7,
    0.012,
)
_AUREOLE_M = Scanner(
    "Aureole Medical",
    "Mobilis 2",
    "DX",
    14,
    True,
    Voi.SIGMOID,
    Border.CROPPED,
    0.32,
    (350, 425),
    3.8,
    0.45,
    0.8,
    0.016,
)
_KESTREL = Scanner(
    "Kestrel Imaging",
    "ClearView 7",
    "DX",
    12,
    True,
    Voi.TABLE,
    Border.BLACK,
    0.32,
    (430, 430),
    4.6,
    0.25,
    0.4,
    0.013,
)
_KESTREL_CR = Scanner(
    "Kestrel Imaging",
    "CR 35-X",
    "CR",
    12,
    True,
    Voi.WINDOW,
    Border.WHITE,
    0.35,
    (350, 430),
    3.6,
    0.15,
    0.3,
    0.021,
)
_NORDLYS = Scanner(
    "Nordlys",
    "Thorax One",
    "DX",
    12,
    False,
    Voi.WINDOW,
    Border.CROPPED,
    0.34,
    (430, 410),
    3.9,
    0.40,
    0.6,
    0.011,
    (1.0, 0.0),
)
_NORDLYS_P = Scanner(
    "Nordlys", "Ward DR", "DX", 12, False, Voi.NONE, Border.BLACK, 0.33, (355, 430), 3.5, 0.50, 0.7, 0.015
)
_FENWICK_CR = Scanner(
    "Fenwick & Hale",
    "Cassette 12",
    "CR",
    12,
    False,
    Voi.WINDOW,
    Border.WHITE,
    0.36,
    (430, 354),
    4.0,
    0.10,
    0.2,
    0.020,
    (0.5, 100.0),
)
_FENWICK = Scanner(
    "Fenwick & Hale",
    "Lumen",
    "DX",
    14,
    False,
    Voi.TABLE,
    Border.CROPPED,
    0.31,
    (425, 420),
    4.4,
    0.30,
    0.5,
    0.012,
)

SITES = (
    Site("Riverside General Hospital NHS Trust", "Riverside", _AUREOLE, _AUREOLE_M),
    Site("St Oswin's University Hospitals NHS Foundation Trust", "St Oswin's Hospital", _KESTREL, _KESTREL_CR),
    Site("Marlow Vale Hospitals NHS Trust", "MVH", _NORDLYS, _NORDLYS_P, uk_dates=True),
    Site("Northmoor and Dale NHS Foundation Trust", "Northmoor General Hospital", _FENWICK, _FENWICK_CR),
    Site("Kingsbarrow Teaching Hospitals NHS Trust", "Kingsbarrow", _KESTREL, _AUREOLE_M),
)
