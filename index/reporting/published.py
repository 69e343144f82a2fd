"""What a published index knows of the pixels of an archive's scans, so that a report need not read them again."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.case import Rejected
from index.manifest import IndexManifest, ManifestError
from index.reporting.material import COMPLETED, Seen
from index.snapshot import SnapshotError, current_folder

CASE_COLUMNS = ["case_id", "cohort", "flags", "pixel_hash", *COMPLETED]
REJECTED_COLUMNS = ["case_id", "file", "reason", "message"]


@dataclass(frozen=True)
class Published:
    """A snapshot's scans by (cohort, case_id), and its rejections by case_id."""

    name: str
    created: str
    exclusions: str  # sha256 of the list that it was built with; empty where there was none
    seen: Mapping[tuple[str, str], Seen]
    rejected: Mapping[str, Rejected]


def read_published(index: Path) -> Published:
    """The current snapshot's `cases.parquet` and `rejected.parquet`, hashes checked. Raises `SnapshotError`."""
    folder = current_folder(index)
    try:
        manifest = IndexManifest.from_json((folder / "manifest.json").read_bytes())
    except OSError as error:
        raise SnapshotError(f"{folder / 'manifest.json'}: {error.strerror}; rebuild the index") from error
    except ManifestError as error:
        raise SnapshotError(f"{folder}: {error}") from error
    cases = _rows(folder, "cases.parquet", CASE_COLUMNS, manifest)
    rejected = _rows(folder, "rejected.parquet", REJECTED_COLUMNS, manifest)
    return Published(
        manifest.name,
        manifest.created,
        manifest.exclusions,
        {
            (row["cohort"], row["case_id"]): Seen(
                {name: row[name] for name in COMPLETED}, tuple(row["flags"]), row["pixel_hash"]
            )
            for row in cases
        },
        {row["case_id"]: Rejected(**row) for row in rejected},
    )


def _rows(folder: Path, name: str, columns: list[str], manifest: IndexManifest) -> list[dict[str, Any]]:
    """The rows of a Parquet file that has the manifest's hash: what was hashed is what is parsed."""
    try:
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest.files.get(name):
            raise SnapshotError(
                f"{folder / name}: was changed since it was built (its sha256 is not the manifest's); rebuild the index"
            )
        rows: list[dict[str, Any]] = pq.ParquetFile(io.BytesIO(content)).read(columns=columns).to_pylist()
    except OSError as error:
        raise SnapshotError(f"{folder / name}: {error.strerror}; rebuild the index") from error
    except (ValueError, pa.ArrowException) as error:
        raise SnapshotError(f"{folder / name}: cannot be read ({error}); rebuild the index") from error
    return rows
