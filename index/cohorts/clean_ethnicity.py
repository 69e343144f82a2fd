"""The five groups of the NHS's 16+1 ethnic categories, from their letters or from words."""

import re

from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

LETTERS = {
    **dict.fromkeys("ABC", "White"), **dict.fromkeys("DEFG", "Multiple"), **dict.fromkeys("HJKLR", "Asian"),
    **dict.fromkeys("MNP", "Black"), "S": "Other",
}  # fmt: skip
WITH_SUBCODES = "CGLPS"  # the "any other" categories: C2, CA, GA, PD
UNKNOWN = ("z", "99", "99.0", "u", "unknown", "not known", "not stated", "not recorded", "not given", "refused")
WORDS = {
    "Asian": r"asian|indian|pakistani|bangladeshi|chinese|sri lankan|tamil|japanese|filipino",
    "Black": r"black|caribbean|african|somali|nigerian",
    "White": r"white|irish|caucasian|english|scottish|welsh|gypsy",
}
MIXED = re.compile(r"\b(mixed|multiple)\b")
NEGATED = re.compile(
    rf"\b(?:not|non|other than|except)[ -](?:(?:a|an|of|any)[ -])*(?:{'|'.join(WORDS.values())}|mixed|british)\b"
)
SEPARATED = re.compile(r"\band\b|[&/+]")


def clean_ethnicity(value: object) -> Cleaned[str]:
    """White, Multiple, Asian, Black or Other; of words flagged `from-text`."""
    source = cell_text(value)
    word = unwrapped(source).lower()
    if not word:
        return Cleaned(None, source)
    if word in UNKNOWN:
        return Cleaned(None, source, ("stated-unknown",))
    letter = word[0].upper()
    if len(word) == 1 or (letter in WITH_SUBCODES and re.fullmatch(r"[a-z][0-9a-z]", word, re.ASCII)):
        group = LETTERS.get(letter)
        return Cleaned(group, source) if group else Cleaned(None, source, ("unreadable",))
    return _from_words(word, source)


def _from_words(word: str, source: str) -> Cleaned[str]:
    if NEGATED.search(word):
        return Cleaned(None, source, ("unreadable",))
    groups = [group for group, names in WORDS.items() if re.search(rf"\b({names})\b", word)]
    if MIXED.search(word) or (len(groups) > 1 and SEPARATED.search(word)):
        groups = ["Multiple"]
    elif not groups and re.search(r"\bbritish\b", word):  # "Asian British" is Asian
        groups = ["White"]
    elif not groups and re.search(r"\b(arab|other)\b", word):
        groups = ["Other"]
    if len(groups) == 1:
        return Cleaned(groups[0], source, ("from-text",))
    return Cleaned(None, source, ("several-values" if groups else "unreadable",))
