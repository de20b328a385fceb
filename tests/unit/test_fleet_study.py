"""The study of a fleet, in its short form: an hour of deaths, a restart of the broker, five minutes without the API."""

import pytest

from tests.bench.fleet_study import Plan, study

HOUR = Plan(workers=4, seconds=3600.0, broker_at=900.0, outage=(1500.0, 1800.0), per_day=500_000)
NEVER = 1e9


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_no_result_is_lost_and_what_is_sent_again_is_little(workers: int) -> None:
    found = study(HOUR._replace(workers=workers))

    assert found.deaths == 5
    assert found.lost == 0
    assert 0 < found.sent_again < 0.05 * found.claims
    assert found.doubled <= found.sent_again
    assert found.outage_recovery_s < 300.0


def test_the_same_plan_gives_the_same_figures_and_another_seed_others() -> None:
    assert study(HOUR) == study(HOUR)
    assert study(HOUR) != study(HOUR._replace(seed=2))


def test_a_source_that_acknowledges_at_delivery_would_lose_results() -> None:
    assert study(HOUR._replace(early=True)).lost > 0


def test_nothing_is_sent_again_where_nothing_dies() -> None:
    found = study(HOUR._replace(seconds=500.0, broker_at=NEVER, outage=(NEVER, NEVER)))

    assert (found.lost, found.sent_again, found.doubled) == (0, 0, 0)
