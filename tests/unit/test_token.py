import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.virtualtime import START_S, virtual_time
from worker.errors import CredentialsRefused, TokenUnavailable, WorkerError
from worker.precheck.token import HOLD_S, MAX_BACKOFF_S, Grant, Token, TokenProvider
from worker.precheck.token_endpoint import DEFAULT_LIFETIME_S, read_error_code, read_grant, read_lifetime_s

ORIGIN = "https://api.example"
REFUSAL = ("invalid_client", "client id or secret refused")

Outcome = Grant | Exception


class ScriptedEndpoint:
    """Gives what `outcomes` says, then numbered tokens; each fetch takes `takes_s`."""

    def __init__(self, *outcomes: Outcome, takes_s: float = 0.0, lifetime_s: float = 3600.0) -> None:
        self.outcomes = list(outcomes)
        self.takes_s = takes_s
        self.lifetime_s = lifetime_s
        self.asked_at: list[float] = []
        self.under_way = 0
        self.new_secret = False

    async def fetch(self) -> Grant:
        self.asked_at.append(anyio.current_time() - START_S)
        self.new_secret = False
        self.under_way += 1
        assert self.under_way == 1
        try:
            await anyio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else Grant(f"token-{len(self.asked_at)}", self.lifetime_s)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def rotated(self) -> bool:
        return self.new_secret


@asynccontextmanager
async def provide(endpoint: ScriptedEndpoint) -> AsyncIterator[TokenProvider]:
    provider = TokenProvider(endpoint, ORIGIN)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.run)
        yield provider
        tasks.cancel_scope.cancel()


def down(retry_after_s: float = 0.0) -> TokenUnavailable:
    return TokenUnavailable("token_connect_refused", retry_after_s=retry_after_s)


async def error_of(get: Callable[[], object]) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        await get()  # type: ignore[misc]  # a bound coroutine function
    return caught.value


@virtual_time
async def test_nothing_is_asked_before_somebody_needs_a_token() -> None:
    endpoint = ScriptedEndpoint()

    async with provide(endpoint):
        await anyio.sleep(86_400)

    assert endpoint.asked_at == []


@virtual_time
async def test_a_thousand_callers_share_one_fetch() -> None:
    endpoint = ScriptedEndpoint(takes_s=3)
    got: list[Token] = []

    async with provide(endpoint) as provider:

        async def call() -> None:
            got.append(await provider.get())

        async with anyio.create_task_group() as callers:
            for _ in range(1000):
                callers.start_soon(call)

    assert len(got) == 1000
    assert {(token.generation, token.value, token.header) for token in got} == {
        (1, "token-1", b"Authorization: Bearer token-1\r\n")
    }
    assert len(endpoint.asked_at) == 1


@virtual_time
async def test_a_token_is_renewed_ahead_of_its_end_without_anybody_waiting() -> None:
    endpoint = ScriptedEndpoint(takes_s=30)

    async with provide(endpoint) as provider:
        await provider.get()
        for _ in range(24 * 60):
            await anyio.sleep(60)
            before = anyio.current_time()
            await provider.get()
            assert anyio.current_time() == before

    gaps = [later - earlier for earlier, later in zip(endpoint.asked_at, endpoint.asked_at[1:], strict=False)]
    assert all(0.75 * 3600 <= gap <= 0.85 * 3600 for gap in gaps)
    assert len(set(gaps)) > 1


@pytest.mark.fault(69)
@virtual_time
async def test_the_old_token_serves_while_a_new_one_is_slow_to_come() -> None:
    endpoint = ScriptedEndpoint()

    async with provide(endpoint) as provider:
        await provider.get()
        endpoint.takes_s = 400
        await anyio.sleep(3070)
        assert len(endpoint.asked_at) == 2
        assert (await provider.get()).generation == 1
        await anyio.sleep(401)
        assert (await provider.get()).generation == 2


@virtual_time
async def test_a_life_counts_from_the_moment_of_asking() -> None:
    endpoint = ScriptedEndpoint(Grant("short", 20.0), *[down()] * 50, takes_s=8)

    async with provide(endpoint) as provider:
        assert (await provider.get()).value == "short"
        await anyio.sleep(11.9)
        assert (await provider.get()).value == "short"
        await anyio.sleep(0.2)
        with pytest.raises(TokenUnavailable):
            await provider.get()


