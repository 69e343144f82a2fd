"""The published index as it is at any moment: a new snapshot is opened beside the old one and taken up between two requests."""

import hmac
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from embed.encoder import EncoderError, load_encoder
from index.denied import DenyListError, LiveDenyList
from index.snapshot import Snapshot, SnapshotError, current_folder, open_snapshot
from search.engine import SearchEngine
from web.encoding import OnceEncoder

LOOK_SECONDS = 2.0  # between two looks at which snapshot is published
KEPT_SECONDS = 60.0  # for which the last snapshot's cases are still shown to who has its answer before them
log = logging.getLogger("likewise.live")


@dataclass(frozen=True, eq=False)
class Opened:
    """One snapshot with its engine. `sites` are told by code, so that no reader learns which hospital a case is from."""

    engine: SearchEngine
    sites: dict[str, str] = field(repr=False)  # site -> "Site 07"

    @property
    def name(self) -> str:
        return self.engine.snapshot.manifest.name

    def site_named(self, code: str) -> str | None:
        return next((site for site, known in self.sites.items() if known == code), None)


class LiveIndex:
    """What is published, looked at by a timer (`look`); requests never wait for a snapshot to be opened. Safe for threads."""

    def __init__(self, index: Path, secret: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `SnapshotError`, `EncoderError` or `DenyListError` where it cannot begin."""
        self._index = index
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()  # over opening
        self._encoder: OnceEncoder | None = None
        self._now = self._open(current_folder(index))
        self._before: tuple[float, Opened] | None = None  # (when it was replaced, it)
        self.is_stale = False  # what is published cannot be opened; the last one that could is served

    def current(self) -> Opened:
        """What a request is answered from, whole: it keeps it though another be published meanwhile."""
        return self._now

    def named(self, snapshot: str) -> Opened | None:
        """The current snapshot, or the one before for a minute, by its name."""
        now, before = self._now, self._before
        if now.name == snapshot:
            return now
        if before and before[1].name == snapshot and self._clock() - before[0] < KEPT_SECONDS:
            return before[1]
        return None

    def look(self) -> None:
        """Take up what is published by now, and let go of what is over. Where it cannot be opened the last one stays."""
        with self._lock:
            if self._before and self._clock() - self._before[0] >= KEPT_SECONDS:
                self._before = None
            try:
                folder = current_folder(self._index)
                if folder.name != self._now.engine.snapshot.path.name:
                    self._take_up(self._open(folder))
            except (SnapshotError, EncoderError, DenyListError) as error:
                if not self.is_stale:
                    log.error("what is published cannot be taken up, the last snapshot is served on: %s", error)
                self.is_stale = True
            else:
                self.is_stale = False

    def _take_up(self, opened: Opened) -> None:
        was_purged = not self._now.engine.snapshot.path.is_dir()  # then nobody may be shown of it any more
        self._now, self._before = opened, None if was_purged else (self._clock(), self._now)
        log.info("now serving the snapshot %s", opened.name)

    def _open(self, folder: Path) -> Opened:
        snapshot = open_snapshot(folder)
        self._encoder = self._encoder_for(snapshot)
        engine = SearchEngine(snapshot, self._encoder, deny_list=LiveDenyList(self._index))
        return Opened(engine, site_codes(engine, self._secret))

    def _encoder_for(self, snapshot: Snapshot) -> OnceEncoder:
        """The one that is loaded already, where it built this snapshot too."""
        if self._encoder is not None and self._encoder.fingerprint == snapshot.manifest.fingerprint:
            return self._encoder
        return OnceEncoder(load_encoder(snapshot.manifest.encoder))


def site_codes(engine: SearchEngine, secret: str) -> dict[str, str]:
    """A code for each site of an archive, in an order that tells nothing of its name. A further site may shift the others'."""
    names = {name for archive in engine.archives.values() for name in archive.sites.names}
    order = sorted(
        names, key=lambda name: hmac.digest(b"site" + secret.encode(), name.encode(errors="replace"), "sha256")
    )
    width = max(2, len(str(len(names))))
    return {name: f"Site {number:0{width}}" for number, name in enumerate(order, start=1)}
