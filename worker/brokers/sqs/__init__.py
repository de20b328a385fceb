"""Amazon SQS: where a queue is, what a message looks like there, the session with the service, and publishing.

======== ==================================================================
address  the URL of a queue taken apart
wire     messages as SQS holds them: text, few attributes, a limit for both
session  the client, what queues are like, errors translated
sender   `worker.brokers.engine.Sender`
======== ==================================================================
"""

from worker.brokers.sqs.address import QueueAddress, parse_queue
from worker.brokers.sqs.sender import SqsSender

__all__ = ["QueueAddress", "SqsSender", "parse_queue"]
