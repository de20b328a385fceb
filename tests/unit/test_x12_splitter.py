"""Cutting a batch into interchanges of one claim: the rules one by one."""

import itertools
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.unit.x12_reference import (
    BatchWriter,
    Style,
    Subscriber,
    assert_single_claim,
    chunked,
    one_interchange,
)
from worker.x12 import SplitClaim, split, survey
from worker.x12.decode import text
from worker.x12.splitter import LARGEST_BLOCK_BYTES


def batch(groups: object = None, style: Style | None = None) -> bytes:
    plan = groups or ((((Subscriber(1, (2, 1)), Subscriber(1)),),),)
    return BatchWriter().interchange(1, plan, style or Style())  # type: ignore[arg-type]  # nested tuples


def one_claim() -> bytes:
    return batch(((((Subscriber(),),),),))


def units(data: bytes, mode: str = "claim", seed: int = 0) -> list[SplitClaim]:
    return list(split([data], survey([data]), seed=seed, mode=mode))


def codes(children: list[SplitClaim]) -> list[str]:
    return [one.refusal.code if one.refusal else "" for one in children]


def test_the_subscribers_own_claim_drops_the_dependents() -> None:
    own, *dependents, _ = [one_interchange(child.interchange) for child in units(batch())]

    assert [hl[3] for hl in own.named(b"HL")] == [b"20", b"22"]
    assert own.named(b"HL")[1][4] == b"0"
    assert own.named(b"SBR")[0][2] == b"18"
    assert own.named(b"PAT") == []
    for one in dependents:
        assert [hl[3] for hl in one.named(b"HL")] == [b"20", b"22", b"23"]
        assert one.named(b"SBR")[0][2] == b""
        assert len(one.named(b"PAT")) == 1


def test_sbr_within_the_claim_stays_as_it_is() -> None:
    for child in units(batch()):
        assert one_interchange(child.interchange).named(b"SBR")[1] == b"SBR*S*18*GRP2******CI".split(b"*")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (b"SBR*P*18~", b"SBR*P~"),
        (b"SBR*P*18*~", b"SBR*P**~"),
        (b"SBR*P**G~", b"SBR*P**G~"),
        (b"SBR*P*01*G~", b"SBR*P*01*G~"),
        (b"sbr*P*18*G~", b"sbr*P**G~"),
    ],
)
def test_only_the_patient_being_the_subscriber_is_blanked_for_a_dependent(written: bytes, sent: bytes) -> None:
    data = batch().replace(b"SBR*P*18*GRP******CI~", written)

    dependent = units(data)[1].interchange

    assert b"\n" + sent + b"\nNM1*IL" in dependent


def test_control_numbers_follow_from_seed_and_ordinal_and_are_the_same_every_time() -> None:
    children = units(batch(), seed=999_999_990)

    isa = [one_interchange(child.interchange).named(b"ISA")[0][13] for child in children]
    assert isa == [b"999999992", b"999999993", b"999999994", b"999999995", b"999999996"]
    assert units(batch(), seed=999_999_990) == children
    wrapped = [one_interchange(child.interchange) for child in units(batch(), seed=999_999_997)]
    assert [one.named(b"ISA")[0][13] for one in wrapped[:3]] == [b"999999999", b"000000001", b"000000002"]
    assert [one.named(b"GS")[0][6] for one in wrapped[:3]] == [b"999999999", b"1", b"2"]


@pytest.mark.parametrize(("length", "suffixed"), [(1, True), (48, True), (49, False), (60, False)])
def test_the_ordinal_goes_behind_bht03_where_it_fits(length: int, suffixed: bool) -> None:
    reference = b"R" * length
    data = batch().replace(b"*REF0001*", b"*" + reference + b"*")

    sent = [one_interchange(child.interchange).named(b"BHT")[0][3] for child in units(data)]

    assert sent == [reference + b"-%d" % n if suffixed else reference for n in range(1, 6)]
    assert {child.facts.batch_reference for child in units(data)} == {reference.decode()}


