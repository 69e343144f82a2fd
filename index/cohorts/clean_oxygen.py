"""Oxygen: FiO2 in all its forms, and the PaO2 cell, which holds a pressure, a saturation or an FiO2."""

import re
from dataclasses import dataclass

from index.cohorts.clean_numbers import UNITS, Number, clean_from, in_range, read_number
from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

ROOM_AIR = 21.0  # %
DRY_AIR = 20.9  # %, to fewer decimals than some write
# nhsx/nccid-cleaning's table: litres a minute -> %. At 6 nasal cannulae end and at 7 masks begin, hence the step back
FLOW = {
    1: 25, 2: 29, 3: 33, 4: 37, 5: 41, 6: 45, 7: 41, 8: 47, 9: 53, 10: 60, 11: 80, 12: 85, 13: 90, 14: 95, 15: 100,
}  # fmt: skip
MASKS = {"blue": 24, "white": 28, "orange": 31, "yellow": 35, "red": 40, "green": 60}
NO_OXYGEN = ("room air", "ra", "air", "on air", "on room air", "nil", "none", "no oxygen")
ON_AIR = re.compile(r"\b(?:ra|r/a|room air|(?:on|in|breathing) air)\b|[\d%] ?air$", re.ASCII)
SATURATION = re.compile(r"\b(?:sp?o2|sao2|sats?|saturations?)\b", re.ASCII)
QUANTITY = r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*"
UNIT = r"(?P<unit>%|l(?:it(?:re|er)s?|trs?|t|pm)?(?:/min)?(?![a-z]))"
BARE = re.compile(rf"(?:fio2|o2|on)?[ :=]*{QUANTITY}(?P<after>\D*)", re.ASCII)
WITH_UNIT = re.compile(rf"(?P<before>(?:fio2|o2|\D)*?){QUANTITY}{UNIT}(?P<after>\D*)", re.ASCII)
MMHG_PER_KPA = 7.50062
NOTHING: Cleaned[float] = Cleaned(None)


@dataclass(frozen=True)
class Oxygen:
    """What a PaO2 cell turned out to hold: at most one has a value."""

    pao2_kpa: Cleaned[float] = NOTHING
    saturation_percent: Cleaned[float] = NOTHING
    fio2_percent: Cleaned[float] = NOTHING


def clean_fio2(value: object) -> Cleaned[float]:
    """FiO2 in %, 21 to 100: per cent, a fraction, litres a minute, the colour of a Venturi mask, or air."""
    source = cell_text(value)
    word = re.sub(r"\broom-air\b", "room air", unwrapped(source).lower())
    if not word:
        return Cleaned(None, source)
    if word.rstrip(".") in NO_OXYGEN:
        return Cleaned(ROOM_AIR, source, ("room-air",))
    if ON_AIR.search(word):
        return _on_air(word, source)
    if SATURATION.search(word):
        return Cleaned(None, source, ("several-values" if re.search(r"\d\D+\d", _unnamed(word)) else "unreadable",))
    masks = {float(percent) for name, percent in MASKS.items() if re.search(rf"\b{name}\b", word)}
    found = WITH_UNIT.fullmatch(word)
    if found:
        around = found["before"].strip(" :=") not in ("", "fio2", "o2", "on") or found["after"].strip()
        cleaned = _with_unit(float(found["number"]), found["unit"], source, ("text-around",) if around else ())
        return cleaned if masks <= {cleaned.value} else Cleaned(None, source, ("several-values",))
    bare = BARE.fullmatch(word)
    if bare and UNITS.match(bare["after"]):
        number = read_number(word[bare.start("number") :])
        if not isinstance(number, str) and number.unit:
            return Cleaned(None, source, (*number.flags, "other-unit"))
    if bare and not masks:
        return _of_bare_number(float(bare["number"]), source, ("text-around",) if bare["after"].strip() else ())
    if len(masks) == 1 and not re.search(r"\d", word):
        return Cleaned(masks.pop(), source, ("from-mask",))
    return Cleaned(None, source, ("several-values" if masks or re.search(r"\d\D+\d", word) else "unreadable",))


def _with_unit(number: float, unit: str, source: str, flags: tuple[str, ...]) -> Cleaned[float]:
    if unit == "%":
        return _of_percent(number, source, flags)
    return Cleaned(ROOM_AIR, source, (*flags, "room-air")) if number == 0 else _of_flow(number, source, flags)


def _of_bare_number(number: float, source: str, flags: tuple[str, ...]) -> Cleaned[float]:
    if number == 1:
        return Cleaned(float(FLOW[1]), source, (*flags, "from-flow", "ambiguous-unit"))
    if 1 < number <= max(FLOW):
        return _of_flow(number, source, flags)
    return _of_percent(_percent(number), source, flags)


