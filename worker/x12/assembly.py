"""Writes the envelopes around a claim, a transaction set, or what was counted wrongly in a batch.

Control numbers derive from a seed and the unit's place in the batch: the same unit gets the same ones whenever it
is cut, so that a repeat is byte-identical. ISA13 and IEA02 have nine digits, GS06 and GE02 none in front.
The gap that follows the parent's ISA (a line end, or nothing) follows every segment written here but the last.
"""

from worker.x12.delimiters import ISA_BYTES, Delimiters
from worker.x12.patterns import Patterns

LARGEST_CONTROL_NUMBER = 999_999_999
LONGEST_REFERENCE = 50  # BHT03, X222A1


def control_number(seed: int, ordinal: int) -> int:
    """Derive the control number of the unit at this place."""
    return 1 + (seed + ordinal) % LARGEST_CONTROL_NUMBER


class Envelope:
    """The parent's ISA, GS and ST block, cut where new numbers go."""

    def __init__(self, isa: bytes, gs: bytes, st: bytes, patterns: Patterns) -> None:
        element, terminator = patterns.delimiters.element, patterns.delimiters.segment
        self._terminator = terminator
        gap = _leading_gap(isa[ISA_BYTES:], patterns)
        fields = isa[: ISA_BYTES - 1].split(element)
        self._before = element.join(fields[:13]) + element
        group = gs.partition(terminator)[0].split(element)
        group += [b""] * (7 - len(group))
        self._after_isa13 = element + element.join(fields[14:]) + terminator + gap + element.join(group[:6]) + element
        self._after_gs06 = b"".join(element + one for one in group[7:]) + terminator + gap
        self._header, self._header_rest, self._reference = _cut_reference(st, patterns)
        transaction = st.partition(terminator)[0].split(element)
        self._se = b"SE" + element
        self._ge = (
            element
            + (transaction[2] if len(transaction) > 2 else b"")
            + terminator
            + gap
            + element.join((b"GE", b"1", b""))
        )
        self._iea = terminator + gap + element.join((b"IEA", b"1", b""))
        self.segments = st.count(terminator) + 1

    def around(self, number: int, suffix: bytes, body: bytes, segments: int) -> bytes:
        """Wrap a body of `segments` segments; `suffix` goes behind BHT03 where it fits."""
        short = b"%d" % number
        padded = short.zfill(9)
        fits = suffix and self._reference and self._reference + 1 + len(suffix) <= LONGEST_REFERENCE
        return b"".join(
            (
                self._before,
                padded,
                self._after_isa13,
                short,
                self._after_gs06,
                self._header,
                b"-" + suffix if fits else b"",
                self._header_rest,
                body,
                self._se,
                b"%d" % (self.segments + segments),
                self._ge,
                short,
                self._iea,
                padded,
                self._terminator,
            )
        )


def with_count(trailer: bytes, count: int, delimiters: Delimiters) -> bytes:
    """Write the right count into SE01, GE01 or IEA01, unless it is there already."""
    segment, terminator, rest = trailer.partition(delimiters.segment)
    elements = segment.split(delimiters.element)
    if elements[1:2] and elements[1].strip().lstrip(b"0") == b"%d" % count:
        return trailer
    elements[1:2] = [b"%d" % count]
    return delimiters.element.join(elements) + terminator + rest


def _cut_reference(st: bytes, patterns: Patterns) -> tuple[bytes, bytes, int]:
    """Cut an ST block behind BHT03; returns its length as well, 0 if there is none."""
    found = patterns.batch_reference.search(st)
    if found is None:
        return st, b"", 0
    return st[: found.end(1)], st[found.end(1) :], len(found[1])


def _leading_gap(rest: bytes, patterns: Patterns) -> bytes:
    return rest[: len(rest) - len(rest.lstrip(patterns.gap))]
