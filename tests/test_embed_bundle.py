"""Folders, lists and zips: the same files come out, and what is dangerous is refused with a reason."""

import io
import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from embed import bundle
from embed.bundle import Bundle, bundle_from_zip_bytes, open_bundle
from embed.scan import DamagedScan, ScanError, UnsupportedScan

FILES = {"b/2.dcm": b"two" * 100, "a/1.dcm": b"one" * 100, "3.dcm": b"three"}


def write_folder(folder: Path) -> Path:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(files: dict[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return held.getvalue()


def contents(opened: Bundle) -> list[bytes]:
    return [member.read() for member in opened.members]


def reasons(opened: Bundle) -> dict[str, str]:
    return {dropped.name.split(":", 1)[-1]: dropped.reason for dropped in opened.dropped}


def test_folder_list_and_zip_hold_the_same_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "study")
    (tmp_path / "study.bin").write_bytes(zipped())
    expected = [FILES["3.dcm"], FILES["a/1.dcm"], FILES["b/2.dcm"]]
    assert contents(open_bundle([folder])) == expected
    assert contents(open_bundle([folder / "3.dcm", folder / "a" / "1.dcm", folder / "b" / "2.dcm"])) == expected
    assert contents(open_bundle([tmp_path / "study.bin"])) == expected
    assert contents(bundle_from_zip_bytes(zipped())) == expected
    assert [member.head(2) for member in bundle_from_zip_bytes(zipped()).members] == [b"th", b"on", b"tw"]


def test_hidden_files_and_dicomdir_are_left_out_and_links_reported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "study")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / "link.dcm").symlink_to(folder / "3.dcm")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    opened = open_bundle([folder])
    assert len(opened.members) == 3
    assert reasons(opened) == {"link.dcm": "link", "again": "link"}


def test_what_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScanError) as missing:
        open_bundle([tmp_path / "nowhere"])
    assert missing.value.reason == "missing-file"
    with pytest.raises(UnsupportedScan) as empty:
        open_bundle([tmp_path])
    assert empty.value.reason == "empty-folder"
    with pytest.raises(UnsupportedScan):
        bundle_from_zip_bytes(zipped({}))


def test_a_zip_cannot_leave_its_folder_or_bring_links_or_zips() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("good.dcm", b"good")
        for name in ("../up.dcm", "/etc/passwd", "a\\..\\..\\up.dcm", "C:/up.dcm"):
            archive.writestr(name, b"bad")
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("inner.zip", zipped())
        archive.writestr(zipfile.ZipInfo("folder/"), b"")
        archive.writestr("__MACOSX/good.dcm", b"resource")
        archive.writestr(zipfile.ZipInfo("lzma.dcm"), b"x", zipfile.ZIP_LZMA)
    opened = bundle_from_zip_bytes(held.getvalue())
    assert contents(opened) == [b"good"]
    dropped = sorted(one.reason for one in opened.dropped)
    assert dropped == ["link", "nested-zip", *["unsafe-name"] * 4, "unsupported-zip"]


def test_encrypted_members_are_dropped() -> None:
    data = bytearray(zipped({"a.dcm": b"secret"}, zipfile.ZIP_STORED) + b"")
    directory = data.index(b"PK\x01\x02")
    data[6] |= 1  # flag bit 0 in the local header, then in the central directory
    data[directory + 8] |= 1
    with pytest.raises(UnsupportedScan, match="encrypted"):
        bundle_from_zip_bytes(bytes(data))


def test_a_bomb_is_dropped_before_it_is_unpacked() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.dcm", b"good")
        with archive.open("bomb.dcm", "w") as file:
            for _ in range(80):
                file.write(bytes(2**20))
    assert reasons(bundle_from_zip_bytes(held.getvalue())) == {"bomb.dcm": "too-large"}


def test_a_lying_size_never_unpacks_more_than_declared() -> None:
    data = bytearray(zipped({"a.dcm": bytes(10_000)}))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (100).to_bytes(4, "little")
    member = bundle_from_zip_bytes(bytes(data)).members[0]
    with pytest.raises(DamagedScan) as lying:  # its checksum is of the whole
        member.read()
    assert lying.value.reason == "damaged-zip"


def test_totals_and_counts_are_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 500)
    with pytest.raises(UnsupportedScan, match="605"):
        bundle_from_zip_bytes(zipped())
    monkeypatch.setattr(bundle, "MAX_BUNDLE_FILES", 2)
    with pytest.raises(UnsupportedScan) as many:
        bundle_from_zip_bytes(zipped())
    assert many.value.reason == "too-many-files"
    with pytest.raises(UnsupportedScan) as many:
        open_bundle([write_folder(tmp_path)])
    assert many.value.reason == "too-many-files"


@pytest.mark.parametrize("cut", [10, 40, 100, -10])
def test_a_cut_zip_is_a_damaged_one(cut: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DamagedScan):
            bundle_from_zip_bytes(zipped()[:cut])
