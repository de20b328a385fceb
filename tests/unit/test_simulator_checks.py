"""Every check that the simulator makes of a request, in order, and what it answers to each."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator_calls import Caller, body_of, element, one_claim
from worker.result import Disposition
from worker.settings.service import PRECHECK_QUERY
from worker.simulator.config import SimulatorConfig
from worker.simulator.generator import GeneratorSpec, generate
from worker.simulator.precheck import Decision
from worker.simulator.reply import Reply


def json_of(reply: Reply) -> Any:
    return msgspec.json.decode(reply.body)


def code_of(decision: Decision) -> str:
    assert decision.reply.status == 200
    return str(json_of(decision.reply)["data"]["claimPreCheck"]["statusCode"])


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer nonsense", "Basic c2ltOnNpbQ=="])
def test_a_call_without_a_good_bearer_gets_401(authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    decision = Caller().send(one_claim(), headers=headers)

    assert (decision.reply.status, json_of(decision.reply)) == (401, {"message": "Unauthorized", "statusCode": 401})


def test_a_body_that_is_not_declared_as_json_gets_415() -> None:
    caller = Caller()

    decision = caller.precheck.decide({"Authorization": caller.bearer}, "text/plain", body_of(one_claim()))

    assert decision.reply.status == 415


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"query": 5}', b'{"query": "{"}'])
def test_a_body_without_a_query_that_can_be_read_gets_400(body: bytes) -> None:
    decision = Caller().send(one_claim(), body=body)

    assert decision.reply.status == 400
    assert json_of(decision.reply)["errors"][0]["extensions"]["classification"] == "InvalidSyntax"


def test_an_unknown_field_is_named_with_its_place() -> None:
    query = "query q($input: ClaimInput!) {\n  claimPreCheck(input: $input) { transactionId colour } }"

    decision = Caller().send(one_claim(), body=body_of(one_claim(), query=query))

    (error,) = json_of(decision.reply)["errors"]
    assert decision.reply.status == 400
    assert "'colour' in type 'ClaimResponse' is undefined" in error["message"]
    assert error["locations"] == [{"line": 2, "column": 48}]
    assert error["extensions"] == {"classification": "ValidationError"}


@pytest.mark.parametrize(
    "query",
    [
        PRECHECK_QUERY.replace("claimPreCheck(", "claimSubmission("),
        PRECHECK_QUERY.replace("(input: $input)", ""),
        PRECHECK_QUERY.replace("(input: $input)", "(input: 5)"),
        PRECHECK_QUERY.replace("(input: $input)", "(claim: $input)"),
        re.sub(r"\{ transactionId.*?\}", "{ }", PRECHECK_QUERY),
        re.sub(r"\{ transactionId.*?\}", "", PRECHECK_QUERY),
        PRECHECK_QUERY.removesuffix("}"),
        PRECHECK_QUERY + " }",
    ],
)
def test_a_query_for_anything_else_gets_400(query: str) -> None:
    assert Caller().send(one_claim(), body=body_of(one_claim(), query=query)).reply.status == 400


@pytest.mark.parametrize(
    "variables",
    [
        None,
        {},
        {"input": None},
        {"input": {}},
        {"input": {"payerId": "87726"}},
        {"input": {"x12RequestData": "ISA"}},
        {"input": {"x12RequestData": "ISA", "payerId": 87726}},
        {"claim": {"x12RequestData": "ISA", "payerId": "87726"}},
    ],
)
def test_a_missing_variable_gets_400(variables: Any) -> None:
    body = msgspec.json.encode({"query": PRECHECK_QUERY, "variables": variables})

    assert Caller().send(one_claim(), body=body).reply.status == 400


def test_only_what_was_selected_is_answered_under_the_names_asked_for() -> None:
    query = "query($in: ClaimInput!) { check: claimPreCheck(input: $in) { id: transactionId, statusCode __typename } }"
    x12 = one_claim()
    variables = {"in": {"x12RequestData": x12, "payerId": element(x12, "NM1*PR", 9)}}

    decision = Caller().send(x12, body=msgspec.json.encode({"query": query, "variables": variables}))

    answer = json_of(decision.reply)["data"]["check"]
    assert answer == {"id": decision.transaction_id, "statusCode": "000", "__typename": "ClaimResponse"}


def test_the_flat_form_is_answered_flat() -> None:
    x12 = one_claim()

    decision = Caller().send(x12, body=msgspec.json.encode({"x12RequestData": x12}))

    assert decision.reply.status == 200
    assert json_of(decision.reply)["responseType"] == "837999"


def test_the_flat_form_can_be_turned_off() -> None:
    x12 = one_claim()

    decision = Caller(SimulatorConfig(flat_allowed=False)).send(x12, body=msgspec.json.encode({"x12RequestData": x12}))

    assert decision.reply.status == 400


def test_a_missing_provider_tax_id_gets_400_and_means_rejected() -> None:
    caller = Caller()

    decision = caller.send(one_claim(), headers={"Authorization": caller.bearer})

    assert decision.reply.status == 400
    assert "providerTaxId" in json_of(decision.reply)["errors"][0]["message"]
    assert decision.meaning is Disposition.REJECTED


def test_a_tax_id_other_than_the_claims_gets_701() -> None:
    caller = Caller()

    decision = caller.send(one_claim(), headers={"Authorization": caller.bearer, "providerTaxId": "891111111"})

    assert code_of(decision) == "701"
    assert decision.meaning is Disposition.REJECTED


def test_with_both_tax_ids_the_employers_decides() -> None:
    x12 = one_claim().replace("REF*EI*890000000", "REF*SY*111223333~\nREF*EI*890000000").replace("SE*", "SE*0")
    count = int(element(x12, "SE*", 1)) + 1

    x12 = re.sub(r"SE\*\d+", f"SE*{count}", x12)

    assert code_of(Caller().send(x12)) == "000"


@pytest.mark.parametrize("claims", [2, 3])
def test_several_claims_get_702(claims: int) -> None:
    x12 = b"".join(generate(GeneratorSpec(claims=claims, providers=1))).decode()

    assert code_of(Caller().send(x12)) == "702"


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"\AISA", "ISB"),
        (r"(?s)SE\*.*", ""),
        (r"SE\*\d+", "SE*99"),
        (r"SE\*(\d+)\*0001", r"SE*\1*0002"),
        (r"GE\*1\*1", "GE*2*1"),
        (r"GE\*1\*1", "GE*1*2"),
        (r"IEA\*1\*", "IEA*2*"),
        (r"IEA\*1\*000000001", "IEA*1*000000002"),
        (r"\Z", "TRAILING"),
        (r"ST\*837", "ST*835"),
        (r"GS\*HC", "GS*HB"),
        (r"(GS.*)005010X222A1", r"\g<1>005010X224A2"),
        (r"GS\*.*~\n", "GS*HC~\n"),
        (r"(?s)GS.*GE\*1\*1~\n", ""),
        (r"(?s)CLM\*.*(?=SE\*)", ""),
    ],
)
def test_malformed_x12_gets_706(pattern: str, replacement: str) -> None:
    x12 = one_claim()
    broken = re.sub(pattern, replacement, x12, count=1)

    caller = Caller()
    headers = {"Authorization": caller.bearer, "providerTaxId": "890000000"}
    decision = caller.send(x12, headers=headers, body=body_of(broken, payer_id="87726"))

    assert broken != x12
    assert code_of(decision) == "706"
    assert decision.meaning is Disposition.REJECTED


def test_a_payer_that_is_not_supported_gets_521() -> None:
    assert code_of(Caller().send(one_claim(payers=("99999",)))) == "521"


def test_a_payer_id_other_than_the_claims_gets_521() -> None:
    x12 = one_claim(payers=("87726",))

    assert code_of(Caller().send(x12, body=body_of(x12, payer_id="03432"))) == "521"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("HL*1**20*1", "HL*7**20*1", "IK3*HL*6*2000*8~"),
        ("HL*2*1*22*0", "HL*3*1*22*0", "IK4*1**7~"),
        ("HL*2*1*22*0", "HL*2*2*22*0", "IK4*2**7~"),
        ("HL*2*1*22*0", "HL*2*1*24*0", "IK4*3**7~"),
        ("HL*2*1*22*0", "HL*2*1*22*1", "IK4*4**7~"),
        ("HL*2*1*22*0", "HL*2**20*0", "IK3*HL*6*2000*3~"),
        ("SBR*P*18", "SBR*P*", "IK3*SBR*13*2000B*8~"),
        ("NM1*IL*", "NM1*74*", "2010BA*3~"),
    ],
)
def test_loops_in_disorder_are_rejected_by_a_999_that_says_where(old: str, new: str, where: str) -> None:
    x12 = one_claim()
    broken = x12.replace(old, new)

    decision = Caller().send(broken)

    members = json_of(decision.reply)["data"]["claimPreCheck"]
    assert broken != x12
    assert where in members["x12ResponseData"]
    assert "~IK5*R*5~" in members["x12ResponseData"]
    assert members["x12Response277CA"] == ""
    assert decision.meaning is Disposition.REJECTED


def test_correlation_and_trace_come_back_as_headers() -> None:
    caller, x12 = Caller(), one_claim()
    headers = {
        "Authorization": caller.bearer,
        "providerTaxId": element(x12, "REF*EI", 2),
        "x-optum-consumer-correlation-id": "7f1c",
        "environment": "sandbox",
    }

    decision = caller.send(x12, headers=headers)

    assert decision.reply.headers["x-optum-correlation-id"] == "7f1c"
    assert len(decision.reply.headers["x-optum-trace-id"]) == 32
    assert caller.precheck.stats.mock_answers_asked == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 1200), st.integers(0, 3), st.text("*:^~\n0129AHLSETGI\u00e9|", max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_any_damage_to_a_claim_is_answered_with_a_code(
    damage: list[tuple[int, int, str]],
) -> None:
    whole = broken = one_claim("REJ7-")
    for at, removed, inserted in damage:
        broken = broken[:at] + inserted + broken[at + removed :]

    decision = Caller().send(whole, body=body_of(broken, payer_id=element(whole, "NM1*PR", 9)))

    assert code_of(decision).isalnum()
