"""Writes the 277CA about one submitted claim.

::

    HL 20  payer
     └── HL 21  submitter        QTY 90 accepted or AA rejected; a rejection may end here
          └── HL 19  provider    QTY QA accepted or QC rejected
               └── HL PT  claim  TRN02 = CLM01, STC …, REF 1K and D9, DTP 472, SVC and STC of its first line

Source: X12 005010X214.
"""

from worker.simulator.document import Document
from worker.simulator.interchange import Submitted
from worker.simulator.outcomes import Outcome, Status
from worker.x12 import Delimiters

_GUIDE = "005010X214"
_ANOTHER_CLAIM = "SOMEONE0ELSES0CLAIM"
_RECEIVED = Status("A1:19:PR", "WQ")


def write_status_report(submitted: Submitted, outcome: Outcome, delimiters: Delimiters, reference: str) -> str:
    """Return the 277CA that `outcome` asks for, "" if it asks for none; `reference` names this transaction."""
    if outcome.report == "none":
        return ""
    document = Document(delimiters, submitted)
    document.open_set("277", "HN", _GUIDE)
    document.add("BHT", "0085", "08", reference, document.date, document.time, "TH")
    _add_payer(document, submitted, reference)
    _add_submitter(document, submitted, outcome)
    if outcome.report != "receiver":
        _add_provider(document, submitted, outcome)
        _add_claim(document, submitted, outcome, reference)
    document.close_set()
    text = document.text()
    return text[: len(text) * 3 // 4] if outcome.report == "truncated" else text


def _add_payer(document: Document, submitted: Submitted, reference: str) -> None:
    payer = submitted.loops.party("PR")
    document.add("HL", "1", "", "20", "1")
    document.add("NM1", "PR", "2", payer.name or "EXAMPLE HEALTH PLAN", "", "", "", "", "PI", payer.number)
    document.add("TRN", "1", reference)
    document.add("DTP", "050", "D8", document.date)
    document.add("DTP", "009", "D8", document.date)


def _add_submitter(document: Document, submitted: Submitted, outcome: Outcome) -> None:
    submitter = submitted.loops.party("41")
    rejected_here = outcome.report == "receiver"
    document.add("HL", "2", "1", "21", "0" if rejected_here else "1")
    document.add("NM1", "41", "2", submitter.name or "SUBMITTER", "", "", "", "", "46", submitter.number or "UNKNOWN")
    document.add("TRN", "2", submitted.loops.batch_reference or "0")
    for status in outcome.statuses if rejected_here else (_RECEIVED,):
        _add_status(document, status, submitted.loops.charge)
    _add_totals(document, submitted, ("90", "YU") if outcome.counted_accepted else ("AA", "YY"))


def _add_provider(document: Document, submitted: Submitted, outcome: Outcome) -> None:
    provider = submitted.loops.party("85")
    document.add("HL", "3", "2", "19", "1")
    document.add("NM1", "85", "2", provider.name or "PROVIDER", "", "", "", "", "XX", provider.number)
    document.add("TRN", "1", "0")
    document.add("STC", document.composite(_RECEIVED.code), "", _RECEIVED.action, submitted.loops.charge)
    _add_totals(document, submitted, ("QA", "YU") if outcome.counted_accepted else ("QC", "YY"))


def _add_totals(document: Document, submitted: Submitted, qualifiers: tuple[str, str]) -> None:
    quantity, amount = qualifiers
    document.add("QTY", quantity, "1")
    document.add("AMT", amount, submitted.loops.charge)


def _add_claim(document: Document, submitted: Submitted, outcome: Outcome, reference: str) -> None:
    loops = submitted.loops
    patient, subscriber = loops.party("QC"), loops.party("IL")
    name = patient if patient.name else subscriber
    document.add("HL", "4", "3", "PT")
    document.add("NM1", "QC", "1", name.name, name.first, "", "", "", "MI", subscriber.number)
    document.add("TRN", "2", _ANOTHER_CLAIM if outcome.report == "other" else loops.claim_number)
    for status in outcome.statuses:
        _add_status(document, status, loops.charge)
    document.add("REF", "1K", f"SIM{reference[:12]}")
    document.add("REF", "D9", reference[-12:])
    if loops.service_date:
        first, _, last = loops.service_date.partition("-")
        document.add("DTP", "472", "RD8", f"{first}-{last or first}")
    if outcome.line_status:
        procedure = loops.line_procedure.replace(submitted.delimiters.component.decode(), ":")
        document.add("SVC", document.composite(procedure), loops.line_charge)
        document.add("STC", document.composite(outcome.line_status.code), document.date, outcome.line_status.action)


def _add_status(document: Document, status: Status, amount: str) -> None:
    elements = ["STC", document.composite(status.code), document.date, status.action, amount]
    if status.text:
        elements += [""] * 7 + [status.text]
    document.add(*elements)
