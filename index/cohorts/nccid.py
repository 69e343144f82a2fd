"""The NCCID warehouse as it lies, in a folder or a bucket -> cases; with or without `training/`, whichever trees exist."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any

from index.archive_files import Files, open_files
from index.case import Case, Endpoint, Event, Outcome, State
from index.cohort import CohortError
from index.cohorts.date_habits import DateHabits
from index.cohorts.nccid_clinical import CONTROL, FULL, ClinicalFile, ClinicalFiles, Record, clinical_record
from index.cohorts.nccid_header import file_header, header_text, json_header, scan_date
from index.cohorts.nccid_scan import AtScan

FILMS = "xray"
OTHERS = "unknown"  # where the loader puts what is no CR, DX, CT or MR: some of it are films by another name
STUDIES = ("ct", "mri")
TREES = (FILMS, *STUDIES, OTHERS)
CLINICAL = "data"
TRAINING = "training"
NO_IMAGES_BY_NAME = (".json", ".txt", ".csv", ".xml", ".md", ".html", ".pdf")  # such files are not offered as scans
ENDPOINTS = (Endpoint("died", "death"), Endpoint("itu_admission", "ITU admission"), Endpoint("intubated", "intubation"))

NO_RECORD = "patients with images but no clinical file"
NO_IMAGES = "patients with a clinical file but no images"
UNREADABLE = "clinical files that cannot be read"
MISPLACED = "images outside of a patient's folders, left out"


@dataclass(frozen=True)
class _Place:
    """A film, or the folder of a CT or MR study: where it lies."""

    key: str  # the patient's, whatever its spelling
    patient: str  # as the folder is called
    tree: str
    case_id: str
    source: str
    image: str  # the file whose header tells of it
    uids: frozenset[str]

    @property
    def metadata(self) -> str:
        image = self.image[len(self.tree) + 1 :]
        below = image[: -len(".dcm")] if image.lower().endswith(".dcm") else image
        return f"{self.tree}-metadata/{below}.json"


@dataclass(frozen=True)
class _Scan:
    """The same with the header that dates it, by keyword."""

    place: _Place
    taken: date | None
    header: dict[str, Any] = field(repr=False)
    doubts: tuple[str, ...] = ()  # of its date


class NccidCohort:
    """NCCID cases: each file of `xray/PATIENT/STUDY/SERIES/` and of `unknown/`, each study of `ct/PATIENT/` and `mri/PATIENT/`,
    with what the patient's clinical files say of that scan.
    """

    name = "nccid"
    endpoints = ENDPOINTS

    def __init__(self, path: str) -> None:
        self.source = path
        self.counts: Mapping[str, int] = {}
        self._latest = date.today()
        try:
            root = open_files(path)
            levels = [root, open_files(root.location(TRAINING))] if TRAINING in root.folders("") else [root]
            holding = [level for level in levels if {*TREES, CLINICAL} & set(level.folders(""))]
            filled = [level for level in holding if any(level.folders(tree) for tree in (*TREES, CLINICAL))]
        except OSError as error:
            raise CohortError(f"{path}: cannot be listed ({error})") from error
        if not holding:
            raise CohortError(
                f"{path}: no NCCID warehouse; expected folders xray, ct or mri, beside data, here or under {TRAINING}"
            )
        if len(filled) > 1:
            raise CohortError(f"{path}: holds a warehouse itself and another under {TRAINING}; name the one you mean")
        self._files = (filled or holding)[0]

    def iter_cases(self) -> Iterator[Case]:
        """Patient by patient, since all scans of a patient help to read the record's dates. Raises `CohortError`."""
        try:
            clinical = _clinical_files(self._files)
            misplaced: list[str] = []
            places = sorted(
                _places(self._files, misplaced), key=lambda place: (place.key, TREES.index(place.tree), place.source)
            )
        except OSError as error:
            raise CohortError(f"{self.source}: cannot be listed ({error})") from error
        habits = DateHabits.learnt(cell for files in clinical.values() for cell in files.dated_cells())
        counts: Counter[str] = Counter({NO_RECORD: 0, NO_IMAGES: 0, UNREADABLE: 0, MISPLACED: len(misplaced)})
        counts[UNREADABLE] = sum(file.raw is None for files in clinical.values() for file in files.files)
        imaged = set()
        for key, group in groupby(places, key=attrgetter("key")):
            imaged.add(key)
            counts[NO_RECORD] += key not in clinical
            yield from self._cases(
                _scans(self._files, list(group), self._latest), clinical.get(key, ClinicalFiles()), habits
            )
        counts[NO_IMAGES] = len(clinical.keys() - imaged)
        self.counts = dict(counts)

    def _cases(self, scans: list[_Scan], files: ClinicalFiles, habits: DateHabits) -> Iterator[Case]:
        """All cases of one patient."""
        dates = {scan.taken for scan in scans if scan.taken}
        film_dates = [scan.taken for scan in scans if scan.taken and scan.place.tree == FILMS]
        record = clinical_record(files, latest=self._latest, scan_dates=dates, habits=habits)
        for scan in scans:
            at = record.at_scan(scan.taken, film_dates=film_dates if scan.place.tree == FILMS else None)
            yield self._case(scan, scans[0].place.patient, record, at)

    def _case(self, scan: _Scan, patient_id: str, record: Record, at: AtScan | None) -> Case:
        place, header = scan.place, scan.header
        names = {*record.pseudonyms, *filter(None, [header_text(header.get("PatientID"))])}
        doubts = [f"scan_date:{flag}" for flag in scan.doubts]
        if {_key(name) for name in names} - {place.key}:
            doubts.append("pseudonym:other-pseudonym")
        stated = {"scan_sex": header.get("PatientSex"), "scan_age": header.get("PatientAge")}
        return Case(
            case_id=place.case_id,
            patient_id=patient_id,
            cohort=self.name,
            files=(self._files.location(place.source),),
            outcome=at.outcome if at else NOTHING_RECORDED,
            site=record.site,
            modality=header_text(header.get("Modality")),
            scan_date=scan.taken,
            age_years=record.age(header.get("PatientAge")).value,
            sex=record.sex(header.get("PatientSex")).value,
            manufacturer=header_text(header.get("Manufacturer")),
            scanner=header_text(header.get("ManufacturerModelName")),
            clinical=record.columns(at, doubts=doubts, **stated),
            uids=place.uids | names,
        )


