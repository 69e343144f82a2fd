"""`/api/v1`: the page's twin."""

from typing import Any

from flask import Blueprint, Response, current_app, g, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Gone, NotFound

from embed.asked import Frames
from web import filters, lightbox, problems, uploads
from web.config import Access
from web.held import HeldQuery
from web.openapi import document
from web.present import case_document, snapshot_document
from web.question import Given, require_known
from web.service import OVER, Service

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
LONGEST_PURPOSE = 200
NOT_A_QUESTION = ("purpose", "csrf_token")  # in a form beside what is asked


def service() -> Service:
    found: Service = current_app.extensions["likewise.service"]
    return found


# --- queries


@blueprint.post("/queries")
def ask() -> ResponseReturnValue:
    room: uploads.Room = current_app.extensions["likewise.room"]
    most = service().config.upload_mb * 1024 * 1024
    with room.taken(most if request.content_length is None else request.content_length):
        files = uploads.contents(request.files)
        query = HeldQuery(g.principal.id, _asked(), _purpose(), files=files)
        return _begun(query)


@blueprint.get("/queries/<query_id>")
def answer_of(query_id: str) -> ResponseReturnValue:
    query = _query(query_id)
    if query.state == "done":
        return _told(query) | {"answer": service().again(query, request.args.to_dict(flat=False), g.principal)}
    if query.failure is not None:
        return _told(query) | {"problem": problems.document(query.failure)}
    return _told(query)


@blueprint.delete("/queries/<query_id>")
def forget(query_id: str) -> ResponseReturnValue:
    service().held.drop(_query(query_id))
    return "", 204


@blueprint.get("/queries/<query_id>/preview")
def query_preview(query_id: str) -> ResponseReturnValue:
    return Response(service().query_preview(_query(query_id)), content_type="image/jpeg")


@blueprint.get("/queries/<query_id>/frames")
def query_frames(query_id: str) -> ResponseReturnValue:
    return lightbox.told(service().query_frames(_query(query_id)))


@blueprint.get("/queries/<query_id>/frames/<int:number>")
def query_frame(query_id: str, number: int) -> ResponseReturnValue:
    return _frame(service().query_frames(_query(query_id)), number)


# --- cases


@blueprint.get("/cases/<ref>")
def case(ref: str) -> ResponseReturnValue:
    opened, _, found = service().case(ref)
    _audit("case", opened.name, found.case_id)
    return case_document(found, ref, service().reader(opened, g.principal))


@blueprint.get("/cases/<ref>/preview")
def case_preview(ref: str) -> ResponseReturnValue:
    opened, _, found = service().case(ref)
    return Response(service().case_preview(opened, found), content_type="image/jpeg")


@blueprint.get("/cases/<ref>/frames")
def case_frames(ref: str) -> ResponseReturnValue:
    opened, place, found = service().case(ref)
    _audit("frames", opened.name, found.case_id)
    return lightbox.told(service().case_frames(opened, place, found))


@blueprint.get("/cases/<ref>/frames/<int:number>")
def case_frame(ref: str, number: int) -> ResponseReturnValue:
    return _frame(service().case_frames(*service().case(ref)), number)


@blueprint.post("/cases/<ref>/queries")
def ask_by_case(ref: str) -> ResponseReturnValue:
    opened, _, found = service().case(ref)
    picture = service().case_preview(opened, found)
    return _begun(HeldQuery(g.principal.id, _asked(), _purpose(), case=found, preview=picture))


# --- about


@blueprint.get("/filters")
def what_can_be_chosen() -> ResponseReturnValue:
    return filters.choices(service().live.current())


@blueprint.get("/snapshot")
def snapshot() -> ResponseReturnValue:
    manifest = service().live.current().engine.snapshot.manifest
    return snapshot_document(manifest) | {"cases": dict(manifest.cases), "encoder": manifest.fingerprint}


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    return {"status": "ok"}


@blueprint.get("/ready")
def ready() -> ResponseReturnValue:
    """An older index than the published one is served all the same: only where there is none, nobody should be sent here."""
    return {"status": "stale" if service().live.is_stale else "ready"}


@blueprint.get("/openapi.json")
def openapi() -> ResponseReturnValue:
    return _document()


@blueprint.get("/docs")
def docs() -> ResponseReturnValue:
    return render_template("api.html", document=_document())


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    text = service().stages.exposition(service().figures())
    return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")


# --- helpers


def _document() -> dict[str, Any]:
    return document(is_open=service().config.access is Access.DEMO)


def _begun(query: HeldQuery) -> ResponseReturnValue:
    href = url_for("api.answer_of", query_id=query.id)
    if "respond-async" in request.headers.get("Prefer", ""):
        service().begin(query, g.principal, g.request_id)
        told = {"Location": href, "Preference-Applied": "respond-async"}
        return {"id": query.id, "href": href}, 202, told
    answer = service().ask(query, g.principal)
    return _told(query) | {"answer": answer}, 201, {"Location": href}


def _told(query: HeldQuery) -> dict[str, Any]:
    return {"id": query.id, "state": query.state, "expires_in_s": service().held.seconds_left(query)}


def _query(query_id: str) -> HeldQuery:
    found = service().held.get(query_id, g.principal.id)
    if found is None:
        raise Gone(OVER)
    return found


def _asked() -> Given:
    """What a form, or a JSON object, asks besides the scan. Raises `BadRequest`."""
    given = _form()
    require_known(given, besides=NOT_A_QUESTION)
    return {name: values for name, values in given.items() if name not in NOT_A_QUESTION}


def _purpose() -> str | None:
    text = (_form().get("purpose") or [""])[0]
    if len(text) > LONGEST_PURPOSE:
        raise BadRequest(f"purpose: expected a text of at most {LONGEST_PURPOSE} characters")
    return text or None


def _form() -> dict[str, list[str]]:
    if not request.is_json:
        sent = request.form.to_dict(flat=False)
        return {name or "": values for name, values in sent.items()}  # a part may come without its name
    told = request.get_json()
    if not isinstance(told, dict):
        raise BadRequest("expected a JSON object")
    lists = {name: value if isinstance(value, list) else [value] for name, value in told.items() if value is not None}
    return {
        name: [str(one).lower() if isinstance(one, bool) else str(one) for one in value]
        for name, value in lists.items()
    }


def _frame(frames: Frames, number: int) -> Response:
    if number >= len(frames.pixels):
        raise NotFound(f"there are frames 0 to {len(frames.pixels) - 1}")
    return Response(lightbox.frame_bytes(frames, number), content_type="application/octet-stream")


def _audit(action: str, snapshot: str, case_id: str) -> None:
    current_app.extensions["likewise.audit"].record(action, snapshot=snapshot, cases=[case_id])
