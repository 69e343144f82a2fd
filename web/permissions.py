"""Which role may use which route. A route that is not in the table is refused to everybody."""

import re
from collections.abc import Iterable

from flask import Flask
from werkzeug.routing import Rule

from web.principal import Principal, Role

PUBLIC = frozenset[Role]()  # no sign-in: holds no data, or is the way in
EVERYONE = frozenset(Role)
CLINICAL = frozenset({Role.CLINICIAN, Role.RESEARCHER})
OPERATORS = frozenset({Role.OPERATOR})

API = "/api/v1"

# (method and path, names in it left out) -> who may; HEAD goes with GET
PERMISSIONS: dict[str, frozenset[Role]] = {
    "GET /static/<>": PUBLIC,
    "GET /intended-use": PUBLIC,
    "GET /signed-out": PUBLIC,
    "GET /sign-in": PUBLIC,
    "GET /sign-in/callback": PUBLIC,
    "POST /sign-out": PUBLIC,  # also of a session that has ended meanwhile
    "GET /": CLINICAL,
    "GET /case/<>": CLINICAL,
    "GET /samples/<>": CLINICAL,  # of a demonstration
    "POST /watch": CLINICAL,  # an open page's own question: which of its cases were withdrawn
    f"GET {API}/health": PUBLIC,
    f"GET {API}/ready": PUBLIC,
    f"GET {API}/openapi.json": EVERYONE,
    f"GET {API}/docs": EVERYONE,
    f"GET {API}/metrics": OPERATORS,
    f"GET {API}/snapshot": EVERYONE,
    f"GET {API}/filters": CLINICAL,
    f"POST {API}/queries": CLINICAL,
    f"GET {API}/queries/<>": CLINICAL,
    f"DELETE {API}/queries/<>": CLINICAL,
    f"GET {API}/queries/<>/preview": CLINICAL,
    f"GET {API}/queries/<>/frames": CLINICAL,
    f"GET {API}/queries/<>/frames/<>": CLINICAL,
    f"GET {API}/cases/<>": CLINICAL,
    f"GET {API}/cases/<>/preview": CLINICAL,
    f"GET {API}/cases/<>/frames": CLINICAL,
    f"GET {API}/cases/<>/frames/<>": CLINICAL,
    f"POST {API}/cases/<>/queries": CLINICAL,
}

UPLOADS = frozenset({f"POST {API}/queries"})  # the routes whose bodies may be large


def route_key(method: str, rule: str) -> str:
    """As the table has it: `GET /api/v1/cases/<>` for `GET /api/v1/cases/<string:ref>`."""
    return f"{'GET' if method == 'HEAD' else method} {re.sub(r'<[^>]*>', '<>', rule)}"


def roles_of(method: str, rule: Rule) -> frozenset[Role] | None:
    """Who may use a route with a method; None: nobody. OPTIONS, which only tells the methods, goes with any of them."""
    if method != "OPTIONS":
        return PERMISSIONS.get(route_key(method, rule.rule))
    found = [PERMISSIONS.get(route_key(other, rule.rule)) for other in (rule.methods or set()) - {"OPTIONS"}]
    known = [roles for roles in found if roles is not None]
    if not known:
        return None
    return PUBLIC if PUBLIC in known else frozenset[Role]().union(*known)


def permitted(principal: Principal | None, roles: frozenset[Role] | None) -> bool:
    """Whether a principal, or nobody known, may use what `roles` may use."""
    if roles is None:
        return False
    return roles == PUBLIC or (principal is not None and principal.may_any(roles))


def routes(app: Flask) -> Iterable[str]:
    """Every route of an app as the table has it, OPTIONS and HEAD left out."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield route_key(method, rule.rule)
