"""Messages as NATS holds them: a body and headers.

A message's id goes as ``Nats-Msg-Id``: the server keeps one of those that come within the stream's window (`dedup_s`
where --create made it).
"""

from collections.abc import Mapping

from nats.aio.msg import Msg
from nats.js.api import Header

from worker.brokers.messages import Message, message_from


def headers_of(message: Message) -> dict[str, str]:
    """Lay a message's headers out; a line break would end the header, and none is of use there."""
    headers = {name: value.replace("\r", " ").replace("\n", " ") for name, value in message.all_headers().items()}
    return {**headers, Header.MSG_ID.value: message.message_id} if message.message_id else headers


def message_of(received: Msg) -> Message:
    """Read a message as it came."""
    headers: Mapping[str, str] = received.headers or {}
    own = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
    return message_from(received.data, own, message_id=headers.get(Header.MSG_ID.value, ""))
