"""Windowed radiographs against an independent reader, dcmtk's `dcm2pnm` (Debian package dcmtk), within a grey level."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset

from embed.read import read_scan_bytes
from tests.conftest import missing
from tests.films import dicom_bytes, phantom, to_bytes

WINDOW, VOI_LUT = ["+Wi", "1"], ["+Wl", "1"]  # the first window of the file, its first VOI LUT
FULL_SIZE = 10**6
SIGNED = phantom().astype(np.int16) - 2048


@pytest.fixture(scope="module")
def dcm2pnm() -> str:
    found = shutil.which("dcm2pnm")
    if found is None:
        missing("dcm2pnm of the Debian package dcmtk")
    return str(found)


def as_dcmtk_shows(
    data: bytes, options: list[str], *, dcm2pnm: str, folder: Path
) -> npt.NDArray[np.uint8]:  # (rows, columns)
    film, picture = folder / "film.dcm", folder / "film.pgm"
    film.write_bytes(data)
    subprocess.run(
        [dcm2pnm, "--quiet", "--write-raw-pnm", *options, str(film), str(picture)], check=True, capture_output=True
    )
    return cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)


def assert_agrees(data: bytes, options: list[str], *, dcm2pnm: str, folder: Path) -> None:
    scan = read_scan_bytes(data, side=FULL_SIZE)
    ours = np.rint(scan.pixels[0] * 255).astype(int)
    theirs = without_border(as_dcmtk_shows(data, options, dcm2pnm=dcm2pnm, folder=folder), scan.provenance.steps)
    assert ours.shape == theirs.shape
    assert theirs.std() > 10, "dcmtk shows next to nothing: the comparison would prove little"
    assert np.abs(ours - theirs).max() <= 1


def without_border(picture: npt.NDArray[np.uint8], steps: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """`picture` cropped where the steps say that ours was: dcmtk shows the border."""
    cut = next((step for step in steps if step.startswith("border cropped")), "0, 0, 0, 0")
    above, below, left, right = map(int, re.findall(r"\d+", cut))
    return picture[above : len(picture) - below, left : picture.shape[1] - right]


def lut_item(table: npt.NDArray[Any], *, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(table), first, bits]
    item.LUTData = table.astype("<u2").tobytes()
    return item


RISING = np.rint(4095 * np.linspace(0, 1, 4096) ** 1.5)  # 12 bits
FALLING = RISING[::-1]

FILMS: dict[str, tuple[bytes, list[str]]] = {
    "linear window": (dicom_bytes(phantom(), WindowCenter=2000, WindowWidth=2600), WINDOW),
    "narrow window": (dicom_bytes(phantom(), WindowCenter=2200, WindowWidth=900), WINDOW),
    "the first of two windows": (dicom_bytes(phantom(), WindowCenter=[1800, 300], WindowWidth=[2500, 90]), WINDOW),
    "sigmoid": (
        dicom_bytes(phantom(), WindowCenter=2000, WindowWidth=2600, VOILUTFunction="SIGMOID"),
        [*WINDOW, "+Wfs"],
    ),
    "rescale": (
        dicom_bytes(phantom(), RescaleSlope=1.5, RescaleIntercept=-1000, WindowCenter=2000, WindowWidth=3900),
        WINDOW,
    ),
    "negative slope": (
        dicom_bytes(phantom(), RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2000, WindowWidth=3000),
        WINDOW,
    ),
    "modality LUT": (
        dicom_bytes(
            phantom(), ModalityLUTSequence=[lut_item(RISING, first=0, bits=12)], WindowCenter=1500, WindowWidth=2600
        ),
        WINDOW,
    ),
    "VOI LUT": (
        dicom_bytes(
            phantom(), VOILUTSequence=[lut_item(RISING, first=0, bits=12)], WindowCenter=None, WindowWidth=None
        ),
        VOI_LUT,
    ),
    "VOI LUT shorter than the values": (
        dicom_bytes(phantom(), VOILUTSequence=[lut_item(RISING[::2], first=1000, bits=12)]),
        VOI_LUT,
    ),
    "falling VOI LUT": (dicom_bytes(phantom(), VOILUTSequence=[lut_item(FALLING, first=0, bits=12)]), VOI_LUT),
    "rescale and VOI LUT": (
        dicom_bytes(
            phantom(),
            RescaleSlope=0.5,
            RescaleIntercept=100,
            VOILUTSequence=[lut_item(RISING[::2], first=100, bits=12)],
        ),
        VOI_LUT,
    ),
    "MONOCHROME1": (
        dicom_bytes(phantom(), PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=2600),
        WINDOW,
    ),
    "MONOCHROME1 and VOI LUT": (
        dicom_bytes(
            phantom(),
            PhotometricInterpretation="MONOCHROME1",
            VOILUTSequence=[lut_item(RISING, first=0, bits=12)],
        ),
        VOI_LUT,
    ),
    "signed": (dicom_bytes(SIGNED, WindowCenter=-100, WindowWidth=2600), WINDOW),
    "signed and rescale": (
        dicom_bytes(SIGNED, RescaleSlope=2, RescaleIntercept=50, WindowCenter=0, WindowWidth=5000),
        WINDOW,
    ),
    "signed MONOCHROME1": (
        dicom_bytes(SIGNED, PhotometricInterpretation="MONOCHROME1", WindowCenter=0, WindowWidth=3000),
        WINDOW,
    ),
    "10 bits stored": (dicom_bytes(phantom() >> 2, BitsStored=10, WindowCenter=500, WindowWidth=700), WINDOW),
    "bits stored high up": (dicom_bytes(phantom() << 4, HighBit=15, WindowCenter=2000, WindowWidth=2600), WINDOW),
    "garbage above the bits stored": (
        dicom_bytes(phantom() | 0x3000, WindowCenter=2000, WindowWidth=2600),
        WINDOW,
    ),
    "8 bits": (dicom_bytes((phantom() >> 4).astype(np.uint8), WindowCenter=128, WindowWidth=200), WINDOW),
}


@pytest.mark.parametrize("name", FILMS)
def test_a_windowed_film_looks_as_dcmtk_shows_it(name: str, dcm2pnm: str, tmp_path: Path) -> None:
    data, options = FILMS[name]
    assert_agrees(data, options, dcm2pnm=dcm2pnm, folder=tmp_path)


@pytest.mark.parametrize("pattern", ["1.3.6*.dcm", "warehouse-sample.dcm"])
def test_a_published_warehouse_film_looks_as_dcmtk_shows_it(
    pattern: str, shared_data: Path, dcm2pnm: str, tmp_path: Path
) -> None:
    ds = pydicom.dcmread(next((shared_data / "nccid").glob(pattern)))
    ds.Modality = "DX"  # one of them is a secondary capture, which we refuse as it is
    low, high = np.percentile(ds.pixel_array, (0.5, 99.5))  # no window is stated
    options = ["+Ww", f"{(low + high + 1) / 2:g}", f"{high - low + 1:g}"]  # LINEAR from low to high (PS3.3 C.11.2.1.2)
    assert_agrees(to_bytes(ds), options, dcm2pnm=dcm2pnm, folder=tmp_path)
