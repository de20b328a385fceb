"""What one pass over the envelopes tells of a batch."""

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from tests.unit.x12_reference import BatchWriter, Style, Subscriber, chunked
from worker.x12 import Survey, split, survey
from worker.x12.findings import MOST_PER_CODE, TEXTS

ISA = b"ISA*00*          *00*          *ZZ*SENDERID       *ZZ*RECEIVERID     *250115*1200*^*00501*000000001*0*T*:~"
ONE = ((((Subscriber(),),),),)  # one group, one set, one provider, one subscriber with a claim
TWO_SETS = ((((Subscriber(),),), ((Subscriber(),),)),)


def batch(groups: object = ONE, style: Style | None = None) -> bytes:
    return BatchWriter().interchange(1, groups, style or Style())  # type: ignore[arg-type]  # nested tuples


def refusal_of(found: Survey) -> str:
    assert found.refusal is not None
    assert found.refusal.severity == "error"
    return found.refusal.code


def codes_of(found: Survey) -> list[str]:
    return [one.code for one in found.findings]


@pytest.mark.parametrize("data", [b"", b"x", b"\xef\xbb\xbf", b" \r\n\t", b"\x1a", b"IS"])
def test_nothing_to_read_is_an_empty_input(data: bytes) -> None:
    assert refusal_of(survey([data])) == "empty_input"


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        ("ISA*00*".encode("cp037"), "EBCDIC"),
        (b"SVNBKjAwKg==", "base64"),
        (b"PK\x03\x04aaaa", "zip"),
        (b"%PDF-1.7\n", "PDF"),
        ("ISA*00*".encode("utf-16"), "UTF-16"),
        ("ISA*00*".encode("utf-16-le"), "UTF-16"),
        (b"<html></html>", "HTML"),
        (b'{"a": 1}', "JSON"),
        (b"Isabel's notes", ""),
        (b"ISABEL*", ""),
        (b"\0\0\0\0", ""),
    ],
)
def test_what_is_no_x12_is_refused_and_its_kind_named(data: bytes, looks: str) -> None:
    found = survey([data])

    assert refusal_of(found) == "not_x12"
    assert found.complete
    assert looks in found.refusal.text if found.refusal else False


@pytest.mark.parametrize(
    "isa",
    [
        ISA.replace(b"SENDERID  ", b"SENDERID "),
        ISA.replace(b":~", b"*~"),
        ISA.replace(b":~", b"::"),
        ISA.replace(b":~", b":A"),
        ISA.replace(b":~", b": "),
        ISA.replace(b":~", b" ~"),
        ISA.replace(b"SENDERID ", b"SENDERID~"),
    ],
)
def test_delimiters_are_trusted_only_in_a_sound_header(isa: bytes) -> None:
    assert refusal_of(survey([isa + batch()[106:]])) == "isa_width"


@pytest.mark.parametrize("cut", [4, 50, 105, 106, 300, -20, -2])
def test_a_half_written_file_is_incomplete(cut: int) -> None:
    found = survey([batch()[:cut]])

    assert (found.complete, refusal_of(found)) == (False, "incomplete")


def test_a_second_interchange_that_has_just_begun_makes_the_file_incomplete() -> None:
    found = survey([batch() + b"\nISA*0"])

    assert (found.complete, refusal_of(found)) == (False, "incomplete")


def test_an_iea_without_terminator_is_complete_only_with_its_whole_control_number() -> None:
    data = batch()

    assert survey([data[:-1]]).refusal is None
    assert survey([data[:-1] + b"\r\n"]).refusal is None
    assert refusal_of(survey([data[:-2]])) == "incomplete"


def test_an_isa_before_the_iea_of_the_former_refuses_the_batch() -> None:
    data = batch()
    unclosed = data[: data.index(b"IEA*")]

    for following in (batch(), batch().replace(b"ISA*", b"isa*")):
        found = survey([unclosed + following])
        assert (found.complete, refusal_of(found)) == (True, "missing_iea")


def test_a_wrong_iea02_refuses_the_batch() -> None:
    assert refusal_of(survey([batch().replace(b"IEA*1*000000001", b"IEA*1*000000002")])) == "control_number_mismatch"


