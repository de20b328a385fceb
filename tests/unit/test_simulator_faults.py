import msgspec
import pytest

from tests.unit.simulator_calls import Caller, one_claim
from worker.result import Disposition
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.draws import draw
from worker.simulator.faults import changed_faults, drawn_fault
from worker.simulator.latency import latency_s
from worker.simulator.profiles import PROFILES, profile

FAULTS = {"http_500": 500, "http_502": 502, "http_503": 503, "http_504": 504, "http_429": 429}


@pytest.mark.parametrize(("fault", "status"), FAULTS.items())
def test_a_fault_answers_instead_and_leaves_the_claim_undelivered(fault: str, status: int) -> None:
    caller = Caller(SimulatorConfig(faults=msgspec.convert({fault: 1.0}, FaultSettings)))

    decision = caller.send(one_claim())
    decision.book(sent=True)

    (entry,) = [msgspec.json.decode(line) for line in b"".join(caller.precheck.book.lines()).splitlines()]
    assert decision.reply.status == status
    assert (entry["http_status"], entry["meaning"], entry["attempts"]) == (status, "undelivered", 1)


def test_429_says_when_to_come_back_and_502_is_a_web_page() -> None:
    busy = Caller(SimulatorConfig(faults=FaultSettings(http_429=1.0, retry_after_s=7))).send(one_claim()).reply
    page = Caller(SimulatorConfig(faults=FaultSettings(http_502=1.0))).send(one_claim()).reply

    assert busy.headers["Retry-After"] == "7"
    assert page.content_type == "text/html"
    assert page.body.startswith(b"<html>")


@pytest.mark.parametrize("fault", ["reset", "truncated"])
def test_an_answer_that_does_not_arrive_is_booked_as_none(fault: str) -> None:
    caller = Caller(SimulatorConfig(faults=msgspec.convert({fault: 1.0}, FaultSettings)))

    decision = caller.send(one_claim())
    decision.book(sent=True)

    (entry,) = [msgspec.json.decode(line) for line in b"".join(caller.precheck.book.lines()).splitlines()]
    assert decision.reply.cut == fault
    assert (entry["http_status"], entry["meaning"], entry["transaction_id"]) == (0, "undelivered", None)


def test_an_answer_to_a_client_that_has_gone_is_booked_as_none() -> None:
    caller = Caller()

    decision = caller.send(one_claim())
    decision.book(sent=False)

    assert decision.entry is not None
    assert decision.meaning is Disposition.ACCEPTED
    assert (decision.entry.http_status, decision.entry.meaning) == (0, Disposition.UNDELIVERED)


def test_faults_strike_the_same_attempts_in_every_run_and_in_their_shares() -> None:
    settings = FaultSettings(http_500=0.3, http_504=0.1)

    struck = [drawn_fault(settings, draw(1, "fault", f"C{n}", 1)) for n in range(5000)]

    assert struck == [drawn_fault(settings, draw(1, "fault", f"C{n}", 1)) for n in range(5000)]
    assert struck.count("http_500") / 5000 == pytest.approx(0.3, abs=0.03)
    assert struck.count("http_504") / 5000 == pytest.approx(0.1, abs=0.03)


def test_a_claims_attempts_are_struck_independently() -> None:
    settings = FaultSettings(http_500=0.5)

    fates = {
        tuple(drawn_fault(settings, draw(1, "fault", f"C{claim}", attempt)) for attempt in (1, 2))
        for claim in range(200)
    }

    assert len(fates) == 4


def test_an_outage_answers_503_to_everything() -> None:
    caller = Caller(SimulatorConfig(faults=FaultSettings(outage=True)))

    assert caller.send(one_claim()).reply.status == 503


def test_all_tokens_end_after_the_calls_configured() -> None:
    caller = Caller(SimulatorConfig(faults=FaultSettings(revoke_every=3)))

    statuses = [caller.send(one_claim()).reply.status for _ in range(4)]

    assert statuses == [200, 200, 200, 401]


def test_faults_change_while_all_runs_and_the_others_stay() -> None:
    changed = changed_faults(FaultSettings(http_500=0.2, revoke_every=5), b'{"http_500": 0.0, "outage": true}')

    assert changed == FaultSettings(outage=True, revoke_every=5)


@pytest.mark.parametrize("patch", [b"", b"[]", b'{"http_599": 1}', b'{"http_500": "much"}', b'{"http_500": 1.5}'])
def test_wrong_fault_settings_are_refused(patch: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        changed_faults(FaultSettings(), patch)


def test_latency_passes_through_the_percentiles_of_the_vendors_neighbours() -> None:
    assert latency_s(0.5, 1.0) == pytest.approx(2.4)
    assert latency_s(0.95, 1.0) == pytest.approx(6.0)
    assert latency_s(0.99, 1.0) == pytest.approx(30.0)
    assert latency_s(0.25, 0.0) == 0.0
    assert latency_s(0.95, 0.5) == pytest.approx(3.0)
    assert latency_s(0.0, 1.0) < latency_s(0.3, 1.0) < latency_s(0.97, 1.0) < latency_s(0.999999, 1.0) <= 120.0


def test_what_takes_longer_than_the_gateway_waits_is_a_504() -> None:
    caller = Caller(SimulatorConfig(latency_scale=1.0, gateway_timeout_s=0.5))

    decision = caller.send(one_claim())

    assert (decision.reply.status, decision.reply.delay_s) == (504, 0.5)
    assert decision.meaning is Disposition.UNDELIVERED


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_makes_a_configuration_and_says_what_it_does(name: str) -> None:
    assert profile(name, seed=4).seed == 4
    assert PROFILES[name].description


def test_a_configuration_does_not_show_its_secret() -> None:
    assert "hush" not in repr(SimulatorConfig(client_secret="hush"))
