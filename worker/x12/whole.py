"""Sends what is not cut into claims: an interchange as it is, or each transaction set in an interchange of its own."""

import sys
from collections.abc import Iterator

from worker.x12.assembly import control_number, with_count
from worker.x12.findings import error
from worker.x12.patterns import CLM, GE, GS, HL, IEA, ISA, MORE, SE, ST
from worker.x12.place import Place
from worker.x12.reader import Reader
from worker.x12.values import ClaimFacts, Finding, SplitClaim, Survey

_WRONG_COUNTS = frozenset({"se01_wrong", "ge01_wrong", "iea01_wrong"})


class _Unit:
    """What is gathered of one unit: its blocks, the facts of its first claim, the first reason against it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.facts: ClaimFacts | None = None
        self.refusal: Finding | None = None
        self.segments = 0
        self._bytes = 0

    def add_claim(self, place: Place, block: bytes) -> None:
        """Take the facts of the first claim."""
        if self.facts is None:
            self.facts = place.facts(block)
            self.refusal = self.refusal or place.refusal_of_set()

    def keep(self, block: bytes, largest: int) -> None:
        """Hold a block to be sent, as far as the unit is not refused, nor gets larger than it may."""
        self._bytes += len(block)
        if self._bytes > largest:
            self.refuse(error("claim_too_large"))
        if self.refusal is None:
            self.parts.append(block)
        else:
            self.parts.clear()

    def refuse(self, finding: Finding | None) -> None:
        """Note a reason against sending the unit, if it is one and the first."""
        self.refusal = self.refusal or finding


def whole_interchanges(reader: Reader, survey: Survey, *, largest: int = sys.maxsize) -> Iterator[SplitClaim]:
    """Yield every interchange as it stands, its counts corrected where they are wrong.

    One of more than `largest` bytes is refused, and not held in memory.
    """
    place = Place(reader, survey)
    counts = _Counts(reader) if any(one.code in _WRONG_COUNTS for one in survey.findings) else None
    ordinal, unit = 0, _Unit()
    for name, block in reader.blocks():
        if name is ISA:
            unit, ordinal = _Unit(), ordinal + 1
        if name is CLM:
            unit.add_claim(place, block)
        else:
            place.follow(name, block)
        if name is ST and place.is_837:
            unit.refuse(place.refusal_of_set())
        unit.keep(block if counts is None else counts.corrected(name, block), largest)
        if name is IEA:
            refusal = unit.refusal or (error("no_claims") if unit.facts is None else None)
            facts = unit.facts or place.facts_of_set()
            yield SplitClaim(ordinal, b"" if refusal else b"".join(unit.parts), facts, refusal)


def whole_sets(reader: Reader, survey: Survey, seed: int) -> Iterator[SplitClaim]:
    """Yield every transaction set in an interchange of its own."""
    place = Place(reader, survey)
    unit: _Unit | None = None
    for name, block in reader.blocks():
        kept = without_empty_segments(reader, block)
        if unit is not None and name in (ST, SE, GS, GE, IEA):
            yield _finished(place, unit, seed)
            unit = None
        if name is CLM and unit is not None:
            unit.add_claim(place, kept)
        else:
            place.follow(name, kept)
        if name is ST:
            unit = _Unit()
            unit.refuse(None if place.is_837 else error("not_837"))
            unit.refuse(place.refusal_of_set())
        elif name in (HL, CLM, MORE) and unit is not None and unit.refusal is None:
            unit.parts.append(kept)
            unit.segments += kept.count(reader.delimiters.segment)


def without_empty_segments(reader: Reader, block: bytes) -> bytes:
    """Drop the terminators that close nothing."""
    return reader.patterns.empty_segments.sub(reader.delimiters.segment, block)


def _finished(place: Place, unit: _Unit, seed: int) -> SplitClaim:
    refusal = unit.refusal or (error("no_claims") if unit.facts is None else None)
    facts = unit.facts or place.facts_of_set()
    if refusal is not None:
        return SplitClaim(place.sets, b"", facts, refusal)
    number = control_number(seed, place.sets)
    return SplitClaim(place.sets, place.envelope.around(number, b"", b"".join(unit.parts), unit.segments), facts)


class _Counts:
    """Counts segments, sets and groups, and corrects SE01, GE01 and IEA01 where they say otherwise."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._segments = self._sets = self._groups = 0

    def corrected(self, name: bytes, block: bytes) -> bytes:
        """Count the block; return it with the right count if it is a trailer."""
        delimiters = self._reader.delimiters
        if name is SE:
            return with_count(block, self._segments + 1, delimiters)
        if name is GE:
            return with_count(block, self._sets, delimiters)
        if name is IEA:
            return with_count(block, self._groups, delimiters)
        segments = without_empty_segments(self._reader, block).count(delimiters.segment)
        if name is ISA:
            self._groups = 0
        elif name is GS:
            self._groups += 1
            self._sets = 0
        elif name is ST:
            self._sets += 1
            self._segments = segments
        else:
            self._segments += segments
        return block
