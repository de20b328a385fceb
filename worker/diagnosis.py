"""What an operator does about a service that cannot be reached or is not well: words for `check` and the alarm."""

_CONNECTING = {
    "dns_failed": "this machine cannot resolve the host's name; look at api.base_url and the machine's DNS",
    "connect_refused": "nobody listens there; look at the host and port in api.base_url",
    "connect_timeout": "no connection in time; a firewall may be in the way, or a proxy is needed (api.proxy)",
    "connect_failed": "no connection; look at the network and, if one is set, at api.proxy",
    "tls_error": "no TLS 1.2 with a trusted host; look at api.ca_file, api.client_cert and this machine's clock",
    "proxy_refused": "the proxy refuses to connect; look at user and password in api.proxy, and at its rules",
    "proxy_unreachable": "the proxy cannot be reached; look at api.proxy",
    "attempt_timeout": "connected, but no answer in time; try again, then raise a service ticket with the vendor",
}
_TOKEN = {
    "client_secret_unreadable": "the file of auth.client_secret_file cannot be read; look at its path and rights",
    "token_http_404": "there is no such endpoint; look at auth.token_path, or auth.token_url",
    "token_http_429": "asked too often; wait some minutes",
    "token_bad_json": "the answer is no JSON, maybe a page of a proxy or portal; look at auth.token_path and api.proxy",
    "token_not_bearer": "the answer holds no bearer token; look at auth.token_path",
    "token_unusable": "the answer holds no usable token; look at auth.token_path",
}
_REDIRECT = "it points to another address, which is never followed; look at api.base_url and the path"


def near_advice(code: str) -> str | None:
    """Say what to do about what is wrong on the way to the service, or with what we ask; None if it is the service."""
    if code == "attempt_timeout":
        return None
    return _TOKEN.get(code) or _CONNECTING.get(code.removeprefix("token_"))


def token_advice(code: str) -> str:
    """Say what to do if there is no token for now; `code` is that of the exception."""
    if advice := _TOKEN.get(code) or _CONNECTING.get(code.removeprefix("token_")):
        return advice
    if code.startswith("token_http_3"):
        return _REDIRECT
    if code.startswith("token_http_5"):
        return "the endpoint fails; try again, then raise a service ticket with the vendor"
    return "is auth.token_path right and the host reachable from here?"


def health_advice(status: int | None, code: str | None) -> tuple[str, int]:
    """Say what to do about a health endpoint that did not answer 200, and the exit code that it asks for."""
    if status is None:
        return _CONNECTING.get(code or "", "try again, then raise a service ticket with the vendor"), 2
    match status:
        case 401 | 403:
            return (
                "a token just made is refused; the client is not entitled to this API, or the credentials are of the "
                "other environment, or api.health_path is wrong: ask the vendor what the client id may call",
                4,
            )
        case 404 | 405:
            return "there is no such endpoint; look at api.base_url and api.health_path", 2
        case _ if 300 <= status < 400:
            return _REDIRECT, 2
        case _:
            return "the service is not well; raise a service ticket with the vendor", 2
