import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.spoken_answers import ACCEPTED_277, ACCEPTED_999, RESPONSES, ack_277, ack_999, corpus, interchange
from worker.x12 import UNREADABLE, Composite, kind_of, read_277ca, read_999, read_ta1

_277CA = corpus("277ca_accepted.277")
_DELIMITERS = st.permutations("|^}*~:!\x1d\x1e\x1f>").map(lambda marks: marks[:4])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (_277CA, "277"),
        (ACCEPTED_999, "999"),
        (corpus("999_pipe_caret_brace_delims.999"), "999"),
        (corpus("ta1_rejected_025.ta1"), "TA1"),
        (interchange("ST*837*0001*005010X222A1", "BHT*0019*00*1*20250101*1200*CH", "SE*3*0001"), "837"),
        (interchange("ST*835*0001", "SE*2*0001"), None),
        ("\ufeff\r\n" + ACCEPTED_999, "999"),
        (ACCEPTED_999.replace("~", "~\n"), "999"),
        ("", None),
        ("ISA", None),
        ("<html>ST*999*</html>", None),
    ],
)
def test_the_first_set_tells_what_an_answer_holds(text: str, kind: str | None) -> None:
    assert kind_of(text.encode()) == kind


def test_letters_that_end_in_st_start_no_set() -> None:
    text = interchange("N1*FAST*837*X", "ST*999*0001", "SE*2*0001")

    assert kind_of(text.encode()) == "999"


def test_a_999_with_other_delimiters_reads_the_same() -> None:
    assert read_999(corpus("999_pipe_caret_brace_delims.999").encode()) == read_999(corpus("999_accepted.999").encode())


def test_a_999_tells_where_and_what() -> None:
    found = read_999(corpus("999_rejected_ctx_clm01.999").encode())

    assert found.complete
    assert found.verdicts == ("R",)
    (note,) = found.notes
    assert (note.segment, note.position, note.loop, note.element, note.code) == ("CLM", 22, "2300", "2", "1")
    assert note.context == "CLM01:PCN00000001"
    assert found.groups[0].sets[0].codes == ("5",)


def test_components_of_an_element_in_error_are_written_with_a_colon() -> None:
    text = ack_999("E", None, "IK3*SV1*34*2400*8", "IK4*7:1*1328*I12")
    with_pipes = text.replace(":", ">").replace("*", "|")

    assert read_999(text.encode()).notes[0].element == "7:1"
    assert read_999(with_pipes.encode()) == read_999(text.encode())


def test_a_segment_error_without_elements_is_one_note() -> None:
    found = read_999(ack_999("R", None, "IK3*REF*57**3", "IK3*NM1*60*2310B*8", "IK4*9*67*1", "IK4*3**6").encode())

    assert [(note.segment, note.position, note.element, note.code) for note in found.notes] == [
        ("REF", 57, "", "3"),
        ("NM1", 60, "9", "1"),
        ("NM1", 60, "3", "6"),
    ]


def test_a_group_without_sets_speaks_for_them() -> None:
    found = read_999(corpus("999_group_rejected_no_ak2.999").encode())

    assert found.verdicts == ("R",)
    assert found.groups[0].codes == ("5",)


def test_the_word_on_a_set_is_trusted_over_that_on_its_group() -> None:
    assert read_999(ack_999("A", "R").encode()).verdicts == ("A",)
    assert read_999(corpus("999_partial_P_3sets.999").encode()).verdicts == ("A", "R", "A")


def test_a_set_whose_ik5_is_missing_takes_the_word_of_its_group() -> None:
    assert read_999(ack_999("A", "R").replace("IK5*A~", "").encode()).verdicts == ("R",)


def test_a_ta1_is_read_from_between_the_envelopes() -> None:
    (found,) = read_ta1(corpus("ta1_rejected_025.ta1").encode())

    assert (found.verdict, found.note) == ("R", "025")
    assert read_ta1(ACCEPTED_999.encode()) == ()


@pytest.mark.parametrize("before", ["~ ", "~", "~\n", "~\t "])
def test_a_ta1_beside_a_999_is_seen_however_it_is_padded(before: str) -> None:
    text = ACCEPTED_999.replace("~GS*", f"{before}TA1*1*250911*1927*R*025~GS*")

    (found,) = read_ta1(text.encode())

    assert (found.verdict, found.note) == ("R", "025")
    assert read_999(text.encode()) == read_999(ACCEPTED_999.encode())


