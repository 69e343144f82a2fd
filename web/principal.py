"""Who asks: a name, what it is known by, and the roles that decide what it may see."""

from dataclasses import dataclass
from enum import StrEnum

NAME_LONGEST = 128


class Role(StrEnum):
    CLINICIAN = "clinician"  # asks about a scan; sees cards, never pseudonyms
    RESEARCHER = "researcher"  # also pseudonyms, dates and conditions over the catalogue
    OPERATOR = "operator"  # how the server does; no clinical data
    AUDITOR = "auditor"  # who did what; no clinical data


class Means(StrEnum):
    """How a principal showed who it is."""

    DEMO = "demo"
    SESSION = "session"
    PROXY = "proxy"
    API_KEY = "api-key"


@dataclass(frozen=True)
class Principal:
    """`name` is for people to read; `id` is what belongs to nobody else, and what queries and limits are bound to."""

    name: str
    roles: frozenset[Role]
    id: str
    means: Means

    def may_any(self, roles: frozenset[Role]) -> bool:
        return bool(self.roles & roles)


DEMO = Principal("demo", frozenset({Role.CLINICIAN}), "demo", Means.DEMO)


def roles_named(names: object) -> frozenset[Role]:
    """The roles among a claim's values or a header's words. Names are exact; what is no role is left out."""
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    if not isinstance(names, list | tuple):
        return frozenset()
    return frozenset(role for role in Role if role.value in names)


def clean_name(name: str) -> str | None:
    """A name fit for a log line and a page, or None: printable, not empty, at most 128 characters."""
    name = name.strip()
    return name if name and len(name) <= NAME_LONGEST and name.isprintable() else None
