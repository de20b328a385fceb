"""The transaction sets that a survey refuses: which, why, and who says so where a set has no claim."""

from collections.abc import Iterable

from worker.x12.findings import FindingList
from worker.x12.values import Finding

_OF_LOST_CLAIMS = frozenset({"segment_id_garbled", "boundary_missing"})


class RefusedSets:
    """Refused sets by their number in the batch, each with the first reason; every reason is a finding.

    `unheard` is why the whole batch is refused: one of its sets has lost its claims, and none is left to say so.
    """

    def __init__(self, findings: FindingList) -> None:
        self.sets: dict[int, Finding] = {}
        self.unheard: Finding | None = None
        self._findings = findings

    def add(self, numbers: Iterable[int], finding: Finding) -> None:
        """Refuse these sets."""
        self._findings.add(finding)
        for number in numbers:
            self.sets.setdefault(number, finding)

    def without_claims(self, number: int) -> None:
        """Note that a set ended without a claim."""
        refusal = self.sets.get(number)
        if refusal is not None and refusal.code in _OF_LOST_CLAIMS:
            self.unheard = self.unheard or refusal
