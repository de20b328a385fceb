"""What the body's statusCode and the HTTP status mean (contract.md §4), written down a second time.

The simulator must not share its reading of the contract with the worker it is there to test.

=========== ========================================================================================
undelivered ``202 303 306 401-403 406-407 503 606 612-619 907 927``: system unavailable, send again
rejected    ``101-133 301-305 404-405 408 413 501 504-512 520 521 605-608 611 701 702 706 902 926``
review      any other code but ``000`` and ``200``
=========== ========================================================================================

A code of the first row is no code of the second.
"""

import re

from worker.result import Disposition
from worker.simulator.outcomes import OUTCOMES, Outcome

REFUSING_STATUSES = frozenset({400, 404, 405, 413, 415, 422})
PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_GENERIC = re.compile(r"([CH])([0-9]{3})-")


def _codes(text: str) -> frozenset[int]:
    """Read codes and ranges of codes."""
    codes: set[int] = set()
    for item in text.split():
        first, _, last = item.partition("-")
        codes.update(range(int(first), int(last or first) + 1))
    return frozenset(codes)


UNAVAILABLE = _codes("202 303 306 401-403 406-407 503 606 612-619 907 927")
REJECTING = _codes("101-133 301-305 404-405 408 413 501 504-512 520 521 605-608 611 701 702 706 902 926") - UNAVAILABLE


def outcome_of_code(code: str) -> Outcome:
    """Return the answer that says nothing but this code, with the meaning that contract.md §4 gives it."""
    number = int(code)
    if number in (0, 200):
        return Outcome(name=f"code_{code}", meaning=Disposition.ACCEPTED, code=code)
    meaning = Disposition.REVIEW
    if number in UNAVAILABLE:
        meaning = Disposition.UNDELIVERED
    elif number in REJECTING:
        meaning = Disposition.REJECTED
    return Outcome(name=f"code_{code}", meaning=meaning, code=code, message="See code", syntax="", report="none")


def magic_outcome(claim_number: str) -> Outcome | None:
    """Return the outcome that a patient control number asks for by its magic value; None if it has none."""
    head, hyphen, _ = claim_number.partition("-")
    if not hyphen:
        return None
    outcome = OUTCOMES.get(head + hyphen)
    if outcome is not None:
        return outcome
    generic = _GENERIC.fullmatch(head + hyphen)
    if generic is None:
        return None
    kind, number = generic.groups()
    return outcome_of_code(number) if kind == "C" else _outcome_of_status(int(number))


def _outcome_of_status(status: int) -> Outcome | None:
    if status in REFUSING_STATUSES:
        return Outcome(name=f"http_{status}", meaning=Disposition.REJECTED, http_status=status)
    if status in PASSING_STATUSES:
        return Outcome(name=f"http_{status}", meaning=Disposition.UNDELIVERED, http_status=status)
    return None


def is_magic(prefix: str) -> bool:
    """Tell whether patient control numbers may start with this magic value."""
    return prefix.find("-") == len(prefix) - 1 and magic_outcome(prefix) is not None
