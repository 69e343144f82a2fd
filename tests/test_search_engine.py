"""Questions and answers: exact, filtered at full recall, one case a patient, and honest about what is not recorded."""

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from embed.encoder import load_encoder
from embed.read import read_scan, read_scan_bytes
from embed.scan import Scan
from index.case import Endpoint, Event, Outcome, State
from index.numpy_store import NumpyStore
from index.snapshot import SnapshotError, open_current
from search.answer import Answer, Question, QuestionError
from search.engine import SearchEngine
from search.nearest import nearest_patients
from search.outcomes import Rate, patient_state, rate_of, summarise, wilson_interval
from search.picture import draw_answer
from tests.films import dicom_bytes, phantom


@pytest.fixture(scope="module")
def engine(small_index: Path) -> SearchEngine:
    return SearchEngine.open(small_index)


@pytest.fixture(scope="module")
def films(small_index: Path) -> list[Path]:
    return sorted((small_index.parent / "archive" / "films").glob("*.png"))


def new_scan(engine: SearchEngine, **attributes: object) -> Scan:
    return read_scan_bytes(dicom_bytes(phantom(seed=99), **attributes), side=engine.encoder.side)


def messages(answer: Answer) -> list[str]:
    return [warning.message for warning in answer.warnings]


def expected_ids(engine: SearchEngine, scan: Scan, allowed: npt.NDArray[np.bool_], k: int) -> list[str]:
    """The answer by brute force: every similarity, sorted, first of each patient."""
    snapshot = engine.snapshot
    query = snapshot.transforms["xray"].apply(engine.encoder.encode([scan]))[0]
    rows = snapshot.transforms["xray"].apply(np.asarray(snapshot.signatures("xray")))
    similarity = np.round(rows.astype(float) @ query.astype(float), 6)
    ids, found, seen = engine.archives["xray"].case_ids, [], set()
    for row in sorted(np.flatnonzero(allowed), key=lambda row: (-similarity[row], ids[row])):
        patient = engine.archives["xray"].patients[row]
        if patient not in seen:
            seen.add(patient)
            found.append(str(ids[row]))
    return found[:k]


@pytest.mark.parametrize("where", [None, "age_years >= 47", "sex = 'F' and site <> 'centre 1'", "case_id = 'film005'"])
def test_the_answer_is_that_of_brute_force_under_any_filter(engine: SearchEngine, where: str | None) -> None:
    scan = new_scan(engine, ViewPosition=None)
    answer = engine.query([scan], Question(k=5, where=where))
    allowed = engine.rows_where("xray", where)
    assert [n.case.case_id for n in answer.neighbours] == expected_ids(engine, scan, allowed, 5)
    assert answer.eligible == allowed.sum()


def test_a_patient_appears_once(engine: SearchEngine) -> None:
    neighbours = engine.query([new_scan(engine)], Question(k=12, match_view=False)).neighbours
    assert len({n.case.patient_id for n in neighbours}) == len(neighbours) == 12
    assert [n.rank for n in neighbours] == list(range(1, 13))


def test_the_view_is_matched_unless_any_is_asked_for(engine: SearchEngine) -> None:
    matched = engine.query([new_scan(engine, ViewPosition="AP")], Question(k=6))
    assert {n.case.view for n in matched.neighbours} == {"AP"} and matched.eligible == 12
    any_view = engine.query([new_scan(engine, ViewPosition="AP")], Question(k=12, match_view=False))
    assert {n.case.view for n in any_view.neighbours} == {"AP", "PA"}
    assert any("another view" in message for message in messages(any_view))


def test_a_query_without_a_view_is_answered_with_a_warning(engine: SearchEngine) -> None:
    answer = engine.query([new_scan(engine, ViewPosition=None)], Question(k=3))
    assert any("view is not known" in message for message in messages(answer))


def test_an_archived_film_does_not_find_its_own_patient_unless_asked(engine: SearchEngine, films: list[Path]) -> None:
    scan = read_scan(films[4], side=engine.encoder.side)
    answer = engine.query([scan], Question(k=5))
    assert "p02" not in {n.case.patient_id for n in answer.neighbours}
    assert answer.views == ("PA",)  # as archived; the picture itself does not say
    own = engine.query([scan], Question(k=5, include_own=True)).neighbours[0]
    assert (own.case.case_id, round(own.similarity, 4)) == ("film004", 1)


def copy_of(film: Path, engine: SearchEngine) -> Scan:
    """A film cropped by two of a hundred columns and rows, and saved as JPEG: no stored value is what it was."""
    picture = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)[2:-2, 2:-2]
    return read_scan_bytes(
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes(), side=engine.encoder.side
    )


