"""PNG and JPEG pictures of radiographs -> `Scan`."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from embed.border import crop_border
from embed.codestream import check_jpeg_is_whole
from embed.file_hash import file_hash
from embed.film import look_at_film
from embed.identity import identity_of
from embed.prepare import shrink
from embed.scan import DamagedScan, Flag, Pixels, Provenance, Scan, UnsupportedScan

MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I")


def raster_format(data: bytes) -> str | None:
    """ "png" or "jpeg" by the first bytes, whatever the file is called; None for anything else."""
    return next((name for magic, name in MAGIC.items() if data.startswith(magic)), None)


def read_raster(data: bytes, *, side: int) -> Scan:
    """The radiograph in a PNG or JPEG, taken as it shows: white is dense. Raises `DamagedScan` or `UnsupportedScan`."""
    name = raster_format(data)
    if name is None:
        raise UnsupportedScan("not-an-image", "the bytes are neither PNG nor JPEG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=[name.upper()]) as image:
                grey, white, step = _grey_of(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnsupportedScan(
            "too-large", f"the {name.upper()} declares more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        ) from error
    except UnidentifiedImageError as error:
        raise DamagedScan(
            "undecodable-pixels", f"the {name.upper()} has no valid header; send the file again"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DamagedScan(
            "undecodable-pixels", f"the {name.upper()} cannot be decoded ({error}); send the file again"
        ) from error
    if name == "jpeg":
        check_jpeg_is_whole(data)
    small = shrink(grey, side=side)
    if small.max() == small.min():
        raise DamagedScan("blank", f"every pixel has the same value ({small.max():g}); there is nothing to see")
    steps = [f"decoded {grey.shape[1]}×{grey.shape[0]} from {name.upper()}, {step}"]
    if small.shape != grey.shape:
        steps.append(f"area-averaged to {small.shape[1]}×{small.shape[0]}")
    border = crop_border(small / np.float32(white))
    film = look_at_film(border.pixels, view=None, oriented=False, stored_shape=grey.shape)
    steps += [f"grey {white:g} taken as white", *border.steps, *film.steps]
    taken = Flag("picture", "a picture, not DICOM: polarity and window are taken as they show")
    return Scan(
        pixels=film.pixels[None],
        kind="xray",
        modality=None,
        view=None,
        spacing_mm=None,
        provenance=Provenance(
            name,
            file_hash(data),
            tuple(steps),
            (taken, Flag("no-view", "no view stated"), *border.flags, *film.flags),
        ),
        identity=identity_of(grey.astype(np.uint16), film.pixels),
        lungs=film.lungs,
    )


def _grey_of(image: Image.Image) -> tuple[Pixels, float, str]:
    """(grey values (rows, columns), the value of white, what was done); turned as EXIF says."""
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT_MODES:
        grey = np.asarray(image, np.float32)
        bits = next(bits for bits in (10, 12, 14, 16) if grey.max() < 2**bits or bits == 16)
        return grey, 2.0**bits - 1, f"16 bits of grey, of which {bits} are used"
    if image.mode == "L":
        return np.asarray(image).astype(np.float32), 255.0, "8 bits of grey"
    return np.asarray(image.convert("RGB").convert("L")).astype(np.float32), 255.0, f"mode {image.mode} reduced to luma"
