"""Where this worker connects to: the origin that the environment or the settings choose, and the addresses on it.

Token and claims travel over TLS only, plain http is for loopback; this is checked here once more, because
connections begin here and settings need not have come through `worker.settings.load`. Source: contract.md §1.
"""

import msgspec
from yarl import URL

from worker.errors import SettingsError
from worker.settings import Settings
from worker.settings.environment import VENDOR_HOSTS
from worker.settings.urls import http_problem

SIMULATOR_PORT = 8377
ORIGINS = {
    "simulator": f"http://127.0.0.1:{SIMULATOR_PORT}",
    **{environment: f"https://{host}" for environment, host in VENDOR_HOSTS.items()},
}


class Endpoints(msgspec.Struct, frozen=True):
    """The addresses in use. `origin` is the only one that ever gets a bearer token."""

    origin: str
    precheck: URL
    health: URL
    token: URL
    proxy: URL | None


def resolve_endpoints(settings: Settings) -> Endpoints:
    """Choose the addresses that the settings ask for.

    :raises SettingsError: if one of them is no address, or one that secrets must not be sent to.
    """
    api, auth = settings.api, settings.auth
    origin = api.base_url or ORIGINS[settings.environment]
    token_url = auth.token_url or origin + auth.token_path
    problems = [
        f"{name}: {problem}"
        for name, problem in (
            ("api.base_url", http_problem(origin, origin=True)),
            ("auth.token_url", auth.token_url and http_problem(token_url)),
            ("api.proxy", api.proxy and _proxy_problem(api.proxy, (origin, token_url))),
        )
        if problem
    ]
    if problems:
        raise SettingsError(problems)
    return Endpoints(
        origin=origin,
        precheck=_address(origin + api.precheck_path),
        health=_address(origin + api.health_path),
        token=_address(token_url),
        proxy=URL(api.proxy) if api.proxy else None,
    )


def _proxy_problem(proxy: str, targets: tuple[str, str]) -> str | None:
    if any(target.startswith("http:") for target in targets):
        # Of what goes through a tunnel a proxy sees nothing; a plain request it would read, token and all.
        return "only https can go through a proxy"
    return http_problem(proxy, origin=True, userinfo=True)


def _address(url: str) -> URL:
    # As it stands: a quoted path must not be quoted again, nor a dot segment be resolved.
    return URL(url, encoded=True)
