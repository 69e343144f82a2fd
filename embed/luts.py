"""Stored values -> what they mean -> grey: modality LUT, VOI LUT and windows."""

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import ExplicitVRBigEndian

from embed.dicom import items_of, numbers, short
from embed.scan import DamagedScan, Flag, Pixels

WINDOW_PERCENTILES = (0.5, 99.5)  # where a file states no usable window
LARGEST_VALUE = 1e30  # of modality values: beyond, differences leave float32, and no scanner gets near
VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")  # (0028,1056), PS3.3 C.11.2.1.3
LEAST_CONTRAST = 0.02  # of the grey range, between the 5th and 95th percentile, for a window to be believed


def apply_modality_lut(stored: Pixels, ds: pydicom.Dataset) -> tuple[Pixels, str]:
    """Stored values -> modality values, by the Modality LUT Sequence or rescale slope and intercept (PS3.3 C.11.1)."""
    luts = items_of(ds, "ModalityLUTSequence")
    if luts:
        table, first, _ = _table_of(luts[0], ds)
        return _look_up(stored, table, first), f"modality LUT: table of {len(table)} (PS3.3 C.11.1.1)"
    slope, intercept = rescale_of(ds)
    if (slope, intercept) == (1, 0):
        return stored, "modality LUT: identity"
    if max(abs(slope) * float(np.abs(stored).max()), abs(intercept)) > LARGEST_VALUE:
        raise DamagedScan("damaged-lut", f"rescale ×{slope:g} {intercept:+g} leads beyond what can be computed with")
    values = stored * np.float32(slope) + np.float32(intercept)
    return values, f"modality LUT: ×{slope:g} {intercept:+g} (PS3.3 C.11.1.1)"


def rescale_of(ds: pydicom.Dataset) -> tuple[float, float]:
    """(Rescale Slope, Rescale Intercept), 1 and 0 where not stated. Raises `DamagedScan` for a slope of 0 or words."""
    for keyword in ("RescaleSlope", "RescaleIntercept"):  # pydicom gives words where it finds no number, and goes on
        if str(ds.get(keyword) or "").strip() and not numbers(ds.get(keyword)):
            raise DamagedScan("damaged-lut", f"{keyword} is no number; the pixels' values cannot be known")
    slope, intercept = numbers(ds.get("RescaleSlope")), numbers(ds.get("RescaleIntercept"))
    if slope and slope[0] == 0:
        raise DamagedScan("damaged-lut", "(0028,1053) Rescale Slope is 0; every pixel would have the same value")
    return (slope[0] if slope else 1.0), (intercept[0] if intercept else 0.0)


@np.errstate(over="ignore", invalid="ignore")  # a window beyond float32 leaves no contrast, and is not believed
def apply_voi_lut(
    values: Pixels, ds: pydicom.Dataset, *, ignore: npt.NDArray[np.bool_] | None = None
) -> tuple[Pixels, str, list[Flag]]:
    """Modality values -> (grey from 0 to 1, the step, flags), by the first VOI LUT, else window, else percentiles.

    A window that leaves the picture without contrast is not believed: percentiles are used and that is flagged.
    """
    luts = items_of(ds, "VOILUTSequence")
    if luts:
        table, first, bits = _table_of(luts[0], ds)
        top = max(float(table.max()), 2.0**bits - 1)
        grey = _look_up(values, table, first) / np.float32(top)
        step = f"VOI LUT: table of {len(table)} (PS3.3 C.11.2.1.1)"
        if has_contrast(grey):
            return grey, step, _several(len(luts), "VOI LUTs")
        return percentile_window(
            values, Flag("window-unusable", f"{step} leaves no contrast; percentiles used"), ignore
        )
    centres, widths = numbers(ds.get("WindowCenter")), numbers(ds.get("WindowWidth"))
    if not centres or not widths:
        return percentile_window(values, Flag("no-window", "no window stated; percentiles used"), ignore)
    function = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in VOI_FUNCTIONS:
        why = f"(0028,1056) VOI LUT Function is none of {', '.join(VOI_FUNCTIONS)}; percentiles used"
        return percentile_window(values, Flag("window-unusable", why), ignore)
    step = f"VOI window: centre {centres[0]:g} width {widths[0]:g} {function} (PS3.3 C.11.2.1.2)"
    if (widths[0] < 1 and function == "LINEAR") or widths[0] <= 0:
        why = f"window width {widths[0]:g} is not allowed; percentiles used"
        return percentile_window(values, Flag("window-unusable", why), ignore)
    grey = window(values, centre=centres[0], width=widths[0], function=function)
    if not has_contrast(grey):
        return percentile_window(
            values, Flag("window-unusable", f"{step} leaves no contrast; percentiles used"), ignore
        )
    return grey, step, _several(len(centres), "windows")


