import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.precheck.codes import CodeTable
from worker.settings.codes import CodeClass, code_problems

# contract.md §4, written out by hand and apart from the table under test: every number of every range.
_RETRY = {202, 303, 306, 401, 402, 403, 406, 407, 503, 606, 612, 613, 614, 615, 616, 617, 618, 619, 907, 927}
_PLATFORM = {107, 114, 117, 505}
_NO_MEMBER = {109, 301, 302, 304, 305, 404, 405, 408, 413, 504, 510}
_INVALID = (set(range(101, 134)) - _PLATFORM - _NO_MEMBER) | {506, 507, 508, 509, 605, 607, 608, 611, 902}
_OTHER_REJECTED = {501, 511, 512, 520, 521, 701, 702, 706, 926}
_DECIDE = {0, 200}


@pytest.mark.parametrize("code", sorted(_RETRY))
def test_codes_of_unavailable_systems_are_retried(code: int) -> None:
    meaning = CodeTable().meaning(str(code))

    assert meaning.code_class is CodeClass.RETRY
    assert "not available" in meaning.text


@pytest.mark.parametrize(
    ("codes", "words"),
    [(_PLATFORM, "platform or plan"), (_NO_MEMBER, "member was not found"), (_INVALID, "invalid or missing data")],
)
def test_final_codes_say_why_in_words(codes: set[int], words: str) -> None:
    for code in codes:
        meaning = CodeTable().meaning(str(code))

        assert meaning.code_class is CodeClass.REJECTED, code
        assert words in meaning.text, code


def test_every_number_up_to_999_has_the_class_of_the_contract() -> None:
    table = CodeTable()
    rejected = _PLATFORM | _NO_MEMBER | _INVALID | _OTHER_REJECTED

    for code in range(1000):
        expected = (
            CodeClass.DECIDE
            if code in _DECIDE
            else CodeClass.RETRY
            if code in _RETRY
            else CodeClass.REJECTED
            if code in rejected
            else CodeClass.REVIEW
        )
        for spelling in {str(code), f"{code:03}", f"{code:06}"}:
            meaning = table.meaning(spelling)
            assert meaning.code_class is expected, spelling
            assert meaning.known is (code in _DECIDE | _RETRY | rejected), spelling


def test_an_absent_code_leaves_the_decision_to_the_acknowledgements() -> None:
    assert CodeTable().meaning("").code_class is CodeClass.DECIDE


@pytest.mark.parametrize(
    "code", ["GTW_12", "REQ_503", "\u0663\u0660\u0663", "-303", "303.0", "3 0 3", "1" * 5000, "OK"]
)
def test_what_is_not_in_the_table_is_unknown(code: str) -> None:
    meaning = CodeTable().meaning(code)

    assert (meaning.code_class, meaning.known) == (CodeClass.REVIEW, False)


def test_an_override_beats_the_table_and_a_single_code_beats_a_range() -> None:
    table = CodeTable({"300-310": "review", "0304": "retry", "GTW_12": "retry", "900-999999": "rejected"})

    assert table.meaning("303").code_class is CodeClass.REVIEW
    assert table.meaning("310").code_class is CodeClass.REVIEW
    assert table.meaning("304").code_class is CodeClass.RETRY
    assert table.meaning("gtw_12").code_class is CodeClass.RETRY
    assert table.meaning("00907").code_class is CodeClass.REJECTED
    assert table.meaning("123456").code_class is CodeClass.REJECTED
    assert table.meaning("311").known is False
    assert table.meaning("306").known


def test_an_overridden_code_keeps_its_words() -> None:
    table = CodeTable({"504": "retry", "301-302": "review"})

    assert "member was not found" in table.meaning("504").text
    assert "member was not found" in table.meaning("301").text


def test_a_table_is_not_changed_by_another_one() -> None:
    CodeTable({"504": "retry", "0-999": "decide"})

    assert CodeTable().meaning("504").code_class is CodeClass.REJECTED
    assert CodeTable().meaning("999").known is False


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"504": "accept"}, "must be one of decide, retry, rejected, review"),
        ({"504": "Retry"}, "must be one of"),
        ({"": "retry"}, "must be a code like"),
        ({"1 2": "retry"}, "must be a code like"),
        ({"-5": "retry"}, "must be a code like"),
        ({"310-300": "retry"}, "from the lower to the higher"),
        ({"300-310": "retry", "305-320": "review"}, "overlap and differ"),
        ({"7": "retry", "007": "review"}, "same code and differ"),
        ({"gtw_1": "retry", "GTW_1": "review"}, "same code and differ"),
    ],
)
def test_a_wrong_override_is_a_problem_and_no_table(overrides: dict[str, str], words: str) -> None:
    (problem,) = code_problems(overrides)

    assert words in problem.text
    with pytest.raises(ValueError, match=r"^api\.codes[.:]"):
        CodeTable(overrides)


def test_all_problems_are_named_at_once() -> None:
    assert len(code_problems({"9-1": "retry", "x y": "review", "504": "never"})) == 3


def test_good_overrides_are_no_problem() -> None:
    assert code_problems({"300 - 310": "retry", "305\u2013320": "retry", "GTW-12": "review", "000": "decide"}) == []
    assert code_problems({}) == []


@given(st.text(max_size=30))
@example("\u00b2")  # a digit for `str.isdigit`, none for `int`
def test_no_code_makes_the_table_raise(code: str) -> None:
    CodeTable({"5-700": "retry"}).meaning(code)
    code_problems({code: code, "1-2": code})