@virtual_time
async def test_the_old_token_serves_to_its_end_while_renewal_fails() -> None:
    endpoint = ScriptedEndpoint(Grant("first", 3600.0), *[down()] * 1000)

    async with provide(endpoint) as provider:
        await provider.get()
        await anyio.sleep(3599)
        assert (await provider.get()).value == "first"
        await anyio.sleep(2)
        error = await error_of(provider.get)

    assert isinstance(error, TokenUnavailable)
    assert 0 < error.retry_after_s <= MAX_BACKOFF_S
    assert 15 < len(endpoint.asked_at) < 100


@pytest.mark.fault(68)
@virtual_time
async def test_a_failure_is_remembered_so_that_nothing_hammers_the_endpoint() -> None:
    endpoint = ScriptedEndpoint(*[down()] * 10_000)

    async with provide(endpoint) as provider:
        first = await error_of(provider.get)
        asked = len(endpoint.asked_at)
        for _ in range(1000):
            await error_of(provider.get)
        assert len(endpoint.asked_at) == asked == 1
        until = anyio.current_time() + 3600
        while anyio.current_time() < until:
            await error_of(provider.get)
            await anyio.sleep(0.05)

    assert isinstance(first, TokenUnavailable)
    assert 0 < first.retry_after_s <= 1
    assert 3600 / MAX_BACKOFF_S < len(endpoint.asked_at) < 3600 / MAX_BACKOFF_S * 2 + 10


@virtual_time
async def test_after_a_failure_the_first_to_ask_gets_a_token_once_it_may_be_tried_again() -> None:
    endpoint = ScriptedEndpoint(down())

    async with provide(endpoint) as provider:
        error = await error_of(provider.get)
        assert isinstance(error, TokenUnavailable)
        await anyio.sleep(error.retry_after_s)
        token = await provider.get()

    assert token.generation == 1


@pytest.mark.fault(72)
@virtual_time
async def test_a_retry_after_is_obeyed() -> None:
    endpoint = ScriptedEndpoint(down(retry_after_s=120))

    async with provide(endpoint) as provider:
        error = await error_of(provider.get)
        await anyio.sleep(119)
        await error_of(provider.get)
        await anyio.sleep(1)
        await provider.get()

    assert isinstance(error, TokenUnavailable)
    assert error.retry_after_s == 120
    assert endpoint.asked_at == [0, 120]


@pytest.mark.fault(71)
@virtual_time
async def test_refused_credentials_are_told_to_all_and_tried_once_a_minute() -> None:
    endpoint = ScriptedEndpoint(*[CredentialsRefused(*REFUSAL)] * 100)

    async with provide(endpoint) as provider:
        for _ in range(6000):
            error = await error_of(provider.get)
            assert isinstance(error, CredentialsRefused)
            assert str(error) == "invalid_client: client id or secret refused"
            await anyio.sleep(0.1)

    assert endpoint.asked_at == pytest.approx([HOLD_S * n for n in range(10)], abs=1)


@pytest.mark.fault(79)
@virtual_time
async def test_a_new_secret_is_tried_without_waiting_and_once_only() -> None:
    endpoint = ScriptedEndpoint(*[CredentialsRefused(*REFUSAL)] * 2)

    async with provide(endpoint) as provider:
        await error_of(provider.get)
        await anyio.sleep(3)
        endpoint.new_secret = True
        for _ in range(5):
            await error_of(provider.get)
        await anyio.sleep(3)
        endpoint.new_secret = True
        token = await provider.get()

    assert token.generation == 1
    assert endpoint.asked_at == [0, 3, 6]


@virtual_time
async def test_a_new_secret_does_not_hasten_what_it_cannot_mend() -> None:
    endpoint = ScriptedEndpoint(TokenUnavailable("token_http_503", retry_after_s=20))

    async with provide(endpoint) as provider:
        await error_of(provider.get)
        endpoint.new_secret = True
        error = await error_of(provider.get)

    assert isinstance(error, TokenUnavailable)
    assert endpoint.asked_at == [0]


@virtual_time
async def test_every_caller_gets_an_exception_of_its_own() -> None:
    endpoint = ScriptedEndpoint(CredentialsRefused(*REFUSAL), takes_s=1)
    errors: list[WorkerError] = []

    async with provide(endpoint) as provider:

        async def call() -> None:
            errors.append(await error_of(provider.get))

        async with anyio.create_task_group() as callers:
            for _ in range(3):
                callers.start_soon(call)

    assert len({id(error) for error in errors}) == 3


