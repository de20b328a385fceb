"""Where batches come from; a new source is one module and one case in `from_url`.

============ ============================================================================================
``dir:``     a folder; ``work/``, ``archive/``, ``quarantine/`` stand beside it: ``dir:spool/in``, ``dir:/abs``
============ ============================================================================================

`worker.sources.listed` is a second kind, for files that are named one by one.
"""

import os
import re
import socket
from pathlib import Path

from worker.errors import SettingsError
from worker.ports import Source
from worker.settings import InputSettings
from worker.sources.directory import DirectorySource
from worker.sources.listed import ListedFiles

__all__ = ["DirectorySource", "ListedFiles", "from_url"]

KNOWN_SCHEMES = ("dir:",)
PLANNED_SCHEMES = ("amqp", "amqps", "nats", "redis", "rediss", "sqs")
_KNOWN = ", ".join(KNOWN_SCHEMES)


def from_url(url: str, input_settings: InputSettings, *, worker_id: str | None = None) -> Source:
    """Make the source that `url` names; nothing is touched before its `open`.

    `worker_id` names this worker's folder or consumer; by default it is made of host and process.

    :raises worker.errors.SettingsError: if no such source is known.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "dir" if rest:
            return DirectorySource(Path(rest), input_settings, worker_id=_worker_id(worker_id))
        case "dir":
            raise SettingsError(["input.url: no path after 'dir:'"])
        case _ if scheme in PLANNED_SCHEMES:
            raise SettingsError([f"input.url: {scheme + ':'!r} is not in this version yet, known are {_KNOWN}"])
        case _:
            # Only the scheme is named: what follows may hold credentials.
            raise SettingsError([f"input.url: unknown scheme {scheme + ':'!r}, known are {_KNOWN}"])


def _worker_id(given: str | None) -> str:
    """Make a name that is a safe file name."""
    name = given or f"{socket.gethostname()}-{os.getpid()}"
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]
