"""What was sent besides a scan -> the question that is asked of the engine."""

from collections.abc import Mapping, Sequence

from werkzeug.exceptions import BadRequest, Forbidden

from search.answer import DEFAULT_K, Question
from web import filters
from web.live import Opened

Given = Mapping[str, Sequence[str]]  # parameter -> its values, as they were sent

FOR_RESEARCHERS = ("where", "include_own")
NAMES = ("k", "view", "other_sites", "own_site", *FOR_RESEARCHERS, *filters.NAMES)
MOST_NEIGHBOURS = 50
LONGEST = 2000  # characters of one value
# Similarity from which a case is withheld from clinicians as the query's own film. No two people's films are that alike: of Hannover's the
# nearest are at 0.63 (tests/test_hannover.py), of virtual patients of one CT at 0.88. A net below `embed.copies`, which knows copies that
# were compressed or cropped: of those this would miss all (JPEG quality 60: 0.88 in the median of 21 films).
IDENTICAL = 0.995


def require_known(given: Given, *, besides: Sequence[str] = ()) -> None:
    """Raises `BadRequest` for a parameter that is none: a filter that was mistyped must not pass for one that holds."""
    for name, values in given.items():
        if name not in NAMES and name not in besides:
            raise BadRequest(f"there is no parameter {name[:40]!r}; expected {', '.join(NAMES)}")
        if any(len(value) > LONGEST for value in values):
            raise BadRequest(f"{name}: longer than {LONGEST:,} characters")


def question_of(given: Given, opened: Opened, kind: str, *, is_researcher: bool) -> Question:
    """The question, of a scan of `kind`. Raises `BadRequest`, `Forbidden` or `FilterError`."""
    require_known(given)
    for name in FOR_RESEARCHERS:
        if any(given.get(name, ())) and not is_researcher:
            raise Forbidden(f"{name} is for researchers")
    conditions = [filters.condition(given, opened)]
    where = _value(given, "where")
    if where:
        opened.engine.rows_where(kind, where)  # alone, so that what is wrong with it is told of it
        conditions.append(f"CAST((\n{where}\n) AS BOOLEAN)")  # one condition beside the others, whatever it holds
    view = _value(given, "view") or "same"
    if view not in ("same", "any"):
        raise BadRequest("view: expected same or any")
    own_site = _value(given, "own_site")
    site = opened.site_named(own_site) if own_site else None
    if own_site and site is None:
        raise BadRequest("own_site: no such site; GET /api/v1/filters lists them")
    archive = opened.engine.archives.get(kind)
    most = min(MOST_NEIGHBOURS, archive.patient_count) if archive else MOST_NEIGHBOURS
    return Question(
        k=min(_k(given), most),
        where=" and ".join(part for part in conditions if part) or None,
        match_view=view == "same",
        include_own=_is_yes(given, "include_own"),
        other_sites=_is_yes(given, "other_sites"),
        sites=(site,) if site else (),
        own_from=None if is_researcher else IDENTICAL,
    )


def _k(given: Given) -> int:
    text = _value(given, "k") or str(DEFAULT_K)
    k = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= k <= MOST_NEIGHBOURS:
        raise BadRequest(f"k: expected a number from 1 to {MOST_NEIGHBOURS}")
    return k


def _is_yes(given: Given, name: str) -> bool:
    text = _value(given, name) or "0"
    if text not in ("0", "1", "false", "true", "no", "yes"):
        raise BadRequest(f"{name}: expected 1 or 0")
    return text in ("1", "true", "yes")


def _value(given: Given, name: str) -> str:
    values = [value for value in given.get(name, ()) if value]
    if len(values) > 1:
        raise BadRequest(f"{name}: given {len(values)} times; expected once")
    return values[0] if values else ""
