"""The API's description (OpenAPI 3.1), written by hand beside the routes; a test holds that they name the same."""

from functools import cache
from typing import Any

ANY: dict[str, Any] = {"type": "object"}
LOCATION = {"Location": {"description": "Where the query is", "schema": {"type": "string"}}}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _answers(good: dict[str, Any], *others: int) -> dict[str, Any]:
    words = {
        400: "What was asked cannot be read, or not be asked of this archive",
        401: "Nobody known asks",
        403: "Not open to this role",
        404: "There is none",
        408: "It came too slowly",
        410: "It was here and is over",
        413: "Too large",
        415: "Not of a kind that is taken",
        422: "The scan cannot be used; `reason` says why in a word",
        429: "Too many requests",
        503: "Not able to answer now",
    }
    common = (400, 401, 403, 429, *others)
    return good | {str(status): {"description": words[status], "content": PROBLEM} for status in sorted(set(common))}


def _json(description: str, schema: dict[str, Any], status: int = 200) -> dict[str, Any]:
    return {str(status): {"description": description, "content": {"application/json": {"schema": schema}}}}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _status(*words: str) -> dict[str, Any]:
    return {"type": "object", "required": ["status"], "properties": {"status": {"enum": list(words)}}}


def _bytes(description: str, kind: str) -> dict[str, Any]:
    return {"200": {"description": description, "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


def _path(name: str, description: str, **schema: Any) -> dict[str, Any]:
    kind = schema or {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": kind}


def _choice(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


QUERY = _path("query_id", "as POST /queries gave it")
CASE = _path("ref", "as an answer gave it")
NUMBER = _path("number", "from 0", type="integer", minimum=0)
NOT_ASKED = {"const": ""}  # a field of a form that nobody filled in
DAY = {"anyOf": [{"type": "string", "format": "date"}, NOT_ASKED]}
YEARS = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 150}, NOT_ASKED]}
YES_OR_NO = {"enum": ["0", "1", "false", "true", "no", "yes", ""]}
FILTERS = [
    _choice("k", "how many patients", anyOf=[{"type": "integer", "minimum": 1, "maximum": 50}, NOT_ASKED]),
    _choice("view", "only cases of the query's view, or of any", enum=["same", "any", ""]),
    _choice("other_sites", "leave the query's own site out", **YES_OR_NO),
    _choice("own_site", "the query's own site by its code, where it is no archived case"),
    _choice("include_own", "also the query's own patient (researchers)", **YES_OR_NO),
    _choice("status", "COVID status at the scan"),
    _choice("phase", "pre, acute or post"),
    _choice("sex", "F or M"),
    _choice("scanner", "the scanner's model"),
    _choice("site", "a site's code"),
    _choice("age_min", "years", **YEARS),
    _choice("age_max", "years", **YEARS),
    _choice("date_from", "of the scan", **DAY),
    _choice("date_to", "of the scan", **DAY),
    _choice("outcome_recorded", "only cases with this outcome on record"),
    _choice("where", "a condition in SQL over the catalogue's columns (researchers)"),
]
ASKED = {one["name"]: one["schema"] | {"description": one["description"]} for one in FILTERS}
PURPOSE = {"type": "string", "maxLength": 200, "description": "goes into the audit; no names"}


# what an answer leads to (OpenAPI 3.1, 4.8.20): the question's own addresses, and its first neighbour's
OF_QUERY = {
    name: {"operationId": name, "parameters": {"query_id": "$response.body#/id"}}
    for name in ("answer_of", "forget", "query_preview", "query_frames", "query_frame")
}
OF_CASE = {
    name: {"operationId": name, "parameters": {"ref": "$response.body#/answer/neighbours/0/ref"}}
    for name in ("case", "case_preview", "case_frames", "case_frame", "ask_by_case")
}
OPEN: list[dict[str, Any]] = [{}]
SIGNED_IN: list[dict[str, Any]] = [{"key": []}, {"session": []}]


@cache
def document(*, is_open: bool = False) -> dict[str, Any]:
    """The whole description. `is_open`: of a demonstration, where nobody signs in."""
    held = _json("The query, and its answer once it is there", _schema("Query"))
    made = _json("The answer", _schema("Query"), 201)
    begun = _json("Begun; ask for it at `href`", _schema("Begun"), 202)
    made["201"] |= {"headers": LOCATION, "links": OF_QUERY | OF_CASE}
    begun["202"] |= {"headers": LOCATION, "links": OF_QUERY}
    upload = {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "additionalProperties": False,
                    "properties": {
                        "files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
                        "purpose": PURPOSE,
                        **ASKED,
                    },
                }
            }
        },
    }
    properties = {"type": "object", "additionalProperties": False, "properties": {"purpose": PURPOSE, **ASKED}}
    by_case = {"content": {"application/x-www-form-urlencoded": {"schema": properties}}}
    prefer = {
        "name": "Prefer",
        "in": "header",
        "description": "respond-async: do not wait",
        "schema": {"type": "string"},
    }
    frames = _json("How the frames are to be shown", _schema("Frames"))
    pixels = _bytes("Little-endian pixels, row by row; no header", "application/octet-stream")
    picture = _bytes("A small picture", "image/jpeg")
    paths: dict[str, Any] = {
        "/queries": {"post": {"operationId": "ask", "summary": "Ask about a scan", "parameters": [prefer], "requestBody": upload, "responses": _answers(made | begun, 408, 413, 415, 422, 503)}},
        "/queries/{query_id}": {
            "get": {"operationId": "answer_of", "summary": "The answer, with other filters if wished", "parameters": [QUERY, *FILTERS], "responses": _answers(held, 404, 410, 503)},
            "delete": {"operationId": "forget", "summary": "Forget the scan now", "parameters": [QUERY], "responses": _answers({"204": {"description": "Forgotten"}}, 404, 410)},
        },
        "/queries/{query_id}/preview": {"get": {"operationId": "query_preview", "summary": "The query's small picture", "parameters": [QUERY], "responses": _answers(picture, 404, 410)}},
        "/queries/{query_id}/frames": {"get": {"operationId": "query_frames", "summary": "What a viewer needs to know", "parameters": [QUERY], "responses": _answers(frames, 404, 410, 422)}},
        "/queries/{query_id}/frames/{number}": {"get": {"operationId": "query_frame", "summary": "One frame", "parameters": [QUERY, NUMBER], "responses": _answers(pixels, 404, 410, 422)}},
        "/cases/{ref}": {"get": {"operationId": "case", "summary": "A case", "parameters": [CASE], "responses": _answers(_json("The case", _schema("Case")), 404, 410, 503)}},
        "/cases/{ref}/preview": {"get": {"operationId": "case_preview", "summary": "Its small picture", "parameters": [CASE], "responses": _answers(picture, 404, 410)}},
        "/cases/{ref}/frames": {"get": {"operationId": "case_frames", "summary": "What a viewer needs to know", "parameters": [CASE], "responses": _answers(frames, 404, 410, 422, 503)}},
        "/cases/{ref}/frames/{number}": {"get": {"operationId": "case_frame", "summary": "One frame", "parameters": [CASE, NUMBER], "responses": _answers(pixels, 404, 410, 422)}},
        "/cases/{ref}/queries": {"post": {"operationId": "ask_by_case", "summary": "Ask about an archived case", "parameters": [CASE, prefer], "requestBody": by_case, "responses": _answers(made | begun, 404, 408, 410, 413, 415, 422, 503)}},
        "/filters": {"get": {"operationId": "what_can_be_chosen", "summary": "What can be chosen", "responses": _answers(_json("By parameter", _schema("Filters")))}},
        "/snapshot": {"get": {"operationId": "snapshot", "summary": "The index that is served", "responses": _answers(_json("Its name, age and size", _schema("Snapshot")))}},
        "/health": {"get": {"operationId": "health", "summary": "Whether the process lives", "security": [], "responses": _answers(_json("It does", _status("ok")))}},
        "/ready": {"get": {"operationId": "ready", "summary": "Whether an index is served, and whether it is the newest", "security": [], "responses": _answers(_json("`ready`; `stale` where the newest cannot be opened and an older one is served", _status("ready", "stale")), 503)}},
        "/metrics": {"get": {"operationId": "metrics", "summary": "For Prometheus (operators)", "responses": _answers({"200": {"description": "Figures", "content": {"text/plain": {"schema": {"type": "string"}}}}})}},
        "/openapi.json": {"get": {"operationId": "openapi", "summary": "This description", "responses": _answers(_json("OpenAPI", ANY))}},
        "/docs": {"get": {"operationId": "docs", "summary": "This description for people", "responses": _answers({"200": {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}})}},
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "Likewise", "version": "1", "description": "Prior chest scans that look like the one in front of you, and what happened to those patients. Research use only — not a medical device."},
        "servers": [{"url": "/api/v1"}],
        "security": OPEN if is_open else SIGNED_IN,
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}, "session": {"type": "apiKey", "in": "cookie", "name": "__Host-likewise"}}, "schemas": _schemas()},
    }  # fmt: skip


