"""Yes-or-no cells: 0, 1 and 2, words, and what slips of the keyboard make of them."""

import re

from index.case import State
from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

NO = ("0", "0.0", "false", "no", "n", "negative", "neg", "not detected", "rna not detected")
YES = ("1", "1.0", "true", "yes", "y", "1es", "positive", "pos", "detected", "rna detected")
UNKNOWN = ("2", "2.0", "unknown", "not known", "n/k", "nk", "not recorded", "not_recorded")
BEFORE_REMARK = re.compile(r"(.+?)\s*([-(,:;]|$)(.*)")
VIRUS = re.compile(r"^(?:sars[- ]?cov[- ]?2|covid(?:[- ]?19)?|coronavirus|2019-ncov)\b[ :-]*(?=\S)", re.ASCII)
POSITIVE, NEGATIVE = r"\b(?:positive|pos|detected|true|yes)\b", r"\b(?:negative|neg|false)\b|\bno[ .)]*$"
DENIED = re.compile(r"\bnot (?:detected|positive)\b")


def clean_state(value: object) -> Cleaned[State]:
    """Yes, no, or None; 2 is NCCID's code for unknown. "1 - on ramipril" is a yes, flagged for its remark.

    An answer before "no" or "positive" to the contrary is none; after "Detected:" and the like it is the whole answer.
    """
    source = cell_text(value)
    word = re.sub(r"^0?([012])(?:\.0*)?$", r"\1", unwrapped(source).lower(), flags=re.ASCII)
    for words, state, flags in ((NO, State.NO, ()), (YES, State.YES, ()), (UNKNOWN, None, ("stated-unknown",))):
        if word in words:
            return Cleaned(state, source, flags)
    if not word:
        return Cleaned(None, source)
    unnamed = VIRUS.sub("", word)
    if unnamed != word:
        return _with_text(clean_state(unnamed), source)
    remark = BEFORE_REMARK.fullmatch(word)
    if not remark or remark[1] == word:
        return Cleaned(None, source, ("unreadable",))
    if remark[2] == ":":
        answer = clean_state(remark[3])
        if remark[1] not in (*NO, *UNKNOWN) and _is_told(answer):
            return _with_text(answer, source)
    # another digit may be another answer: "0 - 1", "1, 2"
    if re.search(r"(?<!-)\b[012]\b(?!-)", remark[3]):
        return Cleaned(None, source, ("unreadable",))
    stated = clean_state(remark[1])
    if _contradicts(remark[3], stated.value, is_label=remark[2] == ":"):
        return Cleaned(None, source, ("several-values",))
    return _with_text(stated, source) if _is_told(stated) else Cleaned(None, source, ("unreadable",))


def _contradicts(remark: str, stated: State | None, *, is_label: bool) -> bool:
    """Whether a remark says the contrary: "later yes" of a no. After "Negative:" any answer may mean either."""
    denied = DENIED.search(remark) is not None
    affirmed = re.search(POSITIVE, DENIED.sub("", remark)) is not None
    denied = denied or re.search(NEGATIVE, remark) is not None
    return (stated is State.NO and (affirmed or (is_label and denied))) or (stated is State.YES and denied)


def _is_told(cleaned: Cleaned[State]) -> bool:
    return cleaned.value is not None or "stated-unknown" in cleaned.flags


def _with_text(cleaned: Cleaned[State], source: str) -> Cleaned[State]:
    """What a part of the cell says, as said by the cell."""
    flags = dict.fromkeys((*cleaned.flags, *(("text-around",) if _is_told(cleaned) else ())))
    return Cleaned(cleaned.value, source, tuple(flags))
