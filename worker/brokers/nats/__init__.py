"""NATS JetStream: where a subject is, the connection, what a message looks like there, and publishing.

======== ==================================================================
address  the URL of a subject taken apart
session  the connection, streams made, errors translated
wire     messages as NATS holds them
sender   `worker.brokers.engine.Sender`
======== ==================================================================
"""

from worker.brokers.nats.address import address_of
from worker.brokers.nats.sender import NatsSender

__all__ = ["NatsSender", "address_of"]
