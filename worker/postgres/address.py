"""The URL of a place in PostgreSQL taken apart: a table of results, or the schema of a ledger.

``postgresql://user[:password]@host[:5432][,host…]/database?table=[schema.]name&…``; without a host a folder with the
server's socket: ``postgresql:///database?user=…&host=/run/postgresql``. Of several hosts the one that can be written is
taken, so that a failover is followed.

=================== ==========================================================================================
``table``           the results' table, ``public.precheck_results`` unless told otherwise
``schema``          the ledger's schema, ``precheck_ledger`` unless told otherwise
``password_file``   a file with the password alone, read again for every connection
``sslmode``         ``disable``, ``require``, ``verify-ca``, ``verify-full``, as libpq has them; by default
                    ``verify-full``, and ``disable`` where nothing leaves this machine
``sslrootcert``     PEM file of the authorities to trust instead of the system's
``sslcert``         PEM file of a client certificate, with ``sslkey``, if that is not in the same file
=================== ==========================================================================================

Nothing is taken from the environment or from files in a home folder.
"""

import re
import ssl
from typing import Literal
from urllib.parse import unquote

import msgspec

from worker.errors import SettingsError
from worker.settings import Secret, read_secret
from worker.settings.urls import UNREADABLE, is_loopback, read_parameters, split_server

PORT = 5432
SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
_PARAMETERS = ("password_file", "sslmode", "sslrootcert", "sslcert", "sslkey", "host", "user")
# What is made beside the table has its name and a suffix, in 63 bytes.
_TABLE = re.compile(r"(?:([a-z_][a-z0-9_]{0,62})\.)?([a-z_][a-z0-9_]{0,47})\Z")
_SCHEMA = re.compile(r"([a-z_][a-z0-9_]{0,62})(\Z)")

Place = Literal["table", "schema"]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the place is and who we are there. A host that begins with a slash is a folder with a socket.

    Of a ledger, which is a schema, `table` is empty.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: Secret
    database: str
    schema: str
    table: str
    parameters: dict[str, str]
    setting: str

    @property
    def server(self) -> str:
        """Name server and database without credentials."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"postgresql://{hosts}/{self.database}"

    @property
    def shown(self) -> str:
        """Name the place without credentials; the same for the same one, whoever asks."""
        place = f"table={self.schema}.{self.table}" if self.table else f"schema={self.schema}"
        return f"{self.server}?{place}"

    def __repr__(self) -> str:
        """Show no credentials: reprs end in logs."""
        return f"<Address {self.shown}>"

    def current_password(self) -> str:
        """Give the password, from its file if it stands in one, for it may have been rotated.

        :raises worker.errors.SettingsError: if that cannot be read.
        """
        file = self.parameters["password_file"]
        return str(read_secret(file, setting=self.setting) if file else self.password)

    def tls(self) -> ssl.SSLContext | None:
        """Make what the connection is secured with; None for a connection in the clear.

        :raises worker.errors.SettingsError: if a certificate cannot be used.
        """
        mode = self.parameters["sslmode"]
        if mode == "disable":
            return None
        roots, certificate, key = (self.parameters[name] for name in ("sslrootcert", "sslcert", "sslkey"))
        try:
            context = ssl.create_default_context(cafile=roots or None)
        except (OSError, ValueError):
            raise SettingsError(
                [f"{self.setting}: sslrootcert names no file of certificates that can be read"]
            ) from None
        context.check_hostname = mode == "verify-full"
        # libpq's rule: whoever names authorities wants them asked, whatever the mode.
        if mode == "require" and not roots:
            context.verify_mode = ssl.CERT_NONE
        try:
            if certificate:
                # A key with a passphrase would be asked for on the terminal.
                context.load_cert_chain(certificate, key or None, password=lambda: "")
        except (OSError, ValueError):
            raise SettingsError(
                [f"{self.setting}: sslcert and sslkey are no certificate and key that can be used"]
            ) from None
        return context


def parse_address(url: str, *, setting: str, place: Place = "table") -> Address:
    """Take `url` apart, which names this kind of place.

    :raises worker.errors.SettingsError: naming `setting` and all that is wrong; no credentials in it.
    """
    try:
        known = dict.fromkeys(sorted((place, *_PARAMETERS)), "")
        parts = split_server(url, known)
        values, problems = read_parameters(parts.query, known, setting=setting)
        login, _, authority = parts.netloc.rpartition("@")
        hosts = _hosts(authority)
    except ValueError:
        raise SettingsError([f"{setting}: {UNREADABLE}"]) from None
    user, _, password = login.partition(":")
    user = unquote(user) or values["user"]
    if values["host"].startswith("/") and not hosts:
        hosts = ((values["host"], PORT),)
    elif values["host"]:
        problems.append(f"{setting}: parameter host must be a folder with a socket, and the only host")
    database, named = unquote(parts.path.removeprefix("/")), _named(place, values[place])
    values["sslmode"] = values["sslmode"] or ("disable" if all(map(_stays_here, hosts)) else "verify-full")
    if values["sslmode"] not in SSL_MODES:
        problems.append(f"{setting}: parameter sslmode must be one of {', '.join(SSL_MODES)}")
    if not (hosts and user and database):
        problems.append(f"{setting}: must name user, host and database, like postgresql://user@host/database")
    if named is None:
        form = (
            "[schema.]name in lower case, the name of at most 48 letters" if place == "table" else "a lower-case name"
        )
        problems.append(f"{setting}: parameter {place} must be {form}")
    if problems or named is None:
        raise SettingsError(problems)
    if values["password_file"]:
        password = read_secret(values["password_file"], setting=setting)
    address = Address(
        hosts=hosts,
        user=user,
        password=Secret(unquote(password) if not values["password_file"] else password),
        database=database,
        schema=named[1] or "public",
        table=named[2],
        parameters=values,
        setting=setting,
    )
    address.tls()
    return address


def _named(place: Place, name: str) -> re.Match[str] | None:
    return _TABLE.match(name or "precheck_results") if place == "table" else _SCHEMA.match(name or "precheck_ledger")


def _hosts(authority: str) -> tuple[tuple[str, int], ...]:
    """Take ``host:port,host:port`` apart.

    :raises ValueError: if a port is none, or a host is missing.
    """
    return tuple(_host(one) for one in authority.split(",")) if authority else ()


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if re.search(r":\d*\Z", text) and not text.endswith("]") else (text, "", "")
    host = unquote(host.removeprefix("[").removesuffix("]"))
    number = int(port) if port else PORT
    if not host or not 0 < number <= 0xFFFF or (":" in host) != text.startswith("["):
        raise ValueError("no host and port")
    return host, number


def _stays_here(host: tuple[str, int]) -> bool:
    return host[0].startswith("/") or is_loopback(host[0])