@pytest.mark.fault(75)
@virtual_time
async def test_any_number_of_refusals_of_one_generation_make_one_fetch() -> None:
    endpoint = ScriptedEndpoint(takes_s=2)
    generations: list[int] = []

    async with provide(endpoint) as provider:
        token = await provider.get()
        provider.accepted(token.generation)

        async def call(answered_after_s: float) -> None:
            await anyio.sleep(answered_after_s)
            provider.refused(token.generation)
            generations.append((await provider.get()).generation)

        async with anyio.create_task_group() as callers:
            for number in range(5000):
                callers.start_soon(call, number / 500)

    assert generations == [2] * 5000
    assert len(endpoint.asked_at) == 2


@virtual_time
async def test_a_late_refusal_of_an_older_generation_changes_nothing() -> None:
    endpoint = ScriptedEndpoint()

    async with provide(endpoint) as provider:
        await provider.get()
        provider.refused(1)
        token = await provider.get()
        provider.refused(1)

        assert await provider.get() is token

    assert len(endpoint.asked_at) == 2


@pytest.mark.fault(76)
@virtual_time
async def test_a_fresh_token_refused_as_well_is_the_end_for_a_minute() -> None:
    endpoint = ScriptedEndpoint()

    async with provide(endpoint) as provider:
        for generation in (1, 2):
            assert (await provider.get()).generation == generation
            provider.refused(generation)
        for _ in range(590):
            error = await error_of(provider.get)
            await anyio.sleep(0.1)
        assert isinstance(error, CredentialsRefused)
        assert error.code == "unauthorized"
        await anyio.sleep(1.1)
        assert (await provider.get()).generation == 3
        provider.refused(3)
        await error_of(provider.get)

    assert len(endpoint.asked_at) == 3


@virtual_time
async def test_a_token_that_was_accepted_may_be_refused_later_and_is_replaced() -> None:
    endpoint = ScriptedEndpoint()

    async with provide(endpoint) as provider:
        for generation in range(1, 20):
            assert (await provider.get()).generation == generation
            provider.accepted(generation)
            await anyio.sleep(60)
            provider.refused(generation)

    assert len(endpoint.asked_at) == 19


@virtual_time
async def test_a_token_renewed_in_time_is_as_good_as_the_first_even_after_a_refusal() -> None:
    endpoint = ScriptedEndpoint()

    async with provide(endpoint) as provider:
        await provider.get()
        provider.refused(1)
        assert (await provider.get()).generation == 2
        provider.accepted(2)
        await anyio.sleep(3100)
        assert (await provider.get()).generation == 3
        provider.refused(3)

        assert (await provider.get()).generation == 4


@pytest.mark.fault(80)
@virtual_time
async def test_a_cancelled_caller_harms_nobody() -> None:
    endpoint = ScriptedEndpoint(takes_s=5)
    got: list[Token] = []

    async with provide(endpoint) as provider:

        async def wait_long() -> None:
            got.append(await provider.get())

        async with anyio.create_task_group() as callers:
            with anyio.move_on_after(1) as scope:
                await provider.get()
            callers.start_soon(wait_long)
        assert scope.cancelled_caught

    assert [token.generation for token in got] == [1]
    assert endpoint.asked_at == [0]


@pytest.mark.fault(73)
@virtual_time
async def test_the_shortest_and_the_longest_life_are_bounded() -> None:
    endpoint = ScriptedEndpoint(Grant("none", -5.0), Grant("endless", 1e12))

    async with provide(endpoint) as provider:
        assert (await provider.get()).value == "none"
        await anyio.sleep(1)
        assert (await provider.get()).value == "endless"
        await anyio.sleep(86_400)

    first, second, third, *_ = endpoint.asked_at
    assert 0.75 <= second - first <= 0.85
    assert 0.75 * 86_400 <= third - second <= 0.85 * 86_400


@pytest.mark.fault(73)
@pytest.mark.parametrize("lifetime_s", [0.0, 5.0, 10.0])
@virtual_time
async def test_a_token_that_takes_longer_to_come_than_it_lives_is_used_for_a_second(lifetime_s: float) -> None:
    endpoint = ScriptedEndpoint(takes_s=10.0, lifetime_s=lifetime_s)

    async with provide(endpoint) as provider:
        with anyio.fail_after(11):
            assert (await provider.get()).value == "token-1"
        await anyio.sleep(0.9)
        assert (await provider.get()).value == "token-1"
        with anyio.fail_after(11):
            await anyio.sleep(0.2)
            assert (await provider.get()).value == "token-2"
        await anyio.sleep(600)

    assert len(endpoint.asked_at) <= 64  # never a second one at a time, and a pause between them


