"""Against requests that another site's page makes in a signed-in person's browser: a token in a header, and the origin.

API keys need neither: no browser adds them by itself.
"""

import hmac
import time
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

from web.principal import Means, Principal

HEADER = "X-CSRF-Token"
FIELD = "csrf_token"  # in a form without files, for what must work without a script: signing out
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
PERIOD_SECONDS = 12 * 3600  # a token is good in the period that it is made in and in the next
FORM = "application/x-www-form-urlencoded"


def token(secret_key: str | bytes, principal: Principal | None, sid: str, *, now: float | None = None) -> str:
    """For one principal in one session; nothing has to be kept to know it again."""
    return _token(secret_key, principal, sid, _period(now))


def check(
    request: Request, secret_key: str | bytes, principal: Principal | None, sid: str, *, now: float | None = None
) -> None:
    """Raises `Forbidden` for an unsafe request that this site's own page did not make."""
    if request.method in SAFE or (principal is not None and principal.means is Means.API_KEY):
        return
    _check_origin(request)
    if principal is not None and principal.means is Means.DEMO and not _from_browser(request):
        return  # a program on the demonstrating person's own computer
    given = request.headers.get(HEADER, "")
    if not given and request.mimetype == FORM:
        given = request.form.get(FIELD, "")
    good = [_token(secret_key, principal, sid, _period(now) - age) for age in (0, 1)]
    if not any([hmac.compare_digest(given.encode(), known.encode()) for known in good]):
        raise Forbidden(f"this page is out of date; load it again (its header {HEADER} is missing or too old)")


def _check_origin(request: Request) -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin is not None and _place(origin) != _place(request.host_url):
        raise Forbidden("another site's page made this request; use this site's own page")
    if site not in (None, "same-origin", "none"):
        raise Forbidden("another site's page made this request; use this site's own page")


def _from_browser(request: Request) -> bool:
    return any(name in request.headers for name in ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Cookie", "Referer"))


def _place(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def _token(secret_key: str | bytes, principal: Principal | None, sid: str, period: int) -> str:
    key = secret_key.encode() if isinstance(secret_key, str) else secret_key
    bound = "\0".join(("csrf", principal.id if principal else "", sid, str(period)))
    return hmac.new(key, bound.encode(), "sha256").hexdigest()


def _period(now: float | None) -> int:
    return int((time.time() if now is None else now) // PERIOD_SECONDS)
