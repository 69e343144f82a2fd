"""API keys for programs: shown once, kept as salted scrypt hashes, with a role and a day on which they end."""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from pathlib import Path

from web.principal import Means, Principal, Role

KEY = re.compile(r"lk_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1  # 16 MiB and some 50 ms each time
REMEMBERED = 256  # keys whose derivation need not be made again


class ApiKeyError(Exception):
    """The file of keys cannot be used, or a name cannot be had; the message says why."""


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key."""

    id: str
    name: str
    role: Role
    created: str  # ISO 8601, UTC
    expires: str  # ISO 8601, UTC; the key is good before it
    salt: str
    hash: str
    revoked: str | None = None  # when

    def good_at(self, now: datetime) -> bool:
        return self.revoked is None and now < datetime.fromisoformat(self.expires)

    def opened_by(self, secret: str) -> bool:
        return hmac.compare_digest(_derived(secret, self.salt), self.hash)

    def principal(self) -> Principal:
        return Principal(f"key:{self.name}", frozenset({self.role}), f"key:{self.id}", Means.API_KEY)


def new_key(path: Path, name: str, role: Role, *, expires: datetime, now: datetime | None = None) -> str:
    """Adds a key to the file, made if it is not there, and returns it: it cannot be had again.

    Raises `ApiKeyError` for a name that is taken or no name, and for a day that has passed.
    """
    created = now or datetime.now(UTC)
    if not NAME.fullmatch(name):
        raise ApiKeyError(f"{name!r} is no name for a key; take up to 64 of a-z, 0-9, '.', '_' and '-'")
    if expires <= created:
        raise ApiKeyError(f"{expires.date()} has passed; the key would never be good")
    secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
    with _locked(path):
        keys = read_keys(path) if path.exists() else ()
        if any(key.name == name and key.good_at(created) for key in keys):
            raise ApiKeyError(f"a key is named {name!r} already; revoke it first, or take another name")
        key = ApiKey(
            secrets.token_hex(6),
            name,
            role,
            created.isoformat(timespec="seconds"),
            expires.astimezone(UTC).isoformat(timespec="seconds"),
            salt,
            _derived(secret, salt),
        )
        _write(path, [*keys, key])
    return f"lk_{key.id}_{secret}"


def revoke(path: Path, name: str, *, now: datetime | None = None) -> int:
    """How many good keys of a name, or of an id, were ended; running servers refuse them from now on. Raises `ApiKeyError`."""
    when = now or datetime.now(UTC)
    with _locked(path):
        keys = read_keys(path)
        ended = {key.id for key in keys if name in (key.name, key.id) and key.good_at(when)}
        if ended:
            said = when.isoformat(timespec="seconds")
            _write(path, [replace(key, revoked=said) if key.id in ended else key for key in keys])
    return len(ended)


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Raises `ApiKeyError` where the file cannot be read or could have been written by anybody."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & stat.S_IWOTH:
                raise ApiKeyError(
                    f"{path}: anybody may write to it; chmod o-w, and check that every key in it is known"
                )
            return tuple(_key(entry) for entry in json.load(stream)["keys"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ApiKeyError(f"{path}: cannot be read as API keys ({type(error).__name__})") from error


class ApiKeys:
    """The keys of a file as it is at any moment: a new or revoked key counts from the next request."""

    def __init__(self, path: Path) -> None:
        """A missing file is one without keys."""
        self._path = path
        self._keys: dict[str, ApiKey] = {}
        self._mark: tuple[int, int, int] | None = None
        self._known: dict[bytes, str] = {}  # digest of a key that was good -> its id

    def remembered(self, presented: str) -> Principal | None:
        """Whom a key that was found right before stands for, at next to no cost. Raises `ApiKeyError`."""
        self._refresh()
        key = self._keys.get(self._known.get(_digest(presented), ""))
        return key.principal() if key is not None and key.good_at(datetime.now(UTC)) else None

    def principal(self, presented: str) -> Principal | None:
        """Whom a key stands for; None for a wrong, ended or unknown one. Raises `ApiKeyError`."""
        self._refresh()
        found = KEY.fullmatch(presented)
        key = self._keys.get(found["id"]) if found else None
        if found is None or key is None:
            return None
        if not key.opened_by(found["secret"]) or not key.good_at(datetime.now(UTC)):
            return None
        if len(self._known) >= REMEMBERED:
            self._known = {}
        self._known = {**self._known, _digest(presented): key.id}
        return key.principal()

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._keys, self._mark, self._known = {}, None, {}
            return
        except OSError as error:
            raise ApiKeyError(f"{self._path}: cannot be read as API keys ({type(error).__name__})") from error
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        if mark != self._mark:
            self._keys = {key.id: key for key in read_keys(self._path)}
            self._mark = mark


def _derived(secret: str, salt: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).hex()


def _digest(presented: str) -> bytes:
    """A plain hash will do: what is guessed against it holds 256 random bits, and it never leaves the process."""
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()


def _key(entry: dict[str, str]) -> ApiKey:
    key = ApiKey(**(entry | {"role": Role(entry["role"])}))  # type: ignore[arg-type]
    if datetime.fromisoformat(key.expires).tzinfo is None:
        raise ValueError("a time without its zone")
    return key


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time. Raises `ApiKeyError`."""
    try:
        stream = path.with_name(f"{path.name}.lock").open("a")
    except OSError as error:
        raise ApiKeyError(f"{path.parent}: cannot be written to ({error.strerror})") from error
    with stream:
        flock(stream, LOCK_EX)
        yield


def _write(path: Path, keys: list[ApiKey]) -> None:
    """Replaces the file at once, its mode and group kept, so that the server's group can still read it."""
    pending = path.with_name(f"{path.name}.new")
    pending.unlink(missing_ok=True)
    handle = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(handle, "w") as stream:
        if path.exists():
            was = path.stat()
            if (was.st_uid, was.st_gid) != (os.fstat(handle).st_uid, os.fstat(handle).st_gid):
                os.fchown(handle, was.st_uid, was.st_gid)
            os.fchmod(handle, stat.S_IMODE(was.st_mode) & 0o660)
        json.dump({"keys": [asdict(key) for key in keys]}, stream, indent=1)
        stream.flush()
        os.fsync(handle)
    pending.replace(path)
