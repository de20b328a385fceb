"""The grammar of ``api.codes``: a status code or a range of them, and the class that an operator gives it.

::

    "606"  "GTW_12"  "301-305"  "301 - 305"     =     decide | retry | rejected | review

The dash may also be an en dash. Numbers are compared without their leading zeros, other codes without regard to case.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache

from worker.settings.problem import Problem
from worker.settings.secret import masked

MAX_DIGITS = 9

_NUMBER = rf"([0-9]{{1,{MAX_DIGITS}}})"
_RANGE = re.compile(rf"{_NUMBER}\s*[-\u2013]\s*{_NUMBER}")
_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:-]{0,63}")

Span = tuple[int, int]


class CodeClass(StrEnum):
    """What a code says about the claim."""

    DECIDE = "decide"  # the checks ran; 999 and 277CA have the verdict
    RETRY = "retry"  # not now
    REJECTED = "rejected"  # never, as it stands
    REVIEW = "review"  # nobody foresaw it


def span_of(key: str) -> Span | None:
    """Read a range, lowest and highest code; None if it is none."""
    found = _RANGE.fullmatch(key.strip())
    return (int(found[1]), int(found[2])) if found else None


@lru_cache(maxsize=256)
def normal_code(code: str) -> str:
    """Write a code as it is looked up: numbers without leading zeros, letters in upper case."""
    code = code.strip()
    return code.lstrip("0") or "0" if code.isascii() and code.isdigit() else code.upper()


def code_problems(overrides: Mapping[str, str]) -> list[Problem]:
    """Say all that is wrong with the setting, each entry by its name; an empty list if nothing is."""
    wrong = [problem for key, name in overrides.items() for problem in _of_entry(key, name)]
    return wrong or [*_of_overlaps(overrides), *_of_repeats(overrides)]


def _of_entry(key: str, name: str) -> Iterator[Problem]:
    shown = f"api.codes.{masked(key)}"
    span = span_of(key)
    if span is None and not _CODE.fullmatch(key.strip()):
        yield Problem(shown, 'must be a code like "606" or "GTW_12", or a range like "301-305"')
    elif span and span[0] > span[1]:
        yield Problem(shown, "must be a range from the lower to the higher code")
    if name not in set(CodeClass):
        yield Problem(shown, f"must be one of {', '.join(CodeClass)}, got {masked(name)}")


def _of_overlaps(overrides: Mapping[str, str]) -> Iterator[Problem]:
    spans = [(span, key) for key in overrides if (span := span_of(key))]
    for place, (span, key) in enumerate(spans):
        for other, other_key in spans[place + 1 :]:
            if span[0] <= other[1] and other[0] <= span[1] and overrides[key] != overrides[other_key]:
                yield Problem("api.codes", f"{masked(key)} and {masked(other_key)} overlap and differ")


def _of_repeats(overrides: Mapping[str, str]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for key in overrides:
        if not span_of(key):
            first = seen.setdefault(normal_code(key), key)
            if overrides[first] != overrides[key]:
                yield Problem("api.codes", f"{masked(first)} and {masked(key)} are the same code and differ")
