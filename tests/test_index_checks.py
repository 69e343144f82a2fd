"""What a snapshot must stand before it is published, and the figures of its health, worked out by hand on a few rows."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from index.case import Case, Endpoint, Event, Outcome, State
from index.checks import CheckError, Limits, check_against_previous, check_counts, doubts_of_counts
from index.health import Health, health_of, kept_answers, shift
from index.numpy_store import NumpyStore
from index.readings import Facts, Reading, Seen
from index.snapshot import Snapshot, SnapshotError, current_folder, open_current
from index.snapshot_writer import Build, SnapshotWriter, prepare_index_folder
from index.store import STORES, RowNumbers, Rows, Similarities

ENDPOINTS = (Endpoint("died", "death"),)
LIMITS = Limits()
NOTHING: Mapping[str, int] = {}


# --- counts


def test_an_archive_that_lost_more_than_a_tenth_has_shrunk() -> None:
    check_counts(indexed=180, rejected={}, seen=180, before=200, excused=0, limits=LIMITS)
    with pytest.raises(CheckError, match=r"shrunk from 200 to 179 scans.*--allow-shrink"):
        check_counts(indexed=179, rejected={}, seen=179, before=200, excused=0, limits=LIMITS)
    check_counts(indexed=179, rejected={}, seen=179, before=200, excused=0, limits=Limits(allow_shrink=True))


def test_who_was_excluded_did_not_shrink_it() -> None:
    check_counts(indexed=150, rejected={}, seen=150, before=200, excused=30, limits=LIMITS)
    with pytest.raises(CheckError, match="shrunk"):
        check_counts(indexed=150, rejected={}, seen=150, before=200, excused=29, limits=LIMITS)


def test_of_a_small_archive_shares_say_nothing() -> None:
    check_counts(indexed=1, rejected={}, seen=1, before=20, excused=0, limits=LIMITS)
    check_counts(indexed=1, rejected={"blank": 18}, seen=19, before=0, excused=0, limits=LIMITS)


def test_too_large_a_share_of_rejected_scans_is_refused() -> None:
    check_counts(indexed=80, rejected={"blank": 20}, seen=100, before=0, excused=0, limits=LIMITS)
    reasons = r"\(unreadable-file 20, blank 1\)"
    with pytest.raises(CheckError, match=rf"21 of 100 scans were rejected, more than 20% {reasons}.*--max-rejected"):
        check_counts(
            indexed=79, rejected={"blank": 1, "unreadable-file": 20}, seen=100, before=0, excused=0, limits=LIMITS
        )
    check_counts(indexed=79, rejected={"blank": 21}, seen=100, before=0, excused=0, limits=Limits(max_rejected=0.21))


# --- against the snapshot before


def unit(count: int, *, seed: int = 0, dim: int = 8) -> npt.NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def published(
    index: Path,
    rows: npt.NDArray[np.float32],
    *,
    store: str = "numpy",
    sites: str = "",
    first: int = 0,
    died: int = 0,
    clinical: Mapping[str, int] = NOTHING,
) -> Snapshot:
    """A case and patient a row; `sites` has a letter for each. Of the first `died` the outcome is on record, and of the first so
    many each `clinical` column.
    """
    prepare_index_folder(index)
    writer = SnapshotWriter(index, ENDPOINTS)
    for number, row in enumerate(rows, start=first):
        case_id = f"c{number:04}"
        site = sites[number] if sites else "s"
        outcome = Outcome({"died": Event(State.YES if number % 2 else State.NO)} if number < died else {})
        values: dict[str, float | str | None] = {name: "high" for name, count in clinical.items() if number < count}
        files = (f"/films/{number}.dcm",)
        case = Case(case_id, f"p{number}", "made", files, outcome, site=site, clinical=values)
        facts = Facts("xray", f"hash{number}", pixel_hash=f"pixels{number}")
        writer.add(case, Seen(case_id, "stamp", "record", facts), Reading(facts, row, b"jpeg"))
    writer.publish(Build("e", "fingerprint", {"made": "/films"}, ENDPOINTS, "0", store, seen=len(rows)))
    return open_current(index)


def test_the_same_archive_keeps_all_its_known_answers(tmp_path: Path) -> None:
    rows = unit(100)
    checked = check_against_previous(published(tmp_path / "b", rows), published(tmp_path / "a", rows), LIMITS)
    assert checked.figures == {"xray_recall": 1.0, "xray_known_answers_kept": 1.0}
    assert checked.warnings == ()


def test_known_queries_that_find_others_are_refused_or_told(tmp_path: Path) -> None:
    before, after = published(tmp_path / "a", unit(100)), published(tmp_path / "b", unit(100, seed=1))
    with pytest.raises(CheckError, match=r"only \d+% of 250 known neighbours .* --allow-drift"):  # 50 queries of 5
        check_against_previous(after, before, LIMITS)
    checked = check_against_previous(after, before, Limits(allow_drift=True))
    assert len(checked.warnings) == 1 and checked.figures["xray_known_answers_kept"] < 0.2


def test_new_cases_are_no_drift(tmp_path: Path) -> None:
    old = unit(100)
    near = old + np.float32(0.001) * unit(100, seed=2)  # each old case gets a neighbour nearer than any before
    rows = np.concatenate([old, near / np.linalg.norm(near, axis=1, keepdims=True)])
    checked = check_against_previous(published(tmp_path / "b", rows), published(tmp_path / "a", old), LIMITS)
    assert checked.figures["xray_known_answers_kept"] > 0.95  # the mean moves a little


def test_another_encoder_has_no_known_answers(tmp_path: Path) -> None:
    before, after = published(tmp_path / "a", unit(100)), published(tmp_path / "b", unit(100, seed=1))
    object.__setattr__(before.manifest, "fingerprint", "another")
    assert "xray_known_answers_kept" not in check_against_previous(after, before, LIMITS).figures


class Shuffled(NumpyStore):
    """A store that is bad on purpose: it finds the query's own row and then the farthest."""

    @classmethod
    def build(cls, rows: Rows) -> "Shuffled":
        return cls(rows)

    def search(self, queries: Rows, *, k: int, allowed: RowNumbers | None = None) -> tuple[Similarities, RowNumbers]:
        similarities, rows = super().search(queries, k=self.count, allowed=allowed)
        order = [0, *range(self.count - 1, 0, -1)][:k]
        return similarities[:, order], rows[:, order]