def test_alike_999s_are_told_apart_by_every_word_that_counts() -> None:
    texts = [ack_999("A"), ack_999("A*5"), ack_999("A", "P"), ack_999("A", "A*1*1*1*7"), ack_999("R")]
    texts += [text.replace("IK5*", "IK3*") for text in texts] + [text.replace("AK2*", "AK1*") for text in texts]

    alone = [read_999(text.encode()) for text in texts]

    assert len({repr(found) for found in alone}) == len(texts)
    assert [read_999(text.encode()) for text in reversed(texts)] == alone[::-1]


def test_a_277ca_is_read_level_by_level() -> None:
    found = read_277ca(_277CA.encode())

    assert found.complete
    assert [(level.kind, level.accepted, level.rejected, level.claims) for level in found.levels] == [
        ("20", None, None, 1),
        ("21", 1, None, 1),
        ("19", None, None, 1),
    ]
    (claim,) = found.claims
    assert claim.claim_number == "PCN00000001"
    assert (claim.payer_claim_number, claim.clearinghouse_number) == ("CLM1K0001", "D9PCN00000001")
    (status,) = claim.statuses
    assert (status.code, status.action, status.amount) == (Composite("A2", "20", ""), "WQ", "170")


def test_further_composites_and_free_text_are_kept() -> None:
    text = ack_277(("TRN*2*X", "STC*A7:562:85*20250911*U*170******A3:187*A6:21:IL*NPI, NOT ON FILE"))

    (status,) = read_277ca(text.encode()).claims[0].statuses

    assert status.further == (Composite("A3", "187", ""), Composite("A6", "21", "IL"))
    assert status.text == "NPI, NOT ON FILE"


def test_statuses_of_lines_are_told_from_those_of_the_claim() -> None:
    claim = ("TRN*2*X", "STC*A2:20**WQ*9", "REF*1K*ABOVE", "SVC*HC:99213*9", "STC*A7:454**U*9", "REF*1K*LINE")

    (found,) = read_277ca(ack_277(claim).encode()).claims

    assert [each.code.category for each in found.statuses] == ["A2"]
    assert [each.code.category for each in found.line_statuses] == ["A7"]
    assert found.payer_claim_number == "ABOVE"


def test_one_patient_may_have_several_claims() -> None:
    claim = ("TRN*2*X", "STC*A2:20**WQ*9", "SVC*HC:99213*9", "STC*A7:454**U*9", "TRN*2*Y", "STC*A3:21**U*8")

    found = read_277ca(ack_277(claim).encode()).claims

    assert [(each.claim_number, len(each.statuses), len(each.line_statuses)) for each in found] == [
        ("X", 1, 1),
        ("Y", 1, 0),
    ]


def test_a_new_patient_ends_the_claim_before_it() -> None:
    first = ("TRN*2*X", "STC*A2:20**WQ*9", "SVC*HC:99213*9", "STC*A2:20**WQ*9")
    nameless = ("REF*1K*NOT-OF-X", "STC*A7:21**U*9")

    found = read_277ca(ack_277(first, nameless).encode()).claims

    assert [(each.claim_number, len(each.statuses), len(each.line_statuses)) for each in found] == [
        ("X", 1, 1),
        ("", 1, 0),
    ]
    assert found[0].payer_claim_number == ""


def test_a_new_receiver_ends_the_provider_before_it() -> None:
    text = ack_277(("TRN*2*X", "STC*A2:20**WQ*9")).replace(
        "GE*1*0",
        "ST*277*0002~HL*9**21*1~STC*A3:24**U~HL*10*9*PT~TRN*2*Y~STC*A2:20**WQ~SE*7*0002~GE*1*0",
    )

    found = read_277ca(text.encode())

    assert [[found.levels[place].kind for place in claim.above] for claim in found.claims] == [
        ["20", "21", "19"],
        ["21"],
    ]


def test_a_total_that_is_no_number_is_marked() -> None:
    text = ack_277(receiver=("QTY*90*1", "QTY*AA*one"), provider=("QTY*QA*1", "QTY*QA*2", "QTY*QC*0"))

    levels = read_277ca(text.encode()).levels

    assert (levels[1].accepted, levels[1].rejected) == (1, UNREADABLE)
    assert (levels[2].accepted, levels[2].rejected) == (3, 0)


@pytest.mark.parametrize("name", sorted(path.name for path in RESPONSES.iterdir()))
def test_no_prefix_of_an_answer_is_complete(name: str) -> None:
    data = (RESPONSES / name).read_bytes().rstrip()

    for length in range(len(data)):
        assert not read_277ca(data[:length]).complete
        assert not read_999(data[:length]).complete


