"""The manifest of a snapshot: how it was built, what is in it, and the hash of every file."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from index.case import Endpoint

FORMAT = 3
TEXTS = ("name", "created", "encoder", "fingerprint", "store", "exclusions", "denied", "code_version")
NUMBERS = ("dim", "patients", "seen", "excluded", "format")
TABLES = {
    "cases": int,
    "rejected": int,
    "cohorts": str,
    "counts": int,
    "files": str,
    "likeness": list,
    "health": float,
}  # a JSON object, and what its values are


class ManifestError(Exception):
    """A manifest that cannot be read, or that another version wrote."""


@dataclass(frozen=True)
class IndexManifest:
    """What `manifest.json` holds."""

    name: str
    created: str  # UTC, ISO 8601
    encoder: str  # the name by which `load_encoder` finds it again
    fingerprint: str
    dim: int
    store: str
    cases: Mapping[str, int]  # kind -> how many
    patients: int
    seen: int  # cases that the cohorts offered
    rejected: Mapping[str, int]  # reason -> how many
    cohorts: Mapping[str, str]  # name -> where it was read from
    counts: Mapping[str, int]  # what else the cohorts found, in words -> how many
    exclusions: str  # sha256 of the exclusion list; empty where there was none
    excluded: int  # cases left out for its sake
    denied: str  # fingerprint of the deny-list of purged names; empty where nobody was purged
    likeness: Mapping[
        str, Sequence[float]
    ]  # kind -> percentiles 0 to 100 of the similarity to the nearest other patient
    health: Mapping[str, float]  # figures such as xray_hubness
    endpoints: tuple[Endpoint, ...]
    files: Mapping[str, str]  # relative path -> sha256
    code_version: str
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: bytes) -> "IndexManifest":
        try:
            content: dict[str, Any] = json.loads(text)
            if content["format"] != FORMAT:
                raise ManifestError(
                    f"the index has format {content['format']}, this version reads {FORMAT}; rebuild it"
                )
            _require_types(content)
            content["endpoints"] = tuple(Endpoint(**entry) for entry in content["endpoints"])
            return cls(**content)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ManifestError(f"the manifest cannot be read ({error}); rebuild the index") from error


def stated_deny_list(text: bytes) -> str | None:
    """The deny-list's fingerprint as a manifest of any version states it (`IndexManifest.denied`); None where it cannot be told."""
    try:
        said = json.loads(text)["denied"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return said if isinstance(said, str) else None


def _require_types(content: dict[str, Any]) -> None:
    """Raises TypeError or KeyError for an entry that is missing or of another type than `IndexManifest` says."""
    expected: list[tuple[str, Any, type]] = [(name, content[name], str) for name in TEXTS]
    expected += [(name, content[name], int) for name in NUMBERS]
    for name, kind in TABLES.items():
        expected.append((name, content[name], dict))
        expected += [(f"{name}.{key}", value, kind) for key, value in dict(content[name]).items()]
    for entry in content["endpoints"]:
        expected += [(f"endpoints.{key}", value, str) for key, value in dict(entry).items()]
    for name, value, kind in expected:
        if not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}; expected {kind.__name__}")
