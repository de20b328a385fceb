"""Where batches come from; a new source is one module and one case in `from_url`, a new broker one in `inlets`.

============ ============================================================================================
``dir:``     a folder; ``work/``, ``archive/``, ``quarantine/`` stand beside it: ``dir:spool/in``, ``dir:/abs``
``amqp:``    a queue of RabbitMQ, also ``amqps:``
``nats:``    a stream of NATS JetStream with a pull consumer
``redis:``   a stream of Redis with a consumer group, also ``rediss:``
``sqs:``     a queue of Amazon SQS, standard or FIFO
============ ============================================================================================

`worker.sources.listed` is a second kind, for files that are named one by one.
"""

from pathlib import Path

from worker.brokers.deaths import Deaths
from worker.brokers.references import references_of
from worker.errors import SettingsError
from worker.ports import Heir, Source
from worker.settings import InputSettings
from worker.sources.brokered import BrokerSource
from worker.sources.directory import DirectorySource
from worker.sources.inlets import PREFETCH, SCHEMES, inlet_from_url, safe_id
from worker.sources.listed import ListedFiles

__all__ = ["BrokerSource", "DirectorySource", "ListedFiles", "from_url", "inlet_from_url"]

KNOWN_SCHEMES = ("dir:", *SCHEMES)
_KNOWN = ", ".join(KNOWN_SCHEMES)


def from_url(
    url: str,
    input_settings: InputSettings,
    *,
    worker_id: str | None = None,
    heir: Heir | None = None,
    prefetch: int = PREFETCH,
    deaths: Deaths | None = None,
    fetched: Path | None = None,
    create: bool = False,
) -> Source:
    """Make the source that `url` names; nothing is touched before its `open`.

    `worker_id` names this worker's folder or consumer; by default it is made of host and process. Of a folder: `heir`
    carries over what dead workers knew of its batches. Of brokers:
    `prefetch` is how many messages are held if the settings do not say, `deaths` is the poison counter,
    `fetched` is the folder for what references from afar lead to, `create` makes what is missing.

    :raises worker.errors.SettingsError: if no such source is known.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        return DirectorySource(Path(rest), input_settings, worker_id=safe_id(worker_id), heir=heir)
    if scheme == "dir":
        raise SettingsError(["input.url: no path after 'dir:'"])
    inlet = inlet_from_url(url, input_settings, worker_id=worker_id, prefetch=prefetch)
    if inlet is None:
        # Only the scheme is named: what follows may hold credentials.
        raise SettingsError([f"input.url: unknown scheme {scheme + ':'!r}, known are {_KNOWN}"])
    return BrokerSource(
        inlet,
        input_settings,
        prefetch=input_settings.prefetch or prefetch,
        references=references_of(input_settings, fetched),
        deaths=deaths or Deaths(),
        create=create,
    )
