import gzip
import json
from typing import Any

import msgspec
import pytest

from tests.unit.simulator_calls import Caller, one_claim
from worker.result import Disposition
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.draws import draw
from worker.simulator.faults import changed_faults, drawn_fault
from worker.simulator.hostile import BOMB_BYTES, INSTEAD, LENGTHY_BYTES, MEANINGS, NAMES, OF_ANOTHER, SPOILT
from worker.simulator.latency import latency_s
from worker.simulator.precheck import Precheck
from worker.simulator.profiles import PROFILES, changed_profile, profile

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


def hostile(name: str, **further: Any) -> Caller:
    return Caller(SimulatorConfig(faults=msgspec.convert({name: 1.0, **further}, FaultSettings)))


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_answer_is_booked_as_what_the_worker_must_make_of_it(name: str) -> None:
    caller = hostile(name)
    caller.send(one_claim("REJ-"))  # so that there is another claim's answer to give

    decision = caller.send(one_claim("OK-", first_ordinal=2))
    decision.book(sent=True)

    own = name in ("unsolicited", "late_408", "lengthy")
    usual = Disposition.ACCEPTED if own else Disposition.UNDELIVERED
    assert decision.entry is not None
    assert decision.entry.meaning is {**MEANINGS, "wrong_claim": Disposition.UNDETERMINED}.get(name, usual)


def test_every_hostile_answer_is_made_in_one_way() -> None:
    assert INSTEAD | SPOILT - {"truncated"} | OF_ANOTHER == set(NAMES)
    assert not INSTEAD & SPOILT
    assert not OF_ANOTHER & (INSTEAD | SPOILT)


def test_what_the_hostile_answers_are_made_of() -> None:
    def reply(name: str, **further: Any) -> Any:
        return hostile(name, **further).send(one_claim()).reply

    assert reply("redirect", redirect_to="http://127.0.0.1:1/").headers["Location"] == "http://127.0.0.1:1/"
    assert reply("login_page").content_type == "text/html"
    assert len(gzip.decompress(reply("gzip_bomb").body)) == BOMB_BYTES
    with pytest.raises(RecursionError):
        json.loads(reply("deep_json").body)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|Invalid"):
        json.loads(reply("bad_json").body)
    assert len(json.loads(reply("lengthy").body)["data"]["claimPreCheck"]["x12Response277CA"]) > LENGTHY_BYTES
    assert (reply("unsolicited").unasked, reply("late_408").unasked) == ("answer", "408")
    assert [reply(name).cut for name in ("endless", "trickle", "unframed")] == ["endless", "trickle", "unframed"]


def test_a_wrong_answer_is_that_of_another_claim_which_it_names() -> None:
    caller = Caller()
    first = caller.send(one_claim("OK-")).reply
    caller.send(one_claim("M301-", first_ordinal=3))
    caller.precheck.faults = FaultSettings(wrong_answer=1.0)

    second = caller.send(one_claim("OK-", first_ordinal=2)).reply

    assert second.body == first.body


def test_outages_come_and_go_by_the_clock() -> None:
    now = 100.0
    config = SimulatorConfig(faults=FaultSettings(outage_every_s=60.0, outage_for_s=20.0))
    precheck = Precheck(config, clock=lambda: now)

    down = []
    for elapsed_s in (0, 39, 40, 59, 60, 99, 100):
        now = 100.0 + elapsed_s
        down.append(precheck.out)

    assert down == [False, False, True, True, False, False, True]


@pytest.mark.parametrize(
    ("faults", "status"), [(FaultSettings(bearer_refused=True), 401), (FaultSettings(forbidden=True), 403)]
)
def test_a_good_token_can_be_refused_all_the_same(faults: FaultSettings, status: int) -> None:
    assert Caller(SimulatorConfig(faults=faults)).send(one_claim()).reply.status == status


def test_a_profile_is_changed_while_all_runs_but_not_who_may_call_and_where() -> None:
    caller = Caller(SimulatorConfig(seed=7, precheck_path="/own"))

    caller.precheck.become(changed_profile(caller.precheck.config, b'{"name": "claim_actions"}'))

    config = caller.precheck.config
    assert (config.seed, config.precheck_path, config.root_field) == (7, "/own", "claimPreCheck")
    assert caller.precheck.faults == PROFILES["claim_actions"].changes["faults"]
    assert caller.precheck.tokens.good(caller.bearer)


@pytest.mark.parametrize("wanted", [b"", b"[]", b'{"name": "no-such"}', b'{"name": "fast", "seed": 1}'])
def test_a_profile_that_is_none_is_refused(wanted: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        changed_profile(SimulatorConfig(), wanted)
