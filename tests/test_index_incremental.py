"""A nightly build reads what is new or changed and nothing else, and ends as a build from nothing would."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

import build_index
import index.parts
from embed.encoder import Encoder
from embed.encoders.histogram import HistogramEncoder
from embed.read import ReadAnswer, ReadRequest
from embed.scan import ScanError
from index.lock import IndexLock
from index.snapshot import open_current
from tests.archives import change_cells, table_archive
from tests.conftest import run_build
from tests.faults import content_of, rows_of
from tests.films import dicom_bytes, phantom

FILMS = 8  # of four patients


@dataclass
class Reading:
    """Stands in for the worker processes: reads here and now, and remembers what."""

    read: list[str] = field(default_factory=list)
    fails_at: int = 0  # the how-manieth reading ends the build as Ctrl-C does
    is_forbidden: bool = False

    def __call__(self, function: Callable[[ReadRequest], ReadAnswer], *, workers: int) -> Self:
        self._function = function
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, items: Iterable[ReadRequest]) -> Iterator[ReadAnswer | ScanError]:
        for item in items:
            assert not self.is_forbidden, f"{item.files} was read"
            self.read.append(item.files[0].stem)
            if len(self.read) == self.fails_at:
                raise build_index.Stopped(2)
            try:
                yield self._function(item)
            except ScanError as error:
                yield error

    def taken(self) -> list[str]:
        """What was read since the last call."""
        taken = sorted(self.read)
        self.read.clear()
        return taken


@dataclass
class Night:
    """An archive, its index, and what happens at two o'clock."""

    folder: Path
    reading: Reading

    def __post_init__(self) -> None:
        self.toml = table_archive(self.folder / "archive", patients=FILMS // 2)
        self.films = self.folder / "archive/films"
        self.index = self.folder / "index"

    def build(self, *more: object, index: Path | None = None, code: int = 0) -> dict[str, Any]:
        fixed = ("--cohort", f"table={self.toml}", "--max-rejected", "1", "--json")
        result = run_build(*fixed, "--index", index or self.index, *more)
        assert result.exit_code == code, result.output
        return dict(json.loads(result.stdout)) if not code else {"output": result.output}

    def film(self, number: int) -> Path:
        return self.films / f"film{number:03}.png"

    def equals_a_full_build(self, *more: object) -> bool:
        self.build(*more, index=self.folder / "from-nothing")
        return content_of(self.index) == content_of(self.folder / "from-nothing")


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    reading = Reading()
    monkeypatch.setattr(build_index, "IsolatedWorkers", reading)
    monkeypatch.setattr(index.parts, "PART_SCANS", 2)
    monkeypatch.setattr(build_index, "BATCH", 2)
    return Night(tmp_path, reading)


def later(path: Path, seconds: int = 100) -> None:
    """Give a file another time of change."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + seconds * 10**9))


def swap(one: Path, other: Path) -> None:
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_an_unchanged_archive_is_neither_read_nor_published_again(night: Night) -> None:
    first = night.build()
    assert (first["outcome"], first["new"], len(night.reading.taken())) == ("published", FILMS, FILMS)
    night.reading.is_forbidden = True
    again = night.build()
    assert (again["outcome"], again["unchanged"], again["snapshot"]) == ("unchanged", FILMS, first["snapshot"])
    assert [path.name for path in (night.index / "snapshots").iterdir()] == [first["snapshot"]]
    assert again["cases"] == {"xray": FILMS}


def test_of_one_new_film_only_it_is_read(night: Night) -> None:
    aside = night.film(3).rename(night.folder / "aside")
    rejected = night.build()["rejected_files"]
    assert [(one["case_id"], one["reason"]) for one in rejected] == [("film003", "missing-file")]
    aside.rename(night.film(3))
    night.reading.taken()
    night.build()
    assert night.reading.taken() == ["film003"] and night.equals_a_full_build()
    assert len(content_of(night.index).cases) == FILMS


def test_a_new_row_of_the_table_is_new_and_a_lost_one_withdrawn(night: Night) -> None:
    table = night.toml.with_name("cases.csv")
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    night.build()
    night.reading.taken()
    table.write_text("".join([*lines[:1], *lines[2:]]))
    told = night.build()
    assert (told["new"], told["unchanged"], told["withdrawn"]) == (1, FILMS - 2, 1)
    assert night.reading.taken() == ["film007"] and night.equals_a_full_build()
    ids = [case["case_id"] for case in content_of(night.index).cases]
    assert ids == [f"film{number:03}" for number in range(1, FILMS)]
    assert open_current(night.index).preview("film000") is None


def test_films_that_changed_places_take_their_readings_with_them(night: Night) -> None:
    night.build()
    night.reading.is_forbidden = True
    swap(night.film(2), night.film(5))
    later(night.film(2))  # the tests write within one tick of the clock
    shutil.copy(night.film(7), night.film(4))
    told = night.build()
    assert (told["changed"], told["unchanged"]) == (3, FILMS - 3)
    night.reading.is_forbidden = False
    assert night.equals_a_full_build()


def test_a_changed_film_is_read_again(night: Night) -> None:
    night.build()
    night.reading.taken()
    night.film(2).write_bytes(night.film(2).read_bytes() + b"more")
    told = night.build()
    assert (told["changed"], told["unchanged"]) == (1, FILMS - 1)
    assert night.reading.taken() == ["film002"] and night.equals_a_full_build()


def test_the_same_bytes_with_another_time_are_not_read_but_stamped_anew(night: Night) -> None:
    night.build()
    night.reading.is_forbidden = True
    later(night.film(2))
    assert night.build()["outcome"] == "published"
    assert night.build()["outcome"] == "unchanged"


def test_files_that_were_moved_are_not_read_and_found_where_they_are(night: Night) -> None:
    night.build()
    night.films.rename(night.folder / "archive/elsewhere")
    night.toml.write_text(night.toml.read_text().replace("films/", "elsewhere/"))
    night.reading.is_forbidden = True
    assert night.build()["outcome"] == "published"
    assert all(Path(case["files"][0]).is_file() for case in content_of(night.index).cases)
    assert night.build()["outcome"] == "unchanged"


def test_a_renamed_film_under_a_new_id_is_new_but_not_read(night: Night) -> None:
    night.build()
    night.reading.is_forbidden = True
    change_cells(night.toml, film={2: "film902"})
    night.film(2).rename(night.film(902))
    told = night.build()
    assert (told["new"], told["records_changed"], told["withdrawn"]) == (1, 0, 1)
    night.reading.is_forbidden = False
    assert night.equals_a_full_build()


def test_a_changed_record_updates_its_case_without_its_pixels(night: Night) -> None:
    night.build()
    night.reading.is_forbidden = True
    change_cells(night.toml, age={2: "77"}, died={2: "yes"})
    told = night.build()
    assert (told["outcome"], told["records_changed"], told["unchanged"]) == ("published", 1, FILMS - 1)
    case = content_of(night.index).cases[2]
    assert (case["age_years"], case["died"]) == (77.0, "yes")
    assert night.build()["outcome"] == "unchanged"
    night.reading.is_forbidden = False
    assert night.equals_a_full_build()


def test_another_encoder_signs_all_anew_beside_the_old_snapshot(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mirrored(HistogramEncoder):
        fingerprint = "mirrored"

        def encode(self, scans: Any) -> Any:
            return np.ascontiguousarray(super().encode(scans)[:, ::-1])

    old = night.build()["snapshot"]
    rows = open_current(night.index).signatures("xray").copy()
    night.reading.taken()
    encoder: Encoder = Mirrored()
    monkeypatch.setattr(build_index, "load_encoder", lambda name: encoder)
    night.build()
    assert len(night.reading.taken()) == FILMS
    assert open_current(night.index).manifest.fingerprint == "mirrored"
    np.testing.assert_array_equal(open_current(night.index).signatures("xray"), rows[:, ::-1])
    assert (night.index / "snapshots" / old / "manifest.json").exists()


def test_full_reads_all_again_and_ends_the_same(night: Night) -> None:
    night.build()
    before = content_of(night.index)
    night.reading.taken()
    assert night.build("--full")["outcome"] == "published"
    assert len(night.reading.taken()) == FILMS and content_of(night.index) == before


def test_a_dry_run_says_what_would_happen_and_leaves_everything(night: Night) -> None:
    night.build()
    night.reading.is_forbidden = True
    night.film(2).write_bytes(night.film(3).read_bytes() + b"more")
    change_cells(night.toml, age={5: "77"})
    before = {
        path: path.stat().st_mtime_ns for path in night.index.rglob("*") if path.is_file() and path.name != "LOCK"
    }
    told = night.build("--dry-run")
    assert (told["outcome"], told["changed"], told["records_changed"]) == ("dry-run", 1, 1)
    after = {path: path.stat().st_mtime_ns for path in night.index.rglob("*") if path.is_file() and path.name != "LOCK"}
    assert after == before


def test_a_damaged_film_is_not_read_again_until_it_changes(night: Night) -> None:
    content = night.film(2).read_bytes()
    night.film(2).write_bytes(b"no film")
    assert night.build()["rejected"] == {"not-an-image": 1}
    night.reading.taken()
    assert night.build()["outcome"] == "unchanged" and night.reading.taken() == []
    change_cells(night.toml, age={5: "77"})
    assert night.build()["rejected"] == {"not-an-image": 1} and night.reading.taken() == []
    night.film(2).write_bytes(content)
    assert night.build()["rejected"] == {} and night.reading.taken() == ["film002"]


def test_a_missing_film_is_looked_for_every_night_but_is_no_news(night: Night) -> None:
    aside = night.film(3).rename(night.folder / "aside")
    first = night.build()
    night.reading.taken()
    for _ in range(2):
        again = night.build()
        assert (again["outcome"], again["snapshot"], night.reading.taken()) == (
            "unchanged",
            first["snapshot"],
            ["film003"],
        )
    assert not (night.index / "building/parts").exists()
    aside.rename(night.film(3))
    assert night.build()["rejected"] == {}


def test_a_build_that_was_stopped_goes_on_from_its_parts(night: Night) -> None:
    night.reading.fails_at = 6  # five were read: two parts of two, and one that the end still wrote down
    night.build(code=130)
    assert not (night.index / "CURRENT").exists()
    done = night.reading.taken()
    night.reading.fails_at = 0
    told = night.build()
    assert told["new"] == FILMS and len(done) == 6
    assert len(night.reading.taken()) in (3, 4)  # of a batch that was not signed yet nothing is kept
    assert night.equals_a_full_build() and not (night.index / "building/parts").exists()


def test_what_a_stopped_build_had_read_of_a_changed_film_is_published(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.build()
    night.film(2).write_bytes(night.film(2).read_bytes() + b"more")
    with monkeypatch.context() as patched:

        def stop(*_: object, **__: object) -> None:
            raise build_index.Stopped(15)

        patched.setattr("index.building.SnapshotWriter", stop)
        night.build(code=143)
    night.reading.taken()
    told = night.build()
    assert (told["outcome"], told["changed"], night.reading.taken()) == ("published", 1, [])
    assert night.equals_a_full_build()


def test_parts_left_over_after_publication_are_no_news(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("index.building.remove_parts", lambda building: None)  # as if killed just before
        night.build()
    assert any((night.index / "building/parts").iterdir())
    night.reading.is_forbidden = True
    assert night.build()["outcome"] == "unchanged"


def test_of_two_builds_at_once_the_second_says_who_is_at_work(night: Night) -> None:
    with IndexLock(night.index / "building", purpose="build"):
        told = night.build(code=75)
    assert "a build works on this index since" in told["output"] and f"process {os.getpid()}" in told["output"]
    assert not (night.index / "CURRENT").exists() and night.reading.taken() == []


@pytest.mark.parametrize(
    "name",
    [
        "readings.parquet",
        "previews.bin",
        "xray/previews.npy",
        "answers.json",
        "xray/signatures.npy",
        "rejected.parquet",
    ],
)
def test_of_a_damaged_snapshot_nothing_is_taken_over(night: Night, name: str) -> None:
    night.build()
    expected = content_of(night.index)
    path = open_current(night.index).path / name
    path.write_bytes(path.read_bytes() + b"x")
    night.reading.taken()
    assert night.build()["outcome"] == "published"
    assert len(night.reading.taken()) == FILMS and content_of(night.index) == expected


# --- exclusions that only the header tells


@pytest.fixture
def headers(night: Night) -> Night:
    """The films are DICOM files, and of another name inside."""
    for number in range(FILMS):
        content = dicom_bytes(phantom(seed=number), PatientID=f"secret{number // 2}", StudyInstanceUID=f"1.2.{number}")
        (night.films / f"film{number:03}.dcm").write_bytes(content)
    night.toml.write_text(night.toml.read_text().replace(".png", ".dcm"))
    return night


def test_a_name_that_only_the_header_tells_excludes_what_is_known_already(headers: Night) -> None:
    headers.build()
    headers.reading.is_forbidden = True
    listed = headers.folder / "withdrawn.txt"
    listed.write_text("SECRET1\n1.2.7\n")
    told = headers.build("--exclude", listed)
    assert (told["excluded"], told["withdrawn"], told["seen"]) == (3, 3, FILMS - 3)
    assert [case["case_id"] for case in content_of(headers.index).cases] == [
        "film000",
        "film001",
        "film004",
        "film005",
        "film006",
    ]
    assert {row["case_id"] for row in rows_of(open_current(headers.index), "readings.parquet")}.isdisjoint(
        {"film002", "film003", "film007"}
    )
    headers.reading.is_forbidden = False
    assert headers.equals_a_full_build("--exclude", listed)


def test_who_is_excluded_by_the_header_is_no_news_the_next_night(headers: Night) -> None:
    listed = headers.folder / "withdrawn.txt"
    listed.write_text("secret1\n")
    assert headers.build("--exclude", listed)["outcome"] == "published"
    again = headers.build("--exclude", listed)
    assert (again["outcome"], again["cases"]) == ("unchanged", {"xray": FILMS - 2})
    listed.write_text("")
    headers.reading.taken()
    assert headers.build("--exclude", listed)["cases"] == {"xray": FILMS}
    assert headers.reading.taken() == ["film002", "film003"]


def test_a_study_of_slices_is_excluded_for_the_name_of_one_that_is_known(night: Night) -> None:
    for number in range(FILMS):
        folder = night.films / f"film{number:03}"
        folder.mkdir()
        night.film(number).rename(folder / f"1.2.{number}.png")
    night.toml.write_text(night.toml.read_text().replace("{film}.png", "{film}"))
    night.build()
    night.reading.is_forbidden = True
    listed = night.folder / "withdrawn.txt"
    listed.write_text("1.2.5\n")
    night.build("--exclude", listed)
    assert "film005" not in [case["case_id"] for case in content_of(night.index).cases]
