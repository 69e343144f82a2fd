"""What a file is and what was done to it, for people who doubt a picture: text, JSON, and pictures side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from embed.dicom import decode_frame, parse
from embed.prepare import encoder_view, lung_box, shrink
from embed.read import film_bytes, read_scan
from embed.scan import Scan, ScanError

Levels = npt.NDArray[np.uint8]  # (rows, columns), 8-bit grey
PANEL = 448  # pixels a side of a panel in the picture
GAP = 8


@dataclass(frozen=True)
class InspectRequest:
    """A file, or a folder or zip that is one scan: what a worker process is asked."""

    path: Path
    side: int
    pictured: bool  # whether the stored pixels are wanted too


@dataclass(frozen=True, eq=False)
class Inspection:
    """A scan that could be read, with its pixels as they are stored where they were wanted and it is a DICOM film."""

    scan: Scan
    stored: Levels | None


def inspect_request(request: InspectRequest) -> Inspection:
    """What a worker process answers. Raises `ScanError`."""
    scan = read_scan(request.path, side=request.side)
    is_dicom_film = scan.kind == "xray" and scan.provenance.format == "dicom"
    return Inspection(scan, _stored_levels(request.path) if request.pictured and is_dicom_film else None)


def inspection_json(path: Path, outcome: Inspection | ScanError) -> dict[str, Any]:
    """One entry of the document that `inspect --json` prints. No identifiers of the patient."""
    if isinstance(outcome, ScanError):
        return {"file": str(path), "refused": {"reason": outcome.reason, "message": str(outcome)}}
    scan = outcome.scan
    identity, projection = scan.identity, scan.projection
    return {
        "file": str(path),
        "kind": scan.kind,
        "modality": scan.modality,
        "view": scan.view,
        "view_confidence": projection.confidence if projection else None,
        "view_source": (projection.source or None) if projection else None,
        "placement": list(projection.placement) if projection else [],
        "shape": list(scan.pixels.shape),
        "spacing_mm": list(scan.spacing_mm) if scan.spacing_mm else None,
        "format": scan.provenance.format,
        "file_hash": scan.provenance.file_hash,
        "pixel_hash": identity.exact if identity else None,
        "perceptual_hash": identity.perceptual if identity else None,
        "steps": list(scan.provenance.steps),
        "flags": [vars(flag) for flag in scan.provenance.flags],
    }


def draw_inspection(inspections: list[Inspection]) -> Levels:
    """A row a scan: a DICOM film's stored pixels, the film with its lungs and the crop, what the encoder sees.

    Of a volume the decoded values above what the encoder sees.
    """
    rows = [_row(inspection) for inspection in inspections]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1])), constant_values=32) for row in rows]
    return np.concatenate(padded)


def write_picture(levels: Levels, path: Path) -> None:
    """Write a PNG. Raises OSError."""
    done, encoded = cv2.imencode(".png", levels)
    assert done
    path.write_bytes(encoded.tobytes())


def _row(inspection: Inspection) -> Levels:
    scan = inspection.scan
    seen = [_levels(one.picture) for one in encoder_view(scan, side=PANEL)]
    if scan.kind == "xray":
        stored = [_panel(inspection.stored)] if inspection.stored is not None else []
        return np.concatenate([*stored, _panel(_with_lungs(scan)), _panel(seen[0])], axis=1)
    low, high = float(scan.pixels.min()), float(scan.pixels.max())
    values = [_levels((plane - low) / max(high - low, 1e-6)) for plane in scan.pixels]
    lines = [[_panel(picture, PANEL // 3) for picture in pictures] for pictures in (values, seen)]
    return np.concatenate([np.concatenate(line, axis=1) for line in lines])


def _with_lungs(scan: Scan) -> Levels:
    """The film with both lungs outlined and a frame around what the encoder sees; the film alone where none were found."""
    drawn = _levels(scan.pixels[0])
    if scan.lungs is None:
        return drawn
    for lung in (scan.lungs.right, scan.lungs.left):
        mask = cv2.resize(lung.astype(np.uint8), drawn.shape[::-1], interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, 0, 3)  # black under white shows on any film
        cv2.drawContours(drawn, outlines, -1, 255, 1)
    rows, columns = lung_box(scan.lungs, *drawn.shape)
    corners = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
    cv2.rectangle(drawn, *corners, 0, 3)
    cv2.rectangle(drawn, *corners, 255, 1)
    return drawn


def _stored_levels(path: Path) -> Levels:
    stored = decode_frame(parse(film_bytes(path)))
    plane = stored if stored.ndim == 2 else stored[..., 0]
    small = shrink(plane, side=PANEL)
    low, high = float(small.min()), float(small.max())
    return _levels((small - np.float32(low)) / np.float32(max(high - low, 1e-6)))


def _levels(grey: npt.NDArray[np.float32]) -> Levels:
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def _panel(levels: Levels, side: int = PANEL) -> Levels:
    """`levels` fitted into a square with a gap around it."""
    scale = (side - GAP) / max(levels.shape)
    size = (max(1, round(levels.shape[1] * scale)), max(1, round(levels.shape[0] * scale)))
    fitted = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    panel = np.full((side, side), 32, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    panel[top : top + size[1], left : left + size[0]] = fitted
    return panel
