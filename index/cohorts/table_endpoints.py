"""An endpoint of a table: a state column with its words, a column of days or of dates, or both."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from index.case import Endpoint, Event, State
from index.cohort import CohortError
from index.cohorts import toml_entries as toml
from index.cohorts.cells import clean_days, yes_or_no
from index.cohorts.cleaned import Cleaned
from index.cohorts.table_dates import Dates, days_between
from index.cohorts.table_rows import disputed

ENTRIES = ("title", "state", "yes", "no", "unknown", "days", "date", "absent", "ends_observation")


@dataclass(frozen=True)
class EndpointColumns:
    """How one endpoint is read. A number of days, or a date, means *yes*.

    `absent` is what a row says whose cells are blank: by default, that it was not recorded.
    """

    endpoint: Endpoint
    state: str | None
    yes: frozenset[str] | None  # None: the usual spellings
    no: frozenset[str] | None
    unknown: frozenset[str]
    days: str | None
    dated: str | None  # a column of dates; days are counted from the scan
    absent: State
    ends_observation: bool  # nobody is observed any longer after it: death

    @property
    def entry(self) -> str:
        return f"[endpoints.{self.endpoint.name}]"

    def columns(self) -> Iterator[tuple[str, str]]:
        """(entry of the TOML, the column that it names)."""
        for key, column in (("state", self.state), ("days", self.days), ("date", self.dated)):
            if column is not None:
                yield f"{self.entry} {key}", column

    def read(
        self, row: Mapping[str, str], scan_date: date | None, dates: Dates
    ) -> tuple[Event, dict[str, Cleaned[Any]]]:
        """(the event, what its cells said: by NAME and NAME_days)."""
        for _, column in self.columns():
            if doubt := disputed(row[column]):
                return Event(State.NOT_RECORDED), {self.endpoint.name: doubt}
        word = row[self.state].strip() if self.state else ""
        written = row[self.days or self.dated or ""].strip() if self.days or self.dated else ""
        if not word and not written:
            return Event(self.absent), {}
        state = self._state(word)
        when = dates.read(written) if self.dated else clean_days(written)
        is_dated = when.value is not None or any(character.isdigit() for character in when.source)
        if state.value is State.NO and is_dated:
            state = Cleaned(None, state.source, (*state.flags, "no-but-dated"))
            event = Event(State.NOT_RECORDED)
        elif state.value is State.NO:
            event = Event(State.NO)
        elif state.value is State.YES or when.value is not None:
            days = when.value if isinstance(when.value, int) else days_between(scan_date, when.value)
            event = Event(State.YES, days)
            if self.ends_observation and days is not None and days < 0:
                when = when.flagged("event-before-scan")
        else:
            event = Event(State.NOT_RECORDED)
        return event, {self.endpoint.name: state, f"{self.endpoint.name}_days": when}

    def _state(self, text: str) -> Cleaned[State]:
        """What a word says: as listed, else in its usual spelling where that answer has no list of its own."""
        word = text.lower()
        for listed, state in ((self.yes, State.YES), (self.no, State.NO), (self.unknown, None)):
            if listed is not None and word in listed:
                return Cleaned(state, text)
        usual = yes_or_no(text)
        has_list = {State.YES: self.yes is not None, State.NO: self.no is not None}
        if usual.value is not None and has_list[usual.value]:
            return Cleaned(None, text, ("unreadable",))
        return usual


def read_endpoint(name: str, value: Any) -> EndpointColumns:
    """The entry `[endpoints.NAME]`. Raises `CohortError`."""
    where = f"[endpoints.{name}]"
    entry = toml.known_entries(value, where, ENTRIES)
    if not {"state", "days", "date"} & set(entry):
        raise CohortError(
            f"{where} needs a column: state (words for yes and no), days (from the scan) or date, or both"
        )
    if "days" in entry and "date" in entry:
        raise CohortError(f"{where} may hold days or date, not both")
    title, state, days, when = (toml.optional_text(entry, key, where) for key in ("title", "state", "days", "date"))
    yes, no, unknown = (
        toml.words(entry[key], f"{where} {key}") if key in entry else None for key in ("yes", "no", "unknown")
    )
    for key, one, other in (
        ("yes and no", yes or {"1", "yes"}, no or {"0", "no"}),
        ("yes and unknown", yes or set(), unknown or set()),
        ("no and unknown", no or set(), unknown or set()),
    ):
        if one & other:
            raise CohortError(f"{where}: {', '.join(sorted(one & other))} cannot mean both {key}")
    absent = toml.one_of(entry.get("absent", State.NOT_RECORDED), f"{where} absent", tuple(State))
    try:
        endpoint = Endpoint(name, title or name.replace("_", " "))
    except ValueError as error:
        raise CohortError(f"{where}: {error}") from error
    return EndpointColumns(
        endpoint,
        state,
        yes,
        no,
        unknown or frozenset(),
        days,
        when,
        State(absent),
        toml.true_or_false(entry, "ends_observation", where),
    )
