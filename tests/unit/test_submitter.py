"""The flow against fakes, in virtual time: what attempts cost, when claims come back, what a result says."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from tests.virtualtime import run
from worker.claim import Claim
from worker.concluding import MOST_RACES
from worker.errors import Ambiguous, CredentialsRefused, NotSent, TokenUnavailable, WorkerError
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate
from worker.flow.limiter import FixedLimiter
from worker.flow.pace import Pace
from worker.flow.rate import Rate
from worker.flow.retry import RetryPolicy
from worker.flow.watch import Watch
from worker.pipeline import Neighbours, Pipeline
from worker.result import AttemptClass, Disposition, Reason, Result, Verdict, decode_result
from worker.settings import ApiSettings, FlowSettings, RetrySettings, Settings
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi

ACCEPTED = Verdict(disposition=Disposition.ACCEPTED, reason=None, http_status=200)
UNAVAILABLE = Verdict(
    disposition=None,
    reason=Reason("http_503", "The service is not available.", "http"),
    attempt_class=AttemptClass.TRANSIENT,
    overload=True,
    http_status=503,
)


def settings(**retry: float) -> Settings:
    return Settings(
        api=ApiSettings(safe_to_repeat=bool(retry.pop("safe", True))),
        flow=FlowSettings(
            mode="fixed", max_in_flight=int(retry.pop("most", 8)), rate_per_s=float(retry.pop("rate", 0))
        ),
        retry=RetrySettings(**retry),  # type: ignore[arg-type]
    )


def pace(given: Settings) -> Pace:
    gate = Gate()
    limiter = FixedLimiter(given.flow.max_in_flight)
    return Pace(
        gate=gate,
        watch=Watch(gate, restart=limiter.restart),
        rate=Rate(given.flow.rate_per_s),
        limiter=limiter,
        budget=RetryBudget(given.retry.budget_ratio),
        policy=RetryPolicy(given.retry),
    )


def results_after(
    api: ScriptedApi,
    claims: int,
    given: Settings,
    *,
    beside: Callable[[Pipeline, MemorySource], Coroutine[Any, Any, None]] | None = None,
) -> list[Result]:
    """Run one batch of that many claims to its end; its results in order of their claims."""

    async def scenario() -> list[Result]:
        source, sink = MemorySource(), MemorySink()
        source.put("batch.837", b"".join(generate(GeneratorSpec(claims=claims))))
        pipeline = Pipeline(given, Neighbours(source, MemoryLedger(), [sink], api), pace(given), Tally())
        await pipeline.open_sinks()
        await source.open()
        async with anyio.create_task_group() as group:
            if beside is not None:
                group.start_soon(beside, pipeline, source)
            await pipeline.run(once=True)
            group.cancel_scope.cancel()
        return sorted(
            (decode_result(emission.body) for emission in sink.taken.values()), key=lambda result: result.ordinal
        )

    return run(scenario(), threads=True)


def test_every_claim_gets_its_result_and_the_bound_on_calls_in_flight_holds() -> None:
    api = ScriptedApi(lambda _claim, _number: ACCEPTED)

    results = results_after(api, 50, settings(most=4))

    assert [result.ordinal for result in results] == list(range(1, 51))
    assert {result.disposition for result in results} == {Disposition.ACCEPTED}
    assert api.most_in_flight == 4


def test_a_transient_failure_is_repeated_and_counted() -> None:
    api = ScriptedApi(lambda _claim, number: ACCEPTED if number == 3 else UNAVAILABLE)

    results = results_after(api, 5, settings())

    assert [(result.disposition, result.attempts, result.ambiguous_attempts) for result in results] == [
        (Disposition.ACCEPTED, 3, 0)
    ] * 5


def test_a_claim_without_a_usable_answer_ends_as_undelivered_and_says_what_the_last_attempt_said() -> None:
    api = ScriptedApi(lambda _claim, _number: UNAVAILABLE)

    (result,) = results_after(api, 1, settings(max_attempts=4))

    assert (result.disposition, result.attempts) == (Disposition.UNDELIVERED, 4)
    assert result.reason is not None
    assert result.reason.code == "http_503"
    assert result.reason.text.startswith("Not checked: no usable answer after 4 attempts.")


def test_an_unknown_outcome_is_repeated_and_told() -> None:
    def script(_claim: Claim, number: int) -> Verdict:
        if number == 1:
            raise Ambiguous("attempt_timeout")
        return ACCEPTED

    (result,) = results_after(ScriptedApi(script), 1, settings())

    assert (result.disposition, result.attempts, result.ambiguous_attempts) == (Disposition.ACCEPTED, 2, 1)


def test_an_unknown_outcome_ends_as_review_where_a_repeat_would_submit_twice() -> None:
    def script(_claim: Claim, _number: int) -> Verdict:
        raise Ambiguous("attempt_timeout")

    api = ScriptedApi(script)
    (result,) = results_after(api, 1, settings(safe=False))

    assert (result.disposition, len(api.calls)) == (Disposition.REVIEW, 1)
    assert result.reason is not None
    assert result.reason.code == "attempt_timeout"


@pytest.mark.fault(99)
def test_a_lost_race_for_an_idle_connection_costs_the_claim_no_attempt() -> None:
    def script(_claim: Claim, number: int) -> Verdict:
        if number <= 3:
            raise Ambiguous("idle_connection_lost", charged=False)
        return ACCEPTED

    (result,) = results_after(ScriptedApi(script), 1, settings(max_attempts=2))

    assert (result.disposition, result.attempts, result.ambiguous_attempts) == (Disposition.ACCEPTED, 1, 0)


@pytest.mark.fault(99)
def test_a_claim_over_which_the_service_hangs_up_each_time_has_no_race_to_lose() -> None:
    def script(claim: Claim, _number: int) -> Verdict:
        if claim.ordinal == 7:
            raise Ambiguous("idle_connection_lost", charged=False)
        return ACCEPTED

    api = ScriptedApi(script)

    results = results_after(api, 20, settings(max_attempts=3))

    (lost,) = [result for result in results if result.ordinal == 7]
    assert (lost.disposition, lost.attempts, lost.ambiguous_attempts) == (Disposition.UNDELIVERED, 3, 3)
    assert (lost.reason and lost.reason.code) == "idle_connection_lost"
    assert [ordinal for _, ordinal in api.calls].count(7) == MOST_RACES + 3


@pytest.mark.parametrize(
    "refusal", [CredentialsRefused("unauthorized", "no"), TokenUnavailable("down", retry_after_s=1)], ids=["4", "wait"]
)
def test_while_the_token_is_missing_claims_stay_pending_and_uncharged(refusal: WorkerError) -> None:
    api = ScriptedApi(lambda _claim, _number: ACCEPTED)
    api.refusing = refusal

    async def mend(_pipeline: Pipeline, _source: MemorySource) -> None:
        await anyio.sleep(3_600)
        api.refusing = None
        await anyio.sleep_forever()

    results = results_after(api, 20, settings(), beside=mend)

    assert [(result.disposition, result.attempts) for result in results] == [(Disposition.ACCEPTED, 1)] * 20


def test_a_failure_of_ours_on_one_claim_harms_no_other() -> None:
    def script(claim: Claim, _number: int) -> Verdict:
        if claim.ordinal == 3:
            raise RuntimeError("a bug, with PHI in its message")
        return ACCEPTED

    results = results_after(ScriptedApi(script), 5, settings())

    broken = results[2]
    assert [result.disposition for result in results].count(Disposition.ACCEPTED) == 4
    assert broken.disposition is Disposition.REVIEW
    assert broken.reason is not None
    assert broken.reason.code == "internal_error"
    assert "PHI" not in broken.reason.text


@pytest.mark.parametrize("prefix", ["", "tx-"])
def test_a_transaction_id_made_of_the_patients_number_is_in_the_result_and_in_no_log(prefix: str) -> None:
    def script(claim: Claim, _number: int) -> Verdict:
        transaction_id = prefix + (claim.facts.patient_control_number if claim.ordinal == 1 else "T-2")
        return Verdict(disposition=Disposition.ACCEPTED, reason=None, transaction_id=transaction_id)

    with capture_logs() as logged:
        results = results_after(ScriptedApi(script), 2, settings())

    number = results[0].patient_control_number
    assert number
    assert results[0].transaction_id == prefix + number
    assert number not in str(logged)
    told = [line.get("transaction_id") for line in logged if line["event"] == "claim.completed"]
    assert sorted(told, key=str) == [None, f"{prefix}T-2"]


@pytest.mark.fault(83)
@pytest.mark.parametrize(
    ("most", "dispositions"),
    [(1, [Disposition.ACCEPTED, Disposition.REVIEW]), (2, [Disposition.REVIEW, Disposition.REVIEW])],
    ids=["the first is stored already", "both are on their way to the disk"],
)
def test_one_transaction_id_on_two_claims_sends_those_that_are_not_stored_to_review_with_one_line(
    most: int, dispositions: list[Disposition]
) -> None:
    verdict = Verdict(disposition=Disposition.ACCEPTED, reason=None, transaction_id="T-1")

    with capture_logs() as logged:
        results = results_after(ScriptedApi(lambda _claim, _number: verdict), 2, settings(most=most))

    assert [result.disposition for result in results] == dispositions
    for result in results:
        doubted = result.disposition is Disposition.REVIEW
        assert (result.reason.code if result.reason else None) == ("transaction_duplicated" if doubted else None)
    assert [line["log_level"] for line in logged if line["event"] == "transaction.duplicated"] == ["error"]


def test_what_was_never_sent_is_repeated_without_being_ambiguous() -> None:
    def script(_claim: Claim, number: int) -> Verdict:
        if number == 1:
            raise NotSent("connect_refused")
        return ACCEPTED

    (result,) = results_after(ScriptedApi(script), 1, settings())

    assert (result.disposition, result.ambiguous_attempts) == (Disposition.ACCEPTED, 0)
