"""The real application on a small index, as one person's demo and behind a proxy that names people."""

import io
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.films import dicom_bytes, phantom
from web import csrf
from web.config import Access, Config
from web.principal import DEMO

SECRET = "a secret key of these tests, and of no other"
BASE = "http://localhost"


def demo_config(index: Path, folder: Path, **others: Any) -> Config:
    values: dict[str, Any] = {
        "index": index,
        "access": Access.DEMO,
        "secret_key": SECRET,
        "audit": folder / "audit.jsonl",
    }
    return Config(**(values | others))


def headers() -> dict[str, str]:
    """What the page's own script sends along."""
    return {"X-CSRF-Token": csrf.token(SECRET, DEMO, ""), "Origin": BASE}


def send(client: FlaskClient, *files: bytes, **more: str) -> TestResponse:
    """Upload files as one question."""
    parts = [(io.BytesIO(data), f"name-of-a-patient-{number}.dcm") for number, data in enumerate(files)]
    return client.post("/api/v1/queries", data={"files": parts, **more}, headers=headers(), base_url=BASE)


def get(client: FlaskClient, path: str) -> TestResponse:
    return client.get(path, base_url=BASE)


def film(**attributes: Any) -> bytes:
    return dicom_bytes(phantom(seed=99), **attributes)


def client_of(app: Flask) -> FlaskClient:
    return app.test_client()