def test_an_empty_bht03_stays_empty() -> None:
    data = batch().replace(b"*REF0001*", b"**")

    assert one_interchange(units(data)[0].interchange).named(b"BHT")[0][3] == b""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"HL*2*1*22", b"HL*2*7*22", ["hl_parent_mismatch"] * 4 + [""]),
        (b"HL*2*1*22", b"HL*2**22", ["hl_parent_mismatch"] * 4 + [""]),
        (b"HL*3*2*23", b"HL*3*1*23", ["", "hl_parent_mismatch", "hl_parent_mismatch", "", ""]),
        (b"HL*4*2*23", b"HL*4*3*23", ["", "", "", "hl_parent_mismatch", ""]),
        (b"HL*5*1*22", b"HL*5*2*22", ["", "", "", "", "hl_parent_mismatch"]),
        (b"HL*1**20", b"HL*1*5*20", ["hl_parent_mismatch"] * 5),
        (b"HL*1**20", b"HL***20", ["hl_parent_mismatch"] * 5),
        (b"HL*4*2*23", b"HL*4*2*24", ["", "", "", "hl_level_unknown", ""]),
        (b"HL*4*2*23*0", b"HL", ["", "", "", "hl_level_unknown", ""]),
        (b"HL*2*1*22", b"XX*2*1*22", ["claim_outside_hl", *["hl_parent_mismatch"] * 3, "boundary_missing"]),
        (b"HL*1**20", b"XX*1**20", ["boundary_missing"] * 5),
        (b"HL*1**20*1", b"HL*1**20*1~\nNM1*85*2*CLINIC", ["boundary_missing"] * 5),
        (b"HL*2*1*22*1", b"HL*2*1*22*1~\nNM1*QC*1", ["boundary_missing"] * 4 + [""]),
        (b"HL*4*2*23*0", b"HL*4*2*23*0~\nSBR*S", ["", "", "", "boundary_missing", ""]),
        (b"HL*5*1*22*0", b"HL*5*1*22*0~\nSBR*P*18", ["", "", "", "", "boundary_missing"]),
    ],
)
def test_a_claim_whose_levels_are_in_doubt_is_refused_alone(old: bytes, new: bytes, expected: list[str]) -> None:
    data = batch()
    assert old in data

    children = units(data.replace(old, new))

    assert codes(children) == expected
    assert [child.ordinal for child in children] == [1, 2, 3, 4, 5]
    assert all(child.facts.patient_control_number for child in children)
    for child in children:
        if child.refusal is None:
            assert_single_claim(child.interchange)


@pytest.mark.parametrize("mode", ["claim", "transaction", "none"])
@pytest.mark.parametrize("name", [b"CLX", b"CLM ", b"CL", b"CLMM", b"C M", b""])
@pytest.mark.parametrize("claim", range(5))
def test_a_claim_whose_clm_is_lost_takes_its_set_with_it(claim: int, name: bytes, mode: str) -> None:
    pieces = batch().split(b"CLM*")
    data = b"CLM*".join(pieces[: claim + 1]) + name + b"*" + b"CLM*".join(pieces[claim + 1 :])

    children = units(data, mode)
    place = next(one.segment for one in survey([data]).findings if one.code == "boundary_missing")

    assert set(codes(children)) == {"boundary_missing"}
    lost = b"CLM*".join(pieces[: claim + 1])
    assert lost.rpartition(b"CLM*")[0].count(b"~") < place <= lost.count(b"~") + 1
    assert len(children) == (4 if mode == "claim" else 1)


@pytest.mark.parametrize("level", range(3, 6))
@pytest.mark.parametrize("style", [Style(), Style(b"|", b"{", b">", b"\n", gap=b"")])
def test_no_claim_is_sent_for_another_patient_because_an_hl_is_lost(level: int, style: Style) -> None:
    before = b"HL%b%d%b" % (style.element, level, style.element)
    data = batch(style=style)
    assert before in data

    assert set(codes(units(data.replace(before, b"HX" + before[2:])))) == {"boundary_missing"}


