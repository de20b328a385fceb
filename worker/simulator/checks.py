"""Reads a pre-check request as the API would and says what is wrong with it, in the API's order.

=================================== ===================================================================
Content-Type is not JSON            HTTP 415
body is not JSON, no query          HTTP 400, GraphQL InvalidSyntax
unknown field, variable missing     HTTP 400, GraphQL ValidationError
header providerTaxId missing        HTTP 400, GraphQL ValidationError
X12 malformed                       code 706
several claims                      code 702
header TIN is not the X12's         code 701
payer not supported, or not X12's   code 521
loops in disorder                   999 R
=================================== ===================================================================

The bearer token is looked at before all of these, by `worker.simulator.precheck`. Source: contract.md §3 and §4.
"""

from typing import Any

import msgspec

from worker.simulator.codes import outcome_of_code
from worker.simulator.config import SimulatorConfig
from worker.simulator.graphql import ANSWER_FIELDS, GraphqlError, Selection, read_query
from worker.simulator.interchange import Malformed, Submitted, read_interchange
from worker.simulator.outcomes import BY_NAME, Outcome

_FLAT = Selection("", tuple((field, field) for field in ANSWER_FIELDS), "")
_JSON = msgspec.json.Decoder(dict[str, Any])


class RequestRefused(Exception):
    """The request is answered with an HTTP error before its claim is looked at."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a pre-check request asks for. `selection.root` is "" if it came, and is answered, without GraphQL."""

    selection: Selection
    x12: str
    payer_id: str | None


def read_request(content_type: str, body: bytes, config: SimulatorConfig) -> Request:
    """Read the request's body.

    :raises RequestRefused: if it is none that the API would run.
    """
    if content_type != "application/json":
        raise RequestRefused(415, {"message": "Unsupported Media Type", "statusCode": 415})
    try:
        request = _JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _refused("Invalid request body", classification="InvalidSyntax") from None
    if "query" not in request and config.flat_allowed and isinstance(request.get("x12RequestData"), str):
        return Request(_FLAT, request["x12RequestData"], None)
    return _read_graphql(request, config.root_field)


def _read_graphql(request: dict[str, Any], root_field: str) -> Request:
    query = request.get("query")
    if not isinstance(query, str):
        raise _refused("Invalid request: 'query' is missing", classification="InvalidSyntax")
    try:
        selection = read_query(query, root_field)
    except GraphqlError as error:
        line = query.count("\n", 0, error.position) + 1
        column = error.position - query.rfind("\n", 0, error.position)
        raise _refused(error.message, line, column, error.classification) from None
    variables = request.get("variables")
    given = variables.get(selection.variable) if isinstance(variables, dict) else None
    if not isinstance(given, dict):
        raise _refused(f"Variable '{selection.variable}' has an invalid value: it must not be null")
    for name in ("x12RequestData", "payerId"):
        if not isinstance(given.get(name), str):
            raise _refused(f"Variable '{selection.variable}' has an invalid value: '{name}' must be a string")
    return Request(selection, given["x12RequestData"], given["payerId"])


def missing_header(name: str) -> RequestRefused:
    """Return the refusal of a request that lacks a required header."""
    return _refused(f"Required request header '{name}' is not present")


def _refused(message: str, line: int = 1, column: int = 1, classification: str = "ValidationError") -> RequestRefused:
    return RequestRefused(400, {"errors": [graphql_error(message, classification, line, column)]})


def graphql_error(message: str, classification: str, line: int = 1, column: int = 1) -> dict[str, Any]:
    """Return one member of the array `errors` (contract.md §4)."""
    return {
        "message": message,
        "locations": [{"line": line, "column": column}],
        "extensions": {"classification": classification},
    }


def read_claim(x12: str) -> Submitted | None:
    """Read the submitted interchange; None if it is malformed."""
    try:
        return read_interchange(x12)
    except Malformed:
        return None


def refusal(claim: Submitted | None, request: Request, tax_id: str, config: SimulatorConfig) -> Outcome | None:
    """Return the answer to a claim that cannot be checked; None if it can."""
    if claim is None or claim.claims == 0:
        return outcome_of_code("706")
    if claim.claims > 1:
        return outcome_of_code("702")
    loops = claim.loops
    if tax_id != (loops.tax_ids.get("EI") or loops.tax_ids.get("SY")):
        return outcome_of_code("701")
    payer_id = loops.party("PR").number
    if payer_id not in config.payers or request.payer_id not in (payer_id, None):
        return outcome_of_code("521")
    return BY_NAME["syntax_rejected"] if claim.findings else None
