"""Step 5 of the verdict: what TA1 and 999 say of the syntax of what we sent.

Sources: 005010X231A1 (IK501, IK502, AK901, AK905), X12.5 (TA104, TA105). The words are our own.
"""

from worker.precheck.evidence import Decision, Evidence, Rules
from worker.precheck.wording import describe_note, plain
from worker.result import Disposition, Reason
from worker.x12 import FunctionalAcknowledgement

_REJECTING_SYNTAX = frozenset("RMWX")
_SET_ERRORS = {
    "1": "this transaction set is not supported",
    "2": "the transaction set has no trailer",
    "3": "the control numbers of the transaction set's header and trailer differ",
    "4": "the count of the transaction set's segments is wrong",
    "6": "the kind of the transaction set is missing or not valid",
    "7": "the control number of the transaction set is missing or not valid",
    "18": "the transaction set does not belong to its functional group",
    "19": "the implementation guide that the transaction set names is not valid",
    "23": "the control number of the transaction set is not unique",
    "I6": "the implementation guide is not supported",
}
_GROUP_ERRORS = {
    "1": "this kind of functional group is not supported",
    "2": "the version of the functional group is not supported",
    "3": "the functional group has no trailer",
    "4": "the control numbers of the functional group's header and trailer differ",
    "5": "the count of the functional group's transaction sets is wrong",
    "6": "the control number of the functional group is not valid",
    "19": "the control number of the functional group is not unique",
}
_SECURITY_ERRORS = {
    "M": "its message authentication code did not match",
    "W": "its assurance failed the tests of its validity",
    "X": "it could not be analysed after decryption",
}
_INTERCHANGE_NOTES = {
    "001": "control numbers of header and trailer differ",
    "002": "the standard named in its header is not supported",
    "003": "the version of its controls is not supported",
    "004": "the segment terminator is not valid",
    "005": "the qualifier of the sender id is not valid",
    "006": "the sender id is not valid",
    "007": "the qualifier of the receiver id is not valid",
    "008": "the receiver id is not valid",
    "009": "the receiver is unknown",
    "010": "the qualifier of the authorization is not valid",
    "011": "the authorization is not valid",
    "012": "the qualifier of the password is not valid",
    "013": "the password is not valid",
    "014": "the date is not valid",
    "015": "the time is not valid",
    "016": "the repetition separator is not valid",
    "017": "the version is not valid",
    "018": "the control number is not valid",
    "019": "the request for an acknowledgement is not valid",
    "020": "the mark of test or production data is not valid",
    "021": "the number of groups is wrong",
    "022": "the structure is not valid",
    "023": "the end came too early",
    "024": "the content is not valid",
    "025": "the interchange control number was used before",
    "026": "the element separator is not valid",
    "027": "the component separator is not valid",
}


def by_syntax(evidence: Evidence, rules: Rules) -> Decision | None:
    """Step 5: a TA1 or 999 that rejects what we sent. IK5 is trusted over AK9."""
    if not evidence.interchanges and evidence.functional.accepted:
        return None
    for acknowledgement in evidence.interchanges:
        if acknowledgement.verdict == "R":
            note = _INTERCHANGE_NOTES.get(acknowledgement.note, "no usable reason was given")
            text = f"The receiver rejected the whole interchange: {note} ({plain(acknowledgement.note)})."
            return Decision(Disposition.REJECTED, Reason("TA1_R", text, "ta1"))
    worst = next((each for each in evidence.functional.verdicts if each in _REJECTING_SYNTAX), None)
    if worst is None:
        return None
    text = _why_rejected(worst, evidence.functional)
    return Decision(Disposition.REJECTED, Reason(f"999_{worst}", text, "999"))


def syntax_doubt(evidence: Evidence) -> Reason | None:
    """Return what in TA1 and 999 falls short of a plain acceptance; their absence does not."""
    if evidence.interchanges and any(each.verdict != "A" for each in evidence.interchanges):
        text = "The payer's check accepted the claim, but the receiver noted errors in the interchange around it."
        return Reason("TA1_E", text, "ta1")
    functional = evidence.functional
    if evidence.response_kind in {"", "TA1"} and not functional.groups:
        return None
    if functional.accepted and functional.complete:
        return None
    words = {*functional.verdicts, *[group.verdict for group in functional.groups]}
    if words & {"E", "P"} or functional.notes:
        text = "The payer's check accepted the claim, but the receiver noted errors in its X12 form."
        return Reason("999_E", text, "999")
    if words & _REJECTING_SYNTAX:
        text = "The payer's check accepted the claim and the receiver its X12, but not the functional group around it."
        return Reason("999_group", text, "999")
    text = "The payer's check accepted the claim, but the receiver's word on its X12 form cannot be read to the end."
    return Reason("999_unreadable", text, "999")


def first_of(words: str, count: int) -> str:
    """Return the words on the first of several complaints, and how many more there are."""
    return f"{words}, and {count - 1} more." if count > 1 else f"{words}."


def _why_rejected(worst: str, functional: FunctionalAcknowledgement) -> str:
    """Say why a 999 rejects: by its first note on a segment, or by what it says of set, group or security."""
    not_well_formed = "The receiver rejected the claim because its X12 is not well formed."
    if notes := functional.notes:
        first = notes[0]
        words = _describe(first.segment, first.element, first.loop, first.code)
        return f"{not_well_formed} {first_of(words, len(notes))}"
    if worst in _SECURITY_ERRORS:
        return f"The receiver rejected what was sent, unread: {_SECURITY_ERRORS[worst]} ({worst})."
    said = [(_SET_ERRORS.get(code), code) for group in functional.groups for each in group.sets for code in each.codes]
    said += [(_GROUP_ERRORS.get(code), code) for group in functional.groups for code in group.codes]
    named = next((f"{words} ({code})" for words, code in said if words), "")
    return f"The receiver did not take what was sent: {named}." if named else not_well_formed


def _describe(segment: str, element: str, loop: str, code: str) -> str:
    return describe_note(plain(segment), ":".join(map(plain, element.split(":", 2))), plain(loop), plain(code))
