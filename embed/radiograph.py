"""DICOM radiographs -> `Scan`: shrink the stored integers, then modality LUT, VOI LUT, polarity, and what to doubt."""

import re

import numpy as np
import numpy.typing as npt
import pydicom

from embed.border import crop_border, crop_stated_field
from embed.dicom import (
    COLOUR,
    GREY,
    Stored,
    decode_frame,
    frame_count,
    header_of,
    numbers,
    photometric,
    require_pixels,
    text_of,
)
from embed.film import look_at_film
from embed.identity import identity_of
from embed.luts import apply_modality_lut, apply_voi_lut
from embed.prepare import shrink
from embed.scan import DamagedScan, Flag, Pixels, Provenance, Scan, UnsupportedScan, View
from embed.view import Confidence, Projection, projection_of

RADIOGRAPHS = ("CR", "DX", "RG")  # computed and digital radiography, and digitised film (PS3.3 C.7.3.1.1.1)
CAPTURES = ("OT", "SC", "")  # a film that was scanned in or sent on as a secondary capture, where its words say chest
CHEST = re.compile(r"CHEST|THORA|LUNG|\bCXR\b")
NOT_A_FILM = re.compile(
    r"\b(CT|CTA|CTPA|HRCT|MRI?|PET|US|ULTRASOUND|DOSE|REPORT|SPINE)\b"
)  # screenshots of other studies
WHOLE_BODY = ("TRUNK", "WHOLEBODY", "RIB", "RIBS", "HEART")  # of which the chest is part
CHEST_WORDS = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")
UP_AND_DOWN = ("F", "H")  # of Patient Orientation: towards the feet, the head
READ_ALONG = (("L", "F"), ("A", "F"), ("P", "F"))  # rows, columns of films as they are read
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def read_radiograph(ds: pydicom.Dataset, *, file_hash: str, side: int) -> Scan:
    """The radiograph in a DICOM data set, whose file has the hash `file_hash`, its shorter side area-averaged down to `side` pixels.

    The stored integers are shrunk before the LUT arithmetic: several times faster than the other way round, and less
    than a grey level of 255 apart at the mean. Raises `UnsupportedScan` or `DamagedScan`.
    """
    if not is_radiograph(ds):
        raise UnsupportedScan(
            "unsupported-modality",
            f"(0008,0060) Modality is {ds.get('Modality')!r}; expected CR, DX, CT or MR of the chest{_capture_hint(ds)}",
        )
    require_pixels(ds)
    stored = decode_frame(ds)
    steps = [f"decoded {stored.shape[1]}×{stored.shape[0]} from {ds.file_meta.TransferSyntaxUID.name}"]
    flags = []
    if ds.get("Modality") not in RADIOGRAPHS:
        flags.append(Flag("secondary-capture", "not the machine's own file: a film scanned in or sent on as a picture"))
    flags += _header_doubts(ds)
    if frame_count(ds) > 1:
        flags.append(Flag("multi-frame", f"the first of {frame_count(ds)} frames used"))
    if photometric(ds) in COLOUR:
        grey, colour_step = _luma(stored, ds, side=side)
        steps.append(colour_step)
        flags.append(
            Flag("colour", f"a colour picture ({photometric(ds)}), perhaps a screenshot; polarity is taken as it shows")
        )
    else:
        grey = _grey_of(stored, ds, steps, flags, side=side)
    if min(grey.shape) < min(stored.shape[:2]):
        steps.insert(1, f"area-averaged to {grey.shape[1]}×{grey.shape[0]}")
    spacing = _spacing_mm(ds, stored.shape[0] / grey.shape[0])
    field = crop_stated_field(grey, ds)
    border = crop_border(field.pixels)
    steps += [*field.steps, *border.steps]
    flags += [*field.flags, *border.flags]
    projection = projection_of(ds)
    along = _stated_orientation(ds, projection.view)
    upright, orientation_step = _as_oriented(border.pixels, along)
    film = look_at_film(upright, view=projection.view, oriented=along is not None, stored_shape=stored.shape[:2])
    steps += [*orientation_step, _projection_step(projection), *film.steps]
    flags += [*_projection_flags(projection), *film.flags]
    if spacing and (film.turns % 2 == 1) != (along is not None and along[0] in UP_AND_DOWN):
        spacing = spacing[0], spacing[2], spacing[1]
    return Scan(
        pixels=film.pixels[None],
        kind="xray",
        modality=text_of(ds, "Modality"),
        view=projection.view,
        spacing_mm=spacing,
        provenance=Provenance("dicom", file_hash, tuple(steps), tuple(flags)),
        header=header_of(ds),
        identity=identity_of(stored, film.pixels),
        lungs=film.lungs,
        projection=projection,
    )