def test_a_batch_without_claims_is_refused() -> None:
    data = batch().replace(b"CLM*", b"CLP*")

    assert refusal_of(survey([data])) == "no_claims"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (b"999", "there is no 837 claim, but a transaction set 999"),
        (b"277", "there is no 837 claim, but a transaction set 277"),
        (b"DOE", "there is no 837 claim"),
    ],
)
def test_what_a_batch_without_claims_holds_instead_is_told_where_it_is_no_content(kind: bytes, told: str) -> None:
    found = survey([batch().replace(b"ST*837*", b"ST*" + kind + b"*").replace(b"CLM*", b"CLP*")])

    assert found.refusal is not None
    assert found.refusal.text == told


def test_another_transaction_set_beside_an_837_is_a_warning() -> None:
    data = batch(TWO_SETS).replace(b"ST*837*0001", b"ST*835*0001").replace(b"CLM*", b"CLP*", 1)

    found = survey([data])

    assert (found.refusal, found.claims, codes_of(found)) == (None, 1, ["not_837"])
    assert [one.refusal for one in split([data], found)] == [None]


@pytest.mark.parametrize("st01", [b"835", b"8377", b"", b"83 "])
@pytest.mark.parametrize("mode", ["claim", "transaction", "none"])
def test_claims_in_a_set_that_is_not_called_an_837_are_counted_and_refused(st01: bytes, mode: str) -> None:
    data = batch(TWO_SETS).replace(b"ST*837*0001", b"ST*" + st01 + b"*0001")

    found = survey([data])

    assert (found.refusal, found.claims) == (None, 2)
    assert {place: finding.code for place, finding in found.refused_sets.items()} == {1: "not_837"}
    units = list(split([data], found, mode=mode))
    assert [one.refusal.code if one.refusal else "" for one in units] == ["not_837", *[""] * (mode != "none")]
    assert units[0].facts.patient_control_number == "PCN3"


@pytest.mark.parametrize(
    ("old", "new", "code", "refused"),
    [
        (b"SE*22*0001", b"SE*22*0007", "se02_mismatch", {1}),
        (b"SE*22*0002~\n", b"", "missing_se", {2}),
        (b"SE*22*0001~\n", b"", "missing_se", {1}),
        (b"GE*2*1~\n", b"", "missing_ge", {1, 2}),
        (b"GE*2*1", b"GE*2*9", "ge02_mismatch", {1, 2}),
        (b"GS*HC", b"GX*HC", "missing_gs", {1, 2}),
        (b"\nCLM*", b"\n\x00CLM*", "segment_id_garbled", {1, 2}),
        (b"\nHL*2", b"\n\xa0HL*2", "segment_id_garbled", {1, 2}),
        (b"\nCLM*", b"\nxCLM*", "segment_id_garbled", {1, 2}),
    ],
)
def test_a_broken_envelope_refuses_its_sets_and_no_others(old: bytes, new: bytes, code: str, refused: set[int]) -> None:
    data = _plain(TWO_SETS)
    assert old in data

    found = survey([data.replace(old, new)])

    assert found.complete
    assert {place for place, finding in found.refused_sets.items() if finding.code == code} == refused
    assert code in codes_of(found)


def _plain(groups: object) -> bytes:
    """A batch whose claims are short enough to write its counts down in a table."""
    lines = []
    for line in batch(groups).split(b"\n"):
        if line.startswith((b"NM1*87", b"N3*2", b"NM1*PE", b"REF*EI*999", b"NM1*82", b"SBR*S", b"NM1*PR*2*OTHER")):
            continue
        if line.startswith((b"REF*2U", b"REF*EI*888", b"NM1*85*2~", b"REF*SY")):
            continue
        lines.append(b"SE*22*" + line[-5:] if line.startswith(b"SE*") else line)
    return b"\n".join(lines)


def test_the_plain_batch_is_sound() -> None:
    found = survey([_plain(TWO_SETS)])

    assert (found.refusal, codes_of(found), found.refused_sets) == (None, [], {})


