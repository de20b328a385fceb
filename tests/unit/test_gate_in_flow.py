"""A shut gate and what opens it again, with the whole flow around it and hours of virtual time."""

import anyio
import pytest

from tests.unit.test_submitter import ACCEPTED, UNAVAILABLE, pace, results_after, settings
from tests.virtualtime import run
from worker.claim import Claim
from worker.errors import Ambiguous, CredentialsRefused, TokenUnavailable
from worker.pipeline import Neighbours, Pipeline
from worker.precheck.evidence import HttpAnswer, Rules
from worker.precheck.verdict import judge
from worker.result import Disposition, Reason, Verdict
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi
from worker.x12 import ClaimFacts

QUERY_REFUSED = Verdict(
    disposition=Disposition.REJECTED,
    reason=Reason("query_refused", "The service refuses the query.", "http"),
    request_fault=True,
    http_status=400,
)


def test_a_once_run_whose_requests_are_all_refused_as_such_ends() -> None:
    api = ScriptedApi(lambda _claim, _number: QUERY_REFUSED)

    results = results_after(api, 12, settings(most=1))

    assert [result.disposition for result in results] == [Disposition.REJECTED] * 12


def test_an_outage_that_begins_when_no_claim_is_left_ends_with_the_next_claim() -> None:
    """The trials that open the gate are claims; an intake that waits for an open gate would starve them."""

    async def scenario() -> list[str]:
        down = True
        api = ScriptedApi(lambda _claim, _number: UNAVAILABLE if down else ACCEPTED)
        source, sink, given = MemorySource(), MemorySink(), settings(most=8, max_attempts=2)
        source.put("first.837", b"".join(generate(GeneratorSpec(claims=200))))
        gate_pace = pace(given)
        pipeline = Pipeline(given, Neighbours(source, MemoryLedger(), [sink], api), gate_pace, Tally())
        await pipeline.open_sinks()
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(3_600)
            down = False
            source.put("second.837", b"".join(generate(GeneratorSpec(claims=5, first_ordinal=900))))
            await anyio.sleep(3_600)
            pipeline.drain()
        assert pipeline.gate.is_open
        return [delivery.name for delivery in source.settled]

    assert sorted(run(scenario(), threads=True)) == ["first.837", "second.837"]


SIGN_IN = HttpAnswer(200, b"<html>", "text/html")
REDIRECT = HttpAnswer(302, b"", None)
INTERNAL = HttpAnswer(200, b'{"data":null,"errors":[{"extensions":{"classification":"INTERNAL_ERROR"}}]}')


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(SIGN_IN, id="page to sign in", marks=pytest.mark.fault(84)),
        pytest.param(REDIRECT, id="redirect", marks=pytest.mark.fault(91)),
        pytest.param(INTERNAL, id="internal error in HTTP 200", marks=pytest.mark.fault(82)),
    ],
)
def test_what_says_nothing_of_any_claim_is_an_outage_and_costs_none_its_attempts(answer: HttpAnswer) -> None:
    page = judge(answer, ClaimFacts(), Rules())
    told = [page]

    async def sign_in(_pipeline: Pipeline, _source: MemorySource) -> None:
        await anyio.sleep(3_600)
        told[0] = ACCEPTED
        await anyio.sleep_forever()

    api = ScriptedApi(lambda _claim, _number: told[0], latency_s=0.5)
    results = results_after(api, 8, settings(most=4), beside=sign_in)

    assert {result.disposition for result in results} == {Disposition.ACCEPTED}
    assert 100 < len(api.calls) < 500  # a few before the gate was shut, then trials, a few a minute


@pytest.mark.fault(99)
def test_an_attempt_that_was_never_charged_gives_no_claim_up_even_if_it_has_but_one() -> None:
    def script(_claim: Claim, number: int) -> Verdict:
        if number == 1:
            raise Ambiguous("idle_connection_lost", charged=False)
        return ACCEPTED

    (result,) = results_after(ScriptedApi(script), 1, settings(max_attempts=1))

    assert result.disposition is Disposition.ACCEPTED


@pytest.mark.fault(68)
def test_a_token_that_comes_late_starts_the_work_without_anybodys_help() -> None:
    async def scenario() -> tuple[int, list[int]]:
        api = ScriptedApi(lambda _claim, _number: ACCEPTED)
        api.refusing = TokenUnavailable("token_http_500", retry_after_s=1.0)
        source, sink, given = MemorySource(), MemorySink(), settings()
        source.put("batch.837", b"".join(generate(GeneratorSpec(claims=20))))
        gate_pace = pace(given)
        gate_pace.watch.token_unavailable("token unavailable: token_http_500")
        pipeline = Pipeline(given, Neighbours(source, MemoryLedger(), [sink], api), gate_pace, Tally())
        await pipeline.open_sinks()
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(600)
            taken_meanwhile = len(pipeline.board)
            api.refusing = None
            await anyio.sleep(600)
            pipeline.drain()
        return taken_meanwhile, sorted(ordinal for _, ordinal in api.calls)

    assert run(scenario(), threads=True) == (0, list(range(1, 21)))