def _header_doubts(ds: pydicom.Dataset) -> list[Flag]:
    """What the header says against this being the film of a chest that is meant to be looked at."""
    flags = []
    part = text_of(ds, "BodyPartExamined") or ""
    if part and not CHEST.search(part.upper()) and part.upper() not in WHOLE_BODY:
        flags.append(Flag("other-body-part", f"(0018,0015) Body Part Examined is {part[:16]!r}, not the chest"))
    if text_of(ds, "PresentationIntentType") == "FOR PROCESSING":
        message = "(0008,0068) Presentation Intent is FOR PROCESSING: the detector's values, not a picture to be read"
        flags.append(Flag("for-processing", message))
    if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
        row = int(ds.Columns) * int(ds.SamplesPerPixel) * int(ds.BitsAllocated) // 8
        beyond = len(ds.PixelData) - row * int(ds.Rows) * frame_count(ds)
        if beyond >= row > 0 and photometric(ds) in GREY:
            message = f"the pixel data is {beyond:,} bytes longer than declared; are the rows and columns right?"
            flags.append(Flag("longer-than-declared", message))
    return flags


def is_radiograph(ds: pydicom.Dataset) -> bool:
    """Whether the header speaks of a radiograph, or of a secondary capture of the chest."""
    modality = text_of(ds, "Modality") or ""
    words = re.sub(r"[\W_]+", " ", " ".join(text_of(ds, keyword) or "" for keyword in CHEST_WORDS).upper())
    captured = modality in CAPTURES and bool(CHEST.search(words)) and not NOT_A_FILM.search(words)
    return modality in RADIOGRAPHS or captured


def _capture_hint(ds: pydicom.Dataset) -> str:
    if (text_of(ds, "Modality") or "") not in CAPTURES:
        return ""
    return ", or a secondary capture whose body part or description says chest and no other kind of study"


def _grey_of(stored: Stored, ds: pydicom.Dataset, steps: list[str], flags: list[Flag], *, side: int) -> Pixels:
    """Grey from 0 to 1, bright = dense; what was done is added to `steps` and `flags`."""
    small, padding = _shrink_stored(stored, ds, side=side)
    if small.min() == small.max():
        raise DamagedScan("blank", f"every pixel has the same value ({small.max():g}); there is nothing to see")
    values, modality_step = apply_modality_lut(small, ds)
    grey, voi_step, voi_flags = apply_voi_lut(values, ds, ignore=padding)
    steps += [modality_step, voi_step]
    flags += voi_flags
    if photometric(ds) == "MONOCHROME1":
        grey = 1 - grey
        steps.append("inverted once: MONOCHROME1 shows low values white (PS3.3 C.7.6.3.1.2)")
    flags += _polarity_conflict(ds)
    if padding.any():
        grey = np.where(padding, np.float32(0), grey)
        steps.append("pixel padding set to air (PS3.3 C.7.5.1.1.2)")
    return grey


def _luma(rgb: Stored, ds: pydicom.Dataset, *, side: int) -> tuple[Pixels, str]:
    palette = photometric(ds) == "PALETTE COLOR"  # whose table fills its type
    top = np.float32(np.iinfo(rgb.dtype).max if palette else 2 ** int(ds.BitsStored) - 1)
    grey = np.stack([shrink(rgb[..., channel], side=side) for channel in range(3)], axis=-1) @ LUMA / top
    if grey.min() == grey.max():
        raise DamagedScan("blank", "every pixel has the same colour; there is nothing to see")
    return grey.astype(np.float32), "colour reduced to luma (ITU-R BT.601)"