def test_a_name_that_looks_like_a_segment_loses_nothing() -> None:
    cities = b"N4*DELHI*FL~\nN3*SUITE HL*SBR~\nREF*G1*LX~\nNTE*ADD*HI PAT LX HL~\nLX*1~"

    assert codes(units(batch().replace(b"LX*1~", cities))) == [""] * 5


def test_a_provider_level_ends_the_levels_below_the_former() -> None:
    plan = (((((Subscriber(),), (Subscriber(0, (1,)),))),),)
    data = batch(plan).replace(b"HL*4*3*22*1~", b"NM1*87*2~").replace(b"HL*5*4*23", b"HL*5*2*23")

    assert codes(units(data)) == ["", "hl_parent_mismatch"]


def test_a_set_behind_its_group_has_no_group() -> None:
    data = batch()
    transaction = data[data.index(b"ST*") : data.index(b"GE*")]

    children = units(data.replace(b"IEA*", transaction + b"IEA*"))

    assert codes(children) == [""] * 5 + ["missing_gs"] * 5
    assert [child.facts.group_control_number for child in children] == ["1"] * 5 + [""] * 5


def test_levels_are_judged_by_their_parents_not_by_their_numbers() -> None:
    data = batch().replace(b"HL*2*1*22", b"HL*20*1*22").replace(b"*2*23*", b"*20*23*")

    assert codes(units(data)) == [""] * 5


def test_claims_outside_any_set_are_refused_and_keep_their_place() -> None:
    data = batch().replace(b"GE*1", b"CLM*LOST*5~\nGE*1")

    children = units(data)

    assert codes(children) == [""] * 5 + ["missing_st"]
    assert children[5].facts.patient_control_number == "LOST"


def test_empty_segments_are_dropped_and_not_counted() -> None:
    data = batch()
    holes = data.replace(b"PRV*BI", b"~\n~\nPRV*BI").replace(b"LX*1", b"~~LX*1").replace(b"HL*", b"~HL*")

    sent = [child.interchange.replace(b"\n", b"") for child in units(holes)]
    assert sent == [child.interchange.replace(b"\n", b"") for child in units(data)]


def test_segments_between_envelopes_are_not_sent() -> None:
    data = batch().replace(b"GS*HC", b"TA1*000000001*250115*1200*A*000~\nGS*HC")

    assert survey([data]).findings == ()
    assert [child.interchange for child in units(data)] == [child.interchange for child in units(batch())]


def test_several_interchanges_keep_their_own_delimiters() -> None:
    writer = BatchWriter()
    plan = ((((Subscriber(),),),),)
    first = writer.interchange(1, plan, Style())
    second = writer.interchange(2, plan, Style(b"|", b"{", b">", b"!", b"\r\n", ta1=True))

    children = units(first + second)

    assert [child.interchange[3:4] + child.interchange[104:108] for child in children] == [b"*:~\nG", b"|>!\r\n"]
    facts = [child.facts for child in children]
    assert [one.interchange_control_number for one in facts] == ["000000001", "000000002"]
    assert [one.frequency for one in facts] == ["7", "7"]


def test_a_batch_of_one_claim_is_sent_byte_for_byte() -> None:
    data = one_claim()

    for dressed in (data, b"\xef\xbb\xbf \r\n" + data + b"\r\n\x1a", data[:-1]):
        (only,) = units(dressed)
        assert only.interchange == data
        assert only.refusal is None


def test_of_a_batch_of_one_claim_only_wrong_counts_are_corrected() -> None:
    data = one_claim()
    se = data[data.index(b"SE*") :].split(b"*")[1]
    wrong = data.replace(b"SE*" + se, b"SE*1").replace(b"GE*1*", b"GE*4*").replace(b"IEA*1*", b"IEA*7*")

    assert units(wrong)[0].interchange == data
    padded = data.replace(b"SE*" + se, b"SE*0" + se)
    assert units(padded)[0].interchange == padded


def test_one_claim_in_a_refused_set_is_refused() -> None:
    (only,) = units(one_claim().replace(b"*0001~\nGE", b"*0009~\nGE"))

    assert codes([only]) == ["se02_mismatch"]
    assert only.interchange == b""
    assert only.facts.payer_id == "PAY2"


