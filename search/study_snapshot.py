"""The engine of a snapshot that is named, so that a study of last month can be run again."""

from pathlib import Path

from embed.encoder import EncoderError, load_encoder
from index.denied import LiveDenyList
from index.snapshot import SNAPSHOTS, SnapshotError, open_snapshot
from search.engine import SearchEngine


def open_engine(index: Path, *, snapshot: str | None = None, encoder_name: str | None = None) -> SearchEngine:
    """The engine of the index's published snapshot, or of the kept one that is named. Raises `SnapshotError`, `EncoderError`, `DenyListError`."""
    if snapshot is None:
        return SearchEngine.open(index, encoder_name=encoder_name)
    folder = index / SNAPSHOTS / snapshot
    if Path(snapshot).name != snapshot or not folder.is_dir():
        kept = sorted(path.name for path in (index / SNAPSHOTS).glob("*/")) if index.is_dir() else []
        raise SnapshotError(f"{index}: keeps no snapshot {snapshot!r}; there are: {', '.join(kept) or 'none'}")
    opened = open_snapshot(folder)
    try:
        encoder = load_encoder(encoder_name or opened.manifest.encoder)
    except EncoderError as error:
        raise EncoderError(f"{error}; it built the index: say with --encoder where it lies now") from error
    return SearchEngine(opened, encoder, deny_list=LiveDenyList(index))
