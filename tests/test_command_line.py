"""The commands as people use them: bad input gets one clear sentence, the right exit code, and nothing half-written."""

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from embed.__main__ import main as embed_main
from embed.encoders.histogram import HistogramEncoder
from embed.scan import Scan
from tests.archives import change_cells, table_archive
from tests.conftest import run_build, run_search
from tests.films import dicom_bytes, phantom, png_bytes
from tests.test_embed_encoders import tiny_network


def assert_refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in " ".join(result.stderr.split()), result.stderr


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.dcm"
    path.write_bytes(dicom_bytes(phantom(seed=99)))
    return path


def test_a_build_reports_what_it_rejected_and_goes_on(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    films = sorted((tmp_path / "archive" / "films").glob("*.png"))
    films[0].write_text("not a picture")
    films[1].unlink()
    films[2].write_bytes(films[2].read_bytes()[:900])
    films[3].write_bytes(dicom_bytes(phantom(), Modality="US"))
    result = run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["seen"], summary["cases"]) == (24, {"xray": 20})
    assert summary["rejected"] == {
        "missing-file": 1,
        "not-an-image": 1,
        "undecodable-pixels": 1,
        "unsupported-modality": 1,
    }
    for word in ("4 rejected", "film003.png", "unsupported-modality"):
        assert word in result.stderr


def test_two_builds_give_identical_answers(tmp_path: Path, film: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    answers = []
    for name, workers in (("a", 1), ("b", 2)):
        assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / name, "--workers", workers).exit_code == 0
        answers.append(json.loads(run_search("query", film, "--index", tmp_path / name, "--json").stdout))
        answers[-1].pop("snapshot")
    assert answers[0] == answers[1]


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_build_of_nothing_readable_fails_and_keeps_the_index(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index").exit_code == 0
    before = (tmp_path / "index" / "CURRENT").read_text()
    for film in (tmp_path / "archive" / "films").iterdir():
        film.write_text("gone")
    result = run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index")
    assert_refused(result, 1, "none of the 24 scans could be read (not-an-image 24); nothing")
    assert (tmp_path / "index" / "CURRENT").read_text() == before
    assert left_in(tmp_path / "index" / "building") <= {"LOCK", "parts"}


def test_a_repeated_case_id_is_rejected_not_overwritten(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    table = tmp_path / "archive" / "cases.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    summary = json.loads(run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index", "--json").stdout)
    assert summary["rejected"] == {"repeated-case-id": 1}


@pytest.mark.parametrize(
    ("cohort", "words"),
    [
        ("nccid=/nowhere", "/nowhere: no such file or folder"),
        ("nccid={empty}", "no NCCID warehouse"),
        ("xnat=/tmp", "nccid, table"),
    ],
)
def test_a_build_of_no_archive_is_refused(tmp_path: Path, cohort: str, words: str) -> None:
    result = run_build("--cohort", cohort.format(empty=tmp_path), "--index", tmp_path / "index")
    assert_refused(result, 2, words)
    assert not (tmp_path / "index").exists()


def test_an_empty_warehouse_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive" / "xray").mkdir(parents=True)
    result = run_build("--cohort", f"nccid={tmp_path / 'archive'}", "--index", tmp_path / "index")
    assert_refused(result, 2, "no scans there")


