"""An answer as a picture: the query beside its neighbours, with similarity and outcome beneath each."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from embed.prepare import grey_slices
from index.snapshot import Snapshot
from search.answer import Answer
from search.neighbour import Neighbour, event_text

TILE = 256  # pixels a side
LINE = 15
COLUMNS = 4
INK, DIM, PAPER, ACCENT = (236, 236, 236), (160, 160, 160), (18, 18, 20), (86, 156, 214)


def draw_answer(answer: Answer, snapshot: Snapshot) -> Image.Image:
    """The query's scans in the first column, the neighbours beside it in rank order."""
    height = TILE + LINE * (2 + len(answer.outcomes)) + 3
    tiles = [_query_tile(answer, place) for place in range(len(answer.scans))]
    tiles += [_neighbour_tile(neighbour, snapshot) for neighbour in answer.neighbours]
    rows = -(-len(tiles) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * TILE, rows * height + 24), PAPER)
    for place, tile in enumerate(tiles):
        canvas.paste(tile, (place % COLUMNS * TILE, place // COLUMNS * height))
    ImageDraw.Draw(canvas).text(
        (8, canvas.height - 20), "Research use only - not a medical device.", DIM, ImageFont.load_default(13)
    )
    return canvas


def save_answer(answer: Answer, snapshot: Snapshot, path: Path) -> None:
    """Write the picture; the file is there whole or not at all. Raises OSError."""
    buffer = io.BytesIO()
    draw_answer(answer, snapshot).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _query_tile(answer: Answer, place: int) -> Image.Image:
    scan = answer.scans[place]
    grey = grey_slices(scan)
    levels = np.rint(np.clip(grey[len(grey) // 2], 0, 1) * 255).astype(np.uint8)
    return _tile(Image.fromarray(levels), ["query", answer.views[place] or "view not known"], ACCENT)


def _neighbour_tile(neighbour: Neighbour, snapshot: Snapshot) -> Image.Image:
    case = neighbour.case
    stored = snapshot.preview(case.case_id)
    image = Image.open(io.BytesIO(stored)) if stored else Image.new("L", (TILE, TILE))
    facts = [case.view, case.sex, None if case.age_years is None else f"{case.age_years:.0f} y"]
    lines = [f"{neighbour.rank}.  similarity {neighbour.similarity:.3f}", "  ".join(fact for fact in facts if fact)]
    titles = {endpoint.name: endpoint.title for endpoint in snapshot.manifest.endpoints}
    lines += [f"{titles[name]}: {event_text(event)}" for name, event in case.outcome.events.items()]
    return _tile(image, lines, INK)


def _tile(image: Image.Image, lines: list[str], ink: tuple[int, int, int]) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE + LINE * len(lines) + 3), PAPER)
    picture = image.convert("L")
    picture.thumbnail((TILE - 8, TILE - 8))
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    draw = ImageDraw.Draw(tile)
    for number, line in enumerate(lines):
        draw.text((8, TILE + 1 + LINE * number), line, ink if number == 0 else DIM, ImageFont.load_default(13))
    return tile