def test_one_claim_beside_claimless_sets_is_cut_out() -> None:
    two_sets = BatchWriter().interchange(1, ((((Subscriber(0),),), ((Subscriber(),),)),), Style())

    (only,) = units(two_sets)

    assert_single_claim(only.interchange)
    assert only.facts.transaction_control_number == "0002"


@pytest.mark.parametrize(
    ("old", "new", "fact", "value"),
    [
        (b"REF*EI*00-0000001~\n", b"", "provider_tax_id", "777777777"),
        (b"REF*SY*777777777~\n", b"", "provider_tax_id", "000000001"),
        (b"NM1*87*2~", b"REF*EI*666~\nNM1*87*2~", "provider_tax_id", "000000001"),
        (b"REF*EI*00-0000001~\n", b"REF*0B*1~\n", "provider_tax_id", "777777777"),
        (b"1999999984", b" 1999999984 ", "provider_npi", "1999999984"),
        (b"*XX*1999999984", b"*24*1999999984", "provider_npi", ""),
        (b"*XX*1999999984", b"", "provider_npi", ""),
        (b"*PI*PAY2", b"*XV*PAY2", "payer_id", "PAY2"),
        (b"*PI*PAY2", b"*ZZ*PAY2", "payer_id", ""),
        (b"NM1*PR*2*PAYER 2", b"NM1*ZZ*2*PAYER 2", "payer_id", ""),
        (b"11:B:7", b"11", "frequency", ""),
        (b"*100***11:B:7*Y*A*Y*Y", b"", "total_charge", ""),
        (b"ST*837*0001*005010X222A1", b"ST*837*0001", "guide", "005010X222A1"),
        (b"005010X222A1", b"005010X223A2", "claim_type", "institutional"),
        (b"005010X222A1", b"005010X224A2", "claim_type", "dental"),
        (b"005010X222A1", b"005010X298", "claim_type", ""),
        (b"005010X222A1", b"004010X098A1", "claim_type", ""),
        (b"005010X222A1", b"004010X098A1", "guide", "004010X098A1"),
        (b"PCN3", b"MU\xc3\x91OZ", "patient_control_number", "MUÑOZ"),
        (b"PCN3", b"MU\xd1OZ", "patient_control_number", "MUÑOZ"),
    ],
)
def test_facts_are_read_where_the_guides_put_them(old: bytes, new: bytes, fact: str, value: str) -> None:
    for data in (one_claim(), batch()):
        data = data.replace(old, new)

        assert getattr(units(data)[0].facts, fact) == value


def test_all_facts_of_a_claim() -> None:
    facts = units(one_claim())[0].facts

    assert {name: getattr(facts, name) for name in facts.__struct_fields__} == {
        "claim_type": "professional",
        "guide": "005010X222A1",
        "usage": "T",
        "sender_id": "SENDERID",
        "receiver_id": "RECEIVERID",
        "interchange_control_number": "000000001",
        "group_control_number": "1",
        "transaction_control_number": "0001",
        "batch_reference": "REF0001",
        "provider_npi": "1999999984",
        "provider_tax_id": "000000001",
        "payer_id": "PAY2",
        "patient_control_number": "PCN3",
        "total_charge": "100",
        "frequency": "7",
    }