def test_an_index_folder_that_cannot_be_written_is_refused_before_work(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    result = run_build("--cohort", f"table={cohort}", "--index", cohort / "index")
    assert_refused(result, 1, "cannot be written to")


def test_an_unknown_encoder_is_refused_with_those_there_are(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    result = run_build("--cohort", f"table={cohort}", "--index", tmp_path / "i", "--encoder", "resnet")
    assert_refused(result, 2, "no encoder is called 'resnet'", "histogram, efficientnet-lite0, onnx")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--where", "weight > 3"], ["--where 'weight > 3'", "columns: case_id"]),
        (["--where", "true; drop table cases"], ["--where 'true; drop table cases' is not a condition"]),
        (["-k", "0"], ["k is 0; ask for at least 1"]),
        (["-k", "500"], ["k is 500", "12 patients"]),
        (["--encoder", "efficientnet-lite0"], ["was built by histogram"]),
        (["--encoder", "none"], ["no encoder is called"]),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(
    small_index: Path, film: Path, arguments: list[str], words: list[str]
) -> None:
    assert_refused(run_search("query", film, "--index", small_index, *arguments), 2, *words)


def test_a_query_that_is_no_scan_is_refused_by_name(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    assert_refused(run_search("query", tmp_path / "note.txt", "--index", small_index), 2, "note.txt", "neither DICOM")
    assert_refused(run_search("query", tmp_path / "none.dcm", "--index", small_index), 2, "none.dcm: no such file")
    assert_refused(run_search("query", tmp_path, "--index", small_index), 2, "neither DICOM")


def test_a_query_without_an_index_is_refused(tmp_path: Path, film: Path) -> None:
    assert_refused(run_search("query", film, "--index", tmp_path / "none"), 2, "no such index folder")


def test_a_picture_that_cannot_be_written_is_refused(small_index: Path, film: Path) -> None:
    result = run_search("query", film, "--index", small_index, "--picture", film / "answer.png")
    assert_refused(result, 2, "cannot be written")


def test_a_query_prints_a_table_for_people(small_index: Path, film: Path, tmp_path: Path) -> None:
    result = run_search("query", film, "--index", small_index, "-k", 6, "--picture", tmp_path / "answer.png")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "95 % interval" in text and "whole eligible archive" in text
    assert (tmp_path / "answer.png").stat().st_size > 1000


def test_several_scans_are_answered_in_turn_or_together(small_index: Path, film: Path) -> None:
    in_turn = json.loads(run_search("query", film, film, "--index", small_index, "--json").stdout)
    together = json.loads(run_search("query", film, film, "--index", small_index, "--json", "--together").stdout)
    assert len(in_turn) == 2 and in_turn[0] == in_turn[1]
    assert len(together["query"]["scans"]) == 2 and together["neighbours"] == in_turn[0]["neighbours"]


def test_evaluate_refuses_what_it_cannot_measure(small_index: Path, tmp_path: Path) -> None:
    assert_refused(run_search("evaluate", "--index", small_index, "--target", "mood"), 2, "'mood' is no column")
    assert_refused(
        run_search("evaluate", "--index", small_index, "--target", "died", "--include-own"), 2, "own patient"
    )
    labels = ["--labels", tmp_path / "none.csv"]
    assert_refused(run_search("evaluate", "--index", small_index, "--target", "died", *labels), 2, "none.csv")
    assert_refused(run_search("study", "--index", small_index, "--out", tmp_path, "--where", "false"), 2, "no queries")
    assert_refused(run_search("study", "--index", small_index, "--out", tmp_path, "--kind", "ct"), 2, "no ct scans")
    assert_refused(
        run_search("evaluate", "--index", small_index, "--target", "view", "--where", "false"), 2, "nothing to"
    )
    assert_refused(run_search("evaluate", "--index", small_index, "--target", "flags"), 2, "holds a list")
    one_class = ["--target", "died", "--where", "died = 'yes'"]
    assert_refused(run_search("evaluate", "--index", small_index, *one_class), 2, "needs both")


@pytest.mark.parametrize("columns", [40, 51, 80, 200])
def test_an_outcome_is_never_cut_short_in_a_narrow_terminal(
    small_index: Path, film: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.__main__.PIPED_WIDTH", columns)
    text = run_search("query", film, "--index", small_index, "-k", 12, "--any-view").stdout
    assert text.count("not recorded") == 1 + 9  # patient 0 for death, nine patients for ITU admission
    assert "not rec…" not in text and "not recor\n" not in text


def test_names_that_look_like_markup_are_shown_as_they_are(small_index: Path, film: Path, tmp_path: Path) -> None:
    odd = film.with_name("scan[left][b].dcm")
    odd.write_bytes(film.read_bytes())
    assert "scan[left][b].dcm" in run_search("query", odd, "--index", small_index).stdout


def test_a_mistyped_patient_is_refused_not_ignored(small_index: Path, film: Path) -> None:
    assert_refused(run_search("query", film, "--index", small_index, "--patient", "P01"), 2, "no case", "'P01'")


def test_a_folder_or_zip_may_be_asked_like_a_file(small_index: Path, film: Path, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "film").write_bytes(film.read_bytes())
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(film, "film.dcm")
    answers = [
        json.loads(run_search("query", path, "--index", small_index, "--json").stdout)
        for path in (film, tmp_path / "study", tmp_path / "study.zip")
    ]
    assert answers[0]["neighbours"] == answers[1]["neighbours"] == answers[2]["neighbours"]


def test_inspect_tells_steps_flags_and_refusals(film: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    result = CliRunner().invoke(
        embed_main, ["inspect", str(film), str(tmp_path / "note.txt"), "--picture", str(tmp_path / "seen.png")]
    )
    assert result.exit_code == 2
    for word in ("VOI window: centre 2048 width 4096 LINEAR", "! tiny", "refused, not-an-image"):
        assert word in result.stdout
    assert (tmp_path / "seen.png").stat().st_size > 1000
    document = json.loads(CliRunner().invoke(embed_main, ["inspect", str(film), "--json"]).stdout)
    assert document[0]["kind"] == "xray" and document[0]["pixel_hash"] and "Covid77" not in json.dumps(document)


def test_inspect_tells_how_a_view_is_known_and_how_the_patient_was_placed(tmp_path: Path) -> None:
    stated = {
        "a.dcm": dicom_bytes(phantom(), ViewPosition="PA", SeriesDescription="CHEST ERECT"),
        "b.dcm": dicom_bytes(phantom(), ViewPosition=None, StudyDescription="Mobile chest, supine"),
        "c.dcm": dicom_bytes(phantom(), ViewPosition=None),
        "d.png": png_bytes(phantom()),
    }
    for name, data in stated.items():
        (tmp_path / name).write_bytes(data)
    result = CliRunner().invoke(embed_main, ["inspect", *(str(tmp_path / name) for name in stated), "--json"])
    told = [
        [entry[name] for name in ("view", "view_confidence", "view_source", "placement")]
        for entry in json.loads(result.stdout)
    ]
    assert told == [
        ["PA", "high", "ViewPosition", ["erect"]],
        ["AP", "low", "StudyDescription", ["portable", "supine"]],
        [None, "none", None, []],
        [None, None, None, []],
    ]


def test_inspect_pictures_a_film_in_a_folder_or_zip_with_its_stored_pixels(film: Path, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "film").write_bytes(film.read_bytes())
    (tmp_path / "study" / "note.txt").write_text("hello")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(film, "film.dcm")
    pictures = []
    for path in (film, tmp_path / "study", tmp_path / "study.zip"):
        result = CliRunner().invoke(embed_main, ["inspect", str(path), "--picture", str(tmp_path / "seen.png")])
        assert result.exit_code == 0, result.output
        pictures.append((tmp_path / "seen.png").read_bytes())
    assert pictures[0] == pictures[1] == pictures[2]
    shown = cv2.imread(str(tmp_path / "seen.png"), cv2.IMREAD_GRAYSCALE)
    panels = (shown[:448] != 32).mean(axis=0).reshape(-1, 448).mean(axis=1)
    assert len(panels) == 3 and panels.min() > 0.5  # stored, with its lungs, as the encoder sees it


# --- what may not stop or spoil a build


def test_ids_and_file_names_that_no_table_holds_are_rejected_one_by_one(tmp_path: Path) -> None:
    cohort = change_cells(table_archive(tmp_path / "archive"), film={0: "fi\0lm", 1: "x" * 300, 2: "[red]"})
    warehouse = tmp_path / "warehouse"
    for patient, name in ((b"Covid1", b"caf\xe9.dcm"), (b"Covid\xff", b"a.dcm"), (b"Covid3", b"b.dcm")):
        folder = os.fsencode(warehouse / "xray") + b"/" + patient + b"/1/2"
        Path(os.fsdecode(folder)).mkdir(parents=True)
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(dicom_bytes(phantom(seed=len(name))))
    both = ["--cohort", f"table={cohort}", "--cohort", f"nccid={warehouse}"]
    result = run_build(*both, "--index", tmp_path / "index", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["rejected"] == {"missing-file": 1, "unusable-name": 4} and summary["cases"] == {"xray": 22}
    assert "[red].png" in result.stderr


def test_two_cohorts_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = table_archive(tmp_path / "a"), table_archive(tmp_path / "b")
    result = run_build("--cohort", f"table={first}", "--cohort", f"table={second}", "--index", tmp_path / "index")
    assert_refused(result, 2, "two cohorts are called 'small'", str(first.parent), str(second.parent))


def test_an_id_that_two_cohorts_share_is_rejected_by_both_names(tmp_path: Path) -> None:
    first, second = table_archive(tmp_path / "a"), table_archive(tmp_path / "b")
    second.write_text(second.read_text().replace('"small"', '"other"'))
    arguments = ["--cohort", f"table={first}", "--cohort", f"table={second}", "--index", tmp_path / "index", "--json"]
    assert_refused(run_build(*arguments), 1, "24 of 48 scans were rejected, more than 20%")
    summary = json.loads(run_build(*arguments, "--max-rejected", "0.5").stdout)
    assert summary["rejected"] == {"repeated-case-id": 24}
    for words in ("cohort 'small'", "cohort 'other'", "unique over all cohorts"):
        assert words in summary["rejected_files"][0]["message"]


def test_cohorts_whose_columns_collide_are_refused_before_work(tmp_path: Path) -> None:
    first, second = table_archive(tmp_path / "a"), table_archive(tmp_path / "b")
    second.write_text(second.read_text().replace('"small"', '"other"').replace("endpoints.died", "endpoints.dead"))
    second.write_text(second.read_text() + '[clinical]\ndied = "age"\n')
    result = run_build("--cohort", f"table={first}", "--cohort", f"table={second}", "--index", tmp_path / "index")
    assert_refused(result, 2, "two columns died")


def test_not_a_number_passes_no_filter(tmp_path: Path, film: Path) -> None:
    cohort = change_cells(table_archive(tmp_path / "archive"), age=dict.fromkeys(range(22), "nan"))
    cohort.write_text(cohort.read_text() + '[clinical]\ncrp = "age"\n')
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index").exit_code == 0
    asked = run_search("query", film, "--index", tmp_path / "index", "--where", "crp > 10", "--any-view", "--json")
    assert {neighbour["patient_id"] for neighbour in json.loads(asked.stdout)["neighbours"]} == {"p11"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_build_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(HistogramEncoder):
        def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
            signal.raise_signal(number)
            return super().encode(scans)

    monkeypatch.setattr("build_index.load_encoder", lambda name: Stopping())
    cohort = table_archive(tmp_path / "archive", patients=2)
    inherited = signal.signal(
        number, signal.default_int_handler
    )  # a background job ignores SIGINT, and so would a build
    try:
        result = run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index")
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, inherited)
    assert_refused(result, code, "stopped by ", "; nothing is published yet", "the same command goes on")
    assert (
        left_in(tmp_path / "index" / "building") <= {"LOCK", "parts"} and not (tmp_path / "index" / "CURRENT").exists()
    )


# --- an index that is not what it was


def test_changed_signatures_are_refused_not_measured(small_index: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(small_index, tmp_path / "index"))
    path = next(index.glob("snapshots/*/xray/signatures.npy"))
    np.save(path, np.load(path)[::-1])
    words = "signatures.npy: was changed since it was built"
    assert_refused(run_search("evaluate", "--index", index, "--target", "died"), 2, words)
    assert_refused(run_search("study", "--index", index, "--out", tmp_path / "study"), 2, words)


def test_a_picture_without_its_previews_is_refused(small_index: Path, film: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(small_index, tmp_path / "index"))
    next(index.glob("snapshots/*/previews.bin")).write_bytes(b"")
    result = run_search("query", film, "--index", index, "--picture", tmp_path / "answer.png")
    assert_refused(result, 2, "previews.bin: was changed")


def test_an_encoder_given_by_a_relative_path_is_found_from_any_folder(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = table_archive(tmp_path / "archive")
    (tmp_path / "elsewhere").mkdir()
    net = tiny_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run_build("--cohort", f"table={cohort}", "--index", "index", "--encoder", "onnx:tiny.onnx").exit_code == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_search("query", film, "--index", tmp_path / "index").exit_code == 0
    for path in (net, net.with_suffix(".json")):
        path.rename(tmp_path / "elsewhere" / path.name)
    assert_refused(run_search("query", film, "--index", tmp_path / "index"), 2, str(net.with_suffix("")), "--encoder")
    found = run_search("query", film, "--index", tmp_path / "index", "--encoder", "onnx:tiny.onnx")
    assert found.exit_code == 0, found.output
