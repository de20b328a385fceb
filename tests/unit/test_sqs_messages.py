"""The URL of a queue, and messages as SQS holds them."""

import pytest

from worker.brokers.messages import CODE, REFERENCE, TEXT, Message, dead_letter
from worker.brokers.sqs.address import parse_queue
from worker.brokers.sqs.wire import AT_ONCE, MOST_ATTRIBUTES, Entry, entry_of, message_of, portions, size_of
from worker.errors import SettingsError


def received(entry: Entry) -> Message:
    return message_of({"Body": entry["MessageBody"], "MessageAttributes": entry["MessageAttributes"]})


@pytest.mark.parametrize(
    ("url", "name", "region", "endpoint", "dead"),
    [
        ("sqs:claims", "claims", "", "", "claims-dead"),
        ("sqs:claims.fifo?group=g", "claims.fifo", "", "", "claims-dead.fifo"),
        ("sqs:?region=us-east-1", "usual", "us-east-1", "", "usual-dead"),
        ("sqs:c?dead=d&endpoint=http://localhost:1", "c", "", "http://localhost:1", "d"),
        (
            "sqs:https://sqs.us-gov-west-1.amazonaws.com/123456789012/c", "c", "us-gov-west-1",
            "https://sqs.us-gov-west-1.amazonaws.com", "c-dead",
        ),
        ("sqs:https://q.example:8/1/c?region=r-1", "c", "r-1", "https://q.example:8", "c-dead"),
    ],
)  # fmt: skip
def test_a_queue_is_a_name_or_the_services_own_url(url: str, name: str, region: str, endpoint: str, dead: str) -> None:
    queue = parse_queue(url, setting="input.url", queue="usual")

    assert (queue.name, queue.region, queue.endpoint, queue.dead_name) == (name, region, endpoint, dead)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqs://claims", "must be sqs:NAME or sqs:https://host/account/NAME"),
        ("sqs:https://key:hunter2@host/1/c", "must be sqs:NAME or"),
        ("sqs:https://host:port/1/c", "must be sqs:NAME or"),
        ("sqs:https://host/c", "must be sqs:NAME or"),
        ("sqs:my claims", "the queue's name is none that SQS allows"),
        ("sqs:" + "c" * 81, "the queue's name is none that SQS allows"),
        ("sqs:c?regoin=hunter2", "unknown parameter 'regoin', known are region"),
        ("sqs:c?region=", "parameter region is empty"),
        ("sqs:c?hunter2", "the parameters after ? cannot be read"),
        ("sqs:c?endpoint=http://k:hunter2@host", "parameter endpoint must be an origin"),
        ("sqs:c?endpoint=host:1", "parameter endpoint must be an origin"),
        ("sqs:c?group=g", "parameter group is for FIFO queues only"),
        ("sqs:c?dead=d.fifo", "a FIFO queue's dead letters go to a FIFO queue"),
        ("sqs:c.fifo?dead=d", "a FIFO queue's dead letters go to a FIFO queue"),
        ("sqs:c?dead=c", "parameter dead names the queue itself"),
    ],
)
def test_what_is_wrong_with_a_queues_url_is_said_without_secrets(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_queue(url, setting="input.url")

    assert f"input.url: {told}" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_message_comes_back_with_its_headers() -> None:
    message = Message(b"ISA", name="ü\x01.837", message_id="1", headers={"x-clinic": "7", "not allowed!": "8", "e": ""})

    entry = entry_of(message, fifo=False)
    back = received(entry)

    assert (back.body, back.name, back.message_id, dict(back.headers)) == (b"ISA", "ü?.837", "1", {"x-clinic": "7"})
    assert "MessageGroupId" not in entry


def test_a_reference_needs_no_body() -> None:
    back = received(entry_of(Message(b"", reference="file:/a"), fifo=False))

    assert (back.body, back.reference) == (b"", "file:/a")


def test_the_reason_of_a_letter_has_its_place_before_foreign_attributes() -> None:
    foreign = {f"x{number}": "y" for number in range(MOST_ATTRIBUTES)}
    letter = dead_letter(Message(b"ISA", name="a", reference="file:a", headers=foreign), "a", "poison", "it kills")

    attributes = entry_of(letter, fifo=False)["MessageAttributes"]

    assert len(attributes) == MOST_ATTRIBUTES
    assert {CODE, TEXT, REFERENCE} <= attributes.keys()


def test_binary_attributes_of_others_are_passed_over_and_what_cannot_be_decoded_stays() -> None:
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"1"}, "precheck-encoding": {"StringValue": "base64"}}

    assert message_of({"Body": "not base64!", "MessageAttributes": attributes}).body == b"not base64!"
    assert message_of({"Body": "x"}).body == b"x"


def test_a_request_holds_ten_messages_and_no_more_bytes_than_one_may_have() -> None:
    entries = [entry_of(Message(b"x" * size), fifo=False) for size in (40, 40, 30, 100, *[1] * 12)]

    cut = list(portions(entries, 100))

    assert [len(portion) for portion in cut] == [2, 1, 1, AT_ONCE, 2]
    assert [entry for portion in cut for entry in portion] == entries
    assert all(sum(map(size_of, portion)) <= 100 for portion in cut)