def test_a_claim_too_large_to_hold_is_refused_and_the_others_go_on() -> None:
    data = batch()
    huge = data.replace(b"CLM*PCN3*", b"CLM*PCN3*1~\n" + b"NTE*ADD*X~\n" * (LARGEST_BLOCK_BYTES // 11) + b"REF*", 1)
    padded = data.replace(b"HI*ABK:J029~\n", b"HI*ABK:J029~" + b" " * (2 * LARGEST_BLOCK_BYTES), 1)

    for too_large in (huge, padded):
        found = survey([too_large])
        for size in (1 << 18, len(too_large)):
            children = list(split(chunked(too_large, size), found))
            assert codes(children) == ["claim_too_large", "", "", "", ""]
            assert [child.interchange for child in children[1:]] == [child.interchange for child in units(data)[1:]]


@pytest.mark.parametrize("se01", [b"", b"9"])
def test_one_claim_too_large_to_hold_is_refused_and_never_held(se01: bytes) -> None:
    before, after = one_claim().replace(b"SE*", b"SE*" + se01).split(b"LX*1~\n")
    notes = b"NTE*ADD*X~" * (1 << 16)

    def chunks(times: int) -> Iterator[bytes]:
        yield before
        yield from itertools.repeat(notes, times)
        yield b"LX*1~\n" + after

    tracemalloc.start()
    (child,) = split(chunks(100), survey(chunks(100)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert codes([child]) == ["claim_too_large"]
    assert (child.interchange, child.facts.patient_control_number) == (b"", "PCN3")
    assert peak < 4 * LARGEST_BLOCK_BYTES < 100 * len(notes)
    (child,) = split(chunks(10), survey(chunks(10)))
    assert codes([child]) == [""]


def test_a_refused_batch_yields_nothing() -> None:
    data = batch()[:-20]

    assert units(data) == []


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="mode"):
        units(batch(), "file")


def test_by_transaction_set_each_set_is_sent_in_an_interchange_of_its_own() -> None:
    data = BatchWriter().interchange(
        1, ((((Subscriber(1, (2,)),),), ((Subscriber(2),),)), (((Subscriber(0),),),)), Style()
    )

    children = units(data, "transaction", seed=5)

    assert codes(children) == ["", "", "no_claims"]
    assert [survey([child.interchange]).claims for child in children[:2]] == [3, 2]
    assert [one_interchange(child.interchange).named(b"ISA")[0][13] for child in children[:2]] == [
        b"000000007",
        b"000000008",
    ]
    assert one_interchange(children[0].interchange).named(b"HL")[2] == [b"HL", b"3", b"2", b"23", b"0"]
    assert [child.facts.patient_control_number for child in children] == ["PCN3", "PCN8", ""]


def test_by_transaction_set_a_refused_set_and_another_kind_are_refused_alone() -> None:
    plan = ((((Subscriber(),),), ((Subscriber(),),), ((Subscriber(),),)),)
    data = BatchWriter().interchange(1, plan, Style())
    data = data.replace(b"*0001~\nST", b"*0009~\nST").replace(b"ST*837*0002", b"ST*835*0002")

    assert codes(units(data, "transaction")) == ["se02_mismatch", "not_837", ""]


def test_by_interchange_everything_is_sent_as_it_is() -> None:
    writer = BatchWriter()
    plan = ((((Subscriber(2),),),),)
    first = writer.interchange(1, plan, Style())
    second = writer.interchange(2, plan, Style(b"|", b"{", b">", b"!", ta1=True))
    third = writer.interchange(3, ((((Subscriber(0),),),),), Style())

    children = units(first + b"\r\n" + second + third.replace(b"GE*1*1", b"GE*1*2"), "none")

    assert [child.interchange for child in children] == [first, second, b""]
    assert codes(children) == ["", "", "ge02_mismatch"]
    assert codes(units(first + third, "none")) == ["", "no_claims"]


def test_the_split_is_lazy() -> None:
    data = batch()
    taken: Counter[str] = Counter()

    def chunks() -> Iterator[bytes]:
        for chunk in chunked(data, 100):
            taken["chunks"] += 1
            yield chunk

    claims = split(chunks(), survey([data]))

    first = list(itertools.islice(claims, 1))
    assert len(first) == 1
    assert taken["chunks"] < len(data) / 100
    assert first + list(claims) == units(data)


@pytest.mark.parametrize("data", [b"plain", b"", "Muñoz".encode(), b"Mu\xf1oz", bytes(range(256))])
def test_decoding_never_fails_nor_drops_a_byte(data: bytes) -> None:
    decoded = text(data)

    assert data in (decoded.encode(), decoded.encode("latin-1", "replace"))
