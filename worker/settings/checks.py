"""What must hold between settings, beyond the type and bounds of each.

Every check is a pure function of the settings and yields all that is wrong; a file is only looked at where a
missing one would be found after claims were taken.
"""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from worker.errors import SettingsError
from worker.settings.codes import code_problems
from worker.settings.environment import VENDOR_HOSTS
from worker.settings.overlaps import overlaps
from worker.settings.problem import Problem
from worker.settings.secret import masked, read_secret
from worker.settings.sections import FlowSettings, Settings
from worker.settings.service import ApiSettings, AuthSettings
from worker.settings.urls import BROKERS, host_of, http_problem, parse_listen, place_problem

INPUT_SCHEMES = ("dir", *BROKERS)
OUTPUT_SCHEMES = ("jsonl", "edi", "postgresql", "postgres", *BROKERS)
REFERENCE_SCHEMES = ("s3",)
SHARED_SCHEMES = ("redis", "rediss")
STATE_SCHEMES = ("sqlite", "postgresql", "postgres")
MOST_NAME_CHARS = 100

# RFC 9110 §5.6.2 and §5.5; the second is stricter than the RFC: no bytes outside ASCII.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*\Z")
_OWN_HEADERS = frozenset(
    {
        "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "providertaxid",
        "transfer-encoding", "x-optum-consumer-correlation-id",
    }
)  # fmt: skip


def problems_of(settings: Settings, *, online: bool = True) -> Iterator[Problem]:
    """Find everything that is wrong; `online` is False where the API is not called and no credentials are needed."""
    yield from _api(settings.api)
    yield from code_problems(settings.api.codes)
    yield from _headers(settings.api.headers)
    yield from _auth(settings.auth, online=online)
    yield from _places(settings)
    yield from _flow_and_retry(settings)
    yield from _telemetry(settings.telemetry.http)
    yield from _mix_ups(settings)
    if online:
        yield from _files(settings.api)


def _api(api: ApiSettings) -> Iterator[Problem]:
    if api.base_url and (text := http_problem(api.base_url, origin=True)):
        yield Problem("api.base_url", f"{text}, got {masked(api.base_url)}")
    if api.proxy and (text := http_problem(api.proxy, origin=True, userinfo=True)):
        yield Problem("api.proxy", f"{text}, got {masked(api.proxy)}")
    for name, path in (("precheck_path", api.precheck_path), ("health_path", api.health_path)):
        yield from _path(f"api.{name}", path)
    if api.connect_timeout_s > api.attempt_timeout_s:
        yield Problem("api.connect_timeout_s", "must not be above api.attempt_timeout_s, which it is a part of")
    if api.request_format == "graphql" and not (api.root_field and api.root_field in api.query):
        yield Problem("api.root_field", "must be a field of api.query, because the answer is found under it")
    if not all(pattern.strip() for pattern in api.incomplete_check_patterns):
        yield Problem("api.incomplete_check_patterns", "must not hold an empty text, which is found in every answer")


def _path(name: str, path: str) -> Iterator[Problem]:
    if not path.startswith("/") or path.startswith("//") or not path.isprintable() or " " in path or "#" in path:
        yield Problem(name, f"must be a path that starts with one /, without blanks and #, got {masked(path)}")


def _headers(headers: dict[str, str]) -> Iterator[Problem]:
    for header, value in headers.items():
        name = f"api.headers.{masked(header)}"
        if not _HEADER_NAME.match(header):
            yield Problem(name, "must be the name of a header: letters, digits and -")
        elif header.lower() in _OWN_HEADERS:
            yield Problem(name, "is written by the worker and cannot be set")
        if not _HEADER_VALUE.match(value):
            yield Problem(name, "must have a value of plain ASCII without line breaks (the value is not shown)")


def _auth(auth: AuthSettings, *, online: bool) -> Iterator[Problem]:
    if auth.token_url and (text := http_problem(auth.token_url)):
        yield Problem("auth.token_url", f"{text}, got {masked(auth.token_url)}")
    yield from _path("auth.token_path", auth.token_path)
    if auth.client_secret and auth.client_secret_file:
        yield Problem("auth.client_secret", "and auth.client_secret_file are both given; keep one of them")
    for name, value in (("client_id", auth.client_id), ("client_secret", auth.client_secret)):
        if not value.isprintable():
            yield Problem(f"auth.{name}", "must not hold line breaks or control characters (the value is not shown)")
    if online:
        yield from _credentials(auth)


def _credentials(auth: AuthSettings) -> Iterator[Problem]:
    if not auth.client_id:
        yield Problem("auth.client_id", "is needed; only the simulator does without")
    if auth.client_secret_file:
        try:
            read_secret(auth.client_secret_file)
        except SettingsError as error:
            for problem in error.problems:
                yield Problem("auth.client_secret_file", problem.partition(": ")[2])
    elif not auth.client_secret:
        yield Problem("auth.client_secret", "is needed, or auth.client_secret_file; only the simulator does without")


