"""Whether somebody's names or signatures still stand in an index's files: packed tables are unpacked, which grep does not do."""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from index.preview_file import PREVIEWS
from index.snapshot import SnapshotError

LONG_NAME = 8  # characters: shorter identifiers, such as "0", stand in many texts by chance …
TELLING_NAME = 5  # … but for those with a letter in them
CHUNK = 2**22  # bytes searched at a time
ROWS = 2**14
WHOLE, PATHS, FACTS = ("case_id", "patient_id"), ("file", "files"), "facts"  # columns that say who a row is of


@dataclass(frozen=True)
class Found:
    """What a search found."""

    files: int
    bytes: int
    names: frozenset[str]  # of those looked for, the ones that stand somewhere
    where: dict[str, int] = field(default_factory=dict)  # file, below the index -> how many traces stand in it

    @property
    def occurrences(self) -> int:
        return sum(self.where.values())


class Traces:
    """Names, compared without regard to case, and the bytes of signatures.

    A name counts where neither letter nor digit goes on beyond it: "Covid1" does not stand in "Covid12", nor the UID 1.2.3 in 1.2.3.4. A
    short one ("0", "p03") counts only where it says whose a row is: as identifier, or as a folder or file's name in its path.
    """

    def __init__(self, names: Iterable[str], signatures: Iterable[bytes] = ()) -> None:
        self._signatures = frozenset(signatures)
        folded = frozenset(name.strip().casefold() for name in names)
        self._short = frozenset(name for name in folded if not _is_telling(name))
        self._bounded: dict[str, Callable[[str], object]] = {}  # spelling -> whether a text holds it bounded
        self._name_of = {}
        for name in folded - self._short:
            for spelt in {name, json.dumps(name)[1:-1].casefold()}:  # manifests escape what is not ASCII
                self._bounded[spelt] = _bounded(spelt).search
                self._name_of[spelt] = name

    def search(self, index: Path) -> Found:
        """All files of an index folder. Raises `SnapshotError` for one that cannot be searched, or OSError."""
        files = total = 0
        names: set[str] = set()
        where: dict[str, int] = {}
        for path in sorted(index.rglob("*")):
            if not path.is_file():
                continue
            files += 1
            total += path.stat().st_size
            found = self._in_file(path)
            if found:
                where[str(path.relative_to(index))] = len(found)
                names |= {name for name in found if isinstance(name, str)}
        return Found(files, total, frozenset(names), where)

    def _in_file(self, path: Path) -> set[str | bytes]:
        found: set[str | bytes] = set()
        try:
            if path.suffix == ".parquet":
                found.update(self._in_table(path))
            # tables were searched unpacked; pictures, packed as they are, hold no text
            found |= self._in_bytes(path, as_text=path.suffix != ".parquet" and path.name != PREVIEWS)
        except pa.ArrowException as error:
            raise SnapshotError(f"{path}: cannot be searched ({error}); nobody can say who is in it") from error
        return found

    def _in_table(self, path: Path) -> Iterator[str]:
        with pq.ParquetFile(path) as table:
            columns = [entry.name for entry in table.schema_arrow if _is_text(entry.type)]
            for batch in table.iter_batches(ROWS, columns=columns) if columns else ():
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    values = column.flatten() if pa.types.is_list(column.type) else column
                    texts = [text for text in values.to_pylist() if text]
                    yield from self._in_text("\n".join(texts))
                    if self._short:
                        yield from self._short & set(_identities(name, texts))

    def _in_text(self, text: str) -> Iterator[str]:
        text = text.casefold()
        for spelt, is_held in self._bounded.items():
            if spelt in text and is_held(text):  # the first is much faster, and nearly always says no
                yield self._name_of[spelt]

    def _in_bytes(self, path: Path, *, as_text: bool) -> set[str | bytes]:
        overlap = max((len(trace) for trace in (*self._signatures, *map(_encoded, self._bounded))), default=0) + 2
        found: set[str | bytes] = set()
        tail = b""
        with path.open("rb") as stream:
            while block := stream.read(CHUNK):
                window = tail + block
                found |= {trace for trace in self._signatures if trace in window}
                if as_text:
                    found.update(self._in_text(window.decode("utf-8", "replace")))
                tail = window[-overlap:]
        return found


def _is_telling(name: str) -> bool:
    return len(name) >= LONG_NAME or (len(name) >= TELLING_NAME and any(letter.isalpha() for letter in name))


def _bounded(name: str) -> re.Pattern[str]:
    """The name as a whole; of a UID no longer one, and no part of one (PS3.5 9.1: components with dots between them)."""
    is_uid = re.fullmatch(r"[0-9.]+", name) is not None
    before, after = (r"(?<![0-9]\.)", r"(?!\.[0-9])") if is_uid else ("", "")
    return re.compile(rf"(?<![^\W_]){before}{re.escape(name)}(?![^\W_]){after}")


def _identities(column: str, texts: Iterable[str]) -> Iterator[str]:
    """What a column says of whose its rows are."""
    for text in texts:
        if column in WHOLE:
            yield text.casefold()
        elif column in PATHS:
            yield from (part.casefold() for part in parts_of(text))
        elif column == FACTS:
            with contextlib.suppress(ValueError, AttributeError):
                yield from (str(name).casefold() for name in json.loads(text).get("identifiers", ()))


def parts_of(file: str) -> set[str]:
    """The folders and names in a path or URL, and the names without suffix: a pseudonym or a UID stands in one of them."""
    parts = set(file.replace("\\", "/").split("/"))
    return parts | {part.rpartition(".")[0] for part in parts}


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or (pa.types.is_list(kind) and pa.types.is_string(kind.value_type)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
