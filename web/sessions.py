"""Sessions in a signed cookie: who signed in, when, and when they were last seen. Two limits end them."""

import time
from typing import Any

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin

from web.principal import Means, Principal, Role, roles_named

LONGEST_SECONDS = 12 * 3600  # a long shift; then people sign in again, however busy they are
SEEN_EVERY_SECONDS = 60  # the cookie is written anew at most so often


class CookieSessions(SecureCookieSessionInterface):
    """Flask's, under a name that browsers accept only from this very host and over TLS (RFC 6265bis, 4.1.3.2)."""

    def get_cookie_name(self, app: Flask) -> str:
        name = super().get_cookie_name(app)
        return f"__Host-{name}" if request.is_secure else name


def install(app: Flask, secret_key: str | bytes) -> None:
    app.secret_key = secret_key
    app.session_interface = CookieSessions()
    app.config.update(
        SESSION_COOKIE_NAME="likewise",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,
    )


def start(session: SessionMixin, principal: Principal, *, sid: str, now: float | None = None) -> None:
    """Replaces whatever the session held. `sid`: a fresh random name of this session. `now`: Unix time in seconds."""
    when = time.time() if now is None else now
    session.clear()
    session["who"] = {"name": principal.name, "id": principal.id, "roles": sorted(principal.roles)}
    session["sid"] = sid
    session["since"] = session["seen"] = when


def principal_of(session: SessionMixin, *, idle_minutes: float, now: float | None = None) -> Principal | None:
    """Who is signed in, marked as seen; None, and an emptied session, where nobody is or a limit has passed."""
    when = time.time() if now is None else now
    if "who" not in session:
        return None
    since, seen = float(session.get("since", 0)), float(session.get("seen", 0))
    if when - seen > idle_minutes * 60 or when - since > LONGEST_SECONDS:
        session.clear()
        return None
    if when - seen > SEEN_EVERY_SECONDS:
        session["seen"] = when
    who: dict[str, Any] = session["who"]
    roles: frozenset[Role] = roles_named(who["roles"])
    return Principal(str(who["name"]), roles, str(who["id"]), Means.SESSION)
