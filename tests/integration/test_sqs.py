"""What is SQS's own: text bodies, sizes, two kinds of queues, redrive policies, credentials; against moto's server."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests import sqs
from tests.brokers import SqsFifoPlace, SqsPlace, finish
from tests.spools import batch, names
from tests.sqs import Relay
from worker import sinks
from worker.brokers.messages import CODE, Message
from worker.brokers.senders import CLAIMS, sender_from_url
from worker.claim import Delivery
from worker.errors import SettingsError, SinkUnavailable, SourceUnavailable, StateError
from worker.ports import Emission
from worker.settings import InputSettings
from worker.sources import BrokerSource, from_url

# aiohttp says so of bodies of more than 1 MiB, and asks for a file instead; the library gives it bytes.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

BODIES = {
    "control separators": batch().replace(b"*", b"\x1d").replace(b"~", b"\x1e"),
    "line breaks": batch().replace(b"~", b"~\r\n"),
    "latin-1": b"\xe9\xff",
    "no character": "ü\ufffe".encode(),
    "dash": b"-",
    "markup": b"<&>",
    "blank": b" ",
    "empty": b"",
}


@pytest.fixture(params=[SqsPlace, SqsFifoPlace], ids=["standard", "fifo"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqsPlace]:
    made = request.param(tmp_path)
    yield made
    made.remove()


async def take(source: BrokerSource) -> list[Delivery]:
    with anyio.fail_after(30):
        return list(await source.take(100))


async def purge(place: SqsPlace) -> None:
    async with place.client() as client:
        url = (await client.get_queue_url(QueueName=place.queues[0]))["QueueUrl"]
        await client.purge_queue(QueueUrl=url)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_every_byte_comes_as_it_went(place: SqsPlace, body: bytes) -> None:
    place.put("a.837", body)
    source = place.source()
    await source.open()

    (delivery,) = await take(source)

    assert b"".join(delivery.chunks()) == body
    await source.close()


async def test_many_are_received_at_once_though_a_request_gives_ten(place: SqsPlace) -> None:
    place.publish(*(Message(batch(number), name=f"{number}", message_id=f"{number}") for number in range(45)))
    source = place.source(prefetch=40)
    await source.open()

    taken = await take(source)
    at_once = len(taken)
    while len(taken) < 40:  # moto may give one message to two requests that come at once, as SQS may
        taken += await take(source)
    await source.settle(taken)
    rest = await take(source)

    assert at_once > 10
    assert len(names(taken)) == 40
    assert len(names(rest)) <= 5
    await source.close()


@pytest.mark.fault(45)
async def test_the_largest_message_is_taken_whatever_its_bytes_and_is_buried_whole(place: SqsPlace) -> None:
    sender = sender_from_url(place.url, setting="test", place=CLAIMS)
    await sender.open(create=True)
    body = b"\xff" * (sender.most_bytes - 4096)
    await sender.close()
    place.put("binary", body)
    source = place.source()
    await source.open()

    (delivery,) = await take(source)
    await source.refuse(delivery, "not_x12", "it does not begin with ISA")

    await source.close()
    (letter,) = finish(place.letters())
    assert len(body) > 700_000
    assert letter.body == body


@pytest.mark.fault(45)
async def test_a_letter_too_large_for_its_reason_goes_without_it(place: SqsPlace) -> None:
    place.put("first", batch())
    source = place.source()
    await source.open()
    await source.settle(await take(source))
    async with place.client() as client:
        url = (await client.get_queue_url(QueueName=place.queues[0]))["QueueUrl"]
        more = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if url.endswith(".fifo") else {}
        await client.send_message(QueueUrl=url, MessageBody="x" * (1 << 20), **more)

    (delivery,) = await take(source)
    await source.refuse(delivery, "not_x12", "it does not begin with ISA")

    await source.close()
    (letter,) = finish(place.letters())
    assert (len(letter.body), CODE in letter.headers) == (1 << 20, False)
    assert finish(place.left()) == 0


@pytest.mark.fault(45)
async def test_a_message_larger_than_the_queue_takes_is_refused_for_good(place: SqsPlace) -> None:
    with pytest.raises(StateError, match="is too large for") as refused:
        place.put("large", b"\xff" * (1 << 20))

    assert not isinstance(refused.value, SinkUnavailable)


async def test_a_fifo_queue_keeps_one_of_an_id_and_a_standard_queue_keeps_both(tmp_path: Path) -> None:
    for kind, kept in ((SqsPlace, 2), (SqsFifoPlace, 1)):
        place = kind(tmp_path)
        for _ in range(2):
            place.publish(Message(b"one", message_id="same"))

        assert finish(place.left()) == kept
        place.remove()


async def test_other_content_under_one_id_is_no_duplicate_to_a_fifo_queue(tmp_path: Path) -> None:
    place = SqsFifoPlace(tmp_path)

    place.publish(Message(b"one", message_id="same"), Message(b"two", message_id="same"))

    assert finish(place.left()) == 2
    place.remove()


async def test_a_result_that_two_workers_told_is_in_a_fifo_queue_once(tmp_path: Path) -> None:
    place = SqsFifoPlace(tmp_path)
    for attempts in (1, 2):
        sink = place.sink()
        await sink.open(None)
        await sink.write([Emission(1, 1, "b:1:1", b'{"attempts":%d}' % attempts)])
        await sink.close()

    assert [one.body for one in await place.published()] == [b'{"attempts":1}']
    place.remove()


@pytest.mark.parametrize(("group", "to_the_other"), [("", {"1"}), ("&group=claims", set())])
async def test_a_fifo_queue_feeds_several_workers_unless_one_group_keeps_the_order(
    group: str, to_the_other: set[str], tmp_path: Path
) -> None:
    place = SqsFifoPlace(tmp_path)
    place.url += group
    for number in range(2):
        place.put(f"{number}", batch(number))
    source, other = place.source(prefetch=1), place.source(worker_id="other", prefetch=1)
    await source.open()
    await other.open()

    first = await take(source)
    second = await other.take(1, wait=False)

    assert (names(first), names(second)) == ({"0"}, to_the_other)
    await source.close()
    await other.close()
    place.remove()


async def test_dead_letters_go_where_the_redrive_policy_leads_and_a_low_count_is_warned_of(tmp_path: Path) -> None:
    place = SqsPlace(tmp_path)
    queue, dead = place.queues[0], f"{place.queues[0]}-aside"
    place.queues = (queue, dead)
    async with place.client() as client:
        url = (await client.create_queue(QueueName=dead))["QueueUrl"]
        arn = (await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
        attributes = {"RedrivePolicy": policy, "MessageRetentionPeriod": "3600"}
        await client.create_queue(QueueName=queue, Attributes=attributes)
    place.put("bad.837", b"no X12")
    source = place.source()

    with capture_logs() as logs:
        await source.open()
    (delivery,) = await take(source)
    await source.refuse(delivery, "not_x12", "it does not begin with ISA")

    await source.close()
    warned = [line["detail"] for line in logs if line["event"] == "settings.warned"]
    assert len(warned) == 2
    assert "after 3 deliveries" in warned[0]
    assert "less than a day" in warned[1]
    assert [letter.headers[CODE] for letter in finish(place.letters())] == ["not_x12"]
    place.remove()


async def test_a_queue_is_found_by_its_own_url_as_well(place: SqsPlace) -> None:
    place.put("a.837", batch())
    own = f"{place.server}/123456789012/{place.queues[0]}"
    source = from_url(f"sqs:{own}?region={sqs.REGION}", InputSettings(), create=True)
    await source.open()

    taken = await source.take(1)

    assert names(list(taken)) == {"a.837"}
    await source.close()


async def test_results_need_no_queue_for_dead_letters(place: SqsPlace) -> None:
    sink = place.sink()
    await sink.open(None)
    await sink.close()

    async with place.client() as client:
        with pytest.raises(client.exceptions.QueueDoesNotExist):
            await client.get_queue_url(QueueName=place.queues[1])


@pytest.mark.fault(110)
async def test_a_queue_deleted_under_us_is_told_and_made_anew(place: SqsPlace) -> None:
    source = place.source()
    await source.open()
    place.remove()

    with pytest.raises(SourceUnavailable, match=r"is missing .*--create"):
        await source.take(1)
    place.put("later.837", batch())

    assert names(await take(source)) == {"later.837"}
    await source.close()


@pytest.mark.fault(110)
async def test_a_purged_queue_is_empty_and_what_was_held_can_be_settled(place: SqsPlace) -> None:
    for number in range(2):
        place.put(f"{number}", batch(number))
    source = place.source(prefetch=1)
    await source.open()
    held = await take(source)
    await purge(place)

    await source.settle(held)

    assert list(await source.take(1, wait=False)) == []
    await source.close()


@pytest.mark.fault(107)
async def test_a_lease_that_the_service_ended_is_warned_of_and_a_settled_one_is_not(place: SqsPlace) -> None:
    place.put("a", batch())
    source = place.source(lease_s=1.0)
    await source.open()
    (held,) = await take(source)
    await purge(place)

    with capture_logs() as logs:
        with anyio.fail_after(60):
            while not logs:  # noqa: ASYNC110 - nobody rings
                await anyio.sleep(0.02)
        await anyio.sleep(0.8)  # for it to be told twice
    await source.settle([held])
    with capture_logs() as later:
        await anyio.sleep(0.8)

    assert [line["event"] for line in logs] == ["input.lease_failed"]
    assert "the lease of 1 is over" in logs[0]["detail"]
    assert later == []
    await source.close()


async def test_refused_credentials_are_an_error_that_shows_none(tmp_path: Path) -> None:
    server = sqs.moto_server(tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="0")
    server.start()
    url = f"sqs:claims?region={sqs.REGION}&endpoint={server.url}"
    try:
        with pytest.raises(SettingsError, match="refuses these credentials or their rights") as told:
            await from_url(url, InputSettings()).open()
        sink = sinks.from_url(url)
        with pytest.raises(SettingsError, match="refuses these credentials"):
            await sink.open(None)
        await sink.close()
    finally:
        server.kill()

    assert not any(secret in str(told.value) for secret in sqs.CREDENTIALS.values())


@pytest.mark.parametrize(
    ("missing", "told"),
    [("AWS_SECRET_ACCESS_KEY", "there are no credentials"), ("", r"no region is given .*region=… or AWS_REGION")],
)
async def test_what_the_environment_lacks_is_named(
    missing: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    if missing:
        monkeypatch.delenv(missing)
    region = f"region={sqs.REGION}&" if missing else ""

    with pytest.raises(SettingsError, match=told):
        await from_url(f"sqs:claims?{region}endpoint={sqs.endpoint()}", InputSettings()).open()


@pytest.mark.fault(108)
async def test_a_service_out_of_reach_at_the_start_is_waited_for(tmp_path: Path) -> None:
    relay = Relay(sqs.endpoint())
    place = SqsPlace(tmp_path, relay.url)
    source = place.source()

    await source.open()
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        await source.take(1)
    relay.start()
    place.put("a.837", batch())

    assert names(await take(source)) == {"a.837"}
    await source.close()
    place.remove()
    relay.kill()
