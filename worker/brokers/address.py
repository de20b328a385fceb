"""A broker's URL taken apart, once, for its source, its sink and `enqueue`.

``scheme://user:password@host:port/path?parameter=value&…``: what the path means is the engine's own (a virtual host,
a database); queue, stream and subject are parameters. The password may stand in a file instead, named by the
parameter ``password_file``. Nothing of a URL but its scheme, host and parameters' names is ever told.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import msgspec

from worker.errors import SettingsError
from worker.settings import Secret, read_secret
from worker.settings.urls import UNREADABLE, read_parameters, split_server

COMMON = ("password_file", "ca_file")


class Address(msgspec.Struct, frozen=True):
    """Where a broker is and what is meant there. `parameters` holds every known one, defaults included."""

    scheme: str
    host: str
    port: int
    user: str
    password: Secret
    path: str
    parameters: dict[str, str]

    @property
    def shown(self) -> str:
        """Name the place without credentials."""
        return f"{self.scheme}://{self.host}:{self.port}/{self.path}"

    def trusting(self) -> ssl.SSLContext:
        """Make what secures a connection: trust in the system's authorities, or in those of `ca_file`; blocking."""
        return ssl.create_default_context(cafile=self.parameters["ca_file"] or None)

    def __repr__(self) -> str:
        """Show no credentials: reprs end in logs."""
        return f"<Address {self.shown}>"

    def __getitem__(self, parameter: str) -> str:
        """Give a parameter's value."""
        return self.parameters[parameter]


def parse_address(url: str, *, setting: str, port: int, parameters: Mapping[str, str]) -> Address:
    """Take `url` apart; `parameters` are those that may stand in it, with their defaults, `port` is the default one.

    :raises worker.errors.SettingsError: naming `setting`, if it cannot be read so; no credentials in it.
    """
    try:
        known = dict(sorted({**dict.fromkeys(COMMON, ""), **parameters}.items()))
        parts = split_server(url, known)
        host, given_port = parts.hostname, parts.port
        values, problems = read_parameters(parts.query, known, setting=setting)
    except ValueError:
        raise SettingsError([f"{setting}: {UNREADABLE}"]) from None
    if not host:
        raise SettingsError([f"{setting}: must name a host, like {parts.scheme}://host/…"])
    if problems:
        raise SettingsError(problems)
    _look_at_authorities(values["ca_file"], setting)
    password = unquote(parts.password or "")
    if values["password_file"]:
        password = read_secret(values["password_file"], setting=setting)
    return Address(
        scheme=parts.scheme,
        host=host,
        port=given_port or port,
        user=unquote(parts.username or ""),
        password=Secret(password),
        path=unquote(parts.path.removeprefix("/")),
        parameters=values,
    )


def _look_at_authorities(ca_file: str, setting: str) -> None:
    """See that the file can be used: at the connection it would look like a broker that is down.

    :raises worker.errors.SettingsError: if it cannot.
    """
    try:
        if ca_file and Path(ca_file).is_file():  # opening anything else might block
            ssl.create_default_context(cafile=ca_file)
            return
    except (OSError, ValueError):
        pass
    if ca_file:
        raise SettingsError([f"{setting}: ca_file names no file of certificates that can be read"])
