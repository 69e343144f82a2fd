"""Yes-or-no cells: 0, 1 and 2, words, and what slips of the keyboard make of them."""

import re

from index.case import State
from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

NO = ("0", "0.0", "false", "no", "n", "negative", "neg", "not detected", "rna not detected")
YES = ("1", "1.0", "true", "yes", "y", "1es", "positive", "pos", "detected", "rna detected")
UNKNOWN = ("2", "2.0", "unknown", "not known", "n/k", "nk", "not recorded", "not_recorded")
BEFORE_REMARK = re.compile(r"(.+?)\s*(?:[-(,:;]|$)(.*)")


def clean_state(value: object) -> Cleaned[State]:
    """Yes, no, or None; 2 is NCCID's code for unknown. "1 - on ramipril" is a yes, flagged for its remark."""
    source = cell_text(value)
    word = unwrapped(source).lower()
    for words, state, flags in ((NO, State.NO, ()), (YES, State.YES, ()), (UNKNOWN, None, ("stated-unknown",))):
        if word in words:
            return Cleaned(state, source, flags)
    if not word:
        return Cleaned(None, source)
    remark = BEFORE_REMARK.fullmatch(word)
    # another digit may be another answer: "0 - 1", "1, 2"
    if remark and remark[1] != word and not re.search(r"(?<!-)\b[012]\b(?!-)", remark[2]):
        stated = clean_state(remark[1])
        if "unreadable" not in stated.flags:
            return Cleaned(stated.value, source, stated.flags).flagged("text-around")
    return Cleaned(None, source, ("unreadable",))
