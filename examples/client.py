"""A short client of the API, for programs: python -m examples.client https://likewise.example scan.dcm [more slices] [--other k=v]

The key is read from LIKEWISE_API_KEY (`python -m web api-key new NAME --role clinician`). Files are sent without their names.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

SECONDS = 120.0  # for one answer of the server
LONGEST_SECONDS = 600.0  # for a whole question
POLL_SECONDS = 0.5


class Problem(Exception):
    """What the server refused, and why (RFC 9457)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(f"{document.get('reason')}: {document.get('detail')} (request {document.get('request_id')})")
        self.document = document


class Client:
    """One server and one key."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._api = f"{url.rstrip('/')}/api/v1"
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def ask(self, files: Sequence[Path], **asked: str) -> dict[str, Any]:
        """The answer to a scan, in one file or several; `asked` as the API's parameters. Raises `Problem` or OSError."""
        parts = [("files", ("scan", path.read_bytes())) for path in files]
        begun = self._sent("POST", "/queries", files=parts, data=asked, headers={"Prefer": "respond-async"})
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            told = self.again(begun["id"])
            if told["state"] == "failed":
                raise Problem(told["problem"])
            if told["state"] == "done":
                return told
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"no answer within {LONGEST_SECONDS:g} s")

    def again(self, query_id: str, **filters: str) -> dict[str, Any]:
        """The answer to a question that is still held, with other filters."""
        return self._sent("GET", f"/queries/{query_id}", params=filters)

    def forget(self, query_id: str) -> None:
        """Let the server forget the scan now rather than in a few minutes."""
        self._sent("DELETE", f"/queries/{query_id}")

    def _sent(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        response = self._session.request(method, f"{self._api}{path}", timeout=SECONDS, **more)
        told: dict[str, Any] = response.json() if response.content else {}
        if not response.ok:
            raise Problem(told)
        return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--other", action="append", default=[], metavar="NAME=VALUE", help="such as --other sex=F")
    arguments = parser.parse_args()
    client = Client(arguments.url, os.environ.get("LIKEWISE_API_KEY"))
    try:
        told = client.ask(arguments.files, **dict(other.split("=", 1) for other in arguments.other))
        client.forget(told["id"])
    except (Problem, OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    print(json.dumps(told["answer"], indent=1))


if __name__ == "__main__":
    main()
