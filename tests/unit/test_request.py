import json
import re
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.claim import Batch, Claim
from worker.precheck.exchange import header_lines
from worker.precheck.request import Request, RequestBuilder, new_correlation_id
from worker.settings import ApiSettings, Settings
from worker.x12 import ClaimFacts
from worker.x12 import text as x12_text

X12 = b"ISA*00*~NM1*IL*1*CANARY*JANE~SE*2*0001~IEA*1*000000001~"
QUERY = 'query q($input: ClaimInput!) { claimPreCheck(input: $input) { message } } # "quoted"\n'


def make_claim(interchange: bytes = X12, tax_id: str = "123456789", payer_id: str = "87726") -> Claim:
    batch = Batch(number=1, batch_id="b" * 20, name="one.837", received_at=0.0)
    return Claim(batch, 1, interchange, ClaimFacts(provider_tax_id=tax_id, payer_id=payer_id))


def build(claim: Claim, settings: Settings | None = None) -> Request:
    request = RequestBuilder(settings or Settings()).build(claim)
    assert request is not None
    return request


def headers_of(request: Request) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in request.headers.decode().removesuffix("\r\n").split("\r\n"))


def test_the_graphql_body_is_query_and_variables() -> None:
    settings = Settings(api=ApiSettings(query=QUERY))

    body = json.loads(build(make_claim(), settings).body)

    assert body == {
        "query": QUERY,
        "variables": {"input": {"x12RequestData": X12.decode(), "payerId": "87726"}},
    }


def test_the_flat_body_is_the_interchange_alone() -> None:
    settings = Settings(api=ApiSettings(request_format="flat"))

    assert json.loads(build(make_claim(), settings).body) == {"x12RequestData": X12.decode()}


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_bytes_become_a_body_that_says_just_that(interchange: bytes, payer_id: str) -> None:
    body = json.loads(build(make_claim(interchange, payer_id=payer_id)).body)

    sent = body["variables"]["input"]
    assert sent["payerId"] == payer_id
    assert interchange in (sent["x12RequestData"].encode(), sent["x12RequestData"].encode("latin-1", "replace"))


@pytest.mark.parametrize(
    ("interchange", "text"),
    [("MÜLLER".encode(), "MÜLLER"), (b"M\xdcLLER", "MÜLLER"), (b"\xc3", "Ã"), (b"", "")],
)
def test_names_are_read_as_utf_8_or_else_as_latin_1(interchange: bytes, text: str) -> None:
    assert x12_text(interchange) == text


def test_the_headers_are_those_of_the_contract() -> None:
    request = build(make_claim())

    assert headers_of(request) == {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "providerTaxId": "123456789",
        "x-optum-consumer-correlation-id": request.correlation_id,
    }


@pytest.mark.parametrize(("environment", "asked"), [("simulator", None), ("sandbox", "sandbox"), ("production", None)])
def test_only_the_sandbox_is_asked_for_mock_answers(environment: str, asked: str | None) -> None:
    settings = Settings(environment=environment)  # type: ignore[arg-type]  # a plain str from the table above

    assert headers_of(build(make_claim(), settings)).get("environment") == asked


def test_extra_headers_are_added() -> None:
    settings = Settings(api=ApiSettings(headers={"x-tenant": "north"}))

    assert headers_of(build(make_claim(), settings))["x-tenant"] == "north"


@pytest.mark.parametrize(
    "tax_id", ["", "12-3456789", "123456789\r\nX-Evil: 1", "12 3", "١٢٣٤٥٦٧٨٩", "²³", "1" * 21, "ABC"]
)
def test_a_tax_id_that_cannot_stand_in_a_header_is_never_sent(tax_id: str) -> None:
    assert RequestBuilder(Settings()).build(make_claim(tax_id=tax_id)) is None


def test_every_attempt_has_a_correlation_id_of_its_own() -> None:
    claim = make_claim()
    builder = RequestBuilder(Settings())

    requests = [builder.build(claim) for _ in range(100)]

    assert len({request.correlation_id for request in requests if request}) == 100


def test_a_correlation_id_is_a_random_uuid() -> None:
    drawn = [new_correlation_id() for _ in range(2000)]

    assert len(set(drawn)) == 2000
    for text in drawn:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00", "a\x7f", "a\x85b"])
def test_a_header_cannot_smuggle_in_another(value: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        header_lines({"x-tenant": value})


def test_a_request_shows_nothing_of_its_claim() -> None:
    shown = repr(build(make_claim()))

    assert not re.search("CANARY|123456789|87726", shown)


def test_a_child_process_draws_ids_of_its_own() -> None:
    script = (
        "import os\n"
        "from worker.precheck.request import new_correlation_id\n"
        "new_correlation_id()\n"
        "child = os.fork()\n"
        "child and os.waitpid(child, 0)\n"
        "os.write(1, new_correlation_id().encode() + b' ')\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=True)

    assert len(set(done.stdout.split())) == 2
