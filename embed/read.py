"""One file on disk or in memory -> `Scan`, by what its bytes are, whatever it is called."""

from pathlib import Path

from embed.dicom import is_dicom, read_dicom
from embed.raster import raster_format, read_raster
from embed.scan import Scan, ScanError, UnsupportedScan


def read_scan(path: Path, *, side: int) -> Scan:
    """The scan in one file, its shorter side at most `side` pixels. Raises `ScanError`, for a missing file too."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ScanError("missing-file", f"{path}: no such file") from error
    except OSError as error:
        raise ScanError("unreadable-file", f"{path}: {error.strerror}") from error
    return read_scan_bytes(data, side=side)


def read_scan_bytes(data: bytes, *, side: int) -> Scan:
    """The scan in a file's bytes, as `read_scan`."""
    if not data:
        raise UnsupportedScan("empty-file", "the file is empty")
    if raster_format(data):
        return read_raster(data, side=side)
    if is_dicom(data):
        return read_dicom(data, side=side)
    raise UnsupportedScan("not-an-image", "neither DICOM nor PNG nor JPEG; expected a chest radiograph in one of these")