@pytest.mark.parametrize(
    ("old", "new", "code", "segment"),
    [
        (b"SE*22*0001", b"SE*21*0001", "se01_wrong", 24),
        (b"SE*22*0001", b"SE**0001", "se01_wrong", 24),
        (b"GE*2*", b"GE*3*", "ge01_wrong", 47),
        (b"IEA*1*", b"IEA*0*", "iea01_wrong", 48),
        (b"*0002", b"*0001", "duplicate_st02", 25),
        (b"PRV*BI", b"~\nPRV*BI", "empty_segment", 9),
        (b"N4*TAMPA*FL*336011111~", b"N4*TAMPA*FL*~", "trailing_elements", 12),
        (b"PRV*BI", b"prv*BI", "lower_case_segment_id", 9),
        (b"CLM*", b"Clm*", "lower_case_segment_id", 19),
        (b"\nHL*1**20", b"\nhl*1**20", "lower_case_segment_id", 8),
        (b"PRV*BI", b"1PRV*BI", "segment_id_invalid", 9),
        (b"N3*1 A ST", b"N3*" + b"A" * 5000, "long_segment", 11),
        (b"GS*HC", b"N3*X~\nGS*HC", "stray_segment", 2),
        (b"ST*837*0001", b"REF*X~\nST*837*0001", "stray_segment", 3),
        (b"*00501*", b"*00401*", "version_unexpected", 1),
        (b"*0*T*:", b"*0*I*:", "usage_unexpected", 1),
        (b"005010X222A1", b"005010X222A2", "guide_unexpected", 3),
        (b"*X*005010X222A1", b"*X*005010X223A2", "guide_mismatch", 3),
    ],
)
def test_an_oddity_is_a_warning_with_its_place(old: bytes, new: bytes, code: str, segment: int) -> None:
    data = _plain(TWO_SETS)
    assert old in data

    found = survey([data.replace(old, new)])

    assert found.refusal is None
    assert found.refused_sets == {}
    assert {one.code for one in found.findings} == {code}
    first = found.findings[0]
    assert (first.severity, first.interchange, first.segment) == ("warning", 1, segment)


def test_structural_segments_in_lower_case_are_understood() -> None:
    data = batch(TWO_SETS)
    for identifier in (b"CLM", b"HL", b"ST", b"SE", b"GS", b"GE", b"IEA", b"BHT", b"NM1", b"SBR", b"REF"):
        data = data.replace(b"\n" + identifier + b"*", b"\n" + identifier.lower() + b"*")

    found = survey([data])

    assert (found.refusal, found.claims, codes_of(found)) == (None, 2, ["lower_case_segment_id"])
    children = list(split([data], found))
    assert [one.facts.provider_tax_id for one in children] == ["000000001", "000000004"]
    for size in range(1, 9):
        assert survey(chunked(data, size)) == found
        assert list(split(chunked(data, size), found)) == children


def test_text_after_the_last_iea_is_a_warning_and_segments_there_are_a_refusal() -> None:
    assert codes_of(survey([batch() + b"*** END OF FILE ***"])) == ["trailing_junk"]
    assert refusal_of(survey([batch() + b"\nST*837*1~CLM*A*1~"])) == "segments_outside_interchange"


@pytest.mark.parametrize("delimiters", [b"*:~", b"|>!", b"\x1d\x1f\x1e"])
@pytest.mark.parametrize("header", [b"XSA*00*", b"isa*00*", b"ISA *00*", b"IS*A00*", b""])
def test_an_interchange_whose_header_is_damaged_is_no_junk_whatever_its_delimiters(
    header: bytes, delimiters: bytes
) -> None:
    second = batch().replace(b"ISA*00*", header, 1).translate(bytes.maketrans(b"*:~", delimiters))

    assert refusal_of(survey([batch() + second])) == "segments_outside_interchange"


def test_an_iea_without_terminator_takes_in_no_interchange_with_delimiters_of_its_own() -> None:
    second = batch().translate(bytes.maketrans(b"*:~", b"|>!"))

    assert refusal_of(survey([batch().rstrip()[:-1] + b"*\n" + second])) == "segments_outside_interchange"
    assert codes_of(survey([batch().rstrip()[:-1] + b"*\n"])) == ["trailing_elements"]