def _of_percent(percent: float, source: str, flags: tuple[str, ...]) -> Cleaned[float]:
    """20.9 and 20.95 % are air to its decimals."""
    if DRY_AIR <= percent < ROOM_AIR:
        return Cleaned(ROOM_AIR, source, (*flags, "room-air"))
    return in_range(Cleaned(percent, source, flags), ROOM_AIR, 100)


def _on_air(word: str, source: str) -> Cleaned[float]:
    """Of "94% on RA": the number is a saturation, above 50 %, or that of air itself; beside another nothing is told."""
    numbers = re.findall(r"\d+(?:\.\d*)?|\.\d+", _unnamed(word))
    percent = _percent(float(numbers[0])) if len(numbers) == 1 else 0
    if re.search(r"\b(?:not|off)\b", word) or (numbers and not (percent > 50 or DRY_AIR <= percent <= ROOM_AIR)):
        return Cleaned(None, source, ("several-values" if numbers else "unreadable",))
    return Cleaned(ROOM_AIR, source, ("room-air", "text-around"))


def _unnamed(word: str) -> str:
    """Without the 2 of "SpO2" and "FiO2"."""
    return re.sub(r"\b(?:sp?|sa|fi)?o2\b", "", word)


def _of_flow(litres: float, source: str, flags: tuple[str, ...]) -> Cleaned[float]:
    """From litres a minute; between those of the table nothing is interpolated, since it changes devices."""
    percent = FLOW.get(int(litres)) if litres.is_integer() else None
    if percent is None:
        return Cleaned(None, source, (*flags, "out-of-range"))
    return Cleaned(float(percent), source, (*flags, "from-flow"))


def clean_saturation(value: object) -> Cleaned[float]:
    """Oxygen saturation in %, 50 to 100, also from a fraction."""

    def of_number(number: Number, source: str) -> Cleaned[float]:
        if number.unit not in ("", "%"):
            return Cleaned(None, source, (*number.flags, "other-unit"))
        return in_range(Cleaned(_percent(number.value), source, number.flags), 50, 100)

    return clean_from(value, of_number)


def clean_pao2(value: object, *, fio2_known: bool) -> Oxygen:
    """A PaO2 cell, by its unit where it states one, else by its size.

    Sites' stated units are not relied on: some that state kPa hold saturations. Above 50 is a saturation in %, up to 21 a
    pressure in kPa; between, it is an FiO2 where that field is blank, else doubtful and not used.
    """
    source = cell_text(value)
    if not source:
        return Oxygen()
    text = unwrapped(source)
    stated_fio2 = re.match(r"fio2\b", text, re.IGNORECASE)
    if stated_fio2:
        return Oxygen(fio2_percent=_sourced(clean_fio2(text), source).flagged("from-pao2"))
    number = read_number(text)
    if isinstance(number, str):
        return Oxygen(Cleaned(None, source, (number,)))
    cleaned = Cleaned(number.value, source, number.flags)
    if number.unit == "kpa":
        return Oxygen(in_range(cleaned, 1, 80))
    if number.unit == "mmhg":
        return Oxygen(in_range(Cleaned(round(number.value / MMHG_PER_KPA, 2), source, number.flags), 1, 80))
    if number.unit not in ("", "%"):
        return Oxygen(Cleaned(None, source, (*number.flags, "other-unit")))
    if number.unit == "%" and number.value > 50:
        return Oxygen(saturation_percent=in_range(cleaned, 50, 100))
    return _by_size(cleaned, number.value, fio2_known, is_percent=number.unit == "%")


def _by_size(cleaned: Cleaned[float], size: float, fio2_known: bool, *, is_percent: bool) -> Oxygen:
    guessed = Cleaned(_percent(size), cleaned.source, (*cleaned.flags, "unit-by-magnitude"))
    if 0.5 < size <= 1 or 50 < size <= 100:
        return Oxygen(saturation_percent=guessed)
    if (0.21 <= size <= 0.5 or 21 <= size <= 50) and not fio2_known:
        return Oxygen(fio2_percent=guessed.flagged("from-pao2"))
    if 1 < size < 21 and not is_percent:
        return Oxygen(guessed)
    return Oxygen(Cleaned(None, cleaned.source, (*cleaned.flags, "out-of-range")))


def _percent(number: float) -> float:
    """Per cent of a fraction up to 1; other numbers are per cent already."""
    return round(number * 100, 6) if number <= 1 else number


def _sourced(cleaned: Cleaned[float], source: str) -> Cleaned[float]:
    return Cleaned(cleaned.value, source, cleaned.flags)
