"""Every vector store passes one battery, and all agree with the NumPy oracle to the last id."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index.numpy_store import NumpyStore, exact_search
from index.store import STORES, Rows, VectorStore, store_class
from tests.conftest import need_module

ROOT = Path(__file__).parents[1]


def unit_rows(count: int, dim: int, *, seed: int) -> Rows:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def written_and_read(store: VectorStore) -> VectorStore:
    stream = io.BytesIO()
    store.write(stream)
    stream.seek(0)
    return type(store).read(stream)


@pytest.fixture(params=sorted(STORES))
def cls(request: pytest.FixtureRequest) -> type[VectorStore]:
    return store_class(request.param)


ROWS = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0], [-1, 0]], np.float32)


def test_neighbours_come_by_similarity_then_row(cls: type[VectorStore]) -> None:
    similarities, rows = cls.build(ROWS).search(np.array([[1, 0]], np.float32), k=5)
    assert rows.tolist() == [[0, 3, 2, 1, 4]]
    np.testing.assert_allclose(similarities, [[1, 1, 0.6, 0, -1]], atol=1e-6)


def test_only_allowed_rows_are_returned_and_the_rest_is_padded(cls: type[VectorStore]) -> None:
    similarities, rows = cls.build(ROWS).search(np.array([[1, 0]], np.float32), k=4, allowed=np.array([1, 3]))
    assert rows.tolist() == [[3, 1, -1, -1]]
    assert np.isnan(similarities[0, 2:]).all()


def test_nothing_allowed_gives_padding_only(cls: type[VectorStore]) -> None:
    _, rows = cls.build(ROWS).search(np.array([[1, 0]], np.float32), k=2, allowed=np.empty(0, np.int64))
    assert rows.tolist() == [[-1, -1]]


def test_no_queries_give_no_rows(cls: type[VectorStore]) -> None:
    similarities, rows = cls.build(ROWS).search(np.empty((0, 2), np.float32), k=3)
    assert similarities.shape == rows.shape == (0, 3)


def test_a_store_survives_being_written(cls: type[VectorStore]) -> None:
    store = written_and_read(cls.build(ROWS))
    assert (store.count, store.dim) == (5, 2)
    assert store.search(ROWS[:1], k=1)[1].tolist() == [[0]]


def test_a_store_of_blocks_is_that_of_all_rows(cls: type[VectorStore]) -> None:
    rows = unit_rows(2500, 8, seed=5)
    store = cls.build_of_blocks((rows[at : at + 1000] for at in range(0, 2500, 1000)), 2500, 8)
    for found, expected in zip(store.search(rows[::250], k=20), cls.build(rows).search(rows[::250], k=20), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="expected 2501 rows, found 2500"):
        cls.build_of_blocks([rows], 2501, 8)


def test_a_full_disk_is_told(cls: type[VectorStore]) -> None:
    store = cls.build(unit_rows(1000, 64, seed=6))
    with Path("/dev/full").open("wb", buffering=0) as stream, pytest.raises(OSError):
        store.write(stream)


@pytest.mark.parametrize("k", [1, 7, 2500])
def test_the_oracle_finds_the_same_of_rows_in_blocks(k: int) -> None:
    rows = unit_rows(2500, 8, seed=7)
    rows[2400:] = rows[:100]  # ties across blocks
    blocks = [rows[at : at + 1000] for at in range(0, 2500, 1000)]
    _, expected = NumpyStore.build(rows).search(rows[::100], k=k)
    np.testing.assert_array_equal(exact_search(blocks, rows[::100], k=k), expected)


def test_bytes_that_are_no_store_are_refused(cls: type[VectorStore]) -> None:
    with pytest.raises(ValueError):
        cls.read(io.BytesIO(b"nothing of the kind, and long enough to be read as a header"))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.001])
def test_stores_agree_to_the_last_id_on_10000_rows_with_duplicates_and_filters(share: float) -> None:
    rows = unit_rows(10_000, 64, seed=1)
    rows[5000:6000] = rows[:1000]  # duplicates
    rows[7000:7300] = rows[42]  # and a crowd that ties at every k
    queries = np.concatenate([unit_rows(20, 64, seed=2), rows[[42, 7, 999]]])
    rng = np.random.default_rng(3)
    allowed = None if share == 1 else np.flatnonzero(rng.random(10_000) < share)
    expected = NumpyStore.build(rows).search(queries, k=10, allowed=allowed)
    for name in STORES:
        similarities, found = store_class(name).build(rows).search(queries, k=10, allowed=allowed)
        np.testing.assert_array_equal(found, expected[1], err_msg=name)
        np.testing.assert_array_equal(similarities, expected[0], err_msg=name)


def test_100000_rows_of_768_load_and_answer(cls: type[VectorStore]) -> None:
    rows = unit_rows(100_000, 768, seed=4)
    store = written_and_read(cls.build(rows))
    similarities, found = store.search(rows[[0, 99_999]], k=3)
    assert found[:, 0].tolist() == [0, 99_999]
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-5)


def test_a_store_is_written_and_read_beside_other_swig_modules(tmp_path: Path) -> None:
    need_module("SimpleITK")
    np.save(tmp_path / "rows.npy", ROWS)
    script = (
        "import sys, numpy\n"
        "from index.faiss_store import FaissStore\n"
        "import SimpleITK  # after FAISS: it takes over the type of std::vector<unsigned char>\n"
        "rows = numpy.load(sys.argv[1])\n"
        "with open(sys.argv[1] + '.index', 'wb') as stream:\n"
        "    FaissStore.build(rows).write(stream)\n"
        "with open(sys.argv[1] + '.index', 'rb') as stream:\n"
        "    assert FaissStore.read(stream).count == len(rows)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "rows.npy")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