def test_an_interchange_after_junk_is_still_read() -> None:
    found = survey([batch() + b"-- next --\n" + batch()])

    assert (found.refusal, found.interchanges, found.claims) == (None, 2, 2)
    assert codes_of(found) == ["trailing_junk"]


@pytest.mark.parametrize(
    ("name", "code"), [(b"CLX", "boundary_missing"), (b"CLM ", "boundary_missing"), (b"\0CLM", "segment_id_garbled")]
)
@pytest.mark.parametrize("cut", [False, True])
def test_a_lost_claim_that_was_its_sets_only_one_refuses_the_batch(name: bytes, code: str, *, cut: bool) -> None:
    data = batch(TWO_SETS).replace(b"CLM", name, 1)

    found = survey([data[:-5] if cut else data])

    assert refusal_of(found) == ("incomplete" if cut else code)
    assert found.claims == 1


def test_a_claim_outside_any_set_is_counted_and_told() -> None:
    data = batch().replace(b"GE*1", b"CLM*LOST*1~\nGE*1")

    found = survey([data])

    assert (found.refusal, found.claims) == (None, 2)
    assert "missing_st" in codes_of(found)


def test_usage_flags_tell_test_from_production() -> None:
    production = batch().replace(b"*0*T*:", b"*0*P*:")

    assert [survey([batch()]).test, survey([batch()]).production] == [True, False]
    assert [survey([production]).test, survey([production]).production] == [False, True]
    mixed = survey([batch() + production])
    assert [mixed.test, mixed.production] == [True, True]


@pytest.mark.parametrize("width", [80, 128, 255])
def test_a_file_wrapped_at_a_fixed_width_is_unwrapped(width: int) -> None:
    data = batch(TWO_SETS, Style(gap=b""))

    for line_end in (b"\n", b"\r\n"):
        wrapped = line_end.join(chunked(data, width))
        for size in (1, 7, 4096):
            found = survey(chunked(wrapped, size))
            assert (found.refusal, codes_of(found)) == (None, [])
            assert list(split(chunked(wrapped, size), found)) == list(split([data], survey([data])))


def test_a_flood_of_white_space_between_segments_hides_nothing() -> None:
    data = batch(TWO_SETS)
    flooded = data.replace(b"\nCLM*", b" " * (3 << 20) + b"CLM*").replace(b"\nSE*", b" " * (3 << 20) + b"SE*")

    assert survey(chunked(flooded, 1 << 18)) == survey([flooded]) == survey([data])


def test_findings_of_a_kind_are_bounded() -> None:
    many = tuple(((Subscriber(),),) for _ in range(50))
    data = batch((many,)).replace(b"SE*", b"SE*9")

    codes = codes_of(survey([data]))

    assert codes == ["se01_wrong"] * MOST_PER_CODE + ["more_findings"]


def test_no_text_quotes_content() -> None:
    canary = batch().replace(b"SMITH", b"CANARY").replace(b"SE*", b"SE*CANARY").replace(b"GE*1*1", b"GE*1*CANARY")

    found = survey([canary])

    assert codes_of(found)
    assert all(one.text == TEXTS[one.code] for one in found.findings)
    assert "CANARY" not in repr(found)


def large_set(segments: int) -> Iterator[bytes]:
    yield ISA + b"GS*BE*A*B*20250115*1200*1*X*005010X220A1~ST*834*0001~"
    for _ in range(segments // 1000):
        yield b"REF*0F*123456789012345678901234~" * 1000
    yield b"SE*%d*0001~GE*1*1~IEA*1*000000001~" % (segments + 2)


@pytest.mark.parametrize(
    "flood",
    [
        lambda: large_set(1_000_000),
        lambda: iter([ISA, *([b"A" * (1 << 20)] * 40)]),
        lambda: iter([ISA, *([b" " * (1 << 20)] * 40)]),
        lambda: iter([batch(), *([b" " * (1 << 20)] * 40)]),
        lambda: iter([batch(), *([b"junk" * (1 << 18)] * 40)]),
    ],
)
def test_memory_is_bounded_whatever_comes(flood: Callable[[], Iterator[bytes]]) -> None:
    tracemalloc.start()
    try:
        found = survey(flood())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 << 20
    assert "se01_wrong" not in codes_of(found)
    assert "stray_segment" not in codes_of(found)
