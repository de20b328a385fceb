"""The models of how the service bears load, and the simulator that behaves by them."""

from collections.abc import Iterable
from typing import get_args

import pytest

from tests.unit.simulator_calls import CREDENTIALS, body_of, element, one_claim
from worker.simulator.capacity import REFUSAL_S, Capacity, End, Load, Model
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.precheck import Precheck

CAPACITY = Capacity(limit=2, rate_per_s=3.0, gateway_s=10.0)


def ends(model: Model, times: Iterable[float], *, work_s: float = 1.0, capacity: Capacity = CAPACITY) -> list[End]:
    load = Load()
    return [load.begin(model, capacity, now, work_s) for now in times]


def test_without_a_model_any_number_is_worked_on_at_once() -> None:
    assert ends("", [0.0] * 100) == [End(1.0, 200)] * 100


def test_a_queue_lets_the_others_wait_their_turn() -> None:
    assert ends("queueing", [0.0, 0.0, 0.0, 0.0, 0.5]) == [
        End(1.0, 200),
        End(1.0, 200),
        End(2.0, 200),
        End(2.0, 200),
        End(2.5, 200),
    ]


def test_a_queue_that_is_too_long_is_answered_by_the_gateway_and_worked_off_all_the_same() -> None:
    told = ends("queueing", [0.0] * 22)

    assert [end.status for end in told] == [200] * 20 + [504] * 2
    assert told[-1].after_s == 10.0


def test_a_queue_takes_up_a_limit_that_changes() -> None:
    load = Load()
    for work_s in (1.0, 2.0, 3.0, 4.0):
        load.begin("queueing", Capacity(limit=4), 0.0, work_s)

    assert load.begin("queueing", Capacity(limit=2), 0.0, 1.0) == End(4.0, 200)  # once three of the four are done
    assert load.begin("queueing", Capacity(limit=10), 0.0, 1.0) == End(1.0, 200)


@pytest.mark.parametrize(("model", "refusal"), [("shedding", End(REFUSAL_S, 503)), ("gateway", End(10.0, 504))])
def test_what_is_beyond_the_limit_is_turned_away_until_there_is_room(model: Model, refusal: End) -> None:
    done = End(1.0, 200)

    assert ends(model, [0.0, 0.0, 0.5, 1.0, 1.0, 1.0]) == [done, done, refusal, done, done, refusal]


def test_a_rate_is_one_seconds_worth_at_once_and_then_so_many_a_second() -> None:
    times = [0.0] * 5 + [1.0] * 5 + [60.0] * 5

    assert [end.status for end in ends("rate", times)] == [200, 200, 200, 429, 429] * 3


def test_where_all_work_slows_down_together_each_call_takes_longer_than_the_one_before() -> None:
    capacity = Capacity(limit=2, power=2.0)

    assert [end.after_s for end in ends("slowing", [0.0] * 4, capacity=capacity)] == [1.0, 1.25, 2.0, 3.25]


def test_beyond_the_knee_everything_becomes_slower_by_the_square_of_the_load() -> None:
    assert [end.after_s for end in ends("knee", [0.0] * 6)] == [1.0, 1.0, 2.25, 4.0, 6.25, 9.0]
    assert ends("knee", [0.0] * 7)[-1] == End(10.0, 504)


@pytest.mark.parametrize("model", list(filter(None, get_args(Model))))
def test_a_seed_replays_the_same_answers(model: Model) -> None:
    assert replayed(model) == replayed(model)


def replayed(model: Model) -> list[tuple[int, float]]:
    """Send 40 claims in four bursts on a clock of our own; how and after what time each is answered."""
    now = 0.0
    faults = FaultSettings(capacity=model, limit=3, rate_per_s=5.0)
    precheck = Precheck(SimulatorConfig(seed=7, latency_scale=0.1, faults=faults), clock=lambda: now)
    form = "&".join(f"{name}={value}" for name, value in CREDENTIALS.items()).encode()
    token = precheck.tokens.answer_form("application/x-www-form-urlencoded", form).body.split(b'"')[3].decode()
    told = []
    for number in range(40):
        now = float(number // 10)
        x12 = one_claim("OK-", first_ordinal=number + 1)
        headers = {"Authorization": f"Bearer {token}", "providerTaxId": element(x12, "REF*EI", 2)}
        reply = precheck.decide(headers, "application/json", body_of(x12)).reply
        told.append((reply.status, reply.delay_s))
    return told


@pytest.mark.parametrize(("model", "status"), [("shedding", 503), ("rate", 429), ("gateway", 504)])
def test_the_simulator_turns_away_what_its_model_does(model: Model, status: int) -> None:
    told = [one for one, _ in replayed(model)]

    assert set(told) == {200, status}


def test_a_limit_or_a_rate_of_nothing_is_refused() -> None:
    for wrong in ({"limit": 0}, {"rate_per_s": 0.0}):
        with pytest.raises(ValueError, match="above 0"):
            FaultSettings(**wrong)
