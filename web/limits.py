"""How much one principal may ask, how large a request may be, and how slow. Counted in each server process by itself."""

import threading
import time
from http import HTTPStatus

from flask import Flask, g, request
from flask_limiter import Limiter
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response

from web.patience import PatientInput
from web.permissions import API, UPLOADS, route_key

SMALL_BODY_BYTES = 1_000_000  # of every request that is no upload
BODIES_AT_ONCE = 16  # of the 32 threads, so that there are always some for all else

# A person who works fast stays far below; each process counts alone, so that N processes allow up to N times as much.
QUERIES = "30 per minute"
OTHERS = "6000 per minute"  # two CT series side by side are some hundred frames each
SIGN_INS = "30 per minute"
WRONG_CREDENTIALS = "10 per minute"  # from one address; until then a wrong key costs the server a key derivation each

LIMITS = {
    f"POST {API}/queries": QUERIES,
    f"POST {API}/cases/<>/queries": QUERIES,
    "GET /sign-in": SIGN_INS,
    "GET /sign-in/callback": SIGN_INS,
}


def install(app: Flask, *, enabled: bool) -> None:
    """To be called after whatever sets `g.principal`, which is whom requests are counted for."""
    limiter = Limiter(
        _who,
        app=app,
        default_limits=[_limit],
        default_limits_per_method=True,
        storage_uri="memory://",
        strategy="moving-window",
        enabled=enabled,
    )

    @app.after_request
    def tell(response: Response) -> Response:
        """When one more will be allowed; Flask-Limiter's own headers would say so with every answer, other refusals too."""
        limit = limiter.current_limit
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS and limit is not None:
            response.headers["Retry-After"] = str(max(1, int(limit.reset_at - time.time())))
        return response


class Bodies:
    """How many requests with a body are worked on at a time: each holds a thread for as long as its client sends."""

    def __init__(self, app: Flask, *, at_once: int = BODIES_AT_ONCE) -> None:
        self._free = threading.Semaphore(at_once)
        app.teardown_request(self.leave)

    def enter(self) -> None:
        """To be called before a body is read, which from then on must come at a pace. Raises `ServiceUnavailable`."""
        if not request.content_length and "Transfer-Encoding" not in request.headers:
            return
        if not self._free.acquire(blocking=False):
            raise ServiceUnavailable("too many scans are being uploaded now; try again in a moment", retry_after=5)
        g.holds_a_body = True
        connection = request.environ.get("gunicorn.socket")
        if connection is not None:
            request.environ["wsgi.input"] = PatientInput(request.environ["wsgi.input"], connection)

    def leave(self, error: BaseException | None = None) -> None:
        if g.pop("holds_a_body", False):
            self._free.release()


def check_size(upload_bytes: int) -> None:
    """Bounds what will be read of the request's body. Raises `RequestEntityTooLarge` if it says that it is larger."""
    key = route_key(request.method, request.url_rule.rule) if request.url_rule else ""
    most = upload_bytes if key in UPLOADS else SMALL_BODY_BYTES
    request.max_content_length = most
    if request.content_length is not None and request.content_length > most:
        raise RequestEntityTooLarge(f"the request is larger than {most // 1_000_000} MB")


class WrongCredentials:
    """Who gave too many wrong keys of late is not listened to for a while."""

    def __init__(self, limit: str = WRONG_CREDENTIALS) -> None:
        self._limit = parse(limit)
        self._counts = MovingWindowRateLimiter(MemoryStorage())

    def check(self, address: str) -> None:
        """Raises `TooManyRequests`."""
        if not self._counts.test(self._limit, address):
            raise TooManyRequests("too many wrong API keys came from this address; wait a minute", retry_after=60)

    def count(self, address: str) -> None:
        self._counts.hit(self._limit, address)


def _who() -> str:
    principal = getattr(g, "principal", None)
    return principal.id if principal is not None else f"address:{request.remote_addr}"


def _limit() -> str:
    key = route_key(request.method, request.url_rule.rule) if request.url_rule else ""
    return LIMITS.get(key, OTHERS)
