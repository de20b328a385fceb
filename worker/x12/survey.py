"""One fast pass over the envelopes of a batch: is it whole, may it be sent, what is in it.

A state machine over the reader's blocks; it opens an envelope at ISA, GS, ST and closes it at IEA, GE, SE,
comparing control numbers and counts (X12.5, X12.6; X222A1 appendix B.1.1.3). The codes are in
`worker.x12.findings`. HL levels are not looked at: what is wrong below ST concerns single claims, and the
splitter refuses those one by one.
"""

from collections.abc import Iterable

from worker.x12.delimiters import ISA_BYTES
from worker.x12.findings import FindingList, error, no_claims, not_x12, warning
from worker.x12.lost import LossFinder
from worker.x12.patterns import CLM, GE, GS, IEA, ISA, MORE, ODD, SE, ST
from worker.x12.reader import Reader
from worker.x12.refused import RefusedSets
from worker.x12.segments import Segments
from worker.x12.values import Finding, Survey

MOST_ST02 = 10_000  # remembered per group, to find duplicates

GUIDES = (b"005010X222A1", b"005010X223A2")


def survey(chunks: Iterable[bytes]) -> Survey:
    """Read a batch to its end, or to where it is beyond use; never fails, whatever the bytes.

    Constant memory but for `refused_sets`. The chunks may be of any size; the outcome is the same.
    """
    reader = Reader(chunks, "envelope")
    surveyor = _Surveyor(reader)
    visit = surveyor.visits
    for name, block in reader.blocks():
        visit[name](block)
        if surveyor.refusal is not None:
            break
    return surveyor.outcome()


