"""An evaluation's numbers: tidy tables of typed rows, each of which is written as a Parquet file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One metric of one space, protocol and target. The lift is value / chance."""

    space: str
    protocol: str
    target: str
    title: str
    role: str
    metric: str
    average: str  # micro: over queries; macro: over classes; or of all queries together
    value: float
    low: float
    high: float
    chance: float
    lift: float
    lift_low: float
    lift_high: float
    queries: int
    patients: int


@dataclass(frozen=True)
class Difference:
    """How much larger a figure is in one space than in another, the same patients drawn for both."""

    space: str
    other: str
    protocol: str
    target: str
    metric: str
    value: float
    other_value: float
    difference: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Reliability:
    space: str
    protocol: str
    target: str
    bin: int
    forecast: float
    observed: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Decile:
    """The share of cases with the query's own value in a tenth of the gallery; tenth 1 is the most similar."""

    space: str
    protocol: str
    target: str
    queries_of: str  # class of the queries, or "any"
    tenth: int
    agreement: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Hubness:
    space: str
    protocol: str
    k: int
    queries: int
    cases: int
    skewness: float
    never_found: float  # share of the cases that are nobody's neighbour
    most_found: int  # how many queries one case answers


@dataclass(frozen=True)
class VerdictRow:
    """What is concluded of one disease target, and each thing that was looked at."""

    target: str
    title: str
    verdict: str
    check: str
    result: str
    words: str


@dataclass(frozen=True)
class Point:
    """A case on the map of the archive."""

    case_id: str
    x: float
    y: float


@dataclass(frozen=True)
class LeftOutRow:
    what: str
    why: str
