"""The loader's own published sample files: what its JSON says and what the DICOM says is the same, and both are read."""

import json
import shutil
from pathlib import Path

import pydicom
import pytest

from embed.read import read_scan
from embed.scan import UnsupportedScan
from index.cohort import open_cohort
from index.cohorts.nccid_header import file_header, json_header

SAMPLES = {
    "warehouse-sample": "unknown",  # an object of modality OT
    "1.3.6.1.4.1.11129.5.5.110503645592756492463169821050252582267888": "xray",
}


@pytest.mark.parametrize("stem", SAMPLES)
def test_the_metadata_of_a_sample_agrees_with_its_image(shared_data: Path, stem: str) -> None:
    folder = shared_data / "nccid"
    with (folder / f"{stem}.dcm").open("rb") as stream:
        by_file = file_header(stream)
    content = (folder / f"{stem}.json").read_bytes()
    assert json_header(content) == {keyword: value for keyword, value in by_file.items() if value}
    ds = pydicom.dcmread(folder / f"{stem}.dcm", stop_before_pixels=True)
    document = {tag: element for tag, element in json.loads(content).items() if element and "Value" in element}
    assert len(document) >= 10
    assert document.pop("00101010", {"Value": ["81"]})["Value"] == ["81"]  # an age without its unit is no valid JSON
    told = pydicom.Dataset.from_json(document)
    assert [(element.tag, element.value) for element in told] == [
        (element.tag, ds[element.tag].value) for element in told
    ]


def test_a_warehouse_of_the_samples_is_read(shared_data: Path, tmp_path: Path) -> None:
    for stem, tree in SAMPLES.items():
        for suffix, below in (("dcm", tree), ("json", f"{tree}-metadata")):
            target = tmp_path / "training" / below / "Covid0000" / "study" / "series" / f"{stem}.{suffix}"
            target.parent.mkdir(parents=True)
            shutil.copy(shared_data / "nccid" / f"{stem}.{suffix}", target)
    film, other = open_cohort(f"nccid={tmp_path}").iter_cases()
    assert (film.modality, film.sex, film.scan_date, other.modality) == ("DX", None, None, "OT")
    assert film.clinical == {} and film.patient_id == "Covid0000"
    assert read_scan(Path(film.files[0]), side=224).kind == "xray"
    with pytest.raises(UnsupportedScan, match="Modality is 'OT'"):
        read_scan(Path(other.files[0]), side=224)
