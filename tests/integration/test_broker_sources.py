"""What brokers do to their consumers, done for real: leases lost, messages removed, queues deleted, logins refused."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import anyio
import nats
import pytest
import redis.asyncio
from structlog.testing import capture_logs

from tests.brokers import PLACES, REDIS_URL, NatsPlace, Place, RabbitPlace, RedisPlace, finish
from tests.servers import nats_server, rabbitmq_server
from tests.spools import batch, names
from worker.brokers.messages import CODE, TEXT, Message
from worker.brokers.references import file_reference
from worker.claim import Delivery
from worker.errors import SettingsError, SourceUnavailable
from worker.settings import InputSettings
from worker.sources import BrokerSource, from_url

LEASED = ("nats", "redis", "sqs", "sqs-fifo")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = PLACES[request.param](tmp_path)
    yield made
    made.remove()


@pytest.fixture(params=LEASED)
def leased(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = PLACES[request.param](tmp_path)
    yield made
    made.remove()


async def take(source: BrokerSource, most: int = 10) -> list[Delivery]:
    """Take some, waiting as the worker does while the broker is out of reach."""
    with anyio.fail_after(60):
        while True:
            try:
                return list(await source.take(most))
            except SourceUnavailable:
                await anyio.sleep(0.1)


async def nothing_more(source: BrokerSource) -> bool:
    return list(await source.take(10, wait=False)) == []


def forget_leases(source: BrokerSource) -> None:
    """Stop the signs of life, as a machine that sleeps does."""
    assert source._leases is not None
    source._leases.cancel()


async def test_nothing_is_taken_before_it_is_asked_for(place: Place) -> None:
    for number in range(3):
        place.put(f"{number}.837", batch(number))
    idle, other = place.source(worker_id="idle"), place.source(worker_id="other")
    await idle.open()
    await other.open()

    taken: list[Delivery] = []
    while len(taken) < 3:
        taken += await take(other)
    await idle.close()

    assert names(taken) == {"0.837", "1.837", "2.837"}
    await other.close()


@pytest.mark.fault(107)
async def test_work_that_takes_longer_than_the_lease_is_not_delivered_twice(leased: Place) -> None:
    leased.put("slow.837", batch())
    ours, other = leased.source(lease_s=2.0), leased.source(worker_id="other", lease_s=2.0)
    await ours.open()
    await other.open()
    await take(ours)

    with anyio.move_on_after(5):  # more than two leases
        await other.take(1)
        pytest.fail("the other worker was given it as well")

    await ours.close()
    await other.close()


@pytest.mark.fault(107)
async def test_a_lost_lease_gives_another_the_same_ref_and_both_may_settle(leased: Place) -> None:
    leased.put("slow.837", batch())
    ours, other = leased.source(lease_s=1.0), leased.source(worker_id="other", lease_s=1.0)
    await ours.open()
    await other.open()
    before = await take(ours)
    forget_leases(ours)

    again = await take(other)
    await other.settle(again)
    await ours.settle(before)

    assert [one.ref for one in again] == [one.ref for one in before]
    await ours.close()
    await other.close()
    assert finish(leased.published()) == []


@pytest.mark.fault(107)
async def test_a_message_that_comes_again_while_it_is_held_is_no_second_delivery(leased: Place) -> None:
    leased.put("slow.837", batch())
    source = leased.source(lease_s=1.0)
    await source.open()
    (held,) = await take(source)
    forget_leases(source)
    await asyncio.sleep(1.5)  # the lease is over; the broker offers the message again

    offered_again = [await nothing_more(source) for _ in range(3)]
    await source.settle([held])

    assert offered_again == [True, True, True]
    await source.close()
    assert finish(leased.published()) == []


async def test_a_message_sent_twice_by_an_unsure_producer_is_one_delivery_and_both_are_settled(place: Place) -> None:
    message = Message(batch(), name="a.837", message_id="one and the same")
    place.publish(message)
    place.publish(message)
    source = place.source()
    await source.open()

    deliveries = await take(source)
    assert await nothing_more(source)
    await source.settle(deliveries)

    assert len(deliveries) == 1
    await source.close()
    assert finish(place.published()) == []


async def test_no_more_messages_are_held_than_the_prefetch(place: Place) -> None:
    for number in range(5):
        place.put(f"{number}.837", batch(number))
    ours, other = place.source(prefetch=2), place.source(worker_id="other")
    await ours.open()

    held = await take(ours)
    held += await ours.take(10, wait=False)
    await other.open()
    rest = await take(other)
    while len(rest) < 3:
        rest += await take(other)

    assert (len(held), len(rest)) == (2, 3)
    assert names(held) | names(rest) == {f"{number}.837" for number in range(5)}
    await ours.close()
    await other.close()


async def test_a_refused_batch_lies_with_the_dead_letters_with_its_reason(place: Place) -> None:
    place.put("bad.837", b"no X12")
    source = place.source()
    await source.open()
    (delivery,) = await take(source)

    await source.refuse(delivery, "not_x12", "it does not begin with ISA")
    await source.close()

    (letter,) = finish(place.letters())
    assert (letter.name, letter.body) == ("bad.837", b"no X12")
    assert (letter.headers[CODE], letter.headers[TEXT]) == ("not_x12", "it does not begin with ISA")
    assert finish(place.published()) == []


async def test_a_message_without_a_name_has_the_same_one_in_the_log_and_with_the_dead_letters(place: Place) -> None:
    place.publish(Message(b"no X12"))
    source = place.source()
    await source.open()
    (delivery,) = await take(source, 1)

    with capture_logs() as logs:
        await source.refuse(delivery, "not_x12", "it is not")
    await source.close()

    (letter,) = finish(place.letters())
    (told,) = [line for line in logs if line["event"] == "input.quarantined"]
    assert delivery.name == letter.name == told["batch"] != ""


async def test_references_are_followed_below_the_folder_and_buried_elsewhere(place: Place, tmp_path: Path) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "a.837").write_bytes(batch())
    place.publish(
        Message(b"", name="a.837", message_id="1", reference=file_reference(root / "a.837")),
        Message(b"", name="b.837", message_id="2", reference="file:/etc/passwd"),
    )
    source = place.source(reference_root=str(root))
    await source.open()

    (delivery,) = await take(source)

    assert b"".join(delivery.chunks()) == batch()
    assert await nothing_more(source)
    await source.settle([delivery])
    await source.close()
    (letter,) = finish(place.letters())
    assert (letter.name, letter.headers[CODE]) == ("b.837", "reference_outside")


async def test_a_message_larger_than_a_batch_may_be_is_buried(place: Place) -> None:
    place.put("large.837", batch(claims=50))
    place.put("small.837", batch())
    source = place.source(max_batch_bytes=len(batch()))
    await source.open()

    deliveries = await take(source)

    assert names(deliveries) == {"small.837"}
    await source.close()
    assert [letter.headers[CODE] for letter in finish(place.letters())] == ["too_large"]


@pytest.mark.parametrize("engine", PLACES)
async def test_a_missing_place_is_an_error_that_names_the_command(engine: str, tmp_path: Path) -> None:
    url = PLACES[engine](tmp_path).url

    with pytest.raises(SettingsError, match=r"is missing at .*create it: precheck-worker run --create") as refused:
        await from_url(url, InputSettings()).open()

    assert "guest:guest" not in str(refused.value)


@pytest.mark.parametrize(
    ("engine", "url"),
    [
        ("rabbitmq", "amqp://guest:hunter2@{netloc}/"),
        ("rabbitmq", "amqp://guest:guest@{netloc}/hunter2"),
        ("redis", "redis://nobody:hunter2@{netloc}/0"),
        ("redis", "redis://{netloc}/9999"),
    ],
)
async def test_a_refused_login_is_an_error_without_the_password(engine: str, url: str, tmp_path: Path) -> None:
    place = PLACES[engine](tmp_path)
    netloc = place.url.rpartition("@")[2].partition("//")[2] or place.url.rpartition("@")[2]

    with pytest.raises(SettingsError, match="refuses") as refused:
        await from_url(url.format(netloc=netloc.partition("/")[0]), InputSettings()).open()

    assert ":hunter2" not in str(refused.value)


async def test_a_login_that_nats_refuses_is_an_error_without_the_password(tmp_path: Path) -> None:
    server = nats_server(tmp_path, "--user", "worker", "--pass", "correct")
    server.start()
    netloc = server.url.removeprefix("nats://")

    for login in ("worker:hunter2@", ""):
        with pytest.raises(SettingsError, match="refuses this user") as refused:
            await from_url(f"nats://{login}{netloc}", InputSettings()).open()
        assert "hunter2" not in str(refused.value)

    server.kill()


@pytest.mark.fault(110)
@pytest.mark.parametrize("key", ["stream", "group"])
async def test_a_redis_stream_or_group_deleted_under_us_is_told_and_made_anew(key: str, tmp_path: Path) -> None:
    place = RedisPlace(tmp_path)
    source = place.source()
    await source.open()
    if key == "stream":
        place.client.delete(place.stream)
    else:
        place.client.xgroup_destroy(place.stream, "precheck")

    with pytest.raises(SourceUnavailable, match=r"its group is missing .*--create"):
        await source.take(1)
    place.put("later.837", batch())
    later = await take(source)

    assert names(later) == {"later.837"}
    await source.close()
    place.remove()


@pytest.mark.fault(110)
async def test_entries_trimmed_while_a_dead_worker_held_them_are_an_alarm_and_the_rest_flows(tmp_path: Path) -> None:
    place = RedisPlace(tmp_path)
    place.put("trimmed.837", batch())
    dead, source = place.source(worker_id="dead"), place.source(lease_s=0.5)
    await dead.open()
    await take(dead)
    forget_leases(dead)
    place.client.xtrim(place.stream, maxlen=0, approximate=False)
    place.put("other.837", batch(2))

    with capture_logs() as logs:
        await source.open()
        deliveries = await take(source)
        with anyio.fail_after(30):
            while not any(line["event"] == "input.lost" for line in logs):
                assert await nothing_more(source)

    assert names(deliveries) == {"other.837"}
    assert [line["count"] for line in logs if line["event"] == "input.lost"] == [1]
    await dead.close()
    await source.close()
    place.remove()


@pytest.mark.fault(110)
@pytest.mark.parametrize("what", ["stream", "consumer"])
async def test_a_nats_stream_or_consumer_deleted_under_us_is_told_and_made_anew(what: str, tmp_path: Path) -> None:
    place = NatsPlace(tmp_path)
    source = place.source()
    await source.open()
    client = await nats.connect(place.server)
    if what == "stream":
        await client.jetstream().delete_stream(place.stream)
    else:
        await client.jetstream().delete_consumer(place.stream, "precheck")
    await client.close()

    with pytest.raises(SourceUnavailable, match=r"is missing .*--create|was deleted"), anyio.fail_after(60):
        await source.take(1)
    place.put("later.837", batch())
    later = await take(source)

    assert names(later) == {"later.837"}
    await source.close()
    place.remove()


@pytest.mark.fault(110)
async def test_a_message_that_reaches_max_deliver_of_a_foreign_consumer_is_an_alarm(tmp_path: Path) -> None:
    place = NatsPlace(tmp_path)
    place.put("a.837", batch())
    client = await nats.connect(place.server)
    await client.jetstream().add_consumer(
        place.stream, durable_name="precheck", ack_policy="explicit", ack_wait=1, max_deliver=1
    )
    await client.close()
    source = place.source()

    with capture_logs() as logs:
        await source.open()
        await take(source)
        forget_leases(source)
        with anyio.fail_after(30):
            while not any(line["event"] == "input.lost" for line in logs):
                assert await nothing_more(source)
                await anyio.sleep(0.1)

    assert any("max_deliver 1; set -1" in line["detail"] for line in logs if line["event"] == "settings.warned")
    await source.close()
    place.remove()


@pytest.mark.fault(108)
@pytest.mark.fault(110)
async def test_a_rabbitmq_queue_deleted_under_us_is_told_and_made_anew(tmp_path: Path) -> None:
    """The connection stands, nobody consumes: the watchdog sees it although the library says nothing."""
    place = RabbitPlace(tmp_path)
    source = place.source()
    await source.open()
    assert await nothing_more(source)  # it consumes from now on
    place.remove()

    with pytest.raises(SourceUnavailable, match=r"the queue '[^']+' is missing .*--create"), anyio.fail_after(60):
        await source.take(1)
    place.put("later.837", batch())
    later = await take(source)

    assert names(later) == {"later.837"}
    await source.close()
    place.remove()


@pytest.mark.fault(108)
async def test_a_connection_without_a_consumer_is_given_up_and_opened_anew(tmp_path: Path) -> None:
    """The queue is deleted and made again by somebody else before we look: it is there, and we do not consume.

    Not within milliseconds: RabbitMQ 3.10 then takes the new queue for the old one, counts us as its consumer and gives
    the message to nobody, which no client can see (config/rabbitmq.toml).
    """
    place = RabbitPlace(tmp_path)
    source = place.source()
    await source.open()
    assert await nothing_more(source)  # it consumes from now on
    place.remove()
    await anyio.sleep(1.0)
    place.put("waits.837", batch())

    with pytest.raises(SourceUnavailable, match="rabbitmq"), anyio.fail_after(60):
        await source.take(1)
    later = await take(source)

    assert names(later) == {"waits.837"}
    await source.close()
    place.remove()


@pytest.mark.slow
@pytest.mark.fault(107)
async def test_a_message_held_past_rabbitmqs_consumer_timeout_comes_again_and_is_no_second_delivery(
    tmp_path: Path,
) -> None:
    server = rabbitmq_server(tmp_path, consumer_timeout=2000, channel_tick_interval=1000)
    server.start()
    place = RabbitPlace(tmp_path, server.url)
    place.put("slow.837", batch())
    source = place.source()
    await source.open()
    (held,) = await take(source)

    with pytest.raises(SourceUnavailable, match=r"closed the channel|cannot be reached"), anyio.fail_after(60):
        await source.take(1)
    for _ in range(3):
        assert await nothing_more(source)
    await source.settle([held])
    await source.close()

    assert finish(place.published()) == []
    server.kill()


async def test_a_redis_that_forgets_what_it_confirms_is_warned_of(tmp_path: Path) -> None:
    place = RedisPlace(tmp_path)
    client = redis.asyncio.Redis.from_url(REDIS_URL)
    keeps = (await client.info("persistence"))["aof_enabled"]
    await client.aclose()
    source = place.source()

    with capture_logs() as logs:
        await source.open()

    warned = [line["detail"] for line in logs if line["event"] == "settings.warned"]
    assert bool(warned) == (not keeps)
    await source.close()
    place.remove()
