"""Steps 6 and 7 of the verdict: what the 277CA says of our claim.

A status (STC) of the 277CA is one of four, the first that fits:

============== ===================================================================================
incomplete     category E1 or E2, or a text that says a service failed: the check did not finish
unforeseen     a category that is in no other row, or an accepting one without ``WQ`` or ``U``
rejecting      A3, A6, A7, A8, E3, E4, or action ``U``; whichever of both is worse
accepting      A0, A1, A2 or A5 with ``WQ``
============== ===================================================================================

STC10 and STC11 are kept and decide nothing. Without a complete 277CA that names our claim nothing is ever
accepted; the levels above a claim can only take away from its verdict. Sources: 005010X214 loops 2200B to
2220D, design.md §7.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, filterfalse
from operator import attrgetter

from worker.precheck.evidence import OK, Decision, Evidence, Rules
from worker.precheck.syntax import first_of, syntax_doubt
from worker.precheck.wording import describe_status, plain
from worker.result import AttemptClass, Disposition, Reason
from worker.x12 import UNREADABLE, Level, Status

_REJECTING = frozenset({"A3", "A6", "A7", "A8", "E3", "E4"})
ACCEPTING = frozenset({"A0", "A1", "A2", "A5"})
_INCOMPLETE = frozenset({"E1", "E2"})
_LONGEST_USUAL = 64
_TEXT_OF = attrgetter("text")
_STATUSES_OF = attrgetter("statuses")
_LINE_STATUSES_OF = attrgetter("line_statuses")


def by_claim_status(evidence: Evidence, rules: Rules) -> Decision | None:
    """Step 6: what a complete 277CA says of our claim, or, if it does not name it, of everything it was given."""
    if not evidence.acknowledgement.complete:
        return None
    above = list(chain.from_iterable(map(_STATUSES_OF, evidence.above)))
    if not evidence.ours:
        return _unfinished(above, "", rules) or _rejected_above(above)
    on_claim = list(chain.from_iterable(map(_STATUSES_OF, evidence.ours)))
    on_lines = list(chain.from_iterable(map(_LINE_STATUSES_OF, evidence.ours)))
    spoken = on_claim + on_lines
    by_number = [status for claim in evidence.ours if claim.claim_number for status in claim.statuses]
    if by_number and all(map(_accepts_plainly, spoken + above)) and not says_so(evidence.payload.message, rules):
        # Nearly every answer: there is no status that any of the steps below could take exception to.
        return _accepted(by_number, _doubt_beside(evidence))
    if unfinished := _unfinished(spoken + above, evidence.payload.message, rules):
        return unfinished
    if not by_number and not any(map(_rejects, spoken)):
        return None
    if unforeseen := next(filterfalse(_foreseen, spoken), None):
        text = f"The payer's check answered with a status that a person must look at: {_words(unforeseen)}."
        return Decision(Disposition.REVIEW, Reason(_code(unforeseen), text, "277ca"))
    rejecting = list(filter(_rejects, on_claim + above))
    rejecting_lines = list(filter(_rejects, on_lines))
    if rejecting_lines or (rejecting and not _outvoted(by_number, evidence)):
        return _rejected(rejecting + rejecting_lines)
    return _accepted(by_number, _doubt(spoken, above, rejecting) or _doubt_beside(evidence))


def without_verdict(evidence: Evidence) -> Decision:
    """Step 7: the answer holds no verdict on our claim."""
    if evidence.ours and evidence.acknowledgement.complete:
        code, text = "no_claim_status", "The payer's answer names the claim but says nothing about it."
    elif evidence.acknowledgement.complete and evidence.acknowledgement.claims:
        code, text = (
            "claim_not_in_277ca",
            "The payer's answer names another claim, and none of this one's number (CLM01).",
        )
    elif evidence.acknowledgement.complete:
        code, text = "claim_not_in_277ca", "The payer's answer does not mention the claim."
    elif evidence.payload.x12_277ca:
        code, text = "incomplete_277ca", "The payer's answer about the claim is cut off or cannot be read."
    elif evidence.response_kind == "837":
        code, text = "claim_echoed", "The service sent the claim back instead of an answer about it."
    else:
        code, text = "no_277ca", "The service took the claim, but its answer holds no verdict about it."
    return Decision(Disposition.UNDETERMINED, Reason(code, text, "277ca"))


def _rejected_above(above: Sequence[Status]) -> Decision | None:
    """Where our claim is missing, the levels of receiver and provider can reject, but never accept."""
    rejecting = list(filter(_rejects, above))
    return _rejected(rejecting) if rejecting else None


def _unfinished(statuses: Sequence[Status], message: str, rules: Rules) -> Decision | None:
    """Repeat a check that did not finish, whatever else it says; a call that submits is not repeated."""
    found = next((each for each in statuses if each.code.category in _INCOMPLETE or says_so(each.text, rules)), None)
    if found is None and not says_so(message, rules):
        return None
    detail = f": {_words(found)}" if found else ""
    reason = Reason("incomplete_check", f"The payer's check of the claim did not finish{detail}.", "277ca")
    if not rules.safe_to_repeat:
        return Decision(Disposition.REVIEW, reason)
    return Decision(None, reason, AttemptClass.TRANSIENT, at_the_end=Disposition.REVIEW)


def says_so(text: str, rules: Rules) -> bool:
    """Tell whether a text says that a check did not finish."""
    if not text or rules.incomplete is None:
        return False
    # What a service says of nearly every claim is one of a few short texts.
    found = _finds if len(text) <= _LONGEST_USUAL else _finds.__wrapped__
    return found(rules.incomplete, text)


@lru_cache(maxsize=256)
def _finds(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is not None


def _rejects(status: Status) -> bool:
    return status.action == "U" or status.code.category in _REJECTING


def _foreseen(status: Status) -> bool:
    category = status.code.category
    return category in _REJECTING or (category in ACCEPTING and status.action in {"WQ", "U"})


def _accepts_plainly(status: Status) -> bool:
    return status.action == "WQ" and status.code.category in ACCEPTING and not status.text


def _of_accepting_category(status: Status) -> bool:
    return status.code.category in ACCEPTING


def _outvoted(by_number: Sequence[Status], evidence: Evidence) -> bool:
    """Tell whether a claim accepted as well as rejected is accepted by all totals above, and rejected by none."""
    levels = evidence.above
    counted = [level for level in levels if level.accepted is not None]
    return (
        not all(map(_rejects, by_number))
        and bool(counted)
        and all((level.accepted or 0) >= level.claims for level in counted)
        and all(level.rejected in {None, 0} for level in levels)
    )


def _rejected(rejecting: Sequence[Status]) -> Decision:
    first = rejecting[0]
    # A category that accepts reads like praise where only the action rejects.
    marked = " by its action (U), whatever its status says" if _of_accepting_category(first) else ""
    text = f"The payer's check rejected the claim{marked}: {first_of(_words(first), len(rejecting))}"
    return Decision(Disposition.REJECTED, Reason(_code(first), text, "277ca"))


def _accepted(by_number: list[Status], doubt: Reason | None) -> Decision:
    """Accept the claim; plainly only if nothing at all in the answer says otherwise."""
    if doubt is not None:
        return Decision(Disposition.ACCEPTED_WITH_ERRORS, doubt)
    code = next(filterfalse(_rejects, by_number)).code
    return acceptance(plain(code.category), plain(code.status), plain(code.entity))


@lru_cache(maxsize=256)
def acceptance(category: str, status: str, entity: str) -> Decision:
    """Make the decision that most claims get; it is immutable and says nothing of any one of them."""
    text = f"The payer's check accepted the claim: {describe_status(category, status, entity)}."
    return Decision(Disposition.ACCEPTED, Reason(f"{category}:{status}", text, "277ca"))


def _doubt(spoken: list[Status], above: list[Status], rejecting: list[Status]) -> Reason | None:
    """Return what among the statuses keeps an accepted claim from being plainly accepted."""
    if rejecting:
        text = f"The payer's check counts the claim as accepted, but also says: {_words(rejecting[0])}."
        return Reason(_code(rejecting[0]), text, "277ca")
    if edited := next(filter(_TEXT_OF, spoken), None):
        text = f"The payer's check accepted the claim with remarks that should be read: {_words(edited)}."
        return Reason(_code(edited), text, "277ca")
    if unforeseen := next(filterfalse(_of_accepting_category, above), None):
        text = f"The payer's check accepted the claim, but says of the batch around it: {_words(unforeseen)}."
        return Reason(_code(unforeseen), text, "277ca")
    return None


def _doubt_beside(evidence: Evidence) -> Reason | None:
    """Return what beside the statuses keeps an accepted claim from being plainly accepted."""
    ours = len(evidence.ours)
    for level in evidence.above:
        if _counts_rejected(level, ours):
            text = "The payer's check accepted the claim, but the totals of its answer count a rejected one."
            return Reason("totals_disagree", text, "277ca")
    if evidence.envelope.errors or evidence.status != OK:
        text = "The payer's check accepted the claim, but the service reported errors beside it."
        return Reason("errors_beside_answer", text, "graphql")
    return syntax_doubt(evidence)


def _counts_rejected(level: Level, ours: int) -> bool:
    """Tell whether a level's totals reject more claims than there are others below it, or cannot be read."""
    return level.rejected is not None and (level.rejected == UNREADABLE or level.rejected > level.claims - ours)


def _words(status: Status) -> str:
    code = status.code
    return describe_status(plain(code.category), plain(code.status), plain(code.entity))


def _code(status: Status) -> str:
    """Return category and status as a reason's code, "A3:21"; never free text."""
    return f"{plain(status.code.category)}:{plain(status.code.status)}"