def _schemas() -> dict[str, Any]:
    text, number, whole = {"type": "string"}, {"type": "number"}, {"type": "integer"}
    perhaps, some, maybe = {"type": ["string", "null"]}, {"type": ["number", "null"]}, {"type": ["integer", "null"]}
    texts = {"type": "array", "items": text}
    said = {"type": "array", "items": _object({"code": text, "message": text})}
    happened = _object({"state": {"enum": ["yes", "no", "not_recorded"]}, "days": maybe})
    outcome = {"type": "object", "additionalProperties": happened}
    clinical: dict[str, Any] = {
        name: {} for name in ("status_at_scan", "phase", "severity", "covid_code", "days_from_index")
    }
    case = {
        "ref": text,
        "modality": perhaps,
        "view": perhaps,
        "site": perhaps,
        "age_band": perhaps,
        "sex": perhaps,
        **clinical,
        "outcome": outcome,
        "observed_days": maybe,
    }
    for_researchers = {"case_id": text, "patient_id": text, "site_name": perhaps, "scan_date": perhaps}
    placed = {
        "rank": whole,
        "kind": text,
        "similarity": {"type": "number", "minimum": -1, "maximum": 1},
        "percentile": some,
    }
    snapshot = {"name": text, "created": text, "scans": whole, "patients": whole}
    archive = _object({"known": whole, "events": whole})
    summary = _object(
        {
            "title": text,
            "asked": whole,
            "known": whole,
            "events": maybe,
            "low": some,
            "high": some,
            "archive": archive,
            "time": ANY,
        }
    )
    query = {"kind": text, "modality": perhaps, "view": perhaps, "flags": said, "steps": texts, "frames": maybe}
    answer = {
        "snapshot": _object(snapshot),
        "query": _object(query),
        "eligible": whole,
        "withheld": whole,
        "sites_left_out": texts,
        "neighbours": {"type": "array", "items": _schema("Neighbour")},
        "outcomes": {"type": "object", "additionalProperties": summary},
        "concentrations": {"type": "array", "items": ANY},
        "warnings": said,
    }
    window = {"center": number, "width": number}
    frames = {
        "count": whole,
        "of": whole,
        "rows": whole,
        "columns": whole,
        "type": {"enum": ["uint16", "int16"]},
        "slope": number,
        "intercept": number,
        "spacing_mm": {"type": ["array", "null"], "items": number},
        "slice_spacing_mm": some,
        "window": _object(window),
        "presets": {"type": "array", "items": _object({"name": text, **window})},
        "inverted": {"type": "boolean"},
    }
    chosen = {
        "view": texts,
        "site": texts,
        "outcome_recorded": {"type": "array", "items": _object({"name": text, "title": text})},
        "ranges": texts,
    }
    states = {"enum": ["reading", "encoding", "searching", "done", "failed"]}
    return {
        "Problem": _object({"type": text, "title": text, "status": whole, "detail": text, "reason": text, "request_id": perhaps}),
        "Begun": _object({"id": text, "href": text}),
        "Query": _object({"id": text, "state": states, "expires_in_s": whole}, {"problem": _schema("Problem"), "answer": _schema("Answer")}),
        "Answer": _object(answer),
        "Neighbour": _object({**placed, **case}, for_researchers),
        "Case": _object(case, for_researchers),
        "Frames": _object(frames),
        "Snapshot": _object({**snapshot, "encoder": text, "cases": {"type": "object", "additionalProperties": whole}}),
        "Filters": _object(chosen, {name: texts for name in ("status", "phase", "sex", "scanner")}),
    }  # fmt: skip


def _object(always: dict[str, Any], sometimes: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object of these properties and no others: what is not described is not sent."""
    return {
        "type": "object",
        "required": list(always),
        "properties": always | (sometimes or {}),
        "additionalProperties": False,
    }