def test_a_store_that_misses_neighbours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STORES, "bad", "tests.test_index_checks:Shuffled")
    snapshot = published(tmp_path, unit(100), store="bad")
    with pytest.raises(CheckError, match=r"'bad' finds 10.0% of the 10 true neighbours"):  # itself, of ten
        check_against_previous(snapshot, None, LIMITS)


def test_what_a_check_refuses_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = published(tmp_path, unit(30)).manifest.name
    writer = SnapshotWriter(tmp_path, ENDPOINTS)
    facts = Facts("xray", "hash")
    case = Case("c", "p", "made", ("c.dcm",), Outcome({}))
    writer.add(case, Seen("c", "stamp", "record", facts), Reading(facts, unit(1)[0], b"jpeg"))

    def refuse(new: Snapshot) -> None:
        raise CheckError("no")

    with pytest.raises(SnapshotError, match="no"):
        writer.publish(Build("e", "fingerprint", {}, ENDPOINTS, "0", "numpy"), refuse)  # type: ignore[arg-type]
    writer.discard()
    assert current_folder(tmp_path).name == first


def test_the_mix_of_what_is_new_is_compared(tmp_path: Path) -> None:
    rows = unit(130)
    before = published(tmp_path / "a", rows[:100], sites="A" * 50 + "B" * 50)
    after = published(tmp_path / "b", rows, sites="A" * 50 + "B" * 50 + "B" * 15 + "C" * 15)
    checked = check_against_previous(after, before, Limits(allow_drift=True))
    assert checked.figures["xray_new_site_shift"] == pytest.approx(0.5)  # A 50 % to 0, B stays, C 0 to 50 %
    assert checked.figures["xray_new_view_shift"] == 0
    assert any("30 new scans differ in their mix of sites (50% moved)" in warning for warning in checked.warnings)
    fewer = published(tmp_path / "c", rows[:129], sites="A" * 50 + "B" * 50 + "C" * 29)
    assert "xray_new_site_shift" not in check_against_previous(fewer, before, Limits(allow_drift=True)).figures


def test_new_scans_unlike_the_archive_are_told(tmp_path: Path) -> None:
    near = np.eye(1, 64, dtype=np.float32) + 0.05 * unit(100, dim=64)
    far = np.concatenate([np.zeros((30, 32), np.float32), np.eye(30, 32, dtype=np.float32)], axis=1)
    rows = np.concatenate([near / np.linalg.norm(near, axis=1, keepdims=True), far])
    before = published(tmp_path / "a", rows[:100])
    checked = check_against_previous(published(tmp_path / "b", rows), before, Limits(allow_drift=True))
    assert any("new scans are unlike the archive" in warning for warning in checked.warnings)
    alike = np.concatenate([rows[:100], rows[:30]])
    checked = check_against_previous(published(tmp_path / "c", alike), before, Limits(allow_drift=True))
    assert checked.figures["xray_new_similarity"] == pytest.approx(1, abs=1e-5)
    assert not any("unlike" in warning for warning in checked.warnings)