class PoisonedApi(ScriptedApi):
    """Fails at once on the first few claims of the first batch, each time, and accepts all others in their time."""

    def __init__(self, poisoned: int) -> None:
        def fails(claim: Claim) -> bool:
            return claim.batch.name == "first.837" and claim.ordinal <= poisoned

        super().__init__(lambda claim, _number: UNAVAILABLE if fails(claim) else ACCEPTED)
        self._fails = fails

    async def attempt(self, claim: Claim) -> Verdict:
        self._latency_s = 0.05 if self._fails(claim) else 2.4
        return await super().attempt(claim)


@pytest.mark.fault(89)
@pytest.mark.parametrize("poisoned", [2, 4, 20])
def test_claims_that_fail_each_time_are_an_outage_to_no_others(poisoned: int) -> None:
    """Alone they look like an outage; with the next batch the gate opens, though they are tried along with it."""

    async def scenario() -> tuple[float, list[str]]:
        source, sink, given = MemorySource(), MemorySink(), settings(most=64)
        source.put("first.837", b"".join(generate(GeneratorSpec(claims=100))))
        pipeline = Pipeline(
            given, Neighbours(source, MemoryLedger(), [sink], PoisonedApi(poisoned)), pace(given), Tally()
        )
        await pipeline.open_sinks()
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(300)
            assert pipeline.gate.reasons.keys() == {"outage"}
            source.put("second.837", b"".join(generate(GeneratorSpec(claims=200, first_ordinal=5000))))
            put_at = anyio.current_time()
            with anyio.fail_after(3_600):
                while "second.837" not in [one.name for one in source.settled]:  # noqa: ASYNC110 - it tells nobody
                    await anyio.sleep(1)
            took_s = anyio.current_time() - put_at
            await anyio.sleep(7_200)
            pipeline.drain()
        return took_s, sorted(delivery.name for delivery in source.settled)

    took_s, settled = run(scenario(), threads=True)

    assert took_s < 180  # one probe or two, a minute apart at most
    assert settled == ["first.837", "second.837"]


@pytest.mark.fault(89)
@pytest.mark.parametrize("poisoned", [2, 5])
def test_the_last_claims_of_a_run_end_although_they_alone_keep_the_gate_shut(poisoned: int) -> None:
    async def end_in_time(_pipeline: Pipeline, _source: MemorySource) -> None:
        with anyio.fail_after(3 * 3_600):
            await anyio.sleep_forever()

    api = ScriptedApi(lambda claim, _number: UNAVAILABLE if claim.ordinal <= poisoned else ACCEPTED)
    results = results_after(api, 50, settings(), beside=end_in_time)

    ended = {result.disposition for result in results[:poisoned]}
    assert ended == {Disposition.UNDELIVERED}
    assert {result.disposition for result in results[poisoned:]} == {Disposition.ACCEPTED}
    assert len(api.calls) < 50 + 60 * poisoned


def forbidding(*ordinals: int) -> ScriptedApi:
    """Answer 403 to these claims, each time and at once, and accept the others in their time."""

    def script(claim: Claim, _number: int) -> Verdict:
        if claim.ordinal in ordinals:
            raise CredentialsRefused("forbidden", "the origin forbids the call")
        return ACCEPTED

    return ScriptedApi(script, latency_s=1.0)


@pytest.mark.fault(77)
def test_a_claim_that_alone_is_forbidden_stops_no_others_and_is_for_a_person() -> None:
    shut: list[str] = []

    async def note(pipeline: Pipeline, _source: MemorySource) -> None:
        with anyio.fail_after(3_600):
            while True:
                await pipeline.gate.wait_change()
                shut.extend(pipeline.gate.reasons)

    api = forbidding(40)
    results = results_after(api, 300, settings(most=8), beside=note)

    (forbidden,) = [result for result in results if result.disposition is not Disposition.ACCEPTED]
    assert forbidden.ordinal == 40
    assert (forbidden.disposition, forbidden.http_status, forbidden.attempts) == (Disposition.REVIEW, 403, 3)
    assert forbidden.reason is not None
    assert forbidden.reason.code == "forbidden"
    assert len(api.calls) == 299 + 3
    assert not shut


@pytest.mark.fault(77)
@pytest.mark.parametrize("ordinals", [range(1, 10), range(40, 50)], ids=["from the start", "in the middle"])
def test_one_claim_after_another_that_is_forbidden_shuts_the_gate_and_costs_none_anything(ordinals: range) -> None:
    async def scenario() -> tuple[list[str], int, list[int]]:
        api = forbidding(*ordinals)
        source, sink, given = MemorySource(), MemorySink(), settings(most=8)
        source.put("batch.837", b"".join(generate(GeneratorSpec(claims=ordinals[-1]))))
        pipeline = Pipeline(given, Neighbours(source, MemoryLedger(), [sink], api), pace(given), Tally())
        await pipeline.open_sinks()
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(60)
            reasons: list[str] = list(pipeline.gate.reasons)
            pipeline.drain()
        return reasons, len(sink.taken), [ordinal for _, ordinal in api.calls]

    reasons, told, calls = run(scenario(), threads=True)

    assert reasons == ["credentials"]
    assert told == ordinals[0] - 1
    assert len(calls) < ordinals[-1] + 40