def _places(settings: Settings) -> Iterator[Problem]:
    if text := place_problem(settings.input.url, INPUT_SCHEMES):
        yield Problem("input.url", f"{text}, got {masked(settings.input.url)}")
    if text := place_problem(settings.state.url, STATE_SCHEMES):
        yield Problem("state.url", f"{text}, got {masked(settings.state.url)}")
    if not settings.state.worker_name.isprintable() or len(settings.state.worker_name) > MOST_NAME_CHARS:
        yield Problem("state.worker_name", f"must be a name on one line, of at most {MOST_NAME_CHARS} characters")
    for url in settings.output.urls:
        if text := place_problem(url, OUTPUT_SCHEMES):
            yield Problem("output.urls", f"{text}, got {masked(url)}")
    for url in settings.input.reference_buckets:
        if text := place_problem(url, REFERENCE_SCHEMES):
            yield Problem("input.reference_buckets", f"{text}, got {masked(url)}")
    if len(set(settings.output.urls)) < len(settings.output.urls):
        yield Problem("output.urls", "must not name the same place twice")
    else:
        yield from overlaps(settings)


def _flow_and_retry(settings: Settings) -> Iterator[Problem]:
    if settings.flow.mode == "adaptive" and settings.flow.initial_in_flight > settings.flow.max_in_flight:
        yield Problem("flow.initial_in_flight", "must not be above flow.max_in_flight")
    yield from _shared(settings.flow)
    if settings.retry.base_s > settings.retry.max_s:
        yield Problem("retry.base_s", "must not be above retry.max_s")
    if not all(payer.strip() for payer in settings.claims.payers):
        yield Problem("claims.payers", "must not hold an empty id; an empty list sends the claims of all payers")


def _shared(flow: FlowSettings) -> Iterator[Problem]:
    limited = flow.shared_max_in_flight or flow.shared_rate_per_s
    if flow.shared_url and (text := place_problem(flow.shared_url, SHARED_SCHEMES)):
        yield Problem("flow.shared_url", f"{text}, got {masked(flow.shared_url)}")
    if flow.shared_url and not limited:
        yield Problem("flow.shared_url", "needs flow.shared_max_in_flight or flow.shared_rate_per_s, which is shared")
    if limited and not flow.shared_url:
        yield Problem("flow.shared_url", "is needed for flow.shared_max_in_flight and flow.shared_rate_per_s")
    if 0 < flow.shared_max_in_flight < flow.shared_workers:
        yield Problem("flow.shared_max_in_flight", "must not be below flow.shared_workers: each has one call at least")


def _telemetry(http: str) -> Iterator[Problem]:
    try:
        _ = parse_listen(http) if http else None
    except ValueError:
        yield Problem("telemetry.http", f'must be host:port, [IPv6]:port or "", got {masked(http)}')


def _mix_ups(settings: Settings) -> Iterator[Problem]:
    """Find what would send sandbox traffic to production, or take the sandbox's mock answers for real ones."""
    for name, url in (("api.base_url", settings.api.base_url), ("auth.token_url", settings.auth.token_url)):
        host = host_of(url)
        owner = next((environment for environment, own in VENDOR_HOSTS.items() if host == own), None)
        if settings.environment == "production" and "sandbox" in host:
            owner = "sandbox"
        if owner not in (None, settings.environment):
            yield Problem(name, f'names {owner}, but environment is "{settings.environment}", got {masked(url)}')
    # contract.md §3: this header asks for mock answers, which would be reported as verdicts.
    asked = {value.strip().lower() for header, value in settings.api.headers.items() if header.lower() == "environment"}
    if settings.environment == "production" and "sandbox" in asked:
        yield Problem("api.headers.'environment'", 'asks for mock answers, but environment is "production"')
    if settings.environment == "sandbox" and asked - {"sandbox"}:
        yield Problem("api.headers.'environment'", 'must be "sandbox" in the sandbox; the worker sets it by itself')


def _files(api: ApiSettings) -> Iterator[Problem]:
    for name, path in (("ca_file", api.ca_file), ("client_cert", api.client_cert)):
        if not path:
            continue
        try:
            # Opening anything else might block: a FIFO waits for its writer.
            if not stat.S_ISREG(Path(path).stat().st_mode):
                yield Problem(f"api.{name}", f"is not a regular file, got {masked(path)}")
                continue
            with Path(path).open("rb") as stream:
                stream.read(1)
        except OSError as error:
            yield Problem(
                f"api.{name}", f"cannot be read: {error.strerror or type(error).__name__}, got {masked(path)}"
            )
        except ValueError:
            yield Problem(f"api.{name}", "is not the name of a file")