# --- what was on record


def test_outcomes_that_are_gone_are_refused_told_or_allowed(tmp_path: Path) -> None:
    """Of 200 a tenth is 20, and no more than that may go."""
    rows = unit(220)
    before = published(tmp_path / "a", rows[:210], died=200)
    lost = published(tmp_path / "b", rows, died=179)
    with pytest.raises(CheckError, match=r"death is on record for 179 of the 200 scans .*--allow-lost-records"):
        check_against_previous(lost, before, LIMITS)
    allowed = check_against_previous(lost, before, Limits(allow_lost_records=True))
    fewer = check_against_previous(published(tmp_path / "c", rows, died=180), before, LIMITS)
    assert [text[:30] for text in allowed.warnings] == ["death is on record for 179 of "]
    assert [text[:30] for text in fewer.warnings] == ["death is on record for 180 of "]


def test_new_outcomes_make_up_for_none_that_are_gone(tmp_path: Path) -> None:
    """The new archive has more scans with an outcome than the old one, but they are others."""
    rows = unit(100)
    before = published(tmp_path / "a", rows[50:], first=50, died=80)  # 30 of 50
    after = published(tmp_path / "b", rows, died=55)  # 55 of 100, 5 of those 50
    with pytest.raises(CheckError, match="death is on record for 5 of the 30 scans"):
        check_against_previous(after, before, Limits(allow_drift=True))


def test_of_a_few_outcomes_none_is_too_many_to_lose(tmp_path: Path) -> None:
    rows = unit(100)
    before = published(tmp_path / "a", rows, died=19)
    checked = check_against_previous(published(tmp_path / "b", rows), before, LIMITS)
    assert checked.warnings == ("death is on record for 0 of the 19 scans for which it was with the last snapshot",)


def test_records_that_are_there_still_are_no_loss(tmp_path: Path) -> None:
    rows = unit(100)
    before = published(tmp_path / "a", rows, died=50, clinical={"crp": 50})
    assert (
        check_against_previous(published(tmp_path / "b", rows, died=60, clinical={"crp": 90}), before, LIMITS).warnings
        == ()
    )
    few = published(
        tmp_path / "c", rows[:40], died=40, clinical={"crp": 40}
    )  # who is gone altogether is the archive's shrinking
    assert check_against_previous(few, before, Limits(allow_drift=True)).warnings == ()


def test_clinical_values_that_are_gone_are_refused_and_one_lost_column_of_many_is_told(tmp_path: Path) -> None:
    """Of 270 values 27 are a tenth. Flags are none."""
    rows = unit(100)
    clinical = {"crp": 20, "pmh": 90, "ferritin": 80, "urea": 80, "clinical_flags": 90}
    before = published(tmp_path / "a", rows, clinical=clinical)
    without = published(tmp_path / "b", rows, clinical={**clinical, "crp": 0, "pmh": 82})
    with pytest.raises(
        CheckError, match="of 270 clinical values that were on record with the last snapshot 242 are so still"
    ):
        check_against_previous(without, before, LIMITS)
    renamed = {name.replace("crp", "c_reactive_protein"): count for name, count in clinical.items()}
    told = check_against_previous(published(tmp_path / "c", rows, clinical=renamed), before, LIMITS).warnings
    assert told == (
        "crp is on record for 0 of the 20 scans for which it was with the last snapshot",
        "of 270 clinical values that were on record with the last snapshot 250 are so still",
    )


def test_clinical_files_that_cannot_be_read_and_more_without_any_are_doubts() -> None:
    from index.cohorts.nccid import NO_IMAGES, NO_RECORD, UNREADABLE

    counts = {NO_RECORD: 7, NO_IMAGES: 9, UNREADABLE: 2}
    told = doubts_of_counts(counts, {NO_RECORD: 5, NO_IMAGES: 0, UNREADABLE: 2})
    assert told == (
        "7 patients with images but no clinical file, 2 more than with the last snapshot",
        "2 clinical files that cannot be read: whatever they record is missing from the index",
    )
    assert doubts_of_counts(counts | {UNREADABLE: 0}, {NO_RECORD: 7}) == ()
    assert doubts_of_counts(counts | {UNREADABLE: 0}, None) == ()
    assert len(doubts_of_counts({f"nccid: {what}": count for what, count in counts.items()}, {})) == 2


# --- health


def health(rows: Rows, patients: npt.NDArray[np.int64], ids: list[str]) -> Health:
    return health_of(NumpyStore.build(rows), rows.__getitem__, patients, ids)


