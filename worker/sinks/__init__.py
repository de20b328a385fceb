"""Where results go; a new sink is one module and one case in `from_url`, a new broker a `worker.brokers.engine.Sender`.

=============== ========================================================================================
``jsonl:``      one file, one record a line: ``jsonl:relative/results.jsonl``, ``jsonl:/absolute``;
                ``?rotate=100MB`` or ``?rotate=daily`` after it has it set aside and begun anew
``edi:``        a folder with the acknowledgements received, a set of files a batch: ``edi:folder``
``amqp:``       a queue of RabbitMQ, also ``amqps:``
``nats:``       a stream of NATS JetStream
``redis:``      a stream of Redis, also ``rediss:``
``sqs:``        a queue of Amazon SQS, standard or FIFO
``postgresql:`` a table in PostgreSQL, also ``postgres:``
=============== ========================================================================================
"""

from pathlib import Path

from worker.brokers.extras import needs_extra
from worker.brokers.senders import RESULTS, sender_from_url
from worker.errors import SettingsError
from worker.ports import Sink
from worker.settings.urls import BROKERS
from worker.sinks.edi import EdiSink
from worker.sinks.jsonl import JsonlSink
from worker.sinks.published import PublishingSink
from worker.sinks.rotation import parse_rotation

__all__ = ["EdiSink", "JsonlSink", "PublishingSink", "from_url"]

KNOWN_SCHEMES = ("jsonl:", "edi:", "amqp:", "nats:", "redis:", "sqs:", "postgresql:")


def from_url(url: str, *, create: bool = False) -> Sink:
    """Make the sink that `url` names; nothing is touched before its `open`. With `create` that makes what is missing.

    :raises worker.errors.SettingsError: if no such sink is known.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "jsonl" if rest:
            path, _, query = rest.partition("?")
            return JsonlSink(Path(path), parse_rotation(query))
        case "edi" if rest:
            return EdiSink(Path(rest))
        case "jsonl" | "edi":
            raise SettingsError([f"output.urls: no path after '{scheme}:'"])
        case _ if scheme in BROKERS:
            return PublishingSink(sender_from_url(url, setting="output.urls", place=RESULTS), create=create)
        case "postgresql" | "postgres":
            with needs_extra("postgres", setting="output.urls"):
                from worker.sinks import postgres
            table = postgres.PostgresTable(postgres.parse_address(url, setting="output.urls"))
            return PublishingSink(table, create=create)
        case _:
            # Only the scheme is named: what follows may hold credentials.
            raise SettingsError([f"output.urls: unknown scheme {scheme + ':'!r}, known are {', '.join(KNOWN_SCHEMES)}"])
