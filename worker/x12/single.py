"""Reads a batch that is one claim in the usual form: survey, facts and what is sent, in one pass over its bytes.

::

    ISA  GS  ST …  HL …  HL …  [HL …]  CLM …  SE  GE  IEA~

Generators that write a file a claim write nearly only this: nothing around the interchange, every segment named in
capitals and none empty, right counts and control numbers. `worker.x12.survey` and `worker.x12.split` would find
nothing to remark and would send it byte for byte; both take their time for it. Whatever is different is None here
and is theirs; tests hold both readings against each other.
"""

import re
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from worker.x12.decode import text
from worker.x12.delimiters import ISA_BYTES, Delimiters, read_delimiters
from worker.x12.facts import CLAIM_TYPES, ProviderFacts, SetFacts, elements_of, read_claim, read_payer, read_provider
from worker.x12.lost import LossFinder
from worker.x12.patterns import CLM, GE, GS, HL, IEA, ISA, SE, ST, Patterns, patterns_for
from worker.x12.reader import AROUND, WINDOW, is_wrapped
from worker.x12.segments import LONG_SEGMENT_BYTES
from worker.x12.survey import GUIDES
from worker.x12.values import SplitClaim, Survey

LARGEST_BYTES = 16 << 10

_BELOW = [CLM, SE, GE, IEA]


class Single(NamedTuple):
    """A batch of one claim: what a survey says of it, and the claim that a split yields."""

    survey: Survey
    claim: SplitClaim


class _Forms(NamedTuple):
    """What is compiled once per set of delimiters, for matching at a place."""

    patterns: Patterns
    doubled: bytes  # a segment that ends with an empty element
    head: re.Pattern[bytes]  # GS, ST and BHT; groups: GS06, the guide that GS08 and ST03 name, ST02, BHT03
    bounds: re.Pattern[bytes]  # group 1: the name of what begins there; none for a segment that begins oddly
    tail: re.Pattern[bytes]  # SE, GE, IEA and what may follow; groups: SE01 without zeros, SE02, GE02, IEA02


def read_single(data: bytes) -> Single | None:
    """Read a whole batch that is one claim in the usual form; None for any other."""
    delimiters = read_delimiters(data[:ISA_BYTES]) if len(data) <= LARGEST_BYTES else None
    if delimiters is None:
        return None
    forms, terminator = _forms(delimiters), delimiters.segment
    head = forms.head.match(data, ISA_BYTES)
    if head is None or forms.doubled in data or is_wrapped(data[:WINDOW], delimiters):
        return None
    isa = data[: ISA_BYTES - 1].split(delimiters.element)
    group, guide, of_set, reference = head.groups()
    if isa[12] != b"00501" or isa[15] not in (b"P", b"T") or guide not in GUIDES:
        return None
    found = [(match[1], match.start(1)) for match in forms.bounds.finditer(data, head.end())]
    levels = len(found) - len(_BELOW)
    if levels < 1 or [name for name, _ in found] != [*[HL] * levels, *_BELOW]:
        return None
    places = [place for _, place in found]
    claim_at, trailer_at = places[levels], places[levels + 1]
    tail = forms.tail.fullmatch(data, trailer_at)
    in_set = data.count(terminator, head.start(3), trailer_at) + 1
    if (
        tail is None
        or claim_at - head.start() > LONG_SEGMENT_BYTES
        or trailer_at - claim_at > LONG_SEGMENT_BYTES
        or tail.groups() != (b"%d" % in_set, of_set, group, isa[13].strip())
        or (losses := LossFinder(forms.patterns)).see(data[head.end() : claim_at])
        or losses.see_claim(data[claim_at:trailer_at])
    ):
        return None
    provider, payer = _read_levels(data, places[: levels + 1], forms.patterns)
    usage = text(isa[15])
    said = SetFacts(
        CLAIM_TYPES.get(text(guide[:10]), ""), text(guide), usage, *map(text, map(bytes.strip, (isa[6], isa[8]))),
        *map(text, (tail[4], group, of_set, reference)),
    )  # fmt: skip
    facts = read_claim(data[claim_at:trailer_at], delimiters, said, provider, payer)
    end = tail.end(4) + 1
    survey = Survey(
        complete=True,
        interchanges=1,
        groups=1,
        sets=1,
        claims=1,
        segments=data.count(terminator, 0, end),
        production=usage == "P",
        test=usage == "T",
    )
    return Single(survey, SplitClaim(1, data[:end], facts))


def _read_levels(data: bytes, places: list[int], patterns: Patterns) -> tuple[ProviderFacts, str]:
    """Read who bills and who pays of the levels that begin at `places`, the last of which is where they end."""
    provider, payer = ProviderFacts(), ""
    for start, end in pairwise(places):
        block = data[start:end]
        code = elements_of(block, patterns.delimiters, 4)[3].strip()
        if code == b"20":
            provider, payer = read_provider(block, patterns), ""
        elif code == b"22":
            payer = read_payer(block, patterns)
    return provider, payer


@lru_cache(maxsize=64)
def _forms(delimiters: Delimiters) -> _Forms:
    """Compile the expressions for these delimiters; an element with blanks around it is not usual."""
    patterns = patterns_for(delimiters)
    t, e = re.escape(delimiters.segment), re.escape(delimiters.element)
    gap = rb"[%s]*+" % re.escape(patterns.gap) if patterns.gap else b""
    element, word = rb"[^%s%s]*+" % (e, t), rb"([^%s%s\s]*+)" % (e, t)
    skipped = e + element

    def compiled(*parts: bytes) -> re.Pattern[bytes]:
        return re.compile(b"".join(parts))

    names = b"|".join((GS, ST, HL, CLM, SE, GE, IEA, ISA))
    group = gap + GS + skipped * 5 + e + word + skipped + e + word + t
    of_set = gap + ST + e + b"837" + e + word + e + rb"\2" + t
    return _Forms(
        patterns=patterns,
        doubled=delimiters.element + delimiters.segment,
        head=compiled(group, of_set, gap, b"BHT", skipped * 2, e, rb"(", element, rb")"),
        # However it is spelled: a name in small letters is found, and is not the usual.
        bounds=compiled(t, gap, rb"(?:(?=[A-Z])((?i:", names, rb"))(?=[%s%s])|(?=[^A-Z]))" % (e, t)),
        tail=compiled(
            *(SE, e, rb"0*+([1-9][0-9]*+)", e, word, t),
            *(gap, GE, e, rb"0*+1", e, word, t),
            *(gap, IEA, e, rb"0*+1", e, word, t, rb"[%s%s]*+" % (re.escape(AROUND), t)),
        ),
    )
