"""Everything that reading an 837 can find fault with, as one closed table of stable codes.

=============================== ===========================================================================
refuses the whole batch (`Survey.refusal`)
-----------------------------------------------------------------------------------------------------------
``empty_input``                 nothing, white space, or less than a segment identifier
``not_x12``                     does not start with an ISA: text, UTF-16, EBCDIC, gzip, zip, PDF …
``isa_width``                   the ISA is not 106 bytes wide, or its delimiters are not all different
``incomplete``                  the bytes end before the IEA; the file may still grow
``missing_iea``                 an ISA begins before the previous interchange has its IEA
``control_number_mismatch``     IEA02 is not ISA13
``segments_outside_interchange`` segments of an envelope or claims stand after the last IEA
``no_claims``                   no CLM in the whole batch
``boundary_missing``, ``segment_id_garbled`` as below, of a set without any CLM: no claim is left to be refused for it
------------------------------- ---------------------------------------------------------------------------
refuses the claims of a transaction set (`Survey.refused_sets`)
-----------------------------------------------------------------------------------------------------------
``missing_se``                  the set has no SE
``se02_mismatch``               SE02 is not ST02
``missing_gs``                  the set stands outside any functional group
``missing_ge``                  its group has no GE
``ge02_mismatch``               GE02 of its group is not GS06
``segment_id_garbled``          a CLM, HL or envelope segment whose identifier has foreign bytes before it
``boundary_missing``            segments of another claim or level follow a claim's service lines, or a claim's
                                follow a level: a CLM or HL is lost (`worker.x12.lost`)
``not_837``                     ST01 is not 837, but claims (CLM) stand in the set
------------------------------- ---------------------------------------------------------------------------
refuses a claim (`SplitClaim.refusal`)
-----------------------------------------------------------------------------------------------------------
``missing_st``                  the claim stands outside any transaction set (the survey tells it as well)
``hl_parent_mismatch``          an HL02 above the claim does not name the parent that the file's order implies
``boundary_missing``            a level above the claim has a provider or person too many: an HL is lost
``hl_level_unknown``            HL03 is not 20, 22 or 23
``claim_outside_hl``            no subscriber level (HL 22) above the claim
``claim_too_large``             the claim, a level above it, the set's header, or the whole of a file of one claim
                                is larger than 8 MiB
``not_837``, ``no_claims``      split by transaction set or interchange only: the unit holds no claim
------------------------------- ---------------------------------------------------------------------------
warnings (`Survey.findings`); work goes on
-----------------------------------------------------------------------------------------------------------
``se01_wrong``                  SE01 is not the number of segments ST to SE; recomputed in what is sent
``ge01_wrong``, ``iea01_wrong`` the same for transaction sets and groups
``duplicate_st02``              two sets of a group share ST02 (seen among a group's first 10,000 others)
``empty_segment``               two terminators in a row; dropped, and not counted
``trailing_elements``           a segment ends with an empty element
``lower_case_segment_id``       understood all the same, and sent as it is
``segment_id_invalid``          a segment that does not begin with an identifier
``long_segment``                a segment of more than 4,096 bytes
``stray_segment``               segments between the envelopes (TA1 excepted); not sent
``version_unexpected``          ISA12 is not 00501
``usage_unexpected``            ISA15 is neither P nor T
``guide_unexpected``            an 837 by another guide than X222A1 or X223A2
``guide_mismatch``              ST03 and GS08 name different guides
``not_837``                     another transaction set
``trailing_junk``               text that is not X12 after an interchange; not sent
``more_findings``               there are more of the same than are listed
=============================== ===========================================================================

``trailing_junk`` is no refusal: transfer programs append markers and banners after the last IEA, which closes
the interchange beyond doubt. Segments of an envelope found there are one, for claims might be lost with them.
Empty segments, trailing elements, odd identifiers, long and stray segments are told once per interchange.
Texts never quote content.
"""

from base64 import b64encode

from worker.x12.values import Finding

MOST_PER_CODE = 20

TEXTS = {
    "empty_input": "the input is empty",
    "not_x12": "the input is not X12: it does not start with an ISA segment",
    "isa_width": "the ISA segment is not 106 bytes wide with four different delimiters",
    "incomplete": "the input ends before the IEA that closes its interchange",
    "missing_iea": "an interchange begins before the previous one is closed by its IEA",
    "control_number_mismatch": "the control number in IEA02 is not that in ISA13",
    "segments_outside_interchange": "there are segments outside any interchange",
    "no_claims": "there is no 837 claim",
    "missing_se": "the transaction set has no SE",
    "se02_mismatch": "the control number in SE02 is not that in ST02",
    "missing_gs": "the transaction set stands outside any functional group",
    "missing_ge": "the functional group has no GE",
    "ge02_mismatch": "the control number in GE02 is not that in GS06",
    "segment_id_garbled": "foreign bytes stand before the identifier of a structural segment",
    "boundary_missing": "a CLM or HL is missing or misspelt: segments of another claim, subscriber or patient follow",
    "missing_st": "the claim stands outside any transaction set",
    "hl_parent_mismatch": "HL02 does not name the parent that the order of the levels implies",
    "hl_level_unknown": "the level code in HL03 is not 20, 22 or 23",
    "claim_outside_hl": "the claim stands under no subscriber level (HL 22)",
    "claim_too_large": "the claim or a level above it is too large",
    "se01_wrong": "the segment count in SE01 is wrong",
    "ge01_wrong": "the count of transaction sets in GE01 is wrong",
    "iea01_wrong": "the count of functional groups in IEA01 is wrong",
    "duplicate_st02": "two transaction sets of a group have the same control number in ST02",
    "empty_segment": "there are empty segments",
    "trailing_elements": "there are empty elements at the end of a segment",
    "lower_case_segment_id": "there are segment identifiers in lower case",
    "segment_id_invalid": "there are segments without a valid identifier",
    "long_segment": "there are segments of more than 4,096 bytes",
    "stray_segment": "there are segments between the envelopes",
    "version_unexpected": "the version in ISA12 is not 00501",
    "usage_unexpected": "the usage in ISA15 is neither P nor T",
    "guide_unexpected": "the implementation guide is neither 005010X222A1 nor 005010X223A2",
    "guide_mismatch": "ST03 and GS08 name different implementation guides",
    "not_837": "the transaction set is not an 837",
    "trailing_junk": "there is text that is not X12 after an interchange",
    "more_findings": "there are more findings of the same kind than are listed",
}

_DISGUISES = (
    (b"\x1f\x8b", "gzip"),
    (b"PK", "zip"),
    (b"%PDF", "PDF"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"I\0S\0", "UTF-16"),
    (b"\0I\0S", "UTF-16"),
    ("ISA".encode("cp037"), "EBCDIC"),
    (b64encode(b"ISA"), "base64"),
    (b"<", "XML or HTML"),
    (b"{", "JSON"),
)


def warning(code: str, interchange: int = 0, segment: int = 0) -> Finding:
    """Make a finding that does not stop the work."""
    return Finding(code, TEXTS[code], "warning", interchange, segment)


def error(code: str, interchange: int = 0, segment: int = 0) -> Finding:
    """Make a finding for which something is refused."""
    return Finding(code, TEXTS[code], "error", interchange, segment)


def no_claims(other_set: bytes) -> Finding:
    """Refuse an input without claims; `other_set` is the ST01 of another transaction set that it holds."""
    text = TEXTS["no_claims"]
    named = other_set.isdigit() and len(other_set) == 3
    return Finding("no_claims", f"{text}, but a transaction set {other_set.decode()}" if named else text, "error")


def not_x12(start: bytes) -> Finding:
    """Refuse an input that is no X12, and name what it looks like by its first bytes."""
    looks = next((kind for magic, kind in _DISGUISES if start.startswith(magic)), None)
    text = TEXTS["not_x12"]
    return Finding("not_x12", f"{text}; it looks like {looks}" if looks else text, "error")


class FindingList:
    """Findings in the order seen, at most 20 of a code, so that a broken batch cannot fill memory."""

    def __init__(self) -> None:
        self._listed: list[Finding] = []
        self._count: dict[str, int] = {}

    def add(self, finding: Finding) -> None:
        """List the finding, or only count it if there are many of its kind."""
        seen = self._count[finding.code] = self._count.get(finding.code, 0) + 1
        if seen <= MOST_PER_CODE:
            self._listed.append(finding)

    def add_once(self, finding: Finding) -> None:
        """List the finding unless its interchange has one of this code."""
        if not any(one.code == finding.code and one.interchange == finding.interchange for one in self._listed):
            self.add(finding)

    def all(self) -> tuple[Finding, ...]:
        """Everything listed, with a last word if something was left out."""
        if self._count and max(self._count.values()) > MOST_PER_CODE:
            return (*self._listed, warning("more_findings"))
        return tuple(self._listed)
