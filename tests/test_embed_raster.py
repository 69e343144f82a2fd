"""PNG and JPEG pictures of films."""

import io

import numpy as np
import pytest
from PIL import Image

from embed.read import read_scan_bytes
from embed.scan import DamagedScan, ScanError
from tests.films import phantom, png_bytes

GREY = (phantom() >> 4).astype(np.uint8)


def test_an_8_bit_picture_is_taken_as_it_shows() -> None:
    scan = read_scan_bytes(png_bytes(GREY), side=4096)
    np.testing.assert_allclose(scan.pixels[0], GREY / 255, atol=1e-6)
    assert scan.view is None and scan.provenance.format == "png"


def test_a_16_bit_picture_keeps_its_depth() -> None:
    deep = phantom() * 16
    scan = read_scan_bytes(png_bytes(deep), side=4096)
    np.testing.assert_allclose(scan.pixels[0], deep / 65535, atol=1e-6)


def test_a_16_bit_picture_of_12_bit_values_is_not_taken_for_black() -> None:
    scan = read_scan_bytes(png_bytes(phantom()), side=4096)
    np.testing.assert_allclose(scan.pixels[0], phantom() / 4095, atol=1e-6)
    assert any("of which 12 are used" in step for step in scan.provenance.steps)


def test_colour_and_transparency_are_reduced_to_grey() -> None:
    rgba = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    scan = read_scan_bytes(png_bytes(rgba), side=4096)
    np.testing.assert_allclose(scan.pixels[0], GREY / 255, atol=1 / 255)
    assert any("RGBA reduced to luma" in step for step in scan.provenance.steps)


def test_a_jpeg_is_read_whatever_it_is_called() -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, format="JPEG", quality=95)
    scan = read_scan_bytes(buffer.getvalue(), side=4096)
    assert scan.provenance.format == "jpeg"
    assert np.abs(scan.pixels[0] - GREY / 255).mean() < 0.02


def test_a_truncated_picture_is_refused() -> None:
    with pytest.raises(DamagedScan, match="cannot be decoded"):
        read_scan_bytes(png_bytes(GREY)[:2000], side=64)


def test_a_blank_picture_is_refused() -> None:
    with pytest.raises(DamagedScan, match="nothing to see"):
        read_scan_bytes(png_bytes(np.full((9, 9), 40, np.uint8)), side=64)


def test_a_picture_that_declares_absurd_dimensions_is_refused() -> None:
    bomb = bytearray(png_bytes(GREY))
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(ScanError):
        read_scan_bytes(bytes(bomb), side=64)
