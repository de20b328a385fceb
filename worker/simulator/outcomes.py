"""What the simulator can say about a claim, as one table, and the magic values of CLM01 that ask for it.

A claim whose patient control number starts with a magic value gets that outcome; any other claim gets one drawn
from the configured mix, where outcomes go by their names.

======== ====================== =================================================== ======================
magic    name                   answer                                              the worker must reach
======== ====================== =================================================== ======================
OK-      accepted               999 A, 277CA A2:20 WQ                               accepted
EDIT-    edited                 999 A, 277CA A1:19 WQ with a smart edit in STC12    accepted_with_errors
ACKE-    syntax_noted           999 E with IK3/IK4, 277CA A2:20 WQ                  accepted_with_errors
BOTH-    accepted_and_rejected  277CA A7:21 U and A2:20 WQ, totals: 1 accepted      accepted_with_errors
REJ3-    returned               277CA A3:21 U                                       rejected
REJ6-    missing_information    277CA A6 U                                          rejected
REJ7-    invalid_information    277CA A7 U                                          rejected
REJ8-    relational             277CA A8 U                                          rejected
REJ-     rejected               277CA A7 U, as REJ7-                                rejected
WQ7-     rejected_with_wq       277CA A7 although STC03 says WQ                     rejected
LINE-    line_rejected          277CA A2:20 WQ, its service line A7 U               rejected
RCV-     receiver_rejected      277CA A3 U at HL 21, no claim below                 rejected
E999-    syntax_rejected        999 R with IK3/IK4, no 277CA                        rejected
G999-    group_rejected         999 with AK9 R and no AK2, no 277CA                 rejected
TA1-     interchange_rejected   TA1 R, no 999, no 277CA                             rejected
M301-    member_not_found       code 301                                            rejected
ECHO-    not_transformed        code 926, the submitted 837 echoed                  rejected
GQL-     graphql_refused        HTTP 200, GraphQL ValidationError, no data          rejected
EMPTY-   no_277ca               999 A, 277CA empty                                  undetermined
CUT-     truncated_277ca        999 A, 277CA ends in the middle                     undetermined
ALIEN-   other_claim            999 A, 277CA of another claim                       undetermined
ODD-     unforeseen_category    277CA R1:294                                        review
UNK-     unknown_code           code GTW_12                                         review
INC-     incomplete             277CA A3:21 U "could not be completed", A1:19 WQ    review
INCR-    incomplete_once        the same, later accepted                            accepted
S503-    unavailable            code 503, later accepted                            accepted
DOWN-    unavailable_always     code 503                                            undelivered
ERR-     failed                 ERR837, later accepted                              accepted
ERRX-    failed_always          ERR837                                              undelivered
GQLS-    graphql_failed         HTTP 200, GraphQL system error, later accepted      accepted
Cnnn-    (none)                 code nnn                                            by contract.md §4
Hnnn-    (none)                 HTTP status nnn with a gateway's body               by contract.md §4
======== ====================== =================================================== ======================

"Later" is after `recovers_after` attempts. Sources: contract.md §4, X12 005010X231A1 (999), 005010X214 (277CA).
"""

from typing import Literal

import msgspec

from worker.result import Disposition


class Status(msgspec.Struct, frozen=True, gc=False):
    """One STC: `code` is STC01 with ``:``, `action` STC03 (``WQ`` or ``U``), `text` STC12."""

    code: str
    action: str
    text: str = ""


_ACCEPTED = (Status("A2:20", "WQ"),)
_FAILURE = "THE CLAIM CHECK COULD NOT BE COMPLETED DUE TO SERVICE FAILURE"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: what is answered and what the worker must make of it.

    `meaning` is the disposition if this is the last answer. `recovers`: the claim is accepted after some
    attempts. `syntax` is IK501, ``G`` for a group rejected without AK2, ``TA1``, ``echo`` for the submitted
    837 and "" for nothing in place of the 999. `report` says which 277CA is written: one for the `claim`, one
    that stops at the `receiver`, a `truncated` one, one of an `other` claim, or none. `http_status` other than
    200 answers as a gateway would; `graphql_error` is the classification of a GraphQL error without data.
    """

    name: str = ""
    meaning: Disposition
    code: str = "000"
    response_type: str = "837999"
    message: str = "Validations completed"
    syntax: str = "A"
    report: Literal["claim", "receiver", "truncated", "other", "none"] = "claim"
    statuses: tuple[Status, ...] = _ACCEPTED
    line_status: Status | None = None
    counted_accepted: bool = True
    recovers: bool = False
    http_status: int = 200
    graphql_error: str = ""


def _rejected(name: str, *statuses: Status) -> Outcome:
    return Outcome(name=name, meaning=Disposition.REJECTED, statuses=statuses, counted_accepted=False)


def _coded(name: str, code: str, message: str, meaning: Disposition, *, recovers: bool = False) -> Outcome:
    """Make an answer that says everything with the body's code."""
    return Outcome(name=name, meaning=meaning, code=code, message=message, syntax="", report="none", recovers=recovers)


def _failed(name: str, meaning: Disposition, *, recovers: bool) -> Outcome:
    return Outcome(
        name=name,
        meaning=meaning,
        code="",
        response_type="ERR837",
        message="Internal failure",
        syntax="echo",
        report="none",
        recovers=recovers,
    )


def _incomplete(name: str, *, recovers: bool) -> Outcome:
    """Make the vendor's published pair: a service failed, and yet the totals count the claim accepted."""
    statuses = (Status("A3:21", "U", _FAILURE), Status("A1:19", "WQ"))
    return Outcome(name=name, meaning=Disposition.REVIEW, statuses=statuses, recovers=recovers)


_INVALID = Status("A7:562:85", "U", "BILLING PROVIDER NOT ON FILE")
_SMART_EDIT = Status("A1:19", "WQ", "[SMARTEDIT TST01 MODIFIER 25 MAY BE NEEDED]")

OUTCOMES: dict[str, Outcome] = {
    "OK-": Outcome(name="accepted", meaning=Disposition.ACCEPTED),
    "EDIT-": Outcome(name="edited", meaning=Disposition.ACCEPTED_WITH_ERRORS, statuses=(_SMART_EDIT,)),
    "ACKE-": Outcome(name="syntax_noted", meaning=Disposition.ACCEPTED_WITH_ERRORS, syntax="E"),
    "BOTH-": Outcome(
        name="accepted_and_rejected",
        meaning=Disposition.ACCEPTED_WITH_ERRORS,
        statuses=(Status("A7:21", "U", "REJECTION EDIT"), *_ACCEPTED),
    ),
    "REJ3-": _rejected("returned", Status("A3:21", "U", "RETURN EDIT")),
    "REJ6-": _rejected("missing_information", Status("A6:21", "U", "MISSING INFORMATION")),
    "REJ7-": _rejected("invalid_information", _INVALID),
    "REJ8-": _rejected("relational", Status("A8:21", "U", "RELATIONAL FIELD IN ERROR")),
    "REJ-": _rejected("rejected", _INVALID),
    "WQ7-": _rejected("rejected_with_wq", Status("A7:562:85", "WQ")),
    "LINE-": Outcome(
        name="line_rejected",
        meaning=Disposition.REJECTED,
        line_status=Status("A7:21", "U"),
        counted_accepted=False,
    ),
    "RCV-": Outcome(
        name="receiver_rejected",
        meaning=Disposition.REJECTED,
        statuses=(Status("A3:24:41", "U"),),
        report="receiver",
        counted_accepted=False,
    ),
    "E999-": Outcome(name="syntax_rejected", meaning=Disposition.REJECTED, syntax="R", report="none"),
    "G999-": Outcome(name="group_rejected", meaning=Disposition.REJECTED, syntax="G", report="none"),
    "TA1-": Outcome(name="interchange_rejected", meaning=Disposition.REJECTED, syntax="TA1", report="none"),
    "M301-": _coded("member_not_found", "301", "Member not found", Disposition.REJECTED),
    "ECHO-": Outcome(
        name="not_transformed",
        meaning=Disposition.REJECTED,
        code="926",
        message="X12 transformation failed",
        syntax="echo",
        report="none",
    ),
    "GQL-": Outcome(name="graphql_refused", meaning=Disposition.REJECTED, graphql_error="ValidationError"),
    "EMPTY-": Outcome(name="no_277ca", meaning=Disposition.UNDETERMINED, report="none"),
    "CUT-": Outcome(name="truncated_277ca", meaning=Disposition.UNDETERMINED, report="truncated"),
    "ALIEN-": Outcome(name="other_claim", meaning=Disposition.UNDETERMINED, report="other"),
    "ODD-": Outcome(
        name="unforeseen_category", meaning=Disposition.REVIEW, statuses=(Status("R1:294", "WQ", "SEND RECORDS"),)
    ),
    "UNK-": _coded("unknown_code", "GTW_12", "Unknown", Disposition.REVIEW),
    "INC-": _incomplete("incomplete", recovers=False),
    "INCR-": _incomplete("incomplete_once", recovers=True),
    "S503-": _coded("unavailable", "503", "System unavailable", Disposition.UNDELIVERED, recovers=True),
    "DOWN-": _coded("unavailable_always", "503", "System unavailable", Disposition.UNDELIVERED),
    "ERR-": _failed("failed", Disposition.UNDELIVERED, recovers=True),
    "ERRX-": _failed("failed_always", Disposition.UNDELIVERED, recovers=False),
    "GQLS-": Outcome(
        name="graphql_failed",
        meaning=Disposition.UNDELIVERED,
        graphql_error="DataFetchingException",
        recovers=True,
    ),
}

BY_NAME: dict[str, Outcome] = {outcome.name: outcome for outcome in OUTCOMES.values()}
ACCEPTED = BY_NAME["accepted"]
