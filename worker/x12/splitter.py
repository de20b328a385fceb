"""Cuts a surveyed 837 batch into interchanges of one claim each, streaming, in file order.

What is emitted for a claim::

    ISA GS ST … 1000B   of the parent, with control numbers of its own
    HL 20, HL 22        the claim's own provider and subscriber, renumbered 1 and 2
    HL 23               if the patient is a dependent, renumbered 3
    CLM …               to the next CLM, HL or SE, not a byte changed
    SE GE IEA           with right counts

The rules are those of X222A1 §1.4.3 and §2.3: HL02 names the parent, HL04 tells whether a child follows, SBR02 is
``18`` only where the patient is the subscriber. Empty segments are dropped before counting. Delimiters are the
parent's; bytes between segments (line ends) stay where a segment was copied. Segments between envelopes, TA1 and
levels without claims are not sent.

A batch that is one unit already is not cut: it is sent byte for byte from its ISA to the terminator of its IEA,
with SE01, GE01 and IEA01 corrected if the survey found them wrong (unwrapped if it was wrapped, and with its last
terminator if that was missing).
"""

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from worker.x12.assembly import control_number
from worker.x12.patterns import CLM
from worker.x12.place import Place
from worker.x12.reader import Reader
from worker.x12.values import Finding, SplitClaim, Survey
from worker.x12.whole import whole_interchanges, whole_sets, without_empty_segments

Mode = Literal["claim", "transaction", "none"]
LARGEST_BLOCK_BYTES = 8 << 20


def split(chunks: Iterable[bytes], survey: Survey, *, seed: int = 0, mode: str = "claim") -> Iterator[SplitClaim]:
    """Yield one `SplitClaim` per unit of a batch, `ordinal` counting from 1 without gaps.

    The units are claims (`survey.claims` of them), transaction sets (`survey.sets`) or, in mode ``none``,
    interchanges (`survey.interchanges`). `survey` is that of the same bytes; a batch it refuses yields
    nothing. A unit that cannot be sent comes with a `refusal` and the facts known of it. The same bytes, seed
    and mode give the same interchanges, whatever the chunks.

    :raises ValueError: if there is no such mode.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"split: no mode {mode!r}")
    if survey.refusal is not None:
        return
    reader = Reader(chunks, "levels", largest=LARGEST_BLOCK_BYTES)
    single = survey.interchanges == survey.groups == survey.sets == 1
    if mode == "none" or (single and mode == "transaction"):
        yield from whole_interchanges(reader, survey)
    elif single and mode == "claim" and survey.claims == 1:
        yield from whole_interchanges(reader, survey, largest=LARGEST_BLOCK_BYTES)
    elif mode == "transaction":
        yield from whole_sets(reader, survey, seed)
    else:
        yield from _claims(reader, survey, seed)


def _claims(reader: Reader, survey: Survey, seed: int) -> Iterator[SplitClaim]:
    place = Place(reader, survey)
    clean = any(one.code == "empty_segment" for one in survey.findings)
    ordinal = 0
    for name, block in reader.blocks():
        too_large = reader.oversize or len(block) > LARGEST_BLOCK_BYTES
        kept = without_empty_segments(reader, block) if clean else block
        if name is not CLM:
            place.follow(name, kept, too_large=too_large)
            continue
        ordinal += 1
        refusal = place.refusal(too_large=too_large)
        yield _cut(place, kept, ordinal, seed) if refusal is None else _refused(place, kept, ordinal, refusal)


def _cut(place: Place, block: bytes, ordinal: int, seed: int) -> SplitClaim:
    """Put the envelopes and levels of this place around a claim."""
    above, segments = place.levels.above()
    interchange = place.envelope.around(
        control_number(seed, ordinal),
        b"%d" % ordinal,
        above + block,
        segments + block.count(place.terminator),
    )
    return SplitClaim(ordinal, interchange, place.facts(block))


def _refused(place: Place, block: bytes, ordinal: int, refusal: Finding) -> SplitClaim:
    return SplitClaim(ordinal, b"", place.facts(block), refusal)
