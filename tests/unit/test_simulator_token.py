from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from tests.clocks import SetClock
from tests.unit.simulator_calls import CREDENTIALS
from worker.simulator.config import SimulatorConfig
from worker.simulator.reply import Reply
from worker.simulator.token import Tokens

FORM = "application/x-www-form-urlencoded"


def json_of(reply: Reply) -> Any:
    return msgspec.json.decode(reply.body)


def ask(tokens: Tokens, **changes: str) -> Reply:
    return tokens.answer_form(FORM, urlencode({**CREDENTIALS, **changes}).encode())


def bearer(reply: Reply) -> str:
    return f"Bearer {json_of(reply)['access_token']}"


def test_a_form_with_the_right_secret_gets_a_token() -> None:
    tokens = Tokens(SimulatorConfig(token_lifetime_s=7200))

    reply = ask(tokens)

    assert reply.status == 200
    assert json_of(reply)["token_type"] == "bearer"
    assert json_of(reply)["expires_in"] == 7200
    assert tokens.good(bearer(reply))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_the_default_endpoint_takes_nothing_but_a_form(content_type: str) -> None:
    reply = Tokens(SimulatorConfig()).answer_form(content_type, msgspec.json.encode(CREDENTIALS))

    assert reply.status == 415
    assert json_of(reply)["status"] == "415"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"client_secret": "wrong"}, 401),
        ({"client_secret": ""}, 401),
        ({"client_id": "someone"}, 401),
        ({"grant_type": "password"}, 400),
    ],
)
def test_wrong_credentials_get_the_documented_error(changes: Mapping[str, str], status: int) -> None:
    reply = ask(Tokens(SimulatorConfig()), **changes)

    assert reply.status == status
    assert set(json_of(reply)) == {"status", "failureReason", "Errors"}


def test_a_wrong_secret_is_an_invalid_client() -> None:
    assert json_of(ask(Tokens(SimulatorConfig()), client_secret="wrong"))["failureReason"] == "InvalidClient"


def test_the_older_endpoint_takes_json_and_has_errors_of_oauths_shape() -> None:
    tokens = Tokens(SimulatorConfig())

    good = tokens.answer_json("application/json", msgspec.json.encode(CREDENTIALS))
    wrong = tokens.answer_json("application/json", msgspec.json.encode({**CREDENTIALS, "client_secret": "x"}))

    assert tokens.good(bearer(good))
    assert (wrong.status, json_of(wrong)["error"]) == (401, "invalid_client")
    for content_type, body in (
        (FORM, b"grant_type=client_credentials"),
        ("application/json", b"{"),
        ("application/json", b"[]"),
    ):
        assert tokens.answer_json(content_type, body).status == 400


def test_a_token_ends_when_its_life_is_over() -> None:
    clock = SetClock()
    tokens = Tokens(SimulatorConfig(token_lifetime_s=60), clock)
    token = bearer(ask(tokens))

    clock.now += 59.0
    alive = tokens.good(token)
    clock.now += 1.0

    assert alive
    assert not tokens.good(token)


def test_a_new_token_leaves_the_old_one_good_unless_told_otherwise() -> None:
    lenient, strict = Tokens(SimulatorConfig()), Tokens(SimulatorConfig(new_token_ends_old=True))
    first, second = bearer(ask(lenient)), bearer(ask(lenient))
    third, fourth = bearer(ask(strict)), bearer(ask(strict))

    assert lenient.good(first)
    assert lenient.good(second)
    assert not strict.good(third)
    assert strict.good(fourth)


def test_revoking_ends_all_tokens() -> None:
    tokens = Tokens(SimulatorConfig())
    issued = [bearer(ask(tokens)) for _ in range(3)]

    assert tokens.revoke_all() == 3
    assert not any(tokens.good(token) for token in issued)
