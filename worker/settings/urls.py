"""What a URL in the settings must look like: origins, schemes, plain http only to loopback, listening addresses."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

BROKERS = ("amqp", "amqps", "nats", "redis", "rediss", "sqs")
_PLAIN_BROKERS = ("amqp", "nats", "redis")
_DATABASES = ("postgresql", "postgres")
# These name a file, a folder or a queue and no host.
_NO_HOST = ("dir", "jsonl", "edi", "sqlite", "sqs")
# Several hosts may stand there, and for PostgreSQL none, if it is reached through a socket file.
_AUTHORITY = re.compile(r"//([^/?#]*@)?[^/?#@]")
UNREADABLE = (
    "is no URL that can be read (port, host or parameters); in user and password "
    "write %40 for @, %2F for /, %3F for ? and %23 for #"
)
_PLAIN_ORIGIN = re.compile(r"http://[^/?&#]*")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z")


def is_loopback(host: str) -> bool:
    """Tell whether what is sent to `host` stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Name the URL's host in lower case, "" if it has none."""
    parts = _split(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def http_problem(url: str, *, origin: bool = False, userinfo: bool = False) -> str | None:
    """Say what is wrong with an http or https URL, if anything is.

    `origin`: no path may follow. `userinfo`: a user and password may stand in it, which is for proxies only.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        form = "http://host:port" if userinfo else "https://host" if origin else "https://host/path"
        return f"must be {'an origin' if origin else 'a URL'} like {form}"
    if "@" in parts.netloc and not userinfo:
        return "must not hold a user or password"
    if origin and (parts.path not in ("", "/") or parts.query or parts.fragment):
        return "must be an origin without path, like https://host; paths have settings of their own"
    if parts.fragment:
        return "must not hold a fragment (#…)"
    if parts.scheme == "http" and not userinfo and not is_loopback(parts.hostname):
        return "must be https: plain http goes to loopback only, because it shows claims and credentials to the network"
    return None


def split_server(url: str, known: Mapping[str, str]) -> SplitResult:
    """Split the URL of a broker or database; `known` are the parameters that may stand in it.

    A ``/``, ``?``, ``#`` or ``@`` in a password ends the host too early; what is left of the password would then be
    told as a path or a parameter.

    :raises ValueError: if it cannot be split, or not so that nothing of its credentials is left beside them.
    """
    parts = urlsplit(url)
    strays = (pair for pair in parts.query.split("&") if pair.partition("=")[0] not in known)
    if parts.fragment or "@" in parts.path or any("@" in stray for stray in strays):
        raise ValueError("credentials beyond the host")
    return parts


def read_parameters(query: str, known: Mapping[str, str], *, setting: str) -> tuple[dict[str, str], list[str]]:
    """Read what stands after the ``?`` of a URL: all parameters, `known` ones by default as given, and what is wrong.

    :raises ValueError: if it cannot be read.
    """
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    problems = [
        f"{setting}: unknown parameter {name[:40]!r}, known are {', '.join(known)}"
        for name, _ in pairs
        if name not in known
    ]
    problems += [f"{setting}: parameter {name} is empty" for name, value in pairs if name in known and not value]
    return {**known, **dict(pairs)}, problems


def place_problem(url: str, schemes: Sequence[str]) -> str | None:
    """Say what is wrong with the URL of an input, output or state, if anything is."""
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in schemes:
        forms = ", ".join(f"{known}:" if known in _NO_HOST else f"{known}://" for known in schemes)
        return f"must start with one of {forms}"
    if not rest or not url.isprintable():
        return f"must name a place after {scheme}:"
    hostless = rest.startswith("///") if scheme.startswith("postgres") else scheme in _NO_HOST
    if not hostless and not _AUTHORITY.match(rest):
        return f"must name a host, like {scheme}://host/…"
    return None


def sent_in_the_clear(url: str) -> bool:
    """Tell whether the broker or database behind this URL is spoken to over a network without TLS."""
    scheme = url.partition(":")[0]
    if scheme == "sqs":  # by TLS, unless the queue's own URL or its endpoint says otherwise
        plain_origins = _PLAIN_ORIGIN.findall(unquote(url))
        return any(not is_loopback(host_of(origin)) for origin in plain_origins)
    plain = scheme in _PLAIN_BROKERS or (scheme in _DATABASES and "sslmode=disable" in url)
    secured = scheme == "nats" and "tls=true" in re.split(r"[?&]", url)
    return plain and not secured and not is_loopback(host_of(url))


def parse_listen(address: str) -> tuple[str, int]:
    """Take ``host:port`` apart; IPv6 addresses stand in brackets.

    :raises ValueError: if it is not of that form.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = str(ipaddress.IPv6Address(host[1:-1]))
    if not colon or not (bracketed or _HOST.match(host)):
        raise ValueError("no host")
    if not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise ValueError("no port")
    return host, int(port)


def _split(url: str) -> SplitResult | None:
    """Split the URL; None if it cannot be one. `urlsplit` drops line breaks silently, so those are looked for."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
