import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.spoken_answers import envelope, members
from worker.precheck.answer import Envelope, Payload, is_json, printable, read_answer

_GOOD = envelope(members())
_NAMES = ("transactionId", "x12ResponseData", "responseType", "x12Response277CA", "message", "statusCode")


def read(body: bytes, content_type: str | None = "application/json", root_field: str = "claimPreCheck") -> Envelope:
    return read_answer(body, content_type, root_field)


def test_the_six_members_are_read_with_and_without_the_envelope() -> None:
    flat = msgspec.json.encode(members())

    payload = read(_GOOD).payload

    assert payload == read(flat).payload
    assert (payload.transaction_id, payload.status_code, payload.response_type) == ("T-0001", "000", "837999")
    assert payload.x12_response.startswith("ISA")
    assert payload.x12_277ca.startswith("ISA")


def test_the_root_field_is_a_setting() -> None:
    body = msgspec.json.encode({"data": {"claimSubmission": members(), "extra": {"a": 1}}})

    assert read(body, root_field="claimSubmission").payload.transaction_id == "T-0001"
    assert read(body).fault == "protocol_error"


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("absent", [None, "", " \r\n", "missing"])
def test_every_member_is_optional(name: str, absent: str | None) -> None:
    content = members() | {name: absent}
    if absent == "missing":
        del content[name]

    found = read(envelope(content))

    field = {
        "transactionId": "transaction_id",
        "x12ResponseData": "x12_response",
        "responseType": "response_type",
        "x12Response277CA": "x12_277ca",
        "message": "message",
        "statusCode": "status_code",
    }[name]
    assert found.fault == ""
    assert getattr(found.payload, field) == ""


@pytest.mark.parametrize(("written", "read_as"), [(0, "0"), (504, "504"), ("007", "007"), (" 000 ", "000"), (None, "")])
def test_a_status_code_may_be_a_number_and_keeps_its_zeros(written: Any, read_as: str) -> None:
    assert read(envelope(members() | {"statusCode": written})).payload.status_code == read_as


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"true",
        b"\xff\xfe{}",
        "{}".encode("utf-16"),
        b"\xef\xbb\xbf" + _GOOD,
        b'{"statusCode": "\xff"}',
        b'{"message": "\\ud800"}',
        b'{"message": "\\udc00 x"}',
        b'{"message": "\xed\xa0\x80"}',
        b'{"statusCode": NaN}',
        b'{"statusCode": Infinity}',
        b'{"statusCode": 1e999}',
        b'{"statusCode": ' + b"1" * 5000 + b"}",
        b'{"statusCode": "000", "extra": ' + b"1" * 5000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"statusCode": "000"',
        b'{"statusCode": "000"} {}',
        b"{'statusCode': '000'}",
        b'{"statusCode": "000",}',
        b'{"statusCode": true}',
        b'{"statusCode": 1.5}',
        b'{"statusCode": ["000"]}',
        b'{"transactionId": 5}',
        b'{"x12Response277CA": {"text": "ISA"}}',
        b'{"data": []}',
        b'{"data": "text"}',
        b'{"data": {"claimPreCheck": []}}',
        b'{"data": {"claimPreCheck": "000"}}',
        b'{"message": "a\x00b"}',
    ],
    ids=lambda body: ascii(body[:40]),
)
@pytest.mark.fault(96)
def test_whatever_is_wrong_with_the_json_is_one_fault(body: bytes) -> None:
    assert read(body) == Envelope(fault="bad_json")


@pytest.mark.fault(83)
@pytest.mark.parametrize("name", [*_NAMES, "data", "claimPreCheck", "errors"])
@pytest.mark.parametrize("spelling", ["plain", "blank", "escaped", "pretty"])
def test_a_member_given_twice_is_bad_json(name: str, spelling: str) -> None:
    where = {"data": "", "errors": "", "claimPreCheck": '"data":'}.get(name, '"data":{"claimPreCheck":')
    second = {"escaped": f'"\\u{ord(name[0]):04x}{name[1:]}":', "blank": f'"{name}" :', "pretty": f'"{name}"\n :'}
    body = f'{{{where}{"{" if where else ""}"{name}":null,{second.get(spelling, chr(34) + name + chr(34) + ":")}null'
    body += "}" * (body.count("{") - body.count("}"))
    json.loads(body)  # it is JSON all the same

    assert read(body.encode()).fault == "bad_json"


