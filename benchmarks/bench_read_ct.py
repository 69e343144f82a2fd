"""Time of reading a 500-slice CT series our way, against decoding all of it the plain way with pydicom.

Run `python -m benchmarks.bench_read_ct`. The series is the demonstration's real CT, resampled to 500 slices of 512×512 and
given noise so that it compresses as scanners' images do, written to a temporary folder, once uncompressed and once as
JPEG 2000 lossless. Prints the median seconds of five runs (files in the page cache) and the ratio; a tenth is the target.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless

from embed.bundle import open_bundle
from embed.scan import Scan
from embed.series import choose_series, find_series, read_volume_scan
from examples.demo.anatomy import _data_folder

SIDE = 320
NOISE_HU = 12.0  # of a thin slice through a soft-tissue kernel


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--slices", type=int, default=500)
    arguments.add_argument("--runs", type=int, default=5)
    given = arguments.parse_args()
    print(f"{'':22}{'all, plain':>12}{'ours':>10}{'ratio':>8}   seconds, median of {given.runs}")
    for name, syntax in (("uncompressed", ExplicitVRLittleEndian), ("JPEG 2000 lossless", JPEG2000Lossless)):
        with tempfile.TemporaryDirectory() as place:
            write_series(Path(place), slices=given.slices, syntax=syntax)
            plain = median_seconds(lambda: decode_all(Path(place)), runs=given.runs)
            ours = median_seconds(lambda: read_ours(Path(place)), runs=given.runs)
        print(f"{name:22}{plain:12.3f}{ours:10.3f}{ours / plain:8.3f}", flush=True)


def median_seconds(work: Callable[[], object], *, runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def read_ours(folder: Path) -> Scan:
    found, _ = find_series(open_bundle([folder]).members)
    series, why = choose_series(found)
    return read_volume_scan(series, side=SIDE, chosen=why)


def decode_all(folder: Path) -> npt.NDArray[np.float32]:
    slices = []
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        hu = ds.pixel_array.astype(np.float32) * np.float32(ds.RescaleSlope) + np.float32(ds.RescaleIntercept)
        slices.append((float(ds.ImagePositionPatient[2]), hu))
    return np.stack([hu for _, hu in sorted(slices, key=lambda pair: pair[0])])


def write_series(folder: Path, *, slices: int, syntax: UID) -> None:
    image = nibabel.load(_data_folder() / "cxr.nii.gz")
    hu = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)[:, ::-1]  # feet to head, front to back
    spacing = float(image.header.get_zooms()[2]) * (len(hu) - 1) / (slices - 1)
    rng = np.random.default_rng(0)
    for number, place in enumerate(np.linspace(0, len(hu) - 1, slices)):
        low = min(int(place), len(hu) - 2)
        plane = hu[low] + (place - low) * (hu[low + 1] - hu[low])
        noise = cv2.GaussianBlur(rng.normal(0, 2 * NOISE_HU, plane.shape).astype(np.float32), (0, 0), 0.6)
        stored = np.rint(np.where(plane > -2000, plane + noise, -2048)).clip(-2048, 3071).astype(np.int16)
        ds = ct_dataset(stored, number=number, z_mm=number * spacing, spacing_mm=spacing)
        if syntax == JPEG2000Lossless:
            ds.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        ds.save_as(folder / f"{(number * 7919) % slices:04}-{number}.dcm", enforce_file_format=True)


def ct_dataset(stored: npt.NDArray[np.int16], *, number: int, z_mm: float, spacing_mm: float) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"2.25.7.{number + 1}")
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.5", "2.25.6", "2.25.8"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Modality, ds.PatientID, ds.StudyDate, ds.SeriesNumber = "CT", "bench", "20200401", 2
    ds.Manufacturer, ds.ManufacturerModelName, ds.KVP, ds.ConvolutionKernel = "Bench", "Bench CT", "120", "B60f"
    ds.InstanceNumber, ds.SliceThickness, ds.PatientPosition = number + 1, f"{spacing_mm:.4f}", "HFS"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-180, -180, round(z_mm, 4)], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = [0.703, 0.703], 1, 0, "HU"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelData = stored.tobytes()
    return ds


if __name__ == "__main__":
    main()
