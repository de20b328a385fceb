"""Where batches come from; a new source is one module and one case in `from_url`.

============ ============================================================================================
``dir:``     a folder; ``work/``, ``archive/``, ``quarantine/`` stand beside it: ``dir:spool/in``, ``dir:/abs``
``amqp:``    a queue of RabbitMQ, also ``amqps:``
``nats:``    a stream of NATS JetStream with a pull consumer
``redis:``   a stream of Redis with a consumer group, also ``rediss:``
``sqs:``     a queue of Amazon SQS, standard or FIFO
============ ============================================================================================

`worker.sources.listed` is a second kind, for files that are named one by one.
"""

import os
import re
import socket
from pathlib import Path

from worker.brokers.attempts import Attempts
from worker.brokers.engine import Inlet
from worker.brokers.extras import needs_extra
from worker.brokers.references import references_of
from worker.errors import SettingsError
from worker.ports import Heir, Source
from worker.settings import InputSettings
from worker.sources.brokered import BrokerSource
from worker.sources.directory import DirectorySource
from worker.sources.listed import ListedFiles

__all__ = ["BrokerSource", "DirectorySource", "ListedFiles", "from_url"]

KNOWN_SCHEMES = ("dir:", "amqp:", "nats:", "redis:", "sqs:")
_KNOWN = ", ".join(KNOWN_SCHEMES)
PREFETCH = 400


def from_url(
    url: str,
    input_settings: InputSettings,
    *,
    worker_id: str | None = None,
    heir: Heir | None = None,
    prefetch: int = PREFETCH,
    attempts: Attempts | None = None,
    fetched: Path | None = None,
    create: bool = False,
) -> Source:
    """Make the source that `url` names; nothing is touched before its `open`.

    `worker_id` names this worker's folder or consumer; by default it is made of host and process. Of a folder: `heir`
    carries over what dead workers knew of its batches. Of brokers:
    `prefetch` is how many messages are held if the settings do not say, `attempts` is the poison counter,
    `fetched` is the folder for what references from afar lead to, `create` makes what is missing.

    :raises worker.errors.SettingsError: if no such source is known.
    """
    scheme, _, rest = url.partition(":")

    def brokered(inlet: Inlet) -> Source:
        return BrokerSource(
            inlet,
            input_settings,
            prefetch=input_settings.prefetch or prefetch,
            references=references_of(input_settings, fetched),
            attempts=attempts or Attempts(),
            create=create,
        )

    match scheme:
        case "dir" if rest:
            return DirectorySource(Path(rest), input_settings, worker_id=_worker_id(worker_id), heir=heir)
        case "dir":
            raise SettingsError(["input.url: no path after 'dir:'"])
        case "amqp" | "amqps":
            with needs_extra("rabbitmq", setting="input.url"):
                from worker.sources.rabbitmq import RabbitInlet
            return brokered(RabbitInlet(url, prefetch=input_settings.prefetch or prefetch))
        case "nats":
            with needs_extra("nats", setting="input.url"):
                from worker.sources.nats import NatsInlet
            return brokered(NatsInlet(url, lease_s=input_settings.lease_s))
        case "redis" | "rediss":
            with needs_extra("redis", setting="input.url"):
                from worker.sources.redis import RedisInlet
            return brokered(RedisInlet(url, worker_id=_worker_id(worker_id), lease_s=input_settings.lease_s))
        case "sqs":
            with needs_extra("sqs", setting="input.url"):
                from worker.sources.sqs import SqsInlet
            return brokered(SqsInlet(url, lease_s=input_settings.lease_s))
        case _:
            # Only the scheme is named: what follows may hold credentials.
            raise SettingsError([f"input.url: unknown scheme {scheme + ':'!r}, known are {_KNOWN}"])


def _worker_id(given: str | None) -> str:
    """Make a name that is a safe file name."""
    name = given or f"{socket.gethostname()}-{os.getpid()}"
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]
