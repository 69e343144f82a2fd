"""The pages people see. Everything about a scan is drawn by their own scripts, from the API that programs use too."""

from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, current_app, render_template, send_file
from werkzeug.exceptions import NotFound

from web.config import Access, Config

SAMPLE_ENDINGS = (".dcm", ".png", ".jpg", ".jpeg", ".zip")
MOST_SAMPLES = 6  # as many as a person looks over at a glance

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
    return send_file(found.path.resolve(), mimetype="application/octet-stream")


@blueprint.get("/intended-use")
def intended_use() -> str:
    return render_template("intended_use.html")


@blueprint.get("/signed-out")
def signed_out() -> str:
    return render_template("signed_out.html")


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
