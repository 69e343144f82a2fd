"""Numbers and names as the page says them."""

from collections.abc import Iterable

NOT_RECORDED = "not recorded"


def centre_name(centre: str | None) -> str:
    return centre or NOT_RECORDED


def count_of(count: int, one: str, many: str | None = None) -> str:
    """ "1 scan", "2,000 scans"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(part: int, whole: int) -> str:
    """Never 0 % for some or 100 % for not all."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1 %"
    if 99 < share < 100:
        return ">99 %"
    return f"{share:.0f} %"


def where(counts: Iterable[tuple[str | None, int]], *, named: int = 3) -> str:
    """ "Riverside 12, Northgate 5 and 3 more centres": the centres with most."""
    ordered = sorted(counts, key=lambda item: (-item[1], centre_name(item[0])))
    said = ", ".join(f"{centre_name(centre)} {count:,}" for centre, count in ordered[:named])
    left = len(ordered) - named
    return f"{said} and {count_of(left, 'more centre')}" if left > 0 else said