def window(values: Pixels, *, centre: float, width: float, function: str = "LINEAR") -> Pixels:
    """Grey from 0 to 1 by a window of one of `VOI_FUNCTIONS` (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    assert function in VOI_FUNCTIONS
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - np.float32(centre)) / np.float32(width), -80, 80)
        return 1 / (1 + np.exp(exponent, dtype=np.float32))
    if function == "LINEAR_EXACT":
        return np.clip((values - np.float32(centre)) / np.float32(width) + np.float32(0.5), 0, 1)
    slope = 1 / max(width - 1, 1e-6)  # a width of 1 is a threshold
    return np.clip((values - np.float32(centre - 0.5)) * np.float32(slope) + np.float32(0.5), 0, 1)


def percentile_window(
    values: Pixels, flag: Flag, ignore: npt.NDArray[np.bool_] | None = None
) -> tuple[Pixels, str, list[Flag]]:
    """(grey from 0 to 1 between two percentiles, the step, the flag that says why). Raises `DamagedScan` if all is one value."""
    kept = values if ignore is None or ignore.all() else values[~ignore]
    low, high = np.percentile(kept, WINDOW_PERCENTILES)
    if high <= low:
        low, high = kept.min(), kept.max()
    if high <= low:
        raise DamagedScan("blank", f"every pixel has the same value ({low:g}); there is nothing to see")
    grey = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    step = f"window from percentiles {WINDOW_PERCENTILES[0]}–{WINDOW_PERCENTILES[1]}: {low:g} to {high:g}"
    return grey, step, [flag]


def has_contrast(grey: Pixels) -> bool:
    low, high = np.percentile(grey, (5, 95))
    return bool(high - low > LEAST_CONTRAST)


def _table_of(item: pydicom.Dataset, ds: pydicom.Dataset) -> tuple[Pixels, int, int]:
    """(entries, first value mapped, bits per entry) of a LUT item of `ds` (PS3.3 C.11.1.1.1)."""
    words = ">u2" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<u2"  # pydicom leaves OW as it lies
    try:
        length, first, bits = (int(number) for number in item.LUTDescriptor)
        length = length or 2**16
        if ds.PixelRepresentation == 1 and first >= 2**15:
            first -= 2**16  # the descriptor was written as unsigned beside signed pixels
        raw = item.LUTData
        if isinstance(raw, bytes):
            table = np.frombuffer(raw, np.uint8 if len(raw) < 2 * length else words, count=length)
        else:
            table = np.atleast_1d(np.asarray(raw))
        if not 0 < length <= 2**16 or len(table) != length or not 1 <= bits <= 16:
            raise ValueError(f"{len(table)} entries of {bits} bits, {length} declared")
        entries = table.astype(np.float32)
    except (AttributeError, ValueError, TypeError, OverflowError) as error:
        raise DamagedScan("damaged-lut", f"a LUT in the header cannot be read ({short(error)})") from error
    return entries, first, bits


def _look_up(values: Pixels, table: Pixels, first: int) -> Pixels:
    """Linear between the entries, since shrinking made the values fractional; the ends hold beyond the table."""
    looked_up: Pixels = np.interp(values, np.arange(first, first + len(table)), table).astype(np.float32)
    return looked_up


def _several(count: int, what: str) -> list[Flag]:
    return [Flag("several-windows", f"the first of {count} {what} used")] if count > 1 else []