def test_the_patient_of_an_archived_film_that_the_query_is_a_copy_of_is_left_out_and_told(
    engine: SearchEngine, films: list[Path]
) -> None:
    copy = copy_of(films[4], engine)
    assert not engine.archives["xray"].same_picture(copy).any()
    answer = engine.query([copy], Question(k=12))
    assert len(answer.neighbours) == 11 and "p02" not in {n.case.patient_id for n in answer.neighbours}
    told = "1 archived film looks like a copy of this scan (recompressed or cropped)"
    assert f"{told}; its patient is left out." in messages(answer)
    shown = engine.query([copy], Question(k=12, include_own=True))
    assert len(shown.neighbours) == 12 and f"{told}." in messages(shown)
    pair = engine.query([copy, copy_of(films[9], engine)], Question(k=12))
    assert len(pair.neighbours) == 10 and not {"p02", "p04"} & {n.case.patient_id for n in pair.neighbours}
    assert any("2 archived films look like copies" in message for message in messages(pair))


def test_a_copy_of_a_withdrawn_patients_film_is_not_told_of(engine: SearchEngine, films: list[Path]) -> None:
    class Withdrawn:
        def covers(self, patient_id: str) -> bool:
            return patient_id == "p02"

        def changed(self) -> bool:
            return False

    copy = copy_of(films[4], engine)
    without = SearchEngine(engine.snapshot, engine.encoder, deny_list=Withdrawn())
    answer = without.query([copy], Question(k=11))
    assert not any("copy" in message for message in messages(answer))
    assert answer.own_pictures == ()
    assert len(engine.query([copy], Question(k=12)).own_pictures) == 1


@pytest.mark.parametrize("where", [None, "case_id <> '{film}'", "case_id <> '{film}' and age_years > 0"])
@pytest.mark.parametrize("match_view", [True, False])
def test_who_is_taken_for_the_scans_own_patient_stays_out_whatever_is_filtered(
    engine: SearchEngine, where: str | None, match_view: bool
) -> None:
    scan, archive = new_scan(engine, ViewPosition="AP"), engine.archives["xray"]
    nearest = engine.query([scan], Question(k=1, match_view=False)).neighbours[0]
    own, where = nearest.case, where and where.format(film=nearest.case.case_id)
    answer = engine.query([scan], Question(k=12, where=where, match_view=match_view, own_from=nearest.similarity))
    assert answer.own_pictures == (own.case_id,)
    allowed = engine.rows_where("xray", where) & (archive.patient_ids != own.patient_id)
    allowed &= (archive.views == "AP") | (not match_view)
    assert answer.eligible == allowed.sum()
    assert {n.case.patient_id for n in answer.neighbours} == set(archive.patient_ids[allowed])


def test_a_copy_is_not_told_of_where_the_patient_is_known(engine: SearchEngine, films: list[Path]) -> None:
    by_name = engine.query([copy_of(films[4], engine)], Question(k=5, patient_id="p02"))
    itself = engine.query([read_scan(films[4], side=engine.encoder.side)], Question(k=5))
    stranger = engine.query([new_scan(engine)], Question(k=5))
    assert not any("copy" in message for answer in (by_name, itself, stranger) for message in messages(answer))


@pytest.mark.parametrize(
    "question", [Question(k=11, match_view=False, patient_id="p07"), Question(k=11, match_view=False)]
)
def test_the_own_patient_is_known_by_id_or_header(engine: SearchEngine, question: Question) -> None:
    scan = new_scan(engine, PatientID="p07")
    assert "p07" not in {n.case.patient_id for n in engine.query([scan], question).neighbours}


def test_scans_asked_together_give_each_case_its_best_similarity(engine: SearchEngine, films: list[Path]) -> None:
    pair = [read_scan(films[0], side=engine.encoder.side), read_scan(films[8], side=engine.encoder.side)]
    question = Question(k=4, match_view=False)
    own = {"p00", "p04"}
    best: dict[str, float] = {}
    for scan in pair:
        for n in engine.query([scan], Question(k=12, match_view=False)).neighbours:
            if n.case.patient_id not in own:
                best[n.case.patient_id] = max(best.get(n.case.patient_id, -1), n.similarity)
    expected = sorted(best, key=lambda patient: -best[patient])[:4]
    assert [n.case.patient_id for n in engine.query(pair, question).neighbours] == expected


def test_fewer_eligible_than_asked_is_said(engine: SearchEngine) -> None:
    answer = engine.query([new_scan(engine)], Question(k=5, where="patient_id in ('p01', 'p02')", match_view=False))
    assert len(answer.neighbours) == 2 and any("Only 2 of 5 patients" in message for message in messages(answer))
    nobody = engine.query([new_scan(engine)], Question(k=5, where="false"))
    assert nobody.neighbours == () and nobody.eligible == 0


