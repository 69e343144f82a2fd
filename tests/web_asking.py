"""The real app on a small index, and what tests ask it with: a key of either role, scans, and a way to wait."""

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from embed.shared import Piece, SharedBytes
from tests.films import dicom_bytes, phantom
from tests.web_guarded import HOST, config
from web import create_app
from web.api_keys import new_key
from web.principal import Role

API = "/api/v1"
BOUNDARY = "a-boundary-of-these-tests"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
AWAY_AT_LAST = 30.0  # seconds within which whatever runs in the background has to be done
PATIENT = "Covid77"  # whom `tests.films` names in a header, and the small index does not


class Web:
    """An app, asked by whoever holds a key of a role."""

    def __init__(self, folder: Path, index: Path, **settings: Any) -> None:
        self.keys = folder / "keys.json"
        self.audit_file = folder / "audit.jsonl"
        self.app: Flask = create_app(config(folder, index=index, api_keys=self.keys, **settings))
        for limiter in self.app.extensions["limiter"]:
            limiter.enabled = False  # a test asks more often than a person
        self.client: FlaskClient = self.app.test_client()
        self._headers: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        self.app.extensions["likewise.service"].close()

    def headers(self, role: Role, name: str = "one") -> dict[str, str]:
        who = f"{role.value}-{name}"
        if who not in self._headers:
            key = new_key(self.keys, who, role, expires=datetime.now(UTC) + timedelta(days=1))
            self._headers[who] = {"Authorization": f"Bearer {key}"}
        return self._headers[who]

    def get(self, path: str, role: Role = Role.CLINICIAN, *, name: str = "one", **parameters: Any) -> TestResponse:
        where = path if path.startswith("/") else f"{API}/{path}"
        return self.client.get(where, headers=self.headers(role, name), base_url=HOST, query_string=parameters)

    def delete(self, path: str, role: Role = Role.CLINICIAN, *, name: str = "one") -> TestResponse:
        return self.client.delete(f"{API}/{path}", headers=self.headers(role, name), base_url=HOST)

    def ask(
        self,
        *files: bytes,
        role: Role = Role.CLINICIAN,
        names: Iterable[str] | None = None,
        prefer: str | None = None,
        who: str = "one",
        **form: str,
    ) -> TestResponse:
        """POST /queries with files in memory and the form's other fields."""
        called = list(names) if names is not None else [f"{number}.dcm" for number in range(len(files))]
        headers = self.headers(role, who) | ({"Prefer": prefer} if prefer else {})
        body = multipart(list(zip(called, files, strict=True)), form)
        return self.client.post(f"{API}/queries", data=body, headers=headers, base_url=HOST, content_type=MULTIPART)

    def ask_case(self, ref: str, role: Role = Role.CLINICIAN, **form: str) -> TestResponse:
        return self.client.post(f"{API}/cases/{ref}/queries", data=form, headers=self.headers(role), base_url=HOST)

    def finished(self, query_id: str, role: Role = Role.CLINICIAN) -> dict[str, Any]:
        """The document of a query that was begun in the background, once it is done or has failed."""
        end = time.monotonic() + AWAY_AT_LAST
        while time.monotonic() < end:
            told: dict[str, Any] = self.get(f"queries/{query_id}", role).get_json()
            if told["state"] in ("done", "failed"):
                return told
            time.sleep(0.02)
        raise AssertionError(f"not done within {AWAY_AT_LAST:g} s")

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_file.read_text().splitlines()]


def multipart(files: Iterable[tuple[str, bytes]], form: Mapping[str, str]) -> bytes:
    """A body as browsers make it (RFC 7578). Werkzeug's test client would lay large ones down on disk."""
    parts = [(f'name="{name}"', value.encode()) for name, value in form.items()]
    parts += [(f'name="files"; filename="{name}"', data) for name, data in files]
    begun = b"--" + BOUNDARY.encode()
    said = (b"\r\nContent-Disposition: form-data; " + what.encode() + b"\r\n\r\n" + data for what, data in parts)
    return b"".join(begun + part + b"\r\n" for part in said) + begun + b"--\r\n"


def pieces(*files: bytes) -> tuple[Piece, ...]:
    """Files as an upload holds them."""
    shared = SharedBytes()
    for data in files:
        shared.write(data)
    ends = list(accumulate(map(len, files)))
    return tuple(Piece(shared, end - len(data), len(data)) for data, end in zip(files, ends, strict=True))


def film(seed: int = 100, **attributes: Any) -> bytes:
    """A film that no archive of the tests holds, unless the seed says so."""
    return dicom_bytes(phantom(seed=seed), **attributes)
