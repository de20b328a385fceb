"""Properties of reading 837 batches: nothing lost, nothing invented, nothing raised, whatever the bytes and chunks."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.x12_reference import (
    BatchWriter,
    Expected,
    Group,
    Style,
    Subscriber,
    assert_single_claim,
    chunked,
    interchanges,
)
from worker.x12 import SplitClaim, Survey, split, survey
from worker.x12.findings import TEXTS

SEGMENTS = [b"~", b"CLM*X*1~", b"~CLM*X*1~", b"HL*1**20*1~", b"SE*1*1~", b"ST*837*1~", b"IEA*1*1~", b"GS*~", b"GE~"]
SEGMENTS += [b"clm*~", b"Clm*Y*2~", b"hl*9*8*22~", b"HL*3*2*24~", b"\x00CLM*Z~", b"TA1*~", b"ISA*00*", b"SBR*P*18~"]
AROUND = st.sampled_from([b"", b"\n", b"\r\n  ", b"\x1a", b"\t\n\n"])
MODES = ("claim", "transaction", "none")
SIZES = st.one_of(st.integers(1, 8), st.integers(1, 700))


@st.composite
def styles(draw: st.DrawFn) -> Style:
    element = draw(st.sampled_from([b"*", b"|", b"\x1d", b"+", b"]"]))
    component = draw(st.sampled_from([b":", b">", b"\\", b"\x1f", b"-"]))
    repetition = draw(st.sampled_from([b"^", b"{", b"\x1e"]))
    terminator = draw(st.sampled_from([b"~", b"!", b"\n", b"\r", b"\x1c", b"'"]))
    gap = draw(st.sampled_from([b"", b"\n", b"\r\n", b" ", b"   \n", b"\n    "]))
    if terminator in b"\r\n":
        gap = gap.replace(terminator, b"")
    return Style(element, repetition, component, terminator, gap, ta1=draw(st.booleans()))


subscribers = st.builds(Subscriber, st.integers(0, 2), st.lists(st.integers(0, 2), max_size=2).map(tuple))
providers = st.lists(subscribers, min_size=1, max_size=2).map(tuple)
transaction_sets = st.lists(providers, min_size=1, max_size=2).map(tuple)
groups = st.lists(transaction_sets, min_size=1, max_size=2).map(tuple)


@st.composite
def batches(draw: st.DrawFn) -> tuple[bytes, BatchWriter]:
    writer = BatchWriter()
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n \r\n"]))
    plan: list[tuple[Group, ...]] = draw(
        st.lists(st.lists(groups, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2)
    )
    for number, content in enumerate(plan, 1):
        data += writer.interchange(number, content, draw(styles())) + draw(AROUND)
    if not writer.expected:
        data += writer.interchange(99, ((((Subscriber(),),),),), draw(styles()))
    return data, writer


@st.composite
def damaged_batches(draw: st.DrawFn) -> bytes:
    """A batch to which a few of the things happened that happen to files."""
    data, _ = draw(batches())
    isa = data.index(b"ISA")
    element, terminator = data[isa + 3 : isa + 4], data[isa + 105 : isa + 106]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            at = data.find(terminator, at) + 1
        to = min(len(data), at + draw(st.integers(0, 200)))
        segment = draw(st.sampled_from(SEGMENTS)).replace(b"~", terminator).replace(b"*", element)
        other = draw(st.one_of(st.binary(max_size=8), st.sampled_from([data[at:to] * 2, b"", b"\n", segment])))
        data = data[:at] + other + data[draw(st.sampled_from([at, to])) :]
    return data


def read_all(chunks: list[bytes], mode: str = "claim") -> tuple[Survey, list[SplitClaim]]:
    found = survey(chunks)
    return found, list(split(chunks, found, seed=7, mode=mode))


@settings(deadline=None)
@given(batches())
def test_no_claim_is_lost_and_none_invented(batch: tuple[bytes, BatchWriter]) -> None:
    data, writer = batch

    found, children = read_all([data])

    assert (found.refusal, found.findings) == (None, ())
    assert found.segments == writer.segments
    assert found.claims == len(children) == len(writer.expected)
    parents = [claim for one in interchanges(data) for claim in one.claims()]
    for ordinal, (child, expected, parent) in enumerate(zip(children, writer.expected, parents, strict=True), 1):
        assert (child.ordinal, child.refusal) == (ordinal, None)
        read = assert_single_claim(child.interchange, levels=len(children) > 1)
        assert read.claims() == [parent]
        facts = child.facts
        assert (facts.claim_type, facts.usage, facts.frequency) == ("professional", "T", "7")
        levels = len(read.named(b"HL")) if len(children) > 1 else expected.levels
        got = Expected(facts.patient_control_number, facts.provider_tax_id, facts.payer_id, levels)
        assert got == expected


@settings(deadline=None)
@given(batches(), SIZES)
def test_the_size_of_the_chunks_changes_nothing(batch: tuple[bytes, BatchWriter], size: int) -> None:
    data, _ = batch

    assert read_all(chunked(data, size)) == read_all([data])


@settings(deadline=None)
@given(batches())
def test_what_was_cut_is_not_cut_again(batch: tuple[bytes, BatchWriter]) -> None:
    for child in read_all([batch[0]])[1]:
        found, again = read_all([child.interchange])

        assert (found.complete, found.refusal, found.findings) == (True, None, ())
        assert [one.interchange for one in again] == [child.interchange]


@settings(deadline=None)
@given(batches())
def test_every_set_and_every_interchange_is_a_unit_of_its_own(batch: tuple[bytes, BatchWriter]) -> None:
    data, _ = batch

    found, sets = read_all([data], "transaction")
    _, whole = read_all([data], "none")

    assert [one.ordinal for one in sets] == list(range(1, found.sets + 1))
    for one in sets:
        if one.refusal is not None:
            assert one.refusal.code == "no_claims"
            continue
        again = survey([one.interchange])
        assert (again.complete, again.refusal, again.findings, again.sets) == (True, None, (), 1)
    assert sum(survey([one.interchange]).claims for one in sets) == found.claims
    assert len(whole) == found.interchanges
    assert sum(survey([one.interchange]).claims for one in whole) == found.claims


@settings(deadline=None)
@given(batches(), st.data())
def test_a_batch_cut_short_is_incomplete(batch: tuple[bytes, BatchWriter], data: st.DataObject) -> None:
    last = data.draw(styles())
    whole = batch[0] + BatchWriter().interchange(500, ((((Subscriber(),),),),), last)
    end = data.draw(st.integers(len(batch[0]) + 1, len(whole) - 2))

    found = survey([whole[:end]])

    assert found.refusal is not None
    assert (found.complete, found.refusal.code) == (False, "incomplete")


@settings(max_examples=300, deadline=None)
@given(damaged_batches(), SIZES, st.sampled_from(MODES))
@example(b"ISA*00", 1, "claim")
def test_a_damaged_batch_is_read_the_same_way_every_time(data: bytes, size: int, mode: str) -> None:
    found, units = read_all([data], mode)

    assert read_all(chunked(data, size), mode) == (found, units)
    total = {"claim": found.claims, "transaction": found.sets, "none": found.interchanges}[mode]
    assert [one.ordinal for one in units] == ([] if found.refusal else list(range(1, total + 1)))
    for one in units:
        if one.refusal is None:
            again = survey([one.interchange])
            assert again.refusal is None
            assert again.claims >= 1
            assert mode != "claim" or again.claims == 1
        else:
            assert one.interchange == b""
            assert one.refusal.code in TEXTS


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 50))
def test_any_bytes_are_read_without_an_exception(data: bytes, size: int) -> None:
    found, units = read_all(chunked(data, size))

    assert found == survey([data])
    assert found.refusal is not None or len(units) == found.claims


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_after_a_sound_header_are_read_without_an_exception(data: bytes) -> None:
    header = (
        b"ISA*00*          *00*          *ZZ*SENDERID       *ZZ*RECEIVERID     *250115*1200*^*00501*000000001*0*T*:~"
    )

    found, units = read_all([header + data])

    assert found.refusal is not None or len(units) == found.claims
