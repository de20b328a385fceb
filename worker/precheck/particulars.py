"""What of an answer a person wants to see in the record, whichever step of the verdict decided.

Every STC that concerns our claim becomes an edit, every finding of the 999 a syntax error; nothing of another
claim's is taken over.
"""

from collections.abc import Sequence

from worker.precheck.evidence import Evidence
from worker.precheck.wording import describe_note
from worker.result import Edit, SyntaxFinding
from worker.x12 import Status

# More than any claim has; an answer that repeats itself for megabytes must not become a record of as many.
_MAX_KEPT = 1000
LEVEL_NAMES = {"20": "receiver", "21": "receiver", "19": "provider"}


def edits_of(evidence: Evidence) -> tuple[Edit, ...]:
    """List the STCs on the way from the receiver to our claim's lines, up to a thousand; none of another claim's."""
    edits: list[Edit] = []
    for level in evidence.above:
        if level.statuses:
            _add_edits(edits, level.statuses, LEVEL_NAMES[level.kind])
    for claim in evidence.ours:
        _add_edits(edits, claim.statuses, "claim")
        if claim.line_statuses:
            _add_edits(edits, claim.line_statuses, "line")
    return tuple(edits[:_MAX_KEPT])


def syntax_errors_of(evidence: Evidence) -> tuple[SyntaxFinding, ...]:
    """List the findings of the 999, up to a thousand, each with its place in what was sent."""
    notes = evidence.functional.notes
    if not notes:
        return ()
    return tuple(
        [
            SyntaxFinding(
                note.segment or None,
                note.position,
                note.element or None,
                note.code or None,
                describe_note(note.segment, note.element, note.loop, note.code),
            )
            for note in notes[:_MAX_KEPT]
        ]
    )


def payer_claim_number_of(evidence: Evidence) -> str | None:
    """Return the payer's number for our claim (REF*1K), if it has one."""
    for claim in evidence.ours:
        if claim.payer_claim_number:
            return claim.payer_claim_number
    return None


def _add_edits(edits: list[Edit], statuses: Sequence[Status], level: str) -> None:
    for status in statuses[:_MAX_KEPT]:
        code = status.code
        action, amount = status.action or None, status.amount or None
        edits.append(Edit(code.category, code.status, code.entity or None, action, amount, status.text or None, level))
        if status.further:
            edits += [
                Edit(other.category, other.status, other.entity or None, action, amount, None, level)
                for other in status.further
            ]
