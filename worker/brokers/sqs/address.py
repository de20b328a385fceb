"""The URL of a queue taken apart: ``sqs:NAME?region=…`` or ``sqs:https://sqs.REGION.amazonaws.com/ACCOUNT/NAME``.

Parameters: `region`, `endpoint` (another place than Amazon's own), `dead` (the queue for dead letters), `group` (of a
FIFO queue: one group keeps the order; without it each message is a group of its own), `ca_file`. Credentials are no
part of a URL: they come from where every AWS tool has them, the environment, the profile or the machine's role.
"""

import re
from urllib.parse import urlsplit

import msgspec

from worker.errors import SettingsError
from worker.settings.urls import read_parameters

PARAMETERS = ("region", "endpoint", "dead", "group", "ca_file")
FIFO = ".fifo"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}(\.fifo)?\Z|[A-Za-z0-9_-]{1,80}\Z")
_GROUP = re.compile(r"[!-~]{1,128}\Z")
_REGION = re.compile(r"sqs[.-]([a-z0-9-]+)\.(?:amazonaws\.com|vpce\.amazonaws\.com|api\.aws)")


class QueueAddress(msgspec.Struct, frozen=True):
    """One queue. `url` is the service's own name for it, "" if it has to be asked; `region` "" for the usual one."""

    name: str
    url: str
    region: str
    endpoint: str
    dead: str
    group: str
    ca_file: str

    @property
    def shown(self) -> str:
        """Name the queue to people, and in the ledger."""
        where = f" at {self.endpoint}" if self.endpoint and not self.url else ""
        region = f" in {self.region}" if self.region and not self.url else ""
        return f"sqs:{self.url or self.name}{region}{where}"

    @property
    def fifo(self) -> bool:
        """Whether the queue keeps order and knows ids; its name says so."""
        return self.name.endswith(FIFO)

    @property
    def dead_name(self) -> str:
        """Name the queue of the dead letters where neither the URL nor the queue itself names one."""
        return self.dead or (f"{self.name.removesuffix(FIFO)}-dead{FIFO}" if self.fifo else f"{self.name}-dead")


def parse_queue(url: str, *, setting: str, queue: str = "") -> QueueAddress:
    """Take `url` apart; `queue` is the one that ``sqs:?…`` means.

    :raises worker.errors.SettingsError: naming `setting`, if it cannot be read so.
    """
    place, _, query = url.removeprefix("sqs:").partition("?")
    try:
        given, problems = read_parameters(query, dict.fromkeys(PARAMETERS, ""), setting=setting)
    except ValueError:
        raise SettingsError([f"{setting}: the parameters after ? cannot be read"]) from None
    name, queue_url, origin, region = place or queue, "", "", ""
    if "/" in place or ":" in place:
        name, origin, region = _taken_apart(place)
        queue_url = place
        if not name:
            problems.append(f"{setting}: must be sqs:NAME or sqs:https://host/account/NAME")
    endpoint = given["endpoint"] or origin
    for what, value, form in (
        ("the queue's name", name, _NAME), ("dead", given["dead"], _NAME), ("group", given["group"], _GROUP),
    ):  # fmt: skip
        if value and not form.match(value):
            problems.append(f"{setting}: {what} is none that SQS allows")
    if given["endpoint"] and not _is_origin(endpoint):
        problems.append(f"{setting}: parameter endpoint must be an origin like https://host:port")
    address = QueueAddress(
        name, queue_url, given["region"] or region, endpoint, given["dead"], given["group"], given["ca_file"]
    )
    if given["group"] and not address.fifo:
        problems.append(f"{setting}: parameter group is for FIFO queues only, whose names end in {FIFO}")
    if given["dead"] and given["dead"].endswith(FIFO) != address.fifo:
        problems.append(f"{setting}: a FIFO queue's dead letters go to a FIFO queue, others to a standard one")
    if given["dead"] and given["dead"] == name:
        problems.append(f"{setting}: parameter dead names the queue itself")
    if problems:
        raise SettingsError(problems)
    return address


def _taken_apart(place: str) -> tuple[str, str, str]:
    """Find name, origin and region in a queue's own URL; no name if it is none."""
    if not place.startswith(("https://", "http://")):
        return "", "", ""
    try:
        parts = urlsplit(place)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "", "", ""
    steps = parts.path.strip("/").split("/")
    if not host or "@" in parts.netloc or len(steps) < 2 or not _NAME.match(steps[-1]):
        return "", "", ""
    found = _REGION.search(host)
    return steps[-1], f"{parts.scheme}://{parts.netloc}", found.group(1) if found else ""


def _is_origin(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError:
        return False
    plain = parts.path in ("", "/") and not parts.query and "@" not in parts.netloc
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain
