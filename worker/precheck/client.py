"""The API as the flow sees it: one claim in, one verdict out.

::

    token ──▶ POST ──▶ 401 ──▶ another token ──▶ POST ──▶ 401 ──▶ CredentialsRefused
                │                                  │
                ├──────────── 403 ─────────────────┼────────────▶ CredentialsRefused
                └──────── any other status ────────┴────────────▶ Verdict

The repeat after a first 401 is part of the same attempt: the claim was refused at the door. Sources: contract.md §2 and
§4; the exceptions are those of `worker.precheck.exchange` and `worker.precheck.token`.
"""

import time

import aiohttp
import msgspec
import structlog

from worker.claim import Claim
from worker.errors import AttemptFailed, CredentialsRefused, SettingsError, WorkerError
from worker.flow.allowance import Allowance
from worker.precheck.endpoints import Endpoints
from worker.precheck.exchange import Exchanger, Reply, header_lines
from worker.precheck.request import Request, RequestBuilder
from worker.precheck.retry_after import parse_retry_after, read_date
from worker.precheck.token import Token, TokenProvider
from worker.precheck.verdict import HttpAnswer, Rules, judge
from worker.result import Disposition, Reason, Verdict
from worker.settings import Settings
from worker.settings.codes import code_problems

log = structlog.get_logger()

HEALTH_TIMEOUT_S = 30.0
MAX_HEALTH_BYTES = 64 << 10

# Answers of a health endpoint that does not exist, or is not for us: they say nothing of the service.
_UNUSABLE = frozenset({401, 403, 404, 405, 410})

_UNSENDABLE = Verdict(
    disposition=Disposition.INVALID,
    reason=Reason("provider_tax_id", "The billing provider's tax id is missing or is not made of digits.", "worker"),
)


class Health(msgspec.Struct, frozen=True):
    """What the health endpoint told: its HTTP status, or the code of why there was no answer.

    `clock_ahead_s` is how far this machine's clock is ahead of the service's, by the answer's Date, to the second.
    """

    status: int | None = None
    code: str | None = None
    clock_ahead_s: float | None = None


class PrecheckClient:
    """Posts claims to one origin with the tokens made for it; implements `worker.ports.Api`.

    `large` has the bytes that large answers may take in memory.

    :raises SettingsError: if ``api.codes`` cannot be understood.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: Settings,
        endpoints: Endpoints,
        tokens: TokenProvider,
        large: Allowance,
    ) -> None:
        if tokens.origin != endpoints.origin:
            raise ValueError("tokens of another origin")
        api = settings.api
        if problems := code_problems(api.codes):
            raise SettingsError([str(problem) for problem in problems])
        self._endpoints = endpoints
        self._tokens = tokens
        self._builder = RequestBuilder(settings)
        self._rules = Rules.of(api)
        self._claims = Exchanger(
            session,
            proxy=endpoints.proxy,
            timeout=aiohttp.ClientTimeout(total=api.attempt_timeout_s, connect=api.connect_timeout_s),
            max_response_bytes=api.max_response_bytes,
            large=large,
        )
        self._health_refuses = False  # it answered 401 the last time
        self._health = Exchanger(
            session,
            proxy=endpoints.proxy,
            timeout=aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_S, connect=api.connect_timeout_s),
            max_response_bytes=MAX_HEALTH_BYTES,
        )

    async def attempt(self, claim: Claim) -> Verdict:
        """Post the claim once and say what the answer means; see `worker.ports.Api`."""
        request = self._builder.build(claim)
        if request is None:
            return _UNSENDABLE
        try:
            reply = await self._post(request)
        except (AttemptFailed, CredentialsRefused) as failure:
            failure.correlation_id = request.correlation_id
            raise
        headers = reply.headers
        answer = HttpAnswer(
            status=reply.status,
            body=reply.body,
            content_type=headers.get("Content-Type"),
            retry_after_s=parse_retry_after(headers.get("Retry-After"), time.time()),
            correlation_id=request.correlation_id,
            trace_id=headers.get("x-optum-trace-id"),
        )
        verdict = judge(answer, claim.facts, self._rules)
        if verdict.names_claim:
            reply.vouch()
        return verdict

    @property
    def tokens_fetched(self) -> int:
        """Count the tokens fetched so far."""
        return self._tokens.tokens_fetched

    async def authorize(self) -> None:
        """Make sure that there is a token; see `worker.ports.Api`."""
        await self._tokens.get()

    async def healthy(self) -> bool | None:
        """Ask the health endpoint once; True for HTTP 200 and nothing else, whatever the body (contract.md §1).

        None where it does not exist or is not for us; a first 401 may be the token's fault, which is replaced.
        """
        refused_before = self._health_refuses
        try:
            health = await self.ask_health()
        except WorkerError:
            return False
        if health.status in _UNUSABLE and (health.status != 401 or refused_before):
            log.warning("health.unusable", http_status=health.status)
            return None
        return health.status == 200

    async def ask_health(self) -> Health:
        """Ask the health endpoint once and say what it told.

        :raises worker.errors.TokenUnavailable: if there is no token for now.
        :raises worker.errors.CredentialsRefused: if the token endpoint refuses who we are.
        """
        token = await self._tokens.get()
        headers = header_lines({"Accept": "*/*", "Accept-Encoding": "identity"}) + token.header
        try:
            reply = await self._health.exchange("GET", self._endpoints.health, headers)
        except AttemptFailed as failure:
            return Health(code=failure.code)
        if reply.status != 401 or not self._health_refuses:
            # That it takes no token of ours must not end those that the claims are sent with.
            self._note(reply, token)
        self._health_refuses = reply.status == 401
        return Health(reply.status, clock_ahead_s=_clock_ahead_s(reply.headers.get("Date")))

    async def _post(self, request: Request) -> Reply:
        """Post with the current token, and after a 401 once more with another."""
        token = await self._tokens.get()
        reply = await self._post_with(token, request)
        if reply.status == 401:
            token = await self._tokens.get()
            reply = await self._post_with(token, request)
            if reply.status == 401:
                raise CredentialsRefused(
                    "unauthorized",
                    f"{self._endpoints.origin} refuses a fresh token; check the entitlement and api.precheck_path",
                )
        if reply.status == 403:
            raise CredentialsRefused(
                "forbidden",
                f"{self._endpoints.origin} forbids the call; check what the client is entitled to",
            )
        return reply

    async def _post_with(self, token: Token, request: Request) -> Reply:
        headers = request.headers + token.header
        reply = await self._claims.exchange("POST", self._endpoints.precheck, headers, request.body)
        self._note(reply, token)
        return reply

    def _note(self, reply: Reply, token: Token) -> None:
        """Tell the provider how its token was received."""
        if reply.status == 401:
            self._tokens.refused(token.generation)
        elif reply.status == 200:
            self._tokens.accepted(token.generation)


def _clock_ahead_s(date: str | None) -> float | None:
    """Compare the wall clock with an HTTP Date (RFC 9110 §6.6.1); None without a readable one."""
    told = read_date(date or "")
    return None if told is None else time.time() - told
