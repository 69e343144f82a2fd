"""What went wrong, as a page for people and as problem details for programs (RFC 9457), both with the request's id."""

import json
import logging

from flask import Flask, Response, g, render_template, request
from flask_limiter import RateLimitExceeded
from jinja2 import TemplateNotFound
from werkzeug.exceptions import HTTPException, InternalServerError

from embed.scan import ScanError
from index.catalogue import FilterError
from index.denied import DenyListError
from index.snapshot import SnapshotError
from search.answer import QuestionError
from web.audit import AuditError
from web.held import Failure

API = "/api/"
LATER = "the index cannot be read now; try again in a minute, and tell whoever runs Likewise if it stays so"
log = logging.getLogger("likewise.problems")


def install(app: Flask) -> None:
    app.register_error_handler(HTTPException, answered)
    app.register_error_handler(Exception, unexpected)


def failure_of(error: Exception) -> Failure | None:
    """What is told of an error that was to be expected; None of our own bug."""
    if isinstance(error, RateLimitExceeded):
        told = f"you have asked too often (at most {error.description}); wait a moment"
        return Failure(429, error.name, told, "too-many-requests")
    if isinstance(error, HTTPException):
        return Failure(error.code or 500, error.name, error.description or "", error.name.lower().replace(" ", "-"))
    if isinstance(error, ScanError):
        return Failure(422, "The scan cannot be used", str(error), error.reason)
    if isinstance(error, FilterError):
        return Failure(400, "Bad Request", str(error).replace("--where", "where"), "filter")
    if isinstance(error, QuestionError):
        return Failure(400, "Bad Request", str(error), "question")
    if isinstance(error, DenyListError):
        return Failure(
            503, "Service Unavailable", "who was withdrawn cannot be told now, so nobody is shown", "deny-list"
        )
    if isinstance(error, SnapshotError):
        return Failure(503, "Service Unavailable", LATER, "index")
    if isinstance(error, AuditError):
        return Failure(503, "Service Unavailable", "this cannot be recorded now, so it is not done", "audit")
    return None


def answered(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None and status < 400:
        return Response(status=status, headers=error.get_response().headers)  # a redirect
    failure = failure_of(error)
    assert failure is not None
    response = told(failure)
    for name, value in error.get_headers(None, request.environ):
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def unexpected(error: Exception) -> Response:
    """An error as a response. Our own bug is told in the log, by the request's id; the reader learns the id only."""
    failure = failure_of(error)
    if failure is None:
        log.error("request %s failed", getattr(g, "request_id", None), exc_info=error)
        return answered(InternalServerError("something went wrong here; tell whoever runs Likewise the request id"))
    if failure.status >= 500:
        log.error("request %s: %s", getattr(g, "request_id", None), failure.reason, exc_info=error)
    return told(failure)


def told(failure: Failure) -> Response:
    """As a problem document for the API, else as a page."""
    if request.path.startswith(API):
        return Response(json.dumps(document(failure)), failure.status, content_type="application/problem+json")
    known = getattr(g, "request_id", None)
    try:
        page = render_template(
            "error.html", status=failure.status, title=failure.title, detail=failure.detail, request_id=known
        )
    except TemplateNotFound:
        page = f"{failure.title}. Request {known}"
    return Response(page, failure.status)


def document(failure: Failure) -> dict[str, object]:
    return {
        "type": "about:blank",
        "title": failure.title,
        "status": failure.status,
        "detail": failure.detail,
        "reason": failure.reason,
        "request_id": failure.request_id or getattr(g, "request_id", None),
    }
