"""The API's description (OpenAPI 3.1), written by hand beside the routes; a test holds that they name the same."""

from functools import cache
from typing import Any

ANY: dict[str, Any] = {"type": "object"}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _answers(good: dict[str, Any], *others: int) -> dict[str, Any]:
    words = {
        400: "What was asked cannot be read, or not be asked of this archive",
        401: "Nobody known asks",
        403: "Not open to this role",
        404: "There is none",
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


def _bytes(description: str, kind: str) -> dict[str, Any]:
    return {"200": {"description": description, "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


def _path(name: str, description: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": kind}}


def _choice(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


QUERY = _path("query_id", "as POST /queries gave it")
CASE = _path("ref", "as an answer gave it")
NUMBER = {**_path("number", "from 0", "integer"), "schema": {"type": "integer", "minimum": 0, "maximum": 10000}}
FILTERS = [
    _choice("k", "how many patients", type="integer", minimum=1, maximum=50),
    _choice("view", "only cases of the query's view, or of any", type="string", enum=["same", "any"]),
    _choice("other_sites", "1: leave the query's own site out", type="string", enum=["0", "1"]),
    _choice("own_site", "the query's own site by its code, where it is no archived case"),
    _choice("include_own", "1: also the query's own patient (researchers)", type="string", enum=["0", "1"]),
    _choice("status", "COVID status at the scan"),
    _choice("phase", "pre, acute or post"),
    _choice("sex", "F or M"),
    _choice("scanner", "the scanner's model"),
    _choice("site", "a site's code"),
    _choice("age_min", "years", type="number"),
    _choice("age_max", "years", type="number"),
    _choice("date_from", "of the scan", type="string", format="date"),
    _choice("date_to", "of the scan", type="string", format="date"),
    _choice("outcome_recorded", "only cases with this outcome on record"),
    _choice("where", "a condition in SQL over the catalogue's columns (researchers)"),
]
ASKED = {one["name"]: one["schema"] | {"description": one["description"]} for one in FILTERS}
PURPOSE = {"type": "string", "maxLength": 200, "description": "goes into the audit; no names"}


@cache
def document() -> dict[str, Any]:
    """The whole description."""
    held = _json("The query, and its answer once it is there", {"$ref": "#/components/schemas/Query"})
    made = _json("The answer", {"$ref": "#/components/schemas/Query"}, 201)
    begun = _json("Begun; ask for it at `href`", {"$ref": "#/components/schemas/Begun"}, 202)
    upload = {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "purpose": PURPOSE,
                        **ASKED,
                    },
                }
            }
        },
    }
    properties = {"type": "object", "properties": {"purpose": PURPOSE, **ASKED}}
    by_case = {"content": {"application/x-www-form-urlencoded": {"schema": properties}}}
    prefer = {
        "name": "Prefer",
        "in": "header",
        "description": "respond-async: do not wait",
        "schema": {"type": "string"},
    }
    frames = _json("How the frames are to be shown", {"$ref": "#/components/schemas/Frames"})
    pixels = _bytes("Little-endian pixels, row by row; no header", "application/octet-stream")
    picture = _bytes("A small picture", "image/jpeg")
    paths: dict[str, Any] = {
        "/queries": {"post": {"summary": "Ask about a scan", "parameters": [prefer], "requestBody": upload, "responses": _answers(made | begun, 413, 415, 422, 503)}},
        "/queries/{query_id}": {
            "get": {"summary": "The answer, with other filters if wished", "parameters": [QUERY, *FILTERS], "responses": _answers(held, 404, 410, 503)},
            "delete": {"summary": "Forget the scan now", "parameters": [QUERY], "responses": _answers({"204": {"description": "Forgotten"}}, 404, 410)},
        },
        "/queries/{query_id}/preview": {"get": {"summary": "The query's small picture", "parameters": [QUERY], "responses": _answers(picture, 404, 410)}},
        "/queries/{query_id}/frames": {"get": {"summary": "What a viewer needs to know", "parameters": [QUERY], "responses": _answers(frames, 404, 410, 422)}},
        "/queries/{query_id}/frames/{number}": {"get": {"summary": "One frame", "parameters": [QUERY, NUMBER], "responses": _answers(pixels, 404, 410, 422)}},
        "/cases/{ref}": {"get": {"summary": "A case", "parameters": [CASE], "responses": _answers(_json("The case", ANY), 404, 410, 503)}},
        "/cases/{ref}/preview": {"get": {"summary": "Its small picture", "parameters": [CASE], "responses": _answers(picture, 404, 410)}},
        "/cases/{ref}/frames": {"get": {"summary": "What a viewer needs to know", "parameters": [CASE], "responses": _answers(frames, 404, 410, 422, 503)}},
        "/cases/{ref}/frames/{number}": {"get": {"summary": "One frame", "parameters": [CASE, NUMBER], "responses": _answers(pixels, 404, 410, 422)}},
        "/cases/{ref}/queries": {"post": {"summary": "Ask about an archived case", "parameters": [CASE, prefer], "requestBody": by_case, "responses": _answers(made | begun, 404, 410, 413, 415, 422, 503)}},
        "/filters": {"get": {"summary": "What can be chosen", "responses": _answers(_json("By parameter", ANY))}},
        "/snapshot": {"get": {"summary": "The index that is served", "responses": _answers(_json("Its name, age and size", ANY))}},
        "/health": {"get": {"summary": "Whether the process lives", "security": [], "responses": _answers(_json("It does", ANY))}},
        "/ready": {"get": {"summary": "Whether an index is served, and whether it is the newest", "security": [], "responses": _answers(_json("`ready`; `stale` where the newest cannot be opened and an older one is served", ANY), 503)}},
        "/metrics": {"get": {"summary": "For Prometheus (operators)", "responses": _answers({"200": {"description": "Figures", "content": {"text/plain": {"schema": {"type": "string"}}}}})}},
        "/openapi.json": {"get": {"summary": "This description", "responses": _answers(_json("OpenAPI", ANY))}},
        "/docs": {"get": {"summary": "This description for people", "responses": _answers({"200": {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}})}},
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "Likewise", "version": "1", "description": "Prior chest scans that look like the one in front of you, and what happened to those patients. Research use only — not a medical device."},
        "servers": [{"url": "/api/v1"}],
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}, "schemas": _schemas()},
    }  # fmt: skip


