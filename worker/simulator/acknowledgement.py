"""Writes the 999, or the TA1 in its place, about one submitted interchange.

Source: X12 005010X231A1 (999): AK1 and AK2 name what was submitted, IK3 and CTX say where, IK4 what, IK5 and AK9
give the verdict; X12.5 (TA1).
"""

from worker.simulator.document import Document
from worker.simulator.interchange import Submitted
from worker.simulator.loops import Finding
from worker.simulator.outcomes import Outcome
from worker.x12 import Delimiters

_GUIDE = "005010X231A1"
_VERDICTS = {  # by IK501: the rest of IK5, and AK9
    "A": (("A",), ("A", "1", "1", "1")),
    "E": (("E", "I5"), ("E", "1", "1", "1")),
    "R": (("R", "5"), ("R", "1", "1", "0")),
    "G": ((), ("R", "1", "1", "0", "2")),
}


def write_acknowledgement(submitted: Submitted, outcome: Outcome, delimiters: Delimiters) -> str:
    """Return the document that `outcome` puts into x12ResponseData; "" if it puts none there.

    A submission with findings is rejected for them, whatever the outcome says.
    """
    if outcome.syntax == "TA1":
        return _write_ta1(submitted, delimiters)
    if outcome.syntax in _VERDICTS:
        return _write_999(submitted, outcome.syntax, delimiters)
    return ""


def _write_ta1(submitted: Submitted, delimiters: Delimiters) -> str:
    document = Document(delimiters, submitted)
    document.add("TA1", submitted.control_number, *submitted.dated, "R", "025")
    return document.text()


def _write_999(submitted: Submitted, syntax: str, delimiters: Delimiters) -> str:
    document = Document(delimiters, submitted)
    document.open_set("999", "FA", _GUIDE)
    set_verdict, group_verdict = _VERDICTS[syntax]
    document.add("AK1", "HC", submitted.group_control_number, submitted.guide)
    if set_verdict:
        document.add("AK2", "837", submitted.set_control_number, submitted.guide)
        for finding in submitted.findings or _invented(submitted, syntax):
            _add_finding(document, finding, submitted.loops.claim_number)
        document.add("IK5", *set_verdict)
    document.add("AK9", *group_verdict)
    document.close_set()
    return document.text()


def _invented(submitted: Submitted, syntax: str) -> list[Finding]:
    """Return something to complain about where nothing is wrong but the outcome wants it so: the charge, CLM02."""
    if syntax == "A":
        return []
    return [Finding("CLM", submitted.loops.claim_position, "2300", "8", 2, "6" if syntax == "R" else "I12")]


def _add_finding(document: Document, finding: Finding, claim_number: str) -> None:
    document.add("IK3", finding.segment, str(finding.position), finding.loop, finding.code)
    if claim_number:
        document.add("CTX", document.composite("CLM01:") + claim_number)
    if finding.element:
        document.add("IK4", str(finding.element), "", finding.element_code)
