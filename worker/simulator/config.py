"""Everything the simulator can be told, with its default and meaning. Durations are seconds, shares lie in 0..1."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from worker.settings.environment import SIMULATOR_CLIENT_ID, SIMULATOR_CLIENT_SECRET
from worker.settings.service import SUPPORTED_PAYERS
from worker.simulator.capacity import Model
from worker.simulator.hostile import NAMES as HOSTILE
from worker.simulator.outcomes import BY_NAME

# Most claims are fine, and every way of not being fine occurs; weights by the names of worker.simulator.outcomes.
USUAL_MIX: Mapping[str, float] = {
    "accepted": 0.800,
    "edited": 0.040,
    "syntax_noted": 0.010,
    "accepted_and_rejected": 0.005,
    "returned": 0.020,
    "missing_information": 0.015,
    "invalid_information": 0.030,
    "line_rejected": 0.005,
    "receiver_rejected": 0.005,
    "syntax_rejected": 0.015,
    "member_not_found": 0.020,
    "no_277ca": 0.005,
    "unforeseen_category": 0.003,
    "incomplete": 0.002,
    "incomplete_once": 0.005,
    "unavailable": 0.010,
    "failed": 0.010,
}


# The faults of attempts, in the order in which they are drawn.
SHARES = ("http_500", "http_502", "http_503", "http_504", "http_429", "reset", "truncated", *HOSTILE)


class FaultSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong besides the claims' own verdicts. Can be changed while the simulator runs.

    The shares are of attempts, drawn by claim and attempt number; together they must not exceed 1.
    """

    http_500: float = 0.0
    http_502: float = 0.0  # with a page of HTML, as from a gateway
    http_503: float = 0.0
    http_504: float = 0.0  # the work was done all the same
    http_429: float = 0.0  # with Retry-After
    reset: float = 0.0  # the connection is reset instead of an answer
    truncated: float = 0.0  # the answer's body ends in the middle
    redirect: float = 0.0  # this and the following: worker.simulator.hostile
    login_page: float = 0.0
    bad_json: float = 0.0
    deep_json: float = 0.0
    unframed: float = 0.0
    gzip_bomb: float = 0.0
    endless: float = 0.0
    trickle: float = 0.0
    wrong_claim: float = 0.0
    wrong_answer: float = 0.0
    unsolicited: float = 0.0
    late_408: float = 0.0
    lengthy: float = 0.0
    retry_after_s: int = 1
    redirect_to: str = ""  # the address that `redirect` points to; empty: a host that does not exist
    outage: bool = False  # everything but the control surface answers 503
    outage_every_s: float = 0.0  # an outage at the end of every such period; 0 = none
    outage_for_s: float = 0.0  # … for so long
    health_down: bool = False  # the health endpoint alone answers 503
    token_500: float = 0.0  # of token calls
    token_page: float = 0.0  # of token calls: 200 with a page of HTML
    token_refused: bool = False  # the token endpoint refuses the client
    bearer_refused: bool = False  # the API answers 401 to every token
    forbidden: bool = False  # the API answers 403 to every claim
    capacity: Model = ""  # how it bears load: worker.simulator.capacity; empty: any load
    limit: int = 50  # claims at once that the capacity model bears
    rate_per_s: float = 50.0  # claims a second that it bears
    revoke_every: int = 0  # all tokens end after every so many pre-check calls; 0 = never

    def __post_init__(self) -> None:
        """Refuse shares that are none, and periods that are shorter than what they hold."""
        each = [getattr(self, name) for name in SHARES]
        tokens = self.token_500, self.token_page
        if min(*each, *tokens) < 0.0 or sum(each) > 1.0 + 1e-9 or sum(tokens) > 1.0 + 1e-9:
            raise ValueError("faults: shares must lie between 0 and 1 and add up to 1 at most")
        if not 0.0 <= self.outage_for_s <= self.outage_every_s:
            raise ValueError("faults: outage_for_s must lie between 0 and outage_every_s")
        if self.limit < 1 or self.rate_per_s <= 0.0:
            raise ValueError("faults: limit and rate_per_s must be above 0")

    def out(self, elapsed_s: float) -> bool:
        """Tell whether there is an outage so long after the start."""
        if self.outage or not self.outage_every_s:
            return self.outage
        return elapsed_s % self.outage_every_s >= self.outage_every_s - self.outage_for_s


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the simulator behaves. The same seed gives the same verdicts, faults and latencies in every run."""

    seed: int = 1
    client_id: str = SIMULATOR_CLIENT_ID
    client_secret: str = SIMULATOR_CLIENT_SECRET
    token_lifetime_s: float = 3600.0
    token_delay_s: float = 0.0
    new_token_ends_old: bool = False
    token_path: str = "/apip/auth/sntl/v1/token"  # noqa: S105 - a path, no secret
    token_v2_path: str = "/apip/auth/v2/token"  # noqa: S105 - a path, no secret
    precheck_path: str = "/oihub/pre-service/v1/claim/precheck"
    health_path: str = "/oihub/pre-service/v1/healthcheck"
    root_field: str = "claimPreCheck"
    flat_allowed: bool = True  # {"x12RequestData": …} is answered as well, without GraphQL's envelope
    max_request_bytes: int = 4 << 20
    payers: tuple[str, ...] = SUPPORTED_PAYERS  # any other: code 521
    mix: Mapping[str, float] = msgspec.field(
        default_factory=lambda: USUAL_MIX
    )  # outcomes by name and weight, for claims without a magic value
    recovers_after: int = 2  # attempts that "later accepted" outcomes fail
    answer_delimiters: Literal["usual", "pipes"] = "usual"
    latency_scale: float = 0.0  # of the vendor's distribution; 1 = P50 2.4 s, P95 6 s, P99 30 s
    gateway_timeout_s: float = 110.0  # what takes longer is answered with 504
    faults: FaultSettings = FaultSettings()

    def __post_init__(self) -> None:
        """Refuse a mix that names no outcomes."""
        unknown = sorted(set(self.mix) - set(BY_NAME))
        if unknown:
            raise ValueError(f"mix: no such outcome: {', '.join(unknown)}")
        if min(self.mix.values(), default=0.0) < 0.0 or sum(self.mix.values()) <= 0.0:
            raise ValueError("mix: weights must be positive")

    def __repr__(self) -> str:
        """Leave the client secret out."""
        return f"<SimulatorConfig seed={self.seed}>"
