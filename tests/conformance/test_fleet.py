"""What every place for a fleet's shared limits must do; Redis and the one in memory are held to the same."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
import redis

from tests.brokers import REDIS_URL, need, own_name
from worker.errors import SettingsError
from worker.fleet import from_url
from worker.flow.quota import SharedLimits
from worker.ports.fleet import Ask, FleetLimits, Grant
from worker.testing import MemoryPlace

LEASE_S = 0.6


class Fleet:
    """Workers on one place, each made as its process would make it."""

    def __init__(self, made: Callable[[SharedLimits], FleetLimits]) -> None:
        self._made = made
        self.workers: list[FleetLimits] = []

    def worker(self, limits: SharedLimits) -> FleetLimits:
        self.workers.append(self._made(limits))
        return self.workers[-1]


@pytest.fixture(params=["redis", "memory"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    places: dict[SharedLimits, MemoryPlace] = {}
    key = own_name()

    def in_memory(limits: SharedLimits) -> FleetLimits:
        place = places.setdefault(limits, MemoryPlace(limits, lease_s=LEASE_S, clock=time.monotonic))
        return place.worker(own_name())

    if request.param == "redis":
        need(REDIS_URL)
    made = Fleet(
        in_memory
        if request.param == "memory"
        else lambda limits: from_url(f"{REDIS_URL}?key={key}", limits, lease_s=LEASE_S)
    )
    yield made
    for worker in made.workers:
        await worker.close()
        await worker.close()
    if request.param == "redis":
        with redis.Redis.from_url(REDIS_URL) as client:
            client.delete(key)


def slots(most: int) -> SharedLimits:
    return SharedLimits(max_in_flight=most, workers=2)


async def settled(*workers: FleetLimits, most: int = 100) -> list[Grant]:
    """Let every worker ask until what it has is what it gets, for longer than a new place is careful.

    One that nobody has asked for half a lease is as careful as a new one; on a busy machine that happens in between.
    """
    grants = [Grant(0)] * len(workers)
    began = asked = time.monotonic()
    while time.monotonic() < began + LEASE_S + 0.3:
        for number, worker in enumerate(workers):
            before, asked = asked, time.monotonic()
            began = asked if asked - before > LEASE_S / 2 else began
            grants[number] = await worker.renew(Ask(most, grants[number].slots))
        await anyio.sleep(0.05)
    return grants


async def test_a_new_place_gives_nobody_more_than_he_has_for_a_lease_and_then_everything(fleet: Fleet) -> None:
    worker = fleet.worker(slots(10))
    await worker.open()

    first = await worker.renew(Ask(100, 0))
    after_a_restart_of_the_place = await fleet.worker(slots(10)).renew(Ask(100, 6))
    (later,) = await settled(worker)

    assert (first.slots, later.slots) == (1, 10)
    assert after_a_restart_of_the_place.slots == 5


async def test_a_place_that_was_away_for_longer_than_a_lease_takes_nobody_for_dead(fleet: Fleet) -> None:
    one, two = fleet.worker(slots(10)), fleet.worker(slots(10))
    before = await settled(one, two)
    await anyio.sleep(LEASE_S + 0.2)

    first, second = await one.renew(Ask(10, 5)), await two.renew(Ask(10, 5))
    (later,) = await settled(one)

    assert [grant.slots for grant in before] == [5, 5]
    assert (first.slots, second.slots) == (5, 5)
    assert later.slots == 10  # the other has not asked again


async def test_who_is_pressed_gets_what_others_do_not_need_and_all_get_the_same_if_all_are(fleet: Fleet) -> None:
    one, two, three = (fleet.worker(slots(10)) for _ in range(3))

    alone = await settled(one)
    both = await settled(one, two)
    quiet = await three.renew(Ask(1, 0))
    all_three = await settled(one, two, three)

    assert [grant.slots for grant in alone] == [10]
    assert sorted(grant.slots for grant in both) == [5, 5]
    assert quiet.slots == 0  # nothing is taken away from those who have it
    assert sorted(grant.slots for grant in all_three) == [3, 3, 4]


async def test_what_is_to_be_given_up_goes_to_another_only_once_it_is(fleet: Fleet) -> None:
    one, two = fleet.worker(slots(10)), fleet.worker(slots(10))
    await settled(one)

    waits = await two.renew(Ask(10, 0))
    told = await one.renew(Ask(10, 10))
    calls_not_ended = await two.renew(Ask(10, 0))
    await one.renew(Ask(10, 7))
    three_ended = await two.renew(Ask(10, 0))
    await one.renew(Ask(10, 5))
    all_ended = await two.renew(Ask(10, 3))

    assert (waits.slots, told.slots) == (0, 5)
    assert (calls_not_ended.slots, three_ended.slots, all_ended.slots) == (0, 3, 5)


async def test_a_dead_workers_part_is_free_after_its_lease_and_one_that_leaves_frees_it_at_once(fleet: Fleet) -> None:
    dead, leaving, heir = (fleet.worker(slots(9)) for _ in range(3))
    parts = await settled(dead, leaving, heir)

    await leaving.leave()
    at_once = await heir.renew(Ask(9, 3))
    began = time.monotonic()
    took = Grant(0)
    while took.slots < 9:
        assert time.monotonic() < began + 10
        took = await heir.renew(Ask(9, took.slots))
        await anyio.sleep(0.02)

    assert [grant.slots for grant in parts] == [3, 3, 3]
    assert 3 < at_once.slots <= 6
    assert LEASE_S / 2 < time.monotonic() - began < 3 * LEASE_S


async def test_never_is_more_in_use_than_the_limit_whatever_workers_ask_for(fleet: Fleet) -> None:
    dice = random.Random(1)
    workers = [fleet.worker(slots(20)) for _ in range(5)]
    granted, in_use, asked = [0] * 5, [0] * 5, [0.0] * 5
    most = 0

    began = time.monotonic()
    with anyio.fail_after(60):
        while time.monotonic() < began + 2.5 or most <= 15:
            number = dice.randrange(5)
            kept = max(granted[number], in_use[number])
            asked[number] = time.monotonic()
            grant = await workers[number].renew(Ask(dice.choice([1, 4, 20, 400]), kept))
            granted[number] = grant.slots
            for other in range(5):  # calls begin and end in between
                in_use[other] = dice.randint(min(in_use[other], granted[other]), max(in_use[other], granted[other]))
            for other in range(5):
                if time.monotonic() > asked[other] + LEASE_S:  # as one that is lost to the others: nothing is his
                    granted[other] = in_use[other] = 0
            most = max(most, sum(in_use))
            for other in range(5):
                if dice.random() < 0.1:
                    asked[other] = time.monotonic()
                    await workers[other].renew(Ask(4, max(granted[other], in_use[other])))

    assert most <= 20


async def test_leaves_come_at_the_rate_and_each_who_asks_gets_his_part(fleet: Fleet) -> None:
    limits = SharedLimits(rate_per_s=200.0, workers=2)
    began = asked = time.monotonic()
    eager, late = fleet.worker(limits), fleet.worker(limits)
    got, idle_s = [0, 0], 0.0

    while time.monotonic() < began + 1.5:
        got[0] += (await eager.renew(Ask(1, 0, leaves=100))).leaves
        await anyio.sleep(0.02)
        got[1] += (await late.renew(Ask(1, 0, leaves=100))).leaves
        await anyio.sleep(0.002)
        before, asked = asked, time.monotonic()
        idle_s += max(0.0, asked - before - 0.1)  # what nobody asks for is not kept for long
    took_s = time.monotonic() - began

    assert 0.7 * 200 * (took_s - idle_s) < sum(got) <= 200 * took_s + 1
    assert min(got) > 0.3 * sum(got)


async def test_a_slow_rate_is_kept_as_well(fleet: Fleet) -> None:
    began = time.monotonic()
    worker = fleet.worker(SharedLimits(rate_per_s=2.0, workers=1))
    given_s: list[float] = []
    waited_s = 0.0

    await worker.renew(Ask(1, 0, leaves=1))
    last = time.monotonic()
    with anyio.fail_after(60):
        while len(given_s) < 3:
            asked = time.monotonic()
            if (await worker.renew(Ask(1, 0, leaves=1))).leaves:
                last = time.monotonic()
                given_s.append(last - began)
            else:
                waited_s = max(waited_s, asked - last)
            await anyio.sleep(0.05)

    assert all(at >= 0.49 * number for number, at in enumerate(given_s, start=1))
    assert waited_s < 0.51  # half a second after the last, nobody is refused one


@pytest.mark.parametrize("method", ["open", "renew", "leave"])
async def test_every_method_passes_a_checkpoint(fleet: Fleet, method: str) -> None:
    worker = fleet.worker(slots(10))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open": worker.open, "renew": lambda: worker.renew(Ask(1, 0)), "leave": worker.leave,
    }  # fmt: skip
    passed = False

    with anyio.CancelScope() as scope:
        scope.cancel()
        await calls[method]()
        passed = True

    assert not passed


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memcached://u:hunter2@host", "unknown scheme 'memcached:', known are redis:"),
        ("redis://u:hunter2@host/x", "must be a database's number"),
        ("redis://u:hunter2@host?kee=a", "unknown parameter 'kee', known are ca_file, key"),
    ],
)
def test_a_url_that_names_no_place_says_what_would(url: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        from_url(url, slots(1), lease_s=1.0)

    assert "hunter2" not in str(refused.value)
