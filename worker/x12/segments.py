"""What the survey sees in the segments it passes: their number, and what is odd about them, at little cost.

Counting is one `bytes.count` a block. Of the rest, empty segments and odd identifiers are found by the reader's own
expression; trailing elements are looked for until the first is seen, long segments in large blocks only.
"""

from worker.x12.findings import FindingList, warning
from worker.x12.patterns import CLM, GE, GS, HL, IEA, ISA, SE, ST, Patterns

LONG_SEGMENT_BYTES = 4096

_STRUCTURAL = (ISA, GS, ST, HL, CLM, SE, GE, IEA)
_SPELLED_RIGHT = frozenset(_STRUCTURAL)


class Segments:
    """Counts the segments of a batch and warns of odd ones; `interchange` is the place of the current one."""

    def __init__(self, findings: FindingList) -> None:
        self.counted = 0
        self.interchange = 0
        self._findings = findings
        self._element = self._terminator = self._gap = b""
        self._trailing = b""  # what ends a segment with an empty element; "" once that is told

    def begin(self, patterns: Patterns) -> None:
        """Go on with the delimiters of the next interchange."""
        self.interchange += 1
        self._element, self._terminator = patterns.delimiters.element, patterns.delimiters.segment
        self._trailing = self._element + self._terminator
        self._gap = patterns.gap

    def count(self, block: bytes) -> None:
        """Count a block's segments."""
        if self._trailing and self._trailing in block:
            self._tell_trailing(block)
        if len(block) > LONG_SEGMENT_BYTES:
            self._look_for_long(block)
        self.counted += block.count(self._terminator)

    def count_alone(self, block: bytes) -> None:
        """Count a block that should be its first segment and nothing else."""
        if block.count(self._terminator) > 1:
            self.warn_once("stray_segment", self.counted + 2)
        self.count(block)

    def count_odd(self, block: bytes) -> bool:
        """Count a block that starts with an odd segment; True if a structural one may be hidden in that."""
        garbled = False
        if block.startswith(self._terminator):
            self.warn_once("empty_segment")
            block = block[len(self._terminator) :]
        else:
            identifier = block.partition(self._terminator)[0].partition(self._element)[0]
            capitals = identifier.upper()
            garbled = capitals not in _SPELLED_RIGHT and capitals.endswith(_STRUCTURAL)
            in_lower_case = identifier.isalnum() and capitals != identifier and not garbled
            self.warn_once("lower_case_segment_id" if in_lower_case else "segment_id_invalid")
        self.count(block)
        return garbled

    def elements(self, block: bytes, least: int) -> list[bytes]:
        """Split the structural segment that a block starts with, filled up to `least` elements."""
        elements = block.partition(self._terminator)[0].split(self._element)
        if elements[0] not in _SPELLED_RIGHT:
            self.warn_once("lower_case_segment_id")
        return elements + [b""] * (least - len(elements))

    def warn(self, code: str) -> None:
        """Warn of the segment that comes next."""
        self._findings.add(warning(code, self.interchange, self.counted + 1))

    def warn_once(self, code: str, segment: int = 0) -> None:
        """Warn of a segment, by default the next, unless the interchange has such a warning."""
        self._findings.add_once(warning(code, self.interchange, segment or self.counted + 1))

    def _tell_trailing(self, block: bytes) -> None:
        before = block.count(self._terminator, 0, block.index(self._trailing))
        self.warn_once("trailing_elements", self.counted + before + 1)
        self._trailing = b""

    def _look_for_long(self, block: bytes) -> None:
        """Look for a terminator in every half of the length, not at every byte."""
        terminator, stride, start = self._terminator, LONG_SEGMENT_BYTES // 2, 0
        while start + stride <= len(block):
            if block.find(terminator, start, start + stride) >= 0:
                start += stride
                continue
            begin = block.rfind(terminator, 0, start) + 1
            end = block.find(terminator, start)
            end = end if end >= 0 else len(block)
            if len(block[begin:end].strip(self._gap)) > LONG_SEGMENT_BYTES:
                self.warn_once("long_segment", self.counted + block.count(terminator, 0, begin) + 1)
                return
            start = end