NOTHING_RECORDED = Outcome({endpoint.name: Event(State.NOT_RECORDED) for endpoint in ENDPOINTS})


def _clinical_files(files: Files) -> dict[str, ClinicalFiles]:
    """Each patient's clinical files, by the patient's key; other JSON files beside them tell nothing."""
    paths = [path for path in files.files_below(CLINICAL) if path.lower().endswith(".json")]
    found: dict[str, list[ClinicalFile]] = {}
    for path, content in files.read_all(paths).items():
        _, _, rest = path.partition("/")
        patient, _, below = rest.partition("/")
        name = below.rpartition("/")[2]
        if name.lower().startswith((FULL, CONTROL)):
            found.setdefault(_key(patient), []).append(ClinicalFile.parsed(name, content))
    return {key: ClinicalFiles(each) for key, each in found.items()}


def _places(files: Files, misplaced: list[str]) -> Iterator[_Place]:
    """Every film and study; `misplaced` gains the images that lie in no patient's folder."""
    for tree in (FILMS, OTHERS):
        for path in filter(_may_be_image, files.files_below(tree)):
            _, *folders, name = path.split("/")
            if not folders:
                misplaced.append(path)
                continue
            patient, *between = folders
            stem = name[: -len(".dcm")] if name.lower().endswith(".dcm") else name
            yield _Place(_key(patient), patient.strip(), tree, stem, path, path, frozenset((*between, stem)))
    for tree in STUDIES:
        for patient in files.folders(tree):
            studies = [_study(files, tree, patient, study) for study in files.folders(f"{tree}/{patient}")]
            yield from filter(None, studies)
            if not any(studies):
                misplaced += filter(_may_be_image, files.files_below(f"{tree}/{patient}"))


def _study(files: Files, tree: str, patient: str, study: str) -> _Place | None:
    """A study that holds an image. Only one series is listed: there are millions of slices."""
    folder = f"{tree}/{patient}/{study}"
    series = files.folders(folder)
    for place in [f"{folder}/{name}" for name in series] or [folder]:
        images = [path for path in files.files_below(place) if _may_be_image(path)]
        if images:
            uids = frozenset((study, *series))
            return _Place(_key(patient), patient.strip(), tree, study, folder, images[0], uids)
    return None


def _may_be_image(path: str) -> bool:
    """DICOM files need no suffix; what reading makes of one will show."""
    name = path.rpartition("/")[2].lower()
    return not name.startswith(".") and not name.endswith(NO_IMAGES_BY_NAME) and name != "dicomdir"


def _scans(files: Files, places: list[_Place], latest: date) -> list[_Scan]:
    metadata = files.read_all([place.metadata for place in places])
    return [_scan(files, place, json_header(metadata[place.metadata]), latest) for place in places]


def _scan(files: Files, place: _Place, header: dict[str, Any], latest: date) -> _Scan:
    taken = scan_date(header, latest)
    if taken.value is None:  # no metadata, or undated: the days of the events need the date that the build will find
        try:
            with files.open(place.image) as stream:
                header = file_header(stream) | header
        except OSError:  # the build will say so
            return _Scan(place, None, header, taken.flags)
        taken = scan_date(header, latest)
    return _Scan(place, taken.value, header, taken.flags)


def _key(patient: str) -> str:
    return patient.strip().casefold()
