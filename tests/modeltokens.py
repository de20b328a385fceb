"""The token endpoint in virtual time, and the door of the service that looks at tokens; the provider between is real.

What becomes of the n-th call to the endpoint depends on the seed and n alone. A token is good until its life is over or
it is revoked, whichever is first; a secret that has ended gets none, and takes those made with it along.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
import msgspec

from worker.errors import CredentialsRefused, TokenUnavailable
from worker.precheck.token import Grant, Token, TokenProvider
from worker.simulator.capacity import REFUSAL_S
from worker.simulator.draws import draw

SLOW_S = 20.0  # below the 30 s after which the real endpoint is given up


class TokenPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How long tokens live, which share of the calls for one is slow or fails, and when tokens are revoked.

    A call never fails while no token is good: a claim would have to wait for that, and with it the gate. Unless the
    endpoint is `away`, from when to when: then every call fails. From `secret_ends_at` on the secret is refused, until
    another lies in its place at `rotated_at`.
    """

    lifetime_s: float = 900.0
    slow: float = 0.0
    failing: float = 0.0
    revoked_at: Sequence[float] = ()
    away: tuple[float, float] = (float("inf"), float("inf"))
    secret_ends_at: float = float("inf")
    rotated_at: float = float("inf")


class TokenCall(NamedTuple):
    """A call for a token: from when to when, and what came of it: ``granted``, ``failed`` or ``refused``."""

    began: float
    ended: float
    said: str


class ModelTokens:
    """`worker.precheck.token.TokenEndpoint` by a plan, with the provider that asks it. `run` runs the provider."""

    def __init__(self, plan: TokenPlan, seed: int, clock: Callable[[], float]) -> None:
        self.calls: list[TokenCall] = []
        self.under_way = self.most_under_way = 0
        self.provider = TokenProvider(self, "https://api.example")
        self._plan = plan
        self._seed = seed
        self._clock = clock
        self._rotated_when_asked = False
        self._life: tuple[float, float] = (0.0, 0.0)

    async def run(self) -> None:
        """Run the provider, until cancelled."""
        await self.provider.run()

    def rotated(self) -> bool:
        """Tell whether the secret is another one than when it was last used."""
        return self._rotated and not self._rotated_when_asked

    async def fetch(self) -> Grant:
        """Give a token, sooner or later, or none."""
        began, rotated = self._clock(), self._rotated
        self._rotated_when_asked = rotated
        number = len(self.calls) + self.under_way
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            slow = draw(self._seed, "token.slow", "", number) < self._plan.slow
            await anyio.sleep(SLOW_S if slow else REFUSAL_S)
        finally:
            self.under_way -= 1
        if self._clock() >= self._plan.secret_ends_at and not rotated:
            self.calls.append(TokenCall(began, self._clock(), "refused"))
            raise CredentialsRefused("invalid_client", "client id or secret refused")
        since, until = self._plan.away
        fails = self._good and draw(self._seed, "token.failing", "", number) < self._plan.failing
        if fails or since <= self._clock() < until:
            self.calls.append(TokenCall(began, self._clock(), "failed"))
            raise TokenUnavailable("token_http_503", retry_after_s=0.0)
        self.calls.append(TokenCall(began, self._clock(), "granted"))
        self._life = (self._clock(), self._clock() + self._plan.lifetime_s)
        return Grant(repr(self._clock()), self._plan.lifetime_s)

    def lets_in(self, token: Token) -> bool:
        """Tell whether the service takes this token now."""
        return self._good and token.value == repr(self._life[0])

    @property
    def _rotated(self) -> bool:
        return self._clock() >= self._plan.rotated_at

    @property
    def _good(self) -> bool:
        """Whether the last token given is still good."""
        made, ends = self._life
        now = self._clock()
        revoked = any(made <= at <= now for at in (*self._plan.revoked_at, self._plan.secret_ends_at))
        return bool(ends) and now < ends and not revoked