def test_a_patient_of_many_scans_has_neighbours_of_others() -> None:
    """50 scans of one patient at 0°, and two others': the own ones do not crowd them out."""
    angles = np.deg2rad([0.0] * 50 + [30, 60])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    told = health(rows, np.array([0] * 50 + [1, 2]), [f"c{number:02}" for number in range(52)])
    assert told.answers[0]["neighbours"] == ["c50", "c51"]
    assert told.answers[0]["similarities"] == [0.866025, 0.5]


def test_hubness_and_likeness_by_hand() -> None:
    """Four patients at 0°, 30°, 60° and 180°: with k = 10 each is a neighbour of the three others, so none is a hub."""
    angles = np.deg2rad([0, 30, 60, 180])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    told = health(rows, np.arange(4), ["a", "b", "c", "d"])
    assert told.hubness == 0
    # the nearest: 30° for a, b and c (cos 0.866), 120° for d (cos -0.5)
    assert (told.likeness[0], told.likeness[50], told.likeness[100]) == (-0.5, 0.866025, 0.866025)
    assert told.answers[3] == {
        "case_id": "d",
        "neighbours": ["c", "b", "a"],
        "similarities": [-0.5, -0.866025, -1.0],
    }


def test_the_same_patient_is_no_neighbour() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    told = health(rows, np.array([7, 7, 8]), ["a", "b", "c"])
    assert [answer["neighbours"] for answer in told.answers] == [["c"], ["c"], ["a", "b"]]
    assert health(rows, np.array([7, 7, 7]), ["a", "b", "c"]).answers == ()


@pytest.mark.parametrize("count", [13, 200, 1100])
def test_health_is_that_of_a_plain_oracle(count: int) -> None:
    rows, patients = unit(count, dim=3), np.arange(count) // 2
    ids = [f"c{number}" for number in range(count)]
    told = health(rows, patients, ids)
    asked = np.unique(np.linspace(0, count - 1, min(1000, count)).astype(int))
    counts, nearest = np.zeros(count), []
    for query in asked:
        others = [
            (-round(float(rows[query] @ rows[row]), 6), row) for row in range(count) if patients[row] != patients[query]
        ]
        others.sort()
        nearest.append(-others[0][0])
        for _, row in others[:10]:
            counts[row] += 1
    deviations = counts - counts.mean()
    assert told.hubness == pytest.approx((deviations**3).mean() / (deviations**2).mean() ** 1.5, rel=0.02)
    np.testing.assert_allclose(told.likeness, np.percentile(nearest, range(101)), atol=2e-6)


def test_one_that_is_everybodys_neighbour_is_a_hub() -> None:
    """The hub in the middle of 40 others in all directions is among the ten nearest of all."""
    others = unit(40, dim=40, seed=3)
    others = np.linalg.qr(others)[0].astype(np.float32)  # all at right angles
    hub = others.mean(axis=0, keepdims=True)
    rows = np.concatenate([others, hub / np.linalg.norm(hub)])
    with_hub = health(rows, np.arange(41), [str(n) for n in range(41)])
    assert all(answer["neighbours"][0] == "40" for answer in with_hub.answers if answer["case_id"] != "40")
    assert with_hub.hubness > health(unit(41, dim=40), np.arange(41), [str(n) for n in range(41)]).hubness


def test_known_answers_count_only_who_was_there_and_is_there() -> None:
    angles = np.deg2rad([0, 10, 20, 30, 5])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    answers = [{"case_id": "a", "neighbours": ["b", "c", "gone"]}, {"case_id": "gone", "neighbours": ["a"]}]
    ids, before = ["a", "b", "c", "d", "new"], {"a", "b", "c", "d", "gone"}
    assert kept_answers(answers, NumpyStore.build(rows), rows.__getitem__, np.arange(5), ids, before) == (1.0, 2)
    moved = rows[[0, 1, 3, 2, 4]]  # c and d have changed places: of b and c, b and d are found
    assert kept_answers(answers, NumpyStore.build(moved), moved.__getitem__, np.arange(5), ids, before) == (0.5, 2)
    assert kept_answers([], NumpyStore.build(rows), rows.__getitem__, np.arange(5), ids, before) == (1.0, 0)


def test_a_shift_is_the_share_that_has_moved() -> None:
    assert shift(["PA", "PA", "AP", None], ["PA", "AP"]) == pytest.approx(0.25)  # AP 50 % to 25 %, None 0 to 25 %
    assert shift(["PA"], ["AP"]) == 1 and shift(["PA"] * 3, ["PA"]) == 0 and shift([], ["PA"]) == 0
