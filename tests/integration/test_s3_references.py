"""Messages that name objects in S3: what is announced is what is read, nothing else is, and S3 may be away."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.brokers import RedisPlace, finish
from tests.s3 import Store
from tests.spools import batch, names
from tests.sqs import Relay, endpoint
from worker.brokers.messages import CODE, Message
from worker.brokers.references import file_reference, objects_of
from worker.claim import SMALL_BYTES, Delivery
from worker.errors import SettingsError, SourceUnavailable
from worker.settings import InputSettings
from worker.sources import BrokerSource, from_url

LARGE = batch(claims=1) + b"\r\n" * SMALL_BYTES


@pytest.fixture
def place(tmp_path: Path) -> Iterator[RedisPlace]:
    made = RedisPlace(tmp_path)
    yield made
    made.remove()


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.remove()


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay(endpoint())
    made.start()
    yield made
    made.kill()


def announce(place: RedisPlace, *references: str) -> None:
    """Publish a message a reference, named by what stands after the last slash."""
    place.publish(
        *(
            Message(b"", name=one.rpartition("/")[2].partition("?")[0], message_id=str(number), reference=one)
            for number, one in enumerate(references)
        )
    )


async def take(source: BrokerSource, count: int = 1) -> list[Delivery]:
    """Take so many, waiting as the worker does while the input is out of reach."""
    taken: list[Delivery] = []
    with anyio.fail_after(60):
        while len(taken) < count:
            try:
                taken += await source.take(10)
            except SourceUnavailable:
                await anyio.sleep(0.1)
    return taken


async def take_for_ever(source: BrokerSource) -> None:
    with anyio.fail_after(30):
        while True:
            await source.take(10, wait=False)


def codes(place: RedisPlace) -> dict[str, str]:
    return {letter.name: letter.headers[CODE] for letter in finish(place.letters())}


async def test_an_object_below_the_place_is_read(place: RedisPlace, store: Store) -> None:
    store.put("day/a b%?.837", batch())
    announce(place, store.reference("day/a%20b%25%3F.837"))
    source = place.source(reference_buckets=(store.place("day"),))
    await source.open()

    (delivery,) = await take(source)

    assert b"".join(delivery.chunks()) == batch()
    await source.settle([delivery])
    await source.close()
    assert finish(place.published()) == []


async def test_a_large_object_lies_in_a_file_of_ours_until_its_batch_is_settled(
    place: RedisPlace, store: Store, tmp_path: Path
) -> None:
    store.put("large.837", LARGE)
    announce(place, store.reference("large.837"))
    folder = tmp_path / "fetched"
    folder.mkdir()
    (folder / "precheck-left.837").write_bytes(b"of a process that died")
    (folder / "notes.txt").write_bytes(b"somebody else's")
    settings = InputSettings(reference_buckets=(store.place(),))
    source = from_url(place.url, settings, worker_id="tester", fetched=folder, create=True)
    assert isinstance(source, BrokerSource)
    await source.open()

    (delivery,) = await take(source)
    files = list(folder.iterdir())
    content = b"".join(delivery.chunks())
    await source.settle([delivery])

    assert content == LARGE
    assert {*files} == {delivery.path, folder / "notes.txt"}
    assert list(folder.iterdir()) == [folder / "notes.txt"]
    await source.close()


async def test_two_workers_do_not_fetch_into_one_folder(place: RedisPlace, store: Store, tmp_path: Path) -> None:
    settings = InputSettings(reference_buckets=(store.place(),))
    folder = tmp_path / "fetched"
    one, other = (from_url(place.url, settings, fetched=folder, create=True) for _ in range(2))
    await one.open()
    left = folder / "precheck-in-work.837"
    left.touch()

    with pytest.raises(SettingsError, match=r"input\.fetch_folder: another worker fetches into"):
        await other.open()
    assert left.exists()
    await one.close()
    await other.open()

    assert not left.exists()
    await other.close()


async def test_what_is_not_there_not_allowed_or_too_large_lies_with_the_dead_letters(
    place: RedisPlace, store: Store
) -> None:
    for key in ("day/a.837", "day/large.837", "other/b.837", "day-of-others/c.837"):
        store.put(key, batch(claims=50 if "large" in key else 1))
    announce(
        place,
        store.reference("day/a.837"),
        store.reference("day/large.837"),
        store.reference("day/missing.837"),
        store.reference("day/../other/b.837"),
        store.reference("day-of-others/c.837"),
        "s3://another-bucket/day/d.837",
    )
    source = place.source(reference_buckets=(store.place("day"),), max_batch_bytes=len(batch()))
    await source.open()

    deliveries = await take(source)
    with anyio.fail_after(30):
        while len(codes(place)) < 5:
            await source.take(10, wait=False)

    await source.settle(deliveries)
    await source.close()
    assert names(deliveries) == {"a.837"}
    assert codes(place) == {
        "large.837": "too_large",
        "missing.837": "reference_missing",
        "b.837": "reference_outside",
        "c.837": "reference_outside",
        "d.837": "reference_outside",
    }
    assert finish(place.published()) == []


async def test_what_was_announced_is_what_is_read(place: RedisPlace, store: Store) -> None:
    settings = InputSettings(reference_buckets=(store.place(),))
    store.put("changed.837", batch(1))
    announcer = objects_of(settings)
    changed = str(await announcer.announced(store.reference("changed.837")))
    store.put("changed.837", batch(2))
    store.keep_versions()
    store.put("kept.837", batch(3))
    kept = str(await announcer.announced(store.reference("kept.837")))
    store.put("kept.837", batch(4))
    await announcer.close()
    announce(place, changed, kept)
    source = place.source(reference_buckets=settings.reference_buckets)
    await source.open()

    (delivery,) = await take(source)
    with anyio.fail_after(30):
        while not codes(place):
            await source.take(10, wait=False)

    assert b"".join(delivery.chunks()) == batch(3)
    assert codes(place) == {"changed.837": "reference_changed"}
    await source.settle([delivery])
    await source.close()


@pytest.mark.fault(108)
async def test_while_s3_is_away_its_messages_wait_and_others_go_on(
    place: RedisPlace, store: Store, relay: Relay, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "file.837").write_bytes(batch(1))
    store.put("object.837", batch(2))
    announce(place, store.reference("object.837"), file_reference(root / "file.837"))
    source = place.source(reference_buckets=(store.place(origin=relay.url),), reference_root=str(root))
    relay.kill()
    await source.open()

    with capture_logs() as logs:
        beside = await take(source)
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await take_for_ever(source)
    relay.start()
    after = await take(source)

    assert (names(beside), names(after)) == ({"file.837"}, {"object.837"})
    assert [one["event"] for one in logs if one["log_level"] != "info"] == ["input.reference_waits"]
    assert codes(place) == {}
    await source.settle([*beside, *after])
    await source.close()
    assert finish(place.published()) == []


async def test_a_worker_that_stops_while_s3_is_away_gives_the_message_back(
    place: RedisPlace, store: Store, relay: Relay
) -> None:
    store.put("object.837", batch())
    announce(place, store.reference("object.837"))
    source = place.source(reference_buckets=(store.place(origin=relay.url),))
    relay.kill()
    await source.open()
    with pytest.raises(SourceUnavailable):
        await take_for_ever(source)

    await source.close()
    relay.start()
    other = place.source(worker_id="other", reference_buckets=(store.place(),))
    await other.open()

    assert names(await take(other)) == {"object.837"}
    await other.close()


async def test_a_bucket_that_is_not_there_is_waited_for_and_named(place: RedisPlace, store: Store) -> None:
    missing = store.place().replace(store.bucket, "not-there")

    objects = objects_of(InputSettings(reference_buckets=(missing,)))

    with pytest.raises(SourceUnavailable, match=r"there is no bucket at s3://not-there/"):
        await objects.look()

    await objects.close()
