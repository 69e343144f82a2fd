"""The pages people see. Everything about a scan is drawn by their own scripts, from the API that programs use too."""

from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, current_app, g, render_template, request, send_file, session
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Gone, NotFound

from web.config import Access, Config
from web.service import Service

SAMPLE_ENDINGS = (".dcm", ".png", ".jpg", ".jpeg", ".zip")
MOST_SAMPLES = 6  # as many as a person looks over at a glance
MOST_WATCHED = 200  # cases on one page

blueprint = Blueprint("pages", __name__)


@dataclass(frozen=True)
class Sample:
    """A scan to click on, in a demonstration. `number` counts from 1 and is its address; its name goes no further than its title."""

    number: int
    path: Path

    @property
    def title(self) -> str:
        """Its file's name in words; a UID or a number says nothing to people."""
        words = self.path.stem.replace("-", " ").replace("_", " ").strip()
        return words[:1].upper() + words[1:] if any(map(str.isalpha, words)) else f"Sample scan {self.number}"


@blueprint.get("/")
def search() -> str:
    return render_template("search.html", samples=samples(_config()), upload_mb=_config().upload_mb)


@blueprint.get("/samples/<int:number>")
def sample(number: int) -> Response:
    """A sample's bytes, which the page then asks about like any file from a ward PC."""
    found = next((one for one in samples(_config()) if one.number == number), None)
    if found is None:
        raise NotFound("there is no such sample scan")
    return send_file(found.path.resolve(), mimetype="application/octet-stream", download_name=f"sample-{number}")


@blueprint.post("/watch")
def watch() -> ResponseReturnValue:
    """What an open page asks every other second: which of its cases may be shown no more, whether its question is over,
    and which snapshot is served.

    A page that watches is nobody at the computer: it does not keep a session from timing out.
    """
    session.modified = False
    told = request.get_json()
    refs, query = (told.get("refs"), told.get("query")) if isinstance(told, dict) else (None, None)
    if not isinstance(refs, list) or len(refs) > MOST_WATCHED or not all(isinstance(ref, str) for ref in refs):
        raise BadRequest(f"refs: expected a list of at most {MOST_WATCHED} cases")
    if not isinstance(query, str):
        raise BadRequest("query: expected the question's id")
    service: Service = current_app.extensions["likewise.service"]
    return {
        "snapshot": service.live.current().name,
        "gone": [ref for ref in refs if _is_gone(service, ref)],
        "over": _is_over(service, query),
    }


@blueprint.get("/intended-use")
def intended_use() -> str:
    return render_template("intended_use.html")


@blueprint.get("/signed-out")
def signed_out() -> str:
    return render_template("signed_out.html")


def _is_gone(service: Service, ref: str) -> bool:
    try:
        service.case(ref)
    except (Gone, NotFound):
        return True
    return False


def _is_over(service: Service, query_id: str) -> bool:
    """Whether a question is forgotten, or the archived case that it asks by was withdrawn."""
    query = service.held.get(query_id, g.principal.id)
    if query is None:
        return True
    try:
        service.query_preview(query)
    except Gone:
        return True
    except NotFound:
        pass
    return False


def samples(config: Config) -> list[Sample]:
    """The first sample scans by name; none outside a demonstration, whatever is configured."""
    if config.access is not Access.DEMO or config.samples is None or not config.samples.is_dir():
        return []
    files = sorted(
        path for path in config.samples.iterdir() if path.suffix.lower() in SAMPLE_ENDINGS and path.is_file()
    )
    return [Sample(number, path) for number, path in enumerate(files[:MOST_SAMPLES], start=1)]


def _config() -> Config:
    found: Config = current_app.extensions["likewise.config"]
    return found
