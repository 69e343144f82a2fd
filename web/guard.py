"""What every request passes before a view sees it: who asks, whether it may, and whether its own page asked.

In this order: the place (demo), the name, the role, the size, the origin, the rate. Whatever is in doubt is refused.
"""

import logging
import re
import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Flask, g, redirect, request, session
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, HTTPException, ServiceUnavailable, Unauthorized
from werkzeug.wrappers import Response

from web import csrf, headers, limits, sessions, signin
from web.api_keys import ApiKeyError, ApiKeys
from web.audit import AuditError, AuditLog
from web.config import Access
from web.permissions import permitted, roles_of, route_key
from web.principal import DEMO, Principal
from web.proxies import SAYS_FORWARDED, TRUSTED, TrustedProxies

if TYPE_CHECKING:
    from web.config import Config

log = logging.getLogger("likewise.guard")

REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def install(app: Flask, config: "Config") -> None:
    """Guards an app. Raises `AuditError` where nothing could be recorded, ValueError for a setting that cannot hold."""
    demo = config.access is Access.DEMO
    if demo and not is_loopback(config.host):
        raise ValueError(f"demo mode is for this computer alone; it cannot listen on {config.host}")
    app.wsgi_app = TrustedProxies(app.wsgi_app, () if demo else config.trusted_proxies)  # type: ignore[method-assign]
    sessions.install(app, config.secret_key)
    app.extensions["likewise.audit"] = AuditLog(config.audit, config.secret_key)
    if config.access is Access.OIDC:
        signin.install(app, config)
    Guard(app, config)
    # a demo is one person on their own computer
    limits.install(app, enabled=not demo)
    headers.install(app, form_targets=(signin.origin(str(config.oidc_issuer)),) if config.access is Access.OIDC else ())


class Guard:
    """Sets `g.request_id` and `g.principal` (None for nobody), or refuses."""

    def __init__(self, app: Flask, config: "Config") -> None:
        self._app = app
        self._config = config
        self._keys = ApiKeys(config.api_keys) if config.api_keys is not None else None
        self._wrong_keys = limits.WrongCredentials()
        self._bodies = limits.Bodies(app)
        app.before_request(self.admit)
        app.after_request(name_request)
        app.register_error_handler(AuditError, self.unavailable)
        app.register_error_handler(ApiKeyError, self.unavailable)
        app.context_processor(lambda: {"csrf_token": self.csrf_token, "principal": getattr(g, "principal", None)})

    def admit(self) -> Response | None:
        g.request_id = getattr(g, "request_id", None) or request_id()
        g.principal = None
        if self._config.access is Access.DEMO:
            check_place()
        g.principal = self.authenticate()
        if request.url_rule is None:
            return None  # there is nothing here, which anybody may be told
        roles = roles_of(request.method, request.url_rule)
        if not permitted(g.principal, roles):
            return self.refuse()
        limits.check_size(self._config.upload_mb * 1024 * 1024)
        self._bodies.enter()
        if g.principal is not None:
            csrf.check(request, self._config.secret_key, g.principal, session.get("sid", ""))
        return None

    def authenticate(self) -> Principal | None:
        """Who asks; None for nobody. Raises `Unauthorized` for a key that is wrong, whatever else the request brings."""
        kind, _, presented = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and (presented.startswith("lk_") or self._config.access is not Access.PROXY):
            return self._by_key(presented.strip())
        if self._config.access is Access.DEMO:
            return DEMO
        if self._config.access is Access.OIDC:
            return sessions.principal_of(session, idle_minutes=self._config.session_minutes)
        if self._config.access is Access.PROXY:
            return signin.proxied_principal(self._config.proxy_user_header, self._config.proxy_roles_header)
        return None

    def refuse(self) -> Response:
        """Towards the sign-in for a page, else raises `Unauthorized`; `Forbidden` for somebody known."""
        rule = request.url_rule.rule if request.url_rule else ""
        if g.principal is not None:
            self._app.extensions["likewise.audit"].record("refused", filters={"route": route_key(request.method, rule)})
            yours = " and ".join(sorted(g.principal.roles)) or "none"
            raise Forbidden(f"this is not open to your role ({yours})")
        if self._config.access is Access.OIDC and request.method == "GET" and not rule.startswith("/api/"):
            return redirect(f"{request.script_root}/sign-in?{urlencode({'next': request.path})}")
        raise _unknown("sign in, or bring an API key (Authorization: Bearer …)")

    def csrf_token(self) -> str:
        """For the page's `<meta name="csrf-token">`, and its forms."""
        return csrf.token(self._config.secret_key, getattr(g, "principal", None), session.get("sid", ""))

    def unavailable(self, error: Exception) -> ResponseReturnValue:
        """What cannot be recorded is not done, and whom no file can vouch for is not let in."""
        log.error("refused, for want of audit or keys: %s", error)
        what = "recorded" if isinstance(error, AuditError) else "checked"
        return self._app.handle_http_exception(
            ServiceUnavailable(f"this cannot be {what} now, so it is not done; tell whoever runs Likewise")
        )

    def _by_key(self, presented: str) -> Principal:
        if self._keys is None:
            raise _unknown("this server takes no API keys")
        known = self._keys.remembered(presented)
        if known is not None:
            return known
        address = request.remote_addr or ""
        self._wrong_keys.check(address)
        known = self._keys.principal(presented)
        if known is None:
            self._wrong_keys.count(address)
            raise _unknown("this API key is not known here, or has ended")
        return known


def check_place() -> None:
    """Raises `Forbidden` unless a demo is asked by this very computer, under its own name and through no proxy."""
    through = [name for name in SAYS_FORWARDED if name in request.environ]
    if through or not is_loopback(request.remote_addr or ""):
        raise Forbidden("demo mode answers this computer only; set up sign-in to serve others")
    host = request.host
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() not in LOOPBACK_NAMES:
        raise Forbidden("demo mode answers to localhost and 127.0.0.1 only")


def is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def request_id() -> str:
    """What the trusted proxy calls this request, or a random name."""
    given = request.headers.get("X-Request-ID", "") if request.environ.get(TRUSTED) else ""
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def name_request(response: Response) -> Response:
    if getattr(g, "request_id", None):
        response.headers["X-Request-ID"] = g.request_id
    return response


def _unknown(message: str) -> HTTPException:
    return Unauthorized(message, www_authenticate=WWWAuthenticate("bearer", {"realm": "likewise"}))
