"""The codes of acknowledgements in words for a billing clerk who does not read X12.

The words are our own, and short; only codes that are common in pre-adjudication answers are listed. An
unlisted code is shown as it is. Sources of the code numbers: 005010X214 (STC01, external lists "claim status
category" and "claim status"), 005010X231A1 (IK304, IK403).
"""

from functools import lru_cache

_MAX_CODE_CHARS = 6

CATEGORIES = {
    "A0": "the claim was forwarded to another organisation",
    "A1": "the claim was received",
    "A2": "the claim was taken into the payer's system",
    "A3": "the claim was returned as unprocessable",
    "A4": "the claim was not found",
    "A5": "the claim was split",
    "A6": "the claim lacks information",
    "A7": "the claim has invalid information",
    "A8": "parts of the claim do not fit together",
    "E0": "the request itself was wrong",
    "E1": "the payer's system was not available",
    "E2": "the holder of the information did not answer",
    "E3": "fields of the request contradict each other",
    "E4": "the request breaks a rule agreed with this payer",
}
_FAMILIES = {
    "A": "the claim was acknowledged in an unusual way",
    "D": "the search for the claim was not conclusive",
    "E": "the service reported an error",
    "F": "the claim is finalised",
    "P": "the claim is pending",
    "R": "more information or documents are wanted",
}
STATUSES = {
    "0": "no further status can be given",
    "3": "the claim was adjudicated already",
    "16": "forwarded",
    "19": "receipt was acknowledged",
    "20": "accepted for processing",
    "21": "information is missing or invalid",
    "23": "returned",
    "24": "the sender is not approved to submit electronically",
    "25": "the party is not approved",
    "26": "the party was not found",
    "27": "the policy was cancelled",
    "29": "subscriber and policy number do not match",
    "30": "subscriber and subscriber id do not match",
    "31": "subscriber and policyholder name do not match",
    "32": "subscriber and policy number were not found",
    "33": "subscriber and subscriber id were not found",
    "34": "subscriber and policyholder name were not found",
    "35": "the claim was not found",
    "54": "duplicate of an earlier claim or line",
    "85": "coordination of benefits needs attention",
    "97": "the patient's eligibility was not found",
    "109": "not eligible",
    "116": "the claim was sent to the wrong payer",
    "122": "missing or invalid data keeps the payer from processing the claim",
    "124": "name, address, phone or id",
    "125": "name",
    "126": "address",
    "128": "tax id",
    "145": "specialty or taxonomy code",
    "153": "id number",
    "156": "the patient's relationship to the subscriber",
    "157": "gender",
    "158": "date of birth",
    "164": "contract or member number",
    "171": "other insurance coverage",
    "178": "submitted charges",
    "187": "dates of service",
    "188": "statement dates",
    "189": "admission date",
    "218": "drug code (NDC)",
    "228": "type of bill",
    "249": "place of service",
    "252": "authorization or certification number",
    "254": "principal diagnosis code",
    "255": "diagnosis code",
    "286": "the other payer's explanation of benefits or payment",
    "294": "supporting documentation",
    "400": "the amounts of the claim do not add up",
    "402": "an amount must be greater than zero",
    "453": "procedure modifier",
    "454": "procedure code",
    "455": "revenue code",
    "464": "the payer's claim control number",
    "465": "principal procedure code",
    "476": "units of service",
    "477": "pointer to a diagnosis code",
    "481": "the format of the claim is invalid",
    "484": "the payer's application is not available",
    "488": "diagnosis code for the service",
    "500": "postal code",
    "507": "HCPCS code",
    "535": "claim frequency code",
    "562": "national provider identifier (NPI)",
    "746": "duplicate submission",
}
ENTITIES = {
    "1P": "provider",
    "36": "employer",
    "40": "receiver",
    "41": "submitter",
    "71": "attending physician",
    "72": "operating physician",
    "77": "service location",
    "82": "rendering provider",
    "85": "billing provider",
    "87": "pay-to provider",
    "AY": "clearinghouse",
    "DK": "ordering physician",
    "DN": "referring provider",
    "DQ": "supervising physician",
    "GB": "other insured",
    "IL": "subscriber",
    "PR": "payer",
    "QC": "patient",
}
SEGMENT_ERRORS = {
    "1": "the segment is unknown",
    "2": "the segment was not expected here",
    "3": "a required segment is missing",
    "4": "the loop occurs too often",
    "5": "the segment occurs too often",
    "6": "the segment does not belong to this transaction set",
    "7": "the segment is not in its place",
    "8": "the segment has elements in error",
    "I4": "the guide does not use this segment",
    "I6": "the segment is missing, and the claim requires it",
    "I7": "the loop occurs too seldom",
    "I8": "the segment occurs too seldom",
    "I9": "the claim must not have this segment",
}
ELEMENT_ERRORS = {
    "1": "a required element is missing",
    "2": "an element is missing that another one requires",
    "3": "there are too many elements",
    "4": "the element is too short",
    "5": "the element is too long",
    "6": "the element has an invalid character",
    "7": "the code is not valid",
    "8": "the date is not valid",
    "9": "the time is not valid",
    "10": "the element excludes another one",
    "12": "the element repeats too often",
    "13": "there are too many components",
    "I6": "the guide does not use this code",
    "I9": "the element is missing, and the claim requires it",
    "I10": "the guide does not use this element",
    "I11": "the element repeats too seldom",
    "I12": "the value does not have the required form",
    "I13": "the claim must not have this element",
}

HTTP_ANSWERS = {
    400: "The service refused the request as wrong",
    404: "The service does not know the address that the request went to",
    405: "The service does not take requests of this kind",
    408: "The service waited too long for the request",
    409: "The service sees a conflict with another request",
    410: "The address that the request went to is closed for good",
    413: "The claim is too large for the service",
    415: "The service does not read requests of this type",
    422: "The service could not make sense of the request",
    425: "The service did not want the request yet",
    429: "The service asked for fewer requests",
    500: "The service had an internal failure",
    502: "The gateway got no usable answer from the service",
    503: "The service was not available",
    504: "The gateway got no answer from the service in time",
}


def plain(code: str) -> str:
    """Let codes through and nothing else: texts that end in logs must not carry what a sender wrote freely."""
    return code if not code or (len(code) <= _MAX_CODE_CHARS and code.isalnum() and code.isascii()) else "?"


@lru_cache(maxsize=1024)
def describe_status(category: str, status: str, entity: str) -> str:
    """Say in words what an STC01 means: "the claim has invalid information: NPI, billing provider (A7:562:85)"."""
    words = CATEGORIES.get(category) or _FAMILIES.get(category[:1], "an unknown answer")
    details = [STATUSES.get(status, ""), ENTITIES.get(entity, "")]
    shown = ":".join(code for code in (category, status, entity) if code)
    return f"{': '.join([words, ', '.join(filter(None, details))]) if any(details) else words} ({shown or 'no code'})"


def describe_note(segment: str, element: str, loop: str, code: str) -> str:
    """Say in words where a syntax error is and what it is: "CLM02 in loop 2300: a required element is missing (1)"."""
    errors = ELEMENT_ERRORS if element else SEGMENT_ERRORS
    position, _, component = element.partition(":")
    place = f"{segment}{position.zfill(2) if position else ''}{'-' + component if component else ''}" or "the claim"
    return f"{place}{' in loop ' + loop if loop else ''}: {errors.get(code, 'it is in error')} ({code or 'no code'})"
