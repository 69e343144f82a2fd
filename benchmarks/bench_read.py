"""Time of reading a 3000×2500 radiograph our way, against the plain way and against the decoder alone.

Run `python -m benchmarks.bench_read`. The film is 12-bit MONOCHROME1 with rescale and window, smooth anatomy with the
noise of a detector, held in memory in each transfer syntax. *Ours* is `read_scan_bytes` to 448 pixels, hashes, checks and
flags included. *Plain* parses, takes every pixel through modality LUT, window and inversion in float, then shrinks:
once in float64 with pydicom's own functions, once in float32 by hand. *Decoder* is parsing and `pixel_array` with the plug-in that ours uses; *hashes* are the two that ours
includes: XXH3 of the file and of its pixels. They take turns in one process; medians are printed. Targets: plain/ours at least 5 uncompressed, ours/decoder at most 1.15 for JPEG 2000.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import xxhash
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from embed.dicom import PREFERRED_PLUGIN
from embed.read import read_scan_bytes
from tests.films import dicom_dataset, phantom, to_bytes

ROWS, COLUMNS = 3000, 2500
SIDE = 448
PIXEL_BYTES = bytes(2 * ROWS * COLUMNS)
NOISE = 12.0  # of 4096 grey values: quantum noise of a normally exposed film
SYNTAXES = {
    "uncompressed": ExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS lossless": JPEGLSLossless,
    "JPEG 2000 lossless": JPEG2000Lossless,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=9)
    runs = arguments.parse_args().runs
    columns = (
        "",
        "ours",
        "plain f64",
        "plain f32",
        "decoder",
        "hashes",
        "plain f64/ours",
        "plain f32/ours",
        "ours/decoder",
    )
    print(f"{columns[0]:20}" + "".join(f"{column:>16}" for column in columns[1:]) + f"   ms, medians of {runs}")
    for name, syntax in SYNTAXES.items():
        data = film_bytes(syntax)
        ways = (read_ours, read_plain_pydicom, read_plain_float32, decode_only, hash_only)
        ours, float64, float32, decoder, hashes = medians_ms(ways, data, runs=runs)
        times = "".join(f"{value:16.1f}" for value in (ours, float64, float32, decoder, hashes))
        ratios = "".join(f"{value:16.2f}" for value in (float64 / ours, float32 / ours, ours / decoder))
        print(f"{name:20}{times}{ratios}", flush=True)


def film_bytes(syntax: UID) -> bytes:
    smooth = cv2.GaussianBlur(phantom(300, 250).astype(np.float32), (0, 0), 3)
    noise = np.random.default_rng(0).normal(0, NOISE, (ROWS, COLUMNS))
    film = np.clip(cv2.resize(smooth, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC) + noise, 0, 4095)
    ds = dicom_dataset(
        np.rint(4095 - film).astype(np.uint16),
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope=2,
        RescaleIntercept=-100,
        WindowCenter=4000,
        WindowWidth=7000,
    )
    if syntax.is_compressed:
        ds.compress(syntax, generate_instance_uid=False)
    return to_bytes(ds)


def medians_ms(ways: tuple[Callable[[bytes], object], ...], data: bytes, *, runs: int) -> list[float]:
    """Each way's median milliseconds, the ways taking turns so that a busy moment hits all of them."""
    seconds: list[list[float]] = [[] for _ in ways]
    for run in range(runs + 1):
        for taken, way in zip(seconds, ways, strict=True):
            start = time.perf_counter()
            way(data)
            if run > 0:  # the first warms up
                taken.append(time.perf_counter() - start)
    return [1000 * statistics.median(taken) for taken in seconds]


def read_ours(data: bytes) -> object:
    return read_scan_bytes(data, side=SIDE)


def read_plain_pydicom(data: bytes) -> npt.NDArray[Any]:
    ds = pydicom.dcmread(io.BytesIO(data))
    values = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds).astype(np.float64)
    values = (values - values.min()) / (values.max() - values.min())
    return shrunk(1 - values if ds.PhotometricInterpretation == "MONOCHROME1" else values)


def read_plain_float32(data: bytes) -> npt.NDArray[Any]:
    ds = pydicom.dcmread(io.BytesIO(data))
    values = ds.pixel_array.astype(np.float32) * np.float32(ds.RescaleSlope) + np.float32(ds.RescaleIntercept)
    slope = np.float32(1 / (ds.WindowWidth - 1))
    grey = np.clip((values - np.float32(ds.WindowCenter - 0.5)) * slope + np.float32(0.5), 0, 1)
    return shrunk(1 - grey if ds.PhotometricInterpretation == "MONOCHROME1" else grey)


def decode_only(data: bytes) -> npt.NDArray[np.uint16]:
    ds = pydicom.dcmread(io.BytesIO(data))
    return pixel_array(ds, decoding_plugin=PREFERRED_PLUGIN.get(ds.file_meta.TransferSyntaxUID, ""))


def hash_only(data: bytes) -> tuple[bytes, bytes]:
    return xxhash.xxh3_128(data).digest(), xxhash.xxh3_128(PIXEL_BYTES).digest()


def shrunk(grey: npt.NDArray[Any]) -> npt.NDArray[Any]:
    size = (SIDE, round(ROWS * SIDE / COLUMNS))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
