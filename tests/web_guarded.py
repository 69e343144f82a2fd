"""An app with the contract's routes and nothing behind them, guarded as the real one is: for tests of who is let in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask, g, render_template_string

from web import guard, signin
from web.config import Access, Config
from web.permissions import PERMISSIONS

SECRET = "a secret key of this test, and of no other"
PROXY = "10.0.0.9"
HOST = "https://likewise.example"
IN_ROUTES = ("/sign-in", "/sign-in/callback", "/sign-out", "/static/<>")


def config(folder: Path, access: Access = Access.PROXY, **others: Any) -> Config:
    """Settings that need no index."""
    values: dict[str, Any] = {
        "index": folder,
        "access": access,
        "secret_key": SECRET,
        "audit": folder / "audit.jsonl",
        "trusted_proxies": (PROXY,),
        "proxy_user_header": "X-Remote-User",
        "proxy_roles_header": "X-Remote-Roles",
    }
    return Config(**(values | others))


def guarded_app(settings: Config) -> Flask:
    """Every route of the table answers with the name of who asks; `/page` in GET / also with a CSRF token."""
    app = Flask("tests.web_guarded")
    app.register_blueprint(signin.blueprint)
    for number, key in enumerate(PERMISSIONS):
        method, path = key.split(" ")
        if path not in IN_ROUTES:
            app.add_url_rule(_numbered(path), f"view{number}", _page if path == "/" else _answer, methods=[method])
    app.add_url_rule("/not-in-the-table", "forgotten", _answer, methods=["GET", "POST"])
    guard.install(app, settings)
    return app


def from_proxy(user: str = "anna", roles: str = "clinician", peer: str = PROXY) -> dict[str, Any]:
    """How a request arrives over the reverse proxy."""
    return {
        "base_url": HOST,
        "environ_base": {"REMOTE_ADDR": peer},
        "headers": {"X-Remote-User": user, "X-Remote-Roles": roles},
    }


def path_of(key: str) -> str:
    """A path that a key of the table stands for."""
    return key.split(" ")[1].replace("<>", "7")


@contextmanager
def frozen(monkeypatch: Any, seconds: float) -> Iterator[None]:
    """The clock of sessions and tokens stands at `seconds`, Unix time."""
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: seconds)
        yield


def _numbered(path: str) -> str:
    parts = path.split("<>")
    return parts[0] + "".join(f"<a{i}>{part}" for i, part in enumerate(parts[1:]))


def _answer(**names: str) -> str:
    return g.principal.name if g.principal else "nobody"


def _page(**names: str) -> str:
    return render_template_string("{{ principal.name }} {{ csrf_token() }}")