def test_the_same_name_in_two_places_is_no_repetition() -> None:
    body = envelope(members(message='say "statusCode": 5'), errors=[{"message": "a"}, {"message": "b"}])

    found = read(body)

    assert found.fault == ""
    assert len(found.errors) == 2


def test_colons_after_quotes_inside_texts_are_no_repetition() -> None:
    body = envelope(members(message='"a":"b", "c" :'))

    assert read(body).payload.message == '"a":"b", "c" :'


def test_pretty_printed_json_reads_the_same() -> None:
    assert read(json.dumps(json.loads(_GOOD), indent=2).encode()) == read(_GOOD)


@pytest.mark.fault(84)
@pytest.mark.parametrize(
    ("content_type", "is_read"),
    [
        (None, True),
        ("", True),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/json", True),
        ("application/graphql-response+json; charset=utf-8", True),
        ("application/problem+json", True),
        ("text/html", False),
        ("text/plain", False),
        ("application/xml", False),
        ("application/jsonp", False),
        ("image/x+json", False),
        ("garbage", False),
    ],
)
def test_only_json_types_are_read(content_type: str | None, *, is_read: bool) -> None:
    assert is_json(content_type) is is_read
    assert read(_GOOD, content_type).fault == ("" if is_read else "not_json")


def test_a_web_page_under_a_json_type_is_bad_json() -> None:
    assert read(b"<!DOCTYPE html><html><body>Sign in</body></html>").fault == "bad_json"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"status": "UP"}',
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": {"claimPreCheck": null}}',
        b'{"data": {"claimPreCheck": {}}}',
        b'{"data": {"claimPreCheck": {"message": "all is well"}}}',
        b'{"errors": []}',
        b'{"message": "Forbidden"}',
    ],
)
def test_json_in_which_nothing_speaks_is_a_protocol_error(body: bytes) -> None:
    assert read(body).fault == "protocol_error"


@pytest.mark.parametrize(
    ("errors", "words", "code", "message"),
    [
        ([{"message": "m", "extensions": {"classification": "ValidationError"}}], ("VALIDATIONERROR",), "", "m"),
        ([{"message": "m", "extensions": {"code": "INTERNAL_ERROR"}}], ("INTERNALERROR",), "INTERNAL_ERROR", "m"),
        ([{"code": "REQ_503", "description": "d"}], ("REQ503",), "REQ_503", "d"),
        ([{"code": 504, "description": "d"}], ("504",), "504", "d"),
        ([{"extensions": {"classification": {"deep": 1}}}], (), "", ""),
        (["plain"], (), "", "plain"),
        ("plain", (), "", "plain"),
        ({"message": "m"}, (), "", "m"),
        ([None], (), "", ""),
        (7, (), "", ""),
        ([{"message": ["x"], "extensions": []}], (), "", ""),
    ],
)
def test_errors_are_read_whatever_their_form(errors: Any, words: tuple[str, ...], code: str, message: str) -> None:
    (error,) = read(msgspec.json.encode({"errors": errors})).errors

    assert (error.words, error.code, error.message) == (words, code, message)


def test_only_so_many_errors_are_kept() -> None:
    body = msgspec.json.encode({"errors": [{"message": "m" * 10_000}] * 1000})

    errors = read(body).errors

    assert len(errors) == 32
    assert len(errors[0].message) == 4096


def test_texts_can_be_stored_anywhere() -> None:
    body = envelope(members(message="a\x00b\U0001f600", transactionId="T\r\nX\u00e9" + "9" * 500))

    payload = read(body).payload

    assert payload.message == "a\ufffdb\U0001f600"
    assert payload.transaction_id.startswith("T?X?999")
    assert len(payload.transaction_id) == 128
    msgspec.json.encode(payload)


@pytest.mark.parametrize("text", ["id-1", "\udcff\r\nX: y", "\x00", "a\u2028b", "\ud800"])
def test_ids_from_headers_are_made_printable(text: str) -> None:
    printable(text).encode("ascii")

    assert printable(text).isprintable()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*_NAMES, "data", "claimPreCheck", "errors", "extensions", "code", "x"]), inner, max_size=6
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_no_json_makes_the_reader_raise(content: Any) -> None:
    found = read(json.dumps(content).encode())

    assert isinstance(found.payload, Payload)
    msgspec.json.encode(found)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise(body: bytes) -> None:
    read(body)
    read(b'{"statusCode":"' + body + b'"}')
