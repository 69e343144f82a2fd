"""Time of reading a 3000×2500 radiograph our way, against the plain way and against the decoder alone; and what the lungs cost.

Run `python -m benchmarks.bench_read`. The film is 12-bit MONOCHROME1 with rescale and window, a virtual patient's chest with the noise
of a detector, held in memory in each transfer syntax. *Ours* is `read_scan_bytes` at the size that the default encoder asks for,
hashes, checks and flags included, less *lungs*, which is looking at the film (`embed.film`), with which the plain way has nothing
to compare. *Plain* parses, takes every pixel through modality LUT, window and inversion in float, then shrinks: once in float64 with
pydicom's own functions, once in float32 by hand. *Decoder* is parsing and `pixel_array` with the plug-in that ours uses; *hashes* are
the two that ours includes: XXH3 of the file and of its pixels. *Encode* is the default encoder. They take turns in one process;
medians are printed. Targets: plain/ours at least 5 uncompressed, ours/decoder at most 1.15 for JPEG 2000, lungs at most 30 % of
ours and encode together.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from embed.encoder import DEFAULT_ENCODER, Encoder, load_encoder
from embed.film import look_at_film
from embed.read import read_scan_bytes
from examples.demo.anatomy import load_anatomy
from examples.lungs.films import iter_patient
from tests.films import dicom_dataset, to_bytes

ROWS, COLUMNS = 3000, 2500
SIDE = 640  # what the default encoder asks for
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
    encoder = load_encoder(DEFAULT_ENCODER)
    columns = (
        "ours",
        "lungs",
        "encode",
        "plain f64",
        "plain f32",
        "decoder",
        "hashes",
        "f64/ours",
        "f32/ours",
        "ours/decoder",
        "lungs share",
    )
    print(f"{'':20}" + "".join(f"{column:>13}" for column in columns) + f"   ms, medians of {runs}")
    for name, syntax in SYNTAXES.items():
        whole, lungs, encode, float64, float32, decoder, hashes = measured(film_bytes(syntax), encoder, runs=runs)
        ours = whole - lungs
        times = "".join(f"{value:13.1f}" for value in (ours, lungs, encode, float64, float32, decoder, hashes))
        shares = (float64 / ours, float32 / ours, ours / decoder, lungs / (ours + encode))
        print(f"{name:20}{times}" + "".join(f"{value:13.2f}" for value in shares), flush=True)


def measured(data: bytes, encoder: Encoder, *, runs: int) -> list[float]:
    """Medians in ms: all of our reading, of it looking at the film, encoding, the two plain ways, the decoder, the hashes."""
    scan = read_scan_bytes(data, side=encoder.side)
    assert scan.lungs is not None
    ways = (
        lambda: read_scan_bytes(data, side=encoder.side),
        partial(look_at_film, scan.pixels[0], view=scan.view, oriented=False, stored_shape=(ROWS, COLUMNS)),
        lambda: encoder.encode([scan]),
        lambda: read_plain_pydicom(data),
        lambda: read_plain_float32(data),
        lambda: decode_only(data),
        lambda: hash_only(data),
    )
    return medians_ms(ways, runs=runs)


def film_bytes(syntax: UID) -> bytes:
    picture, _, _ = next(iter_patient(load_anatomy(coarseness=1.5), np.random.default_rng([1, 900_200])))
    smooth = cv2.resize(picture.astype(np.float32) * 16, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, NOISE, (ROWS, COLUMNS))
    film = np.clip(smooth + noise, 0, 4095)
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


def medians_ms(ways: Sequence[Callable[[], object]], *, runs: int) -> list[float]:
    """Each way's median milliseconds, the ways taking turns so that a busy moment hits all of them."""
    seconds: list[list[float]] = [[] for _ in ways]
    for run in range(runs + 1):
        for taken, way in zip(seconds, ways, strict=True):
            start = time.perf_counter()
            way()
            if run > 0:  # the first warms up
                taken.append(time.perf_counter() - start)
    return [1000 * statistics.median(taken) for taken in seconds]


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
