"""An NCCID warehouse in a bucket, served by a real S3 server on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import build_index
from index.archive_files import open_files
from index.case import Case
from index.cohort import CohortError, open_cohort
from index.local_copies import LocalCopies
from index.snapshot import open_current
from index.stock import take_stock
from tests.buckets import Wire, running_bucket
from tests.films import dicom_bytes, phantom

CLINICAL = {"SubmittingCentre": "A Trust", "Date of admission": "2020-04-01", "Death": 1, "Date of death": "2020-04-11"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Two films of one patient, the metadata of one of them, and a CT study of two series."""
    root = tmp_path / "training"
    for number in (1, 2):
        content = dicom_bytes(phantom(seed=number), SOPInstanceUID=f"1.{number}", StudyDate="20200401")
        put(root / f"xray/Covid1/s/x/1.{number}.dcm", content)
    put(
        root / "xray-metadata/Covid1/s/x/1.1.json",
        json.dumps({"00080020": {"vr": "DA", "Value": ["20200402"]}}).encode(),
    )
    for series in ("a", "b"):
        for number in range(3):
            put(root / f"ct/Covid1/study/{series}/9.{series}.{number}.dcm", dicom_bytes(phantom(16, 16), Modality="CT"))
    put(root / "data/Covid1/data_2020-06-01.json", json.dumps(CLINICAL).encode())
    return tmp_path


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def wire(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with running_bucket(warehouse, bucket="nccid", prefix="some/where") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.port}")
        yield running


URL = "s3://nccid/some/where"


def told(case: Case) -> tuple[Any, ...]:
    return (case.case_id, case.patient_id, case.scan_date, case.site, case.outcome, case.clinical, case.uids)


def test_a_bucket_is_read_as_the_same_tree_in_a_folder(warehouse: Path, wire: Wire) -> None:
    remote, local = (list(open_cohort(f"nccid={root}").iter_cases()) for root in (URL, warehouse))
    assert [told(case) for case in remote] == [told(case) for case in local] and len(local) == 3
    assert remote[0].files == (f"{URL}/training/xray/Covid1/s/x/1.1.dcm",)


def test_names_that_look_like_patterns_are_read_as_they_are(
    wire: Wire,
) -> None:
    import boto3

    content = dicom_bytes(phantom(16, 16), StudyDate="20200401")
    boto3.client("s3").put_object(Bucket="nccid", Key="odd/xray/Covid[2]/s/t/a*.dcm", Body=content)
    (case,) = open_cohort("nccid=s3://nccid/odd").iter_cases()
    assert (case.patient_id, case.case_id, str(case.scan_date)) == ("Covid[2]", "a*", "2020-04-01")
    with LocalCopies() as copies:
        (copy,) = copies.of([case])
        assert copy.paths[0].read_bytes() == content


def test_only_what_is_needed_is_read(wire: Wire) -> None:
    list(open_cohort(f"nccid={URL}").iter_cases())
    got = [line.rpartition("/")[2] for line in wire.requests if line.startswith("GET") and "?" not in line]
    # of the film with metadata nothing, of the CT's six slices one
    assert sorted(set(got)) == ["1.1.json", "1.2.dcm", "9.a.0.dcm", "data_2020-06-01.json"]
    assert not any("study/b" in line for line in wire.requests)


@pytest.mark.parametrize("cut", [1, 2])
def test_a_lost_connection_is_tried_again(wire: Wire, cut: int) -> None:
    files = open_files(f"{URL}/training")
    wire.cut = cut
    (content,) = files.read_all(["data/Covid1/data_2020-06-01.json"]).values()
    assert isinstance(content, bytes) and json.loads(content) == CLINICAL and wire.cut == 0


def test_a_missing_key_is_an_error_of_its_own(wire: Wire) -> None:
    files = open_files(f"{URL}/training")
    found = files.read_all(["data/Covid1/data_2020-06-01.json", "data/Covid1/none.json"])
    assert isinstance(found["data/Covid1/data_2020-06-01.json"], bytes)
    assert isinstance(found["data/Covid1/none.json"], FileNotFoundError)
    with pytest.raises(OSError, match="none"):
        files.open("xray/none.dcm").read()


def test_copies_are_gone_after_reading(wire: Wire) -> None:
    cases = list(open_cohort(f"nccid={URL}").iter_cases())
    with LocalCopies() as copies:
        seen = list(copies.of(cases))
        assert [sorted(copy.names()) for copy in seen if copy.paths[0].is_dir()] == [
            ["9.a.0", "9.a.1", "9.a.2", "9.b.0", "9.b.1", "9.b.2"]
        ]
        assert all(path.exists() for copy in seen for path in copy.paths)
        seen[0].remove()
        assert not seen[0].paths[0].exists()
    assert not any(path.exists() for copy in seen for path in copy.paths)


def test_an_index_is_built_from_a_bucket_and_a_key_that_goes_meanwhile_is_rejected(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    listed = take_stock

    def then_withdrawn(*arguments: Any) -> Any:
        stock = listed(*arguments)
        boto3.client("s3").delete_object(Bucket="nccid", Key="some/where/training/xray/Covid1/s/x/1.2.dcm")
        return stock

    monkeypatch.setattr("index.building.take_stock", then_withdrawn)
    arguments = ["--cohort", f"nccid={URL}", "--index", str(tmp_path / "i"), "--encoder", "histogram", "--json"]
    result = CliRunner().invoke(build_index.main, arguments)
    assert result.exit_code == 0, result.output
    manifest = open_current(tmp_path / "i").manifest
    assert manifest.cases == {"xray": 1} and manifest.rejected["unreachable"] == 1
    assert manifest.cohorts == {"nccid": URL}


@pytest.mark.parametrize("url", ["s3://nccid/no/where", "s3://no-such-bucket/x", "gopher://x/y"])
def test_a_bucket_that_is_not_there_is_refused(wire: Wire, url: str) -> None:
    with pytest.raises(CohortError, match="cannot be listed"):
        open_cohort(f"nccid={url}")
