"""The previews of a snapshot, written one behind the other."""

import hashlib
import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from index.preview_file import BLOCK_BYTES, PreviewFile, PreviewWriter

SOME = [b"one", b"", b"three", random.Random(1).randbytes(BLOCK_BYTES + 5), b"last"]


def written(folder: Path, previews: Sequence[bytes] = SOME) -> PreviewWriter:
    writer = PreviewWriter(folder / "previews.bin")
    for jpeg in previews:
        writer.add(jpeg)
    writer.close()
    return writer


def opened(folder: Path, writer: PreviewWriter, order: Sequence[int]) -> PreviewFile:
    np.save(folder / "previews.npy", writer.places()[list(order)])
    return PreviewFile(folder / "previews.bin", folder / "previews.npy")


def test_previews_are_found_by_row_whatever_order_they_came_in(tmp_path: Path) -> None:
    order = [4, 0, 3, 2, 1]
    with closing(opened(tmp_path, written(tmp_path), order)) as previews:
        assert [previews.at(row) for row in range(5)] == [SOME[place] for place in order]


def test_the_hash_is_of_what_was_meant(tmp_path: Path) -> None:
    assert written(tmp_path).sha256() == hashlib.sha256(b"".join(SOME)).hexdigest()


def test_what_reads_back_as_other_than_was_written_is_told(tmp_path: Path) -> None:
    writer = PreviewWriter(tmp_path / "previews.bin")
    writer.add(SOME[3])  # a whole block: it is in the file by now
    with (tmp_path / "previews.bin").open("r+b") as disk:
        disk.write(b"\0\0\0\0")
    writer.close()
    with pytest.raises(OSError, match="reads back as other"):
        writer.sha256()


def test_a_file_that_is_too_short_is_told(tmp_path: Path) -> None:
    with closing(opened(tmp_path, written(tmp_path), range(5))) as previews:
        with (tmp_path / "previews.bin").open("r+b") as file:
            file.truncate(10)
        assert previews.at(2) == b"three"[:5]
        with pytest.raises(OSError, match="ends within a preview"):
            previews.at(4)


@pytest.mark.parametrize("place", [(-1, 3), (0, -1), (0, 10**15), (10**15, 1), (2, 2**62)])
def test_a_place_outside_the_file_is_told(tmp_path: Path, place: tuple[int, int]) -> None:
    written(tmp_path)
    np.save(tmp_path / "previews.npy", np.array([place], np.int64))
    with (
        closing(PreviewFile(tmp_path / "previews.bin", tmp_path / "previews.npy")) as previews,
        pytest.raises(OSError, match="has no"),
    ):
        previews.at(0)


@pytest.mark.parametrize("places", [np.zeros(3, np.int64), np.zeros((3, 3), np.int64), np.zeros((3, 2), np.float32)])
def test_places_that_are_none_are_refused(tmp_path: Path, places: np.ndarray) -> None:
    written(tmp_path)
    np.save(tmp_path / "previews.npy", places)
    with pytest.raises(ValueError, match="first bytes and lengths"):
        PreviewFile(tmp_path / "previews.bin", tmp_path / "previews.npy")


def test_a_writer_can_be_closed_twice(tmp_path: Path) -> None:
    writer = written(tmp_path)
    writer.close()
    assert writer.sha256()