@pytest.mark.parametrize("segment", ["NM1*85*2", "SE*", "ST*277", "GE*", "IEA*"])
@pytest.mark.parametrize("before", [" ", "\n", "\x1a \r\n"])
def test_padding_before_a_single_segment_changes_nothing(segment: str, before: str) -> None:
    text = _277CA.replace(f"~{segment}", f"~{before}{segment}")

    assert text != _277CA
    assert read_277ca(text.encode()) == read_277ca(_277CA.encode())


def test_text_is_read_as_its_bytes_are() -> None:
    for text in (_277CA, _277CA.replace("TESTLAST", "MU\u00d1OZ"), ACCEPTED_999, "\ufeff" + ACCEPTED_999, "ISA", ""):
        assert read_277ca(text) == read_277ca(text.encode())
        assert read_999(text) == read_999(text.encode())
        assert kind_of(text) == kind_of(text.encode())


@pytest.mark.parametrize("terminator", ["~", "~\n", "~\r\n", "\n", "\r\n", "\r", "~ ", "\x1c"])
def test_any_line_ends_read_the_same(terminator: str) -> None:
    # An ISA is as wide with a terminator of two characters: only the first is the terminator.
    text = _277CA.replace("~", terminator)

    assert read_277ca(text.encode()) == read_277ca(_277CA.encode())


def test_a_trimmed_line_end_leaves_an_answer_complete_and_a_cut_trailer_does_not() -> None:
    text = _277CA.replace("~", "\n").rstrip()

    assert read_277ca(text.encode()).complete
    assert not read_277ca(text[:-1].encode()).complete


def test_an_isa_without_padding_is_read() -> None:
    text = _277CA.replace("*00*          *00*          *", "*00**00**").replace("87726          ", "87726")

    assert read_277ca(text.encode()) == read_277ca(_277CA.encode())


def test_several_interchanges_with_delimiters_of_their_own_are_read_together() -> None:
    second = ack_277(("TRN*2*SECOND", "STC*A7:21**U*5")).replace("*", "|").replace("~", "\x1d").replace(":", "}")

    found = read_277ca((_277CA + "\r\n" + second).encode())

    assert found.complete
    assert [claim.claim_number for claim in found.claims] == ["PCN00000001", "SECOND"]
    assert found.claims[1].statuses[0].code == Composite("A7", "21", "")


@pytest.mark.parametrize("tail", ["ISA", "ISA*00*", _277CA[:90], _277CA[:300], _277CA[:-2]])
def test_a_second_interchange_that_is_cut_makes_the_answer_incomplete(tail: str) -> None:
    assert not read_277ca((_277CA + tail).encode()).complete


def test_an_unclosed_set_before_a_whole_one_makes_the_answer_incomplete() -> None:
    assert not read_277ca(_277CA.replace("ST*277*0001", "ST*277*0000~ST*277*0001").encode()).complete
    assert not read_277ca(_277CA.replace("SE*24*0001~", "").encode()).complete


def test_the_letters_isa_in_a_name_start_no_interchange() -> None:
    text = _277CA.replace("TESTLAST", "ISADORA").replace("TESTFIRST", "LISA")

    assert read_277ca(text.encode()) == read_277ca(_277CA.encode())


@given(_DELIMITERS)
def test_any_delimiters_read_the_same(marks: list[str]) -> None:
    plain = ack_277(("TRN*2*X", "STC*A7:562:85*20250911*U*170")).replace("^", "\x02")
    text = plain.translate(str.maketrans("*~:\x02", "".join(marks)))

    assert read_277ca(text.encode()) == read_277ca(plain.encode())


@given(st.binary(max_size=400) | st.text("ISATERLH*~:\n 0123", max_size=300).map(str.encode))
def test_no_bytes_make_a_reader_raise(junk: bytes) -> None:
    for data in (junk, _277CA[:106].encode() + junk, ACCEPTED_277[:400].encode() + junk + b"~IEA*1*000000000~"):
        kind_of(data)
        read_ta1(data)
        read_999(data)
        read_277ca(data)


def test_bytes_that_are_no_utf8_lose_a_name_and_no_claim() -> None:
    data = _277CA.replace("TESTLAST", "MU\u00d1OZ").encode("latin-1")

    assert read_277ca(data) == read_277ca(_277CA.encode())


@pytest.mark.parametrize("junk", ["ISA*", "ISA~", "~ISA*00", "*", "~", "ST*277*", "IEA*1~", "STC*", " ", "ISA "])
def test_time_grows_only_with_size(junk: str) -> None:
    data = (_277CA[:200] + junk * (1 << 18)).encode()

    assert not read_277ca(data).complete
    assert not read_999(data).complete
