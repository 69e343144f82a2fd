"""A bucket's files through fsspec: the one file that needs the extra `s3`.

Credentials, region and endpoint come from where AWS's own tools take them: AWS_PROFILE, AWS_ENDPOINT_URL, ~/.aws, an instance's role.
A lost connection is tried again by botocore, a few times and ever more slowly, before it is an OSError here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

try:
    import fsspec
except ImportError as missing:  # told where an archive is opened, in a sentence
    raise OSError("archives in a bucket need the extra s3: pip install '.[s3]'") from missing

HEADER_BYTES = 2**17  # fetched at a time of a file that is only opened: a header is rarely longer
AT_ONCE = 256  # files asked for together


class RemoteFiles:
    """What lies under a URL, such as s3://nccid-data-warehouse-prod/training."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        try:
            self._system, self._base = _opened(self.root)
            if not self._system.exists(self._base):
                raise FileNotFoundError(f"{root}: nothing is there, or it may not be listed")
        except Exception as error:  # whatever the protocol's library raises: no such protocol, no credentials
            raise as_os_error(error, root) from error

    def folders(self, path: str) -> list[str]:
        found = self._asked("ls", self._full(path), detail=True)
        return sorted(_name(entry["name"]) for entry in found or () if entry["type"] == "directory")

    def files_below(self, path: str) -> list[str]:
        found = self._asked("find", self._full(path))
        return sorted(name[len(self._base) :].lstrip("/") for name in found or ())

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes | OSError]:
        wanted = list(paths)
        found: dict[str, bytes | OSError] = {}
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            names = [self._full(path) for path in part]
            # not `cat`, which takes [ and * in a name for patterns
            content = self._system.cat_ranges(names, [None] * len(names), [None] * len(names), on_error="return")
            for path, got in zip(part, content, strict=True):
                found[path] = as_os_error(got, path) if isinstance(got, Exception) else bytes(got)
        return found

    def open(self, path: str) -> BinaryIO:
        try:
            return cast(BinaryIO, self._system.open(self._full(path), "rb", block_size=HEADER_BYTES))
        except Exception as error:
            raise as_os_error(error, path) from error

    def location(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base

    def _asked(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a listing finds; None where there is nothing."""
        try:
            return getattr(self._system, method)(*arguments, **options)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise as_os_error(error, str(arguments[0])) from error


def fetch(location: str, folder: Path) -> Path:
    """A copy of the file, or of all files of the prefix, in `folder`. Raises OSError."""
    try:
        system, path = _opened(location)
        target = folder / _name(path)
        if system.isfile(path):
            target.write_bytes(system.cat_file(path))
        else:
            files = system.find(path)
            if not files:
                raise FileNotFoundError(f"{location}: not there any more")
            targets = [target / name[len(path) :].lstrip("/") for name in files]
            for one in targets:
                one.parent.mkdir(parents=True, exist_ok=True)
            system.get(files, [str(one) for one in targets])
    except Exception as error:
        raise as_os_error(error, location) from error
    return target


def remote_stamps(location: str) -> list[tuple[str, int, str]]:
    """(name below, size, ETag or time of change) of the file, or of all files of the prefix. Raises OSError."""
    try:
        system, path = _opened(location)
        found = {path: system.info(path)} if system.isfile(path) else system.find(path, detail=True)
        if not found:
            raise FileNotFoundError(f"{location}: not there any more")
    except Exception as error:
        raise as_os_error(error, location) from error
    return [
        (name[len(path) :] or _name(path), int(each["size"]), str(each.get("ETag") or each.get("LastModified")))
        for name, each in found.items()
    ]


def _opened(url: str) -> tuple[Any, str]:
    """(the file system, the path on it). It remembers no listing: what is gone must be seen to be gone."""
    system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return system, path


def as_os_error(error: Exception, what: str) -> OSError:
    """The protocol's own exception as the one that callers expect."""
    if isinstance(error, OSError):
        return error
    return OSError(f"{what}: {type(error).__name__}: {error}")


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
