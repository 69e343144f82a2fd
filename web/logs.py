"""One JSON line an event on stderr, with the request's id. No names, no file names, no query strings."""

import json
import logging
import sys
import time
from datetime import UTC, datetime

from flask import Flask, Response, g, request

log = logging.getLogger("likewise.request")


class JsonLines(logging.Formatter):
    """What a log collector takes."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "figures", {}),
        }
        if record.exc_info and record.exc_info[0]:  # the place, never the values: a message may quote a file
            trace, place = record.exc_info[2], ""
            while trace:
                place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
                trace = trace.tb_next
            told |= {"error": record.exc_info[0].__name__, "at": place}
        return json.dumps(told)


def set_up() -> None:
    """For an entry point only: a library sets up no logging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger("likewise")
    root.handlers, root.propagate = [handler], False
    root.setLevel(logging.INFO)


def install(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()

    @app.after_request
    def tell(response: Response) -> Response:
        seconds = time.perf_counter() - getattr(g, "begun", time.perf_counter())
        figures = {
            "request_id": getattr(g, "request_id", None),
            "route": request.url_rule.rule if request.url_rule else None,
            "method": request.method,
            "status": response.status_code,
            "seconds": round(seconds, 4),
        }
        log.info("answered", extra={"figures": figures})
        found = app.extensions.get("likewise.service")
        if found is not None:
            found.stages.answered(response.status_code)
        return response
