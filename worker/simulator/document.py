"""One X12 document of an answer, written segment by segment, with its envelopes.

The control numbers are those the vendor uses: ISA13 of zeros, GS06 of 0 (seen in its published samples).
"""

import time

from worker.simulator.interchange import Submitted
from worker.x12 import Delimiters


def safe_delimiters(wanted: Delimiters, submitted: Submitted) -> Delimiters:
    """Return delimiters that occur in no value taken over from the submission: those wanted, or its own."""
    loops = submitted.loops
    taken = {*submitted.sender, *submitted.receiver, *loops.claim_number, *loops.batch_reference}
    for party in loops.parties.values():
        taken.update(party.name, party.first, party.number)
    marks = (wanted.element, wanted.repetition, wanted.component, wanted.segment)
    return wanted if taken.isdisjoint(mark.decode() for mark in marks) else submitted.delimiters


class Document:
    """An interchange from the payer back to the submitter, holding one transaction set or none."""

    def __init__(self, delimiters: Delimiters, submitted: Submitted) -> None:
        self.delimiters = delimiters
        self._element = delimiters.element.decode()
        self._component = delimiters.component.decode()
        self._submitted = submitted
        self._segments: list[str] = []
        self._set_at = 0
        self.date, self.time = time.strftime("%Y%m%d %H%M%S", time.gmtime()).split()
        payer = submitted.loops.party("PR").number or "SIMULATOR"
        self.add(
            "ISA", "00", " " * 10, "00", " " * 10, "ZZ", f"{payer:15.15}", "ZZ", f"{submitted.sender:15.15}",
            self.date[2:], self.time[:4], delimiters.repetition.decode(), "00501", "0" * 9, "0", submitted.usage,
            self._component,
        )  # fmt: skip
        self._payer = payer

    def add(self, *elements: str) -> None:
        """Write a segment; elements left empty at its end must not be given."""
        self._segments.append(self._element.join(elements))

    def composite(self, text: str) -> str:
        """Turn ``A7:562:85`` into a composite of this document."""
        return text.replace(":", self._component)

    def open_set(self, identifier: str, group: str, guide: str) -> None:
        """Write GS and ST."""
        submitter = self._submitted.group_sender
        self.add("GS", group, self._payer, submitter, self.date, self.time[:4], "0", "X", guide)
        self._set_at = len(self._segments)
        self.add("ST", identifier, "0001", guide)

    def close_set(self) -> None:
        """Write SE and GE."""
        self.add("SE", str(len(self._segments) - self._set_at + 1), "0001")
        self.add("GE", "1", "0")

    def text(self) -> str:
        """Return the document, IEA included."""
        self.add("IEA", "1" if self._set_at else "0", "0" * 9)
        terminator = self.delimiters.segment.decode()
        return terminator.join(self._segments) + terminator
