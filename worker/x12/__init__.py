"""X12 837 and its acknowledgements: pure, bytes in, values out; imports nothing of ours."""

from worker.x12.acknowledgements import AnswerSets, is_whole, kind_of, read_sets
from worker.x12.claim_acknowledgement import (
    UNREADABLE,
    AcknowledgedClaim,
    ClaimAcknowledgement,
    Composite,
    Level,
    Status,
    claim_acknowledgement,
    read_277ca,
)
from worker.x12.decode import text
from worker.x12.delimiters import Delimiters, read_delimiters
from worker.x12.single import Single, read_single
from worker.x12.splitter import split
from worker.x12.survey import survey
from worker.x12.ta1_999 import (
    FunctionalAcknowledgement,
    InterchangeAcknowledgement,
    SyntaxNote,
    functional_acknowledgement,
    interchange_acknowledgements,
    read_999,
    read_ta1,
)
from worker.x12.usual import is_usual_999, read_usual_277ca
from worker.x12.values import ClaimFacts, Finding, SplitClaim, Survey

__all__ = [
    "UNREADABLE",
    "AcknowledgedClaim",
    "AnswerSets",
    "ClaimAcknowledgement",
    "ClaimFacts",
    "Composite",
    "Delimiters",
    "Finding",
    "FunctionalAcknowledgement",
    "InterchangeAcknowledgement",
    "Level",
    "Single",
    "SplitClaim",
    "Status",
    "Survey",
    "SyntaxNote",
    "claim_acknowledgement",
    "functional_acknowledgement",
    "interchange_acknowledgements",
    "is_usual_999",
    "is_whole",
    "kind_of",
    "read_277ca",
    "read_999",
    "read_delimiters",
    "read_sets",
    "read_single",
    "read_ta1",
    "read_usual_277ca",
    "split",
    "survey",
    "text",
]