@virtual_time
async def test_refusals_renewals_and_failures_in_any_order_never_wedge_the_provider() -> None:
    dice = random.Random(7)
    endpoint = ScriptedEndpoint(takes_s=0.2, lifetime_s=40)

    async with provide(endpoint) as provider:
        for _ in range(3000):
            match dice.randrange(6):
                case 0:
                    endpoint.outcomes = [down()] * dice.randrange(3)
                case 1:
                    endpoint.outcomes = [CredentialsRefused(*REFUSAL)]
                case 2:
                    provider.refused(dice.randrange(1, 400))
                case _:
                    pass
            await anyio.sleep(dice.random() * 10)
            try:
                with anyio.fail_after(5):
                    token = await provider.get()
            except WorkerError:
                continue
            if dice.random() < 0.2:
                provider.refused(token.generation)
            else:
                provider.accepted(token.generation)
        endpoint.outcomes = []
        await anyio.sleep(HOLD_S)

        assert (await provider.get()).value == f"token-{len(endpoint.asked_at)}"


@virtual_time
async def test_a_token_is_in_no_repr() -> None:
    async with provide(ScriptedEndpoint(Grant("canary-token", 60.0))) as provider:
        token = await provider.get()

        assert "canary" not in f"{token!r} {token} {provider!r} {Grant('canary-token', 60.0)!r}"


@pytest.mark.fault(73)
@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        ("3600", 3600.0),
        ("7200", 7200.0),
        ('"3600"', 3600.0),
        ("5", 5.0),
        ("0", 0.0),
        ("-1", -1.0),
        ('"-1"', -1.0),
        ("1e12", 1e12),
        ("9" * 400, 1e12),
        ("1e999", DEFAULT_LIFETIME_S),
        ("NaN", DEFAULT_LIFETIME_S),
        ("-Infinity", DEFAULT_LIFETIME_S),
        ("null", DEFAULT_LIFETIME_S),
        ("true", DEFAULT_LIFETIME_S),
        ("[3600]", DEFAULT_LIFETIME_S),
        ('"abc"', DEFAULT_LIFETIME_S),
        ('""', DEFAULT_LIFETIME_S),
        ('"\\u0663\\u0666"', DEFAULT_LIFETIME_S),
        ('"1_000"', DEFAULT_LIFETIME_S),
    ],
)
def test_a_life_is_read_however_it_is_written(expires_in: str, seconds: float) -> None:
    grant = read_grant(f'{{"access_token": "t", "token_type": "bearer", "expires_in": {expires_in}}}'.encode())

    assert grant.lifetime_s == seconds


@pytest.mark.fault(73)
def test_a_missing_life_is_five_minutes() -> None:
    assert read_grant(b'{"access_token": "t", "token_type": "Bearer"}').lifetime_s == 300
    assert read_lifetime_s(None) == 300


@pytest.mark.fault(74)
@pytest.mark.parametrize(
    "token",
    ["", "a b", "a\r\nX-Evil: 1", "a\n", "\u00e9", "\u0000", "x" * 17_000, None, 5, ["t"]],
    ids=lambda token: repr(token)[:20],
)
def test_a_token_that_cannot_stand_in_a_header_is_refused(token: object) -> None:
    with pytest.raises(TokenUnavailable, match="token_unusable"):
        read_grant(json.dumps({"access_token": token, "token_type": "bearer"}).encode())


@pytest.mark.fault(74)
@pytest.mark.parametrize("kind", ['"mac"', '""', "5", "null"])
def test_only_bearer_tokens_are_taken(kind: str) -> None:
    with pytest.raises(TokenUnavailable, match="token_not_bearer"):
        read_grant(f'{{"access_token": "t", "token_type": {kind}}}'.encode())


@pytest.mark.fault(70)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"t"', b"{", b"<html>", b"\xff\xfe", b"[" * 60_000, b'{"expires_in":' + b"9" * 5000]
)
def test_an_answer_that_is_no_token_is_told_without_its_text(body: bytes) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_grant(body)

    assert str(caught.value) == "token unavailable: token_bad_json"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"status":"401","failureReason":"InvalidClient","Errors":["canary"]}', "invalid_client"),
        (b'{"error":"invalid_client","error_description":"canary"}', "invalid_client"),
        (b'{"error":"unauthorized_client"}', "unauthorized_client"),
        (b'{"error":"invalid_scope"}', "invalid_scope"),
        (b'{"error":"canary"}', None),
        (b'{"error":{"code":"invalid_client"}}', None),
        (b"<html>canary</html>", None),
        (b"", None),
    ],
)
def test_an_error_is_known_by_its_code_in_both_documented_shapes(body: bytes, code: str | None) -> None:
    assert read_error_code(body) == code
