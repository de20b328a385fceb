"""Reads a batch that is one claim in the usual form: survey, facts and what is sent, in one pass over its bytes.

::

    ISA  GS  ST …  HL …  HL …  [HL …]  CLM …  SE  GE  IEA~

Generators that write a file a claim write nearly only this: nothing around the interchange, every segment named in
capitals and none empty, right counts and control numbers. `worker.x12.survey` and `worker.x12.split` would find
nothing to remark and would send it byte for byte; they take both their time for it. Whatever is different is None here
and is theirs; tests hold both readings against each other.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from worker.x12.delimiters import ISA_BYTES, Delimiters, read_delimiters
from worker.x12.facts import ProviderFacts, elements_of, read_claim, read_payer, read_provider, read_set
from worker.x12.patterns import CLM, GE, GS, HL, IEA, ISA, SE, ST, Patterns, patterns_for
from worker.x12.reader import AROUND, WINDOW, is_wrapped
from worker.x12.segments import LONG_SEGMENT_BYTES
from worker.x12.survey import GUIDES
from worker.x12.values import SplitClaim, Survey

LARGEST_BYTES = 16 << 10

_BEFORE, _AFTER = [GS, ST], [CLM, SE, GE, IEA]


class Single(NamedTuple):
    """A batch of one claim: what a survey says of it, and the claim that a split yields."""

    survey: Survey
    claim: SplitClaim


def read_single(data: bytes) -> Single | None:
    """Read a whole batch that is one claim in the usual form; None for any other."""
    delimiters = read_delimiters(data[:ISA_BYTES]) if len(data) <= LARGEST_BYTES else None
    if delimiters is None or is_wrapped(data[:WINDOW], delimiters) or delimiters.element + delimiters.segment in data:
        return None
    found = list(_boundaries(delimiters).finditer(data))
    levels = len(found) - len(_BEFORE) - len(_AFTER)
    if levels < 1 or [match[1] for match in found] != [*_BEFORE, *[HL] * levels, *_AFTER]:
        return None
    places = [match.start(1) for match in found]
    end = data.find(delimiters.segment, places[-1]) + 1
    if not end or data[end:].strip(AROUND + delimiters.segment):
        return None
    isa, gs, st, *level_blocks, claim, se, ge, iea = map(data.__getitem__, map(slice, [0, *places], [*places, end]))
    in_set = data.count(delimiters.segment, places[1], places[-2])
    patterns = patterns_for(delimiters)
    if not (
        places[-4] - places[1] <= LONG_SEGMENT_BYTES
        and len(claim) <= LONG_SEGMENT_BYTES
        and _envelopes_plain(isa, gs, st, patterns)
        and _trailers_right(isa, gs, st, se, ge, iea, delimiters, in_set)
    ):
        return None
    provider, payer = ProviderFacts(), ""
    for block in level_blocks:
        code = elements_of(block, delimiters, 4)[3].strip()
        if code == b"20":
            provider, payer = read_provider(block, patterns), ""
        elif code == b"22":
            payer = read_payer(block, patterns)
    facts = read_claim(claim, delimiters, read_set(isa, gs, st, patterns), provider, payer)
    survey = Survey(
        complete=True,
        interchanges=1,
        groups=1,
        sets=1,
        claims=1,
        segments=data.count(delimiters.segment, 0, end),
        production=facts.usage == "P",
        test=facts.usage == "T",
    )
    return Single(survey, SplitClaim(1, data[:end], facts))


def _envelopes_plain(isa: bytes, gs: bytes, st: bytes, patterns: Patterns) -> bool:
    """Tell whether ISA, GS and ST are what the guides want, with no segment between them."""
    delimiters = patterns.delimiters
    interchange = isa[: ISA_BYTES - 1].split(delimiters.element)
    group, transaction = elements_of(gs, delimiters, 9), elements_of(st, delimiters, 4)
    guides = {guide for guide in (group[8].strip(), transaction[3].strip()) if guide}
    return (
        not isa[ISA_BYTES:].strip(patterns.gap)
        and gs.count(delimiters.segment) == 1
        and interchange[12] == b"00501"
        and interchange[15] in (b"P", b"T")
        and transaction[1].strip() == b"837"
        and len(guides) == 1
        and guides.issubset(GUIDES)
    )


def _trailers_right(
    isa: bytes, gs: bytes, st: bytes, se: bytes, ge: bytes, iea: bytes, delimiters: Delimiters, in_set: int
) -> bool:
    """Tell whether SE, GE and IEA stand alone and repeat control numbers and counts."""
    of_set, of_group, of_interchange = (elements_of(block, delimiters, 3) for block in (se, ge, iea))
    return (
        se.count(delimiters.segment) == ge.count(delimiters.segment) == 1
        and of_set[2].strip() == elements_of(st, delimiters, 3)[2].strip()
        and of_group[2].strip() == elements_of(gs, delimiters, 7)[6].strip()
        and of_interchange[2].strip() == isa[: ISA_BYTES - 1].split(delimiters.element)[13].strip()
        and _number(of_set[1]) == b"%d" % in_set
        and _number(of_group[1]) == _number(of_interchange[1]) == b"1"
    )


def _number(written: bytes) -> bytes:
    return written.strip().lstrip(b"0")


@lru_cache(maxsize=64)
def _boundaries(delimiters: Delimiters) -> re.Pattern[bytes]:
    """Find what begins every block, however it is spelled, and every segment that does not begin with a capital."""
    t, e = re.escape(delimiters.segment), re.escape(delimiters.element)
    gap_bytes = patterns_for(delimiters).gap
    gap = rb"[%s]*+" % re.escape(gap_bytes) if gap_bytes else b""
    names = b"(?i:%s)" % b"|".join((GS, ST, HL, CLM, SE, GE, IEA, ISA))
    return re.compile(rb"%s%s(?:(?=[A-Z])(%s)(?=[%s%s])|(?=[^A-Z]))" % (t, gap, names, e, t))
