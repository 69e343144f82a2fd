"""Files on disk or in memory -> `Scan`, by what their bytes are, whatever they are called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embed.asked import ReadAnswer as ReadAnswer
from embed.bundle import Bundle, Dropped, Member, bundle_from_zip_bytes, is_zip, open_bundle
from embed.dicom import is_dicom, parse
from embed.file_hash import file_hash
from embed.identity import with_identity
from embed.nifti import is_nifti, read_nifti
from embed.preview import preview_jpeg
from embed.radiograph import is_radiograph, read_radiograph
from embed.raster import raster_format, read_raster
from embed.scan import Flag, Scan, UnsupportedScan
from embed.series import choose_series, find_series, read_volume_scan

VOLUMES = ("CT", "MR")


@dataclass(frozen=True)
class ReadRequest:
    """The files of one scan and the size wanted: what a worker process is asked."""

    files: tuple[Path, ...]
    side: int


def read_request(request: ReadRequest) -> ReadAnswer:
    """What a worker process answers; see `embed.sandbox`. Raises `ScanError`."""
    scan = read_scan(*request.files, side=request.side)
    return ReadAnswer(scan, preview_jpeg(scan))


def read_scan(*paths: Path, side: int) -> Scan:
    """The one scan in a file, several files, a folder or a zip, the shorter side of its slices at most `side` pixels.

    Of a CT or MR study the best series for the lungs is chosen, and the choice explained. Raises `ScanError`.
    """
    return _read_bundle(open_bundle(paths), side=side)


def read_scan_bytes(data: bytes, *, side: int) -> Scan:
    """The scan in one file's bytes, a zip too, as `read_scan`."""
    if is_zip(data):
        return _read_bundle(bundle_from_zip_bytes(data), side=side)
    return _read_member(members_of(data)[0], side=side)


def members_of(data: bytes, name: str = "file") -> list[Member]:
    """One file's bytes as the readers take it."""
    return [Member(name, lambda: data, lambda count: data[:count], lambda: len(data))]


def read_bundle(bundle: Bundle, *, side: int) -> Scan:
    """The one scan in files that are already opened, as `read_scan`."""
    return _read_bundle(bundle, side=side)


def film_bytes(*paths: Path) -> bytes:
    """The file of the one radiograph that `read_scan` makes of the same paths. Raises `ScanError`."""
    members = open_bundle(paths).members
    (film,) = members if len(members) == 1 else filter(_is_film, members)
    return film.read()


def _read_bundle(bundle: Bundle, *, side: int) -> Scan:
    if len(bundle.members) == 1:
        return _with_dropped(_read_member(bundle.members[0], side=side), bundle.dropped)
    series, dropped = find_series(bundle.members)
    if series:
        people = {one.patient_id for each in series for one in each.slices}
        if len(people) > 1:
            blank = " (one of them without a Patient ID)" if "" in people else ""
            raise UnsupportedScan(
                "several-patients", f"the slices are of {len(people)} patients{blank}; send one study at a time"
            )
        chosen, why = choose_series(series)
        scan = read_volume_scan(chosen, side=side, chosen=why)
        studies = len({one.study_uid for each in series for one in each.slices})
        if studies > 1:
            message = f"slices of {studies} studies were given together; what was chosen is of one of them"
            scan = _with_flag(scan, Flag("several-studies", message))
        return with_identity(_with_dropped(scan, [*bundle.dropped, *dropped]))
    films = [member for member in bundle.members if _is_film(member)]
    if len(films) == 1:
        others = [entry for entry in dropped if entry.name != films[0].name]
        return _with_dropped(_read_member(films[0], side=side), [*bundle.dropped, *others])
    if films:
        raise UnsupportedScan(
            "several-scans", f"{len(films)} radiographs were given as one scan; send one film at a time"
        )
    reasons = "; ".join(
        f"{count} {reason}" for reason, count in Counter(entry.reason for entry in dropped).most_common(4)
    )
    raise UnsupportedScan("no-scan", f"none of the {len(bundle.members)} files is a chest scan ({reasons})")


def _read_member(member: Member, *, side: int) -> Scan:
    data = member.read()
    if not data:
        raise UnsupportedScan("empty-file", "the file is empty")
    if is_nifti(data):
        return with_identity(read_nifti(data, side=side))
    if raster_format(data):
        return read_raster(data, side=side)
    if not is_dicom(data):
        raise UnsupportedScan(
            "not-an-image", "neither DICOM nor PNG, JPEG or NIfTI; expected a chest scan in one of these"
        )
    ds = parse(data)
    if ds.get("Modality") in VOLUMES:
        series, dropped = find_series([member])
        if not series and dropped:
            raise UnsupportedScan(dropped[0].reason, dropped[0].message)
        chosen, why = choose_series(series)
        return with_identity(read_volume_scan(chosen, side=side, chosen=why))
    return read_radiograph(ds, file_hash=file_hash(data), side=side)


def _is_film(member: Member) -> bool:
    head = member.head(4096)
    if raster_format(head):
        return True
    return is_dicom(head) and is_radiograph(parse(member.read()))


def _with_dropped(scan: Scan, dropped: Sequence[Dropped]) -> Scan:
    """`scan` with a step that says which files were left out, counted by reason."""
    if not dropped:
        return scan
    counts = Counter(entry.reason for entry in dropped)
    said = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return _with_flag(
        scan, Flag("files-dropped", f"{len(dropped)} file{'' if len(dropped) == 1 else 's'} left out: {said}")
    )


def _with_flag(scan: Scan, flag: Flag) -> Scan:
    return replace(scan, provenance=replace(scan.provenance, flags=(*scan.provenance.flags, flag)))