def _shrink_stored(stored: Stored, ds: pydicom.Dataset, *, side: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """(stored values as float32, where they are padding), shrunk; padding never bleeds into its neighbours."""
    padding = _padding(stored, ds)
    if padding is None or not padding.any():
        small = shrink(stored, side=side)
        return small, np.zeros(small.shape, bool)
    weight = shrink((~padding).astype(np.float32), side=side)
    total = shrink(np.where(padding, 0, stored).astype(np.float32), side=side)
    return (total / np.maximum(weight, 1e-6)).astype(np.float32), weight < 0.5


def _padding(stored: Stored, ds: pydicom.Dataset) -> npt.NDArray[np.bool_] | None:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2), None where the header declares none."""
    low = _as_stored(ds.get("PixelPaddingValue"), stored)
    if low is None:
        return None
    limit = _as_stored(ds.get("PixelPaddingRangeLimit"), stored)
    if limit is None or limit == low:
        return stored == low
    return (stored >= min(low, limit)) & (stored <= max(low, limit))


def _as_stored(value: object, stored: Stored) -> int | None:
    """A whole number of the header as the pixels write it: some machines write −2000 as 63536 beside signed pixels."""
    if not isinstance(value, int):
        return None
    bits = stored.dtype.itemsize * 8
    return value - 2**bits if stored.dtype.kind == "i" and value >= 2 ** (bits - 1) else value


def _polarity_conflict(ds: pydicom.Dataset) -> list[Flag]:
    """DX pairs MONOCHROME1 with INVERSE and MONOCHROME2 with IDENTITY (PS3.3 C.8.11.3.1.2); photometric wins."""
    shape = ds.get("PresentationLUTShape")
    expected = "INVERSE" if photometric(ds) == "MONOCHROME1" else "IDENTITY"
    if shape in ("INVERSE", "IDENTITY") and shape != expected:
        message = f"{photometric(ds)} with Presentation LUT Shape {shape}: they disagree, the former was followed"
        return [Flag("polarity-conflict", message)]
    return []


def _as_oriented(grey: Pixels, along: tuple[str, str] | None) -> tuple[Pixels, list[str]]:
    """`grey` turned as a film is read, where the header says that it does not lie so: feet below, a frontal one's left on the right."""
    if along is None or along in READ_ALONG:
        return grey, []
    turned, (across, down) = grey, along
    done = []
    if across in UP_AND_DOWN:
        turned, (across, down) = turned.T, (down, across)
        done.append("transposed")
    if across == "R":
        turned = turned[:, ::-1]
        done.append("mirrored")
    if down == "H":
        turned = turned[::-1]
        done.append("set upright")
    step = f"{', '.join(done)}: Patient Orientation is {along[0]}\\{along[1]} (PS3.3 C.7.6.1.1.1)"
    return np.ascontiguousarray(turned), [step]


def _stated_orientation(ds: pydicom.Dataset, view: View | None) -> tuple[str, str] | None:
    """Towards what rows and columns run, ("L", "F") on a frontal film as it is read; None where it is not stated so plainly."""
    along = re.findall(r"[LRHFAP]+", text_of(ds, "PatientOrientation") or "")
    sides = ("A", "P") if view is View.LATERAL else ("L", "R")
    if len(along) == 2 and sorted(one in sides for one in along) == [False, True]:
        one, other = along
        if (other if one in sides else one) in UP_AND_DOWN:
            return one, other
    return None


def _projection_step(projection: Projection) -> str:
    placed = f", {', '.join(projection.placement)}" if projection.placement else ""
    if projection.view is None:
        return f"view: not stated{placed}"
    return f"view: {projection.view} from {projection.source}, confidence {projection.confidence}{placed}"


def _projection_flags(projection: Projection) -> list[Flag]:
    if "decubitus" not in projection.placement:
        return _view_flags(projection)
    lying = Flag("decubitus", "the patient lay on one side: fluid and air lie differently than in other films")
    return [lying, *_view_flags(projection)]


def _view_flags(projection: Projection) -> list[Flag]:
    if projection.conflict:
        return [Flag("view-conflict", projection.conflict)]
    if projection.view is View.LATERAL:
        return [Flag("lateral", f"a lateral film by its {projection.source}; most of an archive is frontal")]
    if projection.confidence is Confidence.NONE:
        return [Flag("no-view", "no view stated")]
    if projection.confidence is not Confidence.HIGH:
        return [
            Flag(
                "view-inferred",
                f"the view {projection.view} was read from {projection.source}, not from a coded element",
            )
        ]
    return []


def _spacing_mm(ds: pydicom.Dataset, scale: float) -> tuple[float, float, float] | None:
    """(0, row, column) spacing at the patient or else the detector, of pixels `scale` times as large; None if not stated."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = numbers(ds.get(keyword))
        if len(spacing) == 2 and min(spacing) > 0:
            return 0.0, spacing[0] * scale, spacing[1] * scale
    return None
