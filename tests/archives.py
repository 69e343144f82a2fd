"""A small archive of PNG films with a table of outcomes, for tests."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.films import phantom, png_bytes

TOML = """
name = "small"
csv = "cases.csv"
images = "films/{film}.png"
[columns]
case_id = "film"
patient_id = "person"
view = "view"
sex = "sex"
age_years = "age"
site = "centre"
[endpoints.died]
title = "death"
state = "died"
days = "died_days"
[endpoints.itu_admission]
title = "ITU admission"
days = "itu_days"
"""


def change_cells(toml: Path, **changed: Mapping[int, str]) -> Path:
    """Overwrite cells of the archive's CSV, given as column={row: text}; the path of the TOML."""
    table = toml.with_name("cases.csv")
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for column, cells in changed.items():
        for row, text in cells.items():
            rows[row][column] = text
    with table.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return toml


def table_archive(folder: Path, *, patients: int = 12, films_each: int = 2) -> Path:
    """Write films, cases.csv and cohort.toml; the path of the TOML. Patient 0 has no outcome on record."""
    (folder / "films").mkdir(parents=True)
    rows = []
    for number in range(patients * films_each):
        patient = number // films_each
        pixels = (phantom(seed=number) >> 4).astype(np.uint8)
        (folder / "films" / f"film{number:03}.png").write_bytes(png_bytes(pixels))
        died = "" if patient == 0 else "yes" if patient % 3 == 0 else "no"
        rows.append(
            {
                "film": f"film{number:03}", "person": f"p{patient:02}", "view": "AP" if patient % 2 else "PA",
                "sex": "FM"[patient % 2], "age": 40 + patient, "centre": f"centre {patient % 3}", "died": died,
                "died_days": patient if died == "yes" else "", "itu_days": 1 if patient % 4 == 1 else "",
            }
        )  # fmt: skip
    with (folder / "cases.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    path = folder / "cohort.toml"
    path.write_text(TOML)
    return path
