"""The one line that an operator gets when submission pauses."""

from typing import Any

import anyio
from structlog.testing import capture_logs

from tests.unit.test_submitter import results_after, settings
from tests.virtualtime import virtual_time
from worker.alarm import ADVICE, tell_gate
from worker.claim import Claim
from worker.errors import Ambiguous
from worker.flow.gate import Gate
from worker.flow.limiter import Signal
from worker.flow.watch import MOST_FAILURES, Watch
from worker.result import AttemptClass, Reason, Verdict
from worker.tally import Tally
from worker.testing import ScriptedApi


class Site:
    """A gate that tells what it does, and what moves it."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.gate = Gate(on_change=lambda change: tell_gate(change, self.tally, self.watch.failures))
        self.watch = Watch(self.gate, restart=lambda: None)

    async def lose(self, count: int, *, first: int = 1, code: str = "http_503") -> None:
        for number in range(first, first + count):
            self.watch.heard(Signal.LOST, 0.1, verdict=lost(number, code))
            await anyio.sleep(1.0)


def lost(number: int, code: str = "http_503") -> Verdict:
    return Verdict(
        disposition=None,
        reason=Reason(code, "The service is not available.", "http"),
        attempt_class=AttemptClass.TRANSIENT,
        overload=True,
        correlation_id=f"correlation-{number}",
        trace_id=f"trace-{number}",
    )


def told(logged: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["log_level"]) for line in logged]


@virtual_time
async def test_an_outage_is_one_alarm_with_what_a_service_ticket_wants() -> None:
    with capture_logs() as logged:
        await Site().lose(30)

    (alarm,) = logged
    last = range(11 - MOST_FAILURES, 11)  # the tenth in a row is the one that shuts the gate
    assert (alarm["event"], alarm["reason"], alarm["advice"]) == ("gate.shut", "outage", ADVICE["outage"])
    assert alarm["failures"] == {"http_503": MOST_FAILURES}
    assert alarm["trace_ids"] == [f"trace-{number}" for number in last]
    assert alarm["correlation_ids"] == [f"correlation-{number}" for number in last]


@virtual_time
async def test_the_advice_in_an_outage_is_about_our_own_side_where_that_is_what_fails() -> None:
    lost_on_the_way, without_token = Site(), Site()
    with capture_logs() as logged:
        await lost_on_the_way.lose(30, code="connect_refused")
        without_token.watch.token_unavailable("token unavailable: token_dns_failed")
        Site().watch.token_unavailable("token unavailable: token_http_503")

    refused, unresolved, unwell = (line["advice"] for line in logged)
    assert "api.base_url" in refused
    assert "DNS" in unresolved
    assert unwell == ADVICE["outage"]


@virtual_time
async def test_a_trial_that_fails_as_well_is_no_second_alarm() -> None:
    site = Site()
    with capture_logs() as logged:
        await site.lose(10)
        for _ in range(3):
            site.gate.half_open()
            await anyio.sleep(1)
            await site.lose(1)

    assert told(logged) == [("gate.shut", "error"), *[("gate.probed", "info"), ("gate.held", "warning")] * 3]


@virtual_time
async def test_a_reason_that_goes_while_another_holds_is_no_alarm_and_the_other_one_is_shown() -> None:
    site = Site()
    with capture_logs() as logged:
        site.gate.shut("operator", "maintenance")
        site.watch.credentials_refused("invalid_client", "correlation-1")
        site.gate.open("operator")
        shown = site.tally.gate
        site.gate.open("credentials")

    assert told(logged) == [
        ("gate.shut", "error"),
        ("gate.shut", "error"),
        ("gate.held", "warning"),
        ("gate.opened", "info"),
    ]
    assert logged[1]["correlation_ids"] == ["correlation-1"]
    assert logged[2]["reasons"] == ("credentials",)
    assert (shown, site.tally.gate) == ("credentials", "")


@virtual_time
async def test_what_has_nothing_to_do_with_the_attempts_names_none() -> None:
    site = Site()
    await site.lose(3)
    with capture_logs() as logged:
        site.gate.shut("storage", "ledger: no room")
        site.watch.token_unavailable("token unavailable: token_http_503")

    assert [line["correlation_ids"] for line in logged] == [None, None]


def test_an_attempt_without_an_answer_is_named_by_the_id_it_was_sent_with() -> None:
    def script(_claim: Claim, number: int) -> Verdict:
        failure = Ambiguous("attempt_timeout")
        failure.correlation_id = f"correlation-{number}"
        raise failure

    (result,) = results_after(ScriptedApi(script), 1, settings(max_attempts=2))

    assert result.correlation_id == "correlation-2"