def _schemas() -> dict[str, Any]:
    text, number, whole = {"type": "string"}, {"type": "number"}, {"type": "integer"}
    return {
        "Problem": {"type": "object", "required": ["title", "status", "detail"], "properties": {"type": text, "title": text, "status": whole, "detail": text, "reason": text, "request_id": {"type": ["string", "null"]}}},
        "Begun": {"type": "object", "required": ["id", "href"], "properties": {"id": text, "href": text}},
        "Query": {"type": "object", "required": ["id", "state", "expires_in_s"], "properties": {"id": text, "state": {"type": "string", "enum": ["reading", "encoding", "searching", "done", "failed"]}, "expires_in_s": whole, "problem": ANY, "answer": {"$ref": "#/components/schemas/Answer"}}},
        "Answer": {"type": "object", "required": ["snapshot", "query", "eligible", "withheld", "neighbours", "outcomes", "warnings"], "properties": {"snapshot": ANY, "query": ANY, "eligible": whole, "withheld": whole, "sites_left_out": {"type": "array", "items": text}, "neighbours": {"type": "array", "items": {"$ref": "#/components/schemas/Neighbour"}}, "outcomes": ANY, "concentrations": {"type": "array"}, "warnings": {"type": "array", "items": ANY}}},
        "Neighbour": {"type": "object", "required": ["rank", "ref", "similarity", "outcome"], "properties": {"rank": whole, "ref": text, "similarity": number, "percentile": {"type": ["number", "null"]}, "outcome": ANY}},
        "Frames": {"type": "object", "required": ["count", "rows", "columns", "type", "slope", "intercept", "window"], "properties": {"count": whole, "of": whole, "rows": whole, "columns": whole, "type": {"enum": ["uint16", "int16"]}, "slope": number, "intercept": number, "window": ANY, "presets": {"type": "array"}}},
    }  # fmt: skip
