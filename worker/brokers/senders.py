"""From a broker's URL to what publishes there: for the sinks and for `enqueue`."""

from worker.brokers.engine import Sender
from worker.brokers.extras import needs_extra
from worker.errors import SettingsError

CLAIMS = "precheck.claims"
RESULTS = "precheck.results"


def sender_from_url(url: str, *, setting: str, place: str) -> Sender:
    """Make the sender that `url` names; nothing is touched before its `open`.

    `setting` names the URL in messages, `place` is the queue or subject if the URL names none.

    :raises worker.errors.SettingsError: if no such broker is known, the URL is wrong, or its library is missing.
    """
    scheme = url.partition(":")[0]
    match scheme:
        case "amqp" | "amqps":
            with needs_extra("rabbitmq", setting=setting):
                from worker.brokers import rabbitmq
            return rabbitmq.RabbitSender(rabbitmq.address_of(url, setting=setting, queue=place))
        case "nats":
            with needs_extra("nats", setting=setting):
                from worker.brokers import nats
            return nats.NatsSender(nats.address_of(url, setting=setting, subject=place), queue=place == CLAIMS)
        case "redis" | "rediss":
            with needs_extra("redis", setting=setting):
                from worker.brokers import redis
            return redis.RedisSender(redis.address_of(url, setting=setting, stream=place.replace(".", ":")))
        case "sqs":
            with needs_extra("sqs", setting=setting):
                from worker.brokers import sqs
            queue = sqs.parse_queue(url, setting=setting, queue=place.replace(".", "-"))
            return sqs.SqsSender(queue, results=place == RESULTS)
        case _:
            raise SettingsError(
                [f"{setting}: no broker is known for {scheme + ':'!r}, known are amqp:, nats:, redis:, sqs:"]
            )
