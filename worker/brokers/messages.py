"""What a message carries, whatever the broker: one batch as its body, or a reference to one, and who it is.

========================= =============================================================================
header                    meaning
========================= =============================================================================
``precheck-name``         the batch's name for people, like a file's base name
``precheck-reference``    where the batch lies; the body then means nothing (`worker.brokers.references`)
``precheck-code``         on a dead letter: why, in a word
``precheck-text``         on a dead letter: why, in a sentence
========================= =============================================================================

The producer's message id, if it gives one, makes a message that was sent twice one delivery.
"""

import hashlib
from collections.abc import Mapping

import msgspec

NAME = "precheck-name"
REFERENCE = "precheck-reference"
CODE = "precheck-code"
TEXT = "precheck-text"

MOST_NAME_CHARS = 255


class Message(msgspec.Struct, frozen=True, eq=False):
    """One message. `message_id` is the producer's, "" for none; `headers` are further ones, for people and filters."""

    body: bytes
    name: str = ""
    message_id: str = ""
    reference: str = ""
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Say nothing of the content: reprs end in logs."""
        return f"<Message of {len(self.body)} bytes>"

    def all_headers(self) -> dict[str, str]:
        """Give all headers as they go with the message."""
        own = {NAME: self.name, REFERENCE: self.reference}
        return {**{name: value for name, value in own.items() if value}, **self.headers}


def message_from(body: bytes, headers: Mapping[str, str], *, message_id: str = "") -> Message:
    """Read a message as it came; headers that are not ours are kept."""
    rest = {name: value for name, value in headers.items() if name not in (NAME, REFERENCE)}
    name = "".join(letter if letter.isprintable() else "?" for letter in headers.get(NAME, ""))[:MOST_NAME_CHARS]
    return Message(body, name, message_id, headers.get(REFERENCE, ""), rest)


def ref_of(scheme: str, place: str, message: Message, *, identity: str = "") -> str:
    """Make the delivery's ref: the same for every redelivery, another for another delivery of equal bytes.

    `identity` is the broker's own for the message, if it has one.
    """
    return f"{scheme}:{place}:{digest_of(message, identity=identity)[:32]}"


def digest_of(message: Message, *, identity: str = "") -> str:
    """Make the digest by which a message that was sent twice is known: of its producer's id and its content.

    The producer's id goes before `identity`, the broker's own, as a producer that is not sure sends again. The content
    counts as well, as a producer may use one id for everything. Hashed, because ids may be made of names.
    """
    digest = hashlib.sha256(f"{message.message_id or identity}\0{message.reference}\0".encode())
    digest.update(message.body)
    return digest.hexdigest()


def dead_letter(message: Message, name: str, code: str, text: str) -> Message:
    """Make the letter that is put aside for a message that can never be processed; by its `name` the log knows it."""
    return msgspec.structs.replace(message, name=name, headers={**message.headers, CODE: code, TEXT: text})
