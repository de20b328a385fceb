"""Files, folders and queues of the settings that must not be one another's.

What lies in the input folder is taken for a batch, what lies in `work/` for a batch of another worker; a file that
two parts write is soon neither's. A result put on the queue that batches come from is taken for one.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from worker.settings.problem import Problem
from worker.settings.secret import masked
from worker.settings.sections import Settings

# What names a place at a broker, its default port, and what batches come from if the URL names none.
_BROKERS = {
    "amqp": ("queue", 5672, "precheck.claims"), "amqps": ("queue", 5671, "precheck.claims"),
    "nats": ("subject", 4222, "precheck.claims"),
    "redis": ("stream", 6379, "precheck:claims"), "rediss": ("stream", 6379, "precheck:claims"),
}  # fmt: skip


def overlaps(settings: Settings) -> Iterator[Problem]:
    """Find places in each other's way, whatever names lead there."""
    inbox = _place("dir", settings.input.url)
    ledger = _place("sqlite", settings.state.url)
    if ledger is not None and inbox is not None and (text := _in_the_way(ledger.parent, inbox)):
        yield Problem("state.url", f"{text}, got {masked(settings.state.url)}")
    places = set()
    taken_from = _queue(settings.input.url)
    for url in settings.output.urls:
        if taken_from is not None and _queue(url, result=True) == taken_from:
            yield Problem("output.urls", f"must not be the queue of input.url, got {masked(url)}")
        file, folder = _place("jsonl", url.partition("?")[0]), _place("edi", url)
        place = file or folder
        if place is None:
            continue
        if "?" in url and folder is not None:
            yield Problem("output.urls", f"edi: takes no parameters, got {masked(url)}")
        if ledger is not None and place == ledger:
            yield Problem("output.urls", f"must not be the ledger of state.url, got {masked(url)}")
        if inbox is not None and (text := _in_the_way(folder or place.parent, inbox)):
            yield Problem("output.urls", f"{text}, got {masked(url)}")
        if place in places:
            yield Problem("output.urls", f"must not name the same place twice, got {masked(url)}")
        places.add(place)


def _place(scheme: str, url: str) -> Path | None:
    found, _, rest = url.partition(":")
    return Path(rest).resolve() if found == scheme and rest else None


def _queue(url: str, *, result: bool = False) -> tuple[object, ...] | None:
    """Name the place at a broker that the URL means, the same for the same; None if it means none that is known."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqs":
        return scheme, rest.partition("?")[0]
    try:
        parameter, port, default = _BROKERS[scheme]
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query)).get(parameter)
        address = scheme, parts.hostname, parts.port or port, parts.path.strip("/") or "0"
    except (KeyError, ValueError):
        return None  # no broker, or no URL: that is told where it is read
    return None if result and not given else (*address, given or default)


def _in_the_way(folder: Path, inbox: Path) -> str | None:
    if folder == inbox:
        return "must not lie in the input folder, where it would be taken for a batch"
    if (inbox.parent / "work") in (folder, *folder.parents):
        return "must not lie in work/ beside the input folder, where batches are while they are worked on"
    return None