class _Surveyor:
    """What is open and what was counted, block after block."""

    def __init__(self, reader: Reader) -> None:
        self.refusal: Finding | None = None
        self._findings = FindingList()
        self._segments = Segments(self._findings)
        self.visits = {
            ISA: self._isa,
            GS: self._gs,
            ST: self._st,
            CLM: self._clm,
            SE: self._se,
            GE: self._ge,
            IEA: self._iea,
            ODD: self._odd,
            MORE: self._more,
        }
        self._reader = reader
        self._refused = RefusedSets(self._findings)
        self._interchanges = self._groups = self._sets = self._claims = 0
        self._production = self._test = False
        self._interchange = self._group = self._set = b""  # the control number of what is open
        self._in_interchange = self._in_group = self._in_set = self._in_837 = False
        self._guide = self._other_set = b""
        self._groups_before = self._sets_before = self._claims_before = self._segments_before = 0
        self._seen_st02: set[bytes] = set()
        self._losses: LossFinder | None = None  # while an 837 is open

    def outcome(self) -> Survey:
        """Say what the whole pass has shown."""
        reader = self._reader
        refusal = self.refusal
        if reader.ending == "not_x12":
            refusal = not_x12(reader.start)
        elif reader.ending:
            refusal = refusal or error(reader.ending, self._interchanges)
        if reader.stray:
            refusal = refusal or error("segments_outside_interchange")
        elif reader.junk:
            self._findings.add(warning("trailing_junk"))
        if not self._claims:
            refusal = refusal or no_claims(self._other_set)
        refusal = refusal or self._refused.unheard
        return Survey(
            complete=refusal is None or refusal.code != "incomplete",
            refusal=refusal,
            interchanges=self._interchanges,
            groups=self._groups,
            sets=self._sets,
            claims=self._claims,
            segments=self._segments.counted,
            findings=self._findings.all(),
            refused_sets=self._refused.sets,
            production=self._production,
            test=self._test,
        )

    def _isa(self, block: bytes) -> None:
        if self._in_interchange:
            self.refusal = error("missing_iea", self._interchanges)
            return
        self._interchanges += 1
        self._in_interchange = True
        self._groups_before = self._groups
        self._segments.begin(self._reader.patterns)
        delimiters = self._reader.delimiters
        elements = block[: ISA_BYTES - 1].split(delimiters.element)
        self._interchange = elements[13].strip()
        self._production |= elements[15] == b"P"
        self._test |= elements[15] == b"T"
        if elements[12] != b"00501":
            self._segments.warn("version_unexpected")
        if elements[15] not in (b"P", b"T"):
            self._segments.warn("usage_unexpected")
        others = block.split(delimiters.segment)[1:-1]
        if not all(one.lstrip(self._reader.patterns.gap).startswith(b"TA1") for one in others):
            self._segments.warn_once("stray_segment", self._segments.counted + 2)
        self._segments.count(block)

    def _gs(self, block: bytes) -> None:
        self._end_group("missing_ge")
        self._groups += 1
        self._in_group = True
        self._sets_before = self._sets
        self._seen_st02.clear()
        elements = self._segments.elements(block, 9)
        self._group, self._guide = elements[6].strip(), elements[8].strip()
        self._segments.count_alone(block)

    def _st(self, block: bytes) -> None:
        self._end_set("missing_se")
        self._sets += 1
        self._in_set = True
        self._claims_before = self._claims
        self._segments_before = self._segments.counted
        elements = self._segments.elements(block, 4)
        self._set, guide = elements[2].strip(), elements[3].strip()
        kind = elements[1].strip()
        self._in_837 = kind == b"837"
        if not self._in_group:
            self._refuse_set("missing_gs")
        if not self._in_837:
            self._other_set = self._other_set or kind
            self._segments.warn("not_837")
        elif (guide or self._guide) not in GUIDES:
            self._segments.warn("guide_unexpected")
        if self._in_837 and guide and self._guide and guide != self._guide:
            self._segments.warn("guide_mismatch")
        if self._set in self._seen_st02:
            self._segments.warn("duplicate_st02")
        elif len(self._seen_st02) < MOST_ST02:
            self._seen_st02.add(self._set)
        self._losses = LossFinder(self._reader.patterns) if self._in_837 else None
        self._look_for_losses(block, self._segments.counted + 1)
        self._segments.count(block)

    def _clm(self, block: bytes) -> None:
        self._claims += 1
        if not self._in_set:
            self._findings.add(error("missing_st", self._interchanges, self._segments.counted + 1))
        elif not self._in_837 and self._sets not in self._refused.sets:
            self._refuse_set("not_837")
        if not block.startswith(CLM):
            self._segments.warn_once("lower_case_segment_id")
        if self._losses is not None and self._losses.see_claim(block):
            self._refuse_set("boundary_missing", self._segments.counted + 1)
        self._segments.count(block)

    def _se(self, block: bytes) -> None:
        _, count, control, *_ = self._segments.elements(block, 3)
        if not self._in_set:
            self._segments.warn("stray_segment")
        elif control.strip() != self._set:
            self._end_set("se02_mismatch")
        else:
            self._compare(count, self._segments.counted - self._segments_before + 1, "se01_wrong")
            self._close_set()
        self._segments.count_alone(block)

    def _ge(self, block: bytes) -> None:
        self._end_set("missing_se")
        _, count, control, *_ = self._segments.elements(block, 3)
        if not self._in_group:
            self._segments.warn("stray_segment")
        elif control.strip() != self._group:
            self._end_group("ge02_mismatch")
        else:
            self._compare(count, self._sets - self._sets_before, "ge01_wrong")
            self._in_group = False
        self._guide = b""
        self._segments.count_alone(block)

    def _iea(self, block: bytes) -> None:
        self._end_group("missing_ge")
        _, count, control, *more = self._segments.elements(block, 3)
        if b"".join(more).strip():
            # An IEA without its terminator takes in the next interchange, if that has another one.
            self.refusal = error("segments_outside_interchange", self._interchanges)
        elif control.strip() != self._interchange:
            torn = self._reader.unterminated
            self.refusal = error("incomplete" if torn else "control_number_mismatch", self._interchanges)
        else:
            self._compare(count, self._groups - self._groups_before, "iea01_wrong")
            self._in_interchange = False
        self._segments.count(block)

    def _end_set(self, code: str) -> None:
        """Refuse the set that is open, if one is, and close it."""
        if self._in_set:
            self._refuse_set(code)
        self._close_set()

    def _close_set(self) -> None:
        if self._in_set and self._claims == self._claims_before:
            self._refused.without_claims(self._sets)
        self._in_set = self._in_837 = False
        self._losses = None

    def _end_group(self, code: str) -> None:
        """Refuse the sets of the group that is open, if one is, and close it."""
        self._end_set("missing_se")
        if self._in_group:
            self._refused.add(range(self._sets_before + 1, self._sets + 1), error(code, self._interchanges))
        self._in_group = False

    def _refuse_set(self, code: str, segment: int = 0) -> None:
        self._refused.add((self._sets,), error(code, self._interchanges, segment or self._segments_before + 1))

    def _odd(self, block: bytes) -> None:
        segment = self._segments.counted + 1
        if self._segments.count_odd(block) and self._in_set:
            self._refuse_set("segment_id_garbled")
        self._look_for_losses(block, segment)

    def _more(self, block: bytes) -> None:
        self._look_for_losses(block, self._segments.counted + 1)
        self._segments.count(block)

    def _look_for_losses(self, block: bytes, segment: int) -> None:
        if self._losses is not None and self._losses.see(block):
            self._refuse_set("boundary_missing", segment)

    def _compare(self, written: bytes, counted: int, code: str) -> None:
        if (written.strip().lstrip(b"0") or b"0") != b"%d" % counted:
            self._segments.warn(code)
