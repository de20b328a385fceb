"""How connections are secured: TLS 1.2 or later, certificate and host name always verified.

Nothing of the environment is listened to, neither SSL_CERT_FILE, which would add authorities, nor SSLKEYLOGFILE, which
would write the session keys to a file: `ssl.create_default_context` honours both.
"""

import ssl
from pathlib import Path

from worker.errors import SettingsError
from worker.settings import ApiSettings

# Where systems keep their authorities, for Pythons that were built elsewhere and look in places that do not exist.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def build_ssl_context(api: ApiSettings) -> ssl.SSLContext:
    """Build the one context that all connections use; blocking, reads certificate files.

    `api.ca_file` takes the place of the system's authorities, it does not add to them.

    :raises SettingsError: if a certificate file cannot be used or there is no authority to trust.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    problems: list[str] = []
    if api.ca_file:
        _trust(context, "api.ca_file", api.ca_file, problems)
    else:
        _trust_system(context, problems)
    if api.client_cert:
        _present(context, api.client_cert, problems)
    if problems:
        raise SettingsError(problems)
    return context


def _trust(context: ssl.SSLContext, name: str, file: str, problems: list[str]) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        problems.append(f"{name}: cannot be read as a PEM file of certificates")


def _trust_system(context: ssl.SSLContext, problems: list[str]) -> None:
    built_in = ssl.get_default_verify_paths()
    bundles = [built_in.openssl_cafile, *_SYSTEM_BUNDLES]
    bundle = next((path for path in bundles if Path(path).is_file()), None)
    if bundle is not None:
        _trust(context, "api.ca_file", bundle, problems)
    elif Path(built_in.openssl_capath).is_dir():
        context.load_verify_locations(capath=built_in.openssl_capath)
    else:
        problems.append("api.ca_file: the system has no certificate authorities; name a file of them")


def _present(context: ssl.SSLContext, file: str, problems: list[str]) -> None:
    def refuse_to_ask() -> str:
        # Without it OpenSSL would ask for the key's passphrase on the terminal and wait.
        raise ValueError("encrypted")

    try:
        context.load_cert_chain(file, password=refuse_to_ask)
    except (OSError, ValueError):
        problems.append("api.client_cert: cannot be read as a PEM file with a certificate and its unencrypted key")