@pytest.mark.parametrize("k", [0, -3, 13])
def test_an_impossible_k_is_refused(engine: SearchEngine, k: int) -> None:
    with pytest.raises(QuestionError, match=f"k is {k}"):
        engine.query([new_scan(engine)], Question(k=k))


def test_an_index_of_another_encoder_is_refused(small_index: Path) -> None:
    with pytest.raises(SnapshotError, match=r"built by histogram.*the encoder here is efficientnet"):
        SearchEngine(open_current(small_index), load_encoder("efficientnet-lite0"))


def test_the_outcome_summary_counts_only_what_is_recorded(engine: SearchEngine) -> None:
    answer = engine.query([new_scan(engine)], Question(k=12, match_view=False))
    died = answer.outcomes["died"]
    # patients 3, 6, 9 died; patient 0's outcome is not recorded; all 12 patients are neighbours
    assert (died.asked, died.known, died.events) == (12, 11, 3)
    assert (died.low, died.high) == wilson_interval(3, 11)
    assert died.archive == Rate(known=11, events=3)
    itu = answer.outcomes["itu_admission"]
    assert (itu.known, itu.events, itu.low) == (3, None, None)  # below five, nothing is said
    assert any("ITU admission: recorded for 3 of 12" in message for message in messages(answer))


def test_the_archive_rate_is_that_of_the_eligible(engine: SearchEngine) -> None:
    answer = engine.query([new_scan(engine)], Question(k=2, where="patient_id <= 'p04'", match_view=False))
    assert answer.outcomes["died"].archive == Rate(known=4, events=1)


def test_the_json_document_holds_what_the_design_promises(engine: SearchEngine) -> None:
    document = json.loads(json.dumps(engine.query([new_scan(engine)], Question(k=2)).to_json()))
    assert {"snapshot", "query", "eligible", "neighbours", "outcomes", "warnings"} <= set(document)
    assert {"modality", "view", "provenance"} <= set(document["query"])
    first = document["neighbours"][0]
    assert {"rank", "similarity", "case_id", "patient_id", "modality", "view", "site", "scan_date", "outcome"} <= set(
        first
    )
    assert set(first["outcome"]["died"]) == {"state", "days"}
    assert {"known", "events", "low", "high"} <= set(document["outcomes"]["died"])


def test_the_picture_shows_the_query_and_every_neighbour(engine: SearchEngine) -> None:
    image = draw_answer(engine.query([new_scan(engine)], Question(k=5)), engine.snapshot)
    assert image.size == (4 * 256, 2 * (256 + 63) + 24)
    tiles = np.asarray(image.convert("L")).astype(float)
    for place in range(6):
        x, y = place % 4 * 256, place // 4 * (256 + 63)
        assert tiles[y + 60 : y + 200, x + 60 : x + 200].std() > 10  # a film, not an empty tile


# --- outcomes


def test_wilson_interval_by_hand() -> None:
    # 4 of 9: centre (4/9 + 1.9207/9) / (1 + 3.8415/9) and half-width worked out with a pocket calculator
    assert wilson_interval(4, 9) == pytest.approx((0.18878, 0.73334), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27753), abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1
    with pytest.raises(ValueError):
        wilson_interval(3, 2)


def test_not_recorded_counts_nowhere() -> None:
    assert rate_of([State.YES, State.NO, State.NOT_RECORDED, State.NO]) == Rate(known=3, events=1)
    assert Rate(0, 0).share is None


def test_a_patient_with_several_scans_has_one_vote() -> None:
    assert patient_state([State.NOT_RECORDED, State.NO, State.YES]) is State.YES
    assert patient_state([State.NOT_RECORDED, State.NO]) is State.NO
    assert patient_state([State.NOT_RECORDED]) is State.NOT_RECORDED


def test_five_known_outcomes_are_enough_to_speak() -> None:
    outcomes = [Outcome({"died": Event(State.YES)})] * 5 + [Outcome({"died": Event(State.NOT_RECORDED)})] * 5
    summary = summarise(outcomes, Endpoint("died", "death"), Rate(9, 3))
    assert (summary.known, summary.events, summary.high) == (5, 5, 1.0)
    assert summarise(outcomes[1:], Endpoint("died", "death"), Rate(9, 3)).events is None


# --- nearest patients


def test_a_crowd_of_one_patient_does_not_hide_the_others() -> None:
    rows = np.array([[1, 0]] * 500 + [[0.8, 0.6], [0.6, 0.8]], np.float32)
    patients = np.array([0] * 500 + [1, 2])
    similarities, found = nearest_patients(
        NumpyStore.build(rows), np.array([[1, 0]] * 2, np.float32), k=2, patients=patients, own=np.array([-1, 0])
    )
    assert found.tolist() == [[0, 500], [500, 501]]
    np.testing.assert_allclose(similarities, [[1, 0.8], [0.8, 0.6]], atol=1e-6)
