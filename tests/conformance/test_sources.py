"""What every source must do; the real ones and the one in memory are held to the same."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.brokers import PLACES
from tests.spools import SpoolFolder, batch, names
from worker.claim import Delivery
from worker.errors import SettingsError, SourceUnavailable
from worker.ports import Source
from worker.settings import InputSettings
from worker.sources import DirectorySource, ListedFiles, from_url
from worker.testing import MemorySource
from worker.x12 import survey


class Input:
    """One input of a source: delivers as a producer would, and makes the source again as a restarted worker would."""

    def __init__(
        self,
        source: Callable[[], Source],
        put: Callable[[str, bytes], object],
        remove: Callable[[], object] = lambda: None,
    ) -> None:
        self.source = source
        self.put = put
        self.remove = remove
        self.opened: list[Source] = []

    async def open(self) -> Source:
        source = self.source()
        await source.open()
        self.opened.append(source)
        return source

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()


def fast_clock() -> float:
    return 20 * time.monotonic()


def made(kind: str, root: Path) -> Input:
    if kind == "memory":
        kept = MemorySource()
        return Input(lambda: kept, kept.put)
    if kind in PLACES:
        broker = PLACES[kind](root)
        return Input(broker.source, broker.put, broker.remove)
    spool = SpoolFolder(root / "spool")
    if kind == "listed":
        return Input(lambda: ListedFiles([spool.incoming]), spool.put)
    options = {
        "directory": {},
        "directory, renamed in": {"ready": "renamed"},
        "directory, kernel not asked": {
            "ask_kernel": False,
            "monotonic": lambda: 20 * time.monotonic(),
            "rescan_s": 0.05,
        },
    }[kind]
    return Input(lambda: spool.source(**options), spool.put)  # type: ignore[arg-type]  # options of different kinds


DIRECTORIES = ["directory", "directory, renamed in", "directory, kernel not asked"]


@pytest.fixture(params=[*DIRECTORIES, *PLACES, "memory"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Input]:
    made_place = made(request.param, tmp_path)
    yield made_place
    await made_place.close()
    made_place.remove()


@pytest.fixture(params=[*DIRECTORIES, *PLACES, "memory", "listed"])
async def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Input]:
    made_place = made(request.param, tmp_path)
    yield made_place
    await made_place.close()
    made_place.remove()


async def take_one(source: Source) -> Delivery:
    with anyio.fail_after(60):
        (delivery,) = await source.take(1)
    return delivery


async def test_a_batch_is_delivered_with_its_bytes(any_place: Input) -> None:
    any_place.put("a.837", batch())
    source = await any_place.open()

    delivery = await take_one(source)

    assert delivery.name == "a.837"
    assert delivery.size == len(batch())
    assert b"".join(delivery.chunks()) == batch()
    assert delivery.sha256 in (None, hashlib.sha256(batch()).hexdigest())
    assert delivery.survey in (None, survey([batch()]))


async def test_no_more_are_taken_than_asked_for_and_none_twice(any_place: Input) -> None:
    for number in range(5):
        any_place.put(f"{number}.837", batch(number))
    source = await any_place.open()

    first = await source.take(3, wait=False)
    second = await source.take(3, wait=False)
    third = await source.take(3, wait=False)

    assert (len(first), len(second), len(third)) == (3, 2, 0)
    assert names([*first, *second]) == {f"{number}.837" for number in range(5)}


async def test_an_empty_input_gives_nothing_if_not_waited_for(any_place: Input) -> None:
    source = await any_place.open()

    assert list(await source.take(10, wait=False)) == []


async def test_taking_waits_until_a_batch_arrives(place: Input) -> None:
    source = await place.open()
    taken: list[Delivery] = []

    async def take() -> None:
        taken.extend(await source.take(1))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            place.put("late.837", batch())

    assert names(taken) == {"late.837"}


async def test_a_cancelled_wait_loses_nothing(place: Input) -> None:
    source = await place.open()
    with anyio.move_on_after(0.05):
        await source.take(1)

    place.put("a.837", batch())

    assert (await take_one(source)).name == "a.837"


async def test_equal_bytes_delivered_twice_have_two_refs(any_place: Input) -> None:
    any_place.put("a.837", batch())
    any_place.put("b.837", batch())
    source = await any_place.open()

    first, second = await take_one(source), await take_one(source)

    assert first.ref != second.ref


async def test_what_was_released_is_taken_again_with_the_same_ref(place: Input) -> None:
    place.put("a.837", batch())
    source = await place.open()
    before = await take_one(source)

    await source.release([before])
    after = await take_one(source)

    assert (after.name, after.ref) == (before.name, before.ref)


async def test_what_was_not_settled_is_found_again_after_a_restart(place: Input) -> None:
    place.put("a.837", batch())
    source = await place.open()
    before = await take_one(source)
    await place.close()

    after = await take_one(await place.open())

    assert (after.name, after.ref) == (before.name, before.ref)
    assert b"".join(after.chunks()) == batch()


async def test_what_was_settled_is_gone_and_settling_is_idempotent(place: Input) -> None:
    place.put("a.837", batch())
    source = await place.open()
    delivery = await take_one(source)

    await source.settle([delivery])
    await source.settle([delivery])
    await place.close()

    assert list(await (await place.open()).take(1, wait=False)) == []


async def test_before_it_is_open_nothing_was_set_aside(any_place: Input) -> None:
    assert any_place.source().set_aside == 0


async def test_what_was_refused_is_not_delivered_again(place: Input) -> None:
    place.put("a.837", batch())
    source = await place.open()
    delivery = await take_one(source)

    await source.refuse(delivery, "no_claims", "there is no claim")
    await source.settle([delivery])
    await place.close()

    assert source.set_aside == 1
    assert list(await (await place.open()).take(1, wait=False)) == []


async def test_a_refused_batch_is_told_once_with_its_name_and_its_reason(any_place: Input) -> None:
    any_place.put("a.837", batch())
    source = await any_place.open()
    delivery = await take_one(source)

    with capture_logs() as logs:
        await source.refuse(delivery, "no_claims", "there is no claim")

    assert [(line["batch"], line["code"], line["detail"], line["log_level"]) for line in logs] == [
        ("a.837", "no_claims", "there is no claim", "warning")
    ]


async def test_a_batch_given_to_one_is_kept_from_everybody_until_it_is_released(any_place: Input) -> None:
    any_place.put("a.837", batch())
    source = await any_place.open()
    await take_one(source)

    assert list(await source.take(1, wait=False)) == []


async def test_nothing_is_left_over_when_all_was_taken(any_place: Input) -> None:
    any_place.put("a.837", batch())
    source = await any_place.open()
    await take_one(source)

    assert list(await source.left_over()) == []


@pytest.mark.parametrize("method", ["open", "take", "settle", "refuse", "release", "left_over"])
async def test_every_method_passes_a_checkpoint(any_place: Input, method: str) -> None:
    any_place.put("a.837", batch())
    source = await any_place.open()
    delivery = await take_one(source)
    calls = {
        "open": lambda: any_place.source().open(),
        "take": lambda: source.take(1, wait=False),
        "settle": lambda: source.settle([delivery]),
        "refuse": lambda: source.refuse(delivery, "code", "text"),
        "release": lambda: source.release([delivery]),
        "left_over": source.left_over,
    }
    passed = False

    with anyio.CancelScope() as scope:
        scope.cancel()
        await calls[method]()
        passed = True

    assert not passed


async def test_the_fake_fails_on_demand() -> None:
    source = MemorySource()
    source.failure = SourceUnavailable("input: gone")

    with pytest.raises(SourceUnavailable, match="gone"):
        await source.take(1)


def test_a_url_names_a_folder() -> None:
    assert isinstance(from_url("dir:spool/in", InputSettings()), DirectorySource)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://user:secret@host/x", "unknown scheme 'ftp:', known are dir:"),
        ("dir:", "no path after 'dir:'"),
        ("spool/in", "unknown scheme"),
    ],
)
def test_a_url_that_names_no_source_says_what_would(url: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as raised:
        from_url(url, InputSettings())

    assert "secret" not in str(raised.value)
