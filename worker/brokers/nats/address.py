"""The URL of a subject of a stream taken apart.

``nats://[user:password@]host[:4222]?subject=…&stream=…&consumer=…&dead=…&replicas=…&dedup_s=…&tls=true``
"""

import re

from worker.brokers.address import Address, parse_address
from worker.errors import SettingsError

PORT = 4222
# What the server takes for subjects, with and without wildcards, and for names of streams and consumers.
_LISTENED_TO = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")
_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*\Z")
_NAME = re.compile(r"[^\s.*>/\\]+\Z")


def address_of(url: str, *, setting: str, subject: str, several: bool = False) -> Address:
    """Take the URL of a subject apart, or of `several` if it may have wildcards.

    :raises worker.errors.SettingsError: if it cannot be read so.
    """
    parameters = {
        "subject": subject, "stream": "", "consumer": "precheck", "dead": "", "replicas": "1", "dedup_s": "3600",
        "tls": "false",
    }  # fmt: skip
    address = parse_address(url, setting=setting, port=PORT, parameters=parameters)
    problems = [
        f"{setting}: parameter {name} must be a whole number"
        for name in ("replicas", "dedup_s")
        if not address[name].isdigit()
    ]
    subjects = {"subject": address["subject"], "dead": dead_of(address)}
    problems += [
        f"{setting}: parameter {name} must be a subject without blanks, * and >: {subject[:80]!r} is published to"
        for name, subject in subjects.items()
        if not (_LISTENED_TO if several and name == "subject" else _SUBJECT).match(subject)
    ]
    problems += [
        f"{setting}: parameter {name} must be a name without blanks, dots, slashes, * and >"
        for name in ("stream", "consumer")
        if not _NAME.match(address[name] or "-")
    ]
    if address["tls"] not in ("true", "false"):
        problems.append(f"{setting}: parameter tls must be true or false")
    if address.path:
        problems.append(f"{setting}: nothing but parameters may follow the host; the subject is one: ?subject=…")
    if problems:
        raise SettingsError(problems)
    return address


def stream_of(address: Address) -> str:
    """Name the stream: as given, or after its subject."""
    return address["stream"] or re.sub(r"[^A-Z0-9_-]", "_", address["subject"].upper())


def dead_of(address: Address) -> str:
    """Name the subject of the dead letters."""
    return address["dead"] or f"{address['subject']}.dead"
