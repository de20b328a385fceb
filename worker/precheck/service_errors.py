"""Step 2 of the verdict: an ``errors`` array where the payload should be, at any HTTP status.

=========== ================================================================ =============================
fault       recognised by classification or code, else by the message         then
=========== ================================================================ =============================
system      INTERNAL_ERROR, DataFetchingException, 5xx, … "timed out"         again
request     ValidationError, InvalidSyntax, BAD_USER_INPUT, … "unknown field" rejected, our request is at fault
code        a code of the table (contract.md §4), as siblings send it         as the table says
none        anything else                                                     review
=========== ================================================================ =============================

With several errors the first line that fits any of them decides: a failed system proves nothing about the
claim. Sources: contract.md §4; GraphQL (October 2021) §7.1.2; the classifications of graphql-java and Apollo.
"""

import re

from worker.precheck.answer import ServiceError
from worker.precheck.evidence import Decision, Evidence, Rules
from worker.result import AttemptClass, Disposition, Reason
from worker.settings.codes import CodeClass

# Written as `ServiceError.words` are: upper case, letters and digits only.
_SYSTEM_WORDS = frozenset(
    {
        "INTERNAL",
        "INTERNALERROR",
        "INTERNALSERVERERROR",
        "DATAFETCHINGEXCEPTION",
        "EXECUTIONABORTED",
        "NULLVALUEINNONNULLABLETYPE",
        "DOWNSTREAMSERVICEERROR",
        "SERVICEUNAVAILABLE",
        "UNAVAILABLE",
        "TIMEOUT",
        "GATEWAYTIMEOUT",
        "DEADLINEEXCEEDED",
        "TOOMANYREQUESTS",
        "429",
    }
)
_REQUEST_WORDS = frozenset(
    {
        "VALIDATIONERROR",
        "INVALIDSYNTAX",
        "OPERATIONNOTSUPPORTED",
        "BADREQUEST",
        "BADUSERINPUT",
        "GRAPHQLVALIDATIONFAILED",
        "GRAPHQLPARSEFAILED",
        "OPERATIONRESOLUTIONFAILURE",
        "400",
        "422",
    }
)
_DOOR_WORDS = frozenset({"UNAUTHENTICATED", "UNAUTHORIZED", "FORBIDDEN", "401", "403"})
_SERVER_STATUS = re.compile(r"5[0-9]{2}")
_SYSTEM_MESSAGE = re.compile(
    r"internal (?:server )?error|exception while fetching|unavailable|timed? ?out|bad gateway", re.IGNORECASE
)
_REQUEST_MESSAGE = re.compile(
    r"validation error|invalid syntax|syntax error|(?:unknown|undefined|cannot query) (?:field|type|argument)",
    re.IGNORECASE,
)


def by_errors(evidence: Evidence, rules: Rules) -> Decision | None:
    """Decide by the errors if there is no payload; beside a payload they only keep it from a plain acceptance."""
    errors = evidence.envelope.errors
    if not errors or evidence.payload.speaks:
        return None
    if any(map(_is_system_fault, errors)):
        reason = Reason("service_error", "The service reported an internal error instead of an answer.", "graphql")
        return Decision(None, reason, AttemptClass.TRANSIENT, no_answer=True)
    if any(map(_is_request_fault, errors)):
        text = "The service refused the query as invalid; the claim itself was not looked at."
        return Decision(Disposition.REJECTED, Reason("query_refused", text, "http"), request_fault=True)
    return _by_table(errors, rules) or _unforeseen(errors)


def _is_system_fault(error: ServiceError) -> bool:
    if any(word in _SYSTEM_WORDS or _SERVER_STATUS.fullmatch(word) for word in error.words):
        return True
    return not error.words and _SYSTEM_MESSAGE.search(error.message) is not None


def _is_request_fault(error: ServiceError) -> bool:
    if any(word in _REQUEST_WORDS for word in error.words):
        return True
    return not error.words and _REQUEST_MESSAGE.search(error.message) is not None


def _by_table(errors: tuple[ServiceError, ...], rules: Rules) -> Decision | None:
    for error in errors:
        meaning = rules.codes.meaning(error.code)
        reason = Reason(error.code, f"{meaning.text} (code {error.code}).", "code")
        if meaning.code_class is CodeClass.RETRY:
            return Decision(None, reason, AttemptClass.TRANSIENT)
        if meaning.code_class is CodeClass.REJECTED:
            return Decision(Disposition.REJECTED, reason)
    return None


def _unforeseen(errors: tuple[ServiceError, ...]) -> Decision:
    """Send to review; if the service doubts who we are, that is true of every claim."""
    at_the_door = any(word in _DOOR_WORDS for error in errors for word in error.words)
    reason = Reason("unknown_error", "The service reported an error that a person must look at.", "graphql")
    return Decision(Disposition.REVIEW, reason, request_fault=at_the_door)
