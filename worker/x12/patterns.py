"""The regular expressions of one set of delimiters: segment boundaries for the reader, loops for the facts.

A segment starts after a terminator and the *gap* that may follow it: line ends, padding. Only a few segments
are boundaries of blocks; one expression finds them at some hundred MB/s, because the first character decides
for almost all others. It finds a few too many (``CS``, ``GEA``): `names` says which are real. Identifiers are
matched in either case, for a ``clm`` overlooked would be a claim lost.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from worker.x12.delimiters import Delimiters

ISA, GS, ST, HL, CLM = b"ISA", b"GS", b"ST", b"HL", b"CLM"
SE, GE, IEA = b"SE", b"GE", b"IEA"
ODD = b"?"  # a segment that does not start with a capital: empty, lower case, or no segment at all
MORE = b"+"  # a further piece of a block too large to be held whole

GAP_BYTES = b" \t\r\n\x0b\x0c"
# What an interchange whose ISA is damaged cannot do without, whatever its delimiters are.
_FOREIGN = rb"(?:ST([^\w\s])837\1|GS([^\w\s])HC\2|CLM([^\w\s])[^\r\n]{0,50}?\3)"


class Patterns(NamedTuple):
    """What is compiled once per set of delimiters; each expression expects a terminator before its segment."""

    delimiters: Delimiters
    gap: bytes  # the bytes that may stand after a terminator
    envelope: re.Pattern[bytes]  # boundaries for the survey, odd segments included
    levels: re.Pattern[bytes]  # boundaries for the splitter, HL included
    empty_segments: re.Pattern[bytes]  # a terminator and those that follow it with nothing between
    people: re.Pattern[bytes]  # groups: SBR of a subscriber, or NM101 of a billing provider or patient
    telling: re.Pattern[bytes]  # group 1: the name of a segment that tells where a claim or level is
    stray: re.Pattern[bytes]  # an envelope's segment or a claim amid text that is no interchange
    batch_reference: re.Pattern[bytes]  # group 1: BHT03
    billing_provider: re.Pattern[bytes]  # groups: NM1*85 after NM101, rest of loop 2010AA
    tax_id: re.Pattern[bytes]  # groups: EI or SY, REF02
    payer: re.Pattern[bytes]  # group 1: NM1*PR after NM101
    subscriber: re.Pattern[bytes]  # groups: SBR and SBR01, SBR02


def _every_case(*identifiers: bytes) -> dict[bytes, bytes]:
    spellings = {}
    for identifier in identifiers:
        for letters in product(*((bytes([upper]), bytes([upper]).lower()) for upper in identifier)):
            spellings[b"".join(letters)] = identifier
    return spellings


LEVEL_NAMES: Mapping[bytes, bytes] = _every_case(ISA, GS, ST, HL, CLM, SE, GE, IEA)
# An odd segment is only looked at, not consumed: what makes it odd may be the next terminator.
ENVELOPE_NAMES: Mapping[bytes, bytes] = _every_case(ISA, GS, ST, CLM, SE, GE, IEA) | {b"": ODD}


@lru_cache(maxsize=64)
def patterns_for(delimiters: Delimiters) -> Patterns:
    """Compile the expressions for these delimiters."""
    used = (delimiters.element, delimiters.component, delimiters.segment, delimiters.repetition)
    gap_bytes = bytes(byte for byte in GAP_BYTES if bytes([byte]) not in used)
    e, t = re.escape(delimiters.element), re.escape(delimiters.segment)
    gap = rb"[%s]*+" % re.escape(gap_bytes) if gap_bytes else b""
    start, ends, element = t + gap, rb"(?=[%s%s])" % (e, t), rb"[^%s%s]*+" % (e, t)

    def compiled(*parts: bytes) -> re.Pattern[bytes]:
        return re.compile(b"".join(parts))

    return Patterns(
        delimiters=delimiters,
        gap=gap_bytes,
        envelope=compiled(start, rb"([CcSsGgIi](?:[Ll][Mm]|[TtEeSs]|[SsEe][Aa])", ends, rb"|(?=[^A-Z]))"),
        levels=compiled(start, rb"([CcSsGgIiHh](?:[Ll][Mm]|[TtEeSsLl]|[SsEe][Aa]))", ends),
        empty_segments=compiled(t, rb"(?:", gap, t, rb")++"),
        people=compiled(start, rb"(?i:(SBR)|NM1", e, rb"(QC|85))", ends),
        telling=compiled(start, rb"([HLSP](?:[LXI]|BR|AT))", ends),
        stray=compiled(rb"(?<![A-Za-z0-9])(?i:(?:GS|ST|SE|GE|IEA|CLM)", e, rb"|", _FOREIGN, rb")"),
        batch_reference=compiled(start, rb"(?i:BHT)", (e + element) * 2, e, rb"(", element, rb")"),
        billing_provider=compiled(
            start, rb"(?i:NM1)", e, b"85", e, rb"([^%s]*+)((?:" % t, start, rb"(?!(?i:NM1)", e, rb")[^%s]*+)*+)" % t
        ),
        tax_id=compiled(start, rb"(?i:REF)", e, rb"(EI|SY)", e, rb"(", element, rb")"),
        payer=compiled(start, rb"(?i:NM1)", e, rb"PR", e, rb"([^%s]*+)" % t),
        subscriber=compiled(start, rb"((?i:SBR)", e, element, rb")", e, rb"(", element, rb")"),
    )
