"""From a broker's URL to what messages are taken from: for the source, and for commands that only look or prepare."""

import os
import re
import socket

from worker.brokers.engine import Inlet
from worker.brokers.extras import needs_extra
from worker.settings import InputSettings

SCHEMES = ("amqp:", "nats:", "redis:", "sqs:")
PREFETCH = 400


def inlet_from_url(
    url: str, settings: InputSettings, *, worker_id: str | None = None, prefetch: int = PREFETCH
) -> Inlet | None:
    """Make the inlet that `url` names, None if it names no broker; nothing is touched before its `open`.

    `worker_id` names the consumer; by default it is made of host and process. `prefetch` is how many messages are held
    if the settings do not say.

    :raises worker.errors.SettingsError: if the URL is wrong, or the broker's library is missing.
    """
    match url.partition(":")[0]:
        case "amqp" | "amqps":
            with needs_extra("rabbitmq", setting="input.url"):
                from worker.sources.rabbitmq import RabbitInlet
            return RabbitInlet(url, prefetch=settings.prefetch or prefetch)
        case "nats":
            with needs_extra("nats", setting="input.url"):
                from worker.sources.nats import NatsInlet
            return NatsInlet(url, lease_s=settings.lease_s)
        case "redis" | "rediss":
            with needs_extra("redis", setting="input.url"):
                from worker.sources.redis import RedisInlet
            return RedisInlet(url, worker_id=safe_id(worker_id), lease_s=settings.lease_s)
        case "sqs":
            with needs_extra("sqs", setting="input.url"):
                from worker.sources.sqs import SqsInlet
            return SqsInlet(url, lease_s=settings.lease_s)
        case _:
            return None


def safe_id(given: str | None) -> str:
    """Make a worker's name that is a safe file name."""
    name = given or f"{socket.gethostname()}-{os.getpid()}"
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]
