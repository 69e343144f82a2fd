"""An opened index made of given vectors and records, without reading a scan: for studies that are worked out by hand."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embed.scan import Scan
from index.case import Case, Endpoint, Event, Outcome, State
from index.catalogue import Archived, Catalogue
from index.faiss_store import FaissStore
from index.manifest import IndexManifest
from index.snapshot import Snapshot
from index.transform import Centring
from search.engine import SearchEngine

ENDPOINTS = (Endpoint("died", "died"), Endpoint("itu_admission", "ITU admission"))


class Unused:
    """The encoder of an index whose scans nobody reads."""

    fingerprint, dim, side = "made-for-a-test", 0, 64

    def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
        raise AssertionError("no scan is read")


def case(number: int, patient: str, *, itu: Event | None = None, died: Event | None = None, observed: int | None = None, **said: object) -> Case:  # fmt: skip
    """Case `c00007` of a patient. Events that are not given are not recorded."""
    unknown = Event(State.NOT_RECORDED)
    outcome = Outcome({"died": died or unknown, "itu_admission": itu or unknown}, observed)
    return dataclasses.replace(Case(f"c{number:05}", patient, "made", (f"{number}.dcm",), outcome), **said)  # type: ignore[arg-type]


def engine_of(folder: Path, vectors: npt.NDArray[np.float32], cases: Sequence[Case], *, kind: str = "xray", hashes: Sequence[str | None] = ()) -> SearchEngine:  # fmt: skip
    """The engine of an index with these unit rows, not centred, one for each case in the order of their ids."""
    (folder / kind).mkdir(parents=True)
    path = folder / kind / "signatures.npy"
    np.save(path, vectors.astype(np.float32))
    alike = hashes or [None] * len(cases)
    archived = (
        Archived(one, kind, f"f{one.case_id}", (), None, hashed) for one, hashed in zip(cases, alike, strict=True)
    )
    manifest = IndexManifest(
        name="20261124T000000Z-made", created="", encoder="histogram", fingerprint=Unused.fingerprint, dim=vectors.shape[1], store="faiss",
        cases={kind: len(cases)}, patients=len({one.patient_id for one in cases}), seen=len(cases), rejected={}, cohorts={"made": "here"},
        counts={}, exclusions="", excluded=0, denied="", likeness={}, health={}, endpoints=ENDPOINTS,
        files={f"{kind}/signatures.npy": hashlib.sha256(path.read_bytes()).hexdigest()}, code_version="0",
    )  # fmt: skip
    store = FaissStore.build(vectors.astype(np.float32))
    centring = Centring(np.zeros(vectors.shape[1], np.float32))
    snapshot = Snapshot(folder, manifest, Catalogue.build(archived, ENDPOINTS), {kind: store}, {kind: centring})
    return SearchEngine(snapshot, Unused())


def unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def on_a_circle(*degrees: float) -> npt.NDArray[np.float32]:
    """Unit vectors in the plane: the smaller the angle between two, the more similar."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
